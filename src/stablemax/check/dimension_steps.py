"""The steps of a check about what not every code takes: other dimensions than two, and integers."""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stablemax.check.laws import INTEGER_LAW, easy_case
from stablemax.check.shape_steps import format_of_shapes, record
from stablemax.hazards.shapes import ARRANGEMENTS, DIMENSIONS, INTEGERS, LAST_AXIS
from stablemax.numerics.formats import FLOAT32
from stablemax.results import LawVerdict
from stablemax.text.words import listed

if TYPE_CHECKING:
    from stablemax.check.steps import CheckRun
    from stablemax.check.trials import Trial
    from stablemax.hazards.shapes import Arrangement
    from stablemax.numerics.formats import Format

_NUMBERS = {1: "one", 3: "three", 4: "four"}
_INTEGERS = (np.int64, np.int32)


class _Kind(enum.Enum):
    """What there is to say of code on an array of other than two dimensions."""

    REFUSED = enum.auto()
    ON_AXIS_1 = enum.auto()
    ANOTHER = enum.auto()


class _Remark(NamedTuple):
    kind: _Kind
    #: What comes before and after the number of dimensions in a note.
    before: str
    after: str


def try_dimensions(run: CheckRun) -> None:
    """Try arrays of one, three and four dimensions on code that takes rows of classes.

    Code is held to what its text says that it takes (`target.declared`), or `--with`. Of other code that
    answers with another number, or raises, that is noted.
    """
    fmt = format_of_shapes(run)
    takes_rows_alone = run.style.by_row or run.target.info.is_ours
    if fmt is None or takes_rows_alone or run.trials.trial(easy_case(), fmt).failed:
        return
    remarks = [(a.last.dimensions, _try_arrangement(run, a, fmt)) for a in ARRANGEMENTS]
    for kind in _Kind:
        of_kind = [(dimensions, remark) for dimensions, remark in remarks if remark is not None and remark.kind is kind]
        if of_kind:
            numbers = [_NUMBERS[dimensions] for dimensions, _ in of_kind]
            noun = "dimension" if numbers == ["one"] else "dimensions"
            first = of_kind[0][1]
            run.notes.append(f"{first.before} {listed(numbers)} {noun}{first.after}")


def _try_arrangement(run: CheckRun, arrangement: Arrangement, fmt: Format) -> _Remark | None:
    """Try the classes on the last axis, then on axis 1; say what is not held to them."""
    shape, second = arrangement.last, arrangement.second
    run.progress(f"{shape.name} in {fmt.name}")
    trial = run.trials.trial(shape.case(fmt), fmt)
    if not trial.failed:
        record(run, shape, trial)
        return None
    on_axis_1 = None if second is None or run.style.axis else run.trials.trial(second.case(fmt), fmt)
    if second is not None and on_axis_1 is not None and not on_axis_1.failed:
        if LAST_AXIS in run.takes:
            record(run, shape, replace(trial, trouble="takes axis 1 for the classes"))
            return None
        record(run, second, on_axis_1)
        like = "as torch.nn.functional.cross_entropy does"
        return _Remark(
            _Kind.ON_AXIS_1,
            "on",
            f" it takes axis 1 for the classes, {like}: --with {LAST_AXIS} holds it to the last axis",
        )
    if trial.verdict is None:
        return _Remark(_Kind.REFUSED, "not tried on", f": it {trial.trouble}")
    if shape.dimensions > 2 and run.takes & {DIMENSIONS, LAST_AXIS}:
        record(run, shape, trial)
        return None
    return _Remark(_Kind.ANOTHER, "on", f" it is not {run.trials.operation}, whichever axis has the classes")


def try_integers(run: CheckRun) -> None:
    """Try NumPy code on arrays of integers, which people type: an array made like them cuts every result off.

    Code is held to it `--with integers`, and otherwise the breach is reported: what keeps the number format
    of its input, as the law `dtype-kept` asks, has no other result to give.
    """
    info, widest, easy = run.target.info, format_of_shapes(run), easy_case()
    is_numpy_code = info.backend == "numpy" and not info.is_ours
    if widest is None or not is_numpy_code or run.trials.trial(easy, widest).failed:
        return
    fmt = min(widest, FLOAT32, key=lambda f: f.precision)
    for dtype in _INTEGERS:
        call = run.trials.call_on(easy, fmt)
        (result,) = run.trials.results([replace(call, logits=easy.logits.astype(dtype))])
        if result.output is None:
            run.notes.append(f"not tried on integers: it {result.trouble}")
            return
        # Whatever it computes in, half of the digits of float32 are right.
        trial = run.trials.judged(easy, fmt, result)
        is_held_to_it = INTEGERS in run.takes and INTEGER_LAW not in run.trials.contract.allow
        failed = trial.failed and is_held_to_it
        detail = _difference(trial) if trial.failed else ""
        run.law_verdicts.append(LawVerdict(INTEGER_LAW, np.dtype(dtype).name, failed, detail))
        if failed:
            run.is_wrong, run.wrong_in = True, "of integers"


def _difference(trial: Trial) -> str:
    """Say what came out on integers, and what is right."""
    output = trial.result.output
    bad = None if trial.verdict is None else trial.verdict.first_bad
    if bad is None:
        return trial.trouble
    cause = ", since an array of integers holds it" if output is not None and output.dtype.kind in "iu" else ""
    return f"{bad.output:.6g} where {bad.truth:.6g} is right{cause} (--with {INTEGERS} makes it count)"
