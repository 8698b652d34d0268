"""Linear algebra on exact cells, held to exact fractions and to its own definitions, over random shapes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from flint import arb, fmpq

from stablemax.numerics.formats import Array
from stablemax.trace import exact_matrices as exact
from stablemax.trace.exact_cells import MINUS_INFINITE, NO_VALUE, cells_of, nearest

RANDOM = np.random.default_rng(11)
SIZES = (1, 2, 3, 5, 8)


def square(size: int) -> Array:
    return RANDOM.normal(size=(size, size)).astype(np.float32).astype(np.float64)


def positive(size: int) -> Array:
    a = np.round(square(size) * 16) / 16
    return a @ a.T + np.eye(size)


def fractions(a: Array) -> Array:
    return np.array([[Fraction(v) for v in row] for row in a.tolist()], dtype=object)


def determinant(a: Array) -> Fraction:
    """Expand along the first row: the definition."""
    if len(a) == 1:
        return a[0, 0]
    minors = (np.delete(a[1:], j, axis=1) for j in range(len(a)))
    return sum(((-1) ** j * a[0, j] * determinant(m) for j, m in enumerate(minors)), start=Fraction(0))


def contains(cells: Array, numbers: Array) -> bool:
    """Tell whether all balls hold the numbers, and are narrow."""
    pairs = zip(cells.ravel().tolist(), numbers.ravel().tolist(), strict=True)
    return all(
        isinstance(c, arb) and c.contains(fmpq(Fraction(n).numerator, Fraction(n).denominator)) and c.rad() < 1e-60
        for c, n in pairs
    )


@pytest.fixture(autouse=True)
def bits() -> Any:
    with flint.ctx.workprec(256):
        yield


@pytest.mark.parametrize("size", SIZES)
def test_a_determinant_is_that_of_its_definition(size: int) -> None:
    a = square(min(size, 6))
    assert contains(np.array([exact.determinant(cells_of(a))], dtype=object), np.array([determinant(fractions(a))]))


@pytest.mark.parametrize("size", SIZES)
def test_a_solution_solves(size: int) -> None:
    a, b = square(size), RANDOM.normal(size=(size, 3))
    x = exact.solution(cells_of(a), cells_of(b))
    assert contains(np.matmul(cells_of(a), x), b)
    assert contains(np.matmul(exact.inverse(cells_of(a)), cells_of(a)), np.eye(size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("unit", [True, False])
def test_a_triangular_solution_reads_one_triangle_alone(size: int, *, lower: bool, unit: bool) -> None:
    a, b = square(size), RANDOM.normal(size=(size, 2))
    used = (np.tril if lower else np.triu)(a)
    if unit:
        np.fill_diagonal(used, 1.0)
    x = exact.triangular_solution(cells_of(a), cells_of(b), lower=lower, unit=unit)
    assert contains(np.matmul(cells_of(used), x), b)


@pytest.mark.parametrize("size", SIZES)
def test_factors_multiply_to_their_matrix(size: int) -> None:
    a = cells_of(positive(size))
    low = exact.cholesky(a)
    assert contains(np.matmul(low, low.T), positive_of(a))
    for shape in ((size, size), (size + 2, size), (size, size + 2)):
        m = RANDOM.normal(size=shape)
        order = RANDOM.permutation(shape[0])
        packed = exact.lu(cells_of(m), order)
        assert contains(np.matmul(exact.lower_of(packed), exact.upper_of(packed)), m[order])
        for complete in (False, True):
            q, r = exact.qr(cells_of(m), complete=complete)
            assert contains(np.matmul(q, r), m)
            assert contains(np.matmul(q.T, q), np.eye(q.shape[1]))
            assert (np.sign(np.diagonal(nearest(r))) == np.sign(np.diagonal(np.linalg.qr(m).R))).all()


def positive_of(cells: Array) -> Array:
    return nearest(cells)


@pytest.mark.parametrize("size", SIZES)
def test_eigenvectors_are_stretched_by_their_eigenvalues(size: int) -> None:
    a = cells_of(positive(size))
    values, vectors = exact.eigenvectors(a, np.linalg.eigh(nearest(a))[1])
    zero = np.matmul(a, vectors) - vectors * values
    assert contains(zero, np.zeros((size, size)))
    assert contains(np.matmul(vectors.T, vectors), np.eye(size))
    np.testing.assert_allclose(nearest(exact.eigenvalues(a)), np.linalg.eigvalsh(nearest(a)), rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (4, 2), (2, 5), (6, 6)])
def test_singular_vectors_multiply_to_their_matrix(shape: tuple[int, int]) -> None:
    a = RANDOM.normal(size=shape)
    like = np.linalg.svd(a, full_matrices=False)
    u, s, vt = exact.singular_vectors(cells_of(a), like.U, like.Vh)
    assert contains(np.matmul(u * s, vt), a)
    assert contains(np.matmul(u.T, u), np.eye(min(shape)))
    for ours, theirs in ((u, like.U), (s, like.S), (vt, like.Vh)):
        np.testing.assert_allclose(nearest(ours), theirs, rtol=1e-9, atol=1e-12)


def test_equal_eigenvalues_have_values_but_no_one_vector_each() -> None:
    assert contains(exact.eigenvalues(cells_of(np.eye(3) * 2)), np.full(3, 2.0))
    with pytest.raises(exact.NoExactMatrix):
        exact.eigenvectors(cells_of(np.eye(3)), np.eye(3))


def test_an_exponential_is_the_sum_of_its_powers() -> None:
    a = square(3) / 8
    term, total = cells_of(np.eye(3)), cells_of(np.eye(3))
    for k in range(1, 60):
        term = np.matmul(term, cells_of(a)) / k
        total = total + term
    difference = exact.exponential(cells_of(a)) - total
    assert all(abs(c) < 1e-60 for c in difference.ravel())


SINGULAR = np.array([[1.0, 2.0, 3.0], [0.1, 0.7, 0.2], [1.0, 2.0, 3.0]])


def test_a_singular_matrix_has_the_determinant_0_exactly_and_no_inverse() -> None:
    a = cells_of(SINGULAR)
    assert exact.determinant(a).is_zero()
    sign, log = exact.sign_and_log(a)
    assert (sign.is_zero(), log) == (True, MINUS_INFINITE)
    assert all(c is NO_VALUE for c in exact.inverse(a).ravel())
    assert exact.singular_values(a)[-1].is_zero()


@pytest.mark.parametrize(
    "function", [exact.inverse, lambda a: exact.solution(a, a), exact.eigenvalues, exact.singular_values]
)
def test_a_nan_takes_all_that_a_matrix_gives_along(function: Callable[[Array], Array]) -> None:
    a = cells_of(np.array([[1.0, np.nan], [0.5, 2.0]]))
    assert all(c is NO_VALUE for c in function(a).ravel())


def test_a_nan_on_the_right_takes_its_own_column_along() -> None:
    x = nearest(exact.solution(cells_of(np.eye(2)), cells_of(np.array([[1.0, np.nan], [2.0, 3.0]]))))
    np.testing.assert_array_equal(x, [[1.0, np.nan], [2.0, np.nan]])


def test_a_matrix_that_is_not_positive_has_no_cholesky_factor() -> None:
    low = nearest(exact.cholesky(cells_of(np.array([[1.0, 2.0], [2.0, 1.0]]))))
    np.testing.assert_array_equal(low, [[1.0, 0.0], [2.0, np.nan]])


def test_an_infinity_is_left_to_floats() -> None:
    with pytest.raises(exact.NoExactMatrix):
        exact.determinant(cells_of(np.array([[np.inf, 0.0], [0.0, 1.0]])))


def test_matrices_without_numbers_are_allowed() -> None:
    none = cells_of(np.zeros((0, 0)))
    assert (exact.inverse(none).shape, exact.cholesky(none).shape, exact.singular_values(none).shape) == (
        (0, 0),
        (0, 0),
        (0,),
    )
    assert exact.determinant(none) == 1


def test_stacks_are_broadcast_and_may_lie_backwards() -> None:
    stack = np.stack([square(3), square(3)])[::-1, ::-1]
    b = RANDOM.normal(size=(3, 2))
    (x,) = exact.stacked(lambda a, b: (exact.solution(a, b),), cells_of(stack), cells_of(b))
    np.testing.assert_allclose(nearest(x), np.linalg.solve(stack, np.broadcast_to(b, (2, 3, 2))), rtol=1e-8)
