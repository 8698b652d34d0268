"""The few numbers of a row from which everything follows that `inspect` says of the row."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.kernels.double_double import ONE
from stablemax.kernels.row_sums import RowSums, merged
from stablemax.numerics.formats import Array


class OfRows:
    """A dataclass of arrays whose last axis is that of the rows."""

    @property
    def arrays(self) -> list[Array]:
        """Its arrays, in the order of the fields."""
        return [getattr(self, field.name) for field in dataclasses.fields(self)]  # type: ignore[arg-type]

    def __len__(self) -> int:
        return int(self.arrays[0].shape[-1])

    def rows(self, index: Array) -> Self:
        """Return those of some of the rows, their numbers in ascending order."""
        return self if len(index) == len(self) else type(self)(*(array[..., index] for array in self.arrays))

    @classmethod
    def stacked(cls, several: Sequence[Self]) -> Self:
        """Put the rows of several one after the other."""
        if len(several) == 1:
            return several[0]
        return cls(*(np.concatenate(parts, axis=-1) for parts in zip(*(one.arrays for one in several), strict=True)))


@dataclass(frozen=True, eq=False)
class RowNumbers(OfRows):
    """What is known of each of N rows, in arrays (N,)."""

    at: Array  #: The class of the first maximum.
    top: Array  #: The largest logit; NaN in a row with one.
    second: Array  #: The largest of the other classes; -inf where there is none.
    low: Array  #: The smallest finite logit; inf where there is none.
    finite_top: Array  #: The largest finite logit; -inf where there is none.
    odds: Array  #: ``sum(exp(x_j - m))`` over the other classes than the maximum's.
    #: How many classes are NaN, +inf and -inf.
    nans: Array
    infinities: Array
    masked: Array
    label: Array  #: The logit of the label.

    @cached_property
    def logsumexp(self) -> Array:
        """The logarithm of the sum of all exponentials, (N,)."""
        return np.asarray(self.top + np.log1p(self.odds))

    @cached_property
    def log_odds(self) -> Array:
        """The logarithm of the odds; -inf where all other classes are at -inf, (N,)."""
        return np.log(self.odds)

    @cached_property
    def log_felt(self) -> Array:
        """The logarithm of the second largest exponential over the largest and over 1 + abs(top), (N,)."""
        return np.asarray((self.second - self.top) - np.log1p(np.abs(self.top)))

    @cached_property
    def size(self) -> Array:
        """The largest absolute value of a finite logit, where the maximum is finite, (N,)."""
        return np.maximum(np.abs(self.top), np.abs(self.low))


def row_numbers(x: Array, labels: Array | None, workspace: Workspace) -> RowNumbers:
    """Return the numbers of rows (N, K) in float32 or float64; without labels each row has its maximum's class.

    The workspace's buffer "exponentials" holds ``exp(x - m)`` afterwards, 0 at the maximum.

    >>> from stablemax.inputs.workspace import Workspace
    >>> numbers = row_numbers(np.array([[0.0, -np.inf, 3.0, 1.0]]), None, Workspace())
    >>> numbers.top.item(), numbers.second.item(), numbers.low.item(), numbers.masked.item()
    (3.0, 1.0, 0.0, 1)
    """
    row = np.arange(len(x))
    at = x.argmax(axis=1)
    top = x[row, at].astype(np.float64)
    low = x.min(axis=1).astype(np.float64)
    d = workspace.take("exponentials", x.shape)
    if x.dtype == np.float64:
        np.subtract(x, top[:, None], out=d)
    else:
        # Two passes, because a ufunc that converts does it in small pieces, which is slower.
        np.copyto(d, x)
        d -= top[:, None]
    d[row, at] = -math.inf
    second = x[row, d.argmax(axis=1)].astype(np.float64) if x.shape[1] > 1 else np.full(len(x), -math.inf)
    odds = np.add.reduce(np.exp(d, out=d), axis=1)
    counts = np.zeros((3, len(x)), np.int64)
    finite_top = top.copy()
    odd = np.flatnonzero(~(np.isfinite(low) & np.isfinite(top)))
    if len(odd):
        odd_rows = x[odd]
        counts[:, odd] = _not_finite(odd_rows, top[odd])
        finite = np.isfinite(odd_rows)
        low[odd] = odd_rows.min(axis=1, where=finite, initial=math.inf)
        finite_top[odd] = odd_rows.max(axis=1, where=finite, initial=-math.inf)
    label = top if labels is None else x[row, labels].astype(np.float64)
    return RowNumbers(at, top, second, low, finite_top, odds, counts[0], counts[1], counts[2], label)


def _not_finite(x: Array, top: Array) -> Array:
    """Count NaN, +inf and -inf in each row; most rows with anything of it have -inf alone."""
    counts = np.zeros((3, len(x)), np.int64)
    counts[2] = np.count_nonzero(x == -math.inf, axis=1)
    rest = np.flatnonzero(~(top < math.inf))
    counts[0, rest] = np.count_nonzero(np.isnan(x[rest]), axis=1)
    counts[1, rest] = np.count_nonzero(x[rest] == math.inf, axis=1)
    return counts


def joined(first: RowNumbers, then: RowNumbers, offset: int) -> RowNumbers:
    """Join the numbers of two pieces of the same rows, the second beginning at class `offset`.

    The labels are taken to be the classes of the maxima.
    """
    whole = merged(_sums_of(first), _sums_of(then))
    # A NaN is a maximum of its piece and stays one.
    later = (then.top > first.top) | (np.isnan(then.top) & ~np.isnan(first.top))
    return RowNumbers(
        np.where(later, then.at + offset, first.at),
        whole.m,
        np.fmax(np.minimum(first.top, then.top), np.fmax(first.second, then.second)),
        np.minimum(first.low, then.low),
        np.fmax(first.finite_top, then.finite_top),
        np.where(whole.m == -math.inf, math.nan, whole.high / ONE),
        first.nans + then.nans,
        first.infinities + then.infinities,
        first.masked + then.masked,
        whole.m,
    )


def _sums_of(piece: RowNumbers) -> RowSums:
    """Return the sums of a piece; one of nothing but -inf, whose odds are NaN, adds nothing."""
    odds = np.where(piece.top == -math.inf, 0.0, piece.odds)
    return RowSums(piece.top, odds * ONE, np.zeros(len(piece)))
