"""Inputs in memory that are so small that one call of a kernel computes them, to the bits of a job in blocks.

What plans, reads and merges blocks takes several times as long as the numbers of a few rows.
"""

from __future__ import annotations

import numpy as np

from stablemax.compute.array_job import KERNELS
from stablemax.compute.loss import weigh
from stablemax.compute.streaming import ALONE_CELLS
from stablemax.inputs.labels import as_labels
from stablemax.inputs.workspace import Workspace
from stablemax.kernels import row_kernels
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.exact_sum import ExactSum
from stablemax.numerics.formats import Array, format_of
from stablemax.operations.operation import Operation, Second
from stablemax.operations.targets import TargetOptions, check_options, kept_rows, row_weights
from stablemax.text.vocabulary import Reduction


def result_at_once(operation: Operation, x: Array, axis: int) -> Array | None:
    """Compute an operation of logits alone; None where there is no kernel of it, or too much for one call."""
    if not operation.kernel or operation.second is not Second.NONE or not _is_small(x, axis):
        return None
    rows, others, fmt, workspace = (
        _rows(x, axis),
        (*x.shape[:axis], *x.shape[axis + 1 :]),
        format_of(x.dtype),
        Workspace(),
    )
    with np.errstate(all="ignore"):
        if operation.per_row:
            return Arithmetic(fmt).narrow(row_kernels.logsumexps(rows, workspace)).reshape(others)
        kernel = KERNELS[operation.kernel].block
        assert kernel is not None, "one number a row comes from the odds"
        out = np.empty(rows.shape, fmt.dtype)
        kernel(rows, None, None, 1.0, out, workspace)
    out = out.reshape((*others, rows.shape[1]))
    return out if axis == x.ndim - 1 else np.ascontiguousarray(np.moveaxis(out, -1, axis))


def loss_at_once(
    x: Array, labels: Array, axis: int, reduction: Reduction, options: TargetOptions
) -> float | Array | None:
    """Compute the cross-entropy of labels that fit the logits; None for soft targets, or too much for one call."""
    is_soft = options.label_smoothing or (labels.shape == x.shape and x.shape != (1,))
    if is_soft or not _is_small(x, axis):
        return None
    rows = _rows(x, axis)
    check_options(options, rows.shape[1])
    ignored, count = options.ignore_index, len(rows)
    checked = as_labels(labels.reshape(-1), rows=count, classes=rows.shape[1], name="the labels", ignore_index=ignored)
    kept = kept_rows(checked, ignored)
    chosen = np.where(kept, checked, 0)
    with np.errstate(all="ignore"):
        losses = row_kernels.losses(rows, chosen, Workspace())
        weigh(losses, chosen, kept, options)
    if reduction is Reduction.NONE:
        return losses.reshape((*x.shape[:axis], *x.shape[axis + 1 :]))[()]
    total, weights = ExactSum.of(losses[kept]), row_weights(checked[kept], options)
    if reduction is Reduction.SUM:
        return total.rounded()
    return total.mean(None if weights is None else ExactSum.of(weights))


def _is_small(x: Array, axis: int) -> bool:
    return 0 < x.size <= ALONE_CELLS and x.shape[axis] <= row_kernels.PIECE


def _rows(x: Array, axis: int) -> Array:
    """Return an array as rows (N, K) of this machine's byte order, without gaps."""
    moved = x if axis == x.ndim - 1 else np.moveaxis(x, axis, -1)
    if not x.dtype.isnative:
        moved = moved.astype(x.dtype.newbyteorder("="))
    return np.ascontiguousarray(moved).reshape(-1, x.shape[axis])
