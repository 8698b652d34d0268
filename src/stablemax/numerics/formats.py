"""Number formats as data; everything else about a format is derived from a few numbers."""

from __future__ import annotations

import decimal
import math
import re
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from stablemax.numerics.emulated import Emulated
from stablemax.numerics.format_names import ALIASES, canonical
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.registry import Registry
from stablemax.text.suggest import suggest

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format, as data; where NumPy and ml_dtypes have no dtype of its name, it is emulated.

    Parameters
    ----------
    name : str
        That of the dtype, where there is one.
    precision : int
        p, significant bits with the hidden one; at most 25 where the format is emulated.
    emax : int
        Exponent of the largest binade: values below ``2**(emax + 1)``; at most 511 where it is emulated.
    emin : int
        Exponent of the smallest normal number, ``2**emin``.
    has_inf : bool
        False for the "fn" formats, which give the all-ones exponent to finite numbers.
    lost_to_nan : int
        How many of the largest patterns of such a format are NaN instead of numbers. With one or more,
        overflow gives NaN; with none the format has no NaN either: overflow saturates, that is, gives the
        largest number, as the OCP Microscaling specification 1.0 has it, and NaN becomes 0, as in ml_dtypes.
    has_subnormals : bool
        False where what is below the smallest normal number after rounding becomes 0.

    Examples
    --------
    >>> FLOAT16.max, FLOAT16.u, FLOAT16.smallest_subnormal
    (65504.0, 0.00048828125, 5.960464477539063e-08)
    >>> FLOAT16.exp_overflow.last_good, FLOAT16.exp_overflow.first_bad
    (11.0859375, 11.09375)
    """

    name: str
    precision: int
    emax: int
    emin: int
    has_inf: bool = True
    lost_to_nan: int = 0
    has_subnormals: bool = True

    @property
    def u(self) -> float:
        """Unit roundoff, ``2**-p``: the largest relative error of one rounding (it is not eps)."""
        return 2.0**-self.precision

    @property
    def bits(self) -> int:
        """Width in bits: sign, exponent, and the significand without the hidden bit."""
        return self.precision + (self.emax - self.emin + 1).bit_length()

    @cached_property
    def max(self) -> float:
        """Largest finite number."""
        return (2.0 - (1 + self.lost_to_nan) * 2.0 ** (1 - self.precision)) * 2.0**self.emax

    @property
    def overflow(self) -> float:
        """What a positive number beyond the range becomes: inf, NaN, or the largest number."""
        return math.inf if self.has_inf else math.nan if self.lost_to_nan else self.max

    @property
    def saturates(self) -> bool:
        """True for a format that has neither infinities nor NaN."""
        return math.isfinite(self.overflow)

    @property
    def smallest_normal(self) -> float:
        """Smallest number with full precision."""
        return 2.0**self.emin

    @property
    def smallest_subnormal(self) -> float:
        """Smallest positive number."""
        return math.ldexp(1.0, self.emin - self.precision + 1) if self.has_subnormals else self.smallest_normal

    @property
    def is_native(self) -> bool:
        """True for NumPy's own formats; ml_dtypes gives float8_e5m2 the kind "f" as well."""
        return self.name in ("float16", "float32", "float64")

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that holds it: NumPy's, that of ml_dtypes, or float64 where it is emulated."""
        if self.is_native:
            return np.dtype(self.name)
        import ml_dtypes

        if hasattr(ml_dtypes, self.name):
            return np.dtype(getattr(ml_dtypes, self.name))
        if self.precision > EMULATED_PRECISION or self.emax > EMULATED_EMAX:
            limits = f"p <= {EMULATED_PRECISION} and emax <= {EMULATED_EMAX}"
            raise StablemaxError(f"{shown(self.name)} has no dtype, and float64 cannot emulate it", limits)
        return np.dtype(np.float64)

    @cached_property
    def is_emulated(self) -> bool:
        """True where it has no dtype: arrays of it are float64 inside, see `numerics.emulated`."""
        return self.dtype == np.float64 and self.name != "float64"

    @cached_property
    def quickest(self) -> Format:
        """The format of the same numbers with whose arrays NumPy computes fastest: this one, or its emulation."""
        # NumPy takes float16 apart bit by bit: 6 ns for a product, and 80 for a subnormal one. Emulated it takes 4.
        return replace(self, name="float16-emulated") if self.name == "float16" else self

    @cached_property
    def exp_overflow(self) -> Threshold:
        """Logits from which exp, correctly rounded, exceeds the largest finite number."""
        top = decimal.Decimal(self.max)
        good, bad = self._neighbours(_ln(top + self._half_ulp_at_max))
        return Threshold(float(_ln(top)), good, bad)

    @cached_property
    def exp_underflow(self) -> Threshold:
        """Logits from which exp, correctly rounded, is 0 (half the smallest number, ties to even)."""
        smallest, half_ulp = (
            decimal.Decimal(self.smallest_subnormal),
            decimal.Decimal(2) ** (self.emin - self.precision),
        )
        edge = _ln(smallest - half_ulp)
        below, above = self._neighbours(edge)
        return Threshold(float(edge), above, below)

    @property
    def _half_ulp_at_max(self) -> decimal.Decimal:
        return decimal.Decimal(2) ** (self.emax - self.precision)

    def _neighbours(self, edge: decimal.Decimal) -> tuple[float, float]:
        """Return the numbers of this format on both sides of `edge`, which none of them equals."""
        if abs(edge) > self.max:
            return (-math.inf, -self.max) if edge < 0 else (self.max, math.inf)
        near = float(self.round(np.float64(float(edge))))
        # Towards 0 the spacing below a power of two is half of that above it.
        if decimal.Decimal(near) > edge:
            return near - self.ulp(np.nextafter(near, -math.inf)).item(), near
        return near, near + self.ulp(np.nextafter(near, math.inf)).item()

    def ulp(self, value: Any) -> Array:
        """Spacing of this format at `value`, as float64; at inf and NaN that of the largest binade.

        >>> float(BFLOAT16.ulp(1.0)), float(FLOAT64.ulp(0.0))
        (0.0078125, 5e-324)
        """
        value = np.asarray(value, dtype=np.float64)
        # The bits of the exponent alone are a power of two, 0 for 0 and infinite for what is not finite.
        powers = (np.atleast_1d(value).view(np.int64) & EXPONENT_BITS).view(np.float64)
        np.maximum(powers, self.smallest_normal, out=powers)
        np.minimum(powers, 2.0**self.emax, out=powers)
        powers *= 2.0 ** (1 - self.precision)
        return powers.reshape(value.shape)

    def ulp_exponent(self, value: Any) -> Array:
        """Return the exponent e of the spacing ``2**e`` at `value`, as integers."""
        value = np.asarray(value, dtype=np.float64)
        exponent = np.frexp(np.where(np.isfinite(value), value, self.max))[1] - 1
        # frexp gives 0 for 0; the spacing there is that of the subnormals.
        exponent = np.where(value == 0, self.emin, exponent)
        return np.asarray(np.clip(exponent, self.emin, self.emax) - (self.precision - 1))

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """What arrays of it are stored as: its own dtype, or the narrowest of NumPy's that holds its numbers."""
        if self.is_native:
            return self.dtype
        return np.dtype(np.float32 if self.emax <= FLOAT32.emax and self.emin >= FLOAT32.emin - 1 else np.float64)

    def round(self, value: Any) -> Array:
        """Round float64 to the nearest number of this format, ties to even; the result is float64.

        ml_dtypes casts float64 through float32 and so rounds twice: ``1 + 2**-8 + 2**-40`` gives 1
        in bfloat16, not ``1 + 2**-7``. This rounds once.

        >>> float(BFLOAT16.round(1 + 2**-8 + 2**-40)) == 1 + 2**-7
        True
        >>> [float(f.round(500.0)) for f in (FLOAT8_E4M3FN, FLOAT8_E5M2, FLOAT4_E2M1FN)]
        [nan, 512.0, 6.0]
        """
        value = np.asarray(value, dtype=np.float64)
        if self.precision == FLOAT64_PRECISION:
            return value
        with np.errstate(over="ignore", invalid="ignore"):
            if self.name == "float32":
                return value.astype(np.float32).astype(np.float64)
            numbers = np.atleast_1d(value)
            # 2**52 units of a number's last place added to it leave no bit beyond that place; 1.5 times as
            # many, so that a negative number does not halve the unit. The sum is rounded once, ties to even.
            shift = (numbers.view(np.int64) & EXPONENT_BITS).view(np.float64)
            np.maximum(shift, self.smallest_normal, out=shift)
            shift *= 1.5 * 2.0 ** (FLOAT64_PRECISION - self.precision)
            rounded = numbers + shift
            rounded -= shift
            np.copysign(rounded, numbers, out=rounded)  # a zero has lost its sign
            sizes = np.abs(rounded, out=shift)
            # A NaN is not within the format either.
            if not sizes.max(initial=0.0) <= self.max:
                beyond = ~(sizes <= self.max) & ~np.isnan(numbers)
                rounded[beyond] = np.copysign(self.overflow, numbers[beyond])
                if self.saturates:
                    rounded[np.isnan(numbers)] = 0.0
            if not self.has_subnormals:
                rounded = np.where(sizes < self.smallest_normal, np.copysign(0.0, numbers), rounded)
        return rounded.reshape(value.shape)

    def lacks(self, value: Any) -> Array:
        """Mark what the format has no number for: what is beyond its range, an infinity or NaN where it has none.

        >>> FLOAT16.lacks([65504.0, 1e5, -math.inf]).tolist(), FLOAT8_E4M3FN.lacks([1.0, -math.inf]).tolist()
        ([False, True, False], [False, True])
        """
        with np.errstate(invalid="ignore"):  # of signalling NaN
            value = np.asarray(value, dtype=np.float64)
        if self.saturates:
            return ~(np.abs(value) < self.max + float(self._half_ulp_at_max))
        rounded = self.round(value)
        return np.isfinite(value) & ~np.isfinite(rounded) | ~np.isnan(value) & np.isnan(rounded)

    def cast(self, value: Any) -> Array:
        """Convert to an array of this format, rounding once: of its dtype, or an `Emulated` one.

        >>> FLOAT16.cast([1e5, 0.1]).tolist()
        [inf, 0.0999755859375]
        """
        if self.is_emulated:
            is_cast = isinstance(value, Emulated) and value.format == self
            return value if is_cast else Emulated.of(self.round(value), self)
        value = np.asarray(value)
        if value.dtype == self.dtype:
            return value
        with np.errstate(over="ignore", invalid="ignore"):
            if self.is_native:
                return value.astype(self.dtype)
            return self.round(value).astype(self.dtype)


