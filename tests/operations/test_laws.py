"""Laws of softmax and its kin, with error budgets in u, and in exact arithmetic where they are exact."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT32, FLOAT64
from stablemax.operations.targets import SoftTargets, in_arithmetic, rows_of
from stablemax.operations.variant import CELLS_PER_BLOCK, evaluate, variants

from ..exactly import USUAL, fractions_of, in_balls, in_format, output, second_for, sum_of, values_of
from ..records import (
    CROSS_ENTROPY,
    ENTROPY,
    KL_DIVERGENCE,
    LOG_SOFTMAX,
    LOGSUMEXP,
    SOFTMAX,
    SOFTMAX_VJP,
)

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.variant import Variant

EXACT = [v for v in variants() if v.exact]
SHIFT_INVARIANT = [v for v in EXACT if "shift-invariance" in v.operation.laws and not v.operation.follows_shift]
GRADIENTS = [v for v in EXACT if "gradient-sums-to-0" in v.operation.laws]
SOFTMAXES = [v for v in EXACT if v.operation is SOFTMAX]
FULL = pytest.mark.parametrize("fmt", [FLOAT32, FLOAT64], ids=["float32", "float64"])


def of(chosen: list[Variant]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("variant", chosen, ids=lambda v: v.id)


def rows(limit: float = 8.0, max_classes: int = 6) -> st.SearchStrategy[Array]:
    """Multiples of 1/8, so that shifting them by an integer is exact in float32 and float64."""
    cell = st.integers(int(-8 * limit), int(8 * limit)).map(lambda n: n / 8)
    return st.integers(1, max_classes).flatmap(
        lambda k: st.lists(st.lists(cell, min_size=k, max_size=k), min_size=1, max_size=3).map(np.array)
    )


def seconds(variant: Variant, x: Array, data: st.DataObject) -> Any:
    n, k = x.shape
    chosen = data.draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n))
    g = data.draw(st.integers(0, 99).map(lambda seed: np.random.default_rng(seed).integers(-8, 9, x.shape) / 4.0))
    return second_for(variant.operation, x, chosen, g)


def budget_u(x: Array, classes: int) -> float:
    """Rounding errors, in units of u of the largest intermediate value, that a formula can gather.

    Each exponential carries its own rounding and that of its exponent, at most |x| + spread + K of u
    (a logarithm in it included); sums add K; two products of up to K such terms follow in a Jacobian.
    """
    spread = float(x.max() - x.min())
    exponent = float(np.abs(x).max()) + spread + math.log(classes) + 2
    return 2 * (4 * exponent + 3 * classes + 12)


# --- exact in balls -----------------------------------------------------------------------------


@pytest.mark.slow
@of(SHIFT_INVARIANT)
@given(data=st.data())
def test_a_constant_added_to_a_row_changes_nothing(variant: Variant, data: st.DataObject) -> None:
    x = data.draw(rows())
    second = seconds(variant, x, data)
    offset = data.draw(st.integers(-40, 40))
    before = in_balls(variant.id, x, second, lambda b: b.ravel().tolist())
    after = in_balls(variant.id, x + offset, second, lambda b: b.ravel().tolist())
    assert all(a.overlaps(b) for a, b in zip(before, after, strict=True))


@of([v for v in EXACT if v.operation.follows_shift])
@given(x=rows(), offset=st.integers(-40, 40))
def test_a_constant_added_to_a_row_is_added_to_its_logsumexp(variant: Variant, x: Array, offset: int) -> None:
    before = in_balls(variant.id, x, None, lambda b: b.tolist())
    after = in_balls(variant.id, x + offset, None, lambda b: b.tolist())
    assert all((a + offset).overlaps(b) for a, b in zip(before, after, strict=True))


@of(SOFTMAXES)
@given(x=rows())
def test_probabilities_sum_to_1_in_exact_arithmetic(variant: Variant, x: Array) -> None:
    sums = in_balls(variant.id, x, None, lambda b: np.add.reduce(b, axis=-1).tolist())
    assert all(s.contains(1) and s.rad() < 2.0**-80 for s in sums)


@of(GRADIENTS)
@given(data=st.data())
def test_the_rows_of_a_gradient_sum_to_0_in_exact_arithmetic(variant: Variant, data: st.DataObject) -> None:
    x = data.draw(rows())
    sums = in_balls(variant.id, x, seconds(variant, x, data), lambda b: np.add.reduce(b, axis=-1).tolist())
    assert all(s.contains(0) and s.rad() < 2.0**-80 for s in sums)


# --- in floating point --------------------------------------------------------------------------


@of(SOFTMAXES)
@FULL
@given(data=st.data())
def test_probabilities_sum_to_1_up_to_rounding(variant: Variant, fmt: Format, data: st.DataObject) -> None:
    x = data.draw(rows())
    for row, p in zip(x, output(variant.id, x, fmt), strict=True):
        assert np.all(p >= 0)
        budget = Fraction(budget_u(row, len(row)) * fmt.u)
        assert abs(sum_of(fractions_of(p)) - 1) <= budget


@of(GRADIENTS)
@FULL
@given(data=st.data())
def test_the_rows_of_a_gradient_sum_to_0_up_to_rounding(variant: Variant, fmt: Format, data: st.DataObject) -> None:
    x = data.draw(rows(limit=4.0))
    second = seconds(variant, x, data)
    size = 2 * np.abs(second).max() + 1 if isinstance(second, np.ndarray) else 1.0
    if variant.id == "cross_entropy_grad/jacobian":
        # 1 / p amplifies the errors of its own products; p >= e**-(spread) / K.
        size = 2.0 * x.shape[1] * float(np.exp(x.max() - x.min()))
    for row, gradient in zip(x, output(variant.id, x, fmt, second), strict=True):
        budget = Fraction(budget_u(row, len(row)) * fmt.u * size)
        assert abs(sum_of(fractions_of(gradient))) <= budget


@pytest.mark.slow
@of(SHIFT_INVARIANT)
@FULL
@given(data=st.data())
def test_an_exactly_representable_shift_changes_results_by_rounding_only(
    variant: Variant, fmt: Format, data: st.DataObject
) -> None:
    x = data.draw(rows(limit=4.0))
    second = seconds(variant, x, data)
    offset = data.draw(st.integers(-20, 20))
    before, after = output(variant.id, x, fmt, second), output(variant.id, x + offset, fmt, second)
    size = 1.0 + 2 * np.abs(second).max() if isinstance(second, np.ndarray) else 1.0
    if variant.id == "cross_entropy_grad/jacobian":
        size = 2.0 * x.shape[1] * float(np.exp(x.max() - x.min()))
    if variant.operation in (LOG_SOFTMAX, CROSS_ENTROPY):
        # log p of a rounded p: its relative error is an absolute one of the logarithm.
        size = 2.0 + float(np.abs(before).max())
    moved = np.concatenate([x, x + offset], axis=1)
    assert np.abs(before - after).max() <= 2 * budget_u(moved, x.shape[1]) * fmt.u * size


# The sum has a dozen roundings, so each of the two orders may be off by a dozen.
APART_ULP = {ENTROPY: 8, KL_DIVERGENCE: 16}


@pytest.mark.slow
@of([v for v in EXACT if v.name == v.operation.best])
@FULL
@given(data=st.data())
def test_the_compensated_variants_do_not_notice_a_permutation_beyond_4_ulp(
    variant: Variant, fmt: Format, data: st.DataObject
) -> None:
    x = data.draw(rows(limit=30.0))
    order = np.array(data.draw(st.permutations(range(x.shape[1]))))
    at = np.arange(len(x)) % x.shape[1]
    second = second_for(variant.operation, x, at, np.ones_like(x))
    moved = second_for(variant.operation, x, np.argsort(order)[at])
    moved = second[:, order] if isinstance(second, np.ndarray) else moved
    before = output(variant.id, x, fmt, second)
    after = output(variant.id, x[:, order], fmt, moved)
    again = before if variant.operation.per_row else before[:, order]
    allowed = APART_ULP.get(variant.operation, 4) * fmt.ulp(again)
    if variant.operation is LOGSUMEXP:
        allowed = 8 * fmt.u * (np.abs(again) + np.log(x.shape[1]))
    assert np.all(np.abs(again - after) <= allowed)


@of([v for v in EXACT if v.operation is SOFTMAX_VJP])
@FULL
@given(data=st.data())
def test_a_constant_upstream_gradient_has_no_gradient(variant: Variant, fmt: Format, data: st.DataObject) -> None:
    x = data.draw(rows())
    constant = data.draw(st.integers(-64, 64)) / 8
    result = output(variant.id, x, fmt, np.full(x.shape, constant))
    if variant.name in ("centred", "wide"):
        assert np.all(result == 0), "a constant is taken off before anything is rounded"
    else:
        assert np.abs(result).max() <= budget_u(x, x.shape[1]) * fmt.u * abs(constant)


@pytest.mark.parametrize("name", USUAL)
@given(data=st.data())
def test_the_probabilities_of_larger_logits_are_not_smaller(name: str, data: st.DataObject) -> None:
    fmt = USUAL[name]
    row = data.draw(st.lists(values_of(fmt, limit=200.0), min_size=2, max_size=8))
    p = output("softmax/wide", [row], fmt)[0] if name != "float64" else output("softmax/shifted", [row], fmt)[0]
    ordered = p[np.argsort(row, kind="stable")]
    # exp is monotone up to the last place of float64.
    assert np.all(np.diff(ordered) >= -2 * FLOAT64.u * ordered[1:])


# --- blocks of rows -----------------------------------------------------------------------------


@pytest.mark.slow
@of([v for v in variants() if v.rowwise])
@pytest.mark.parametrize("name", ["float8_e5m2", "float16", "bfloat16", "float32", "float64"])
def test_any_split_of_the_rows_gives_the_same_bits(variant: Variant, name: str) -> None:
    fmt = USUAL[name]
    draws = np.random.default_rng(11)
    classes = 40
    x = in_format(draws.standard_normal((13, classes)) * 5, fmt)
    xp = Arithmetic(fmt)
    second = second_for(variant.operation, x, draws.integers(0, classes, 13), draws.standard_normal(x.shape))
    second = in_arithmetic(second, xp)
    whole = evaluate(variant, x, xp, second)
    for cuts in ([1, 2, 5], [6], list(range(1, 13))):
        blocks = np.split(np.arange(13), cuts)
        parts = [evaluate(variant, x[block], xp, rows_of(second, block)) for block in blocks]
        joined = np.concatenate(parts)
        assert joined.tobytes() == whole.tobytes()


@of([v for v in variants() if v.rowwise and v.operation is not SOFTMAX_VJP])
@FULL
def test_rows_beyond_a_block_are_computed_as_if_alone(variant: Variant, fmt: Format) -> None:
    # More cells than a block holds, so that evaluate() splits by itself; the last row then sits alone.
    classes = 100
    cells = classes * classes if variant.max_classes else classes
    size = max(1, CELLS_PER_BLOCK // cells)
    x = np.random.default_rng(12).standard_normal((size + 1, classes))
    second = second_for(variant.operation, x)
    if variant.operation.needs_targets:
        second = SoftTargets(np.random.default_rng(13).dirichlet(np.ones(classes), size + 1), divisor=7.0)
    whole = output(variant.id, x, fmt, second)
    for at in (0, size - 1, size):
        alone = output(variant.id, x[at : at + 1], fmt, rows_of(second, slice(at, at + 1)))
        np.testing.assert_array_equal(whole[at : at + 1], alone)


@of([v for v in variants() if v.rowwise and v.operation is SOFTMAX])
def test_the_memory_layout_of_the_logits_does_not_change_the_bits(variant: Variant) -> None:
    for fmt in USUAL.values():
        x = in_format(np.random.default_rng(14).standard_normal((6, 50)), fmt)
        xp = Arithmetic(fmt)
        plain = evaluate(variant, x, xp)
        for other in (np.asfortranarray(x), np.ascontiguousarray(x.T).T, np.repeat(x, 2, axis=1)[:, ::2]):
            assert evaluate(variant, xp.array(other), xp).astype(float).tolist() == plain.astype(float).tolist()


def test_an_array_without_layout_of_its_own_is_refused_or_computed_but_never_changed() -> None:
    x = np.random.default_rng(15).standard_normal((3, 9))
    for variant in variants():
        kept = x.copy()
        second = second_for(variant.operation, x)
        output(variant.id, x, FLOAT64, second)
        np.testing.assert_array_equal(x, kept, err_msg=variant.id)
