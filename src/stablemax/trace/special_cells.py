"""Special functions on exact cells, by SciPy's names: error functions, the gamma family, entropies, and their kin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from flint import arb

from stablemax.trace.exact_cells import EXACT, INFINITE, MINUS_INFINITE, NO_VALUE, UNDECIDED, Special, as_cell


def _known(ball: Any) -> Any:
    return ball if ball.is_finite() else UNDECIDED


def _with_limits(on_ball: Callable[[Any], Any], at_inf: Any, at_minus_inf: Any) -> Callable[[Any], Any]:
    """Extend a function of a ball to the infinities."""

    def apply(cell: Any) -> Any:
        cell = as_cell(cell)
        if isinstance(cell, Special):
            return {1: at_inf, -1: at_minus_inf}.get(cell.sign, cell)
        return on_ball(cell)

    return apply


_exp, _log, _log1p, _divide = EXACT["exp"], EXACT["log"], EXACT["log1p"], EXACT["divide"]
_power, _square, _sqrt = EXACT["power"], EXACT["square"], EXACT["sqrt"]
_ONE = arb(1)


# --- of one cell --------------------------------------------------------------------------------------


def _has_pole(b: Any) -> bool:
    """Tell whether the gamma function has a pole there: at 0 and at the negative integers."""
    return bool(b.is_exact() and b <= 0 and b.is_integer())


def _log_gamma(b: Any) -> Any:
    """Return log |gamma(b)|."""
    if b > 0:
        return _known(b.lgamma())
    return INFINITE if _has_pole(b) else _known(abs(b.gamma()).log())


def _between(on_ball: Callable[[Any], Any], low: int, high: int) -> Callable[[Any], Any]:
    """Guard an inverse that is -inf at one end of its range, inf at the other, and has no value outside."""

    def apply(b: Any) -> Any:
        if low < b < high:
            return _known(on_ball(b))
        if b.is_exact() and b in (low, high):
            return MINUS_INFINITE if b == low else INFINITE
        return NO_VALUE if b < low or b > high else UNDECIDED

    return _with_limits(apply, NO_VALUE, NO_VALUE)


def _expit(c: Any) -> Any:
    return _divide(_ONE, _exp(-as_cell(c)) + 1)


def _softplus(c: Any) -> Any:
    return EXACT["logaddexp"](as_cell(c), arb(0))


def _entr(c: Any) -> Any:
    """Return -x log(x), 0 at 0 and -inf below."""
    c = as_cell(c)
    if isinstance(c, Special):
        return -c
    return arb(0) if c.is_zero() else -(c * c.log()) if c > 0 else MINUS_INFINITE if c < 0 else UNDECIDED


def _ndtr(b: Any) -> Any:
    return (-b / arb(2).sqrt()).erfc() / 2


def _scaled_bessel(order: int) -> Callable[[Any], Any]:
    return lambda b: _known(b.bessel_i(arb(order)) * (-abs(b)).exp())


def _trunc(b: Any) -> Any:
    whole = b.floor() if b >= 0 else b.ceil() if b < 0 else None
    return UNDECIDED if whole is None or not whole.is_exact() else whole


def _bessel_y(order: int) -> Callable[[Any], Any]:
    """Return a Bessel function of the second kind: -inf at 0, and no value below."""

    def apply(b: Any) -> Any:
        if b > 0:
            return _known(b.bessel_y(arb(order)))
        return MINUS_INFINITE if b.is_zero() else NO_VALUE if b < 0 else UNDECIDED

    return _with_limits(apply, arb(0), NO_VALUE)


def _bessel_k(order: int, *, is_scaled: bool) -> Callable[[Any], Any]:
    """Return a modified Bessel function of the second kind, or that times exp(x): inf at 0, and no value below."""

    def apply(b: Any) -> Any:
        if b > 0:
            return _known(b.bessel_k(arb(order)) * (b.exp() if is_scaled else 1))
        return INFINITE if b.is_zero() else NO_VALUE if b < 0 else UNDECIDED

    return _with_limits(apply, arb(0), NO_VALUE)


def _multiplied(by: Callable[[], Any]) -> Callable[[Any], Any]:
    # Pi with as many bits as there are now.
    return lambda c: as_cell(c) * by()


_OF_ONE: dict[str, Callable[[Any], Any]] = {
    "expit": _expit,
    "logit": _between(lambda b: (b / (1 - b)).log(), 0, 1),
    "log_expit": lambda c: -_softplus(-as_cell(c)),
    "softplus": _softplus,
    "erf": _with_limits(lambda b: b.erf(), _ONE, arb(-1)),
    "erfc": _with_limits(lambda b: b.erfc(), arb(0), arb(2)),
    "erfcx": _with_limits(lambda b: _known(b.erfc() * (b * b).exp()), arb(0), INFINITE),
    "erfinv": _between(lambda b: b.erfinv(), -1, 1),
    "erfcinv": lambda c: -_between(lambda b: (b - 1).erfinv(), 0, 2)(c),
    "ndtr": _with_limits(_ndtr, _ONE, arb(0)),
    "log_ndtr": _with_limits(lambda b: _known(_ndtr(b).log()), arb(0), MINUS_INFINITE),
    "ndtri": _between(lambda b: arb(2).sqrt() * (2 * b - 1).erfinv(), 0, 1),
    "gammaln": _with_limits(_log_gamma, INFINITE, INFINITE),
    "gamma": _with_limits(lambda b: NO_VALUE if _has_pole(b) else _known(b.gamma()), INFINITE, NO_VALUE),
    "digamma": _with_limits(lambda b: NO_VALUE if _has_pole(b) else _known(b.digamma()), INFINITE, NO_VALUE),
    "entr": _entr,
    "i0": _with_limits(lambda b: _known(b.bessel_i(arb(0))), INFINITE, INFINITE),
    "i1": _with_limits(lambda b: _known(b.bessel_i(_ONE)), INFINITE, MINUS_INFINITE),
    "i0e": _with_limits(_scaled_bessel(0), arb(0), arb(0)),
    "i1e": _with_limits(_scaled_bessel(1), arb(0), arb(0)),
    "j0": _with_limits(lambda b: _known(b.bessel_j(arb(0))), arb(0), arb(0)),
    "j1": _with_limits(lambda b: _known(b.bessel_j(_ONE)), arb(0), arb(0)),
    "y0": _bessel_y(0),
    "y1": _bessel_y(1),
    "k0": _bessel_k(0, is_scaled=False),
    "k1": _bessel_k(1, is_scaled=False),
    "k0e": _bessel_k(0, is_scaled=True),
    "k1e": _bessel_k(1, is_scaled=True),
    "airy_ai": _with_limits(lambda b: _known(b.airy_ai()), arb(0), arb(0)),
    "spherical_j0": _with_limits(lambda b: _known(b.sinc()), arb(0), arb(0)),
    "sinc": _with_limits(lambda b: _known(b.sinc_pi()), arb(0), arb(0)),
    "exprel": _with_limits(lambda b: _ONE if b.is_zero() else _known(b.expm1() / b), INFINITE, arb(0)),
    "exp10": _with_limits(lambda b: _known((b * arb.const_log10()).exp()), INFINITE, arb(0)),
    "cosm1": _with_limits(lambda b: -2 * (b / 2).sin() ** 2, NO_VALUE, NO_VALUE),
    "trunc": _with_limits(_trunc, INFINITE, MINUS_INFINITE),
    "deg2rad": _multiplied(lambda: arb.pi() / 180),
    "rad2deg": _multiplied(lambda: 180 / arb.pi()),
}
_ALIASES = {
    "psi": "digamma", "lgamma": "gammaln", "erf_inv": "erfinv", "radians": "deg2rad", "degrees": "rad2deg",
    "fix": "trunc",
}  # fmt: skip


# --- of two cells -------------------------------------------------------------------------------------


def _xlog(log: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Return x log(y), which is 0 where x is 0."""

    def apply(x: Any, y: Any) -> Any:
        x, y = as_cell(x), as_cell(y)
        is_zero = not isinstance(x, Special) and x.is_zero()
        return y if y is NO_VALUE else arb(0) if is_zero else x * log(y)

    return apply


