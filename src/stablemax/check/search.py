"""The smallest input that breaks an implementation: fewest classes, then roundest numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.check.trials import NO_ANSWER, with_classes, with_rows
from stablemax.hazards.catalogue import HazardCase
from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Second
from stablemax.text.vocabulary import IGNORED, Reduction

if TYPE_CHECKING:
    from stablemax.check.trials import Trial, Trials

MAX_PER_SIZE, MAX_PER_SIZE_ALONE = 1500, 400
"""Inputs tried for each number of classes: as the rows of a few calls, and by code that takes a call for each."""
MAX_SHRINKING_STEPS = 400
_MAX_CELLS_ROUNDED = 64
"""Numbers of larger inputs are not made rounder."""
_BATCH = 250
_ROWS_OF_A_MEAN, _LOSS_OF_A_ROW = (64, 512, 4096), 20.0
"""Losses that add up to more than the largest number of float16, 65504, although none is near it."""


def levels(fmt: Format) -> list[float]:
    """Logits worth trying in a format: round numbers, and those just beyond the thresholds of exp.

    >>> from stablemax.numerics.formats import FLOAT16
    >>> [v for v in levels(FLOAT16) if v > 10]
    [12.0, 18.0, 20.0, 50.0, 100.0, 1000.0, 4000.0, 10000.0]
    """
    top = math.floor(math.log10(fmt.max))
    powers = {k for k in (0, 1, 2, 3, 4, 5, 8, 10, 17, top) if k <= top}
    sizes = {float(f"1e{k}") for k in powers} | {2.0, 5.0, 20.0, 50.0}
    # Beyond p log 2 a class is absorbed by the sum, beyond the next two exp overflows and gives 0; the
    # last is where the spacing of the format is more than 1.
    sizes |= {
        float(math.ceil(fmt.precision * math.log(2)) + 1),
        float(math.ceil(fmt.exp_overflow.real)),
        float(math.ceil(-fmt.exp_underflow.real)),
        float(f"{2.0**fmt.precision * 2:.0e}"),
    }
    numbers = {float(fmt.round(v)) for v in sizes if v <= fmt.max}
    return sorted({0.0, *numbers, *(-v for v in numbers)})


def _candidates(classes: int, fmt: Format, seed: int, most: int, *, needs_second: bool) -> HazardCase:
    """Return the candidates of one size as the rows of one input, the simplest first.

    These are all rows of round numbers where they are few, with each label or upstream gradient; else a sample.
    """
    values = levels(fmt)
    rows: list[tuple[float, ...]]
    if classes == 1:
        rows = [(v,) for v in values]
    elif classes == 2:
        rows = [r for r in itertools.product(values, repeat=2) if 0.0 in r or r[0] == r[1] or -r[0] == r[1]]
        rows += [(0.0, -math.inf), (-math.inf, 1.0)]
    else:
        random = np.random.default_rng([seed, classes])
        sample = random.choice([*values, -math.inf], size=(most, classes))
        # A row of nothing but -inf has no value.
        has_value = np.isfinite(sample).any(axis=-1)
        rows = [*map(tuple, sample[has_value].tolist()), *((v,) * classes for v in values)]
    logits = np.array(rows)
    kinds = min(classes, 3)
    labels = np.arange(len(logits)) % kinds
    if needs_second and classes <= 2:
        logits, labels = np.repeat(logits, kinds, axis=0), np.tile(np.arange(kinds), len(logits))
    numbers = np.arange(classes)
    upstream = np.stack([numbers + 1.0, 1000.0 + 0.001 * (numbers == 0), -1.0 * numbers])
    return with_rows(HazardCase(logits, labels, upstream[labels]), _simplest_first(logits, labels))


def smallest_failure(
    trials: Trials,
    fmt: Format,
    *,
    wanted: int = 0,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> HazardCase | None:
    """Look for the smallest row that breaks an implementation, or else for one on which it is not accurate.

    None where none of some thousands is such a row. `wanted` is the severity of the worst that is known to happen: a
    NaN says more than an error of some ulps, and is looked for first. `seed` draws the rows of three classes and more.
    """
    fails_from = trials.fails_from(fmt)
    milder: dict[bool, HazardCase] = {}
    needs_second, most = trials.operation.second is not Second.NONE, MAX_PER_SIZE
    for classes in (1, 2, 3, 4, 8):
        mixed = _mixing_rows(trials, fmt, classes) if classes <= 2 else None
        if mixed is not None:
            return mixed
        if progress is not None:
            progress(f"searching {fmt.name}, {classes} classes")
        candidates = _candidates(classes, fmt, seed, most, needs_second=needs_second)
        if not trials.tries_masks:
            candidates = with_rows(candidates, np.flatnonzero(np.isfinite(candidates.logits).all(axis=-1)))
        for start in range(0, len(candidates.logits), _BATCH):
            batch = with_rows(candidates, slice(start, start + _BATCH))
            severities = _severities(trials, batch, fmt)
            if severities is None:
                severities, most = _severities_alone(trials, batch, fmt), MAX_PER_SIZE_ALONE
            for least in (max(wanted, fails_from), fails_from, 1):
                if not (severities >= least).any():
                    continue
                case = with_rows(batch, [int(np.argmax(severities >= least))])
                if least >= max(wanted, fails_from):
                    return case
                milder.setdefault(least >= fails_from, case)
    return milder.get(True, milder.get(False))


def _mixing_rows(trials: Trials, fmt: Format, classes: int) -> HazardCase | None:
    """Find two rows of zeros and ones that break an implementation: one that mixes its rows, whatever the numbers."""
    labels, upstream = np.zeros(2, dtype=np.int64), np.tile(np.arange(1.0, classes + 1), (2, 1))
    cases = [
        HazardCase(np.reshape(bits, (2, classes)), labels, upstream)
        for bits in itertools.product((0.0, 1.0), repeat=2 * classes)
    ]
    for trial in trials.trial_each(cases, fmt):
        if trial.failed:
            alone = trials.trial_each([with_rows(trial.case, [i]) for i in range(2)], fmt)
            # Where a row fails by itself, nothing is mixed.
            if not any(row.failed for row in alone):
                return trial.case
    return None


def fewest_rows(trials: Trials, fmt: Format) -> Trial | None:
    """Find how many equal rows of two classes break the mean of their losses; None where a few thousand do not."""
    for rows in _ROWS_OF_A_MEAN:
        logits = np.broadcast_to(np.array([0.0, _LOSS_OF_A_ROW]), (rows, 2))
        case = HazardCase(logits, np.zeros(rows, dtype=np.int64), np.ones((rows, 2)), reduced=True)
        trial = trials.trial(case, fmt)
        if trial.failed:
            return trial
    return None


def _simplest_first(logits: Array, labels: Array) -> Array:
    """Sort rows by simplicity: masks, digits, numbers that are not 0, negative ones, size."""
    finite = np.isfinite(logits)
    sizes = np.abs(np.where(finite, logits, 0.0))
    # A few dozen numbers make up all rows.
    numbers, which = np.unique(sizes, return_inverse=True)
    digits = np.array([len(f"{v:.3g}".replace(".", "").strip("0").partition("e")[0]) for v in numbers])
    is_zero = sizes == 0
    orders = np.abs(np.log10(np.where(is_zero, 1.0, sizes)))
    return np.lexsort(
        (
            labels,
            np.array([row[counts].sum() for row, counts in zip(orders, ~is_zero, strict=True)]),
            (finite & (logits < 0)).sum(axis=-1),
            (~is_zero).sum(axis=-1),
            digits[which].reshape(sizes.shape).sum(axis=-1),
            (~finite).sum(axis=-1),
        )
    )


def _severities(trials: Trials, candidates: HazardCase, fmt: Format) -> Array | None:
    """Rank the candidates by what comes out when each is the only row; 0 where that is accurate.

    None where a call gives one number, or takes one row: each must be called alone. Otherwise one call on all of
    them, as the rows of one input, comes first: only the rows that fail in it are tried alone.
    """
    output = trials.results([trials.call_on(candidates, fmt)])[0].output
    if output is None or output.ndim == 0:
        return None
    setting = trials.setting(candidates, fmt)
    right = setting.exact.truth.rounded
    if output.size != right.size or output.shape[0] != len(right):
        return None
    severities = trials.severities(output.astype(np.float64), setting).max(axis=-1)
    suspects = np.flatnonzero(severities)
    if suspects.size:
        severities[suspects] = _severities_alone(trials, with_rows(candidates, suspects), fmt)
    return severities


def _severities_alone(trials: Trials, candidates: HazardCase, fmt: Format) -> Array:
    """Rank candidates that are each called alone, and judged together."""
    count, operation = len(candidates.logits), trials.operation
    cases = [with_rows(candidates, [i]) for i in range(count)]
    if operation.cellwise and (operation.reduces or operation.of_losses):
        # The mean over the cells of a row is not their sum: each input needs a truth of its own.
        return np.array([trial.severity for trial in trials.trial_each(cases, fmt)])
    results = trials.results([trials.call_on(case, fmt) for case in cases])
    # With a single row the mean equals the sum.
    of_the_sum = replace(trials, reduction=Reduction.SUM)
    setting = of_the_sum.setting(candidates, fmt)
    shape = setting.exact.truth.rounded.shape
    output = np.full(shape, np.nan)
    is_lacking = np.zeros(count, dtype=bool)
    for i, result in enumerate(results):
        if result.output is None or result.output.size != shape[1]:
            is_lacking[i] = True
        else:
            output[i] = result.output.astype(np.float64).reshape(shape[1])
    severities = trials.severities(output, setting).max(axis=-1)
    # Refusing an input that has no value is no failure; refusing another is the worst of all.
    overflow = setting.input_overflow.reshape(count, -1)
    has_no_value = (setting.exact.undefined_cells | overflow).all(axis=-1)
    lacks_memory = np.array([result.lacks_memory for result in results])
    return np.asarray(np.where(is_lacking, np.where(has_no_value | lacks_memory, 0, NO_ANSWER), severities))


def shrunk(trials: Trials, case: HazardCase, fmt: Format) -> HazardCase:
    """Make a failing input smaller as long as it fails (shrinking): fewer rows, fewer classes, rounder numbers."""
    candidates = _simpler(case)
    for _ in range(MAX_SHRINKING_STEPS):
        candidate = next(candidates, None)
        if candidate is None:
            break
        if trials.trial(candidate, fmt).failed:
            case, candidates = candidate, _simpler(candidate)
    return case


def _simpler(case: HazardCase) -> Iterator[HazardCase]:
    """Yield simpler inputs than this one, the boldest steps first."""
    rows, classes = case.logits.shape
    for numbers in _subsets(rows):
        yield with_rows(case, numbers)
    labels = set(case.labels.tolist()) if case.labels.ndim == 1 else set()
    for numbers in _subsets(classes):
        if labels <= {*numbers.tolist(), IGNORED}:
            yield with_classes(case, numbers)
    if case.logits.size > _MAX_CELLS_ROUNDED:
        return
    for index in np.ndindex(case.logits.shape):
        for rounder in _rounder(float(case.logits[index])):
            logits = np.array(case.logits)
            logits[index] = rounder
            yield replace(case, logits=logits)


def _subsets(count: int) -> Iterator[Array]:
    """Yield the numbers of each half, then of all but one where there are few."""
    if count > 1:
        yield np.arange(count // 2)
        yield np.arange(count // 2, count)
    if 2 < count <= 16:
        for i in range(count):
            yield np.delete(np.arange(count), i)


def _rounder(value: float) -> Iterator[float]:
    """Yield rounder numbers near one, the roundest first."""
    if not math.isfinite(value) or value == 0:
        return
    yield 0.0
    for digits in (1, 2):
        rounded = float(f"{value:.{digits - 1}e}")
        if len(f"{rounded:g}") < len(f"{value:.17g}"):
            yield rounded
