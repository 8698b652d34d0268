"""The largest distance of a sum of probabilities from 1: what adding every row exactly gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stablemax.numerics.formats import Array
from stablemax.truth import sums_to_one
from stablemax.truth.sums_to_one import largest_sum_error

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 30))


def by_fsum(rows: Array) -> float:
    """The largest error, every row added exactly."""
    return max(abs(math.fsum([*row, -1.0])) for row in rows.tolist())


@given(arrays(np.float64, SHAPES, elements=st.floats(0, 1)))
def test_the_sums_of_probabilities_are_taken_exactly(p: Array) -> None:
    assert largest_sum_error(p) == by_fsum(p)


@given(arrays(np.float64, SHAPES, elements=st.floats(-1e300, 1e300)))
def test_the_sums_of_any_numbers_are_taken_exactly(p: Array) -> None:
    assert largest_sum_error(p) == by_fsum(p)


@given(
    row=arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)),
    scale=st.sampled_from([1.0, 1e-300, 1e16, 2.0**890]),
    seed=st.integers(0, 1000),
)
def test_rows_that_differ_by_an_ulp_of_a_single_number_are_told_apart(row: Array, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.array([rng.permutation(row * scale) for _ in range(8)])
    columns = rng.integers(0, row.size, 8)
    at = (np.arange(8), columns)
    rows[at] = np.nextafter(rows[at], rng.choice([-np.inf, np.inf, 0.0], 8))
    # Numbers that cancel leave a sum of nothing but the differences.
    for some in (rows, np.hstack([rows, -row[None, :] * scale * np.ones((8, 1)), np.ones((8, 1))])):
        assert largest_sum_error(some) == by_fsum(some)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_few_of_the_rows_of_a_softmax_are_added_exactly(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(3000, 100)) * 5
    p = (np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)).astype(dtype)
    added: list[int] = []
    exactly = sums_to_one._sum_error

    def counted(row: list[float]) -> float:
        added.append(len(row))
        return exactly(row)

    monkeypatch.setattr(sums_to_one, "_sum_error", counted)
    assert largest_sum_error(p) == by_fsum(p.astype(np.float64))
    assert 1 <= len(added) <= 30


def test_rows_that_are_not_finite_have_no_sum() -> None:
    assert largest_sum_error(np.array([[np.nan, 1.0], [0.5, 0.75]])) == 0.25
    assert largest_sum_error(np.array([[np.nan, 1.0]])) is None


def test_a_sum_beyond_the_range_is_infinitely_wrong() -> None:
    assert largest_sum_error(np.array([[1.0, 0.0], [1.7e308, 1.7e308]])) == math.inf
