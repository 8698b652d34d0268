"""What the formulas come to in a number format, from a few numbers of each row instead of all its logits.

Each formula is carried out on the row's maximum, its second largest, its smallest finite and its label's
logit, every operation rounded to the format; the sum of the other exponentials comes from the odds of
float64. That is right, because rounding is monotone: the maximum of the rounded logits is the rounded
maximum, the first exponential to overflow is the largest, and the last to underflow too. So a row
comes out as all its cells would, unless it lies within rounding of a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from stablemax.inspection.tails import MARGIN, underflow_edge
from stablemax.results import Outcome
from stablemax.vocabulary import Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stablemax.formats import Array, Format
    from stablemax.inspection.numbers import RowNumbers
    from stablemax.inspection.tails import Tails

OPERATIONS = (Operation.SOFTMAX, Operation.CROSS_ENTROPY, Operation.CROSS_ENTROPY_GRAD)
FORMULAS = ("naive", "shifted")
CODES = tuple(Outcome)
"""Outcomes from harmless to worst; arrays of outcomes hold positions in it."""
CLEAR = 16.0
"""How many times a threshold a number is from it where nobody needs to look closely."""
LARGEST_EXPONENT = 700.0
"""Beyond, exp in float64 is near its own end, and the odds are those of the second largest logit alone."""


def tied(numbers: RowNumbers, fmt: Format) -> Array:
    """Mark the rows whose two largest logits differ and are equal in the format, (N,)."""
    top, second = fmt.round(numbers.top), fmt.round(numbers.second)
    return np.asarray((numbers.top > numbers.second) & (top == second))


def cannot_hold(numbers: RowNumbers, fmt: Format) -> Array:
    """Mark the rows with a logit that is beyond the format, (N,).

    -inf is one where the format has no infinity. Of the finite logits the largest and the smallest
    tell, because rounding is monotone.
    """
    beyond = ~np.isfinite(fmt.round(numbers.finite_top)) | ~np.isfinite(fmt.round(numbers.low))
    return np.asarray(beyond | ((numbers.masked > 0) & (not fmt.has_inf)))


def outcomes(
    numbers: RowNumbers, tails: Tails, place: int, classes: int, fmt: Format
) -> Mapping[tuple[Operation, str], Array]:
    """Predict what becomes of each row.

    Parameters
    ----------
    numbers : RowNumbers
        Of rows that have a softmax; the gradient is that of the sum of the losses.
    tails : Tails
        What their small exponentials come to.
    place : int
        Where in `tails` the format is.
    classes : int
        K.
    fmt : Format
        What everything is computed in. The truth is taken at the logits that it rounds to.

    Returns
    -------
    mapping of (Operation, str) to ndarray of int8 (N,)
        Positions in `CODES` of each row's worst outcome, for the formulas ``naive`` and ``shifted``.

        ``input-overflow``: the format cannot hold a logit of the row, whatever the formula.

        ``nan``: a cell is NaN where there is a value: the largest exponential overflows and inf / inf
        is NaN, all underflow and 0 / 0 is, or a format without infinities answers NaN to any overflow.

        ``overflow``: the loss is infinite and should be finite: log of a sum that overflowed, or
        that is 0.

        ``lost``: a cell is 0 where a normal number of the format is right, or all probabilities are:
        the exponential underflowed in the naive formula, or the sum overflowed. Of a loss and a
        gradient: 1 + odds was rounded to 1, or p - 1 to 0: the label is nearly certain, its loss
        collapses to 0, and learning stops.
    """
    keys = [(operation, formula) for formula in FORMULAS for operation in OPERATIONS]
    found = {key: np.zeros(len(numbers), np.int8) for key in keys}
    with np.errstate(all="ignore"):
        near = np.flatnonzero(~far_from_thresholds(numbers, tails.dropped[place], fmt))
        if len(near):
            some = tails.naive[place, near], tails.shifted[place, near], tails.dropped[place, near]
            for key, codes in _outcomes_near(numbers.rows(near), *some, classes, fmt).items():
                found[key][near] = codes
    return found


def far_from_thresholds(numbers: RowNumbers, dropped: Array, fmt: Format) -> Array:
    """Mark rows that are so far from everything that can happen that all their outcomes are ok, (N,).

    Parameters
    ----------
    numbers : RowNumbers
        Of the rows.
    dropped : ndarray of int64 (N,)
        As in `Tails`, of the format.
    fmt : Format
        The format.

    Notes
    -----
    Saves carrying the formulas out: of ordinary logits nearly all rows are such, in the formats of more
    than 8 bits. Every difference of logits is given the ulp by which their rounding may move it.
    """
    size = np.maximum(np.abs(numbers.top), np.abs(numbers.low))
    ulp = 2.0 * fmt.u * size
    # The naive loss is a difference of numbers as large as the maximum.
    absorbed = CLEAR * fmt.u * (1.0 + np.abs(numbers.top))
    return np.asarray(
        (size < fmt.max / CLEAR)
        & ((numbers.masked == 0) | fmt.has_inf)
        & (dropped == 0)
        & (numbers.top + np.log1p(numbers.odds) + ulp < fmt.exp_overflow.real - MARGIN)
        & (numbers.second - ulp > np.log(fmt.smallest_normal) + MARGIN)
        & (numbers.odds * np.exp(ulp) < fmt.max / CLEAR)
        & (np.exp(numbers.second - numbers.top - ulp) > absorbed)
    )


def _outcomes_near(
    numbers: RowNumbers, naive: Array, shifted: Array, dropped: Array, classes: int, fmt: Format
) -> dict[tuple[Operation, str], Array]:
    """Carry the formulas out on the numbers of rows."""
    held = cannot_hold(numbers, fmt)
    row = _RoundedRow(numbers, fmt, classes)
    # A class that is dropped and is the label's has gradient -1, which is right.
    lowest = numbers.top + np.log1p(numbers.odds) + np.log(fmt.smallest_normal)
    label_dropped = (numbers.label > lowest) & (numbers.label < underflow_edge(fmt))
    found: dict[tuple[Operation, str], Array] = {}
    for formula, run in (
        ("naive", _naive(row, naive, dropped > 0, dropped > label_dropped)),
        ("shifted", _shifted(row, shifted)),
    ):
        for operation, codes in zip(OPERATIONS, run.outcomes(row), strict=True):
            codes[held] = CODES.index(Outcome.INPUT_OVERFLOW)
            found[operation, formula] = codes
    return found


@dataclass(frozen=True)
class _RoundedRow:
    """The numbers of rows as the format holds them, and the truth about them."""

    numbers: RowNumbers
    fmt: Format
    classes: int

    @cached_property
    def top(self) -> Array:
        return self.fmt.round(self.numbers.top)

    @cached_property
    def second(self) -> Array:
        # A format without infinities has no -inf, which here stands for no other class at all.
        second = self.numbers.second
        return np.where(second == -np.inf, second, self.fmt.round(second))

    @cached_property
    def low(self) -> Array:
        return self.fmt.round(self.numbers.low)

    @cached_property
    def label(self) -> Array:
        return self.fmt.round(self.numbers.label)

    @cached_property
    def odds(self) -> Array:
        """The odds at the rounded logits, as if all others were rounded as the second largest is."""
        gap = self.numbers.top - self.numbers.second
        alike = np.where(gap < LARGEST_EXPONENT, self.numbers.odds * np.exp(gap), 1.0)
        return np.asarray(np.clip(alike, 1.0, max(1, self.classes - 1)) * np.exp(self.second - self.top))

    @cached_property
    def other(self) -> Array:
        """The largest logit of the classes that are not the label."""
        return np.where(self.label == self.top, self.second, self.top)

    def probability(self, logits: Array) -> Array:
        """The probabilities of logits."""
        return np.asarray(np.exp(logits - self.top) / (1.0 + self.odds))

    @cached_property
    def loss(self) -> Array:
        return np.asarray((self.top - self.label) + np.log1p(self.odds))

    @cached_property
    def gradient(self) -> Array:
        """Of the label's logit."""
        certain = self.odds / (1.0 + self.odds)
        return -np.where(self.label == self.top, certain, 1.0 - self.probability(self.label))


