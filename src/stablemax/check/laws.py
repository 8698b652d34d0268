"""Laws that every implementation of an operation obeys, whatever its formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.check.trials import with_classes, with_rows
from stablemax.hazards.catalogue import HazardCase
from stablemax.numerics.formats import Array, Format, name_of
from stablemax.operations.operation import Operation
from stablemax.operations.shared import BOOKKEEPING
from stablemax.results import LawVerdict
from stablemax.text.vocabulary import Reduction
from stablemax.truth.measure import default_max_ulp

if TYPE_CHECKING:
    from stablemax.check.target.messages import Result
    from stablemax.check.trials import Trial, Trials

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
    run = EasyRun(trials, trials.trial(easy_case(), fmt))
    if run.trial.result.lacks_memory:
        return []
    names = laws_of(trials.operation)
    if run.trial.verdict is None:
        # There are no numbers to compare.
        names = tuple(name for name in names if name in BOOKKEEPING)
    verdicts = []
    for name in names:
        try:
            detail = run.trial.trouble if run.trial.result.output is None else LAWS[name](run)
        except _NoOutputError as error:
            if error.lacks_memory:
                continue
            detail = str(error)
        verdicts.append(LawVerdict(name, fmt.name, bool(detail) and name not in trials.contract.allow, detail))
    return verdicts


class _NoOutputError(Exception):
    """The target gave no output on a changed input; the text says what it did instead."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.trouble)
        self.lacks_memory = result.lacks_memory


@dataclass(frozen=True)
class EasyRun:
    """The easy input in one format, and the target to call again on changed ones."""

    trials: Trials
    #: The easy input, called and judged.
    trial: Trial

    @property
    def case(self) -> HazardCase:
        """The easy input."""
        return self.trial.case

    @property
    def format(self) -> Format:
        """The number format."""
        return self.trial.format

    @property
    def output(self) -> Array:
        """What the target gave on the easy input, in its own format."""
        assert self.trial.result.output is not None
        return self.trial.result.output

    @property
    def limit_ulp(self) -> float:
        """Two outputs, each within the contract, may be this many ulps apart."""
        max_ulp = self.trials.contract.max_ulp
        return 2.0 * (default_max_ulp(self.format) if max_ulp is None else max(max_ulp, 0.5))

    def output_on(self, case: HazardCase) -> Array:
        """Call the target on a changed input; its output in float64."""
        (result,) = self.trials.results([self.trials.call_on(case, self.format)])
        if result.output is None:
            raise _NoOutputError(result)
        return np.asarray(result.output, dtype=np.float64)

    def difference(self, a: Array, b: Array, where: str) -> str:
        """Say where two outputs that should agree do not."""
        if a.shape != b.shape:
            return f"{where}: the shape changes from {a.shape} to {b.shape}"
        a, b = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(invalid="ignore"):
            ulps = np.abs(a - b) / self.format.ulp(np.maximum(np.abs(a), np.abs(b)))
        ulps = np.where(np.isnan(a) & np.isnan(b), 0.0, np.where(np.isnan(ulps), np.inf, ulps))
        if ulps.size == 0 or ulps.max() <= self.limit_ulp:
            return ""
        worst = np.unravel_index(int(np.argmax(ulps)), ulps.shape)
        return f"{where}: {a[worst]:.6g} becomes {b[worst]:.6g}"


def _shift(run: EasyRun) -> str:
    """A number added to every logit changes nothing, or is added to the result."""
    shifted = run.case.logits + _SHIFT
    if (run.format.round(shifted) != shifted).any():
        return ""  # float4 has too few numbers for the shifted logits
    after = run.output_on(replace(run.case, logits=shifted))
    before = run.output
    if run.trials.operation.follows_shift:
        before = before.astype(np.float64) + _SHIFT
    return run.difference(before, after, f"with {_SHIFT:g} added to every logit")


def _permutation(run: EasyRun) -> str:
    """Classes in another order give results in that order."""
    order = np.roll(np.arange(_CLASSES), 2)
    after = run.output_on(with_classes(run.case, order))
    has_classes = run.output.ndim == 2 and not run.trials.operation.per_row
    return run.difference(
        run.output[:, order] if has_classes else run.output, after, "with the classes in another order"
    )


def _rows_independent(run: EasyRun) -> str:
    """A row gives the same alone as among others."""
    rows = (with_rows(run.case, [i]) for i in range(_ROWS))
    words = f"the {run.trials.reduction} of the rows' own losses" if run.output.ndim == 0 else ""
    return _alone_and_together(run, rows, "row", 0, words or "rows alone, then together")


