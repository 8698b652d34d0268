"""The truth in double-double numbers, as far as they tell it: what a variant gets as `xp` before balls do."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flint
import numpy as np

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.truth import elementary
from stablemax.truth.enclosure import LEAST, UNDERFLOW, UNIT, UP, Enclosure, UndecidedError

_NEGLIGIBLE = -790.0
"""exp of less is below 2**-1138."""
_SMALL = 2.0**-20
"""Radius of an argument up to which the derivative there, and 2**-18 of it, bounds the radius of a function."""
_NEARLY = 1.0 + 2.0**-18


class Enclosures(Namespace):
    """The arithmetic of double-double numbers with a proved error bound, a hundred times as fast as that of balls.

    Arrays are :class:`Enclosure`; every operation encloses the exact result, as those of :class:`Balls` do. What it
    cannot enclose it leaves unknown, or raises an :class:`UndecidedError`; -inf logits have to leave a row before.
    An instance remembers the exponentials of an array.

    >>> xp = Enclosures()
    >>> p = xp.exp(xp.array([[0.0, -40.0]]))
    >>> p.high, bool((p.radius < 1e-30).all())
    (array([[1.00000000e+00, 4.24835426e-18]]), True)
    """

    def __init__(self) -> None:
        self._exponentials: dict[int, tuple[Any, Any]] = {}
        self._rows: dict[tuple[int, int], tuple[Array, Any]] = {}

    @property
    def wider(self) -> Enclosures:
        """Return itself: nothing is rounded."""
        return self

    @property
    def log2e(self) -> Any:
        """``log2(e)``."""
        return Enclosure(np.ones(())) / _log2()

    def array(self, values: Any) -> Any:
        """Turn floats into an enclosure, exactly."""
        return Enclosure.of(values)

    def rows_of(self, x: Array, rows: slice) -> Any:
        """Turn rows of floats into an enclosure: the same one where they begin at the same row of the same array."""
        # The array is kept beside it: while it lives, no other array has its id.
        key = (id(x), rows.start)
        if key not in self._rows:
            self._rows[key] = (x, self.array(x[rows]))
        return self._rows[key][1]

    def number(self, value: float) -> Any:
        """Return the exact number."""
        return Enclosure.of(value)

    def elementary(self, function: np.ufunc, x: Any) -> Any:
        """Enclose an elementary function."""
        with np.errstate(all="ignore"):
            return _FUNCTIONS[function](Enclosure.of(x))

    def exp_remainder(self, x: Any) -> Any:
        """``exp(x) - 1 - x``: unknown to balls' precision where it cancels."""
        return self.expm1(x) - x

    def max(self, x: Any) -> Any:
        """Maximum of each row of floats."""
        return Enclosure(np.max(_floats(x), axis=-1, keepdims=True))

    def sum(self, x: Any, *, axis: int | None = -1) -> Any:
        """Sum over the last axis, kept as a column, or over everything for ``axis=None``."""
        return (x.reshape(1, -1) if axis is None else x).sum()

    def compensated_sum(self, x: Any) -> Any:
        """Sum of each row: what is rounded off is within the radius."""
        return x.sum()

    def over_sum(self, x: Any, e: Any, divisor: float) -> Any:
        """``x / (sum(e) * divisor)``."""
        return x / (e.sum() * divisor)

    def shifted_exp(self, x: Any) -> Any:
        """``exp(x - max(x))``, remembered."""
        if id(x) not in self._exponentials:
            self._exponentials[id(x)] = (x, self.exp(x - self.max(x)))
        return self._exponentials[id(x)][1]

    def odds(self, x: Any) -> Any:
        """Sum of the other exponentials of each row: the largest is 1."""
        return self.take_max(self.shifted_exp(x), x)[1].sum()

    def where(self, condition: Array, x: Any, y: Any) -> Any:
        """Choose elementwise."""
        a, b = Enclosure.of(x), Enclosure.of(y)
        low = None if a.low is None and b.low is None else np.where(condition, a.lows, b.lows)
        radius = None if a.radius is None and b.radius is None else np.where(condition, a.radii, b.radii)
        return Enclosure(np.where(condition, a.high, b.high), low, radius, negligible=a.negligible or b.negligible)

    def maximum(self, x: Any, y: Any) -> Any:
        """Larger of two."""
        return self.where(x >= y, x, y)

    def minimum(self, x: Any, y: Any) -> Any:
        """Smaller of two."""
        return self.where(x <= y, x, y)

    def isfinite(self, x: Any) -> Array:
        """Mark every cell: what is enclosed is finite."""
        return np.ones(x.shape, dtype=bool)

    def take(self, values: Any, columns: Array) -> Any:
        """One value of each row, as a column."""
        return values[np.arange(len(values)), columns].reshape(-1, 1)

    def first_max(self, x: Any) -> Array:
        """Mark the first maximum of each row of floats."""
        floats = _floats(x)
        return np.asarray(np.arange(floats.shape[-1]) == np.argmax(floats, axis=-1)[:, None])

    def take_max(self, values: Any, x: Any) -> tuple[Any, Any]:
        """Split `values` at the first maximum of each row of the floats x."""
        columns = np.argmax(_floats(x), axis=-1)
        return self.take(values, columns), self.where(self.first_max(x), self.number(0.0), values)

    def spread(self, values: Any, columns: Array, shape: tuple[int, ...]) -> Any:
        """Put `values` into some columns of an array of zeros."""

        def spread(part: Array) -> Array:
            out = np.zeros(shape)
            out[:, columns] = part
            return out

        return values.mapped(spread)

    def exactly(self, compute: Callable[[], Any]) -> Any:
        """Return sums of products, without any rounding where two numbers hold them."""
        return compute()

    def exact_difference(self, a: Any, b: Any) -> Any:
        """A - b, of floats without any rounding."""
        return a - b

    def with_room(self, x: Any) -> tuple[Any, Any]:
        """Return x and 1: what is too large is unknown."""
        return x, self.number(1.0)

    def widen(self, x: Any) -> Any:
        """Return x: nothing is wider."""
        return x

    def narrow(self, x: Any) -> Any:
        """Return x: nothing is rounded."""
        return x


