"""The odds against a row's maximum, which every accurate formula begins with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT64, Array, Format, format_of
from stablemax.numerics.rounding_errors import two_prod, two_sum

SUM_ERROR_U = 8.0
"""Error of a sum of exponentials, or of one over another, in units of u: the largest that was measured. The sum
is pairwise, so that it does not grow with K."""
SMALLEST_EXACT = 2.0**-960
"""Below, some of the exponentials in the odds may be subnormal, or have underflowed."""
FAST_TO_SEARCH = (np.float32, np.float64)
"""NumPy looks for a maximum in these as fast as they can be read."""


@dataclass(frozen=True)
class Odds:
    """The odds against the maximum of each row: (1 - p) / p of its probability p."""

    at: Array  #: the class of the (first) maximum; of the first NaN, where there is one
    m: Array  #: the maximum
    q: Array  #: ``sum(exp(x_j - m))`` over the other classes: (1 - p) / p of the maximum's probability
    low: Array  #: what the rounding of q took off, where it is known; else 0

    def log1p(self) -> Array:
        """Return ``log(1 + q)``, -log of the maximum's probability."""
        return np.log1p(self.q) + self.low / (1.0 + self.q)

    def error(self, classes: int) -> Array:
        """Return how far q of `fast_odds` may be off, in units of u q, (N,).

        ``x - m`` is rounded by at most u |x - m|, so that q is off by at most
        ``u sum(e |log e|) <= u q log((K - 1) / q)`` (the entropy of the others is at most log(K - 1)),
        beside the error of the sum. A q of 0 may be a sum of underflows.
        """
        return np.asarray(SUM_ERROR_U + np.log(max(1, classes - 1) / self.q))


def is_doubtful(result: Array, share: Array | float, error: Array | float, most_ulp: float) -> Array:
    """Mark the rows in which an error of the odds may move the result by more than some ulp.

    >>> is_doubtful(np.array([1.0, 5.0]), 1.0, 8.0, 1.3)
    array([ True, False])
    """
    return np.asarray(share * error * (FLOAT64.u / most_ulp) > np.spacing(np.abs(result)))


def widened(x: Array, workspace: Workspace, out: Array | None = None) -> Array:
    """Return the numbers as float64: the array itself, or a copy in `out` or in the workspace's "wide" buffer."""
    if x.dtype == np.float64:
        return x
    if out is None:
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


def rows_of(x: Array, at: Array) -> Array:
    """Return some of the rows; all of them without a copy."""
    return x if len(at) == len(x) else x[at]


def maxima(x: Array, workspace: Workspace) -> tuple[Array, Array]:
    """Return the class of each row's maximum and the maximum as float64; NaN where there is one."""
    if x.dtype not in FAST_TO_SEARCH:
        x = widened(x, workspace)
    at = x.argmax(axis=1)
    return at, x[np.arange(len(x)), at].astype(np.float64)


def fast_odds(x: Array, workspace: Workspace) -> Odds:
    """Return the odds of each row, rounding errors not put back."""
    e = workspace.take("exponentials", x.shape)
    at, m = maxima(x, workspace)
    np.exp(np.subtract(widened(x, workspace, e), m[:, None], out=e), out=e)
    e[np.arange(len(x)), at] = 0.0
    return Odds(at, m, np.add.reduce(e, axis=1), np.zeros(len(x)))


def careful_odds(x: Array, workspace: Workspace) -> Odds:
    """Return the odds of each row to about 1 ulp, whatever the logits.

    Differences of narrower numbers are mostly exact in float64 (see `may_round`), and only the sum
    needs care. Otherwise the rounding error of x - m is put back, in float64 as `Arithmetic.odds`
    does, which is the faster way.
    """
    xp, room = Arithmetic(FLOAT64), (workspace.take("exponentials", x.shape), workspace.take("errors", x.shape))
    if not is_narrow(x):
        wide = widened(x, workspace)
        at, m = maxima(wide, workspace)
        return Odds(at, m, xp.odds(wide, room)[:, 0], np.zeros(len(x)))
    odds = fast_odds(x, workspace)
    high, low = xp.sum_in_two(*room, near=odds.q[:, None])
    odds.q[:], odds.low[:] = two_sum(high[:, 0], low[:, 0])
    rough = np.flatnonzero(may_round(x))
    if len(rough):
        again = exponentials(x[rough].astype(np.float64), odds.m[rough])
        again[np.arange(len(rough)), odds.at[rough]] = 0.0
        high, low = xp.sum_in_two(again, np.empty_like(again))
        odds.q[rough], odds.low[rough] = two_sum(high[:, 0], low[:, 0])
    tiny = np.flatnonzero(odds.q < SMALLEST_EXACT)
    if len(tiny):
        odds.q[tiny], odds.low[tiny] = xp.odds(x[tiny].astype(np.float64))[:, 0], 0.0
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


