"""The kernels of `row_kernels` for float64 results that are the nearest ones: proved, but for the rows in doubt.

They are run by Numba alone, and see `exact_loops` for the proof.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.kernels import exact_loops
from stablemax.kernels.double_double import ONE
from stablemax.kernels.exact_loops import DELTA, ROUNDED
from stablemax.kernels.passes import Pair
from stablemax.kernels.row_kernels import is_extreme
from stablemax.kernels.row_sums import RowSums
from stablemax.kernels.widening import computable
from stablemax.numerics.formats import Array
from stablemax.numerics.rounding_errors import two_prod, two_sum
from stablemax.truth import elementary

_LEAST = 2.0**-880
"""A smaller logarithm is known to be positive: terms below exp(-800) stand for those, and products underflow."""
_LEAST_LOSS, _MOST_LOSS = 2.0**-700, 2.0**900
"""Losses outside may take a product with a weight out of the range in which two numbers are exact."""


class Nearest(NamedTuple):
    """Float64 numbers (N,): the nearest ones to exact values, where no row is in doubt."""

    values: Array
    rests: Array  #: what the rounding took off
    errors: Array  #: bound of the error of the rests
    in_doubt: Array  #: marks of rows


def gradient(x: Array, labels: Array | None, weights: Array, divisor: float, out: Array, workspace: Workspace) -> Array:
    """Write the probabilities of rows, or the gradient as `row_kernels.gradient` does; return the rows in doubt."""
    of_rows = np.ones(len(x)) if labels is None else weights
    in_doubt = exact_loops.shares(computable(x, workspace), labels, of_rows, divisor, out, workspace)
    in_doubt |= is_extreme(of_rows, divisor)
    known = (of_rows == 0) | np.isnan(of_rows)
    out[known] = of_rows[known, None]
    return np.flatnonzero(in_doubt & ~known)


def log_softmax(
    x: Array, _labels: Array | None, _weights: Array, _divisor: float, out: Array, workspace: Workspace
) -> Array:
    """Write the log-probabilities of rows; return the rows in doubt."""
    x = computable(x, workspace)
    sums = exact_loops.sums(x, workspace)
    less, error = _log1p(sums)
    return np.flatnonzero(exact_loops.differences(x, sums.m, less, error, out))


def logsumexps(
    x: Array, _labels: Array | None, _weights: Array, _divisor: float, out: Array, workspace: Workspace
) -> Array:
    """Write the log-sum-exp of each row into `out` (N, 1); return the rows in doubt."""
    sums = exact_loops.sums(computable(x, workspace), workspace)
    (high, low), error = _log1p(sums)
    total, rest = two_sum(sums.m, high)
    nearest = _nearest(total, rest + low, error + (np.abs(sums.m) + high) * ROUNDED)
    out[:, 0] = nearest.values
    return np.flatnonzero(nearest.in_doubt)


def losses(x: Array, labels: Array, workspace: Workspace, weights: Array | None = None) -> Nearest:
    """Compute the cross-entropy of each row, times its weight: ``(m - x_y) + log(1 + q)``, no term negative."""
    at_label = x[np.arange(len(x)), labels].astype(np.float64)
    sums = exact_loops.sums(computable(x, workspace), workspace)
    (high, low), error = _log1p(sums)
    d, r = two_sum(sums.m, -at_label)
    total, rest = two_sum(d, high)
    low, error = rest + (r + low), error + total * ROUNDED
    if weights is None:
        return _nearest(total, low, error)
    product, more = two_prod(total, weights)
    found = _nearest(product, more + low * weights, error * weights + product * ROUNDED)
    # Elsewhere the product of two numbers may not be exact.
    inside = ((weights == 0) | (total == 0) | (total >= _LEAST_LOSS) & ~is_extreme(weights, 1.0)) & (
        total <= _MOST_LOSS
    )
    return found._replace(in_doubt=found.in_doubt | ~inside)


KERNELS: dict[str, Callable[[Array, Array | None, Array, float, Array, Workspace], Array]] = {
    "softmax": gradient,
    "log_softmax": log_softmax,
    "logsumexp": logsumexps,
    "gradient": gradient,
}
"""By the name that an operation's record gives."""


def _log1p(sums: RowSums) -> tuple[Pair, Array]:
    """Return ``log(1 + q)`` of each row (N,) in two numbers, and a bound of its error: 0 where q is 0.

    A relative error of q is no larger in the logarithm, and that of the function is 2**-90.
    """
    high, low = elementary.log1p(*two_sum(sums.high / ONE, sums.low / ONE))
    error = high * (DELTA * (1 + 2.0**-10))
    tiny = (sums.high > 0) & (high < _LEAST)
    high, low, error = (
        np.where(tiny, known, part) for known, part in ((_LEAST, high), (0.0, low), (_LEAST * (1 - 2.0**-50), error))
    )
    # Of a row with a NaN, with +inf or of nothing but -inf nothing is known.
    return (high, low), np.where(np.isfinite(sums.m), error, np.nan)


def _nearest(high: Array, low: Array, error: Array) -> Nearest:
    """Round ``high + low``, of which low is small, where an error cannot change that."""
    values = high + (low - error)
    certain = values == high + (low + error)
    return Nearest(values, (high - values) + low, error, ~certain)
