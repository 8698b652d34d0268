"""What an error is measured against where a result must be stable, not accurate: `Operation.scale`."""

from __future__ import annotations

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.operations.operation import Given
from stablemax.operations.targets import LabelTargets, SoftTargets


def of_the_value(values: Array, given: Given) -> Array:  # noqa: ARG001 - one signature for all scales
    """The value's own size, and at least 1."""
    return np.maximum(1.0, np.abs(values))


def largest_of_the_row(values: Array, given: Given) -> Array:  # noqa: ARG001
    """The largest probability of the row."""
    return np.max(np.abs(values), axis=-1, keepdims=True)


def one_hot_row(values: Array, given: Given) -> Array:
    """What the targets of a row weigh: 1/N in the gradient of a mean, times the weights."""
    targets = given.second
    if isinstance(targets, SoftTargets):
        weights = np.sum(targets.weights.astype(np.float64), axis=-1, keepdims=True)
    elif isinstance(targets, LabelTargets) and targets.weights is not None:
        weights = targets.weights.astype(np.float64)
    else:
        weights = np.ones((len(values), 1))
    return weights / targets.divisor


def probability_times_upstream(values: Array, given: Given) -> Array:  # noqa: ARG001
    """The largest probability of the row times its largest upstream gradient."""
    with np.errstate(invalid="ignore"):
        total = np.sum(np.exp(given.x - np.max(given.x, axis=-1, keepdims=True)), axis=-1, keepdims=True)
    return np.max(np.abs(given.second.astype(np.float64)), axis=-1, keepdims=True) / total


def larger_of_two(values: Array, given: Given) -> Array:  # noqa: ARG001
    """The probability p, or 1 - p if that is larger."""
    return np.maximum(values, 1.0 - values)


def weight_of_the_cell(values: Array, given: Given) -> Array:
    """What the target of a cell weighs: 1/N in the gradient of a mean, times the weights."""
    targets, weights = given.second, np.ones_like(values)
    if targets.pos_weight is not None:
        weights = 1.0 + targets.values.astype(np.float64) * (targets.pos_weight.astype(np.float64) - 1.0)
    if targets.weight is not None:
        weights = weights * targets.weight.astype(np.float64)
    return weights / targets.divisor
