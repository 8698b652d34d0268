"""The truth, in balls: midpoint and radius from python-flint, precision raised until it is certain."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flint
import numpy as np

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array, Format
from stablemax.truth.deciding import MARGIN, MOST_RADIUS, placed
from stablemax.truth.enclosing import Enclosures
from stablemax.truth.precision import working_precision

FIRST_PRECISION = 128
_NO_DIFFERENCE = 2.0**-1000
"""Part of an ulp that no error in float64 can show."""
LAST_PRECISION = 1 << 17
# Sums and differences of two float64 numbers are exact with this many bits.
_EXACT = 2200

_maximum = np.frompyfunc(lambda a, b: a.max(b), 2, 1)
_minimum = np.frompyfunc(lambda a, b: a.min(b), 2, 1)


class Balls(Namespace):
    """The arithmetic of exact numbers: what a variant gets as `xp` to compute the truth.

    Arrays are NumPy object arrays of ``flint.arb``; every operation encloses the exact result.
    Infinities are not IEEE here (``arb("inf") + 1`` is a ball of infinite radius, log 0 is NaN), so
    -inf logits have to leave a row before it comes here.

    The operations on one input need the same balls of its logits and the same exponentials, which cost most.
    An instance remembers both, by the identity of the array that they were made of.

    >>> xp = Balls()
    >>> p = xp.exp(xp.array([[0.0, -40.0]]))
    >>> bool(p[0, 1].contains(flint.arb(-40).exp()))
    True
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, int, int], tuple[Array, Array]] = {}
        #: The same of double-double numbers, which are tried first.
        self.enclosures = Enclosures()

    def _once(self, what: str, source: Array, make: Callable[[Array], Array]) -> Array:
        # The source is kept beside the result: while it lives, no other array has its id.
        key = (what, id(source), flint.ctx.prec if what == "exp" else 0)
        if key not in self._made:
            self._made[key] = (source, make(source))
        return self._made[key][1]

    @property
    def wider(self) -> Balls:
        """Exact numbers need nothing wider."""
        return self

    @property
    def log2e(self) -> Any:
        """``log2(e)``."""
        return 1 / flint.arb.const_log2()

    def array(self, values: Any) -> Array:
        """Turn floats into exact balls, as an object array of the same shape."""
        values = np.asarray(values)
        if values.dtype == object:
            return values
        return self._once("array", values, _balls_of)

    def rows_of(self, x: Array, rows: Any) -> Array:
        """Turn rows of floats into exact balls."""
        return self.array(x[rows])

    def number(self, value: float) -> Any:
        """Return the exact number."""
        return flint.arb(float(value))

    def elementary(self, function: np.ufunc, x: Array) -> Array:
        """Enclose an elementary function; object arrays have no loop for ``2**x``."""
        return np.asarray(np.exp(x * flint.arb.const_log2()) if function is np.exp2 else function(x))

    def exp_remainder(self, x: Array) -> Array:
        """``exp(x) - 1 - x``: more precision makes up for what cancels."""
        return np.asarray(np.expm1(x) - x)

    def sum(self, x: Array, *, axis: int | None = -1) -> Array:
        """Sum over the last axis, kept as a column, or over everything for ``axis=None``."""
        if axis is None:
            x = x.reshape(1, -1)
        return np.asarray(np.add.reduce(x, axis=-1, keepdims=True))

    def compensated_sum(self, x: Array) -> Array:
        """Sum of each row: exact numbers leave nothing to compensate."""
        return self.sum(x)

    def over_sum(self, x: Array, e: Array, divisor: float) -> Array:
        """``x / (sum(e) * divisor)``."""
        return np.asarray(x / (self.sum(e) * flint.arb(divisor)))

    def shifted_exp(self, x: Array) -> Array:
        """``exp(x - max(x))``."""
        return self._once("exp", x, lambda x: self.exp(x - self.max(x)))

    def maximum(self, x: Array, y: Array) -> Array:
        """Larger of two balls, an enclosure where they overlap."""
        return np.asarray(_maximum(x, y))

    def minimum(self, x: Array, y: Array) -> Array:
        """Smaller of two balls, an enclosure where they overlap."""
        return np.asarray(_minimum(x, y))

    def isfinite(self, x: Array) -> Array:
        """Mark every cell: balls are finite."""
        return np.ones(x.shape, dtype=bool)

    def with_room(self, x: Array) -> tuple[Array, Any]:
        """Return x and 1: exact numbers have no largest."""
        return x, flint.arb(1)

    def exactly(self, compute: Callable[[], Array]) -> Array:
        """Return sums of products of float64 numbers without any rounding."""
        with working_precision(2 * _EXACT):
            return compute()

    def exact_difference(self, a: Array, b: Array) -> Array:
        """A - b for balls that hold float64 numbers, without any rounding."""
        with working_precision(_EXACT):
            return np.asarray(a - b)

    def spread(self, values: Array, columns: Array, shape: tuple[int, ...]) -> Array:
        """Put `values` into some columns of an array of zeros."""
        out = np.full(shape, self.number(0.0), dtype=object)
        out[:, columns] = values
        return out

    def widen(self, x: Array) -> Array:
        """Return x: nothing is wider."""
        return x

    def narrow(self, x: Array) -> Array:
        """Return x: nothing is rounded."""
        return x