def _rel_entr(x: Any, y: Any) -> Any:
    """Return x log(x / y), 0 at x = 0 and inf where either is negative, or y alone is 0."""
    x, y = as_cell(x), as_cell(y)
    if isinstance(x, Special) or isinstance(y, Special):
        return x if x is NO_VALUE else y if y is NO_VALUE else UNDECIDED
    if x.is_zero() and y >= 0:
        return arb(0)
    if x > 0 and y > 0:
        return x * (x / y).log()
    return INFINITE if x < 0 or y < 0 or y.is_zero() else UNDECIDED


def _arctan2(y: Any, x: Any) -> Any:
    y, x = as_cell(y), as_cell(x)
    if isinstance(y, Special) or isinstance(x, Special):
        return NO_VALUE if NO_VALUE in (y, x) else UNDECIDED
    # A cell does not know the sign of its 0, and on the negative axis that decides.
    return UNDECIDED if y.is_zero() and x < 0 else _known(arb.atan2(y, x))


def _copysign(a: Any, b: Any) -> Any:
    sign = EXACT["sign"](as_cell(b))
    return UNDECIDED if isinstance(sign, Special) or sign.is_zero() else abs(as_cell(a)) * sign


def _gamma_share(lower: bool) -> Callable[[Any, Any], Any]:  # noqa: FBT001
    """Return the regularised incomplete gamma function, lower or upper."""

    def apply(a: Any, x: Any) -> Any:
        a, x = as_cell(a), as_cell(x)
        if isinstance(a, Special) or isinstance(x, Special) or not a > 0:
            return NO_VALUE if NO_VALUE in (a, x) else UNDECIDED
        if x < 0:
            return NO_VALUE
        share = x.gamma_lower(a, regularized=1) if lower else x.gamma_upper(a, regularized=1)
        return _known(share)

    return apply


