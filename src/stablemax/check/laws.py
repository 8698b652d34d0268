"""Laws that every implementation of an operation obeys, whatever its formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.hazards.catalogue import HazardCase
from stablemax.numerics.formats import name_of
from stablemax.operations.shared import BOOKKEEPING
from stablemax.results import LawVerdict
from stablemax.text.vocabulary import Reduction
from stablemax.truth.measure import default_max_ulp

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.check.trials import Trial, Trials
    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.operation import Operation

_ROWS, _CLASSES = 4, 5
_SHIFT = 4.0
"""Keeps the easy input exact in 3 bits."""


def easy_case() -> HazardCase:
    """Return small whole numbers, and halves: exact in every format, shifted or not."""
    draw = np.random.default_rng(0)
    return HazardCase(
        draw.integers(-3, 4, (_ROWS, _CLASSES)).astype(np.float64),
        draw.integers(0, _CLASSES, _ROWS),
        draw.integers(-3, 4, (_ROWS, _CLASSES)).astype(np.float64),
        cell_targets=draw.integers(0, 3, (_ROWS, _CLASSES)) / 2,
        other_logits=draw.integers(-3, 4, (_ROWS, _CLASSES)).astype(np.float64),
    )


def laws_of(operation: Operation) -> tuple[str, ...]:
    """Name the laws that an operation obeys.

    >>> from stablemax.operations import get_operation
    >>> laws_of(get_operation("softmax"))[:3]
    ('shift-invariance', 'permutation', 'rows-independent')
    """
    return tuple(name for name in LAW_NAMES if name in operation.laws)


def check_laws(trials: Trials, fmt: Format) -> list[LawVerdict]:
    """Hold an implementation to the laws of its operation in one format."""
    case = easy_case()
    first = trials.trial(case, fmt)
    names = laws_of(trials.operation)
    if first.verdict is None:
        # There are no numbers to compare.
        names = tuple(name for name in names if name in BOOKKEEPING)
    verdicts = []
    for name in names:
        detail = first.trouble if first.result.output is None else LAWS[name](trials, case, first)
        verdicts.append(LawVerdict(name, fmt.name, bool(detail) and name not in trials.contract.allow, detail))
    return verdicts


def _limit(trials: Trials, fmt: Format) -> float:
    """Two outputs, each within the contract, may be this many ulps apart."""
    return 2.0 * (default_max_ulp(fmt) if trials.contract.max_ulp is None else max(trials.contract.max_ulp, 0.5))


def _apart(trials: Trials, fmt: Format, a: Array, b: Array, where: str) -> str:
    """Say where two outputs that should agree do not."""
    if a.shape != b.shape:
        return f"{where}: the shape changes from {a.shape} to {b.shape}"
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        ulps = np.abs(a - b) / fmt.ulp(np.maximum(np.abs(a), np.abs(b)))
    ulps = np.where(np.isnan(a) & np.isnan(b), 0.0, np.where(np.isnan(ulps), np.inf, ulps))
    if ulps.size == 0 or ulps.max() <= _limit(trials, fmt):
        return ""
    at = np.unravel_index(int(np.argmax(ulps)), ulps.shape)
    return f"{where}: {a[at]:.6g} becomes {b[at]:.6g}"


def _output(trials: Trials, case: HazardCase, fmt: Format) -> Array | str:
    answer = trials.trial(case, fmt).result
    return answer.trouble if answer.output is None else answer.output


def arrays_beside(case: HazardCase) -> dict[str, Any]:
    """Return the arrays (N, K) of a case beside the logits, by field."""
    names = ("upstream", "cell_targets", "other_logits")
    return {name: array for name in names if (array := getattr(case, name)) is not None}


def _shift(trials: Trials, case: HazardCase, first: Trial) -> str:
    """A number added to every logit changes nothing, or is added to the result: of a softmax and what is made of it."""
    fmt, before = first.format, first.result.output
    assert before is not None
    moved = case.logits + _SHIFT
    if (fmt.round(moved) != moved).any():
        return ""  # float4 has too few numbers for the shifted logits
    after = _output(trials, replace(case, logits=moved), fmt)
    if isinstance(after, str):
        return after
    if trials.operation.follows_shift:
        before = before.astype(np.float64) + _SHIFT
    return _apart(trials, fmt, before, after, f"with {_SHIFT:g} added to every logit")


def _permutation(trials: Trials, case: HazardCase, first: Trial) -> str:
    """Classes in another order give results in that order: of all operations."""
    fmt, before = first.format, first.result.output
    assert before is not None
    order = np.roll(np.arange(_CLASSES), 2)
    moved = replace(
        case,
        logits=case.logits[:, order],
        labels=np.argsort(order)[case.labels],
        **{name: array[:, order] for name, array in arrays_beside(case).items()},
    )
    after = _output(trials, moved, fmt)
    if isinstance(after, str):
        return after
    return _apart(
        trials,
        fmt,
        before if before.ndim < 2 or trials.operation.per_row else before[:, order],
        after,
        "with the classes in another order",
    )


def _rows_independent(trials: Trials, case: HazardCase, first: Trial) -> str:
    """A row gives the same alone as among others: of all operations."""
    fmt, together = first.format, first.result.output
    assert together is not None
    alone = []
    for i in range(_ROWS):
        at = slice(i, i + 1)
        seconds = {name: array[at] for name, array in arrays_beside(case).items()}
        found = _output(trials, replace(case, logits=case.logits[at], labels=case.labels[at], **seconds), fmt)
        if isinstance(found, str):
            return f"row {i} alone: {found}"
        alone.append(np.asarray(found, dtype=np.float64))
    if together.ndim == 0:
        of_rows = np.sum if trials.reduction is Reduction.SUM else np.mean
        own = of_rows([float(a.reshape(-1)[0]) for a in alone])
        return _apart(trials, fmt, np.asarray(own), together, f"the {trials.reduction} of the rows' own losses")
    stacked = np.stack([a.reshape(together.shape[1:]) for a in alone])
    if trials.operation.of_losses and trials.reduction is Reduction.MEAN:
        stacked = stacked / _ROWS
    return _apart(trials, fmt, stacked, together, "rows alone, then together")


def _sum_to_1(trials: Trials, _: HazardCase, first: Trial) -> str:
    """The probabilities of a row sum to 1: of a softmax."""
    assert first.result.output is not None
    p = first.result.output.astype(np.float64)
    return _sums(p, 1.0, _limit(trials, first.format) * first.format.u * 2, "the probabilities of row")


def _sum_to_0(trials: Trials, _: HazardCase, first: Trial) -> str:
    """The gradient of a row sums to 0: of what does not change when the logits are shifted."""
    assert first.result.output is not None
    g = first.result.output.astype(np.float64)
    return _sums(
        g, 0.0, _limit(trials, first.format) * first.format.u * 2 * float(np.abs(g).max()), "the gradient of row"
    )


def _sums(values: Array, right: float, limit: float, what: str) -> str:
    sums = values.sum(axis=-1)
    bad = ~(np.abs(sums - right) <= limit)
    if not bad.any():
        return ""
    row = int(np.argmax(bad))
    return f"{what} {row} sum to {sums[row]:.6g}"


def _cells_independent(trials: Trials, case: HazardCase, first: Trial) -> str:
    """A cell gives the same in an array of one class as among others: of what is taken of each logit alone."""
    fmt, together = first.format, first.result.output
    assert together is not None
    alone = []
    for j in range(_CLASSES):
        at = slice(j, j + 1)
        seconds = {name: array[:, at] for name, array in arrays_beside(case).items()}
        labels = np.zeros_like(case.labels)
        found = _output(trials, replace(case, logits=case.logits[:, at], labels=labels, **seconds), fmt)
        if isinstance(found, str):
            return f"class {j} alone: {found}"
        alone.append(np.asarray(found, dtype=np.float64))
    if together.ndim == 0:
        of_classes = np.sum if trials.reduction is Reduction.SUM else np.mean
        return _apart(trials, fmt, np.asarray(of_classes(alone)), together, "classes alone, then together")
    stacked = np.concatenate([a.reshape(_ROWS, 1) for a in alone], axis=1)
    if trials.operation.of_losses and trials.reduction is Reduction.MEAN:
        stacked = stacked / _CLASSES
    return _apart(trials, fmt, stacked, together, "classes alone, then together")


def _mirrored(
    meaning: str, implied: Callable[[Array], Array], words: str
) -> Callable[[Trials, HazardCase, Trial], str]:
    """Make the law that the output at -x, with targets 1 - t, implies the output at x."""

    def law(trials: Trials, case: HazardCase, first: Trial) -> str:
        before = first.result.output
        assert before is not None
        targets = None if case.cell_targets is None else 1.0 - case.cell_targets
        after = _output(trials, replace(case, logits=-case.logits, cell_targets=targets), first.format)
        if isinstance(after, str):
            return after
        return _apart(trials, first.format, implied(after.astype(np.float64)), before, words)

    law.__doc__ = meaning
    return law


def _differs_by_x(trials: Trials, case: HazardCase, first: Trial) -> str:
    """The output at x is that at -x, plus x: of the softplus and the log-sigmoid."""
    before = first.result.output
    assert before is not None
    after = _output(trials, replace(case, logits=-case.logits), first.format)
    if isinstance(after, str):
        return after
    expected, given = after.astype(np.float64) + case.logits, before.astype(np.float64)
    # Where x is the larger, the sum cancels.
    kept = np.abs(given) >= np.abs(case.logits)
    return _apart(trials, first.format, np.where(kept, expected, given), given, "f(-x) + x, then f(x)")


def _zero_of_equal_rows(trials: Trials, case: HazardCase, first: Trial) -> str:
    """Two equal rows differ by 0: of a divergence."""
    found = _output(trials, replace(case, other_logits=case.logits), first.format)
    if isinstance(found, str):
        return found
    values = np.abs(np.atleast_1d(found.astype(np.float64)))
    bad = ~(values <= _limit(trials, first.format) * first.format.u)
    return f"two equal rows give {values[bad][0]:.6g}" if bad.any() else ""


def _input_unchanged(trials: Trials, case: HazardCase, first: Trial) -> str:  # noqa: ARG001 - one signature for all laws
    """The arguments are not written into: of all operations."""
    return "the function writes into its arguments" if first.result.changed_input else ""


def _dtype_kept(trials: Trials, case: HazardCase, first: Trial) -> str:  # noqa: ARG001
    """The result has the number format of the logits: of all operations."""
    output = first.result.output
    assert output is not None
    # A single number has no format to keep: losses are logged as Python floats.
    if output.ndim == 0 or name_of(output) == first.format.name:
        return ""
    return f"{first.format.name} goes in, {name_of(output)} comes out"


def _shape_kept(trials: Trials, case: HazardCase, first: Trial) -> str:  # noqa: ARG001
    """The result has its shape: of all operations."""
    return first.trouble if first.verdict is None else ""


LAWS: dict[str, Callable[[Trials, HazardCase, Trial], str]] = {
    "shift-invariance": _shift,
    "permutation": _permutation,
    "rows-independent": _rows_independent,
    "rows-sum-to-1": _sum_to_1,
    "gradient-sums-to-0": _sum_to_0,
    "cells-independent": _cells_independent,
    "complement-at-minus-x": _mirrored(
        "The probability of -x is 1 minus that of x.", lambda p: 1.0 - p, "1 - f(-x), then f(x)"
    ),
    "same-at-minus-x": _mirrored(
        "The loss of -x with target 1 - t is that of x with t.", lambda loss: loss, "with -x and 1 - t, then x and t"
    ),
    "opposite-at-minus-x": _mirrored(
        "The gradient of the loss of -x with target 1 - t is minus that of x with t.",
        lambda gradient: -gradient,
        "minus that of -x and 1 - t, then of x and t",
    ),
    "differs-by-x-at-minus-x": _differs_by_x,
    "zero-of-equal-rows": _zero_of_equal_rows,
    "input-unchanged": _input_unchanged,
    "dtype-kept": _dtype_kept,
    "shape-kept": _shape_kept,
}
"""What looks for a breach of a law, by the law's name: it returns words, or nothing where the law holds."""

LAW_NAMES = tuple(LAWS)