@dataclass(frozen=True)
class Truth:
    """Exact results, stored so that an error of a millionth of an ulp can still be measured."""

    nearest: Array  #: The exact value rounded to float64; infinite where it lies beyond.
    residual_ulp: Array  #: Exact value minus `nearest`, in ulps of the format.
    rounded: Array  #: The exact value rounded once to the format, ties to even: proved, not estimated.

    @classmethod
    def known(cls, values: Any) -> Truth:
        """Return the truth about numbers that every format has; NaN where there is nothing to be true."""
        values = np.asarray(values, dtype=np.float64)
        return cls(values, np.zeros_like(values), values.copy())

    @property
    def _arrays(self) -> tuple[Array, Array, Array]:
        return self.nearest, self.residual_ulp, self.rounded

    def mapped(self, change: Callable[[Array], Array]) -> Truth:
        """Return the same of every array."""
        return Truth(*(change(array) for array in self._arrays))

    def at(self, index: Array | slice) -> Truth:
        """Return the truth about some rows or cells."""
        return self.mapped(lambda array: array[index])

    def put(self, index: Any, truth: Truth) -> None:
        """Write the truth about some rows or cells."""
        for array, values in zip(self._arrays, truth._arrays, strict=True):
            array[index] = values

    def replaced(self, where: Array, value: Any) -> Truth:
        """Return the truth with a number of the format, or another truth of the same shape, in some rows or cells."""
        where = where if where.ndim == self.nearest.ndim else where[:, None]
        other = value if isinstance(value, Truth) else Truth.known(value)
        pairs = zip(other._arrays, self._arrays, strict=True)
        return Truth(*(np.where(where, new, old) for new, old in pairs))

    def spread(self, columns: Array, shape: tuple[int, ...], limit: float) -> Truth:
        """Return the truth with its cells in some columns, and the limit in the others."""
        spread = Truth.known(np.full(shape, limit))
        spread.put((slice(None), columns), self)
        return spread

    def ulp_exponent(self, fmt: Format) -> Array:
        """Return the exponents of the format's spacing at the exact values."""
        return fmt.ulp_exponent(self.nearest)

    def error_ulp(self, output: Array, fmt: Format) -> Array:
        """Distance of an output from the exact value, in ulps of the format there; inf where not finite."""
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs((output - self.nearest) / fmt.ulp(self.nearest) - self.residual_ulp)
        is_nan = np.isnan(error)
        if not is_nan.any():
            return np.asarray(error)
        both_infinite = np.isinf(self.nearest) & (output == self.nearest)
        return np.where(both_infinite, 0.0, np.where(is_nan, np.inf, error))


def _balls_of(values: Array) -> Array:
    # arb takes Python floats only; tolist gives them, exactly, from every format.
    out = np.empty(values.size, dtype=object)
    out[:] = [flint.arb(v) for v in values.astype(np.float64).ravel().tolist()]
    return out.reshape(values.shape)


