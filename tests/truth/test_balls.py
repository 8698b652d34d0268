"""The truth: correctly rounded, whatever precision that takes."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stablemax.numerics.formats import BFLOAT16, FLOAT8_E4M3FN, FLOAT16, FLOAT32, FLOAT64, FORMATS
from stablemax.truth.balls import Balls, truth

from ..exactly import EVERY_FORMAT, beyond_of, nearest_number, ulp_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.numerics.formats import Array, Format
    from stablemax.truth.balls import Truth

ALL = pytest.mark.parametrize("fmt", EVERY_FORMAT.values(), ids=EVERY_FORMAT)
GRADUAL = pytest.mark.parametrize("fmt", [f for f in EVERY_FORMAT.values() if f.has_subnormals], ids=lambda f: f.name)


def of(value: Callable[[], Any], fmt: Format) -> Truth:
    """The truth about one number, given as a function that is called at each precision."""
    return truth(lambda xp: np.array([value()], dtype=object), fmt)


def of_fraction(value: Fraction, fmt: Format) -> Truth:
    return of(lambda: flint.arb(flint.fmpq(value.numerator, value.denominator)), fmt)


def rationals(fmt: Format) -> st.SearchStrategy[Fraction]:
    """Fractions in and around the range of a format, among them ties and what lies next to them."""
    low, high = fmt.emin - fmt.precision - 2, fmt.emax + 2
    plain = st.builds(Fraction, st.integers(-(10**6), 10**6), st.integers(1, 10**6))
    tie = st.builds(
        lambda n, e, nudge, sign: sign * (2 * n + 1 + nudge * Fraction(1, 2**200)) * Fraction(2) ** e / 2,
        st.integers(0, 2**fmt.precision),
        st.integers(low, high - fmt.precision),
        st.integers(-1, 1),
        st.sampled_from([-1, 1]),
    )
    scaled = st.builds(lambda q, e: q * Fraction(2) ** e, plain, st.integers(low, high))
    return st.one_of(plain, tie, scaled)


@pytest.mark.slow
@ALL
@settings(max_examples=100)
@given(data=st.data())
def test_the_truth_is_the_correctly_rounded_value(fmt: Format, data: st.DataObject) -> None:
    value = data.draw(rationals(fmt))
    got, expected = float(of_fraction(value, fmt).rounded[0]), nearest_number(value, fmt)
    assert got == expected or (math.isnan(got) and math.isnan(expected))


@pytest.mark.slow
@GRADUAL
@settings(max_examples=60)
@given(data=st.data())
def test_the_correctly_rounded_value_is_off_by_half_an_ulp_at_most(fmt: Format, data: st.DataObject) -> None:
    value = data.draw(rationals(fmt))
    one = of_fraction(value, fmt)
    if np.isfinite(one.rounded[0]) and not fmt.lacks(float(value)):
        # Ulps are taken at the float64 nearest to the value, a hair from the value itself.
        assert float(one.error_ulp(one.rounded, fmt)[0]) <= 0.5 * (1 + 2**-50)


@pytest.mark.slow
@ALL
@settings(max_examples=60)
@given(data=st.data())
def test_the_error_of_any_output_is_its_exact_distance_in_ulps(fmt: Format, data: st.DataObject) -> None:
    value = data.draw(rationals(fmt).filter(lambda q: abs(q) < Fraction(fmt.max)))
    steps = data.draw(st.integers(-5, 5))
    one = of_fraction(value, fmt)
    output = float(nearest_number(value + steps * ulp_of(value, fmt), fmt))
    if not math.isfinite(output):
        return
    expected = abs(Fraction(output) - value) / ulp_of(Fraction(float(one.nearest[0])), fmt)
    got = Fraction(float(one.error_ulp(np.array([output]), fmt)[0]))
    # The tenth digit of an ulp is certain, whatever the magnitude.
    assert abs(got - expected) <= Fraction(1, 10**10)


@ALL
def test_the_neighbours_of_a_number_are_one_ulp_away(fmt: Format) -> None:
    for value in (1.5, 3.0, fmt.smallest_normal, 1.5 * fmt.smallest_normal, 0.75 * fmt.max):
        held = nearest_number(Fraction(value), fmt)
        one = of_fraction(Fraction(held), fmt)
        step = float(ulp_of(Fraction(held), fmt))
        assert float(one.error_ulp(np.array([held + step]), fmt)[0]) == 1
        assert float(one.error_ulp(np.array([held - step]), fmt)[0]) in (1.0, 0.5)
        assert float(one.error_ulp(np.array([held]), fmt)[0]) == 0


def test_the_error_of_infinity_and_nan_is_infinite_unless_the_truth_is_infinite() -> None:
    third = of_fraction(Fraction(1, 3), FLOAT32)
    for bad in (math.inf, -math.inf, math.nan):
        assert third.error_ulp(np.array([bad]), FLOAT32).tolist() == [math.inf]
    huge = of(lambda: flint.arb(800).exp(), FLOAT64)
    assert huge.nearest.tolist() == [math.inf]
    assert huge.rounded.tolist() == [math.inf]
    assert huge.error_ulp(np.array([math.inf]), FLOAT64).tolist() == [0]
    assert huge.error_ulp(np.array([-math.inf]), FLOAT64).tolist() == [math.inf]


# --- values known from elsewhere ----------------------------------------------------------------


def test_log_2_is_the_number_everybody_knows() -> None:
    assert of(lambda: flint.arb(2).log(), FLOAT64).rounded[0] == math.log(2)
    assert of(lambda: flint.arb(2).log(), FLOAT32).rounded[0] == 0.693147182464599609375
    assert of(lambda: flint.arb(2).log(), BFLOAT16).rounded[0] == 0.69140625
    # 0.69314718055994530941723... lies 2.3e-17 above the nearest float64.
    residual = of(lambda: flint.arb(2).log(), FLOAT64).residual_ulp[0]
    assert f"{residual:.4f}" == f"{2.3190468138462996e-17 / 2**-53:.4f}"


def test_a_third_is_rounded_in_every_format() -> None:
    thirds = {name: float(of_fraction(Fraction(1, 3), f).rounded[0]) for name, f in FORMATS.items()}
    assert thirds["float8_e4m3fn"] == 0.34375
    assert thirds["float8_e5m2"] == 0.3125
    assert thirds["float16"] == float(np.float16(1) / np.float16(3))
    assert thirds["float32"] == float(np.float32(1) / np.float32(3))
    assert thirds["float64"] == 1 / 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 / 1024, 0.0),
        (3 / 1024, 2 / 512),
        (5 / 1024, 2 / 512),
        (1.0625, 1.0),
        (1.1875, 1.25),
        (464.0, 448.0),
    ],
)
def test_exact_ties_in_float8_e4m3fn_go_to_the_even_neighbour(value: float, expected: float) -> None:
    for sign in (1, -1):
        one = of_fraction(sign * Fraction(value), FLOAT8_E4M3FN)
        assert one.rounded[0] == sign * expected
        assert float(one.error_ulp(one.rounded, FLOAT8_E4M3FN)[0]) == 0.5


@GRADUAL
def test_ties_among_the_subnormals_go_to_the_even_neighbour(fmt: Format) -> None:
    smallest = Fraction(fmt.smallest_subnormal)
    for half_steps, expected in ((1, 0), (3, 2), (5, 2), (7, 4)):
        assert Fraction(float(of_fraction(half_steps * smallest / 2, fmt).rounded[0])) == expected * smallest


@GRADUAL
def test_a_hair_beside_a_tie_is_no_tie(fmt: Format) -> None:
    smallest, hair = Fraction(fmt.smallest_subnormal), Fraction(1, 2**2000)
    assert of_fraction(smallest / 2 + hair, fmt).rounded[0] == float(smallest)
    assert of_fraction(smallest / 2 - hair, fmt).rounded[0] == 0


def test_a_hair_of_a_tail_class_decides_a_tie_in_float16() -> None:
    # log_softmax of [1, -2048] in float16: -2049 is a tie, and the truth lies e**-2049 beyond it.
    got = truth(lambda xp: -(xp.number(2049.0) + xp.log(xp.exp(xp.array([-2049.0])) + xp.number(1.0))), FLOAT16)
    assert got.rounded.tolist() == [-2050.0]


@ALL
def test_numbers_beyond_the_format_round_to_its_maximum_until_half_an_ulp_above(fmt: Format) -> None:
    top = Fraction(fmt.max)
    half = Fraction(2) ** (fmt.emax - fmt.precision)
    hair = Fraction(1, 2**300)
    beyond = beyond_of(fmt)
    for sign in (1, -1):
        assert of_fraction(sign * (top + half - hair), fmt).rounded[0] == sign * fmt.max
        np.testing.assert_array_equal(of_fraction(sign * (top + half + hair), fmt).rounded, [sign * beyond])


def test_what_is_too_small_keeps_its_sign() -> None:
    tiny = of(lambda: -flint.arb(-2000).exp(), FLOAT64).rounded
    assert tiny[0] == 0
    assert np.signbit(tiny[0])


def test_a_value_of_zero_is_zero() -> None:
    zero = of_fraction(Fraction(0), FLOAT32)
    assert (zero.nearest[0], zero.residual_ulp[0], zero.rounded[0]) == (0, 0, 0)


def test_cells_keep_their_places_and_their_shape() -> None:
    values = np.arange(1.0, 7.0).reshape(2, 3)
    got = truth(lambda xp: xp.array(values) / xp.array(np.array([3.0])), FLOAT32)
    np.testing.assert_array_equal(got.rounded, (values / 3).astype(np.float32).astype(np.float64))
    assert got.nearest.shape == got.residual_ulp.shape == (2, 3)


# --- precision ----------------------------------------------------------------------------------


def precisions_taken(compute: Callable[[Balls], Array], fmt: Format) -> tuple[Truth, list[int]]:
    seen: list[int] = []

    def watched(xp: Balls) -> Array:
        seen.append(flint.ctx.prec)
        return compute(xp)

    return truth(watched, fmt), seen


def test_an_easy_cell_takes_one_run_and_the_precision_is_put_back() -> None:
    before = flint.ctx.prec
    _, seen = precisions_taken(lambda xp: xp.exp(xp.array([1.0])), FLOAT64)
    assert seen == [128]
    assert flint.ctx.prec == before


def test_the_precision_is_raised_for_a_log_probability_next_to_zero() -> None:
    # log_softmax of [0, -400], first entry: -log(1 + e**-400), invisible below 577 bits.
    got, seen = precisions_taken(lambda xp: -xp.log(xp.exp(xp.array([-400.0])) + xp.number(1.0)), FLOAT64)
    assert seen == [128, 512, 2048]
    with flint.ctx.workprec(300):
        expected = float((-((-flint.arb(400)).exp().log1p())).mid())
    assert got.rounded[0] == expected < 0


def test_the_precision_is_raised_next_to_a_tie_and_the_right_neighbour_chosen() -> None:
    for fmt in (FLOAT8_E4M3FN, FLOAT16, FLOAT32, FLOAT64):
        tie = 1 + Fraction(fmt.u)
        tiny = Fraction(1, 2**300)
        for nudge, expected in ((tiny, 1 + 2 * fmt.u), (-tiny, 1.0), (Fraction(0), 1.0)):
            value = tie + nudge

            def compute(xp: Balls, value: Fraction = value) -> Array:
                return np.array([flint.arb(flint.fmpq(value.numerator, value.denominator))], dtype=object)

            got, seen = precisions_taken(compute, fmt)
            assert got.rounded[0] == expected, (fmt.name, nudge)
            assert seen == ([128, 512] if nudge else [128])


def test_only_undecided_cells_are_run_again_and_the_others_keep_their_value() -> None:
    rows = np.array([[0.0, -1.0], [0.0, -400.0]])

    def log_softmax(xp: Balls) -> Array:
        x = xp.array(rows)
        return x - xp.log(xp.sum(xp.exp(x)))

    together = truth(log_softmax, FLOAT64)
    apart = truth(lambda xp: log_softmax(xp)[:1], FLOAT64)
    np.testing.assert_array_equal(together.rounded[:1], apart.rounded)
    np.testing.assert_array_equal(together.nearest[:1], apart.nearest)


def test_a_cell_that_no_precision_decides_is_an_error_and_not_a_guess() -> None:
    def straddles_a_tie(xp: Balls) -> Array:
        ball = flint.arb(mid=1 + 2**-24, rad=2**-40)
        return np.array([ball], dtype=object)

    with pytest.raises(ArithmeticError, match="1 cells undecided"):
        truth(straddles_a_tie, FLOAT32)


# --- the arithmetic of balls --------------------------------------------------------------------


@ALL
def test_every_number_of_a_format_enters_the_balls_exactly(fmt: Format) -> None:
    values = fmt.cast(np.array([fmt.max, fmt.smallest_subnormal, -1.5, 0.0]))
    balls = Balls().array(values)
    assert [float(b.mid()) for b in balls] == values.astype(np.float64).tolist()
    assert all(b.is_exact() for b in balls)


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=6))
def test_balls_enclose_the_sums_and_maxima_of_fractions(values: list[float]) -> None:
    xp, exact_sum = Balls(), sum((Fraction(v) for v in values), Fraction(0))
    x = xp.array(np.array([values]))
    for total in (xp.sum(x)[0, 0], xp.compensated_sum(x)[0, 0]):
        with flint.ctx.workprec(5000):  # doubles in this range need at most 1100 bits
            assert total.contains(flint.arb(flint.fmpq(exact_sum.numerator, exact_sum.denominator)))
    assert float(xp.max(x)[0, 0]) == max(values)
    top = max(values)
    for value, e in zip(values, xp.shifted_exp(x)[0].tolist(), strict=True):
        assert e.overlaps((flint.arb(value) - flint.arb(top)).exp())


def test_balls_of_base_2_and_base_e_overlap() -> None:
    xp = Balls()
    x = xp.array(np.linspace(-3, 3, 7))
    assert all(a.overlaps(b) for a, b in zip(xp.exp(x), xp.exp2(x * xp.log2e), strict=True))
    assert all(a.overlaps(b) for a, b in zip(x, xp.log1p(xp.exp(x) - 1), strict=True))