def is_narrow(x: Array) -> bool:
    """Whether numbers have 24 bits or fewer, so that their differences are mostly exact in float64."""
    return x.dtype.itemsize <= 4 and x.dtype.kind not in "iu"


def may_round(x: Array) -> Array:
    """Mark rows of narrow numbers (N, K) of which some difference may need more than 53 bits.

    Numbers of 24 bits have exact differences where their exponents are at most 28 apart. The
    exponents are compared as the integers that lie in the format's bits.

    >>> may_round(np.float32([[1e8, 1.0, 0.0, np.inf], [1e8, 0.1, 0.0, 0.0]]))
    array([False,  True])
    """
    fmt = format_of(x.dtype)
    if fmt.max / fmt.smallest_subnormal < 2.0**52:
        return np.zeros(len(x), dtype=bool)
    kind = np.dtype(f"u{x.dtype.itemsize}").type
    # Without the sign; one exponent further, so that infinity and NaN wrap around to the smallest.
    place = kind(fmt.precision)
    upper = (np.ascontiguousarray(x).view(kind) << kind(1)) + (kind(1) << place)
    # 0 wraps around to the largest; so, nearly, does infinity.
    lower = upper - ((kind(1) << place) + kind(1))
    # Mostly all rows together show that none of them may, and short rows are slow one by one.
    if not _are_far_apart(lower.min(), upper.max(), fmt):
        return np.zeros(len(x), dtype=bool)
    return np.asarray(_are_far_apart(lower.min(axis=1), upper.max(axis=1), fmt))


def _are_far_apart(lower: Any, upper: Any, fmt: Format) -> Any:
    smallest = (lower >> fmt.precision).astype(np.int64) + 1
    # Subnormal numbers have the exponent of the smallest normal one, and fewer bits.
    smallest -= np.where(smallest == 1, fmt.precision, 0)
    return smallest + 28 < (upper >> fmt.precision).astype(np.int64)


def merged(first: Odds, second: Odds, offset: int) -> Odds:
    """Merge the odds of two pieces of the same rows, the second beginning at class `offset`.

    The online merge of Milakov and Gimelshein, arXiv 1805.02867, with the maximum's own exponential
    left out of the sum, the rounding error of the difference of the maxima put back, and the errors of the
    roundings kept: in a row of many pieces they would add up.
    """
    # A NaN is a maximum of its piece and must stay one.
    later = (second.m > first.m) | (np.isnan(second.m) & ~np.isnan(first.m))
    m, low = np.where(later, second.m, first.m), np.where(later, first.m, second.m)
    q, other = np.where(later, second.q, first.q), np.where(later, first.q, second.q)
    q_low, other_low = np.where(later, second.low, first.low), np.where(later, first.low, second.low)
    scale = exponentials(low[:, None], m)[:, 0]
    whole, rest = two_sum(np.ones_like(other), other)
    more, error = two_prod(scale, whole)
    error += scale * (rest + other_low)
    # A piece of nothing but -inf adds nothing: its own odds are NaN.
    nothing = low == -math.inf
    more, error = np.where(nothing, 0.0, more), np.where(nothing, 0.0, error)
    q, rest = two_sum(q, more)
    q, rest = two_sum(q, q_low + error + rest)
    q = np.where(m == -math.inf, math.nan, q)
    # inf - inf is no error.
    return Odds(np.where(later, second.at + offset, first.at), m, q, np.where(np.isfinite(rest), rest, 0.0))
