"""The smallest input that breaks an implementation: fewest classes, then roundest numbers."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.inputs.hazards import HazardCase
from stablemax.measure import CODES
from stablemax.operations.operation import Second
from stablemax.vocabulary import Reduction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stablemax.asking import Asker
    from stablemax.formats import Array, Format
    from stablemax.results import Outcome

MAX_PER_SIZE = 1500
"""Inputs tried for each number of classes."""
MAX_SHRINKING_STEPS = 400
_BATCH = 250


@dataclass(frozen=True)
class _Rows:
    """Candidates of one size, one a row."""

    logits: Array
    labels: Array
    upstream: Array

    def case(self, i: int) -> HazardCase:
        return HazardCase(self.logits[i : i + 1], self.labels[i : i + 1], self.upstream[i : i + 1])


def levels(fmt: Format) -> list[float]:
    """Logits worth trying in a format: round numbers, and those just beyond the thresholds of exp.

    Examples
    --------
    >>> from stablemax.formats import FLOAT16
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
    kept = {float(fmt.round(v)) for v in sizes if v <= fmt.max}
    return sorted({0.0, *kept, *(-v for v in kept)})


def _candidates(classes: int, fmt: Format, seed: int, *, needs_second: bool) -> _Rows:
    """Rows of one size: all of them where they are few, with each label or upstream gradient; else a sample."""
    values = levels(fmt)
    rows: list[tuple[float, ...]]
    if classes == 1:
        rows = [(v,) for v in values]
    elif classes == 2:
        rows = [r for r in itertools.product(values, repeat=2) if 0.0 in r or r[0] == r[1] or -r[0] == r[1]]
        rows += [(0.0, -math.inf), (-math.inf, 1.0)]
    else:
        draw = np.random.default_rng([seed, classes])
        drawn = draw.choice([*values, -math.inf], size=(MAX_PER_SIZE, classes))
        # A row of nothing but -inf has no value.
        drawn = drawn[np.isfinite(drawn).any(axis=-1)]
        rows = [tuple(r) for r in drawn.tolist()] + [(v,) * classes for v in values]
    logits = np.array(rows)
    kinds = min(classes, 3)
    labels = np.arange(len(logits)) % kinds
    if needs_second and classes <= 2:
        logits, labels = np.repeat(logits, kinds, axis=0), np.tile(np.arange(kinds), len(logits))
    ups = np.stack([np.arange(1.0, classes + 1), 1000.0 + 0.001 * (np.arange(classes) == 0), -np.arange(classes) * 1.0])
    return _Rows(logits, labels, ups[labels])