def _polygamma(n: Any, x: Any) -> Any:
    n, x = as_cell(n), as_cell(x)
    if isinstance(n, Special) or isinstance(x, Special):
        return NO_VALUE if x is NO_VALUE else arb(0) if x.sign > 0 else UNDECIDED
    if n.is_zero():
        return SPECIAL["digamma"](x)
    if _has_pole(x):
        return INFINITE if not (n / 2).is_integer() else NO_VALUE
    factor = (n + 1).gamma() * (1 if not (n / 2).is_integer() else -1)
    return _known(factor * (n + 1).zeta(x))


def _boxcox(x: Any, power: Any) -> Any:
    power = as_cell(power)
    is_log = not isinstance(power, Special) and power.is_zero()
    return _log(as_cell(x)) if is_log else _divide(_power(as_cell(x), power) - 1, power)


def _inverse_boxcox(y: Any, power: Any) -> Any:
    power = as_cell(power)
    is_exp = not isinstance(power, Special) and power.is_zero()
    return _exp(as_cell(y)) if is_exp else _power(as_cell(y) * power + 1, _divide(_ONE, power))


def _huber(delta: Any, r: Any) -> Any:
    delta, size = as_cell(delta), abs(as_cell(r))
    if isinstance(delta, Special) or isinstance(size, Special):
        return UNDECIDED
    return size * size / 2 if size <= delta else delta * (size - delta / 2) if size > delta else UNDECIDED


def _log_beta(a: Any, b: Any) -> Any:
    log_gamma = SPECIAL["gammaln"]
    return log_gamma(as_cell(a)) + log_gamma(as_cell(b)) - log_gamma(as_cell(a) + as_cell(b))


def _zeta(s: Any, q: Any) -> Any:
    """Return the Hurwitz zeta function for s >= 1, as SciPy does."""
    s, q = as_cell(s), as_cell(q)
    if isinstance(s, Special) or isinstance(q, Special):
        return NO_VALUE if NO_VALUE in (s, q) else UNDECIDED
    if s == 1:
        return INFINITE
    if not s > 1:
        return NO_VALUE if s < 1 else UNDECIDED
    if q > 0:
        return _known(s.zeta(q))
    return INFINITE if _has_pole(q) else NO_VALUE if not s.is_integer() else UNDECIDED


# --- what division leaves -----------------------------------------------------------------------------


