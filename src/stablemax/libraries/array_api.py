"""Our variants on another library's arrays: the `xp` that they get, over the Array API's namespace."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stablemax.libraries import check_device, require, version
from stablemax.libraries.declaration import ALL_FORMATS, Arrays, quiet
from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.coarse_grid import coarse_grid, room_of
from stablemax.numerics.formats import FLOAT32, FLOAT64, FORMATS, Array, Format
from stablemax.operations.targets import Targets
from stablemax.operations.variant import Variant, evaluate
from stablemax.text.vocabulary import Accumulation

CELLS_PER_CALL = 1 << 22
"""Rows are computed in blocks of about this many cells: a Jacobian of 2,048 classes is one row's."""


@dataclass(frozen=True)
class BackendArithmetic(Namespace):
    """A library's arithmetic in one format: each operation is the library's own."""

    #: How NumPy arrays get there and back.
    arrays: Arrays
    #: Number format of the arrays.
    format: Format
    #: How sums are added; by the library's own sum when not given.
    accumulation: Accumulation | None = None
    #: Where it computes.
    device: str | None = None

    @cached_property
    def _library(self) -> Any:
        """The Array API's namespace of the library."""
        from array_api_compat import array_namespace

        return array_namespace(self.arrays.put(np.ones(1, dtype=np.float32), self.device))

    @cached_property
    def _dtype(self) -> Any:
        return getattr(self._library, self.format.name)

    @cached_property
    def wider(self) -> BackendArithmetic:
        """Float64, whose sums no policy may narrow."""
        return BackendArithmetic(self.arrays, FLOAT64, None, self.device)

    def array(self, values: Any) -> Any:
        """Round values, of NumPy or of the library, to the format."""
        if isinstance(values, np.ndarray):
            return self.arrays.put(self.format.cast(values), self.device)
        return self._library.astype(values, self._dtype)

    def number(self, value: float) -> Any:
        """Round one number to the format: a bare Python number would take part unrounded."""
        return self.array(np.asarray(value, dtype=np.float64))

    def elementary(self, function: np.ufunc, x: Any) -> Any:
        """Apply the library's function of that name; exp2 is not in the Array API, but in both libraries."""
        return getattr(self._library, function.__name__)(x)

    def max(self, x: Any) -> Any:
        """Maximum of each row, kept as a column."""
        return self._library.max(x, axis=-1, keepdims=True)

    def sum(self, x: Any, *, axis: int | None = -1) -> Any:
        """Sum over the last axis, kept as a column, or over everything for ``axis=None``."""
        if axis is None:
            return self.sum(self._library.reshape(x, (1, -1)))
        if self.accumulation is None:
            return self._own_sum(x)
        if self.accumulation is Accumulation.SEQUENTIAL:
            total = x[..., :1]
            for j in range(1, x.shape[-1]):
                total = total + x[..., j : j + 1]
            return total
        if self.accumulation is Accumulation.PAIRWISE:
            return self._tree(x)
        return self.narrow(self._tree(self._to(FORMATS[self.accumulation.value], x)))

    def _own_sum(self, x: Any) -> Any:
        return self._library.sum(x, axis=-1, keepdims=True, dtype=x.dtype)

    def _tree(self, x: Any) -> Any:
        """Add neighbours of a tree, whatever order the library's own sum has."""
        while x.shape[-1] > 1:
            half = x.shape[-1] // 2
            x = self._library.concat([x[..., :half] + x[..., half : 2 * half], x[..., 2 * half :]], axis=-1)
        return x

    def _to(self, fmt: Format, x: Any) -> Any:
        return self._library.astype(x, getattr(self._library, fmt.name))

    def mean(self, x: Any) -> Any:
        """Mean of a vector: the library's own, or the policy's sum, divided before it is rounded."""
        if self.accumulation is None:
            return self._library.mean(x)
        wide = {Accumulation.FLOAT32: FLOAT32, Accumulation.FLOAT64: FLOAT64}.get(self.accumulation, self.format)
        inner = BackendArithmetic(self.arrays, wide, self.accumulation, self.device)
        total = inner.sum(self._library.reshape(inner.array(x), (1, -1)))
        return self.narrow(self._to(FLOAT64, total)[0, 0] / x.shape[0])

    def compensated_sum(self, x: Any) -> Any:
        """Sum of each row of non-negative numbers, as if in twice the precision.

        As in `arithmetic.Arithmetic`: the parts above a common bit add without rounding in every
        order, the library's own too.
        """
        room = self.format.max / 2
        cut = self.minimum(self.max(x) * self.number(min(x.shape[-1], room)), self.number(room))
        high, low = self._sum_in_two(x, cut)
        return high + low

    def _sum_in_two(self, x: Any, cut: Any) -> tuple[Any, Any]:
        high = (x + cut) - cut
        return self._own_sum(high), self._own_sum(x - high)

    def over_sum(self, x: Any, e: Any, divisor: float) -> Any:
        """``x / (sum(e) * divisor)`` for e of `shifted_exp`, the denominator rounded once."""
        top = 1.0 if coarse_grid(self.format) is None else 2.0 ** (self.format.precision + 1)
        high, low = self._sum_in_two(e, self.number(min(top * e.shape[-1], self.format.max / 2)))
        if divisor == 1.0:
            return x / (high + low)
        if self.format.precision < FLOAT32.precision:
            return self.divided(x / (high + low), divisor)
        times = self.number(divisor)
        # Veltkamp's halves: their products with a divisor of few bits are exact.
        shifted = high * self.number(2.0 ** math.ceil(self.format.precision / 2) + 1)
        upper = shifted - (shifted - high)
        return x / (upper * times + ((high - upper) * times + low * times))

    def shifted_exp(self, x: Any) -> Any:
        """``exp(x - c)`` with the rounding error of x - c kept: exp(d + r) is exp(d) (1 + r)."""
        zero = self.number(0.0)
        m = self.max(x)
        m = self.where(self.isfinite(m), m, zero)
        grid = coarse_grid(self.format)
        if grid is None:
            d = x - m
            t = d - x
            r = (x - (d - t)) - (m + t)
        else:
            offset, reach, lift = (self.number(part) for part in grid)
            c = self.where(self._library.abs(m) < reach, (m + offset) - offset, m) - lift
            d = x - c
            r = x - (d + c)
        # -inf - -inf and a difference that overflows leave no error to put back; exp(d) is 0 there.
        e = self.exp(d)
        return e + e * self.where(self.isfinite(r), r, zero)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Choose elementwise; a condition made from labels is NumPy's."""
        if isinstance(condition, np.ndarray):
            condition = self.arrays.put(condition, self.device)
        return self._library.where(condition, x, y)

    def maximum(self, x: Any, y: Any) -> Any:
        """Larger of two; NaN wins."""
        return self._library.maximum(x, y)

    def minimum(self, x: Any, y: Any) -> Any:
        """Smaller of two; NaN wins."""
        return self._library.minimum(x, y)

    def isfinite(self, x: Any) -> Any:
        """Mark the finite cells."""
        return self._library.isfinite(x)

    def take(self, values: Any, columns: Array) -> Any:
        """One value of each row, as a column."""
        return self._library.take_along_axis(values, self.arrays.put(columns[:, None], self.device), axis=-1)

    def first_max(self, x: Any) -> Any:
        """Mark the first maximum of each row."""
        classes = self.arrays.put(np.arange(x.shape[-1]), self.device)
        return classes == self._library.argmax(x, axis=-1, keepdims=True)

    def take_max(self, values: Any, x: Any) -> tuple[Any, Any]:
        """Split `values` at the first maximum of x."""
        top = self._library.take_along_axis(values, self._library.argmax(x, axis=-1, keepdims=True), axis=-1)
        return top, self.where(self.first_max(x), self.number(0.0), values)

    def with_room(self, x: Any) -> tuple[Any, Any]:
        """Scale rows that reach up to the largest number by a power of two."""
        room = room_of(self.format)
        full = self.max(self._library.abs(x)) > self.number(self.format.max / room)
        scale = self.where(full, self.number(1.0 / room), self.number(1.0))
        return x * scale, scale

    def widen(self, x: Any) -> Any:
        """Convert to float64, exactly."""
        return self._to(FLOAT64, x)

    def narrow(self, x: Any) -> Any:
        """Round to the format."""
        return self._to(self.format, x)


