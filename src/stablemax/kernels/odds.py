"""The odds against a row's maximum, which every accurate formula begins with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.formats import FLOAT64

if TYPE_CHECKING:
    from stablemax.formats import Array
    from stablemax.workspace import Workspace

REACH = 300.0
"""Rows with a maximum of at most this size need no shift: in float64 nothing of theirs overflows, and what
underflows is below 2**-588 of the maximum's exponential."""
SUM_ERROR_U = 4.0
"""Error of fast odds in units of u, as measured: the sum is pairwise, so that it hardly grows with K."""
SMALLEST_EXACT = 2.0**-960
"""Below, some of the exponentials in the odds may be subnormal, or have underflowed."""
DOUBT_U = 1.5
"""Rows whose result may be off by more units of u because of their odds are computed again, with care."""


@dataclass(frozen=True)
class Odds:
    """What a row's maximum is up against.

    Attributes
    ----------
    at : ndarray of int (N,)
        The class of the (first) maximum; of the first NaN, where there is one.
    m : ndarray of float64 (N,)
        The maximum.
    q : ndarray of float64 (N,)
        ``sum(exp(x_j - m))`` over the other classes: (1 - p) / p of the maximum's probability.
    low : ndarray of float64 (N,)
        What the rounding of q took off, where it is known; else 0.
    top : ndarray of float64 (N,)
        The maximum's own exponential, in the scale of those that q was made of: 1 where m was
        subtracted from the logits.
    """

    at: Array
    m: Array
    q: Array
    low: Array
    top: Array

    def log1p(self) -> Array:
        """Return ``log(1 + q)``, -log of the maximum's probability."""
        return np.log1p(self.q) + self.low / (1.0 + self.q)

    def doubtful(self, share: Array, classes: int) -> Array:
        """Mark the rows whose result needs careful odds.

        Parameters
        ----------
        share : ndarray (N,)
            ``|d result / d q| q / |result|``: how much of a relative error of q arrives in the result.
        classes : int
            K.

        Notes
        -----
        Where m is subtracted, ``x - m`` is rounded by at most u |x - m|, so that q is off by at most
        ``u sum(e |log e|) <= u q log((K - 1) / q)`` (the entropy of the others is at most log(K - 1)).
        The sum and its quotient add a few u more. A q of 0 may be a sum of underflows.
        """
        if classes == 1:
            return np.zeros(len(self.q), dtype=bool)
        spread = np.where(np.abs(self.m) <= REACH, 0.0, np.log((classes - 1) / self.q))
        return np.asarray((share * (SUM_ERROR_U + spread) > DOUBT_U) | (self.q == 0))


def widened(x: Array, workspace: Workspace) -> Array:
    """Return the numbers as float64: the array itself, or a copy in the workspace's "wide" buffer."""
    if x.dtype == np.float64:
        return x
    out = workspace.take("wide", x.shape)
    if x.dtype.kind == "V" and x.dtype.itemsize == 2:
        # bfloat16 is the upper half of a float32; ml_dtypes converts one number at a time.
        upper = workspace.take("upper", x.shape, np.uint32)
        np.copyto(upper, x.view(np.uint16))
        upper <<= 16
        x = upper.view(np.float32)
    with np.errstate(invalid="ignore"):  # a signalling NaN
        np.copyto(out, x)
    return out


def maxima(x: Array) -> tuple[Array, Array]:
    """Return the class of each row's maximum and the maximum as float64; NaN where there is one."""
    at = x.argmax(axis=1)
    return at, x[np.arange(len(x)), at].astype(np.float64)


def fast_odds(x: Array, workspace: Workspace, *, reach: float = REACH) -> Odds:
    """Return the odds of each row, rounding errors not put back.

    Parameters
    ----------
    x : ndarray (N, K)
        float32, or float64 of the caller; other formats are widened first.
    workspace : Workspace
        Its buffer "exponentials" holds ``exp(x - c)`` afterwards, 0 at the maximum.
    reach : float
        c is 0 for a row whose maximum is of at most this size, else the maximum. The subtraction is a
        pass over the logits and rounds; exp is as accurate without it.
    """
    e = workspace.take("exponentials", x.shape)
    at, m = maxima(x)
    row = np.arange(len(x))
    c = np.where(np.abs(m) <= reach, 0.0, m)
    # 0 is subtracted from the other rows of the block, which changes no bit of them.
    shifted = bool(c.any())
    if x.dtype != np.float64:
        # A ufunc that converts does it in small pieces, which is slower than a pass of its own.
        np.copyto(e, x)
        if shifted:
            e -= c[:, None]
        np.exp(e, out=e)
    elif shifted:
        np.exp(np.subtract(x, c[:, None], out=e), out=e)
    else:
        np.exp(x, out=e)
    # exp(m - c), which is NaN for an infinite m.
    top = np.where(c == 0, e[row, at], 1.0)
    e[row, at] = 0.0
    return Odds(at, m, np.add.reduce(e, axis=1) / top, np.zeros(len(x)), top)


