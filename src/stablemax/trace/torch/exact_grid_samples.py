"""PyTorch's sampling of images at points of a grid, exactly, forward and backward."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from flint import arb

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import EXACT, as_cell, cells_of
from stablemax.trace.torch.exact_ops import NotExact

# ruff: noqa: A002, FBT001 - arguments and their order are those of aten's schemas

_ZERO, _ONE = as_cell(0), as_cell(1)
_BILINEAR, _NEAREST, _BICUBIC = 0, 1, 2
_ZEROS, _BORDER, _REFLECTION = 0, 1, 2
_A = as_cell(-0.75)
_LARGEST = 1 << 14


@dataclass(frozen=True)
class _Place:
    """Where a point lies along an axis, in pixels, and how fast that moves with the grid."""

    at: Any
    slope: Any


@dataclass(frozen=True)
class _Axis:
    """One axis of an image, and what lies beyond its edges."""

    size: int
    padding: int
    align_corners: bool

    def place(self, cell: Any) -> _Place:
        """Take a coordinate of a grid, from -1 to 1, to pixels."""
        n = self.size
        if self.align_corners:
            return _Place((cell + 1) * (n - 1) / 2, as_cell(n - 1) / 2)
        return _Place(((cell + 1) * n - 1) / 2, as_cell(n) / 2)

    def inside(self, place: _Place) -> _Place:
        """Bring a place back between the edges, as the padding says."""
        if self.padding == _ZEROS:
            return place
        return self._clipped(place if self.padding == _BORDER else self._reflected(place))

    def _clipped(self, place: _Place) -> _Place:
        if _decided(place.at <= 0, place.at > 0):
            return _Place(_ZERO, _ZERO)
        last = self.size - 1
        return _Place(as_cell(last), _ZERO) if _decided(place.at >= last, place.at < last) else place

    def _reflected(self, place: _Place) -> _Place:
        low, high = (0, 2 * (self.size - 1)) if self.align_corners else (-1, 2 * self.size - 1)
        if low == high:
            return _Place(_ZERO, _ZERO)
        start, span = as_cell(low) / 2, as_cell(high - low) / 2
        beyond = place.at - start
        slope = place.slope if _decided(beyond >= 0, beyond < 0) else -place.slope
        size = abs(beyond)
        turns = _whole(size / span)
        rest = size - turns * span
        return _Place(rest + start, slope) if turns % 2 == 0 else _Place(span - rest + start, -slope)

    def index(self, i: int) -> int | None:
        """Return the pixel of a whole number; None beyond the edges, where all is 0."""
        if self.padding == _ZEROS:
            return i if 0 <= i < self.size else None
        if self.padding == _REFLECTION:
            i = int(float(self._reflected(_Place(as_cell(i), _ONE)).at))
        return min(max(i, 0), self.size - 1)


def _decided(holds: bool, fails: bool) -> bool:
    if not (holds or fails):
        raise NotExact
    return holds


def _whole(cell: Any) -> int:
    floor = cell.floor() if isinstance(cell, arb) else None
    if floor is None or not floor.is_exact():
        raise NotExact
    return int(floor.man_exp()[0]) << int(floor.man_exp()[1])


Taps = Sequence[tuple[int | None, Any, Any]]
"""The pixels that a place is made of along an axis, each with its weight, and that weight's slope by the place."""


def _linear(axis: _Axis, place: _Place) -> tuple[Taps, Any]:
    inner = axis.inside(place)
    low = _whole(inner.at)
    part = inner.at - low
    taps = [(low, _ONE - part, -_ONE), (low + 1, part, _ONE)]
    return [(i if 0 <= i < axis.size else None, w, s) for i, w, s in taps], inner.slope


def _nearest(axis: _Axis, place: _Place) -> tuple[Taps, Any]:
    rounded = EXACT["rint"](np.array([axis.inside(place).at], dtype=object))[0]
    i = _whole(rounded)
    return [(i if 0 <= i < axis.size else None, _ONE, _ZERO)], _ZERO