@dataclass(frozen=True)
class Backend:
    """A library, and a device of it, that our variants run on."""

    #: torch or jax.
    library: str
    #: As the library names it; its own choice when not given.
    device: str | None = None

    def __post_init__(self) -> None:
        require(self.library)
        require("array_api_compat")
        if self.device is not None:
            check_device(self.library, self.device)

    @cached_property
    def _arrays(self) -> Arrays:
        arrays: Arrays = importlib.import_module(f"stablemax.libraries.{self.library}").ARRAYS
        return arrays

    @property
    def version(self) -> str:
        """Version of the library."""
        return version(self.library)

    def refusal(self, fmt: Format) -> str:
        """Why nothing runs in a format, as words that follow "it"; empty where it does."""
        return "" if fmt.name in ALL_FORMATS else f"runs on {self.library}, which does not compute in {fmt.name}"

    def arithmetic(self, fmt: Format, accumulation: Accumulation | None = None) -> BackendArithmetic:
        """Return the library's arithmetic in a format."""
        return BackendArithmetic(self._arrays, fmt, accumulation, self.device)

    def run(
        self,
        variant: Variant,
        x: Array,
        second: Targets | Array | None,
        fmt: Format,
        accumulation: Accumulation | None = None,
    ) -> tuple[Array, float | None]:
        """Run a variant on NumPy arrays."""
        xp = self.arithmetic(fmt, accumulation)
        cells = x.shape[-1] * (x.shape[-1] if variant.max_classes is not None else 1)
        size = max(1, CELLS_PER_CALL // cells) if variant.rowwise else max(1, len(x))
        with quiet(), self._arrays.running():
            parts = [
                evaluate(variant, xp.array(x[start : start + size]), xp, _part(second, start, size, xp))
                for start in range(0, len(x), size)
            ]
            output = xp._library.concat(parts, axis=0) if len(parts) > 1 else parts[0]
            mean = float(xp.mean(output.reshape(-1))) if variant.operation.reduces else None
            return self._arrays.back(output), mean


def _part(second: Any, start: int, size: int, xp: BackendArithmetic) -> Any:
    """Copy some rows of targets or of an upstream gradient to the library."""
    block = slice(start, start + size)
    if second is None or isinstance(second, np.ndarray):
        return None if second is None else xp.array(second[block])
    return second.rows(block).to(xp)
