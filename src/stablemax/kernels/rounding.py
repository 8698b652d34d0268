"""Results in float64, rounded to a narrower format: correctly, and where an error may decide, said to be in doubt."""

from __future__ import annotations

import numpy as np

from stablemax.kernels.pair_arrays import beside
from stablemax.numerics.formats import EXPONENT_BITS, FLOAT64, Array, Format

_SIZE = np.int64(0x7FFF_FFFF_FFFF_FFFF)
"""The bits of a float64 but its sign."""


def narrowed(values: Array, tolerance: Array, fmt: Format, out: Array) -> Array:
    """Round float64 values (N, K) into `out`; mark the rows (N,) in which an error may change the rounding.

    The error is at most `tolerance` (N,) units of u of a value. A value in doubt is that close to the middle of two
    neighbours of the format.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> values, out = np.array([[1.0, 0.1], [1 + 2.0**-24, 0.1]]), np.empty((2, 2), np.float32)
    >>> narrowed(values, np.array([4.0, 4.0]), FLOAT32, out).tolist()
    [False, True]
    """
    # ml_dtypes converts float64 by way of float32, which rounds twice.
    out[...] = values if fmt.is_native else fmt.cast(values)
    pattern = values.view(np.int64)
    sizes = (pattern & _SIZE).view(np.float64)
    if not (_least(sizes) >= fmt.smallest_normal and np.maximum.reduce(sizes, axis=None) <= fmt.max):
        return _near_the_middle(values, sizes, tolerance, fmt, out)
    # The bits that the format has not, of which the middle is a one and zeros: how far from it, in units of the last.
    place = FLOAT64.precision - fmt.precision
    reach = beside(values, np.ceil(tolerance).astype(np.int64))
    pattern = pattern + (reach - (1 << place - 1))
    pattern &= (1 << place) - 1
    return np.asarray((pattern <= 2 * reach).any(axis=1))


def _least(sizes: Array) -> float:
    """Return the smallest size but 0."""
    least = np.minimum.reduce(sizes, axis=None)
    return float(least or np.min(sizes, where=sizes != 0, initial=np.inf))


def _near_the_middle(values: Array, sizes: Array, tolerance: Array, fmt: Format, out: Array) -> Array:
    """Mark rows as `narrowed` does, of any values."""
    rounded = out.astype(np.float64)
    scale = (sizes.view(np.int64) & EXPONENT_BITS).view(np.float64)
    np.maximum(scale, fmt.smallest_normal, out=scale)
    beyond = ~np.isfinite(rounded)
    if beyond.any():
        # The number that would come after the largest is as far from it as the one before.
        np.copyto(rounded, np.copysign(fmt.max, values), where=beyond & np.isfinite(values))
    rounded -= values
    np.abs(rounded, out=rounded)
    rounded -= scale * 2.0**-fmt.precision
    np.abs(rounded, out=rounded)
    # A value is below twice its power of two.
    scale *= (2.0 * FLOAT64.u * tolerance)[:, None]
    return np.asarray((rounded <= scale).any(axis=1))