def smallest_failure(
    asker: Asker,
    fmt: Format,
    *,
    wanted: Outcome | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> HazardCase | None:
    """Look for the smallest row that breaks an implementation.

    Parameters
    ----------
    asker : Asker
        The implementation and its contract.
    fmt : Format
        The number format.
    wanted : Outcome, optional
        The worst that is known to happen: a NaN tells more than an error of some ulps, and is looked
        for first.
    seed : int
        Of the rows of three classes and more.
    progress : callable, optional
        Gets a text now and then.

    Returns
    -------
    HazardCase or None
        One row; None where none of some thousands breaks it.
    """
    severity = CODES.index(wanted) if wanted is not None else 1
    other: HazardCase | None = None
    for classes in (1, 2, 3, 4, 8):
        mixed = _mixing_rows(asker, fmt, classes) if classes <= 2 else None
        if mixed is not None:
            return mixed
        if progress is not None:
            progress(f"searching {fmt.name}, {classes} classes")
        second = asker.operation.second is not Second.NONE
        rows = _candidates(classes, fmt, seed, needs_second=second)
        # The simplest come first, so that the first that fails is the one.
        order = sorted(range(len(rows.logits)), key=lambda i: _cost(rows.logits[i], int(rows.labels[i])))
        for start in range(0, len(order), _BATCH):
            at = order[start : start + _BATCH]
            found = _severities(asker, _Rows(rows.logits[at], rows.labels[at], rows.upstream[at]), fmt)
            if (found >= severity).any():
                return rows.case(at[int(np.argmax(found >= severity))])
            if other is None and found.any():
                other = rows.case(at[int(np.argmax(found > 0))])
    return other


def _mixing_rows(asker: Asker, fmt: Format, classes: int) -> HazardCase | None:
    """Find two rows of zeros and ones that break an implementation: one that mixes its rows, whatever the numbers."""
    cells = 2 * classes
    cases = [
        HazardCase(
            np.reshape(bits, (2, classes)), np.zeros(2, dtype=np.int64), np.tile(np.arange(1.0, classes + 1), (2, 1))
        )
        for bits in itertools.product((0.0, 1.0), repeat=cells)
    ]
    failing = (trial.case for trial in asker.trials(cases, fmt) if trial.failed)
    return next((case for case in failing if not _fails_alone(asker, case, fmt)), None)


def _fails_alone(asker: Asker, case: HazardCase, fmt: Format) -> bool:
    """True where a row fails by itself: nothing is mixed then."""
    rows = range(len(case.logits))
    return any(trial.failed for trial in asker.trials([_taken(case, rows=np.array([i])) for i in rows], fmt))


def _cost(row: Array, label: int) -> tuple[float, ...]:
    """Order of simplicity: masks, digits, numbers that are not 0, negative ones, size."""
    finite = row[np.isfinite(row)]
    digits = sum(len(f"{abs(v):.3g}".replace(".", "").strip("0").partition("e")[0]) for v in finite)
    return (
        float(len(row) - len(finite)),
        float(digits),
        float(np.count_nonzero(finite)),
        float((finite < 0).sum()),
        float(np.abs(np.log10(np.abs(finite[finite != 0]))).sum()) if finite.any() else 0.0,
        float(label),
    )


def _severities(asker: Asker, rows: _Rows, fmt: Format) -> Array:
    """Rank the rows by how they break the contract, 0 for not.

    All are asked about in one call first, and those that fail there alone; where a call gives one
    number, or takes one row, all are asked about alone.
    """
    count = len(rows.logits)
    found = np.zeros(count, dtype=np.int64)
    suspects = _suspects(asker, rows, fmt)
    if not suspects.size:
        return found
    chosen = _Rows(rows.logits[suspects], rows.labels[suspects], rows.upstream[suspects])
    found[suspects] = _alone(asker, chosen, fmt)
    return found


def _suspects(asker: Asker, rows: _Rows, fmt: Format) -> Array:
    """Rows that fail when all are asked about together: a cheap sieve; every row where that says nothing."""
    every = np.arange(len(rows.logits))
    case = HazardCase(rows.logits, rows.labels, rows.upstream)
    answer = asker.answers([asker.question(case, fmt)])[0]
    if answer.output is None or answer.output.ndim == 0:
        return every
    setting = asker.setting(case, fmt)
    right = setting.exact.truth.rounded
    if answer.output.size != right.size or answer.output.shape[0] != len(right):
        return every
    return np.flatnonzero(asker.severities(answer.output.astype(np.float64), setting).max(axis=-1))


def _alone(asker: Asker, rows: _Rows, fmt: Format) -> Array:
    """Rank rows that are each asked about alone, and judged together."""
    count = len(rows.logits)
    answers = asker.answers([asker.question(rows.case(i), fmt) for i in range(count)])
    # Of a single row the mean is the sum.
    alone = replace(asker, reading=Reduction.SUM)
    setting = alone.setting(HazardCase(rows.logits, rows.labels, rows.upstream), fmt)
    shape = setting.exact.truth.rounded.shape
    output = np.full(shape, np.nan)
    lacking = np.zeros(count, dtype=bool)
    for i, answer in enumerate(answers):
        if answer.output is None or answer.output.size != shape[1]:
            lacking[i] = True
        else:
            output[i] = answer.output.astype(np.float64).reshape(shape[1])
    worst = asker.severities(output, setting).max(axis=-1)
    # Refusing an input that has no value is no failure; refusing another is the worst of all.
    refused = np.where(setting.exact.undefined | setting.input_overflow, 0, len(CODES))
    return np.asarray(np.where(lacking, refused, worst))


def shrunk(asker: Asker, case: HazardCase, fmt: Format) -> HazardCase:
    """Make a failing input smaller as long as it fails: fewer rows, fewer classes, rounder numbers.

    Parameters
    ----------
    asker : Asker
        The implementation and its contract.
    case : HazardCase
        An input that breaks it.
    fmt : Format
        The number format.
    """
    steps = 0
    improved = True
    while improved:
        improved = False
        for candidate in _simpler(case):
            steps += 1
            if steps > MAX_SHRINKING_STEPS:
                return case
            if asker.trial(candidate, fmt).failed:
                case, improved = candidate, True
                break
    return case


def _simpler(case: HazardCase) -> Iterator[HazardCase]:
    """Simpler inputs than this one, the boldest steps first."""
    rows, classes = case.logits.shape
    for kept in _parts(rows):
        yield _taken(case, rows=kept)
    labels = set(case.labels.tolist()) if case.labels.ndim == 1 else set()
    for kept in _parts(classes):
        where = kept.tolist()
        if labels <= {*where, -100}:
            yield _taken(case, columns=kept)
    if case.logits.size > 64:
        return
    for at in np.ndindex(case.logits.shape):
        value = float(case.logits[at])
        for rounder in _rounder(value):
            logits = np.array(case.logits)
            logits[at] = rounder
            yield replace(case, logits=logits)


def _parts(count: int) -> Iterator[Array]:
    """Halves, then all but one where there are few."""
    if count > 1:
        yield np.arange(count // 2)
        yield np.arange(count // 2, count)
    if 2 < count <= 16:
        for i in range(count):
            yield np.delete(np.arange(count), i)


def _taken(case: HazardCase, rows: Array | None = None, columns: Array | None = None) -> HazardCase:
    """Keep some rows or some classes; labels count the classes that are left."""
    logits, labels, upstream, weight = case.logits, case.labels, case.upstream, case.weight
    if rows is not None:
        logits, labels, upstream = logits[rows], labels[rows], upstream[rows]
    if columns is not None:
        logits, upstream = logits[:, columns], upstream[:, columns]
        if labels.ndim == 2:
            labels = labels[:, columns]
        else:
            place = {int(c): i for i, c in enumerate(columns.tolist())}
            labels = np.array([place.get(int(label), int(label)) for label in labels.tolist()])
        weight = None if weight is None else weight[columns]
    return replace(case, logits=logits, labels=labels, upstream=upstream, weight=weight)


def _rounder(value: float) -> Iterator[float]:
    """Rounder numbers near one, the roundest first."""
    if not math.isfinite(value) or value == 0:
        return
    yield 0.0
    for digits in (1, 2):
        text = float(f"{value:.{digits - 1}e}")
        if len(f"{text:g}") < len(f"{value:.17g}"):
            yield text
