"""An operation of the rows of an array, along whichever axes: the classes made one axis, and the result put back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stablemax.api.arguments import logits_of, numbers_of, resources_of, same_shape, stream_of
from stablemax.api.class_axes import ClassAxes
from stablemax.compute.arrays import array_of
from stablemax.compute.at_once import result_at_once
from stablemax.compute.block_job import Method
from stablemax.compute.weighted_sums import logs_of_weighted_sums
from stablemax.numerics.formats import FLOAT64, Array, Format, format_of
from stablemax.operations import get_operation
from stablemax.operations.operation import Operation
from stablemax.text.errors import StablemaxError


def result_of_rows(
    name: str,
    x: Any,
    axis: Any,
    second: Any = None,
    *,
    threads: int | None = None,
    keepdims: bool = False,
    of_nothing: float = math.nan,
    exact: bool = False,
) -> Any:
    """Compute an operation of each row of x, and of the same row of `second` if it takes one.

    `of_nothing` is the one number of a row that has no classes.
    """
    operation, array, resources = get_operation(name), logits_of(x), resources_of(threads)
    axes = ClassAxes.of(axis, array.shape)
    merged, at = axes.merged(array), axes.merged_axis
    other = None if second is None else _merged(axes, array, second, operation)
    if other is not None and merged.ndim == 1:
        # An array of one number beside a single row is a label to `as_stream`.
        merged, other, at = merged[np.newaxis], other[np.newaxis], 1
    if array.size == 0:
        shape = axes.others if operation.per_row else array.shape
        values = np.full(shape, of_nothing, dtype=format_of(array.dtype).dtype)
    elif not exact and (found := result_at_once(operation, merged, at)) is not None:
        values = found
    else:
        method = Method(exact=exact)
        values = array_of(operation, stream_of(merged, at, other), method=method, resources=resources)
    result = axes.reduced(values, keepdims=keepdims) if operation.per_row else axes.restored(values)
    # A number for a number, as NumPy has it.
    return result if result.ndim else result[()]


def _merged(axes: ClassAxes, array: Array, second: Any, operation: Operation) -> Array:
    other = numbers_of(second)
    if operation.needs_targets and other.shape == axes.others:
        return other
    same_shape(array, other, f"the {operation.second.value}")
    return axes.merged(other)


def weighted_logsumexp(x: Any, b: Any, axis: Any, *, keepdims: bool) -> tuple[Any, Any]:
    """Compute ``log|sum(b exp(x))|`` of each row, and the sign of the sum, in the common dtype of x and b."""
    logits, weights = logits_of(x), numbers_of(b)
    fmt = format_of(logits.dtype) if isinstance(b, (int, float)) else _common_format(logits.dtype, weights.dtype)
    try:
        logits, weights = np.broadcast_arrays(logits, weights)
    except ValueError:
        raise StablemaxError(
            f"b has shape {weights.shape}, the logits {logits.shape}", "b is repeated to the logits, or they to b"
        ) from None
    axes = ClassAxes.of(axis, logits.shape)
    rows = [axes.rows(array) for array in (logits, weights)]
    results = (axes.reduced(fmt.cast(values), keepdims=keepdims) for values in logs_of_weighted_sums(*rows))
    log, sign = (result if result.ndim else result[()] for result in results)
    return log, sign


def _common_format(first: np.dtype[Any], second: np.dtype[Any]) -> Format:
    """Return the format of what NumPy makes of two dtypes; float64 where it makes none, as of bfloat16 and int64."""
    try:
        common = np.result_type(first, second)
    except TypeError:
        return FLOAT64
    return format_of(common)