def _floats(x: Any) -> Array:
    """Return numbers as float64, which order them for certain."""
    if not x.is_plain:
        raise UndecidedError
    return x.high


@functools.cache
def _log2() -> Enclosure:
    with flint.ctx.workprec(300):
        high, low = elementary.pair_of(flint.arb.const_log2())
    return Enclosure(np.array(high), np.array(low), np.array(2.0**-107))


def _exp(x: Enclosure) -> Enclosure:
    z, reach = x.high, elementary.EXP_REACH
    is_within = np.abs(z) <= reach
    everywhere = bool(is_within.all())
    core, low = (z, x.low) if everywhere else (np.where(is_within, z, 0.0), np.where(is_within, x.lows, 0.0))
    high, rest = elementary.exp(core, low)
    radius = high * elementary.EXP_ERROR
    is_zero = z == 0
    if x.low is not None:
        is_zero &= x.low == 0
    radius[is_zero] = 0.0
    if x.radius is not None:
        radius += high * np.where(x.radius <= _SMALL, x.radius * _NEARLY, np.nan)
    radius *= UP
    if everywhere:
        return Enclosure(high, rest, radius)
    # From there to the negligible, a number between 0 and 2**-890.
    half = np.where(z < _NEGLIGIBLE, UNIT, np.where(z < 0, UNDERFLOW / 2, np.nan))
    if x.radius is not None:
        half = np.where(x.radius <= _SMALL, half, np.nan)
    high, rest, radius = (
        np.where(is_within, part, other) for part, other in ((high, half), (rest, 0.0), (radius, half))
    )
    return Enclosure(np.where(np.isnan(high), 0.0, high), rest, radius, negligible=True)


def _slope(x: Enclosure, radius: Array, derivative: Array, scale: Array | float = 1.0) -> Array:
    """Add to a function's radius that of its argument, as far as the derivative bounds it."""
    if x.radius is None:
        return radius * UP
    growth = np.where(x.radius <= _SMALL * scale, x.radius * derivative * _NEARLY, np.nan)
    return (radius + growth) * UP