FLOAT64_PRECISION = 53
EXPONENT_BITS = np.int64(0x7FF << 52)
"""Of the pattern of a float64."""
EMULATED_PRECISION = 25
"""Largest p for which rounding to float64 first changes nothing: 53 >= 2p + 2."""
EMULATED_EMAX = 511
"""Then products are exact in float64 down to the smallest, and quotients that are subnormal there round to 0."""


@dataclass(frozen=True)
class Threshold:
    """Where exp leaves a format."""

    real: float  #: the real number: log of the largest finite number, or of half the smallest
    #: The neighbouring logits *of that format* for which exp, correctly rounded, still is and no longer is a
    #: finite non-zero number; infinite where no logit of the format is large enough.
    last_good: float
    first_bad: float


def _ln(value: decimal.Decimal) -> decimal.Decimal:
    return value.ln(decimal.Context(prec=60, Emin=-9999, Emax=9999))


FLOAT4_E2M1FN = Format("float4_e2m1fn", 2, 2, 0, has_inf=False)
FLOAT6_E2M3FN = Format("float6_e2m3fn", 4, 2, 0, has_inf=False)
FLOAT6_E3M2FN = Format("float6_e3m2fn", 3, 4, -2, has_inf=False)
FLOAT8_E3M4 = Format("float8_e3m4", 5, 3, -2)
FLOAT8_E4M3 = Format("float8_e4m3", 4, 7, -6)
FLOAT8_E4M3FN = Format("float8_e4m3fn", 4, 8, -6, has_inf=False, lost_to_nan=1)
FLOAT8_E5M2 = Format("float8_e5m2", 3, 15, -14)
FLOAT16 = Format("float16", 11, 15, -14)
BFLOAT16 = Format("bfloat16", 8, 127, -126)
TF32 = Format("tf32", 11, 127, -126)
FLOAT32 = Format("float32", 24, 127, -126)
FLOAT64 = Format("float64", FLOAT64_PRECISION, 1023, -1022)

