"""Arrays of double-double numbers: what is computed encloses what exact arithmetic gives."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stablemax.truth import elementary
from stablemax.truth.enclosing import Enclosures
from stablemax.truth.enclosure import Enclosure, UndecidedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.numerics.formats import Array

UNIT = Fraction(1, 2**1074)
BITS = 6000
"""Of every sum and product of two double-double numbers, whatever their sizes."""


@dataclass(frozen=True)
class Number:
    """One cell of an enclosure and a number in it."""

    high: float
    low: float
    radius: float
    value: Fraction
    negligible: bool = False


def enclosed(numbers: list[Number]) -> Enclosure:
    """An array of them; parts that are all 0 are left out, as the operations leave them out."""
    high, low, radius = (np.array([getattr(n, part) for n in numbers]) for part in ("high", "low", "radius"))
    negligible = any(n.negligible for n in numbers)
    return Enclosure(high, low if low.any() else None, radius if radius.any() else None, negligible=negligible)


def sizes() -> st.SearchStrategy[float]:
    """Numbers of every size, most of them ordinary."""
    anywhere = st.floats(allow_nan=False, allow_infinity=False)
    scaled = st.builds(math.ldexp, st.floats(-2, 2), st.integers(-1074, 1022))
    return st.one_of(st.floats(-30, 30), st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0]), anywhere, scaled)


@st.composite
def numbers(draw: st.DrawFn) -> Number:
    kind = draw(st.sampled_from(["float", "exact", "wide", "negligible"]))
    inside = Fraction(draw(st.integers(-999, 999)), 1000)
    if kind == "negligible":
        units, sign = draw(st.integers(1, 1000)), draw(st.integers(-1, 1))
        value = (sign + inside) * units * UNIT / 2**56
        return Number(float(sign * units * UNIT), 0.0, float(units * UNIT), value, negligible=True)
    high = draw(sizes())
    low = 0.0 if kind == "float" else high * 2.0**-54 * draw(st.floats(-1, 1))
    if high + low != high:
        low = 0.0
    width = draw(st.sampled_from([2.0**-104, 2.0**-80, 2.0**-30])) if kind == "wide" else 0.0
    # Radii as small as units mean something else.
    radius = abs(high) * width if abs(high) * width > 2.0**-1000 else 0.0
    return Number(high, low, radius, Fraction(high) + Fraction(low) + inside * Fraction(radius))


def neighbours(number: Number) -> st.SearchStrategy[Number]:
    """Numbers that all but cancel another."""

    def near(factor: float) -> Number:
        high = -number.high * factor
        high = high if math.isfinite(high) else -number.high
        return Number(high, 0.0, 0.0, Fraction(high))

    return st.sampled_from([1.0, 1.0 + 2.0**-52, 1.0 - 2.0**-53, 1.0 + 2.0**-20]).map(near)


def pairs() -> st.SearchStrategy[tuple[Number, Number]]:
    return st.one_of(
        st.tuples(numbers(), numbers()), numbers().flatmap(lambda n: neighbours(n).map(lambda other: (n, other)))
    )


def encloses(result: Enclosure, i: tuple[int, ...], value: Any) -> bool:
    """Tell whether a cell encloses a fraction, or a ball far smaller than the cell's radius."""
    high, low, radius = (float(part[i]) for part in (result.high, result.lows, result.radii))
    if not math.isfinite(radius):
        return True
    center = Fraction(high) + Fraction(low)
    if result.negligibles[i]:
        value *= 2**56
    if isinstance(value, Fraction):
        return value == center if radius == 0 else abs(value - center) < Fraction(radius)
    below, above = (
        flint.fmpq(end.numerator, end.denominator) for end in (center - Fraction(radius), center + Fraction(radius))
    )
    # Beside an end that is 0 even exp(-1e6) shows.
    with flint.ctx.workprec(BITS):
        return bool(value == flint.arb(below) if radius == 0 else flint.arb(below) < value < flint.arb(above))


