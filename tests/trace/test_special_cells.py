"""Special functions on exact cells, held to mpmath's."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest

from stablemax.trace.conditions import condition_of
from stablemax.trace.exact_cells import NO_VALUE, UNDECIDED, cells_of, nearest
from stablemax.trace.special_cells import SPECIAL

mpmath = pytest.importorskip("mpmath", reason="it is the other implementation")
mp = mpmath.mp

POINTS = (-30.0, -2.5, -1.0, -0.25, 0.0, 0.5, 0.75, 1.0, 1.75, 40.0)
"""Each function is tried where it has a value among these."""


def normal(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


OF_ONE: dict[str, Callable[[Any], Any]] = {
    "expit": lambda x: 1 / (1 + mp.exp(-x)),
    "logit": lambda x: mp.log(x) - mp.log1p(-x),
    "log_expit": lambda x: -mp.log1p(mp.exp(-x)),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "erf": mp.erf,
    "erfc": mp.erfc,
    "erfcx": lambda x: mp.erfc(x) * mp.exp(x * x),
    "erfinv": mp.erfinv,
    "erfcinv": lambda x: mp.erfinv(1 - x),
    "ndtr": normal,
    "log_ndtr": lambda x: mp.log(normal(x)),
    "ndtri": lambda x: mp.sqrt(2) * mp.erfinv(2 * x - 1),
    "gammaln": lambda x: mp.log(abs(mp.gamma(x))),
    "gamma": mp.gamma,
    "digamma": mp.digamma,
    "entr": lambda x: -x * mp.log(x),
    "i0": lambda x: mp.besseli(0, x),
    "i1": lambda x: mp.besseli(1, x),
    "i0e": lambda x: mp.besseli(0, x) * mp.exp(-abs(x)),
    "i1e": lambda x: mp.besseli(1, x) * mp.exp(-abs(x)),
    "j0": lambda x: mp.besselj(0, x),
    "j1": lambda x: mp.besselj(1, x),
    "y0": lambda x: mp.bessely(0, x),
    "y1": lambda x: mp.bessely(1, x),
    "k0": lambda x: mp.besselk(0, x),
    "k1": lambda x: mp.besselk(1, x),
    "k0e": lambda x: mp.besselk(0, x) * mp.exp(x),
    "k1e": lambda x: mp.besselk(1, x) * mp.exp(x),
    "airy_ai": mp.airyai,
    "spherical_j0": mp.sinc,
    "sinc": mp.sincpi,
    "exprel": lambda x: mp.expm1(x) / x,
    "exp10": lambda x: mp.power(10, x),
    "cosm1": lambda x: mp.cos(x) - 1,
    "trunc": lambda x: mp.floor(x) if x > 0 else mp.ceil(x),
    "deg2rad": mp.radians,
    "rad2deg": mp.degrees,
}
OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "xlogy": lambda x, y: x * mp.log(y),
    "xlog1py": lambda x, y: x * mp.log1p(y),
    "rel_entr": lambda x, y: x * mp.log(x / y),
    "kl_div": lambda x, y: x * mp.log(x / y) - x + y,
    "arctan2": mp.atan2,
    "copysign": lambda x, y: abs(x) * mp.sign(y),
    "gammainc": lambda a, x: mp.gammainc(a, 0, x, regularized=True),
    "gammaincc": lambda a, x: mp.gammainc(a, x, regularized=True),
    "boxcox": lambda x, p: (mp.power(x, p) - 1) / p,
    "boxcox1p": lambda x, p: (mp.power(1 + x, p) - 1) / p,
    "inv_boxcox": lambda y, p: mp.power(y * p + 1, 1 / p),
    "inv_boxcox1p": lambda y, p: mp.power(y * p + 1, 1 / p) - 1,
    "pseudo_huber": lambda d, r: d**2 * (mp.sqrt(1 + (r / d) ** 2) - 1),
    "huber": lambda d, r: r * r / 2 if abs(r) <= d else d * (abs(r) - d / 2),
    "betaln": lambda a, b: mp.log(mp.beta(a, b)),
    "beta": mp.beta,
    "binom": mp.binomial,
}


def of_mpmath(function: Callable[..., Any], *numbers: float) -> float | None:
    """Return mpmath's value with 60 digits, rounded; None where it has none that is real and finite."""
    with mp.workdps(60):
        try:
            value = function(*map(mp.mpf, numbers))
            return None if mp.im(value) or not mp.isfinite(value) else float(value)
        except (ValueError, ZeroDivisionError, mpmath.libmp.ComplexResult):
            return None


def exactly(name: str, *numbers: float) -> float:
    with flint.ctx.workprec(256):
        return float(nearest(np.asarray([SPECIAL[name](*(cells_of(np.array([n]))[0] for n in numbers))]))[0])


