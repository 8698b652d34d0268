"""The kernels' passes by NumPy's own exp, of which the processor decides the last bits: for narrow results only.

A result of up to 32 bits is rounded correctly wherever the error of this way cannot decide the rounding, so that it has
the bits of the other ways; where it may, those compute the row.
"""

from __future__ import annotations

import numpy as np

from stablemax.kernels.double_double import ONE
from stablemax.kernels.pair_arrays import beside
from stablemax.kernels.row_sums import RowSums
from stablemax.kernels.widening import may_round
from stablemax.numerics.formats import Array

CELLS = 1 << 17
"""Logits in a block: its exponentials stay in the cache."""
CELLS_ALONE = 1 << 14
"""The exponentials of 2**17 logits are 256 pages of fresh memory: more time goes into them than into the numbers."""
FEW = 1 << 14
"""Logits of which the tolerance of differences leaves so few results in doubt that a closer look would take longer."""
TOLERANCE, TOLERANCE_OF_DIFFERENCES = 64.0, 1024.0
"""Error of a result in units of u: exp 4 at most, a sum in pairs 16 + log2(K / 8), the rest 8; and what a rounded
difference of up to 745 adds, where there may be one."""


def tolerance(x: Array) -> Array:
    """Return the error of each row's results in units of u, (N,), for rows in float32 or float64."""
    if x.dtype == np.float64 or x.size <= FEW:
        return np.full(len(x), TOLERANCE_OF_DIFFERENCES)
    return np.where(may_round(x), TOLERANCE_OF_DIFFERENCES, TOLERANCE)


def sums(x: Array, terms: tuple[Array, Array] | None = None) -> RowSums:
    """Return the sums of rows, as `pair_arrays.sums`; of the terms the first numbers."""
    m = np.maximum.reduce(x, axis=1).astype(np.float64)
    e = np.empty(x.shape) if terms is None else terms[0]
    np.copyto(e, x)
    e -= beside(x, m)
    np.exp(e, out=e)
    e *= ONE
    at = (x == beside(x, m.astype(x.dtype))).ravel().nonzero()[0]
    others = e.reshape(-1)
    others[at] = 0.0
    total = np.add.reduce(e, axis=1)
    others[at] = ONE
    total += (np.bincount(at // x.shape[1], minlength=len(x)) - 1.0) * ONE
    return RowSums.of(m, total, np.zeros(len(x)))


def shares(terms: tuple[Array, Array], times: tuple[Array, Array], out: Array) -> None:
    """Write terms times a factor, as `pair_arrays.shares`."""
    np.multiply(terms[0], beside(out, times[0]), out=out)


def differences(x: Array, m: Array, less: tuple[Array, Array], out: Array) -> None:
    """Write ``x - m - less``, as `pair_arrays.differences`."""
    np.copyto(out, x)
    out -= beside(x, m)
    out -= beside(x, less[0])