def _settled(x: Enclosure, high: Array, low: Array, radius: Array) -> Enclosure:
    """Return what a function with f(0) = 0 and f'(0) = 1 gives: 0 of 0, and of the negligible up to twice as much."""
    # Below the range of products not even the radius is a number.
    radius = np.where(np.abs(x.high) < LEAST, radius + UNDERFLOW, radius)
    radius = np.where((x.high == 0) & (x.lows == 0) & (x.radii == 0), 0.0, radius)
    if x.negligible:
        where = x.negligibles
        high = np.where(where, 2 * x.high, high)
        low = np.where(where, 0.0, low)
        radius = np.where(where, 2 * x.radii, radius)
    unknown = ~np.isfinite(high)
    if unknown.any():
        high, low, radius = np.where(unknown, 0.0, high), np.where(unknown, 0.0, low), np.where(unknown, np.nan, radius)
    return Enclosure(high, low, radius, negligible=x.negligible)


def _expm1(x: Enclosure) -> Enclosure:
    reach = elementary.EXP_REACH
    below, beyond = x.high < -reach, ~(x.high <= reach)
    is_within = ~(below | beyond)
    core = np.where(is_within, x.high, 0.0)
    high, low = elementary.expm1(core, np.where(is_within, x.lows, 0.0))
    size = np.abs(high)
    radius = np.minimum(size * elementary.EXPM1_ERROR, (1.0 + size) * elementary.EXPM1_DISTANCE)
    high, low = np.where(below, -1.0, np.where(beyond, np.nan, high)), np.where(below, 0.0, low)
    # exp of less than -620 is below 2**-894.
    return _settled(x, high, low, _slope(x, np.where(below, UNDERFLOW, radius), 1.0 + size))


def _log1p(x: Enclosure) -> Enclosure:
    outside = ~((x.high > -1.0 + 2.0**-50) & (x.high < 2.0**890))
    core = np.where(outside, 0.0, x.high) if outside.any() else x.high
    high, low = elementary.log1p(core, x.lows)
    error = np.minimum(np.abs(high) * elementary.LOG1P_ERROR, _error_of_log(high))
    radius = _slope(x, error, 1.0 / (1.0 + core), 1.0 + core)
    return _settled(x, np.where(outside, np.nan, high), low, radius)


def _error_of_log(high: Array) -> Array:
    return elementary.LOG1P_DISTANCE + np.abs(high) * elementary.LOG_ERROR


def _log(x: Enclosure) -> Enclosure:
    is_near = (x.high > 0.75) & (x.high < 1.25)
    outside = ~((x.high > 2.0**-890) & (x.high < 2.0**890))
    near = _log1p(Enclosure(np.where(is_near, x.high, 1.0), *(_at(is_near, part) for part in (x.low, x.radius))) - 1.0)
    core = np.where(is_near | outside, 2.0, x.high)
    high, low = elementary.log(core, np.where(is_near | outside, 0.0, x.lows))
    radius = _slope(x, _error_of_log(high), 1.0 / core, core)
    unknown = outside | ~np.isfinite(high)
    return Enclosure(
        np.where(is_near, near.high, np.where(unknown, 0.0, high)),
        np.where(is_near, near.lows, np.where(unknown, 0.0, low)),
        np.where(is_near, near.radii, np.where(unknown, np.nan, radius)),
    )


def _at(where: Array, part: Array | None) -> Array | None:
    return None if part is None else np.where(where, part, 0.0)


def _tanh(x: Enclosure) -> Enclosure:
    grown = _expm1(x * -2.0)
    return -grown / (grown + 2.0)


_FUNCTIONS: Mapping[np.ufunc, Callable[[Enclosure], Enclosure]] = {
    np.exp: _exp,
    np.exp2: lambda x: _exp(x * _log2()),
    np.expm1: _expm1,
    np.log: _log,
    np.log1p: _log1p,
    np.tanh: _tanh,
}
