"""Arrays of double-double numbers, each with a proved bound of its error.

The bounds are those of Dekker (Numer. Math. 18, 1971) and of Joldes, Muller and Popescu (ACM TOMS 44(2), 2017), rounded
up; u is 2**-53. A sum keeps what it leaves out as its bound, so that an exact one has a bound of 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.numerics.rounding_errors import fast_two_sum, halves, product_of_halves, two_sum

LEAST, MOST = 2.0**-900, 2.0**900
"""Sizes between which no product loses a rounding error in underflow, and none overflows."""
UNDERFLOW = 2.0**-890
"""Radius of what is smaller."""
UNIT = 5e-324
MOST_UNITS = 2.0**-1054
"""Radius up to which, where a value may be negligible, it counts in units of 2**-1130."""
UP = 1.0 + 2.0**-40
"""Rounds the few operations of a radius up."""
_PRODUCT = 2.0**-102
_QUOTIENT = 2.0**-101
_SURE = 2.0**-45


class UndecidedError(Exception):
    """Enclosures do not tell which of two numbers is larger: balls have to."""


class Enclosure:
    """An array of numbers of which each is known to lie within a radius of a double-double number.

    A number is exactly ``high + low`` where its radius is 0, and strictly within it elsewhere. Without `low` and
    `radius` all are 0: such an array holds float64 numbers. Nothing is known where the radius is infinite.

    A number whose center is no larger than its radius, and that at most `MOST_UNITS`, in an array that has
    `negligible` ones, is smaller still: each unit of 2**-1074 stands for one of 2**-1130. So exp(-1000) is a number
    that rounds to 0 in every format, and whose sign is known.
    """

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, high: Array, low: Array | None = None, radius: Array | None = None, *, negligible: bool = False
    ) -> None:
        self.high, self.low, self.radius, self.negligible = high, low, radius, negligible

    @classmethod
    def of(cls, value: Any) -> Enclosure:
        """Return floats, exactly, as an enclosure; an enclosure as it is."""
        return value if isinstance(value, Enclosure) else cls(np.asarray(value, dtype=np.float64))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.high.shape

    @property
    def is_plain(self) -> bool:
        """True where the numbers are those of `high`."""
        return self.low is None and self.radius is None

    @property
    def lows(self) -> Array:
        """Lower parts, an array."""
        return np.zeros_like(self.high) if self.low is None else self.low

    @property
    def radii(self) -> Array:
        """Radii, an array."""
        return np.zeros_like(self.high) if self.radius is None else self.radius

    @property
    def negligibles(self) -> Array:
        """Mark the numbers that count in units of 2**-1130."""
        if not self.negligible or self.radius is None:
            return np.zeros(self.shape, dtype=bool)
        return (self.radius > 0) & (self.radius <= MOST_UNITS) & (np.abs(self.high) <= self.radius)

    def mapped(self, change: Callable[[Array], Array]) -> Enclosure:
        """Return the same of every part."""
        low, radius = (None if part is None else change(part) for part in (self.low, self.radius))
        return Enclosure(change(self.high), low, radius, negligible=self.negligible)

    def __len__(self) -> int:
        return len(self.high)

    def __getitem__(self, index: Any) -> Enclosure:
        return self.mapped(lambda part: part[index])

    def reshape(self, *shape: Any) -> Enclosure:
        """Return the numbers in another shape."""
        return self.mapped(lambda part: part.reshape(*shape))

    @property
    def T(self) -> Enclosure:  # noqa: N802 - as NumPy's
        """Transpose."""
        return self.mapped(np.transpose)

    # --- sums ---------------------------------------------------------------------------------------

    def __neg__(self) -> Enclosure:
        low = None if self.low is None else -self.low
        return Enclosure(-self.high, low, self.radius, negligible=self.negligible)

    def __abs__(self) -> Enclosure:
        low = None if self.low is None else np.where(self.high < 0, -self.low, self.low)
        return Enclosure(np.abs(self.high), low, self.radius, negligible=self.negligible)

    def __add__(self, other: Any) -> Enclosure:
        a, b = self, Enclosure.of(other)
        with np.errstate(all="ignore"):
            high, low = two_sum(a.high, b.high)
            if a.is_plain and b.is_plain:
                return _within_range(Enclosure(high, low if low.any() else None))
            radius = _sum_of(a.radius, b.radius)
            lows = [part for part in (a.low, b.low) if part is not None]
            if len(lows) == 2:
                rest, error = two_sum(*lows)
                radius = _with_error(radius, error)
                lows = [rest]
            for part in lows:
                low, error = two_sum(low, part)
                radius = _with_error(radius, error)
                high, low = two_sum(high, low)
            result = Enclosure(high, low, radius, negligible=a.negligible or b.negligible)
            if result.negligible:
                _unmix(result, a, b)
            return _within_range(result)

    def __radd__(self, other: Any) -> Enclosure:
        return self + other

    def __sub__(self, other: Any) -> Enclosure:
        return self + -Enclosure.of(other)

    def __rsub__(self, other: Any) -> Enclosure:
        return -self + other

    def sum(self) -> Enclosure:
        """Sum along the last axis, kept as a column: see `_tree`."""
        if self.shape[-1] == 0:
            return Enclosure(np.zeros((*self.shape[:-1], 1)))
        with np.errstate(all="ignore"):
            high, low, radius = _tree(self.high, self.low)
            if self.radius is None and not radius.any():
                return _within_range(Enclosure(high, low if low.any() else None))
            high, low = two_sum(high, low)
            if self.radius is not None:
                radius = (radius + np.add.reduce(self.radius, axis=-1, keepdims=True)) * UP
            result = Enclosure(high, low, radius, negligible=self.negligible)
            if self.negligible:
                # What is exact and as small has no reading beside what is negligible.
                is_odd = (self.high != 0) & (np.abs(self.high) < LEAST) & ~self.negligibles
                radius[is_odd.any(axis=-1) & (radius[..., 0] <= MOST_UNITS)] = np.nan
            return _within_range(result)

    # --- products -----------------------------------------------------------------------------------

    def __mul__(self, other: Any) -> Enclosure:
        a, b = self, Enclosure.of(other)
        if _is_one(b):
            return a
        if _is_one(a):
            return b
        with np.errstate(all="ignore"):
            high, low = product_of_halves(a.high, halves(a.high), b.high, halves(b.high))
            if a.low is not None:
                low += a.low * b.high
            if b.low is not None:
                low += a.high * b.low
            radius, size = None, np.abs(high)
            if not (a.is_plain and b.is_plain):
                high, low = fast_two_sum(high, low)
                radius = size * _PRODUCT
                radius = _cleared(radius, a, b)
                for one, factor in ((a, b), (b, a)):
                    if one.radius is not None:
                        radius += np.abs(factor.high) * one.radius
                if a.radius is not None and b.radius is not None:
                    radius += a.radius * b.radius
                radius *= UP
            result = Enclosure(high, low, radius, negligible=a.negligible or b.negligible)
            if not (_is_ordinary(size) and np.isfinite(np.add.reduce(low, axis=None))):
                _mend(result, size, _is_zero(a) | _is_zero(b))
                if result.negligible:
                    _scale(result, (a.negligibles, b.negligibles), a, b, lambda x, y: x * y)
            if result.radius is None and not low.any():
                result.low = None
            return result

    def __rmul__(self, other: Any) -> Enclosure:
        return self * other

    def __truediv__(self, other: Any) -> Enclosure:
        a, b = self, Enclosure.of(other)
        if _is_one(b):
            return a
        with np.errstate(all="ignore"):
            first = a.high / b.high
            product, error = product_of_halves(first, halves(first), b.high, halves(b.high))
            rest = (a.high - product) - error
            if a.low is not None:
                rest += a.low
            if b.low is not None:
                rest -= first * b.low
            high, low = fast_two_sum(first, rest / b.high)
            size, below = np.abs(first), np.abs(b.high)
            radius = _cleared(size * _QUOTIENT, a, b, rest)
            if a.radius is not None:
                radius += a.radius / below
            if b.radius is not None:
                radius += size * (b.radius / below)
                radius = np.where(b.radius <= _SURE * below, radius, np.nan)
            radius *= UP
            result = Enclosure(high, low, radius, negligible=a.negligible or b.negligible)
            of_a = np.abs(a.high)
            if not (_is_ordinary(of_a) and _is_ordinary(size) and np.isfinite(np.add.reduce(low, axis=None))):
                # Where the dividend is too small the rest is, too, and nothing is known.
                size = np.where((of_a < LEAST) & (size >= LEAST), np.nan, size)
                _mend(result, size, np.broadcast_to(_is_zero(a), size.shape) & (below > 0))
                if result.negligible:
                    _scale(result, (a.negligibles, np.zeros(b.shape, dtype=bool)), a, b, lambda x, _: x / below)
            return result

    def __rtruediv__(self, other: Any) -> Enclosure:
        return Enclosure.of(other) / self

    # --- comparisons --------------------------------------------------------------------------------

    def _compared(self, other: Any, function: Callable[[Array, Any], Array]) -> Array:
        """Compare the difference with 0, where that is certain everywhere."""
        b = Enclosure.of(other)
        if self.is_plain and b.is_plain:
            return function(self.high, b.high)
        difference = self - b
        if (
            difference.radius is not None
            and not ((difference.radius == 0) | (np.abs(difference.high) > difference.radius * (2 * UP))).all()
        ):
            raise UndecidedError
        return function(difference.high, 0.0)

    def __lt__(self, other: Any) -> Array:
        return self._compared(other, np.less)

    def __le__(self, other: Any) -> Array:
        return self._compared(other, np.less_equal)

    def __gt__(self, other: Any) -> Array:
        return self._compared(other, np.greater)

    def __ge__(self, other: Any) -> Array:
        return self._compared(other, np.greater_equal)

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return self._compared(other, np.equal)

    def __ne__(self, other: object) -> Array:  # type: ignore[override]
        return self._compared(other, np.not_equal)


def _is_one(factor: Enclosure) -> bool:
    return factor.is_plain and factor.high.ndim == 0 and factor.high.item() == 1.0


def _is_zero(one: Enclosure) -> Array:
    """Mark the numbers that are exactly 0."""
    return (one.high == 0) & (one.lows == 0) & (one.radii == 0)


def _is_ordinary(sizes: Array) -> bool:
    return bool(sizes.size and sizes.min() >= LEAST and sizes.max() <= MOST)


def _sum_of(a: Array | None, b: Array | None) -> Array | None:
    """Add two radii, rounded up; None stands for 0."""
    if a is None or b is None:
        return b if a is None else a
    return (a + b) * UP


def _with_error(radius: Array | None, error: Array) -> Array | None:
    """Add what a sum leaves out to its radius, if it leaves anything out: twice, for an enclosure is open."""
    return _sum_of(radius, 2 * np.abs(error)) if error.any() else radius


def _within_range(result: Enclosure) -> Enclosure:
    """Return a sum, unknown where it is too large for what follows."""
    sizes = np.abs(result.high)
    if sizes.size and not sizes.max() <= MOST:
        _forget(result, ~(sizes <= MOST))
    return result


def _forget(result: Enclosure, where: Array) -> None:
    """Make numbers unknown."""
    result.radius = np.where(where, np.nan, result.radii)
    result.high = np.where(where, 0.0, result.high)
    result.low = np.where(where, 0.0, result.lows)


def _unmix(result: Enclosure, a: Enclosure, b: Enclosure) -> None:
    """Make a sum unknown that reads as negligible though one of its terms is not."""
    known = [one.negligibles | _is_zero(one) for one in (a, b)]
    mixed = result.negligibles & ~(known[0] & known[1])
    if mixed.any():
        _forget(result, mixed)


def _cleared(radius: Array, a: Enclosure, b: Enclosure, rest: Array | None = None) -> Array:
    """Set to 0 the radius of products of float64 numbers, or of quotients of them that leave no rest."""
    exact: Any = True if rest is None else rest == 0
    for one in (a, b):
        if one.radius is not None:
            if one.radius.size and one.radius.min() > 0:
                return radius
            exact = exact & (one.radius == 0)
        if one.low is not None:
            exact = exact & (one.low == 0)
    return np.where(exact, 0.0, radius)


def _mend(result: Enclosure, sizes: Array, is_zero: Array) -> None:
    """Enclose products or quotients that are too large or too small for the formulas."""
    unknown = ~(sizes <= MOST) | ~np.isfinite(result.lows)
    small = (sizes < LEAST) & ~unknown
    radius = result.radii + np.where(small, UNDERFLOW, 0.0)
    result.radius = np.where(is_zero, 0.0, np.where(unknown, np.nan, radius))
    result.high = np.where(unknown | small, 0.0, result.high)
    result.low = np.where(unknown | small, 0.0, result.lows)


def _scale(
    result: Enclosure,
    negligible: tuple[Array, Array],
    a: Enclosure,
    b: Enclosure,
    combined: Callable[[Array, Array], Array],
) -> None:
    """Count in units of 2**-1130 the products or quotients of what is negligible; `combined` is of two sizes.

    Beyond the most units, 2**-56 of their number is still below the radius of an underflow up to 2**-834.
    """
    assert result.radius is not None
    where = (negligible[0] | negligible[1]) & ~(_is_zero(a) | _is_zero(b))
    units = combined(*(np.abs(one.high) + one.radii for one in (a, b))) * UP + UNIT
    signs = [np.where(np.abs(one.high) >= one.radii, np.sign(one.high), 0.0) for one in (a, b)]
    few = where & (units <= MOST_UNITS)
    result.high = np.where(few, signs[0] * signs[1] * units, np.where(where, 0.0, result.high))
    result.low = np.where(where, 0.0, result.lows)
    many = np.where(units <= UNDERFLOW / 2.0**-56, UNDERFLOW, np.nan)
    result.radius = np.where(few, units, np.where(where, many, result.radius))


_FEW = 32
"""Classes up to which rows are added along their columns, which are longer."""


def _tree(high: Array, low: Array | None) -> tuple[Array, Array, Array]:
    """Sum rows as pairs in a tree, and bound what that rounds off; all are columns.

    Each node adds the high parts without error (2Sum) and their error to the sum of the low parts, in two roundings of
    at most u times the sizes of the lower parts of its children and its own, the children's twice. So all of them
    together round off at most 6 u times the sizes of all lower parts, those of the leaves and of every node.
    """
    axis = -1
    if high.shape[-1] <= _FEW:
        axis, high = 0, np.ascontiguousarray(high.T)
        low = None if low is None else np.ascontiguousarray(low.T)
    size = np.zeros(()) if low is None else np.add.reduce(np.abs(low), axis=axis, keepdims=True)
    while high.shape[axis] > 1:
        half, rest = high.shape[axis] // 2, high.shape[axis] % 2
        cuts = [slice(0, half), slice(half, 2 * half), slice(2 * half, None)]
        first, second, odd = (cut if axis == 0 else (slice(None), cut) for cut in cuts)
        total, error = two_sum(high[first], high[second])
        if low is not None:
            error += low[first] + low[second]
        if rest:
            total = np.concatenate([total, high[odd]], axis=axis)
            odd_low = np.zeros_like(high[odd]) if low is None else low[odd]
            error = np.concatenate([error, odd_low], axis=axis)
        high, low = total, error
        size = size + np.add.reduce(np.abs(low), axis=axis, keepdims=True)
    low = np.zeros_like(high) if low is None else low
    bound = np.broadcast_to(size * (6.0 * 2.0**-53 * UP), high.shape)
    return (high, low, bound) if axis == -1 else (high.T, low.T, bound.T)
