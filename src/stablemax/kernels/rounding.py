"""Results in float64, rounded to a narrower format: correctly, and where an error may decide, said to be in doubt."""

from __future__ import annotations

import numpy as np

from stablemax.numerics.formats import EXPONENT_BITS, FLOAT64, Array, Format


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
    rounded = out.astype(np.float64)
    scale = (values.view(np.int64) & EXPONENT_BITS).view(np.float64)
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
