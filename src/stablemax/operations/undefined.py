"""Where an operation has no value: `Operation.undefined`."""

from __future__ import annotations

from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.operations.targets import CellTargets


def rows_without_distribution(x: Array, second: Any = None) -> Array:  # noqa: ARG001 - one signature for all
    """Mark the rows (N,) that have no softmax: +inf or NaN in them, or nothing but -inf."""
    return np.asarray((np.isnan(x) | np.isposinf(x)).any(axis=-1) | np.isneginf(x).all(axis=-1))


def rows_without_product(x: Array, g: Array) -> Array:
    """Mark the rows (N,) that have no softmax, or an upstream gradient that is not finite."""
    # 1000 is beyond float8_e4m3fn: a product with NaN has no value.
    return rows_without_distribution(x) | ~np.isfinite(np.asarray(g, dtype=np.float64)).all(axis=-1)


def nan_logits(x: Array, second: Any = None) -> Array:  # noqa: ARG001
    """Mark the cells (N, K) whose logit is NaN: those of a cell-wise operation have limits at -inf and inf."""
    return np.asarray(np.isnan(x))


def cells_without_target(x: Array, t: CellTargets) -> Array:
    """Mark the cells (N, K) whose logit is NaN, or whose target or weight is not finite."""
    bad = np.isnan(x)
    for array in (t.values, t.weight, t.pos_weight):
        bad = bad if array is None else bad | ~np.isfinite(array.astype(np.float64))
    return bad


def rows_without_two_distributions(x: Array, y: Array) -> Array:
    """Mark the rows (N,) of which one of the two arrays of logits has no softmax."""
    return rows_without_distribution(x) | rows_without_distribution(np.asarray(y, dtype=np.float64))
