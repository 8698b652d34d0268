"""JAX's reductions of windows, exactly: pooling, forward and backward."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import EXACT as UFUNC
from stablemax.trace.exact_cells import cells_of, nearest
from stablemax.trace.jax.movements import MOVED, positions

_OUTSIDE = -1


def _places(
    shape: Sequence[int], window_dimensions: Sequence[int], window_strides: Sequence[int], padding: Any,
    base_dilation: Sequence[int] | None = None, window_dilation: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """Return which cells each window sees, (cells of a window, windows...); -1 for padding."""
    ones = (1,) * len(shape)
    base, dilation = base_dilation or ones, window_dilation or ones
    config = [(low, high, gap - 1) for (low, high), gap in zip(padding, base, strict=True)]
    padded = MOVED["pad"](positions(shape), np.int32(_OUTSIDE), padding_config=config)
    reach = [(k - 1) * d + 1 for k, d in zip(window_dimensions, dilation, strict=True)]
    counts = [max((n - r) // s + 1, 0) for n, r, s in zip(padded.shape, reach, window_strides, strict=True)]

    def seen() -> Iterator[Array]:
        for offset in itertools.product(*map(range, window_dimensions)):
            starts = (o * d for o, d in zip(offset, dilation, strict=True))
            steps = zip(starts, counts, window_strides, strict=True)
            yield padded[tuple(slice(a, a + (n - 1) * s + 1 if n else a, s) for a, n, s in steps)]

    return np.stack(list(seen()))


def _reduced(ufunc: np.ufunc, start: float, x: Array, **windows: Any) -> Any:
    pool = np.append(x.ravel(), cells_of([start]))
    return ufunc.reduce(pool[_places(x.shape, **windows)], axis=0)


def _select_and_scatter_add(source: Array, operand: Array, *, select_prim: Any, **windows: Any) -> Array:
    """Add each number to the cell that its window selects: of equal ones the first."""
    places = _places(operand.shape, **windows)
    floats = np.append(nearest(operand).ravel(), np.nan)
    seen = floats[places] if str(select_prim) in ("ge", "gt") else -floats[places]
    best = np.nanargmax(np.where(places == _OUTSIDE, -np.inf, seen), axis=0)
    chosen = np.take_along_axis(places, best[None], axis=0)[0]
    out = cells_of(np.zeros(operand.size))
    for place, number in zip(chosen.ravel().tolist(), source.ravel().tolist(), strict=True):
        if place != _OUTSIDE:
            out[place] = out[place] + number
    return out.reshape(operand.shape)


WINDOWS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "reduce_window_sum": functools.partial(_reduced, UFUNC["add"], 0.0),
        "reduce_window_max": functools.partial(_reduced, UFUNC["maximum"], -np.inf),
        "reduce_window_min": functools.partial(_reduced, UFUNC["minimum"], np.inf),
        "select_and_scatter_add": _select_and_scatter_add,
    }
)
"""Primitives by name, with the parameters of the equation."""
