"""The `xp` a variant computes in: one number format, one way of adding, every operation rounded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from stablemax.numerics.coarse_grid import coarse_grid, room_of
from stablemax.numerics.emulated import Emulated
from stablemax.numerics.formats import FLOAT32, FLOAT64, Array, Format
from stablemax.text.vocabulary import Accumulation


def default_accumulation(fmt: Format) -> Accumulation:
    """Return how an ordinary kernel of a format adds: in float32 where that is wider.

    >>> from stablemax.numerics.formats import BFLOAT16, FLOAT32
    >>> default_accumulation(BFLOAT16).value, default_accumulation(FLOAT32).value
    ('float32', 'pairwise')
    """
    is_narrower = fmt.precision < FLOAT32.precision and fmt.emax <= FLOAT32.emax
    return Accumulation.FLOAT32 if is_narrower else Accumulation.PAIRWISE


_REMAINDER_COEFFICIENTS = tuple(1 / math.factorial(n) for n in range(19, 1, -1))
"""Of the Taylor series of ``exp(x) - 1 - x``, the highest power first: what is left out within (-1, 1) is below
2**-55 of the result."""


class Namespace(Protocol):
    """What a variant may ask of its arithmetic, `Arithmetic` on floats, or one on exact numbers.

    Of these there are two, `truth.balls.Balls` and `truth.enclosing.Enclosures`.
    Arrays add, subtract, multiply and divide with their own operators, rounding each operation.
    Reductions run over the last axis and keep it. Python numbers enter through `number` only:
    a bfloat16 array plus a bare ``1.0`` would silently become float32. What has a body here is the
    same for every arithmetic on NumPy's arrays.
    """

    @property
    def wider(self) -> Namespace:
        """The arithmetic that `wide` variants compute in."""

    def number(self, value: float) -> Any:
        """Return `value` rounded to the format."""

    @property
    def log2e(self) -> Any:
        """``log2(e)``, rounded to the format."""
        return self.number(math.log2(math.e))

    def elementary(self, function: np.ufunc, x: Array) -> Array:
        """Apply an elementary function, given as NumPy's, and round to the format."""

    def exp(self, x: Array) -> Array:
        """``e**x``."""
        return self.elementary(np.exp, x)

    def exp2(self, x: Array) -> Array:
        """``2**x``."""
        return self.elementary(np.exp2, x)

    def log(self, x: Array) -> Array:
        """Natural logarithm."""
        return self.elementary(np.log, x)

    def log1p(self, x: Array) -> Array:
        """``log(1 + x)``, accurate near 0."""
        return self.elementary(np.log1p, x)

    def expm1(self, x: Array) -> Array:
        """``exp(x) - 1``, accurate near 0."""
        return self.elementary(np.expm1, x)

    def tanh(self, x: Array) -> Array:
        """Hyperbolic tangent."""
        return self.elementary(np.tanh, x)

    def exp_remainder(self, x: Array) -> Array:
        """``exp(x) - 1 - x``, accurate near 0.

        >>> f"{Arithmetic(FLOAT64).exp_remainder(np.array([1e-9]))[0]:.6g}"
        '5e-19'
        """
        xp, wide = self.wider, self.widen(x)
        highest, next_highest, *others = _REMAINDER_COEFFICIENTS
        series = highest * wide + next_highest
        for coefficient in others:
            series = series * wide + coefficient
        return self.narrow(xp.where(abs(wide) < 1.0, wide * wide * series, xp.expm1(wide) - wide))

    def max(self, x: Array) -> Array:
        """Maximum of each row."""
        return np.asanyarray(np.maximum.reduce(x, axis=-1, keepdims=True))

    def sum(self, x: Array, *, axis: int | None = -1) -> Array:
        """Sum of each row (or of everything, for ``axis=None``), added as the policy says."""

    def odds(self, x: Array) -> Array:
        """Sum of the other exponentials of each row over the largest, rounding errors kept."""
        top, others = self.take_max(self.shifted_exp(x), x)
        return self.compensated_sum(others) / top

    def compensated_sum(self, x: Array) -> Array:
        """Sum of each row of non-negative numbers, the rounding errors of the additions kept."""

    def over_sum(self, x: Array, e: Array, divisor: float) -> Array:
        """``x / (sum(e) * divisor)``, the denominator a compensated sum, rounded once."""

    def shifted_exp(self, x: Array) -> Array:
        """``exp(x - c)``, the rounding error of the subtraction kept; c is constant along a row."""

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        """Choose elementwise."""
        return np.where(condition, x, y)

    def maximum(self, x: Array, y: Array) -> Array:
        """Larger of two, elementwise; NaN wins."""
        return np.asanyarray(np.maximum(x, y))

    def minimum(self, x: Array, y: Array) -> Array:
        """Smaller of two, elementwise; NaN wins."""
        return np.asanyarray(np.minimum(x, y))

    def isfinite(self, x: Array) -> Array:
        """Mark the finite cells."""
        return np.asarray(np.isfinite(x))

    def take(self, values: Array, columns: Array) -> Array:
        """One value of each row, as a column; `columns` are NumPy integers (N,)."""
        return np.asanyarray(values[np.arange(len(values)), columns][:, None])

    def first_max(self, x: Array) -> Array:
        """Mark the first maximum of each row."""
        return np.asarray(np.arange(x.shape[-1]) == np.argmax(x, axis=-1)[:, None])

    def take_max(self, values: Array, x: Array) -> tuple[Array, Array]:
        """Split `values` at the first maximum of x: its value as a column, and the rest with 0 there."""
        index = (np.arange(len(x)), np.argmax(x, axis=-1))
        rest = values.copy()
        rest[index] = self.number(0.0)
        return values[index][:, None], rest

    def with_room(self, x: Array) -> tuple[Array, Array]:
        """Scale rows that reach up to the largest number by a power of two, given as a column beside them."""

    def divided(self, x: Array, divisor: float) -> Array:
        """Divide by a number that need not exist in the format (100,000 rows are inf in float16), rounding once."""
        return self.narrow(self.widen(x) / divisor)

    def widen(self, x: Array) -> Array:
        """Take an array of this arithmetic to :attr:`wider`, exactly."""

    def narrow(self, x: Array) -> Array:
        """Round an array of :attr:`wider` to this format."""


