"""Quantiles that merge: exact while they can be, and the same in every order of merging."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stablemax.inspect import quantile_sketch as sketch
from stablemax.inspect.quantile_sketch import LEVELS, LIMIT, Sketch

PERCENTS = (0, 1, 25, 50, 75, 99, 100)
# Numbers that share their leading bits, so that fewer bits make fewer of them.
CLOSE = st.integers(0, 300).map(lambda n: 1.0 + n * 2.0**-18)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def state(found: Sketch) -> tuple[object, ...]:
    """Return all that a sketch keeps, bit by bit."""
    one = found.compacted()
    runs = [(run.values.tobytes(), run.counts.tobytes(), run.bits) for run in one.runs]
    return runs, one.low, one.high


def merged(numbers: np.ndarray, cuts: list[int], order: list[int]) -> Sketch:
    parts = np.split(numbers, sorted(cuts))
    total = Sketch()
    for i in sorted(range(len(parts)), key=lambda i: order[i % len(order)]):
        total += Sketch.of(parts[i])
    return total


@given(arrays(np.float64, st.integers(1, 60), elements=FINITE))
def test_a_quantile_is_the_number_that_numpy_finds(numbers: np.ndarray) -> None:
    found = Sketch.of(numbers)
    right = np.quantile(numbers, [p / 100 for p in (0, 25, 50, 75, 100)], method="inverted_cdf")
    assert found.quantiles((0, 25, 50, 75, 100)) == tuple((right + 0.0).tolist())
    assert found.digits is None
    assert found.count == len(numbers)


def test_the_rank_of_a_quantile_is_a_whole_number_and_never_a_rounded_one() -> None:
    # 0.07 * 100 is 7.000000000000001: of the numbers 1 to 100, seven percent do not exceed 7.
    assert Sketch.of(np.arange(1.0, 101.0)).quantiles(tuple(range(1, 101))) == tuple(range(1, 101))


def test_no_numbers_have_no_quantile() -> None:
    assert all(map(math.isnan, Sketch().quantiles(PERCENTS)))
    assert state(Sketch() + Sketch.of(np.array([2.0]))) == state(Sketch.of(np.array([2.0])))


def test_a_zero_is_one_number_whatever_its_sign() -> None:
    assert Sketch.of(np.array([0.0, -0.0, -0.0])).compacted().runs[0].counts.tolist() == [3]
    assert {math.copysign(1.0, q) for q in Sketch.of(np.array([-0.0] * 3)).quantiles((0, 50, 100))} == {1.0}


@settings(deadline=None)
@given(
    arrays(np.float64, st.integers(0, 200), elements=st.one_of(FINITE, CLOSE)),
    st.lists(st.integers(0, 200), max_size=6),
    st.lists(st.integers(0, 9), min_size=1, max_size=7),
    st.integers(1, 40),
)
def test_the_same_numbers_give_the_same_sketch_however_they_are_cut_and_merged(
    numbers: np.ndarray, cuts: list[int], order: list[int], limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # A small limit reaches every level with few numbers; the last level holds whatever there is.
        patch.setattr(sketch, "LIMIT", limit)
        assert state(merged(numbers, cuts, order)) == state(Sketch.of(numbers))


@pytest.mark.parametrize("level", [1, 2, 3])
def test_at_each_level_every_quantile_is_right_to_the_digits_it_promises(level: int) -> None:
    rng = np.random.default_rng(level)
    # Signs and ever more binades leave fewer bits to each number.
    binades = {1: 4, 2: 30, 3: 600}[level]
    numbers = np.ldexp(rng.uniform(1, 2, 500_000), rng.integers(-binades, binades, 500_000))
    numbers *= rng.choice([-1.0, 1.0], len(numbers))
    found = sum((Sketch.of(part) for part in np.array_split(numbers, 37)), Sketch()).compacted()
    assert found.runs[0].bits == LEVELS[level]
    assert len(found.runs[0].values) <= LIMIT
    assert found.digits == {1: 3, 2: 2, 3: 1}[level]
    right = np.quantile(numbers, [p / 100 for p in PERCENTS], method="inverted_cdf")
    for value, truth in zip(found.quantiles(PERCENTS), right.tolist(), strict=True):
        assert abs(value - truth) <= abs(truth) * 2.0 ** -(LEVELS[level] + 1)
        shown = float(f"{value:.{found.digits}g}")
        unit = 10.0 ** (math.floor(math.log10(abs(truth))) - found.digits + 1)
        assert abs(shown - truth) <= unit
    assert found.quantiles((0, 100)) == (numbers.min(), numbers.max())


def test_what_is_added_to_a_rough_sketch_does_not_make_it_exact() -> None:
    many = np.ldexp(np.random.default_rng(1).uniform(1, 2, 200_000), np.arange(200_000) % 4)
    rough = Sketch.of(many).compacted()
    assert len(rough.runs[0].values) < LIMIT / 2
    for both in (rough + Sketch.of(np.array([0.5])), Sketch.of(np.array([0.5])) + rough):
        assert both.digits == rough.digits == 3
        assert state(both) == state(Sketch.of(np.append(many, 0.5)))


def test_as_many_distinct_numbers_as_the_limit_are_exact_and_one_more_are_not() -> None:
    numbers = np.random.default_rng(0).permutation(np.arange(1.0, LIMIT + 1))
    both = Sketch.of(numbers) + Sketch.of(numbers)
    assert both.digits is None
    assert both.quantiles((50,)) == (LIMIT / 2,)
    assert (both + Sketch.of(np.array([0.5]))).digits == 3