@pytest.mark.parametrize("name", OF_ONE)
def test_a_function_of_one_number_agrees_with_mpmath(name: str) -> None:
    tried = {x: of_mpmath(OF_ONE[name], x) for x in POINTS}
    known = {x: value for x, value in tried.items() if value is not None}
    assert len(known) >= 2
    assert {x: exactly(name, x) for x in known} == known


@pytest.mark.parametrize("name", OF_TWO)
def test_a_function_of_two_numbers_agrees_with_mpmath(name: str) -> None:
    pairs = [(a, b) for a in (0.25, 1.5, 3.0) for b in (0.5, 2.25, 7.0)]
    assert {p: exactly(name, *p) for p in pairs} == {p: of_mpmath(OF_TWO[name], *p) for p in pairs}


@pytest.mark.parametrize("s", [1.5, 2.0, 7.0])
def test_a_zeta_function_agrees_with_mpmath(s: float) -> None:
    values = {q: of_mpmath(mp.zeta, s, q) for q in (0.5, 1.0, 7.25)}
    assert {q: exactly("zeta", s, q) for q in values} == values


EDGES = (0.0, 1.0, -1.0, 3.5, -6.0, 0.1, 0.3, 1e300, -7e22, 5e-324, math.inf, -math.inf, math.nan)


@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide"])
def test_at_every_edge_what_division_leaves_is_as_in_numpy(name: str) -> None:
    pairs = list(itertools.product(EDGES, EDGES))
    with np.errstate(all="ignore"):
        specials = {p: float(getattr(np, name)(*p)) for p in pairs if not np.isfinite(p).all() or p[1] == 0}
    np.testing.assert_array_equal([exactly(name, *p) for p in specials], list(specials.values()))


def test_what_division_leaves_is_that_of_exact_fractions() -> None:
    finite = [e for e in EDGES if math.isfinite(e)]
    for a, b in itertools.product(finite, finite):
        if b == 0:
            continue
        x, y = Fraction(a), Fraction(b)
        down, cut = x // y, math.trunc(x / y)
        assert exactly("remainder", a, b) == float(x - down * y)
        assert exactly("fmod", a, b) == float(x - cut * y)
        with contextlib.suppress(OverflowError):  # beyond float64 a cell is a number all the same
            assert exactly("floor_divide", a, b) == float(down)
            assert exactly("trunc_divide", a, b) == float(cut)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_a_polygamma_function_agrees_with_mpmath(order: int) -> None:
    values = {x: of_mpmath(lambda n, x: mp.psi(int(n), x), order, x) for x in (0.5, 1.0, 7.25)}
    assert {x: exactly("polygamma", order, x) for x in values} == values


@pytest.mark.parametrize(
    ("name", "numbers", "value"),
    [
        ("erf", (math.inf,), 1.0),
        ("erfc", (-math.inf,), 2.0),
        ("expit", (-math.inf,), 0.0),
        ("logit", (1.0,), math.inf),
        ("erfinv", (-1.0,), -math.inf),
        ("erfcinv", (0.0,), math.inf),
        ("gammaln", (-3.0,), math.inf),
        ("entr", (0.0,), 0.0),
        ("entr", (-1.0,), -math.inf),
        ("xlogy", (0.0, 0.0), 0.0),
        ("rel_entr", (0.0, 0.0), 0.0),
        ("rel_entr", (1.0, 0.0), math.inf),
        ("log_ndtr", (-math.inf,), -math.inf),
        ("exprel", (0.0,), 1.0),
        ("boxcox", (2.0, 0.0), math.log(2.0)),
    ],
)
def test_at_the_ends_a_function_has_its_limit(name: str, numbers: tuple[float, ...], value: float) -> None:
    assert exactly(name, *numbers) == value


def test_outside_of_its_range_a_function_has_no_value() -> None:
    assert SPECIAL["logit"](cells_of(np.array([2.0])))[0] is NO_VALUE
    assert SPECIAL["digamma"](cells_of(np.array([-2.0])))[0] is NO_VALUE


def test_the_sign_of_a_zero_is_not_guessed() -> None:
    zero, below = cells_of(np.array([0.0])), cells_of(np.array([-1.0]))
    assert SPECIAL["arctan2"](zero, below)[0] is UNDECIDED


CONDITIONED: dict[str, tuple[Callable[[Any], Any], float]] = {
    "erfc": (mp.erfc, 3.0),
    "lgamma": (mp.loggamma, 2.25),
    "digamma": (mp.digamma, 1.25),
    "logit": (lambda p: mp.log(p / (1 - p)), 0.75),
    "tan": (mp.tan, 1.5),
    "sinh": (mp.sinh, 4.0),
    "cosh": (mp.cosh, 4.0),
}


@pytest.mark.parametrize("name", CONDITIONED)
def test_a_condition_number_is_that_of_the_derivative(name: str) -> None:
    function, x = CONDITIONED[name]
    right = abs(x * mp.diff(function, x) / function(mp.mpf(x)))
    assert condition_of(name, [cells_of(np.array([x]))[0]]) == pytest.approx(float(right), rel=1e-9)
