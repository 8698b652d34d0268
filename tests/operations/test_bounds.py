"""A-priori bounds: they hold where their theorem says, and are not so loose that they say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64
from stablemax.operations import bounds
from stablemax.operations.variant import get, variants
from stablemax.text.vocabulary import Accumulation

from ..exactly import judge, truth_of
from ..records import LOGSUMEXP, SOFTMAX

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.operation import Operation

    from ..exactly import Judged

BOUNDED = [v.id for v in variants() if v.bound is not None]
EVERY = pytest.mark.parametrize("variant_id", BOUNDED)
VACUOUS = 1e-4


def relative_error_u(judged: Judged, fmt: Format, operation: Operation) -> Array:
    """Error of each row in units of u, relative to the row's result (its largest probability)."""
    nearest = judged.truth.nearest
    error = judged.error_ulp * fmt.ulp(nearest)
    if operation is SOFTMAX:
        return np.asarray(error.max(axis=1) / np.abs(nearest).max(axis=1) / fmt.u)
    return np.asarray(error / np.abs(nearest) / fmt.u)


def error_over_bound(variant_id: str, x: Array, fmt: Format) -> Array:
    """The measured error of each row as a part of its bound, sums taken one by one."""
    variant = get(variant_id)
    assert variant.bound is not None
    held = fmt.cast(x).astype(np.float64)
    judged = judge(variant_id, held, fmt, accumulation=Accumulation.SEQUENTIAL)
    y = truth_of(LOGSUMEXP, held, FLOAT64).nearest[:, None]
    return np.asarray(relative_error_u(judged, fmt, variant.operation) / variant.bound.in_u(held, y))


@EVERY
@pytest.mark.parametrize("fmt", [FLOAT16, FLOAT32], ids=["float16", "float32"])
@pytest.mark.parametrize("classes", [10, 300])
def test_the_bound_holds_on_normals_and_is_not_vacuous(variant_id: str, fmt: Format, classes: int) -> None:
    x = np.random.default_rng(classes).standard_normal((40, classes)) * 1.5
    part = error_over_bound(variant_id, x, fmt)
    # The theorem gives the leading term; (K u) squared is what it leaves out.
    assert part.max() <= 1 + 2 * classes * fmt.u
    assert part.max() >= VACUOUS


@EVERY
@given(
    rows=st.integers(1, 6).flatmap(
        lambda k: st.lists(st.lists(st.floats(-8, 8), min_size=k, max_size=k), min_size=1, max_size=3)
    )
)
def test_the_bound_holds_on_any_moderate_rows_in_float32(variant_id: str, rows: list[list[float]]) -> None:
    x = np.array(rows)
    y = truth_of(LOGSUMEXP, FLOAT32.cast(x).astype(np.float64), FLOAT64).nearest
    # Relative to a log-sum-exp of 0 nothing is bounded.
    if np.all(np.abs(y) > 0.01):
        assert error_over_bound(variant_id, x, FLOAT32).max() <= 1 + 1e-5


@EVERY
def test_every_bound_names_its_theorem_and_gives_a_positive_number_per_row(variant_id: str) -> None:
    bound = get(variant_id).bound
    assert bound is not None
    assert "Blanchard, Higham, Higham 2021" in bound.theorem
    assert "u" in bound.text
    masked = np.array([[0.0, -np.inf, 3.0], [1.0, 2.0, 3.0]])
    in_u = bound.in_u(masked, np.array([[3.05], [3.41]]))
    assert in_u.shape == (2,)
    assert np.all(np.isfinite(in_u)), "a masked class does not widen the bound to infinity"
    assert np.all(in_u > 0)


def test_the_leading_terms_are_those_of_the_paper() -> None:
    x, y = np.array([[1.0, -2.0, 3.0, 0.5]]), np.array([[3.2]])
    expected = {
        "logsumexp/naive": 1 + 5 / 3.2,
        # And one u for the last addition: [4, 3.5] in float32 is 0.90 u off, and the paper's term alone is 0.66 u.
        "logsumexp/log1p": 1 + (3.2 + 4 + 2) / 3.2,
        "softmax/naive": 7.0,
        "softmax/shifted": 4 + 2 + 2 * 5.0,
        "softmax/division-free-naive": 3.2 + 5.2 + 4 + 2,
        "softmax/division-free": 1 + 5.2 + (3.2 + 4 + 2),
    }
    assert set(expected) == set(BOUNDED)
    for variant_id, value in expected.items():
        bound = get(variant_id).bound
        assert bound is not None
        # The same sum in another order: a few roundings.
        assert abs(bound.in_u(x, y)[0] / value - 1) < 8 * FLOAT64.u


def test_the_bounds_order_the_formulas_as_the_paper_does() -> None:
    x = np.random.default_rng(1).standard_normal((5, 100))
    y = truth_of(LOGSUMEXP, x, FLOAT64).nearest[:, None]
    assert np.all(bounds.softmax_naive.in_u(x, y) < bounds.softmax_shifted.in_u(x, y))
    assert np.all(bounds.softmax_naive.in_u(x, y) < bounds.softmax_division_free_naive.in_u(x, y))


@given(
    row=st.lists(st.floats(-30, 30), min_size=1, max_size=6),
    signs=st.lists(st.sampled_from([-1, 1]), min_size=6),
)
def test_a_relative_change_of_the_logits_moves_the_results_by_their_condition_numbers(
    row: list[float], signs: list[int]
) -> None:
    # logsumexp: max|x| / |y|; softmax: at most 2 max|x|. delta is small enough for the first order.
    delta = 2.0**-26
    x = np.array([row])
    moved = x * (1 + delta * np.array(signs[: len(row)]))
    top = np.abs(x).max()
    before, after = (truth_of(LOGSUMEXP, v, FLOAT64).nearest for v in (x, moved))
    assert abs(after[0] - before[0]) <= delta * top * (1 + 1e-5) + 4 * FLOAT64.u * (abs(before[0]) + top)
    p, q = (truth_of(SOFTMAX, v, FLOAT64).nearest for v in (x, moved))
    assert np.abs(p - q).max() <= (2 * top * delta * (1 + 1e-5) + 2 * (top + 1) * FLOAT64.u) * p.max()


@given(row=st.lists(st.floats(-3, 3), min_size=1, max_size=6))
def test_the_compensated_logsumexp_is_as_good_as_its_condition_number_allows(row: list[float]) -> None:
    x = FLOAT32.cast(np.array([row])).astype(np.float64)
    judged = judge("logsumexp/compensated", x, FLOAT32)
    error = judged.error_ulp[0] * FLOAT32.ulp(judged.truth.nearest[0])
    # log1p(q) to 6 u (q itself to 5, and log1p's condition number is at most 1), then one addition.
    budget = 6 * np.log(len(row)) * FLOAT32.u + FLOAT32.u * abs(judged.truth.nearest[0])
    assert error <= budget * (1 + 1e-6) + FLOAT32.smallest_subnormal