Room = tuple[Any, Any] | None
"""Memory for a pair of results that the caller has at hand, instead of fresh memory."""


@dataclass(frozen=True)
class Arithmetic(Namespace):
    """NumPy arithmetic in one format, to which every operation rounds, with one accumulation policy.

    >>> from stablemax.numerics.formats import BFLOAT16
    >>> ones = BFLOAT16.cast(np.ones((1, 4096)))
    >>> float(Arithmetic(BFLOAT16, Accumulation.SEQUENTIAL).sum(ones)[0, 0])
    256.0
    >>> float(Arithmetic(BFLOAT16).sum(ones)[0, 0])
    4096.0
    """

    format: Format
    accumulation: Accumulation | None = None  #: None: as an ordinary kernel of the format does

    @cached_property
    def policy(self) -> Accumulation:
        """The accumulation in force."""
        return self.accumulation or default_accumulation(self.format)

    @cached_property
    def wider(self) -> Arithmetic:
        """Float64, whose sums no policy may narrow."""
        return Arithmetic(FLOAT64)

    @cached_property
    def quickest(self) -> Arithmetic:
        """The same arithmetic, to the same bits, on the arrays with which NumPy computes fastest."""
        return Arithmetic(self.format.quickest, self.accumulation)

    def array(self, values: Any) -> Array:
        """Round values to the format."""
        return self.format.cast(values)

    def number(self, value: float) -> Any:
        """Round one number to the format (in float16, 1e-9 is 0)."""
        return self.format.cast(np.float64(value))[()]

    def elementary(self, function: np.ufunc, x: Array) -> Array:
        """Apply a function in float64 and round: NumPy's in float32 differ by processor, exp by up to 2.2 ulp."""
        # In float64 and rounded they are right to 0.51 ulp, the "every operation rounds" of the theory, and all
        # formats do it alike, so that float16 and the emulated e5m10 give the same bits.
        return self.array(function(x.astype(np.float64, copy=False)))

    def sum(self, x: Array, *, axis: int | None = -1) -> Array:
        """Sum over the last axis, kept as a column, or over everything for ``axis=None``."""
        if axis is None:
            return self.sum(x.reshape(1, -1))
        if self.policy is Accumulation.SEQUENTIAL:
            return np.asanyarray(np.add.accumulate(x, axis=-1)[..., -1:])
        if self.policy is Accumulation.PAIRWISE:
            return _pairwise(x)
        wide = x.astype(np.dtype(self.policy.value))
        return self.array(_pairwise(wide))

    def mean(self, x: Array) -> Any:
        """Mean of a vector: the policy's sum, divided before it is rounded to the format.

        A float16 sum of 100,000 losses of 6.9 is inf though their mean is not (pytorch 85791), and
        so is a float64 sum of three losses of 1e308: where the sum could leave its accumulator, the
        terms are scaled by a power of two, which is exact.

        >>> Arithmetic(FLOAT64).mean(np.array([1e308, 1e308, 1e308]))
        np.float64(1e+308)
        """
        inner = self
        if self.policy in (Accumulation.FLOAT32, Accumulation.FLOAT64):
            inner = Arithmetic({"float32": FLOAT32, "float64": FLOAT64}[self.policy.value], Accumulation.PAIRWISE)
        wide = inner.array(x)
        largest = float(np.max(np.abs(wide.astype(np.float64)), initial=0.0))
        room = math.frexp(largest)[1] + math.ceil(math.log2(max(x.size, 1))) - inner.format.emax
        down = max(room, 0) if math.isfinite(largest) else 0
        terms = inner.array(np.ldexp(wide.astype(np.float64), -down))
        total = np.float64(inner.sum(terms.reshape(1, -1))[0, 0])
        # The number of rows need not exist in the format: 100,000 is inf in float16.
        return self.array(np.ldexp(total / x.size, down))[()]

    def compensated_sum(self, x: Array, work: Array | None = None) -> Array:
        """Sum of each row of non-negative numbers, as if in twice the precision; in the memory of `work`."""
        high, low = self.sum_in_two(x, np.empty_like(x) if work is None else work)
        return high + low

    def sum_in_two(self, x: Array, work: Array, *, near: Array | None = None) -> tuple[Array, Array]:
        """Sum of each row of non-negative numbers as two numbers, (N, 1) each, in the memory of `work`.

        Each term is cut at a common bit (an error-free transformation: Rump, Ogita, Oishi, SIAM J.
        Sci. Comput. 31(1), 2008). The high parts then add without any rounding, in every order,
        and the low parts are too small for the rounding of their sum to matter. The sum as it comes
        out with rounding errors, if it is at hand as `near`, saves looking for the maximum.
        """
        if near is not None:
            # Twice, so that a little more than the sum is below it too.
            return self._cut(x, near + near, work)
        room = self.format.max / 2
        # A product beyond a format without infinities is NaN.
        cut = np.fmin(self.max(x) * self.number(min(x.shape[-1], room)), self.number(room))
        return self._cut(x, cut, work)

    def over_sum(self, x: Array, e: Array, divisor: float, out: Array | None = None) -> Array:
        """``x / (sum(e) * divisor)`` for e of `shifted_exp`, the denominator rounded once; in `out`.

        The product is that of Veltkamp's halves of the sum, exact for a divisor of fewer than p / 2
        bits (67 million rows in float64, 4,096 in float32; one rounding more beyond). The formats of
        fewer than 24 bits cannot hold such a divisor: there the quotient is divided.
        """
        out = np.empty_like(e) if out is None else out
        # The largest exponential of a row is about 2**p (see `shift`), or 1 in the narrow formats: one
        # cut serves all rows, and a scalar is added twice as fast as a column.
        top = 2.0 ** (self.format.precision + 1) if self._coarse_grid else 1.0
        cut = self.number(min(top * e.shape[-1], self.format.max / 2))
        high, low = self._cut(e, cut, out)
        if divisor == 1.0:
            return np.divide(x, high + low, out=out)
        if self._coarse_grid is None:
            return self.divided(x / (high + low), divisor)
        times = self.number(divisor)
        shifted = high * self.number(2.0 ** math.ceil(self.format.precision / 2) + 1)
        upper = shifted - (shifted - high)
        return np.divide(x, upper * times + ((high - upper) * times + low * times), out=out)

    def _cut(self, x: Array, cut: Any, work: Array) -> tuple[Array, Array]:
        """Add the parts of x above and below the last bit of `cut`, in the memory of `work`."""
        high = np.add(x, cut, out=work)
        high -= cut
        total = _pairwise(high)
        return total, _pairwise(np.subtract(x, high, out=work))

    def shift(self, x: Array, room: Room = None) -> tuple[Array, Array]:
        """Subtract the row maximum: the rounded difference d, and its error r, both (..., K).

        ``d + r = x - c`` exactly, wherever exp(d) is not 0. c is constant along a row: the row maximum
        in the formats without a `coarse_grid`, and about p log 2 below it in the others, which lifts the
        exponentials of all probabilities that the format can hold out of the subnormal range.

        Dekker's Fast2Sum takes three operations but needs the exponent of c to be no smaller than that
        of x; Knuth's 2Sum takes six. A c cut to a coarse grid, of which every x that counts is a multiple
        or larger, satisfies Fast2Sum whatever the signs, and uses the memory of `room`.
        """
        m = self.max(x)
        # A row of -inf, or with +inf: no shift (as in SciPy), so that exp gives 0 or inf, not NaN.
        m = np.where(np.isfinite(m), m, np.zeros_like(m))
        grid = self._coarse_grid
        if grid is None:
            d = x - m
            t = d - x
            r = (x - (d - t)) - (m + t)
            if not self.format.has_inf:
                # Here a difference beyond the range is NaN, or saturates, instead of -inf; exp of each is 0.
                beyond = np.isnan(d) & np.isfinite(x)
                d = np.where(beyond, self.number(-self.format.max), d)
                r = np.where(beyond, np.zeros_like(r), r)
        else:
            offset, reach, lift = grid
            # Above the reach, every x that counts is so close to c that the difference is exact.
            c = np.where(np.abs(m) < reach, (m + offset) - offset, m) - lift
            d = np.subtract(x, c, out=None if room is None else room[0])
            r = np.add(d, c, out=None if room is None else room[1])
            np.subtract(x, r, out=r)
        # -inf - -inf and a difference that overflows leave NaN or inf; exp(d) is 0 there. One sum
        # over everything tells whether there is any, and costs less than mending all.
        if not np.isfinite(np.add.reduce(r, axis=None)):
            np.fmin(r, np.ones((), dtype=r.dtype), out=r)
        return d, r

    def shifted_exp(self, x: Array, room: Room = None) -> Array:
        """``exp(x - c)`` with the rounding error of x - c kept: exp(d + r) is exp(d) (1 + r).

        Worked in place on its own temporaries: fresh memory for each step costs page faults.
        """
        d, r = self.shift(x, room)
        e = np.exp(d, out=d) if d.dtype == np.float64 else self.exp(d)
        r *= e
        e += r
        return e

    @cached_property
    def _coarse_grid(self) -> tuple[Any, Any, Any] | None:
        grid = coarse_grid(self.format)
        return None if grid is None else (self.number(grid[0]), self.number(grid[1]), self.number(grid[2]))

    def odds(self, x: Array, room: Room = None) -> Array:
        """Sum of the other exponentials of each row over the largest, (N, 1): (1 - p) / p of the maximum."""
        e = self.shifted_exp(x, room)
        at = (np.arange(len(x)), np.argmax(x, axis=-1))
        top = e[at][:, None]
        e[at] = self.number(0.0)
        return np.asanyarray(self.compensated_sum(e, None if room is None else room[1]) / top)

    def with_room(self, x: Array) -> tuple[Array, Array]:
        """Scale rows so that differences from their mean, times `shifted_exp`, do not overflow: some by 1."""
        room = room_of(self.format)
        full = self.max(np.abs(x)) > self.number(self.format.max / room)
        scale = np.where(full, self.number(1.0 / room), self.number(1.0))
        return x * scale, scale

    def widen(self, x: Array) -> Array:
        """Convert to float64, exactly."""
        return x.astype(np.float64)

    def narrow(self, x: Array) -> Array:
        """Round float64 to the format."""
        return self.format.cast(x)


def _pairwise(x: Array) -> Array:
    """Add a tree over the last axis, whatever the memory layout.

    NumPy adds float32 and float64 pairwise only along a contiguous axis, and the other formats
    one by one in a layout-dependent width: ones(3000) in float16 gives 3000 or 2048.
    """
    if isinstance(x, Emulated):
        return np.asanyarray(np.add.reduce(x, axis=-1, keepdims=True))
    if x.dtype in (np.float32, np.float64) or x.shape[-1] == 0:
        return np.asarray(np.add.reduce(np.ascontiguousarray(x), axis=-1, keepdims=True))
    x = x.copy() if x.shape[-1] == 1 else x
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        odd = x[..., 2 * half :]
        x = np.concatenate([x[..., :half] + x[..., half : 2 * half], odd], axis=-1)
    return x
