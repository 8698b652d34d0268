"""The arithmetic of one format: how sums are added, means, compensated sums, the shift by the maximum."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stablemax.numerics.arithmetic import Arithmetic, default_accumulation
from stablemax.numerics.coarse_grid import coarse_grid
from stablemax.numerics.formats import (
    BFLOAT16,
    FLOAT8_E4M3FN,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    FORMATS,
    get_format,
)
from stablemax.text.vocabulary import Accumulation

from ..exactly import EVERY_FORMAT, fractions_of, in_format, nearest_number, rows_of, sum_of, ulp_of, values_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.numerics.formats import (
        Array,
        Format,
    )

ALL = pytest.mark.parametrize("fmt", EVERY_FORMAT.values(), ids=EVERY_FORMAT)
POLICIES = pytest.mark.parametrize("policy", list(Accumulation))
OFFSETS = [0.0, 1.0, -1.0, 9.5, -80.0, 300.0, -1500.0, 1e4, -1e4, 1e8, 1e15, -1e18]
FULL = pytest.mark.parametrize("fmt", [FLOAT32, FLOAT64], ids=["float32", "float64"])


def layouts(x: Array) -> dict[str, Array]:
    """The same matrix, stored in four ways."""
    padded = np.zeros((x.shape[0], 2 * x.shape[1]), dtype=x.dtype)
    padded[:, ::2] = x
    return {
        "C": np.ascontiguousarray(x),
        "F": np.asfortranarray(x),
        "transposed": np.ascontiguousarray(x.T).T,
        "strided": padded[:, ::2],
    }


def total(x: Array, policy: Accumulation, fmt: Format) -> float:
    return float(Arithmetic(fmt, policy).sum(x)[0, 0])


# --- sums ---------------------------------------------------------------------------------------


def test_4096_ones_in_bfloat16_sum_to_256_one_by_one() -> None:
    ones = in_format(np.ones((1, 4096)), BFLOAT16)
    assert total(ones, Accumulation.SEQUENTIAL, BFLOAT16) == 256
    assert total(ones, Accumulation.PAIRWISE, BFLOAT16) == 4096
    assert float(Arithmetic(BFLOAT16).sum(ones)[0, 0]) == 4096


@POLICIES
def test_3000_ones_in_float16_sum_to_the_same_in_every_memory_layout(policy: Accumulation) -> None:
    stored = layouts(in_format(np.ones((3, 3000)), FLOAT16))
    sums = {name: Arithmetic(FLOAT16, policy).sum(x)[:, 0].tolist() for name, x in stored.items()}
    expected = 2048.0 if policy is Accumulation.SEQUENTIAL else 3000.0
    assert all(s == [expected] * 3 for s in sums.values()), sums


@ALL
@POLICIES
def test_a_sum_does_not_depend_on_the_memory_layout(fmt: Format, policy: Accumulation) -> None:
    x = in_format(np.random.default_rng(5).uniform(0.0, 2.0, (7, 333)), fmt)
    results = [Arithmetic(fmt, policy).sum(stored) for stored in layouts(x).values()]
    for result in results:
        assert result.dtype == fmt.dtype
        assert result.shape == (7, 1)
        np.testing.assert_array_equal(result.astype(float), results[0].astype(float))


def test_a_long_sequential_sum_in_float32_is_off_and_a_pairwise_one_is_not() -> None:
    # 2**25 terms of 1e-3 are 2.3 % off; an eighth of them already shows it.
    terms = in_format(np.full((1, 1 << 22), 1e-3), FLOAT32)
    truth = Fraction(float(terms[0, 0])) * (1 << 22)
    off = abs(Fraction(total(terms, Accumulation.SEQUENTIAL, FLOAT32)) / truth - 1)
    tree = abs(Fraction(total(terms, Accumulation.PAIRWISE, FLOAT32)) / truth - 1)
    wide = abs(Fraction(total(terms, Accumulation.FLOAT64, FLOAT32)) / truth - 1)
    assert off > 1000 * FLOAT32.u
    assert tree < 22 * FLOAT32.u
    assert wide <= FLOAT32.u


def test_the_default_is_what_an_ordinary_kernel_does() -> None:
    narrow = {name: default_accumulation(f).value for name, f in FORMATS.items()}
    assert {name for name, policy in narrow.items() if policy == "pairwise"} == {"float32", "float64"}
    assert set(narrow.values()) == {"float32", "pairwise"}
    assert default_accumulation(get_format("e10m10")) is Accumulation.PAIRWISE, "float32 would overflow before it"
    assert Arithmetic(FLOAT16).policy is Accumulation.FLOAT32
    assert Arithmetic(FLOAT16, Accumulation.SEQUENTIAL).policy is Accumulation.SEQUENTIAL


@pytest.mark.slow
@ALL
@POLICIES
@given(data=st.data())
def test_a_sum_of_non_negative_terms_is_within_the_bound_of_its_policy(
    fmt: Format, policy: Accumulation, data: st.DataObject
) -> None:
    limit = min(fmt.max, 2.0**120) / 64  # neither the format nor a float32 accumulator overflows
    x = in_format(data.draw(rows_of(fmt, least=0.0, limit=limit, max_classes=12)), fmt)
    k = x.shape[1]
    adder = {Accumulation.FLOAT32: FLOAT32, Accumulation.FLOAT64: FLOAT64}.get(policy, fmt)
    depth = k - 1 if policy is Accumulation.SEQUENTIAL else math.ceil(math.log2(k)) + 8
    for row, got in zip(x, Arithmetic(fmt, policy).sum(x)[:, 0].tolist(), strict=True):
        truth = sum_of(fractions_of(row))
        budget = 0 if k == 1 else Fraction(1.01) * depth * Fraction(adder.u) * truth
        if adder is not fmt:
            # What float32 cannot hold of float64 is lost before the sum.
            budget += Fraction(adder.u) * truth + k * Fraction(adder.smallest_subnormal) + ulp_of(truth, fmt) / 2
        assert abs(Fraction(got) - truth) <= budget


@ALL
def test_the_sum_of_everything_is_the_sum_of_all_rows(fmt: Format) -> None:
    x = in_format(np.ones((2, 2)) / 2, fmt)
    assert Arithmetic(fmt).sum(x, axis=None).astype(float).tolist() == [[2.0]]


@ALL
@POLICIES
def test_a_sum_of_rows_is_the_same_row_by_row(fmt: Format, policy: Accumulation) -> None:
    x = in_format(np.random.default_rng(6).uniform(0.0, 2.0, (9, 200)), fmt)
    xp = Arithmetic(fmt, policy)
    for function in (xp.sum, xp.compensated_sum, xp.max):
        whole = function(x).astype(float)
        parts = np.concatenate([function(x[i : i + 1]).astype(float) for i in range(9)])
        np.testing.assert_array_equal(whole, parts)


# --- means --------------------------------------------------------------------------------------


def test_the_mean_of_100_000_float16_losses_is_their_value() -> None:
    losses = in_format(np.full(100_000, 6.9), FLOAT16)
    assert float(np.add.reduce(losses.astype(np.float64))) > FLOAT16.max, "the sum does not fit"
    assert float(Arithmetic(FLOAT16).mean(losses)) == float(losses[0])


def test_the_mean_of_20_500_float16_rows_of_a_thousand_equal_logits_is_log_1000() -> None:
    losses = in_format(np.full(20_500, math.log(1000)), FLOAT16)
    assert float(Arithmetic(FLOAT16).mean(losses)) == float(losses[0])


def test_the_mean_of_three_losses_of_1e308_is_1e308() -> None:
    mean = float(Arithmetic(FLOAT64).mean(np.array([1e308, 1e308, 1e308])))
    assert abs(Fraction(mean) - Fraction(1e308)) <= 2 * ulp_of(Fraction(1e308), FLOAT64)


def can_add(fmt: Format, rows: int, policy: Accumulation) -> bool:
    """False where the adder cannot hold the terms, or a sequential sum stands still before it overflows."""
    if policy is Accumulation.FLOAT32 and (fmt.emax > FLOAT32.emax or fmt.precision > FLOAT32.precision):
        return False
    in_format = policy in (Accumulation.PAIRWISE, Accumulation.SEQUENTIAL)
    if in_format and fmt.max / rows / 4 < fmt.smallest_normal:
        return False
    return not (policy is Accumulation.SEQUENTIAL and rows > 1 / fmt.u / 8)


@pytest.mark.parametrize(
    ("fmt", "rows", "policy"),
    [
        pytest.param(fmt, rows, policy, id=f"{fmt.name}-{rows}-{policy}")
        for fmt in EVERY_FORMAT.values()
        for rows in (3, 1000)
        for policy in Accumulation
        if can_add(fmt, rows, policy)
    ],
)
def test_the_mean_of_rows_at_the_largest_number_does_not_overflow(fmt: Format, rows: int, policy: Accumulation) -> None:
    losses = in_format(np.full(rows, fmt.max), fmt)
    mean = float(Arithmetic(fmt, policy).mean(losses))
    adder = {Accumulation.FLOAT32: FLOAT32, Accumulation.FLOAT64: FLOAT64}.get(policy, fmt)
    depth = rows if policy is Accumulation.SEQUENTIAL else math.ceil(math.log2(rows)) + 8
    budget = (depth + 2) * Fraction(adder.u) * Fraction(fmt.max) + ulp_of(Fraction(fmt.max), fmt) / 2
    assert math.isfinite(mean)
    assert abs(Fraction(mean) - Fraction(fmt.max)) <= budget


@pytest.mark.parametrize("policy", [Accumulation.PAIRWISE, Accumulation.FLOAT32, Accumulation.FLOAT64])
@pytest.mark.parametrize(("name", "rows"), [("float16", 100_000), ("float8_e4m3fn", 500), ("float8_e5m2", 100_000)])
def test_a_mean_over_more_rows_than_the_format_can_count_is_right(name: str, rows: int, policy: Accumulation) -> None:
    fmt = FORMATS[name]
    losses = in_format(np.full(rows, 6.9), fmt)
    assert rows > fmt.max
    mean = Fraction(float(Arithmetic(fmt, policy).mean(losses)))
    truth = Fraction(float(losses[0]))
    assert abs(mean - truth) <= 20 * Fraction(fmt.u) * truth


@ALL
@given(data=st.data())
def test_the_default_mean_of_losses_is_right_to_a_few_roundings(fmt: Format, data: st.DataObject) -> None:
    losses = in_format(data.draw(st.lists(values_of(fmt, least=0.0), min_size=1, max_size=40)), fmt)
    truth = sum_of(fractions_of(losses)) / len(losses)
    mean = float(Arithmetic(fmt).mean(losses))
    adder = FLOAT32 if fmt.precision < FLOAT32.precision else fmt
    # At most 14 roundings of the sum (eight lanes, then a tree), scaling, dividing; then one to the format.
    budget = 17 * Fraction(adder.u) * truth + 41 * Fraction(adder.smallest_subnormal) + ulp_of(truth, fmt) / 2
    assert abs(Fraction(mean) - truth) <= budget


@ALL
def test_the_mean_of_an_infinite_loss_is_infinite_and_of_none_is_nan(fmt: Format) -> None:
    with np.errstate(invalid="ignore"):
        if fmt.has_inf:
            assert float(Arithmetic(fmt).mean(in_format([1.0, math.inf], fmt))) == math.inf
        nothing = float(Arithmetic(fmt).mean(in_format([], fmt)))
        assert nothing == 0 if fmt.saturates else math.isnan(nothing)


# --- compensated sums ---------------------------------------------------------------------------


@pytest.mark.slow
@FULL
@settings(max_examples=80)
@given(data=st.data())
def test_a_compensated_sum_is_within_one_ulp_of_the_exact_sum(fmt: Format, data: st.DataObject) -> None:
    classes = data.draw(st.sampled_from([1, 2, 3, 7, 64, 300]))
    # Exponentials of a shifted row reach e**(p log 2): far from overflow, often deep among the subnormals.
    seed = data.draw(st.integers(0, 2**32 - 1))
    spread = data.draw(st.sampled_from([0.0, 1.0, 20.0, 60.0]))
    draws = np.random.default_rng(seed)
    x = in_format(draws.random((2, classes)) * 2.0 ** draws.uniform(-spread, spread, (2, classes)), fmt)
    drawn = data.draw(st.lists(values_of(fmt, least=0.0, limit=2.0**60), max_size=4))[:classes]
    x[0, : len(drawn)] = drawn
    for row, got in zip(x, Arithmetic(fmt).compensated_sum(x)[:, 0].tolist(), strict=True):
        truth = sum_of(fractions_of(row))
        assert abs(Fraction(got) - truth) <= ulp_of(truth, fmt)


@ALL
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_a_compensated_sum_of_equal_terms_is_exact(fmt: Format, classes: int) -> None:
    if float(fmt.round(classes)) != classes:
        return
    x = in_format(np.ones((3, classes)), fmt)
    assert Arithmetic(fmt).compensated_sum(x).astype(float).tolist() == [[float(classes)]] * 3
    assert x.astype(float).tolist() == [[1.0] * classes] * 3, "the argument is left alone"


@FULL
def test_a_compensated_sum_of_a_row_does_not_depend_on_the_rows_beside_it(fmt: Format) -> None:
    x = in_format(np.random.default_rng(21).uniform(0.5, 1.0, (3000, 9)) ** 3, fmt)
    whole = Arithmetic(fmt).compensated_sum(x)
    alone = np.concatenate([Arithmetic(fmt).compensated_sum(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_array_equal(whole, alone)


@pytest.mark.slow
@FULL
def test_a_compensated_sum_of_many_terms_is_right_where_an_ordinary_one_is_not(fmt: Format) -> None:
    small = fmt.u * 0.75
    x = in_format(np.concatenate([[1.0], np.full(99_999, small)])[None, :], fmt)
    truth = sum_of(fractions_of(x[0]))
    kept = Fraction(float(Arithmetic(fmt).compensated_sum(x)[0, 0]))
    stood_still = Fraction(float(Arithmetic(fmt, Accumulation.SEQUENTIAL).sum(x)[0, 0]))
    assert abs(kept - truth) <= ulp_of(truth, fmt)
    # Each term is 3/4 of half an ulp and so rounds up or away: the error grows with the number of terms.
    assert abs(stood_still - truth) > 10_000 * ulp_of(truth, fmt)


@FULL
@settings(max_examples=80)
@given(data=st.data())
def test_a_quotient_over_a_compensated_sum_is_right_to_two_ulp(fmt: Format, data: st.DataObject) -> None:
    divisor = data.draw(st.sampled_from([1.0, 3.0, 7.0, 50.0, 1000.0, 4095.0]))
    classes = data.draw(st.integers(1, 40))
    draws = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    e = in_format(2.0 ** draws.uniform(-30, 20, (1, classes)), fmt)
    got = Arithmetic(fmt).over_sum(e, e, divisor)[0]
    below = sum_of(fractions_of(e[0])) * Fraction(divisor)
    for value, numerator in zip(fractions_of(got), fractions_of(e[0]), strict=True):
        truth = numerator / below
        assert abs(value - truth) <= 2 * ulp_of(truth, fmt)


# --- the shift by the maximum -------------------------------------------------------------------


def shifted(x: Array, fmt: Format) -> tuple[Array, Array, Array]:
    """The shift of a row as exact d and r in float64, and which exp(d) are not 0."""
    xp = Arithmetic(fmt)
    with np.errstate(all="ignore"):
        d, r = xp.shift(x)
        counts = xp.exp(d).astype(np.float64) != 0
    assert d.dtype == r.dtype == fmt.dtype
    return d.astype(np.float64), r.astype(np.float64), counts


def centre_of(row: Array, d: Array, r: Array, counts: Array) -> Fraction:
    """The one constant that d + r was shifted by, or a failure."""
    centres = {
        Fraction(float(v)) - Fraction(float(a)) - Fraction(float(b))
        for v, a, b, used in zip(row.astype(np.float64), d, r, counts, strict=True)
        if used
    }
    assert len(centres) == 1, "d + r is not x minus a constant"
    return centres.pop()


def check_shift(x: Array, fmt: Format) -> None:
    d, r, counts = shifted(x, fmt)
    for i, row in enumerate(x):
        m = Fraction(float(row.max()))
        c = centre_of(row, d[i], r[i], counts[i])
        if coarse_grid(fmt) is None:
            assert c == m
        else:
            lift = Fraction(fmt.precision) * Fraction(math.log(2))
            # Never above the maximum, and less than one below the promised lift, in roundings of m at most.
            assert lift - 1 < m - c < lift + 1 + ulp_of(m, fmt) / 2 or abs(m) > 2 / fmt.u
        # exp(d) (1 + r) needs a tiny r: it is what the rounding of d took off, 128 u of 165 in float64.
        size = d[i][counts[i]].astype(np.float64)
        assert np.all(np.abs(r[i][counts[i]]) <= np.maximum(64 * fmt.u, fmt.ulp(size) / 2))
        assert np.all(np.isfinite(d[i][counts[i]]))


def limited(fmt: Format) -> float:
    # Without inf a difference beyond the largest number is NaN or saturates, which has a test of its own. Where all
    # numbers lie in a few binades, that from which the logits are subtracted has no place beyond the largest logit.
    return fmt.max if fmt.has_inf and fmt.emax > 2 else fmt.max / 2


@pytest.mark.slow
@ALL
@given(data=st.data())
def test_the_shift_is_exact_wherever_an_exponential_is_left(fmt: Format, data: st.DataObject) -> None:
    check_shift(in_format(data.draw(rows_of(fmt, limit=limited(fmt))), fmt), fmt)


@pytest.mark.slow
@ALL
@settings(max_examples=60)
@given(data=st.data())
def test_the_shift_is_exact_at_every_offset(fmt: Format, data: st.DataObject) -> None:
    offset = data.draw(st.sampled_from(OFFSETS))
    offset = min(max(offset, -limited(fmt) / 2), limited(fmt) / 2)
    cells = data.draw(rows_of(fmt, limit=min(40.0, limited(fmt) / 2)))
    check_shift(in_format(np.array(cells) + offset, fmt), fmt)


@ALL
@given(data=st.data())
def test_the_shift_of_a_row_with_masked_classes_is_that_of_the_others(fmt: Format, data: st.DataObject) -> None:
    if not fmt.has_inf:
        return
    x = in_format(data.draw(rows_of(fmt)), fmt)
    masked = np.concatenate([fmt.cast(np.full((len(x), 1), -np.inf)), x], axis=1)
    d, r, counts = shifted(x, fmt)
    behind_d, behind_r, _ = shifted(masked, fmt)
    np.testing.assert_array_equal(behind_d[:, 1:][counts], d[counts])
    np.testing.assert_array_equal(behind_r[:, 1:][counts], r[counts])
    assert np.all(np.exp(behind_d[:, 0]) * (1 + behind_r[:, 0]) == 0), "a masked class counts for nothing"


@pytest.mark.slow
@ALL
@given(data=st.data())
def test_the_shift_of_a_row_does_not_depend_on_the_rows_beside_it(fmt: Format, data: st.DataObject) -> None:
    x = in_format(data.draw(rows_of(fmt)), fmt)
    d, r, counts = shifted(x, fmt)
    for i in range(len(x)):
        own_d, own_r, own = shifted(x[i : i + 1], fmt)
        np.testing.assert_array_equal(counts[i], own[0])
        np.testing.assert_array_equal(d[i][own[0]], own_d[0][own[0]])
        np.testing.assert_array_equal(r[i][own[0]], own_r[0][own[0]])


def test_a_class_beyond_the_range_of_float8_e4m3fn_below_the_maximum_has_no_exponential() -> None:
    # 448 - -448 does not exist in the format, which answers NaN; its exponential is 0 all the same.
    d, r, _ = shifted(in_format([[448.0, -448.0]], FLOAT8_E4M3FN), FLOAT8_E4M3FN)
    assert FLOAT8_E4M3FN.round(np.exp(d[0, 1]) * (1 + r[0, 1])) == 0


# --- single operations --------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize("name", ["exp", "exp2", "log", "log1p"])
def test_elementary_functions_are_right_to_an_ulp(fmt: Format, name: str) -> None:
    import flint

    x = in_format(np.linspace(0.25, min(5.0, fmt.exp_overflow.last_good), 40), fmt)
    x = x[x != 0]
    got = getattr(Arithmetic(fmt), name)(x)
    assert got.dtype == fmt.dtype
    exact: Callable[[Any], Any] = (lambda v: flint.arb(2) ** v) if name == "exp2" else getattr(flint.arb, name)
    with flint.ctx.workprec(200):
        for v, y in zip(x.tolist(), got.astype(np.float64).tolist(), strict=True):
            truth = exact(flint.arb(float(v)))
            ulp = float(fmt.ulp(float(truth)))
            # Rounded from float64, which NumPy gets right to 1 ulp or so: 2**(p - 53) ulp of the format.
            allowed = 1.1 if fmt is FLOAT64 else 0.5 + 2.0 ** (fmt.precision - 52)
            if abs(float(truth)) < fmt.smallest_normal and not fmt.has_subnormals:
                continue
            assert abs(truth - flint.arb(y)) <= allowed * ulp


@ALL
@given(data=st.data())
def test_a_quotient_by_a_number_beyond_the_format_is_rounded_once(fmt: Format, data: st.DataObject) -> None:
    value = data.draw(values_of(fmt))
    rows = data.draw(st.sampled_from([1.0, 3.0, 512.0, 100_000.0]))
    got = float(Arithmetic(fmt).divided(in_format([value], fmt), rows)[0])
    expected = nearest_number(Fraction(value) / Fraction(rows), fmt)
    # The quotient is taken in float64 first: a second rounding only for what sits next to a tie.
    assert abs(Fraction(got) - Fraction(expected)) <= ulp_of(Fraction(expected), fmt) * 2**-20 or (
        got == float(fmt.round(value / rows))
    )


def test_a_constant_enters_a_format_rounded() -> None:
    assert float(Arithmetic(FLOAT16).number(1e-9)) == 0
    assert float(Arithmetic(FLOAT32).number(1 - 1e-15)) == 1
    assert float(Arithmetic(FLOAT16).number(1 - 1e-7)) == 1


def test_the_maximum_leaves_its_first_place_only() -> None:
    x = np.array([[1.0, 3.0, 3.0]])
    top, rest = Arithmetic(FLOAT64).take_max(np.array([[10.0, 20.0, 30.0]]), x)
    assert top.tolist() == [[20.0]]
    assert rest.tolist() == [[10.0, 0.0, 30.0]]
    assert x.tolist() == [[1.0, 3.0, 3.0]]