@dataclass(frozen=True)
class _Run:
    """What a formula computes of rows: everything rounded to the format."""

    total: Array
    top: Array
    other: Array
    loss: Array
    gradient: Array
    poisoned: Array
    dropped: Array
    other_dropped: Array

    def outcomes(self, row: _RoundedRow) -> tuple[Array, Array, Array]:
        """Judge softmax, loss and gradient."""
        fmt = row.fmt
        absorbed = np.isinf(self.total)
        other_right = fmt.round(row.probability(row.other))
        # Where the sum is inf all probabilities are 0, and the judgement is of all of them.
        other_lost = (self.other == 0) & ((other_right >= fmt.smallest_normal) | (absorbed & (other_right != 0)))
        softmax = _judged(self.top, row.probability(row.top), fmt, strict=True)
        _worsen(softmax, self.dropped, Outcome.LOST)
        loss = _judged(self.loss, row.loss, fmt)
        gradient = _judged(self.gradient, row.gradient, fmt)
        _worsen(gradient, other_lost | self.other_dropped, Outcome.LOST)
        for codes in (softmax, gradient):
            _worsen(codes, self.poisoned, Outcome.NAN)
        return softmax, loss, gradient


def _judged(output: Array, truth: Array, fmt: Format, *, strict: bool = False) -> Array:
    """Judge numbers as `measure.judge` does; a 0 below the smallest normal number is no failure, unless strict."""
    right = fmt.round(truth)
    codes = np.zeros(len(output), np.int8)
    _worsen(codes, (output == 0) & (right != 0), Outcome.LOST)
    _worsen(codes, np.isinf(output) & np.isfinite(right), Outcome.OVERFLOW)
    _worsen(codes, np.isnan(output), Outcome.NAN)
    tiny = (np.abs(truth) < fmt.smallest_normal) & (np.abs(output) <= fmt.smallest_normal)
    same = (output == right) | (np.isnan(output) & np.isnan(right))
    codes[same | (tiny & (not strict))] = 0
    return codes