def is_sharp(result: Enclosure) -> bool:
    """Tell whether a result is known to far more digits than float64 has."""
    return bool((result.radii <= 2.0**-95 * np.abs(result.high)).all())


OPERATORS = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv}


@pytest.mark.parametrize("name", OPERATORS)
@settings(max_examples=400)
@given(st.lists(pairs(), min_size=1, max_size=4))
def test_sums_products_and_quotients_are_enclosed(name: str, drawn: list[tuple[Number, Number]]) -> None:
    function = OPERATORS[name]
    result = function(*(enclosed(list(side)) for side in zip(*drawn, strict=True)))
    for i, (a, b) in enumerate(drawn):
        if name != "truediv" or b.value:
            assert encloses(result, (i,), function(a.value, b.value)), (a, b)


@pytest.mark.parametrize("name", OPERATORS)
@given(st.lists(st.tuples(*[st.floats(0.01, 100)] * 4), min_size=1, max_size=9))
def test_of_ordinary_numbers_they_are_known_to_95_bits(name: str, cells: list[tuple[float, ...]]) -> None:
    a, b, c, d = (Enclosure.of(np.array(column)) for column in zip(*cells, strict=True))
    assert is_sharp(OPERATORS[name](a * b, -c / d if name == "sub" else c / d))


@settings(max_examples=200)
@given(st.integers(1, 70).flatmap(lambda k: st.lists(numbers(), min_size=k, max_size=k)))
def test_sums_of_rows_are_enclosed(row: list[Number]) -> None:
    exact = sum((n.value for n in row), Fraction(0))
    whole = enclosed(row).reshape(1, -1)
    assert encloses(whole.sum(), (0, 0), exact)
    twice = enclosed(row + row).reshape(2, -1)
    assert all(encloses(twice.sum(), (i, 0), exact) for i in range(2))
    assert encloses(-whole.sum(), (0, 0), -exact)


@given(st.lists(numbers(), min_size=1, max_size=6))
def test_sizes_and_negatives_are_enclosed(drawn: list[Number]) -> None:
    for whole in (enclosed(drawn), enclosed([Number(n.high, 0.0, 0.0, Fraction(n.high)) for n in drawn])):
        values = [n.value if whole.low is not None or whole.radius is not None else Fraction(n.high) for n in drawn]
        for i, value in enumerate(values):
            assert encloses(-whole, (i,), -value)
            # What has an unknown sign may have either size.
            if abs(whole.high[i]) > whole.radii[i]:
                assert encloses(abs(whole), (i,), abs(value))


@given(st.lists(st.integers(-(2**45), 2**45), min_size=1, max_size=50), st.integers(-1074, 800))
def test_a_sum_that_rounds_nothing_has_no_radius(values: list[int], exponent: int) -> None:
    floats = [math.ldexp(float(v), exponent) for v in values]
    total = Enclosure(np.array([floats])).sum()
    assert total.is_plain
    assert Fraction(total.high.item()) == sum(map(Fraction, floats), Fraction(0))


COMPARISONS = (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)


@settings(max_examples=300)
@given(pairs())
def test_a_comparison_is_that_of_the_enclosed_numbers_or_is_refused(pair: tuple[Number, Number]) -> None:
    a, b = (enclosed([n]) for n in pair)
    for compare in COMPARISONS:
        try:
            assert bool(compare(a, b)[0]) == compare(pair[0].value, pair[1].value)
        except UndecidedError:
            assert not (a.is_plain and b.is_plain)


def test_numbers_that_overlap_are_not_ordered() -> None:
    third = Enclosure.of(1.0) / 3.0
    with pytest.raises(UndecidedError):
        _ = third * 3.0 >= 1.0
    assert third > 0.333


FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Fraction], bool]]] = {
    "exp": (lambda v: v.exp(), lambda v: True),
    "exp2": (lambda v: (v * flint.arb.const_log2()).exp(), lambda v: True),
    "expm1": (lambda v: v.expm1(), lambda v: True),
    "exp_remainder": (lambda v: v.expm1() - v, lambda v: True),
    "log": (lambda v: v.log(), lambda v: v > 0),
    "log1p": (lambda v: v.log1p(), lambda v: v > -1),
    "tanh": (lambda v: v.tanh(), lambda v: True),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=300)
@given(st.lists(numbers(), min_size=1, max_size=4))
def test_elementary_functions_are_enclosed(name: str, drawn: list[Number]) -> None:
    function, has_value = FUNCTIONS[name]
    result = getattr(Enclosures(), name)(enclosed(drawn))
    for i, n in enumerate(drawn):
        # Balls have no number for exp(1e300), and what is known of it is nothing.
        if has_value(n.value) and abs(n.value) < 2**40:
            with flint.ctx.workprec(BITS):
                value = function(flint.arb(flint.fmpq(n.value.numerator, n.value.denominator)))
            assert encloses(result, (i,), value), n
        elif has_value(n.value) and name in ("exp", "exp2") and n.value > 0:
            assert not np.isfinite(result.radii[i])


@pytest.mark.parametrize("name", ["exp", "exp2", "expm1", "log", "log1p", "tanh"])
@given(st.lists(st.floats(1e-300, 20), min_size=1, max_size=9))
def test_of_ordinary_numbers_elementary_functions_are_known_to_87_bits(name: str, values: list[float]) -> None:
    result = getattr(Enclosures(), name)(Enclosure.of(np.array(values)))
    # The logarithm of what is smaller is left to balls.
    assert np.isfinite(result.radii[np.array(values) > 2.0**-880]).all()
    normal = np.abs(result.high) > 2.0**-890
    assert (result.radii[normal] <= 2.0**-87 * np.abs(result.high[normal])).all()


def test_functions_of_0_are_exact() -> None:
    xp, zero = Enclosures(), Enclosure.of(np.zeros(3))
    result: Any
    for name, value in (("exp", 1.0), ("expm1", 0.0), ("log1p", 0.0)):
        result = getattr(xp, name)(zero)
        assert (result.high == value).all()
        assert not result.radii.any()


def test_what_is_negligible_keeps_its_sign_and_stays_so() -> None:
    xp = Enclosures()
    tiny: Any = xp.exp(xp.array(np.array([[-1e5, -791.0, -1e300]])))
    results: tuple[tuple[Any, int], ...] = (
        (tiny, 1),
        (-tiny, -1),
        (tiny.sum(), 1),
        (xp.log1p(tiny), 1),
        (-tiny * 0.25, -1),
        (tiny / 3, 1),
    )
    for result, sign in results:
        assert result.negligibles.all()
        assert (np.sign(result.high) == sign).all()
        assert (np.abs(result.high) == result.radii).all()
    # Beside a number it is an error without a size, and multiplied by 2**900 it is nothing certain.
    assert not (tiny + 1.0).negligibles.any()
    assert not (tiny * 2.0**200 * 2.0**200).negligibles.any()


def test_the_sum_of_no_numbers_is_exactly_0() -> None:
    for parts in (1, 3):
        total = Enclosure(*[np.zeros((4, 0))] * parts).sum()
        assert total.shape == (4, 1)
        assert total.is_plain
        assert not total.high.any()


def test_exactly_0_times_or_over_any_known_number_is_exactly_0() -> None:
    xp = Enclosures()
    known = xp.exp(xp.array(np.array([-1e5, -791.0, -700.0, -3.0, 0.0, 600.0])))
    zero = Enclosure.of(np.zeros(6))
    for result in (known * zero, zero * known, zero * zero, zero / Enclosure.of(np.exp(np.linspace(-600, 600, 6)))):
        assert not result.high.any()
        assert not result.lows.any()
        assert not result.radii.any()


