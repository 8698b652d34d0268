"""Number formats as data; everything else about a format is derived from four numbers."""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from stablemax.errors import StablemaxError, shown

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format.

    Parameters
    ----------
    name : str
        Spelled as in ml_dtypes and NumPy.
    precision : int
        p, significant bits with the hidden one.
    emax : int
        Exponent of the largest binade: values below ``2**(emax + 1)``.
    emin : int
        Exponent of the smallest normal number, ``2**emin``.
    has_inf : bool
        False for the "fn" formats, which give the all-ones exponent to finite numbers, keep one
        pattern for NaN, and so answer overflow with NaN.

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

    @property
    def u(self) -> float:
        """Unit roundoff, ``2**-p``: the largest relative error of one rounding (it is not eps)."""
        return 2.0**-self.precision

    @property
    def bits(self) -> int:
        """Storage width in bits."""
        return self.dtype.itemsize * 8

    @cached_property
    def max(self) -> float:
        """Largest finite number."""
        # float8_e4m3fn spends the top pattern of its top binade on NaN: 448, not 480.
        steps = 1 if self.has_inf else 2
        return (2.0 - steps * 2.0 ** (1 - self.precision)) * 2.0**self.emax

    @property
    def smallest_normal(self) -> float:
        """Smallest number with full precision."""
        return 2.0**self.emin

    @property
    def smallest_subnormal(self) -> float:
        """Smallest positive number."""
        return math.ldexp(1.0, self.emin - self.precision + 1)

    @property
    def is_native(self) -> bool:
        """True for NumPy's own formats; ml_dtypes gives float8_e5m2 the kind "f" as well."""
        return self.name in ("float16", "float32", "float64")

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype; formats NumPy lacks come from ml_dtypes."""
        if self.is_native:
            return np.dtype(self.name)
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, self.name))

    @cached_property
    def exp_overflow(self) -> Threshold:
        """Logits from which exp, correctly rounded, exceeds the largest finite number."""
        top = decimal.Decimal(self.max)
        half_ulp = decimal.Decimal(2) ** (self.emax - self.precision)
        good, bad = self._neighbours(_ln(top + half_ulp))
        return Threshold(float(_ln(top)), good, bad)

    @cached_property
    def exp_underflow(self) -> Threshold:
        """Logits from which exp, correctly rounded, is 0 (half the smallest number, ties to even)."""
        edge = _ln(decimal.Decimal(self.smallest_subnormal) / 2)
        below, above = self._neighbours(edge)
        return Threshold(float(edge), above, below)

    def _neighbours(self, edge: decimal.Decimal) -> tuple[float, float]:
        """Return the numbers of this format on both sides of `edge`, which none of them equals."""
        near = float(self.round(np.float64(float(edge))))
        step = self.ulp(np.float64(near)).item()
        exact = decimal.Decimal(near)
        return (near - step, near) if exact > edge else (near, near + step)

    def ulp(self, value: Any) -> Array:
        """Spacing of this format at `value`, as float64: ``2**(max(exponent, emin) - p + 1)``.

        Parameters
        ----------
        value : array_like of float64
            Any shape; where it is infinite or NaN the spacing of the largest binade is given.

        Examples
        --------
        >>> float(BFLOAT16.ulp(1.0)), float(FLOAT64.ulp(0.0))
        (0.0078125, 5e-324)
        """
        return np.asarray(np.ldexp(1.0, self.ulp_exponent(value)))

    def ulp_exponent(self, value: Any) -> Array:
        """Return the exponent e of the spacing ``2**e`` at `value`, as integers."""
        value = np.asarray(value, dtype=np.float64)
        exponent = np.frexp(np.where(np.isfinite(value), value, self.max))[1] - 1
        # frexp gives 0 for 0; the spacing there is that of the subnormals.
        exponent = np.where(value == 0, self.emin, exponent)
        return np.asarray(np.clip(exponent, self.emin, self.emax) - (self.precision - 1))

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """What arrays of it are stored as: its own dtype, or float32 where NumPy would not know it again."""
        return np.dtype(self.dtype if self.is_native else np.float32)

    def round(self, value: Any) -> Array:
        """Round float64 to the nearest number of this format, ties to even; the result is float64.

        ml_dtypes casts float64 through float32 and so rounds twice: ``1 + 2**-8 + 2**-40`` gives 1
        in bfloat16, not ``1 + 2**-7``. This rounds once.

        Examples
        --------
        >>> float(BFLOAT16.round(1 + 2**-8 + 2**-40)) == 1 + 2**-7
        True
        >>> float(FLOAT8_E4M3FN.round(500.0)), float(FLOAT8_E5M2.round(61440.0))
        (nan, inf)
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
                rounded = np.where(beyond, np.copysign(np.inf, numbers) if self.has_inf else np.nan, rounded)
        return rounded.reshape(value.shape)

    def cast(self, value: Any) -> Array:
        """Convert an array to this format's dtype, rounding once.

        Examples
        --------
        >>> FLOAT16.cast([1e5, 0.1]).tolist()
        [inf, 0.0999755859375]
        """
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


@dataclass(frozen=True)
class Threshold:
    """Where exp leaves a format.

    Parameters
    ----------
    real : float
        The real number: log of the largest finite number, or of half the smallest.
    last_good, first_bad : float
        The neighbouring logits *of that format* for which exp, correctly rounded, still is and no
        longer is a finite non-zero number.
    """

    real: float
    last_good: float
    first_bad: float


def _ln(value: decimal.Decimal) -> decimal.Decimal:
    return value.ln(decimal.Context(prec=60, Emin=-9999, Emax=9999))


FLOAT8_E4M3FN = Format("float8_e4m3fn", 4, 8, -6, has_inf=False)
FLOAT8_E5M2 = Format("float8_e5m2", 3, 15, -14)
FLOAT16 = Format("float16", 11, 15, -14)
BFLOAT16 = Format("bfloat16", 8, 127, -126)
FLOAT32 = Format("float32", 24, 127, -126)
FLOAT64 = Format("float64", FLOAT64_PRECISION, 1023, -1022)

FORMATS: dict[str, Format] = {f.name: f for f in (FLOAT8_E4M3FN, FLOAT8_E5M2, FLOAT16, BFLOAT16, FLOAT32, FLOAT64)}


def get_format(name: str) -> Format:
    """Look a format up by name.

    Raises
    ------
    StablemaxError
        If there is no such format.
    """
    try:
        return FORMATS[name]
    except KeyError:
        raise StablemaxError(f"there is no number format {shown(name)!r}", f"one of: {', '.join(FORMATS)}") from None


# NumPy composes the name of a dtype anew each time, which takes longer than the exponentials of a short row.
@cache
def format_of(dtype: np.dtype[Any]) -> Format:
    """Return the format in which an array of `dtype` is computed: its own, or float64 for integers.

    Raises
    ------
    StablemaxError
        If the dtype holds no real numbers.

    Examples
    --------
    >>> format_of(np.dtype(">f4")).name, format_of(np.dtype("int8")).name
    ('float32', 'float64')
    """
    if dtype.kind in "iu":
        return FLOAT64
    if dtype.name in FORMATS:
        return FORMATS[dtype.name]
    raise StablemaxError(f"logits of dtype {shown(dtype)} are not real numbers", "use float16, float32 or float64")
