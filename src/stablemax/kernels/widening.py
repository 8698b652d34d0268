"""Logits of any format as the float32 or float64 numbers that the kernels read."""

from __future__ import annotations

from typing import Any

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.numerics.formats import Array, Format, format_of


def computable(x: Array, workspace: Workspace) -> Array:
    """Return logits in float32 or float64: as they are, or as a copy in the workspace's buffer "wide".

    >>> computable(np.array([[1, 2]]), Workspace()).dtype.name
    'float64'
    """
    native = x.dtype in (np.float32, np.float64) and x.dtype.isnative
    return x if native and x.flags.c_contiguous else widened(x, workspace)


def widened(x: Array, workspace: Workspace) -> Array:
    """Return the numbers as float64: the array itself, or a copy in the workspace's buffer "wide"."""
    if x.dtype == np.float64 and x.dtype.isnative and x.flags.c_contiguous:
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
