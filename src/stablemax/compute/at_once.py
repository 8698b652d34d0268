"""Inputs in memory that are so small that one call of a kernel computes them, to the bits of a job in blocks.

What plans, reads and merges blocks takes several times as long as the numbers of a few rows.
"""

from __future__ import annotations

import numpy as np

from stablemax.compute.array_job import classes_and_weights, fill
from stablemax.compute.arrays import weight_of
from stablemax.compute.proved import prove_heavy
from stablemax.compute.streaming import ALONE_CELLS
from stablemax.inputs.labels import as_labels, without_axis
from stablemax.inputs.workspace import Workspace
from stablemax.kernels import row_kernels
from stablemax.kernels.passes import PIECE, Ways, is_worth_loops, ways_by
from stablemax.numerics.exact_sum import ExactSum
from stablemax.numerics.formats import Array, format_of
from stablemax.operations.operation import Operation, Second
from stablemax.operations.targets import TargetOptions, check_options, kept_rows, row_weights
from stablemax.text.vocabulary import Reduction


def result_at_once(operation: Operation, x: Array, axis: int) -> Array | None:
    """Compute an operation of logits alone; None where there is no kernel of it, or too much for one call."""
    if not operation.kernel or operation.second is not Second.NONE or not _is_small(x, axis):
        return None
    return _filled(operation, _rows(x, axis), (None, np.ones(1), 1.0), x, axis)


def loss_at_once(
    operation: Operation, x: Array, labels: Array, axis: int, reduction: Reduction, options: TargetOptions
) -> float | Array | None:
    """Compute the cross-entropy of labels that fit the logits; None for soft targets, or too much for one call."""
    if not _has_plain_labels(x, labels, options) or not _is_small(x, axis):
        return None
    rows = _rows(x, axis)
    checked = _checked(rows, labels, options)
    kept = kept_rows(checked, options.ignore_index)
    chosen = np.where(kept, checked, 0)
    with np.errstate(all="ignore"):
        weights = row_weights(chosen, options)
        losses = row_kernels.losses(rows, chosen, _ways(x).careful, Workspace(), weights)
    prove_heavy(losses, operation, rows, chosen, weights)
    losses[~kept] = 0.0
    if reduction is Reduction.NONE:
        return losses.reshape(without_axis(x.shape, axis))[()]
    total = ExactSum.of(losses[kept])
    return total.rounded() if reduction is Reduction.SUM else total.mean(weight_of(checked, options))


def gradient_at_once(
    operation: Operation, x: Array, labels: Array, axis: int, reduction: Reduction, options: TargetOptions
) -> Array | None:
    """Compute the gradient of `loss_at_once`; None where that is."""
    if not _has_plain_labels(x, labels, options) or not _is_small(x, axis):
        return None
    rows = _rows(x, axis)
    checked = _checked(rows, labels, options)
    weight = weight_of(checked, options) if reduction is Reduction.MEAN else None
    divisor = weight.rounded() if weight is not None and weight.count else 1.0
    return _filled(operation, rows, (*classes_and_weights(checked, options, divisor), divisor), x, axis)


def _has_plain_labels(x: Array, labels: Array, options: TargetOptions) -> bool:
    # One number for a single row of one class is a class number.
    return not options.label_smoothing and (labels.shape != x.shape or x.shape == (1,))


def _checked(rows: Array, labels: Array, options: TargetOptions) -> Array:
    count, classes = rows.shape
    check_options(options, classes)
    flat, ignored = labels.reshape(-1), options.ignore_index
    return as_labels(flat, rows=count, classes=classes, name="the labels", ignore_index=ignored)


def _filled(operation: Operation, rows: Array, given: tuple[Array | None, Array, float], x: Array, axis: int) -> Array:
    """Compute the rows of x, and return the results in its layout."""
    count, classes = rows.shape
    fmt, others = format_of(x.dtype), without_axis(x.shape, axis)
    out = np.empty((count, 1 if operation.per_row else classes), fmt.dtype)
    with np.errstate(all="ignore"):
        fill(out, operation, rows, given, fmt, Workspace(), ways=_ways(x))
    if operation.per_row:
        return out.reshape(others)
    out = out.reshape((*others, classes))
    return out if axis == x.ndim - 1 else np.ascontiguousarray(np.moveaxis(out, -1, axis))


def _ways(x: Array) -> Ways:
    return ways_by(uses_loops=is_worth_loops(x.size), alone=True)


def _is_small(x: Array, axis: int) -> bool:
    return 0 < x.size <= ALONE_CELLS and x.shape[axis] <= PIECE


def _rows(x: Array, axis: int) -> Array:
    """Return an array as rows (N, K) of this machine's byte order, without gaps."""
    moved = x if axis == x.ndim - 1 else np.moveaxis(x, axis, -1)
    if not x.dtype.isnative:
        moved = moved.astype(x.dtype.newbyteorder("="))
    return np.ascontiguousarray(moved).reshape(-1, x.shape[axis])
