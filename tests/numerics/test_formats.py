"""Number formats: constants, the thresholds of exp, rounding."""

from __future__ import annotations

import itertools
import math
import sys
from fractions import Fraction
from typing import TYPE_CHECKING

import flint
import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stablemax.numerics.emulated import Emulated
from stablemax.numerics.format_names import ALIASES, ORDINARY
from stablemax.numerics.formats import (
    BFLOAT16,
    FLOAT4_E2M1FN,
    FLOAT8_E4M3FN,
    FLOAT8_E5M2,
    FLOAT16,
    FORMATS,
    Format,
    format_of,
    get_format,
)
from stablemax.text.errors import StablemaxError

from ..exactly import EVERY_FORMAT, beyond_of, exponent_of, nearest_number, ulp_of

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array

ALL = pytest.mark.parametrize("fmt", EVERY_FORMAT.values(), ids=EVERY_FORMAT)
# A name, u, where exp overflows and gives 0, as printed in the hazard table.
TABLE = [
    ("float8_e4m3fn", 2**-4, "6.10", "-6.93"),
    ("float8_e5m2", 2**-3, "10.96", "-11.78"),
    ("float16", 2**-11, "11.09", "-17.33"),
    ("bfloat16", 2**-8, "88.719", "-92.88"),
    ("float32", 2**-24, "88.723", "-103.97"),
    ("float64", 2**-53, "709.78", "-745.13"),
]


def magnitudes(fmt: Format) -> st.SearchStrategy[float]:
    """Float64 numbers around everything that happens in a format: ties, subnormals, both ends."""
    tie = st.builds(
        lambda n, e, nudge: math.ldexp(n + 0.5, e) * (1 + nudge * 2.0**-52),
        st.integers(0, 2**fmt.precision),
        st.integers(fmt.emin - fmt.precision, fmt.emax - fmt.precision + 1),
        st.integers(-2, 2),
    )
    top = st.floats(fmt.max / 2, min(fmt.max * 1.5, np.finfo(float).max))
    bottom = st.floats(0, fmt.smallest_normal * 2)
    return st.one_of(tie, top, bottom, st.floats(0, allow_infinity=False))


@pytest.mark.parametrize("fmt", [f for f in FORMATS.values() if not f.is_emulated], ids=lambda f: f.name)
def test_every_derived_constant_is_that_of_ml_dtypes(fmt: Format) -> None:
    info = ml_dtypes.finfo(fmt.dtype)  # type: ignore[no-untyped-call]
    assert fmt.max == float(info.max)
    assert fmt.smallest_normal == float(info.smallest_normal)
    assert fmt.smallest_subnormal == float(info.smallest_subnormal)
    assert fmt.u == float(info.eps) / 2
    assert fmt.precision == info.nmant + 1
    assert fmt.bits == info.bits


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_the_ieee_formats_agree_with_numpy(name: str) -> None:
    fmt, info = FORMATS[name], np.finfo(name)
    assert (fmt.max, fmt.smallest_normal, fmt.smallest_subnormal, 2 * fmt.u) == (
        float(info.max),
        float(info.smallest_normal),
        float(info.smallest_subnormal),
        float(info.eps),
    )
    assert (fmt.emin, fmt.emax + 1) == (info.minexp, info.maxexp)


@pytest.mark.parametrize(("name", "u", "overflow", "zero"), TABLE)
def test_exp_leaves_each_format_where_the_hazard_table_says(name: str, u: float, overflow: str, zero: str) -> None:
    fmt = FORMATS[name]
    digits = len(overflow.partition(".")[2])
    assert fmt.u == u
    assert f"{fmt.exp_overflow.real:.{digits}f}" == overflow
    assert f"{fmt.exp_underflow.real:.2f}" == zero


@ALL
def test_the_thresholds_are_adjacent_numbers_of_the_format(fmt: Format) -> None:
    for threshold in (fmt.exp_overflow, fmt.exp_underflow):
        if math.isinf(threshold.first_bad):
            assert abs(threshold.real) > fmt.max == abs(threshold.last_good), "no logit of the format is so large"
            continue
        good, bad = Fraction(threshold.last_good), Fraction(threshold.first_bad)
        assert nearest_number(good, fmt) == threshold.last_good
        assert nearest_number(bad, fmt) == threshold.first_bad
        between = (good + bad) / 2
        assert nearest_number(between, fmt) in (threshold.last_good, threshold.first_bad)
        assert abs(bad) > abs(good), "the bad one lies further out"
        assert abs(bad - good) in (ulp_of(good, fmt), ulp_of(bad, fmt))