def _cells_independent(run: EasyRun) -> str:
    """A cell gives the same in an array of one class as among others."""
    classes = (with_classes(run.case, [i]) for i in range(_CLASSES))
    return _alone_and_together(run, classes, "class", 1, "classes alone, then together")


def _alone_and_together(run: EasyRun, parts: Iterable[HazardCase], noun: str, axis: int, words: str) -> str:
    """Compare the outputs on the rows, or the classes, alone with the output on all of them."""
    shape = [1 if i == axis else n for i, n in enumerate(run.output.shape)]
    alone = []
    for i, part in enumerate(parts):
        try:
            output = run.output_on(part)
        except _NoOutputError as error:
            return f"{noun} {i} alone: {error}"
        if output.size != math.prod(shape):
            return f"{noun} {i} alone: returned shape {output.shape}"
        alone.append(output.reshape(shape))
    is_mean = run.trials.reduction is not Reduction.SUM
    if run.output.ndim == 0:
        return run.difference(np.asarray(np.mean(alone) if is_mean else np.sum(alone)), run.output, words)
    stacked = np.concatenate(alone, axis=axis)
    if run.trials.operation.of_losses and is_mean:
        stacked = stacked / len(alone)
    return run.difference(stacked, run.output, words)


def _sum_to_1(run: EasyRun) -> str:
    """The probabilities of a row sum to 1."""
    return _wrong_sum(run, 1.0, 1.0, "the probabilities of row")


def _sum_to_0(run: EasyRun) -> str:
    """The gradient of a row sums to 0."""
    return _wrong_sum(run, 0.0, float(np.abs(run.output.astype(np.float64)).max()), "the gradient of row")


def _wrong_sum(run: EasyRun, right: float, scale: float, noun: str) -> str:
    sums = run.output.astype(np.float64).sum(axis=-1)
    is_wrong = ~(np.abs(sums - right) <= 2 * run.limit_ulp * run.format.u * scale)
    row = int(np.argmax(is_wrong))
    return f"{noun} {row} sum to {sums[row]:.6g}" if is_wrong.any() else ""


def _mirrored(meaning: str, implied: Callable[[Array], Array], words: str) -> Callable[[EasyRun], str]:
    """Make the law that the output at -x, with targets 1 - t, implies the output at x."""

    def law(run: EasyRun) -> str:
        targets = None if run.case.cell_targets is None else 1.0 - run.case.cell_targets
        after = run.output_on(replace(run.case, logits=-run.case.logits, cell_targets=targets))
        return run.difference(implied(after), run.output, words)

    law.__doc__ = meaning
    return law


def _differs_by_x(run: EasyRun) -> str:
    """The output at x is that at -x, plus x."""
    logits = run.case.logits
    expected = run.output_on(replace(run.case, logits=-logits)) + logits
    # Where x is the larger, the sum cancels.
    is_compared = np.abs(run.output.astype(np.float64)) >= np.abs(logits)
    return run.difference(np.where(is_compared, expected, run.output), run.output, "f(-x) + x, then f(x)")


def _zero_of_equal_rows(run: EasyRun) -> str:
    """Two equal rows differ by 0."""
    divergences = np.abs(np.atleast_1d(run.output_on(replace(run.case, other_logits=run.case.logits))))
    is_wrong = ~(divergences <= run.limit_ulp * run.format.u)
    return f"two equal rows give {divergences[is_wrong][0]:.6g}" if is_wrong.any() else ""


def _input_unchanged(run: EasyRun) -> str:
    """The arguments are not written into."""
    return "the function writes into its arguments" if run.trial.result.changed_input else ""


def _dtype_kept(run: EasyRun) -> str:
    """The result has the number format of the logits."""
    # A single number has no format to keep: losses are logged as Python floats.
    if run.output.ndim == 0 or name_of(run.output) == run.format.name:
        return ""
    return f"{run.format.name} goes in, {name_of(run.output)} comes out"


def _shape_kept(run: EasyRun) -> str:
    """The result has the shape that the operation gives."""
    return run.trial.trouble if run.trial.verdict is None else ""


LAWS: dict[str, Callable[[EasyRun], str]] = {
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
        np.negative,
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

INTEGER_LAW = "integers-as-floats"
"""An array of integers gives what the same numbers give as floats: of NumPy code, beside the laws of its operation."""
