"""Primitives that only move numbers: the same function moves values and their exact cells."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jax import lax

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import as_cell


def _broadcast_in_dim(x: Array, *, shape: Sequence[int], broadcast_dimensions: Sequence[int], **_: Any) -> Array:
    sizes = dict(zip(broadcast_dimensions, x.shape, strict=True))
    return np.broadcast_to(x.reshape([sizes.get(d, 1) for d in range(len(shape))]), shape)


def _reshape(x: Array, *, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None, **_: Any) -> Array:
    """Reshape; the axes are brought into another order first where `dimensions` says one, as jnp.prod's do."""
    return (x if dimensions is None else x.transpose(dimensions)).reshape(new_sizes)


def _slice(
    x: Array, *, start_indices: Sequence[int], limit_indices: Sequence[int], strides: Sequence[int] | None, **_: Any
) -> Array:
    steps = strides or (1,) * x.ndim
    return x[tuple(slice(*part) for part in zip(start_indices, limit_indices, steps, strict=True))]


def _window(x: Array, starts: Sequence[Array], sizes: Sequence[int]) -> tuple[slice, ...]:
    """Return the slices of a window, which JAX moves into the array where it does not fit."""
    firsts = [min(max(int(s), 0), n - size) for s, n, size in zip(starts, x.shape, sizes, strict=True)]
    return tuple(slice(first, first + size) for first, size in zip(firsts, sizes, strict=True))


def _dynamic_slice(x: Array, *starts: Array, slice_sizes: Sequence[int], **_: Any) -> Array:
    return x[_window(x, starts, slice_sizes)]


def _dynamic_update_slice(x: Array, update: Array, *starts: Array, **_: Any) -> Array:
    out = x.copy()
    out[_window(x, starts, update.shape)] = update
    return out


def _pad(x: Array, padding: Array, *, padding_config: Sequence[tuple[int, int, int]], **_: Any) -> Array:
    """Pad: low, high and interior padding of each axis; negative ones crop."""
    for axis, (low, high, interior) in enumerate(padding_config):
        size = x.shape[axis] + max(x.shape[axis] - 1, 0) * interior
        out = np.full((*x.shape[:axis], size, *x.shape[axis + 1 :]), padding, dtype=x.dtype)
        out[(slice(None),) * axis + (slice(None, None, interior + 1),)] = x
        edges = [(0, 0)] * x.ndim
        edges[axis] = (max(low, 0), max(high, 0))
        spread = np.full([n + sum(e) for n, e in zip(out.shape, edges, strict=True)], padding, dtype=x.dtype)
        spread[tuple(slice(e[0], e[0] + n) for n, e in zip(out.shape, edges, strict=True))] = out
        end = spread.shape[axis] + min(high, 0)
        x = spread[(slice(None),) * axis + (slice(max(-low, 0), end),)]
    return x


def _select_n(which: Array, *cases: Array) -> Array:
    if len(cases) == 1:
        return cases[0]
    chosen = cases[0]
    for number, case in enumerate(cases[1:], 1):
        chosen = np.where(which == number, case, chosen)
    return chosen


def _gather(
    x: Array, indices: Array, *, dimension_numbers: Any, slice_sizes: Any, mode: Any, fill_value: Any = None, **_: Any
) -> Array:
    where = lax.gather(positions(x.shape), indices, dimension_numbers, slice_sizes, mode=mode, fill_value=-1)
    fill = math.nan if fill_value is None else fill_value
    filler = as_cell(fill) if x.dtype == object else np.asarray(fill).astype(x.dtype)
    # -1 finds the last one.
    return np.append(x.ravel(), np.array([filler], dtype=x.dtype))[np.asarray(where)]


def _split(x: Array, *, sizes: Sequence[int], axis: int, **_: Any) -> list[Array]:
    return np.split(x, np.cumsum(sizes)[:-1], axis=axis)


def _as_it_is(x: Array, **_: Any) -> Array:
    return x


def positions(shape: Sequence[int]) -> Array:
    """Number the cells of an array.

    >>> positions((2, 2)).tolist()
    [[0, 1], [2, 3]]
    """
    return np.arange(math.prod(shape), dtype=np.int32).reshape(shape)


MOVED: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "broadcast_in_dim": _broadcast_in_dim,
        "reshape": _reshape,
        "transpose": lambda x, *, permutation: x.transpose(permutation),
        "squeeze": lambda x, *, dimensions: np.squeeze(x, axis=tuple(dimensions)),
        "expand_dims": lambda x, *, dimensions: np.expand_dims(x, axis=tuple(dimensions)),
        "slice": _slice,
        "dynamic_slice": _dynamic_slice,
        "dynamic_update_slice": _dynamic_update_slice,
        "concatenate": lambda *xs, dimension: np.concatenate(xs, axis=dimension),
        "stack": lambda *xs, axis: np.stack(xs, axis=axis),
        "pad": _pad,
        "rev": lambda x, *, dimensions: np.flip(x, axis=tuple(dimensions)),
        "select_n": _select_n,
        "gather": _gather,
        "split": _split,
        **dict.fromkeys(("copy", "copy_p", "stop_gradient", "sharding_constraint", "pvary"), _as_it_is),
    }
)
"""Primitives by name, on arrays of any dtype."""
MOVED_TOGETHER = frozenset(("optimization_barrier", "device_put"))
"""Primitives that give back all that they get."""


# --- sums into some cells -----------------------------------------------------------------------


def targets_of(shape: Sequence[int], indices: Array, update_shape: Sequence[int], numbers: Any, mode: Any) -> Array:
    """Return to which position of an array of a shape a scatter takes each update; -1 for one that it drops."""
    inserted = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    windows = iter(numbers.update_window_dims)
    sizes = [1 if d in inserted else update_shape[next(windows)] for d in range(len(shape))]
    gathered = lax.GatherDimensionNumbers(
        offset_dims=numbers.update_window_dims,
        collapsed_slice_dims=numbers.inserted_window_dims,
        start_index_map=numbers.scatter_dims_to_operand_dims,
        operand_batching_dims=numbers.operand_batching_dims,
        start_indices_batching_dims=numbers.scatter_indices_batching_dims,
    )
    return np.asarray(lax.gather(positions(shape), indices, gathered, sizes, mode=mode, fill_value=-1))


def _scattered(
    combine: Callable[[Any, Any], Any], x: Array, indices: Array, updates: Array, *, dimension_numbers: Any, mode: Any,
    **_: Any,
) -> Array:  # fmt: skip
    where = targets_of(x.shape, indices, updates.shape, dimension_numbers, mode)
    out = x.flatten()
    for position, update in zip(where.ravel().tolist(), updates.ravel().tolist(), strict=True):
        if position >= 0:
            out[position] = combine(out[position], update)
    return out.reshape(x.shape)


def scattering(combine: Callable[[Any, Any], Any]) -> Callable[..., Array]:
    """Return a scatter on cells that combines what stands in a cell with each update of it."""
    return functools.partial(_scattered, combine)
