"""NumPy's differences, sums along an axis and polynomials on cells."""

# ruff: noqa: ARG001 - the signatures are NumPy's

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import as_array, as_cell, cells_of, nearest, settled
from stablemax.trace.numpy.exact_functions import NotFollowedError
from stablemax.trace.special_cells import FUNCTIONS

_DIVIDE = FUNCTIONS["divide"]


def _cells(thing: Any) -> Array:
    return settled(np.asarray(thing, dtype=object))


def _gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Return second-order differences inside, and of the first or second order at the edges."""
    cells = _cells(f)
    axes = range(cells.ndim) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    if len(list(axes)) != 1 or len(varargs) > 1:
        raise NotFollowedError("gradient along several axes")
    rows = np.moveaxis(cells, next(iter(axes)), 0)
    steps = _steps(varargs[0] if varargs else 1, len(rows), rows.ndim)
    out = np.empty_like(rows)
    before, after = steps[:-1], steps[1:]
    # On even steps this is (f[i + 1] - f[i - 1]) / (2 h).
    weighted = before * before * rows[2:] + (after * after - before * before) * rows[1:-1] - after * after * rows[:-2]
    out[1:-1] = _DIVIDE(weighted, before * after * (before + after))
    out[0], out[-1] = (_edge(*edge, edge_order) for edge in ((rows[:3], steps[:2]), (rows[::-1][:3], -steps[::-1][:2])))
    return np.moveaxis(out, 0, next(iter(axes)))


def _steps(spacing: Any, size: int, ndim: int) -> Array:
    given = _cells(spacing)
    steps = np.broadcast_to(given, (size - 1,)) if given.ndim == 0 else given[1:] - given[:-1]
    return steps.reshape(-1, *[1] * (ndim - 1))


def _edge(rows: Array, steps: Array, order: int) -> Any:
    slope = _DIVIDE(rows[1] - rows[0], steps[0])
    if order == 1:
        return slope
    next_slope = _DIVIDE(rows[2] - rows[1], steps[1])
    return slope - _DIVIDE((next_slope - slope) * steps[0], steps[0] + steps[1])


def _partition(a: Array, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    cells = a.ravel() if axis is None else a
    if np.isnan(nearest(cells)).any():
        raise NotFollowedError("NaN among what is sorted")
    axis = -1 if axis is None else axis
    return np.take_along_axis(cells, np.argpartition(nearest(cells), int(float(as_cell(kth))), axis=axis), axis=axis)


def _cumulative(ufunc: np.ufunc, start: int) -> Callable[..., Any]:
    def run(x: Array, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> Any:
        axis = 0 if axis is None and x.ndim == 1 else int(axis)
        out = ufunc.accumulate(x, axis=axis)
        if not include_initial:
            return out
        shape = list(x.shape)
        shape[axis] = 1
        return np.concatenate([cells_of(np.full(shape, start)), out], axis=axis)

    return run


def _unique(ar: Array, *options: Any, **more: Any) -> Any:
    if options or more:
        raise NotFollowedError("unique with more results")
    return ar.ravel()[np.unique(nearest(ar), return_index=True)[1]]


def _polyadd(sign: int) -> Callable[..., Any]:
    def add(a1: Any, a2: Any) -> Any:
        a, b = _cells(a1), _cells(a2)
        size = max(len(a), len(b))
        a, b = (np.concatenate([cells_of(np.zeros(size - len(p))), p]) for p in (a, b))
        return a + b * as_cell(sign)

    return add


def _polyder(p: Any, m: int = 1) -> Any:
    out = _cells(p)
    for _ in range(int(m)):
        out = out[:-1] * cells_of(np.arange(len(out) - 1, 0, -1))
    return out


def _polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    if k is not None:
        raise NotFollowedError("polyint with constants")
    out = _cells(p)
    for _ in range(int(m)):
        out = np.append(as_array(_DIVIDE(out, cells_of(np.arange(len(out), 0, -1)))), cells_of([0.0]))
    return out


DIFFERENCES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "gradient": _gradient,
        "partition": _partition,
        "cumulative_sum": _cumulative(np.add, 0),
        "cumulative_prod": _cumulative(np.multiply, 1),
        "unique": _unique,
        "polyadd": _polyadd(1),
        "polysub": _polyadd(-1),
        "polyder": _polyder,
        "polyint": _polyint,
        "vander": np.vander,
    }
)
"""Functions of NumPy by name, on arrays of cells; their arguments are NumPy's."""