def _cubic(axis: _Axis, place: _Place) -> tuple[Taps, Any]:
    """Return the taps of a cubic convolution: there the pixels are brought back between the edges, not the place."""
    low = _whole(place.at)
    taps = []
    for j in range(low - 1, low + 3):
        d = place.at - j
        x, sign = (d, 1) if j <= low else (-d, -1)
        if j in (low, low + 1):
            weight = ((_A + 2) * x - (_A + 3)) * x * x + 1
            slope = 3 * (_A + 2) * x * x - 2 * (_A + 3) * x
        else:
            weight = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
            slope = 3 * _A * x * x - 10 * _A * x + 8 * _A
        taps.append((axis.index(j), weight, slope * sign))
    return taps, place.slope


_KINDS = (_linear, _nearest, _cubic)


def _axes(spatial: Sequence[int], padding: int, align_corners: bool) -> list[_Axis]:
    return [_Axis(n, padding, align_corners) for n in spatial]


def _refuse(input: Array, grid: Array) -> None:
    if grid.size * input.shape[1] > _LARGEST or not all(isinstance(c, arb) for c in grid.ravel().tolist()):
        raise NotExact


def _taps(point: Array, axes: Sequence[_Axis], mode: int) -> list[tuple[Taps, Any]]:
    """Return the taps of each axis of the image; a grid holds the last axis first."""
    return [_KINDS[mode](axis, axis.place(cell)) for axis, cell in zip(axes, point[::-1].tolist(), strict=True)]


def _sampled(
    input: Array,
    grid: Array,
    interpolation_mode: int,
    padding_mode: int,
    align_corners: bool,
) -> Array:
    _refuse(input, grid)
    axes = _axes(input.shape[2:], padding_mode, align_corners)
    out = cells_of(np.zeros((*input.shape[:2], *grid.shape[1:-1])))
    for place in np.ndindex(*grid.shape[:-1]):
        n, *where = place
        taps = [of_axis for of_axis, _ in _taps(grid[place], axes, interpolation_mode)]
        for combination in itertools.product(*taps):
            index = tuple(i for i, _, _ in combination)
            if None not in index:
                weight = math.prod((w for _, w, _ in combination), start=_ONE)
                at: Any = (n, slice(None), *where)
                out[at] = out[at] + input[(n, slice(None), *index)] * weight
    return out


def _sampled_backward(
    grad_output: Array, input: Array, grid: Array, interpolation_mode: int, padding_mode: int,
    align_corners: bool, output_mask: Sequence[bool],
) -> Any:  # fmt: skip
    _refuse(input, grid)
    axes = _axes(input.shape[2:], padding_mode, align_corners)
    by_input, by_grid = cells_of(np.zeros(input.shape)), cells_of(np.zeros(grid.shape))
    for place in np.ndindex(*grid.shape[:-1]):
        n, *where = place
        taps = _taps(grid[place], axes, interpolation_mode)
        grad = grad_output[(n, slice(None), *where)]
        for combination in itertools.product(*(of_axis for of_axis, _ in taps)):
            index = tuple(i for i, _, _ in combination)
            if None in index:
                continue
            at: Any = (n, slice(None), *index)
            weights = [w for _, w, _ in combination]
            by_input[at] = by_input[at] + grad * math.prod(weights, start=_ONE)
            along = np.add.reduce(grad * input[at])
            for axis, (_, _, slope) in enumerate(combination):
                others = math.prod((w for d, w in enumerate(weights) if d != axis), start=_ONE)
                last = (*place, len(axes) - 1 - axis)
                by_grid[last] = by_grid[last] + along * slope * others * taps[axis][1]
    return (by_input if output_mask[0] else None), by_grid


GRID_SAMPLES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **{f"grid_sampler_{n}d": _sampled for n in (2, 3)},
        **{f"grid_sampler_{n}d_backward": _sampled_backward for n in (2, 3)},
    }
)
"""Operators by their aten name."""
