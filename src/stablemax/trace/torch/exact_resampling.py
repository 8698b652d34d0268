"""Average pooling and interpolation, exactly: along each axis a sum of neighbours with rational weights."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
from flint import arb

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import as_array, as_cell, cells_of
from stablemax.trace.special_cells import FUNCTIONS
from stablemax.trace.torch.exact_ops import NotExact

# ruff: noqa: FBT001, FBT002 - arguments and their order are those of aten's schemas

_DIVIDE = FUNCTIONS["divide"]
_HALF = Fraction(1, 2)
Weights = Iterable[tuple[int, Fraction]]
"""Of one number that is made: the neighbours it is made of, by their places, with their weights."""


@dataclass(frozen=True)
class _AxisMap:
    """What one axis of an array becomes: sums with whole weights, which all are divided by the same number.

    Division comes last, so that a sum which is 0 is exactly 0.
    """

    size: int
    rows: tuple[tuple[tuple[int, int], ...], ...]
    divisor: int

    @classmethod
    def of(cls, size: int, rows: Iterable[Weights]) -> _AxisMap:
        """Bring rational weights to one divisor."""
        listed = [list(row) for row in rows]
        divisor = math.lcm(*(w.denominator for row in listed for _, w in row))
        whole = (tuple((i, w.numerator * (divisor // w.denominator)) for i, w in row) for row in listed)
        return cls(size, tuple(whole), divisor)

    def summed(self, x: Array, axis: int) -> Array:
        """Add the weighted neighbours, without the division."""
        moved = np.moveaxis(x, axis, 0)
        out = cells_of(np.zeros((len(self.rows), *moved.shape[1:])))
        for place, row in enumerate(self.rows):
            for i, weight in row:
                out[place] = out[place] + _times(moved[i], weight)
        return np.moveaxis(out, 0, axis)

    def spread(self, y: Array, axis: int) -> Array:
        """Add each number to the neighbours that it was made of, without the division: the gradient."""
        moved = np.moveaxis(y, axis, 0)
        out = cells_of(np.zeros((self.size, *moved.shape[1:])))
        for place, row in enumerate(self.rows):
            for i, weight in row:
                out[i] = out[i] + _times(moved[place], weight)
        return np.moveaxis(out, 0, axis)


def _times(cells: Any, weight: int) -> Any:
    return cells if weight == 1 else cells * arb(weight)


def _resampled(x: Array, maps: Sequence[_AxisMap], *, backward: bool = False) -> Array:
    """Apply maps to the last axes of an array, forward or as a gradient."""
    out = x
    for axis, axis_map in enumerate(maps, x.ndim - len(maps)):
        out = (axis_map.spread if backward else axis_map.summed)(out, axis)
    divisor = math.prod(axis_map.divisor for axis_map in maps)
    return out if divisor == 1 else as_array(_DIVIDE(out, arb(divisor)))


def _refuse_large(x: Array, maps: Sequence[_AxisMap]) -> None:
    if x.size * max(len(row) for axis_map in maps for row in axis_map.rows or ((),)) > 1 << 18:
        raise NotExact


# --- average pooling ------------------------------------------------------------------------------------


def _spread_out(value: Any, count: int) -> tuple[int, ...]:
    return tuple(value) * (count // len(value))


def _windows(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> list[tuple[int, int]]:
    """Return where the windows of a pooling begin and end; beyond the padding ceil_mode lets them reach."""
    room = size + 2 * padding - kernel
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    starts = (i * stride - padding for i in range(count))
    return [(start, min(start + kernel, size + padding)) for start in starts]


def _average(size: int, windows: Sequence[tuple[int, int]], include_pad: bool, is_divided: bool) -> _AxisMap:
    rows = []
    for start, end in windows:
        inside = range(max(start, 0), min(end, size))
        divisor = 1 if not is_divided else end - start if include_pad else len(inside)
        rows.append([(i, Fraction(1, divisor)) for i in inside])
    return _AxisMap.of(size, rows)


def _pools(
    spatial: Sequence[int], kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, include_pad: bool,
    divisor: int | None,
) -> list[_AxisMap]:  # fmt: skip
    count = len(spatial)
    by_axis = zip(spatial, *(_spread_out(v, count) for v in (kernel_size, stride or kernel_size, padding)), strict=True)
    return [_average(n, _windows(n, k, s, p, ceil_mode), include_pad, divisor is None) for n, k, s, p in by_axis]


def _avg_pool(
    count: int, self: Array, kernel_size: Any, stride: Any = (), padding: Any = (0,), ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    pools = _pools(self.shape[-count:], kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    out = _resampled(self, pools)
    return out if divisor_override is None else _DIVIDE(out, as_cell(divisor_override))


def _avg_pool_backward(
    count: int, grad_output: Array, self: Array, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None,
) -> Any:  # fmt: skip
    pools = _pools(self.shape[-count:], kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    out = _resampled(grad_output, pools, backward=True)
    return out if divisor_override is None else _DIVIDE(out, as_cell(divisor_override))


def _adaptive(spatial: Sequence[int], sizes: Sequence[int]) -> list[_AxisMap]:
    of_axis = ([(i * n // m, -(-(i + 1) * n // m)) for i in range(m)] for n, m in zip(spatial, sizes, strict=True))
    pairs = zip(spatial, of_axis, strict=True)
    return [_average(n, windows, include_pad=False, is_divided=True) for n, windows in pairs]


def _adaptive_avg_pool(self: Array, output_size: Sequence[int]) -> Any:
    return _resampled(self, _adaptive(self.shape[-len(output_size) :], output_size))


def _adaptive_avg_pool_backward(count: int, grad_output: Array, self: Array) -> Any:
    pools = _adaptive(self.shape[-count:], grad_output.shape[-count:])
    return _resampled(grad_output, pools, backward=True)


# --- interpolation --------------------------------------------------------------------------------------


def _scale(size: int, to: int, align_corners: bool, factor: float | None) -> Fraction:
    if align_corners:
        return Fraction(size - 1, to - 1) if to > 1 else Fraction(0)
    return 1 / Fraction(factor) if factor else Fraction(size, to)


def _linear(size: int, to: int, align_corners: bool, factor: float | None) -> list[Weights]:
    """Return the two neighbours of each number, also where the weight of one is 0: PyTorch multiplies with it."""
    if size == to:
        return [[(i, Fraction(1)), (i, Fraction(0))] for i in range(to)]
    scale = _scale(size, to, align_corners, factor)
    rows: list[Weights] = []
    for i in range(to):
        place = scale * i if align_corners else max(Fraction(0), scale * (i + _HALF) - _HALF)
        low = min(math.floor(place), size - 1)
        part = min(max(place - low, Fraction(0)), Fraction(1))
        rows.append([(low, 1 - part), (min(low + 1, size - 1), part)])
    return rows


def _cubic_weight(distance: Fraction, a: Fraction) -> Fraction:
    """Return the weight of a neighbour in Keys' cubic convolution."""
    x = abs(distance)
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else Fraction(0)


