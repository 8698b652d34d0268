"""Exact cells: balls of python-flint with the infinities of IEEE arithmetic, which balls lack."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from flint import arb

from stablemax.numerics.formats import FORMATS, Array, Format


@functools.cache
def format_or_none(dtype: np.dtype[Any]) -> Format | None:
    """Return the number format of a dtype; None for integers and whatever else is none."""
    return FORMATS.get(dtype.name)


def is_followed(dtype: np.dtype[Any]) -> bool:
    """Tell whether numbers of a dtype have a shadow: those of a format, and integers, into which others are cut off."""
    return dtype.kind in "iu" or format_or_none(dtype) is not None


class Special:
    """An infinity, no value at all (inf - inf), or a value that more bits would decide.

    Balls leave arithmetic with a foreign type to that type, so that NumPy's own loops over object
    arrays go through these methods wherever one operand is special.
    """

    __slots__ = ("name", "sign")

    def __init__(self, name: str, sign: int) -> None:
        self.name = name
        self.sign = sign

    def __repr__(self) -> str:
        return self.name

    def __neg__(self) -> Special:
        return _SIGNED[-self.sign] if self.sign else self

    def __abs__(self) -> Special:
        return INFINITE if self.sign else self

    def __add__(self, other: Any) -> Special:
        other = as_cell(other)
        if isinstance(other, Special) and (other.sign == 0 or self.sign == 0):
            return _worse(self, other)
        if isinstance(other, Special) and other.sign != self.sign:
            return NO_VALUE
        return self

    __radd__ = __add__

    def __sub__(self, other: Any) -> Special:
        return self + -as_cell(other)

    def __rsub__(self, other: Any) -> Special:
        return -self + as_cell(other)

    def __mul__(self, other: Any) -> Special:
        other = as_cell(other)
        if isinstance(other, Special):
            return _worse(self, other) if not (self.sign and other.sign) else _SIGNED[self.sign * other.sign]
        if self.sign == 0:
            return self
        if other.is_zero():
            return NO_VALUE
        return _SIGNED[self.sign if other > 0 else -self.sign] if other > 0 or other < 0 else UNDECIDED

    __rmul__ = __mul__

    def __float__(self) -> float:
        return self.sign * math.inf if self.sign else math.nan

    def conjugate(self) -> Special:
        """Return the cell: it is real."""
        return self


INFINITE = Special("inf", 1)
MINUS_INFINITE = Special("-inf", -1)
NO_VALUE = Special("no value", 0)
UNDECIDED = Special("undecided", 0)
_SIGNED = {1: INFINITE, -1: MINUS_INFINITE}


def _worse(a: Special, b: Special) -> Special:
    """Return the one that is not an infinity; what has no value has none however many bits there are."""
    if NO_VALUE in (a, b):
        return NO_VALUE
    return a if a.sign == 0 else b


def as_cell(value: Any) -> Any:
    """Turn a number into a cell, exactly.

    >>> as_cell(float("-inf")), as_cell(2)
    (-inf, 2.00000000000000)
    """
    if isinstance(value, (arb, Special)):
        return value
    number = value if isinstance(value, int) else float(value)
    if isinstance(number, int) or math.isfinite(number):
        return arb(int(number) if isinstance(number, bool) else number)
    return NO_VALUE if math.isnan(number) else _SIGNED[1 if number > 0 else -1]


def cells_of(values: Any) -> Array:
    """Turn an array or number of any real dtype into cells of the same shape, exactly."""
    values = np.asarray(values)
    if values.dtype == object:
        return settled(values)
    if values.dtype.kind not in "biu":
        values = values.astype(np.float64)
    to_cell = arb if values.dtype.kind == "f" and np.isfinite(values).all() else as_cell
    return _array_of(map(to_cell, values.ravel().tolist()), values.shape)


def settled(cells: Any) -> Array:
    """Return what a NumPy function made of cells as an array of cells; it mixes in Python's own numbers."""
    out = as_array(cells)
    flat = out.ravel().tolist()
    return out if all(isinstance(c, (arb, Special)) for c in flat) else _array_of(map(as_cell, flat), out.shape)