def _worsen(codes: Array, where: Array, outcome: Outcome) -> None:
    codes[where] = np.maximum(codes[where], CODES.index(outcome))


def _naive(row: _RoundedRow, tail: Array, dropped: Array, other_dropped: Array) -> _Run:
    """``exp(x) / sum``, ``log(sum) - x_y``, ``exp(x) / sum - onehot``."""
    rounded = row.fmt.round
    e = rounded(np.exp(row.top))
    rest = _rest(row, tail, np.exp(row.second) / e, rounded(np.exp(row.second)) / e)
    # The others of an exponential of 0 are 0 too, and nothing is added to inf.
    total = rounded(np.where((e > 0) & (e < np.inf), e + e * rest, e))
    top = rounded(e / total)
    at_label, other = (rounded(rounded(np.exp(x)) / total) for x in (row.label, row.other))
    return _Run(
        total=total,
        top=top,
        other=other,
        loss=rounded(rounded(np.log(total)) - row.label),
        gradient=rounded(at_label - 1.0),
        poisoned=np.isnan(top),
        dropped=dropped,
        other_dropped=other_dropped,
    )


def _rest(row: _RoundedRow, tail: Array, second: Array, rounded_second: Array) -> Array:
    """Sum the exponentials but the largest, over it.

    Parameters
    ----------
    row : _RoundedRow
        The rows.
    tail : ndarray (N,)
        The share that does not underflow, where it is known. Elsewhere the others are few, or far from
        underflow, and what becomes of them becomes of the second largest.
    second, rounded_second : ndarray (N,)
        The second largest exponential over the largest, itself rounded or not.
    """
    alone = np.exp(row.second - row.top)
    gained = np.where(np.isnan(tail), rounded_second, second * tail) / alone
    # Where the second largest is 0, all the others are.
    return np.asarray(np.where((alone > 0) & (rounded_second > 0), row.odds * gained, 0.0))


def _shifted(row: _RoundedRow, tail: Array) -> _Run:
    """The same with ``x - m`` in the place of x."""
    rounded = row.fmt.round
    # A difference beyond a format without infinities is NaN, and NaN is in every sum.
    reach = rounded(row.low - row.top)
    d = np.where(row.second == -np.inf, row.second, rounded(row.second - row.top))
    rest = np.where(np.isnan(reach), np.nan, _rest(row, tail, np.exp(d), rounded(np.exp(d))))
    total = rounded(1.0 + rest)
    top = rounded(1.0 / total)
    d = rounded(row.label - row.top)
    at_label = rounded(rounded(np.exp(d)) / total)
    other = rounded(rounded(np.exp(rounded(row.other - row.top))) / total)
    nothing = np.zeros(len(total), dtype=bool)
    return _Run(
        total=total,
        top=top,
        other=other,
        loss=rounded(rounded(np.log(total)) - d),
        gradient=rounded(at_label - 1.0),
        poisoned=np.isnan(top),
        dropped=nothing,
        other_dropped=nothing,
    )