def _cubic(size: int, to: int, align_corners: bool, factor: float | None) -> list[Weights]:
    scale, a = _scale(size, to, align_corners, factor), Fraction(-3, 4)
    rows: list[Weights] = []
    for i in range(to):
        place = scale * i if align_corners else scale * (i + _HALF) - _HALF
        low = math.floor(place)
        around = ((low + j, _cubic_weight(place - (low + j), a)) for j in range(-1, 3))
        rows.append([(min(max(j, 0), size - 1), weight) for j, weight in around])
    return rows


def _triangle(distance: Fraction) -> Fraction:
    return max(1 - abs(distance), Fraction(0))


def _antialiased(
    kernel: Callable[[Fraction], Fraction], reach: int, size: int, to: int, align_corners: bool, factor: float | None
) -> list[Weights]:
    """Return neighbours in a window that grows with the scale, their weights normalised."""
    scale = _scale(size, to, align_corners, factor)
    wide = max(scale, Fraction(1))
    rows: list[Weights] = []
    for i in range(to):
        centre = scale * (i + _HALF)
        first = max(math.trunc(centre - reach * wide + _HALF), 0)
        end = min(math.trunc(centre + reach * wide + _HALF), size)
        weights = [kernel((j - centre + _HALF) / wide) for j in range(first, end)]
        total = sum(weights)
        rows.append([(j, w / total if total else w) for j, w in enumerate(weights, first)])
    return rows


def _maps(
    rows_of: Callable[..., list[Weights]], spatial: Sequence[int], sizes: Sequence[int], rest: Sequence[Any]
) -> Any:
    """Return the maps of all axes; `rest` is align_corners, then a factor an axis, or all of them in one list."""
    align_corners, *factors = rest
    if len(factors) == 1 and isinstance(factors[0], (list, tuple)):
        factors = list(factors[0])
    by_axis = itertools.zip_longest(spatial, sizes, factors)
    return [_AxisMap.of(n, rows_of(n, m, align_corners, f)) for n, m, f in by_axis]


def _upsampled(
    rows_of: Callable[..., list[Weights]], self: Array, output_size: Sequence[int] | None, align_corners: bool,
    *factors: Any, **named: Any,
) -> Any:  # fmt: skip
    if output_size is None:
        raise NotExact
    maps = _maps(rows_of, self.shape[2:], output_size, (align_corners, *factors, *named.values()))
    _refuse_large(self, maps)
    return _resampled(self, maps)


def _upsampled_backward(
    rows_of: Callable[..., list[Weights]], grad_output: Array, output_size: Sequence[int], input_size: Sequence[int],
    align_corners: bool, *factors: Any, **named: Any,
) -> Any:  # fmt: skip
    maps = _maps(rows_of, input_size[2:], output_size, (align_corners, *factors, *named.values()))
    _refuse_large(grad_output, maps)
    return _resampled(grad_output, maps, backward=True)


_KINDS: Mapping[str, Callable[..., list[Weights]]] = MappingProxyType(
    {
        **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"), _linear),
        "upsample_bicubic2d": _cubic,
        "_upsample_bilinear2d_aa": functools.partial(_antialiased, _triangle, 1),
        "_upsample_bicubic2d_aa": functools.partial(
            _antialiased, functools.partial(_cubic_weight, a=Fraction(-1, 2)), 2
        ),
    }
)
"""The weights of each interpolation, by the aten name of its operator."""

RESAMPLED: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **{name: functools.partial(_upsampled, rows_of) for name, rows_of in _KINDS.items()},
        **{f"{name}_backward": functools.partial(_upsampled_backward, rows_of) for name, rows_of in _KINDS.items()},
        **{f"avg_pool{n}d": functools.partial(_avg_pool, n) for n in (2, 3)},
        **{f"avg_pool{n}d_backward": functools.partial(_avg_pool_backward, n) for n in (2, 3)},
        **{f"_adaptive_avg_pool{n}d": _adaptive_avg_pool for n in (2, 3)},
        **{f"_adaptive_avg_pool{n}d_backward": functools.partial(_adaptive_avg_pool_backward, n) for n in (2, 3)},
    }
)
"""Operators by their aten name."""