def _array_of(cells: Iterable[Any], shape: tuple[int, ...]) -> Array:
    out = np.empty(math.prod(shape), dtype=object)
    out[:] = list(cells)
    return out.reshape(shape)


def as_array(cells: Any) -> Array:
    """Put a single cell, as reductions of object arrays return it, back into an array without dimensions."""
    return cells if isinstance(cells, np.ndarray) else _array_of([cells], ())


def nearest(cells: Array) -> Array:
    """Round cells to float64: infinite beyond its range, NaN where there is no value."""
    return np.array([float(c) for c in cells.ravel().tolist()], dtype=np.float64).reshape(cells.shape)


def distance(values: Array, cells: Array) -> Array:
    """Return values minus cells as float64; NaN where either is not finite."""
    distances = [
        math.nan if type(c) is Special or not math.isfinite(v) else float(arb(v) - c)
        for v, c in zip(values.astype(np.float64).ravel().tolist(), cells.ravel().tolist(), strict=True)
    ]
    return np.array(distances, dtype=np.float64).reshape(values.shape)


def marked(cells: Array, test: Callable[[Any], bool]) -> Array:
    """Mark the cells that pass a test."""
    return np.array([bool(test(c)) for c in cells.ravel().tolist()], dtype=bool).reshape(cells.shape)


def is_ball(cells: Array) -> Array:
    """Mark the cells that hold a finite number."""
    return marked(cells, lambda c: not isinstance(c, Special))


def nonzero(cells: Array) -> Array:
    """Mark the cells that have a value, and one that is not 0."""
    return marked(cells, lambda c: c.sign != 0 if isinstance(c, Special) else c != 0)


def has_no_value(cells: Array) -> Array:
    """Mark the cells for which exact arithmetic has no value either: inf - inf, 0 / 0."""
    return marked(cells, lambda c: c is NO_VALUE)


def with_values(cells: Array) -> Array:
    """Put a number, 1, where exact arithmetic has none."""
    return _array_of((arb(1) if isinstance(c, Special) else c for c in cells.ravel().tolist()), cells.shape)


def is_undecided(cells: Array, bits: int) -> Array:
    """Mark the cells of which fewer than `bits` bits are known: more precision could decide them.

    The exact 0 has all of its bits; a ball around 0 has none.
    """

    def is_vague(c: Any) -> bool:
        if isinstance(c, Special):
            return c is UNDECIDED
        return not c.is_exact() and c.rel_accuracy_bits() < bits

    return marked(cells, is_vague)


# --- functions of one ball ----------------------------------------------------------------------


def _known(ball: Any) -> Any:
    return ball if ball.is_finite() else UNDECIDED


def _with_limits(on_ball: Callable[[Any], Any], at_inf: Any, at_minus_inf: Any) -> Callable[[Any], Any]:
    """Extend a function of a ball to the infinities."""

    def apply(cell: Any) -> Any:
        if isinstance(cell, Special):
            return {1: at_inf, -1: at_minus_inf}.get(cell.sign, cell)
        return on_ball(cell)

    return apply


def _log_by(on_ball: Callable[[Any], Any], edge: int = 0) -> Callable[[Any], Any]:
    """Guard a logarithm that is -inf at `edge` and has no value below it."""

    def apply(b: Any) -> Any:
        if b > edge:
            return _known(on_ball(b))
        if b == edge:
            return MINUS_INFINITE
        return NO_VALUE if b < edge else UNDECIDED

    return _with_limits(apply, INFINITE, NO_VALUE)


def _sqrt(b: Any) -> Any:
    if b >= 0:
        return b.sqrt()
    return NO_VALUE if b < 0 else UNDECIDED


def _arctan(cell: Any) -> Any:
    # Half of pi with as many bits as there are now.
    return cell.atan() if isinstance(cell, arb) else cell if cell.sign == 0 else cell.sign * arb.pi() / 2


def _arctanh(b: Any) -> Any:
    if abs(b) < 1:
        return _known(b.atanh())
    if b.is_exact() and abs(b) == 1:
        return INFINITE if b > 0 else MINUS_INFINITE
    return NO_VALUE if abs(b) > 1 else UNDECIDED