# --- the bounds of elementary functions -----------------------------------------------------------


def _low(rng: np.random.Generator, high: Array) -> Array:
    return high * 2.0**-53 * rng.uniform(-0.49, 0.49, high.shape)


def _wide(rng: np.random.Generator, count: int, low: float, high: float) -> Array:
    return np.exp2(rng.uniform(low, high, count))


def _places(rng: np.random.Generator, count: int) -> dict[str, list[Array]]:
    """Arguments in the whole range, near 0, and where the formulas change."""
    edges = (rng.integers(-1000, 1000, count) + 0.5) * (math.log(2) / 256) * (1 + rng.uniform(-1e-13, 1e-13, count))
    signs = rng.choice([-1.0, 1.0], count)
    exponents = [
        rng.uniform(-620, 620, count),
        rng.uniform(-0.01, 0.01, count),
        edges,
        signs * _wide(rng, count, -890, 3),
    ]
    return {
        "exp": exponents,
        "expm1": exponents,
        "log": [_wide(rng, count, -890, 890), rng.uniform(0.3, 3, count)],
        "log1p": [
            _wide(rng, count, -890, 890),
            _wide(rng, count, -40, 4),
            -_wide(rng, count, -890, -0.001),
            rng.uniform(-0.3, 0.3, count),
        ],
    }


BOUNDS: dict[str, Callable[[Array], Array]] = {
    "exp": lambda size: size * elementary.EXP_ERROR,
    "expm1": lambda size: np.minimum(size * elementary.EXPM1_ERROR, (1 + size) * elementary.EXPM1_DISTANCE),
    "log": lambda size: elementary.LOG1P_DISTANCE + size * elementary.LOG_ERROR,
    "log1p": lambda size: np.minimum(size * elementary.LOG1P_ERROR, BOUNDS["log"](size)),
}


def worst_share(name: str, count: int) -> float:
    """Largest error of a function, as a share of what it is bounded by."""
    rng, worst = np.random.default_rng(20), 0.0
    for high in _places(rng, count)[name]:
        low = _low(rng, high)
        got, rest = getattr(elementary, name)(high, low)
        bounds = BOUNDS[name](np.abs(got)).tolist()
        with flint.ctx.workprec(400):
            for x, x_low, y, y_low, bound in zip(*(a.tolist() for a in (high, low, got, rest)), bounds, strict=True):
                exact = getattr(flint.arb(x) + x_low, name)()
                worst = max(worst, float((abs(exact - y - y_low) / bound).upper()))
    return worst


@pytest.mark.parametrize("name", BOUNDS)
def test_errors_of_elementary_functions_are_within_a_quarter_of_their_bounds(name: str) -> None:
    assert 2.0**-8 < worst_share(name, 1000) < 0.25


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDS)
def test_of_100_000_points_too(name: str) -> None:
    assert worst_share(name, 100_000 // len(_places(np.random.default_rng(0), 1)[name]) + 1) < 0.25


def test_the_powers_of_2_are_right_to_106_bits() -> None:
    high, low = elementary._constants().powers
    with flint.ctx.workprec(300):
        for j in range(256):
            power = (flint.arb.const_log2() * j / 256).exp()
            assert abs(power - float(high[j]) - float(low[j])) < 2.0**-106
    first, second, third = elementary._constants().steps
    with flint.ctx.workprec(300):
        assert abs(flint.arb.const_log2() / 256 - first - second - third) < 2.0**-129
    assert all(Fraction(step).numerator.bit_length() <= 34 for step in (first, second))


def test_a_guess_of_a_logarithm_that_is_bad_makes_it_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "log1p", lambda x: np.full_like(x, 0.125))
    assert np.isnan(Enclosures().elementary(np.exp, Enclosure.of(np.ones(2))).radii).sum() == 0
    assert np.isnan(elementary.log1p(np.array([0.2]), np.zeros(1))[0]).all()