_ALL = (
    *(FLOAT4_E2M1FN, FLOAT6_E2M3FN, FLOAT6_E3M2FN, FLOAT8_E3M4, FLOAT8_E4M3, FLOAT8_E4M3FN, FLOAT8_E5M2),
    *(FLOAT16, BFLOAT16, TF32, FLOAT32, FLOAT64),
)
FORMATS: Registry[Format] = Registry(Format, _ALL)
"""The formats that have a name of their own; `get_format` also makes those called eXmY."""

_SHAPE = re.compile(r"e(\d{1,2})m(\d{1,2})(fn)?")
_SHAPES = "eXmY, or eXmYfn without infinities, for X of 2 to 10 and Y of 1 to 24"


@cache
def _of_shape(name: str) -> Format | None:
    """Make the format of X exponent bits and Y bits of significand, by IEEE 754's rules.

    The exponents are biased by ``2**(X - 1) - 1``, the lowest belongs to the subnormal numbers, and the highest to
    infinities and NaN; with "fn" it holds numbers, the largest of which is NaN in a format of 8 bits or more.
    """
    match = _SHAPE.fullmatch(name)
    if match is None:
        return None
    exponent, significand, finite = int(match[1]), int(match[2]), match[3] is not None
    if not (2 <= exponent <= 10 and 1 <= significand <= EMULATED_PRECISION - 1):
        return None
    bias = 2 ** (exponent - 1) - 1
    lost = 1 if finite and 1 + exponent + significand >= 8 else 0
    return Format(name, significand + 1, bias + finite, 1 - bias, has_inf=not finite, lost_to_nan=lost)


