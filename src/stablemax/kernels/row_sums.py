"""What every accurate formula begins with: the maximum of a row, and the sum of the other classes' exponentials."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from stablemax.kernels.double_double import LEAST, ONE, exp_in_two, log1p_in_two, where
from stablemax.numerics.formats import Array
from stablemax.numerics.rounding_errors import two_prod, two_sum

TINY = 2.0**-900


class RowSums(NamedTuple):
    """The maximum m of each row, and the sum of ``exp(x - m)`` over all classes but one that has it.

    They are arrays (N,), and of a single row the scalars that `of_rows` gives.
    The sum, in two numbers, is `double_double.ONE` times what it is. It is NaN in a row with a NaN; in a row with +inf,
    or of nothing but -inf, m tells that there is no such sum.
    """

    m: Array
    high: Array
    low: Array

    @classmethod
    def of(cls, m: Array, high: Array, low: Array) -> RowSums:
        """Take arrays (N,)."""
        return cls(of_rows(m), of_rows(high), of_rows(low))

    def total(self) -> tuple[Array, Array]:
        """Return the sum of all exponentials."""
        high, low = two_sum(ONE, self.high)
        return high, low + self.low

    def log1p(self) -> tuple[Array, Array]:
        """Return ``-log(p)`` of the maximum's probability p: NaN in a row of nothing but -inf, or with +inf twice."""
        high, low = log1p_in_two(self.high / ONE, self.low / ONE)
        return where((self.m == -math.inf) | (self.m == math.inf) & (self.high >= ONE), math.nan, high), low

    def losses(self, label_logits: Array, weights: Array | None = None) -> Array:
        """Return ``(m - x_y) + log(1 + q)`` of labels' logits (N,), times weights: neither term is negative."""
        high, low = self.log1p()
        d, r = two_sum(self.m, -label_logits)
        total, rest = two_sum(d, high)
        # A label at -inf, or a difference beyond the largest number.
        found = where(np.isfinite(d), total + (rest + (r + low)), d + high)
        if weights is None:
            return found
        # Of what is this small log(1 + q) is q, and a weight may bring it back from underflow.
        return where(found < TINY, self.high * weights / ONE, found * weights)

    def logsumexps(self) -> tuple[Array, Array]:
        """Return ``m + log(1 + q)``, the limits where m is infinite, and a bound of its error in ulps.

        Near 0 the two terms cancel, and the bound is large.
        """
        high, low = self.log1p()
        total, rest = two_sum(self.m, high)
        # The sum is NaN in a row with a NaN beside an infinity.
        found = where(np.isinf(self.m), self.m + 0.0 * self.high, total + (rest + low))
        return found, 0.5 + where(np.isfinite(found), high * 2.0**-55 / np.spacing(np.abs(found)), 0.0)


def of_rows(values: Array) -> Any:
    """Return one number of each row, (N,), as an array; of a single row as NumPy's scalar.

    An operation on a scalar takes a seventh of the time of one on an array of one number.
    """
    return values[0] if len(values) == 1 else values


def in_rows(values: Any) -> Array:
    """Return what `of_rows` gave as an array (N,)."""
    return np.asarray(values).reshape(-1)


def merged(first: RowSums, second: RowSums) -> RowSums:
    """Merge the sums of two pieces of the same rows.

    The online merge of Milakov and Gimelshein, arXiv 1805.02867, with the maximum's own exponential left out of the
    sum, and the errors of the roundings kept: in a row of many pieces they would add up.
    """
    m, below = np.maximum(first.m, second.m), np.minimum(first.m, second.m)
    later = second.m > first.m
    high, low = np.where(later, second.high, first.high), np.where(later, second.low, first.low)
    lower = RowSums(below, np.where(later, first.high, second.high), np.where(later, first.low, second.low))
    d, r = two_sum(below, -m)
    # Infinities, too, may be equal.
    same, inside = below == m, d > LEAST
    d = np.where(same, 0.0, np.maximum(d, LEAST))
    scale, scale_low = exp_in_two(d, np.where(inside, r, 0.0))
    whole, rest = lower.total()
    more, error = two_prod(scale / ONE, whole)
    error += scale_low / ONE * whole + scale / ONE * rest
    # A piece of nothing but -inf adds nothing, and a sum beside +inf means nothing.
    nothing = ((below == -math.inf) | (m == math.inf)) & ~same & ~np.isnan(whole)
    more, error = np.where(nothing, 0.0, more), np.where(nothing, 0.0, error)
    high, rest = two_sum(high, more)
    high, rest = two_sum(high, rest + low + error)
    return RowSums(m, high, rest)
