"""One cell of each row: at a class, or at the maximum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array


def take(values: Array, columns: Array) -> Array:
    """One value of each row (N, 1), at the given columns (N,)."""
    return np.asanyarray(values[np.arange(len(values)), columns][:, None])


def first_max(x: Array) -> Array:
    """Mark the first maximum of each row, (N, K)."""
    return np.asarray(np.arange(x.shape[-1]) == np.argmax(x, axis=-1)[:, None])


def split_at_max(values: Array, x: Array, zero: Any) -> tuple[Array, Array]:
    """Return the value at the first maximum of each row of x, and `values` with `zero` there."""
    at = (np.arange(len(x)), np.argmax(x, axis=-1))
    rest = values.copy()
    rest[at] = zero
    return values[at][:, None], rest