def careful_odds(x: Array, workspace: Workspace) -> Odds:
    """Return the odds of each row to about 1 ulp, whatever the logits.

    Parameters
    ----------
    x : ndarray (N, K)
        Of any format.
    workspace : Workspace
        Of the calling worker.

    Notes
    -----
    Between numbers of 24 bits that are less than 2**29 apart, x - m is exact in float64, and only the
    sum needs care. Otherwise the rounding error of x - m is put back, in float64 as
    `Arithmetic.odds` does, which is the faster way.
    """
    wide, xp = widened(x, workspace), Arithmetic(FLOAT64)
    room = (workspace.take("exponentials", x.shape), workspace.take("errors", x.shape))
    if x.dtype.itemsize > 4 or x.dtype.kind in "iu":
        at, m = maxima(wide)
        return Odds(at, m, xp.odds(wide, room)[:, 0], np.zeros(len(x)), np.ones(len(x)))
    odds = fast_odds(wide, workspace, reach=0.0)
    high, low = xp.sum_in_two(room[0], room[1])
    odds.q[:], odds.low[:] = two_sum(high[:, 0], low[:, 0])
    rough = np.flatnonzero(_may_round(wide, room[1]))
    if len(rough):
        again = exponentials(wide[rough], odds.m[rough])
        again[np.arange(len(rough)), odds.at[rough]] = 0.0
        high, low = xp.sum_in_two(again, np.empty_like(again))
        odds.q[rough], odds.low[rough] = two_sum(high[:, 0], low[:, 0])
    tiny = np.flatnonzero(odds.q < SMALLEST_EXACT)
    if len(tiny):
        odds.q[tiny], odds.low[tiny] = xp.odds(wide[tiny])[:, 0], 0.0
    return odds


def exponentials(x: Array, m: Array) -> Array:
    """Return ``exp(x - m)`` of float64 logits (N, K), the rounding error of x - m put back.

    For any constant m of a row: exp(d + r) is exp(d) (1 + r) to first order in a tiny r.
    """
    d, r = two_sum(x, -m[:, None])
    e = np.exp(d)
    # -inf - m leaves NaN as its error; its exponential is 0.
    e += e * np.where(np.isfinite(r), r, 0.0)
    return np.asarray(e)


def _may_round(x: Array, work: Array) -> Array:
    """Mark rows of numbers of 24 bits whose differences may need more than 53."""
    sizes = np.abs(x, out=work)
    largest = sizes.max(axis=1, where=sizes < np.inf, initial=0.0)
    smallest = sizes.min(axis=1, where=sizes > 0, initial=np.inf)
    return np.asarray(smallest * 2.0**28 < largest)


def merged(first: Odds, second: Odds, offset: int) -> Odds:
    """Merge the odds of two pieces of the same rows, the second beginning at class `offset`.

    The online merge of Milakov and Gimelshein, arXiv 1805.02867, with the maximum's own exponential
    left out of the sum, and the rounding error of the difference of the maxima put back.
    """
    # A NaN is a maximum of its piece and must stay one.
    later = (second.m > first.m) | (np.isnan(second.m) & ~np.isnan(first.m))
    m, low = np.where(later, second.m, first.m), np.where(later, first.m, second.m)
    q, other = np.where(later, second.q, first.q), np.where(later, first.q, second.q)
    scale = exponentials(low[:, None], m)[:, 0]
    # A piece of nothing but -inf adds nothing: its own odds are NaN.
    more = np.where(low == -math.inf, 0.0, scale * (1.0 + other))
    q = np.where(m == -math.inf, math.nan, q + more)
    return Odds(np.where(later, second.at + offset, first.at), m, q, np.zeros(len(q)), np.ones(len(q)))


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the rounded sum and its rounding error: Knuth's 2Sum, for any signs and sizes.

    Examples
    --------
    >>> two_sum(np.array([1.0]), np.array([1e-20]))
    (array([1.]), array([1.e-20]))
    """
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)
