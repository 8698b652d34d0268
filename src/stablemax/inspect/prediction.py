"""What the formulas come to in a number format, from a few numbers of each row instead of all its logits.

Each formula is carried out on the row's maximum, its second largest, its smallest finite and its label's
logit, every operation rounded to the format; the sum of the other exponentials comes from the odds of
float64. That is right, because rounding is monotone: the maximum of the rounded logits is the rounded
maximum, the first exponential to overflow is the largest, and the last to underflow too. So a row
comes out as all its cells would, unless it lies within rounding of a threshold.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from stablemax.inspect.row_numbers import RowNumbers
from stablemax.inspect.tails import MARGIN, Tails, underflow_edge
from stablemax.numerics.formats import Array, Format
from stablemax.operations.cross_entropy import OPERATION as CROSS_ENTROPY
from stablemax.operations.cross_entropy_grad import OPERATION as CROSS_ENTROPY_GRAD
from stablemax.operations.operation import Operation
from stablemax.operations.softmax import OPERATION as SOFTMAX
from stablemax.results import Outcome

OPERATIONS = (SOFTMAX, CROSS_ENTROPY, CROSS_ENTROPY_GRAD)
"""What is predicted."""
FORMULAS = ("naive", "shifted")
_SOFTMAX, _GRADIENT, _NAIVE = OPERATIONS.index(SOFTMAX), OPERATIONS.index(CROSS_ENTROPY_GRAD), FORMULAS.index("naive")
CODES = tuple(Outcome)
"""Outcomes from harmless to worst; arrays of outcomes hold positions in it."""
CLEAR = 16.0
"""A number this many times away from a threshold is clear of it: its row is not looked at closely."""
LARGEST_EXPONENT = 700.0
"""Beyond this exponent, exp in float64 nearly overflows, and the odds are those of the second largest logit alone."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """The numbers of rows that have a softmax, as a format holds them, and the truth about them.

    The truth is taken at the logits that the format rounds to.
    """

    numbers: RowNumbers
    fmt: Format
    classes: int

    def rows(self, index: Array) -> Rounded:
        """Return some of the rows, their numbers in ascending order."""
        return self if len(index) == len(self.numbers) else replace(self, numbers=self.numbers.rows(index))

    @cached_property
    def top(self) -> Array:
        """The largest logit, rounded."""
        return self.fmt.round(self.numbers.top)

    @cached_property
    def second(self) -> Array:
        """The second largest logit, rounded; -inf where there is none."""
        # A format without infinities has no -inf, which here stands for no other class at all.
        second = self.numbers.second
        return np.where(second == -np.inf, second, self.fmt.round(second))

    @cached_property
    def low(self) -> Array:
        """The smallest finite logit, rounded."""
        return self.fmt.round(self.numbers.low)

    @cached_property
    def label(self) -> Array:
        """The logit of the label, rounded."""
        return self.fmt.round(self.numbers.label)

    @cached_property
    def tied(self) -> Array:
        """Rows whose two largest logits differ and are equal in the format."""
        return np.asarray((self.numbers.top > self.numbers.second) & (self.top == self.second))

    @cached_property
    def beyond(self) -> Array:
        """Rows with a logit that is beyond the format.

        -inf is one where the format has no infinity. Of the finite logits the largest and the smallest
        tell, because rounding is monotone.
        """
        beyond = self.fmt.lacks(self.numbers.top) | self.fmt.lacks(self.numbers.low)
        return beyond if self.fmt.has_inf else beyond | (self.numbers.masked > 0)

    @cached_property
    def second_exponential(self) -> Array:
        """The second largest exponential over the largest."""
        return np.exp(self.second - self.top)

    @cached_property
    def odds(self) -> Array:
        """The odds at the rounded logits, as if all others were rounded as the second largest is."""
        gap = self.numbers.top - self.numbers.second
        alike = np.where(gap < LARGEST_EXPONENT, self.numbers.odds * np.exp(gap), 1.0)
        return np.asarray(np.clip(alike, 1.0, max(1, self.classes - 1)) * self.second_exponential)

    @cached_property
    def label_leads(self) -> Array:
        """Rows whose label has the largest logit: the second largest is then the largest of the other classes."""
        return np.asarray(self.label == self.top)


def outcomes(rounded: Rounded, tails: Tails, format_index: int) -> Mapping[tuple[Operation, str], Array]:
    """Predict the worst outcome of each row in a format of `tails`, as positions in `CODES` (N,).

    ``input-overflow``: the format cannot hold a logit of the row, whatever the formula.

    ``nan``: a cell is NaN where there is a value: the largest exponential overflows and inf / inf is NaN,
    all underflow and 0 / 0 is, or a format without infinities answers NaN to any overflow.

    ``overflow``: the loss is infinite and should be finite: log of a sum that overflowed, or that is 0.

    ``lost``: a cell is 0 where a normal number of the format is right, or all probabilities are: the
    exponential underflowed in the naive formula, or the sum overflowed. A loss or a gradient (of the sum of
    the losses) is lost where 1 + odds was rounded to 1, or p - 1 to 0: the label is nearly certain, its loss
    collapses to 0, and learning stops.
    """
    with np.errstate(all="ignore"):
        near = np.flatnonzero(~far_from_thresholds(rounded, tails.dropped[format_index]))
        codes = np.zeros((len(OPERATIONS), len(FORMULAS), len(rounded.numbers)), np.int8)
        if len(near):
            codes[..., near] = _outcomes_near(rounded.rows(near), tails.rows(near), format_index)

    return {
        (operation, formula): codes[i, j]
        for (i, operation), (j, formula) in itertools.product(enumerate(OPERATIONS), enumerate(FORMULAS))
    }


def far_from_thresholds(rounded: Rounded, dropped: Array) -> Array:
    """Mark rows that are so far from everything that can happen that all their outcomes are ok, (N,).

    This saves carrying the formulas out: nearly all rows of ordinary logits are such, in formats of more
    than 8 bits. Every difference of logits is given the ulp by which their rounding may move it.
    """
    numbers, fmt = rounded.numbers, rounded.fmt
    # The naive loss is a difference of numbers as large as the maximum.
    absorbed = math.log(CLEAR * fmt.u)
    if absorbed >= 0:
        return np.zeros(len(numbers), dtype=bool)
    ulp = 2.0 * fmt.u * numbers.size
    return np.asarray(
        (numbers.size < fmt.max / CLEAR)
        & ((numbers.masked == 0) | fmt.has_inf)
        & (dropped == 0)
        & (numbers.logsumexp + ulp < fmt.exp_overflow.real - MARGIN)
        & (numbers.second - ulp > math.log(fmt.smallest_normal) + MARGIN)
        & (numbers.log_odds + ulp < math.log(fmt.max / CLEAR))
        & (numbers.log_felt - ulp > absorbed)
    )


class _Run(NamedTuple):
    """What a formula computes of rows, everything rounded to the format, in arrays (N,)."""

    total: Array
    top: Array  #: The largest probability.
    other: Array  #: The largest probability of the classes that are not the label's.
    loss: Array
    gradient: Array  #: At the label's logit.


def _outcomes_near(row: Rounded, tails: Tails, format_index: int) -> Array:
    """Carry the formulas out on the numbers of rows; return the outcomes (operations, formulas, N)."""
    numbers, fmt = row.numbers, row.fmt
    naive, shifted, dropped = (
        _naive(row, tails.naive[format_index]),
        _shifted(row, tails.shifted[format_index]),
        tails.dropped[format_index],
    )
    total, top, other, loss, gradient = map(np.stack, zip(naive, shifted, strict=True))
    certain = row.odds / (1.0 + row.odds)
    probability = np.exp(row.label - row.top) / (1.0 + row.odds)
    right_other = fmt.round(np.where(row.label_leads, row.second_exponential, 1.0) / (1.0 + row.odds))
    codes = np.stack(
        [
            _judged(top, 1.0 / (1.0 + row.odds), fmt, may_flush=False),
            _judged(loss, (row.top - row.label) + np.log1p(row.odds), fmt),
            _judged(gradient, -np.where(row.label_leads, certain, 1.0 - probability), fmt),
        ]
    )
    # Where the sum is inf all probabilities are 0, and the judgement is of all of them.
    needed = np.where(np.isinf(total), right_other != 0, right_other >= fmt.smallest_normal)
    # A class that is dropped and is the label's has gradient -1, which is right.
    lowest = numbers.logsumexp + math.log(fmt.smallest_normal)
    label_dropped = (numbers.label > lowest) & (numbers.label < underflow_edge(fmt))
    _worsen(codes[_SOFTMAX, _NAIVE], dropped > 0, Outcome.LOST)
    _worsen(codes[_GRADIENT], (other == 0) & needed, Outcome.LOST)
    _worsen(codes[_GRADIENT, _NAIVE], dropped > label_dropped, Outcome.LOST)
    _worsen(codes[_SOFTMAX], np.isnan(top), Outcome.NAN)
    _worsen(codes[_GRADIENT], np.isnan(top), Outcome.NAN)
    codes[..., row.beyond] = CODES.index(Outcome.INPUT_OVERFLOW)
    return codes


def _judged(output: Array, right: Array, fmt: Format, *, may_flush: bool = True) -> Array:
    """Judge the outputs of the formulas (F, N) against what is right (N,), as `truth.measure.judge` does."""
    rounded = fmt.round(right)
    codes = np.zeros(output.shape, np.int8)
    codes[(output == 0) & (rounded != 0)] = CODES.index(Outcome.LOST)
    codes[np.isinf(output) & np.isfinite(rounded)] = CODES.index(Outcome.OVERFLOW)
    codes[np.isnan(output) & ~np.isnan(rounded)] = CODES.index(Outcome.NAN)
    if may_flush:
        codes[(np.abs(right) < fmt.smallest_normal) & (np.abs(output) <= fmt.smallest_normal)] = 0
    return codes


def _worsen(codes: Array, where: Array, outcome: Outcome) -> None:
    np.maximum(codes, where.view(np.int8) * np.int8(CODES.index(outcome)), out=codes)


def _naive(row: Rounded, tail: Array) -> _Run:
    """``exp(x) / sum``, ``log(sum) - x_y``, ``exp(x) / sum - onehot``."""
    rounded = row.fmt.round
    first, second = rounded(np.exp(row.top)), np.exp(row.second)
    rounded_second = rounded(second)
    rest = _rest(row, tail, second / first, rounded_second / first)
    # Where the largest exponential is 0 all others are 0 too, and nothing is added to inf.
    total = rounded(np.where((first > 0) & (first < np.inf), first + first * rest, first))
    at_label = rounded(rounded(np.exp(row.label)) / total)
    return _Run(
        total=total,
        top=rounded(first / total),
        other=rounded(np.where(row.label_leads, rounded_second, first) / total),
        loss=rounded(rounded(np.log(total)) - row.label),
        gradient=rounded(at_label - 1.0),
    )


def _rest(row: Rounded, tail: Array, second: Array, rounded_second: Array) -> Array:
    """Divide the sum of the other exponentials by the largest; `second` is the second largest over it, not rounded.

    `tail` is the share that does not underflow, where it is known. Elsewhere the others are few, or far from
    underflow, and what becomes of them becomes of the second largest.
    """
    alone = row.second_exponential
    unknown = np.isnan(tail)
    gained = (rounded_second if unknown.all() else np.where(unknown, rounded_second, second * tail)) / alone
    # Where the second largest is 0, all the others are.
    return np.asarray(np.where((alone > 0) & (rounded_second > 0), row.odds * gained, 0.0))


def _shifted(row: Rounded, tail: Array) -> _Run:
    """The same with ``x - m`` in the format_index of x."""
    rounded = row.fmt.round
    d = np.where(row.second == -np.inf, row.second, rounded(row.second - row.top))
    second = np.exp(d)
    rounded_second = rounded(second)
    rest = _rest(row, tail, second, rounded_second)
    if not row.fmt.has_inf:
        # A difference beyond a format without infinities is NaN, and NaN is in every sum.
        rest = np.where(np.isnan(rounded(row.low - row.top)), np.nan, rest)
    total = rounded(1.0 + rest)
    d = rounded(row.label - row.top)
    at_label = rounded(rounded(np.exp(d)) / total)
    return _Run(
        total=total,
        top=rounded(1.0 / total),
        other=rounded(np.where(row.label_leads, rounded_second, 1.0) / total),
        loss=rounded(rounded(np.log(total)) - d),
        gradient=rounded(at_label - 1.0),
    )