def get_format(name: str) -> Format:
    """Look a format up by its name, by what people type for it (fp16, bf16, e4m3), or by its shape (e5m10).

    >>> get_format("FP32").name, get_format("e5m10").max
    ('float32', 65504.0)
    """
    known = canonical(name)
    fmt = FORMATS.get(name) or FORMATS.get(known) or _of_shape(known)
    if fmt is not None:
        return fmt
    hint = suggest(known, [*FORMATS, *ALIASES], f"one of: {', '.join(FORMATS)}; or {_SHAPES}")
    raise StablemaxError(f"there is no number format {shown(name)!r}", hint)


# NumPy composes the name of a dtype anew each time, which takes longer than the exponentials of a short row.
@cache
def format_of(dtype: np.dtype[Any]) -> Format:
    """Return the format in which an array of `dtype` is computed: its own, or float64 for integers.

    >>> format_of(np.dtype(">f4")).name, format_of(np.dtype("int8")).name
    ('float32', 'float64')
    """
    if dtype.kind in "iu":
        return FLOAT64
    if dtype.name in FORMATS:
        return FORMATS[dtype.name]
    raise StablemaxError(f"logits of dtype {shown(dtype)} are not real numbers", "use float16, float32 or float64")


def name_of(array: Array) -> str:
    """Name what an array is stored as: its dtype, or the format that it emulates."""
    return array.format.name if isinstance(array, Emulated) else array.dtype.name


def format_of_array(array: Array) -> Format:
    """Return the format in which an array is computed; only an `Emulated` one has another than its dtype's."""
    return array.format if isinstance(array, Emulated) else format_of(array.dtype)