def truth(
    compute: Callable[[Balls], Array | tuple[Array, Array]],
    fmt: Format,
    *,
    balls: Balls | None = None,
    first_precision: int = FIRST_PRECISION,
) -> Truth:
    """Run a computation in balls, with more and more precision, until each cell's rounding to the format is certain.

    The computation gets a :class:`Balls` and returns an object array, or a pair of them, a sum left open: a
    head that is a sum or difference of float64 numbers, taken by :meth:`Balls.exact_difference`, and a tail. A tail
    of e**-1e5 beside a head on a tie would otherwise take 140,000 bits to be seen. `balls` that have seen the
    same arrays save their exponentials. A cell that 131,072 bits do not decide is an ArithmeticError.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> third = truth(lambda xp: xp.array([1.0]) / xp.array([3.0]), FLOAT32)
    >>> float(third.rounded[0]), float(third.nearest[0]), round(float(third.residual_ulp[0]), 12)
    (0.3333333432674408, 0.3333333333333333, 6.21e-10)
    """
    arithmetic, precision = balls or Balls(), first_precision
    proved: Truth | None = None
    pending = np.arange(0)
    while precision <= LAST_PRECISION:
        with working_precision(precision):
            computed = compute(arithmetic)
            head, tail = computed if isinstance(computed, tuple) else (computed, None)
            shape = np.broadcast_shapes(head.shape, () if tail is None else tail.shape)
            heads = np.broadcast_to(head, shape).ravel()
            tails = None if tail is None else np.broadcast_to(tail, shape).ravel()
            if proved is None:
                proved, pending = Truth.known(np.empty(heads.size)), np.arange(heads.size)
            is_last = 4 * precision > LAST_PRECISION
            certain, cells = _decide(heads[pending], None if tails is None else tails[pending], fmt, is_last=is_last)
        proved.put(pending[certain], cells.at(certain))
        pending = pending[~certain]
        if pending.size == 0:
            return proved.mapped(functools.partial(np.reshape, shape=shape))
        precision *= 4
    raise ArithmeticError(f"{pending.size} cells undecided at {LAST_PRECISION} bits")


def _decide(balls: Array, tails: Array | None, fmt: Format, *, is_last: bool) -> tuple[Array, Truth]:
    """Mark the cells whose rounding is certain, and return the truth about them.

    At the last precision a value that still cannot be distinguished from a tie counts as one: no error depends on it.
    """
    cells = balls.tolist()
    whole = cells if tails is None else [head + tail for head, tail in zip(cells, tails.tolist(), strict=True)]
    mid = np.array([float(b.mid()) for b in whole])
    # A midpoint beyond float64 becomes inf, from which nothing can be subtracted.
    beyond = np.isinf(mid)
    base = np.where(beyond, 0.0, mid)
    exponent = fmt.ulp_exponent(base)
    # Each ball, minus its nearest float64, in ulps of the format.
    rest = _scaled_rest(cells, tails, base, exponent)
    remainder = np.array([float(r.mid()) for r in rest])
    radius = np.array([float(r.rad()) for r in rest])
    at = placed(base, remainder, fmt)
    below, offset = at.below, at.offset
    # So far off at most is also what the rounding took off, of which errors and sums are made.
    is_narrow = radius <= MOST_RADIUS
    certain = (np.abs(offset) > radius + MARGIN) & is_narrow
    # Only an exact ball can sit on a tie (1/1024 in float8_e4m3fn), which goes to the even neighbour.
    # (A remainder of e**-2049 is 0 in float64 too: only the ball itself shows the difference.)
    tie = np.array([bool(o == 0 and r.is_zero()) for o, r in zip(offset.tolist(), rest, strict=True)])
    tie |= (np.abs(offset) <= radius) & (radius < _NO_DIFFERENCE) if is_last else False
    certain |= tie
    for i in np.flatnonzero(~certain & is_narrow).tolist():
        side = _side_of_tie(
            cells[i], tails[i] if tails is not None else None, base[i], exponent[i], at.units[i] - below[i]
        )
        if side > 0 or side < 0:
            offset[i], certain[i] = (1.0 if side > 0 else -1.0), True
        elif side.is_zero():
            offset[i], certain[i], tie[i] = 0.0, True, True
    up = (offset > 0) | (tie & (below % 2 == 1))
    value = at.rounded(up, base, fmt)
    value = np.where(beyond, fmt.round(mid), value)
    certain |= beyond & np.array([b.is_finite() for b in whole])
    return certain, Truth(mid, np.where(beyond, 0.0, remainder), value)


def _scaled_rest(cells: list[Any], tails: Array | None, base: Array, exponent: Array) -> list[Any]:
    """Each ball minus `base`, in units of ``2**exponent``."""
    units = [_power(-e) for e in exponent.tolist()]
    if tails is None:
        return [(b - m) * unit for b, m, unit in zip(cells, base.tolist(), units, strict=True)]
    with working_precision(_EXACT):
        heads = [b - m for b, m in zip(cells, base.tolist(), strict=True)]
    return [(h + t) * unit for h, t, unit in zip(heads, tails.tolist(), units, strict=True)]


def _side_of_tie(cell: Any, tail: Any, base: float, exponent: int, units: float) -> Any:
    """Return the ball's distance from the tie from which float64 cannot distinguish it."""
    with working_precision(max(_EXACT, flint.ctx.prec)):
        head = (cell - float(base)) * _power(-int(exponent)) + (float(units) - 0.5)
    return head if tail is None else head + tail * _power(-int(exponent))


@functools.cache
def _power(exponent: int) -> Any:
    return flint.arb(2) ** exponent