def _where(holds: Callable[[Any], Any], fails: Callable[[Any], Any], on_ball: Callable[[Any], Any]) -> Any:
    """Guard a function of a ball that has no value outside of a range."""

    def apply(b: Any) -> Any:
        return _known(on_ball(b)) if holds(b) else NO_VALUE if fails(b) else UNDECIDED

    return apply


def _in_the_unit(on_ball: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return _with_limits(_where(lambda b: abs(b) <= 1, lambda b: abs(b) > 1, on_ball), NO_VALUE, NO_VALUE)


def _sign(b: Any) -> Any:
    if b.is_zero():
        return arb(0)
    return arb(1) if b > 0 else arb(-1) if b < 0 else UNDECIDED


def _whole(on_ball: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Guard a function whose values are whole numbers: an inexact ball holds several of them."""

    def apply(b: Any) -> Any:
        result = on_ball(b)
        return result if result.is_exact() else UNDECIDED

    return _with_limits(apply, INFINITE, MINUS_INFINITE)


def _nearest_whole(b: Any) -> Any:
    """Round to the nearest integer, ties to even."""
    down = (b + arb(0.5)).floor()
    is_odd_tie = down.is_exact() and down - b == arb(0.5) and not (down / 2).is_integer()
    return down - 1 if is_odd_tie else down


_exp = _with_limits(lambda b: _known(b.exp()), INFINITE, arb(0))
_log = _log_by(lambda b: b.log())


# --- functions of two cells ---------------------------------------------------------------------


def _divide(a: Any, b: Any) -> Any:
    a, b = as_cell(a), as_cell(b)
    if isinstance(b, Special):
        if b.sign == 0 or isinstance(a, Special):
            return NO_VALUE if b.sign and a.sign else _worse(a, b) if isinstance(a, Special) else b
        return arb(0)
    if b.is_zero():
        if isinstance(a, Special):
            return a
        if a.is_zero():
            return NO_VALUE
        return INFINITE if a > 0 else MINUS_INFINITE if a < 0 else UNDECIDED
    if isinstance(a, Special):
        return a if a.sign == 0 or b > 0 else -a if b < 0 else UNDECIDED
    return _known(a / b)


def _power(a: Any, b: Any) -> Any:
    a, b = as_cell(a), as_cell(b)
    if not isinstance(b, Special) and b.is_zero():
        return arb(1)
    if isinstance(a, Special) and a.sign == 0:
        return a
    if isinstance(b, Special):
        return b if b.sign == 0 else _exp(b * _log(a))
    if isinstance(a, Special):
        return _exp(b * a) if a.sign > 0 else UNDECIDED
    if a.is_zero():
        return arb(0) if b > 0 else INFINITE if b < 0 else UNDECIDED
    if a < 0 and not b.is_integer():
        return NO_VALUE if b.is_exact() else UNDECIDED
    return _known(a**b)


def _larger(a: Any, b: Any) -> Any:
    a, b = as_cell(a), as_cell(b)
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Special):
            if isinstance(other, Special) and other.sign == 0:
                return _worse(one, other) if one.sign == 0 else other
            return other if one.sign < 0 else one
    return a.max(b)


def _smaller(a: Any, b: Any) -> Any:
    return -_larger(-as_cell(a), -as_cell(b))


def _log_add_exp(a: Any, b: Any) -> Any:
    a, b = as_cell(a), as_cell(b)
    if isinstance(a, Special) or isinstance(b, Special):
        return _larger(a, b)
    high, low = (a, b) if a.mid() >= b.mid() else (b, a)
    return _known(high + (low - high).exp().log1p())


def _log_add_exp2(a: Any, b: Any) -> Any:
    ln2 = arb.const_log2()
    return _divide(_log_add_exp(as_cell(a) * ln2, as_cell(b) * ln2), ln2)


def _hypot(a: Any, b: Any) -> Any:
    total = as_cell(a) * as_cell(a) + as_cell(b) * as_cell(b)
    return total if isinstance(total, Special) else _sqrt(total)


def _with_nan_ignored(choose: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: b if a is NO_VALUE else a if b is NO_VALUE else choose(a, b)


_OF_ONE: dict[str, Callable[[Any], Any]] = {
    "positive": lambda c: c,
    "conjugate": lambda c: c,
    "absolute": abs,
    "fabs": abs,
    "square": lambda c: c * c,
    "reciprocal": lambda c: _divide(arb(1), c),
    "exp": _exp,
    "exp2": _with_limits(lambda b: _known((b * arb.const_log2()).exp()), INFINITE, arb(0)),
    "expm1": _with_limits(lambda b: _known(b.expm1()), INFINITE, arb(-1)),
    "log": _log,
    "log2": _log_by(lambda b: b.log() / arb.const_log2()),
    "log10": _log_by(lambda b: b.log() / arb.const_log10()),
    "log1p": _log_by(lambda b: b.log1p(), -1),
    "sqrt": _with_limits(_sqrt, INFINITE, NO_VALUE),
    "cbrt": _with_limits(
        lambda b: b.root(3) if b >= 0 else -(-b).root(3) if b < 0 else UNDECIDED, INFINITE, MINUS_INFINITE
    ),
    "tanh": _with_limits(lambda b: b.tanh(), arb(1), arb(-1)),
    "sinh": _with_limits(lambda b: _known(b.sinh()), INFINITE, MINUS_INFINITE),
    "cosh": _with_limits(lambda b: _known(b.cosh()), INFINITE, INFINITE),
    "sin": _with_limits(lambda b: b.sin(), NO_VALUE, NO_VALUE),
    "cos": _with_limits(lambda b: b.cos(), NO_VALUE, NO_VALUE),
    "tan": _with_limits(lambda b: _known(b.tan()), NO_VALUE, NO_VALUE),
    "arcsin": _in_the_unit(lambda b: b.asin()),
    "arccos": _in_the_unit(lambda b: b.acos()),
    "arctan": _arctan,
    "arcsinh": _with_limits(lambda b: b.asinh(), INFINITE, MINUS_INFINITE),
    "arccosh": _with_limits(_where(lambda b: b >= 1, lambda b: b < 1, lambda b: b.acosh()), INFINITE, NO_VALUE),
    "arctanh": _with_limits(_arctanh, NO_VALUE, NO_VALUE),
    "sign": _with_limits(_sign, arb(1), arb(-1)),
    "floor": _whole(lambda b: b.floor()),
    "ceil": _whole(lambda b: b.ceil()),
    "rint": _whole(_nearest_whole),
}
_OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "divide": _divide,
    "power": _power,
    "float_power": _power,
    "fmax": _with_nan_ignored(_larger),
    "fmin": _with_nan_ignored(_smaller),
    "hypot": _hypot,
    "ldexp": lambda a, b: a * _power(arb(2), b),
}

EXACT: dict[str, np.ufunc] = {
    # Balls and `Special` have Python's operators, which NumPy's own loops over objects call.
    **{name: getattr(np, name) for name in ("add", "subtract", "multiply", "matmul", "negative")},
    **{name: np.frompyfunc(on_cell, 1, 1) for name, on_cell in _OF_ONE.items()},
    **{name: np.frompyfunc(on_cells, 2, 1) for name, on_cells in _OF_TWO.items()},
    "maximum": np.frompyfunc(_larger, 2, 1, identity=MINUS_INFINITE),
    "minimum": np.frompyfunc(_smaller, 2, 1, identity=INFINITE),
    "logaddexp": np.frompyfunc(_log_add_exp, 2, 1, identity=MINUS_INFINITE),
    "logaddexp2": np.frompyfunc(_log_add_exp2, 2, 1, identity=MINUS_INFINITE),
    "clip": np.frompyfunc(lambda x, low, high: _smaller(_larger(x, low), high), 3, 1),
}
"""NumPy's ufuncs on arrays of cells, by name, with all of their methods; what is not here is not followed."""


def softmax_cells(logits: Array) -> Array:
    """Return the softmax of rows of logits, exactly.

    >>> softmax_cells(np.array([[1.0, 1.0], [0.0, -np.inf]])).tolist()
    [[0.500000000000000, 0.500000000000000], [1.00000000000000, 0]]
    """
    x = cells_of(logits)
    e = EXACT["exp"](x - EXACT["maximum"].reduce(x, axis=-1, keepdims=True))
    return settled(EXACT["divide"](e, np.add.reduce(e, axis=-1, keepdims=True)))