@ALL
def test_exp_of_the_last_good_logit_is_finite_and_of_the_first_bad_one_overflows(fmt: Format) -> None:
    # Beyond max + ulp / 2 everything rounds away (for e4m3fn: to NaN).
    with flint.ctx.workprec(300):
        edge = flint.arb(fmt.max) + flint.arb(2) ** (fmt.emax - fmt.precision)
        assert flint.arb(fmt.exp_overflow.last_good).exp() < edge
        assert flint.arb(fmt.exp_overflow.first_bad).exp() > edge
        assert flint.arb(fmt.exp_overflow.real).exp() < edge
        assert abs(flint.arb(fmt.exp_overflow.real).exp() / flint.arb(fmt.max) - 1) < 2.0**-40


@ALL
def test_exp_of_the_last_good_logit_is_not_zero_and_of_the_first_bad_one_is(fmt: Format) -> None:
    with flint.ctx.workprec(300):
        edge = flint.arb(fmt.smallest_subnormal) - flint.arb(2) ** (fmt.emin - fmt.precision)
        assert flint.arb(fmt.exp_underflow.last_good).exp() > edge
        assert flint.arb(fmt.exp_underflow.first_bad).exp() < edge


@pytest.mark.slow
@ALL
@settings(max_examples=100)
@given(data=st.data())
def test_rounding_is_to_nearest_with_ties_to_even(fmt: Format, data: st.DataObject) -> None:
    value = data.draw(magnitudes(fmt)) * data.draw(st.sampled_from([1.0, -1.0]))
    got, expected = float(fmt.round(value)), nearest_number(Fraction(value), fmt)
    assert got == expected or (math.isnan(got) and math.isnan(expected))
    if got == 0:
        assert math.copysign(1.0, got) == math.copysign(1.0, value), "a zero keeps its sign"


def between(low: float, high: float) -> list[float]:
    """The middle of two neighbouring numbers, and the float64 numbers on both sides of it."""
    middle = (low + high) / 2
    return [math.nextafter(middle, -math.inf), middle, math.nextafter(middle, math.inf)]


@pytest.mark.parametrize("fmt", [f for f in FORMATS.values() if f.bits <= 16], ids=lambda f: f.name)
def test_every_number_of_a_small_format_is_what_all_between_its_middles_round_to(fmt: Format) -> None:
    patterns = np.arange(2 ** (fmt.bits - 1)).astype(f"u{fmt.dtype.itemsize}").view(fmt.dtype)
    with np.errstate(invalid="ignore"):  # a signalling NaN
        held = patterns.astype(np.float64)
    held = held[np.isfinite(held)]
    assert held[-1] == fmt.max
    # Beyond the largest there would be one more, and the middle between is where overflow begins.
    beyond = 2 * held[-1] - held[-2]
    middles = np.array([between(low, high) for low, high in itertools.pairwise([*held, beyond])])
    above = np.append(held[1:], beyond_of(fmt))
    # Patterns count upwards, so that the even ones have an even significand.
    even = np.where(np.arange(len(held)) % 2 == 0, held, above)
    for sign in (1.0, -1.0):
        right = sign * np.stack([held, even, above], axis=1)
        for values, wanted in ((middles, right), (held, sign * held), (np.array([math.inf]), sign * above[-1:])):
            got = fmt.round(sign * values)
            np.testing.assert_array_equal(got, wanted)
            assert np.array_equal(np.signbit(got), np.signbit(wanted) | np.isnan(wanted) & np.signbit(got))
            if not np.isnan(wanted).any():
                assert fmt.cast(sign * values).astype(np.float64).tobytes() == got.tobytes()


@ALL
@example(np.array([math.nan, math.inf, -math.inf, -0.0, 5e-324, -sys.float_info.max]))
@given(arrays(np.float64, st.integers(0, 20), elements=st.floats()))
def test_numbers_are_rounded_alike_alone_and_among_others(fmt: Format, values: Array) -> None:
    together = fmt.round(values)
    assert together.shape == values.shape
    for value, got in zip(values.tolist(), together.tolist(), strict=True):
        alone = float(fmt.round(value))
        unbounded = 0.0 if math.isnan(value) and fmt.saturates else math.copysign(beyond_of(fmt), value)
        wanted = nearest_number(Fraction(value), fmt) if math.isfinite(value) else unbounded
        wanted = math.nan if math.isnan(value) and not fmt.saturates else wanted
        for one in (got, alone):
            assert one == wanted or (math.isnan(one) and math.isnan(wanted))
            assert math.isnan(value) or math.isnan(one) or math.copysign(1.0, one) == math.copysign(1.0, value)