def _whole_quotient(a: Any, b: Any) -> Any:
    """Return the largest integer that is not above a / b, for balls; b is not 0."""
    if a.is_exact() and b.is_exact():
        # However large the quotient is, integers hold all of its bits.
        (m, e), (n, f) = a.man_exp(), b.man_exp()
        low = min(int(e), int(f))
        return arb((int(m) << (int(e) - low)) // (int(n) << (int(f) - low)))
    whole = (a / b).floor()
    return whole if whole.is_finite() and whole.is_exact() else UNDECIDED


def _floor_divide(a: Any, b: Any) -> Any:
    """Return the quotient rounded down: without a value where a is infinite, and a / 0 at b = 0."""
    a, b = as_cell(a), as_cell(b)
    if not isinstance(b, Special) and b.is_zero():
        return _divide(a, b)
    if isinstance(a, Special):
        return a if a.sign == 0 else b if isinstance(b, Special) and b.sign == 0 else NO_VALUE
    if isinstance(b, Special):
        if b.sign == 0 or a.is_zero():
            return b if b.sign == 0 else arb(0)
        return arb(0) if a * b.sign > 0 else arb(-1) if a * b.sign < 0 else UNDECIDED
    return _whole_quotient(a, b) if b > 0 or b < 0 else UNDECIDED


def _remainder(a: Any, b: Any) -> Any:
    """Return what division leaves, with the sign of b, as Python's ``%`` does."""
    a, b = as_cell(a), as_cell(b)
    if isinstance(b, Special) and b.sign and not isinstance(a, Special):
        return a if a * b.sign > 0 or a.is_zero() else b if a * b.sign < 0 else UNDECIDED
    if isinstance(b, Special) or isinstance(a, Special) or b.is_zero():
        return UNDECIDED if UNDECIDED in (a, b) else NO_VALUE
    whole = _floor_divide(a, b)
    return whole if isinstance(whole, Special) else _difference(a, b, whole)


def _fmod(a: Any, b: Any) -> Any:
    """Return what division leaves, with the sign of a, as C's function of that name does."""
    a, b = as_cell(a), as_cell(b)
    if isinstance(a, Special) or (not isinstance(b, Special) and b.is_zero()):
        return UNDECIDED if UNDECIDED in (a, b) else NO_VALUE
    if isinstance(b, Special):
        return a if b.sign else b
    return _remainder(a, abs(b)) if a >= 0 else -_remainder(-a, abs(b)) if a < 0 else UNDECIDED


def _difference(a: Any, b: Any, whole: Any) -> Any:
    """Return a - whole * b with all of its bits, where a and b are exact."""
    if not (a.is_exact() and b.is_exact()):
        return a - whole * b
    (m, e), (n, f) = a.man_exp(), b.man_exp()
    low = min(int(e), int(f))
    left = (int(m) << (int(e) - low)) - int(whole.unique_fmpz()) * (int(n) << (int(f) - low))
    return arb(left) * arb(2) ** low


def _trunc_divide(a: Any, b: Any) -> Any:
    """Return the quotient rounded towards 0."""
    a, b = as_cell(a), as_cell(b)
    if isinstance(a, Special) or isinstance(b, Special) or b.is_zero():
        return _divide(a, b)
    size = _floor_divide(abs(a), abs(b))
    sign = EXACT["sign"](a) * EXACT["sign"](b)
    return size * sign if not isinstance(size, Special) else size


def _heaviside(x: Any, at_zero: Any) -> Any:
    sign = EXACT["sign"](as_cell(x))
    if isinstance(sign, Special):
        return sign
    return as_cell(at_zero) if sign.is_zero() else arb(1) if sign > 0 else arb(0)


def _binom(n: Any, k: Any) -> Any:
    """Return how many ways there are to choose k of n, for real numbers by the gamma function."""
    n, k = as_cell(n), as_cell(k)
    if isinstance(n, Special) or isinstance(k, Special) or _has_pole(n + 1):
        return UNDECIDED
    return _known((n + 1).gamma() * (k + 1).rgamma() * (n - k + 1).rgamma())


_OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "zeta": _zeta,
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "mod": _remainder,
    "fmod": _fmod,
    "trunc_divide": _trunc_divide,
    "heaviside": _heaviside,
    "xlogy": _xlog(_log),
    "xlog1py": _xlog(_log1p),
    "rel_entr": _rel_entr,
    "kl_div": lambda x, y: _rel_entr(x, y) - as_cell(x) + as_cell(y),
    "arctan2": _arctan2,
    "copysign": _copysign,
    "gammainc": _gamma_share(lower=True),
    "gammaincc": _gamma_share(lower=False),
    "polygamma": _polygamma,
    "boxcox": _boxcox,
    "boxcox1p": lambda x, power: _boxcox(as_cell(x) + 1, power),
    "inv_boxcox": _inverse_boxcox,
    "inv_boxcox1p": lambda y, power: _inverse_boxcox(y, power) - 1,
    "huber": _huber,
    "pseudo_huber": lambda d, r: _square(as_cell(d)) * (_sqrt(_square(_divide(as_cell(r), as_cell(d))) + 1) - 1),
    "betaln": _log_beta,
    "beta": lambda a, b: _exp(_log_beta(a, b)),
    "binom": _binom,
}

SPECIAL: Mapping[str, np.ufunc] = MappingProxyType(
    {
        **{name: np.frompyfunc(on_cell, 1, 1) for name, on_cell in _OF_ONE.items()},
        **{name: np.frompyfunc(_OF_ONE[other], 1, 1) for name, other in _ALIASES.items()},
        **{name: np.frompyfunc(on_cells, 2, 1) for name, on_cells in _OF_TWO.items()},
    }
)
"""Special functions on arrays of cells, by name."""

FUNCTIONS: Mapping[str, np.ufunc] = MappingProxyType({**SPECIAL, **EXACT})
"""All functions that are taken exactly cell by cell, NumPy's and the special ones."""
