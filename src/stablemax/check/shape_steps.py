"""The steps of a check about shapes: sizes, orders of values and memory layouts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from stablemax.check.steps import CheckRun, blame_a_line, exact_output, fails_exactly
from stablemax.check.trials import UNSTABLE, Trial, arrays_of_cells, with_rows
from stablemax.hazards import shapes
from stablemax.hazards.cases import Layout
from stablemax.hazards.shapes import Shape
from stablemax.numerics.formats import FLOAT32, FLOAT64, Format
from stablemax.results import ShapeVerdict

_MAX_SHAPES_RUN_EXACTLY = 3
_BATCH = 129
_ROWS_ALONE = (0, 31, 32, 64, 128)
_LAST_DIGITS_ULP = 4.0
"""Sums in another order, and an exp of vectors of another length, differ by no more."""
_TIME_LIMIT_S = 10.0
"""Larger shapes are left out after so long."""


def try_shapes(run: CheckRun) -> None:
    """Try sizes, orders and memory layouts in one format, the smallest first."""
    fmt = format_of_shapes(run)
    if fmt is None:
        return
    start = time.monotonic()
    for shape in shapes.SHAPES:
        if not set(shape.needs) <= (run.takes if run.trials.operation.needs_targets else set()):
            continue
        if run.has_hung_too_often:
            return
        if not run.options.thorough and time.monotonic() - start > _TIME_LIMIT_S:
            run.notes.append(f"{_larger(shape)}: --thorough")
            return
        run.progress(f"{shape.name} in {fmt.name}")
        trial = run.trials.trial(shape.case(fmt), fmt)
        if trial.result.lacks_memory:
            run.notes.append(f"{_larger(shape)}: it {trial.trouble} (--memory)")
            return
        record(run, shape, trial)


def format_of_shapes(run: CheckRun) -> Format | None:
    """Return the format in which shapes are tried: float32, the widest narrower one, or float64; None to try none."""
    if run.options.only or not run.formats:
        return None
    narrow = [fmt for fmt in run.formats if fmt.precision <= FLOAT32.precision]
    return max(narrow or run.formats, key=lambda f: f.precision)


def record(run: CheckRun, shape: Shape, trial: Trial) -> None:
    """Add what came out on a shape to the findings."""
    if trial.failed:
        run.shape_failures.append(trial)
    run.shape_verdicts.append(
        ShapeVerdict(
            shape.name,
            shape.rows,
            shape.classes,
            trial.format.name,
            trial.worst,
            None if trial.verdict is None else trial.verdict.error_ulp,
            trial.failed,
            trial.trouble,
            trial.grade,
            shape.dimensions,
        )
    )


def _larger(shape: Shape) -> str:
    return f"shapes of {shape.rows * shape.classes:,} logits and more are not tried"


def compare_batches(run: CheckRun) -> None:
    """Note that a row gives another result alone than among many, by no more than its contract allows."""
    fmt, operation = format_of_shapes(run), run.trials.operation
    # The gradient of a mean is divided by the number of rows, which rounds it once more.
    if fmt is None or run.shape_failures or operation.of_losses or run.style.by_row:
        return
    case = shapes.of_rows(_BATCH).case(fmt)
    cases = [case, *(with_rows(case, [row]) for row in _ROWS_ALONE)]
    outputs = [result.output for result in run.trials.results([run.trials.call_on(c, fmt) for c in cases])]
    if any(output is None or output.ndim == 0 for output in outputs):
        return
    batch, *alone = (np.asarray(output, dtype=np.float64) for output in outputs)
    together, each = batch.reshape(_BATCH, -1)[list(_ROWS_ALONE)], np.stack([row.reshape(-1) for row in alone])
    if not (np.isfinite(together).all() and np.isfinite(each).all()):
        return  # the shapes tell of those
    ulps = np.abs(together - each) / fmt.ulp(np.maximum(np.abs(together), np.abs(each)))
    if (ulps > _LAST_DIGITS_ULP).any():
        largest = f"up to {np.nanmax(ulps):.3g} ulp of {fmt.name}"
        run.notes.append(f"a row gives another result alone than among {_BATCH} rows: {largest}")


def run_shapes_exactly(run: CheckRun) -> None:
    """Tell whether a shape fails in exact arithmetic, or where the code is not followed there, in float64 as well."""
    if run.is_wrong:
        return
    rounds_by_itself = False
    # First those that can be followed: what they tell of an accumulator decides about the others.
    failures = sorted(run.shape_failures, key=lambda t: t.case.layout is not Layout.C)
    for number, trial in enumerate(chain(failures, _shapes_that_cannot_show(run))):
        if trial.verdict is None:
            continue
        # All in float64: of a narrow format the first fail for its digits, and a tile that is wrong comes after them.
        may_be_followed = number < _MAX_SHAPES_RUN_EXACTLY and trial.case.layout is Layout.C
        is_followed = may_be_followed and exact_output(run.trials, trial) is not None
        if is_followed:
            fails = fails_exactly(run.trials, trial)
            # Right in exact arithmetic and not in float64: by an accumulator of its own, which says nothing there.
            rounds_by_itself |= not fails and _fails_in_float64(run, trial)
        else:
            fails = not rounds_by_itself and _fails_in_float64(run, trial)
        if fails:
            run.is_wrong, run.smallest = True, trial
            # A line that loses digits is not the line to blame for a wrong formula.
            blame_a_line(run)
            if run.trace is not None and not run.trace.formula_is_wrong:
                run.trace = None
            if not is_followed:
                run.wrong_in = f"in {FLOAT64.name} either"
            return


def _shapes_that_cannot_show(run: CheckRun) -> Iterator[Trial]:
    """Yield in float32 the shapes that hold in a narrower format, where code fails on something else.

    A mean of means of blocks is off by less than half of bfloat16's digits; its formula is wrong all the same.
    """
    fmt = format_of_shapes(run)
    if fmt is None or fmt.precision >= FLOAT32.precision or not run.has_failed:
        return
    held = {verdict.shape for verdict in run.shape_verdicts if not verdict.failed}
    for shape in shapes.SHAPES:
        if shape.name in held:
            run.progress(f"{shape.name} in {FLOAT32.name}")
            yield run.trials.trial(shape.case(FLOAT32), FLOAT32)


def _fails_in_float64(run: CheckRun, trial: Trial) -> bool:
    """Tell whether an output computed in float64 breaks the contract of the narrower format, too.

    The logits of a shape are far within the range of float64, so that only an error of the formula, or of a
    constant or an accumulator of its own, stays when the format grows.
    """
    # Also where only narrower formats were asked for: without it a wrong formula would be called right.
    if FLOAT64.name in run.refusals:
        return False
    fmt = min(trial.format, FLOAT32, key=lambda f: f.precision)
    rounded: dict[str, Any] = {name: fmt.round(array) for name, array in arrays_of_cells(trial.case).items()}
    (result,) = run.trials.results([run.trials.call_on(replace(trial.case, **rounded), FLOAT64)])
    reduced = trial.setting.case.reduced
    setting = trial.setting if fmt is trial.format else run.trials.setting(trial.case, fmt, reduced=reduced)
    right = setting.exact.truth.rounded
    if result.output is None or result.output.size != right.size:
        return result.output is not None
    output = fmt.round(result.output.astype(np.float64).reshape(right.shape))
    # Code that computes in float32 whatever it gets overflows all the same: NaN and inf tell nothing of the formula.
    tells = np.isfinite(output)
    return bool((run.trials.severities(output, setting)[tells] >= UNSTABLE).any())