@pytest.mark.slow
@ALL
@settings(max_examples=100)
@given(data=st.data())
def test_a_cast_from_float64_rounds_once(fmt: Format, data: st.DataObject) -> None:
    value = data.draw(magnitudes(fmt))
    held = fmt.cast(np.array([value, -value]))
    expected = nearest_number(Fraction(value), fmt)
    assert held.dtype == fmt.dtype
    np.testing.assert_array_equal(held.astype(np.float64), [expected, -expected])
    assert isinstance(held, Emulated) == fmt.is_emulated


def test_numpy_casts_float64_to_float16_without_a_stop_at_float32() -> None:
    # 1 + 2**-11 is a tie in float16; the 2**-40 above it is gone in float32.
    value = 1 + 2**-11 + 2**-40
    assert np.float64(value).astype(np.float16) == 1 + 2**-10
    assert np.float64(value).astype(np.float32).astype(np.float16) == 1
    assert FLOAT16.cast(value) == 1 + 2**-10


def test_bfloat16_is_not_rounded_through_float32() -> None:
    value = 1 + 2**-8 + 2**-40
    assert float(BFLOAT16.cast(value)) == 1 + 2**-7
    assert float(np.float32(value).astype(BFLOAT16.dtype)) == 1, "through float32 the tie falls the other way"


def test_float8_e4m3fn_answers_overflow_with_nan_and_the_others_with_inf() -> None:
    assert math.isnan(float(FLOAT8_E4M3FN.round(465.0)))
    assert float(FLOAT8_E4M3FN.round(464.0)) == 448, "the tie belongs to the even neighbour, which is finite"
    assert math.isnan(float(FLOAT8_E4M3FN.round(-math.inf)))
    assert float(FLOAT8_E5M2.round(61440.0)) == math.inf
    assert float(FLOAT16.round(65519.99)) == 65504
    assert float(FLOAT16.round(65520.0)) == math.inf


@ALL
def test_rounding_keeps_nan_and_every_number_of_the_format(fmt: Format) -> None:
    if not fmt.saturates:
        assert math.isnan(float(fmt.round(math.nan)))
    for value in (0.0, fmt.max, -fmt.max, fmt.smallest_normal, fmt.smallest_subnormal, 1 + 2 * fmt.u):
        assert float(fmt.round(value)) == value


@ALL
@given(data=st.data())
def test_the_spacing_is_that_of_the_binade_or_of_the_subnormals(fmt: Format, data: st.DataObject) -> None:
    value = nearest_number(Fraction(data.draw(st.floats(-fmt.max, fmt.max))), fmt)
    assert Fraction(float(fmt.ulp(value))) == ulp_of(Fraction(value), fmt)
    if value:
        assert int(fmt.ulp_exponent(value)) == max(exponent_of(Fraction(value)), fmt.emin) - fmt.precision + 1


def test_integers_are_computed_in_float64_and_booleans_and_text_not_at_all() -> None:
    assert format_of(np.dtype("uint8")).name == "float64"
    assert format_of(np.dtype(">f2")).name == "float16"
    for dtype in ("bool", "U3", "complex64", "object"):
        with pytest.raises(StablemaxError):
            format_of(np.dtype(dtype))


def test_an_unknown_format_is_answered_with_the_known_ones() -> None:
    with pytest.raises(StablemaxError, match="fp17") as caught:
        get_format("fp17")
    assert all(name in caught.value.hint for name in FORMATS)


@ALL
def test_what_a_format_lacks_is_what_it_cannot_give_back(fmt: Format) -> None:
    half_ulp = 2.0 ** (fmt.emax - fmt.precision)
    assert not fmt.lacks([0.0, 1.0, -fmt.max, fmt.max, fmt.max + half_ulp * (1 - 2.0**-20)]).any()
    if fmt.name != "float64":
        assert fmt.lacks([fmt.max + half_ulp * (1 + 2.0**-20), -2.0 * fmt.max]).all()
    assert fmt.lacks([math.inf, -math.inf]).all() != fmt.has_inf
    assert bool(fmt.lacks(math.nan)) == fmt.saturates


def test_float4_saturates_and_has_no_nan_as_in_ml_dtypes() -> None:
    assert FLOAT4_E2M1FN.saturates
    assert FLOAT4_E2M1FN.round([7.0, 1e300, -math.inf, math.nan]).tolist() == [6.0, 6.0, -6.0, 0.0]
    assert [f.name for f in FORMATS.values() if f.saturates] == ["float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn"]


@pytest.mark.parametrize("alias", ALIASES)
def test_every_alias_is_a_format(alias: str) -> None:
    assert get_format(alias) is FORMATS[ALIASES[alias]]
    assert get_format(alias.upper()) is FORMATS[ALIASES[alias]]


def test_the_ordinary_names_are_formats_narrow_ones_first() -> None:
    widths = [FORMATS[name].bits for name in ORDINARY]
    assert widths == sorted(widths)
