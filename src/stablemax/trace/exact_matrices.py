"""Linear algebra on exact cells, in balls: determinants, solutions, factorisations, eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flint import acb_mat, arb, arb_mat, fmpq, fmpq_mat

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import EXACT, NO_VALUE, UNDECIDED, as_array, as_cell, cells_of, is_ball, nearest

LARGEST_MATRIX = 64
"""Matrices of more rows or columns are left to float64: balls would take minutes."""

_ADD, _DIVIDE, _SQRT, _ABSOLUTE, _LOG, _SIGN = (
    EXACT[name] for name in ("add", "divide", "sqrt", "absolute", "log", "sign")
)
_ZERO = as_cell(0)


class NoExactMatrix(Exception):  # noqa: N818 - not an error: the function is then taken in float64
    """A matrix that balls do not reach: too large, with an infinity, or with equal eigenvalues."""


# --- stacks of matrices ---------------------------------------------------------------------------------


def stacked(function: Callable[..., Sequence[Array]], *stacks: Array) -> list[Array]:
    """Apply a function to each matrix of stacks (..., N, M); the leading axes are broadcast."""
    if any(max(s.shape[-2:]) > LARGEST_MATRIX for s in stacks):
        raise NoExactMatrix
    leading = np.broadcast_shapes(*(s.shape[:-2] for s in stacks))
    spread = [np.broadcast_to(s, leading + s.shape[-2:]).reshape((-1, *s.shape[-2:])) for s in stacks]
    if math.prod(leading) == 0:
        raise NoExactMatrix
    rows = [function(*matrices) for matrices in zip(*spread, strict=True)]
    return [np.array([as_array(r) for r in of_all], dtype=object).reshape(leading + as_array(of_all[0]).shape)
            for of_all in zip(*rows, strict=True)]  # fmt: skip


def identity(size: int) -> Array:
    """Return an identity matrix of cells."""
    return cells_of(np.eye(size))


def _filled(shape: tuple[int, ...], cell: Any) -> Array:
    out = np.empty(shape, dtype=object)
    out[...] = cell
    return out


def _is_followed(a: Array) -> bool:
    """Tell whether all of a matrix are numbers; one without a value takes all that is made of the matrix along."""
    if is_ball(a).all():
        return True
    if any(c is NO_VALUE for c in a.ravel().tolist()):
        return False
    raise NoExactMatrix


def _balls(a: Array) -> arb_mat:
    return arb_mat(a.tolist()) if a.size else arb_mat(*a.shape)


def _cells(matrix: Any, shape: tuple[int, ...]) -> Array:
    flat = [c if c.is_finite() else UNDECIDED for c in matrix.entries()]
    out = np.empty(len(flat), dtype=object)
    out[:] = flat
    return out.reshape(shape)


# --- determinants and solutions -------------------------------------------------------------------------


def _fractions(a: Array) -> fmpq_mat | None:
    """Return a matrix of exact balls as fractions; None where one is not exact."""
    cells = a.ravel().tolist()
    if not all(c.is_exact() for c in cells):
        return None
    parts = [c.man_exp() for c in cells]
    rows, columns = a.shape
    return fmpq_mat(int(rows), int(columns), [fmpq(m) * fmpq(2) ** int(e) for m, e in parts])


def is_singular(a: Array) -> bool:
    """Tell whether a matrix has no inverse, as far as that is proved: only of exact numbers."""
    whole = _fractions(a)
    return whole is not None and whole.det() == 0


def determinant(a: Array) -> Any:
    """Return the determinant of one matrix (N, N)."""
    if not _is_followed(a):
        return NO_VALUE
    if is_singular(a):
        return _ZERO
    det = _balls(a).det()
    return det if det.is_finite() else UNDECIDED


def sign_and_log(a: Array) -> tuple[Any, Any]:
    """Return the sign of a determinant and the logarithm of its size: 0 and -inf for a singular matrix."""
    det = determinant(a)
    return _SIGN(det), _LOG(_ABSOLUTE(det))


def solution(a: Array, b: Array) -> Array:
    """Return X with A X = B, (N, N) and (N, M); without a value where A is singular."""
    if not _is_followed(a):
        return _filled(b.shape, NO_VALUE)
    if is_singular(a):
        return _filled(b.shape, NO_VALUE)
    if not b.size:
        return b.copy()
    numbers = is_ball(b)
    # A column without a value leaves the others as they are.
    is_whole = numbers.all(axis=0)
    if not is_whole.all() and not all(c is NO_VALUE for c in b[~numbers].tolist()):
        raise NoExactMatrix
    out = _filled(b.shape, NO_VALUE)
    if is_whole.any():
        try:
            solved = _balls(a).solve(_balls(b[:, is_whole]))
        except ZeroDivisionError:  # a ball around a singular matrix
            out[:, is_whole] = UNDECIDED
        else:
            out[:, is_whole] = _cells(solved, (b.shape[0], int(is_whole.sum())))
    return out


def inverse(a: Array) -> Array:
    """Return the inverse of one matrix; without a value where it is singular."""
    return solution(a, identity(len(a)))


def triangular_solution(a: Array, b: Array, *, lower: bool, unit: bool = False) -> Array:
    """Return X with A X = B, of a triangular A: the numbers in its other triangle do not matter."""
    out, size = b.copy(), len(a)
    for i in range(size) if lower else range(size - 1, -1, -1):
        known = slice(0, i) if lower else slice(i + 1, size)
        if a[i, known].size:
            out[i] = out[i] - _ADD.reduce(a[i, known][:, None] * out[known], axis=0)
        if not unit:
            out[i] = _DIVIDE(out[i], a[i, i])
    return out


# --- factorisations -------------------------------------------------------------------------------------


def cholesky(a: Array) -> Array:
    """Return L with L L^T = A, of the lower triangle of A.

    From the column on where A is not positive definite, it has no values.
    """
    size = len(a)
    out = cells_of(np.zeros(a.shape))
    for j in range(size):
        row = out[j, :j]
        pivot = a[j, j] - _ADD.reduce(row * row, initial=_ZERO)
        out[j, j] = _SQRT(pivot)
        if not isinstance(pivot, arb) or not pivot > 0:
            vague: Any = UNDECIDED if isinstance(pivot, arb) and not pivot <= 0 else NO_VALUE
            out[j:, j:] = np.where(np.tri(size - j, dtype=bool), vague, _ZERO)
            return out
        below = a[j + 1 :, j] - _ADD.reduce(out[j + 1 :, :j] * row, axis=1, initial=_ZERO)
        out[j + 1 :, j] = _DIVIDE(below, out[j, j])
    return out


def lu(a: Array, order: Array) -> Array:
    """Return L, without its diagonal of ones, and U in one matrix, of the rows of A in an order that somebody chose."""
    out = a[order].copy()
    for k in range(min(out.shape)):
        if not (isinstance(out[k, k], arb) and out[k, k].is_zero()):
            out[k + 1 :, k] = _DIVIDE(out[k + 1 :, k], out[k, k])
        out[k + 1 :, k + 1 :] = out[k + 1 :, k + 1 :] - out[k + 1 :, k, None] * out[k, k + 1 :]
    return out


def order_of(pivots: Sequence[int], rows: int) -> Array:
    """Return the order in which swaps, each of a row with a later one, put the rows.

    >>> order_of([2, 2], 3).tolist()
    [2, 0, 1]
    """
    order = list(range(rows))
    for i, other in enumerate(pivots):
        order[i], order[other] = order[other], order[i]
    return np.array(order, dtype=np.int64)


def lower_of(packed: Array) -> Array:
    """Return the L of a packed factorisation, with its diagonal of ones."""
    size = min(packed.shape)
    return np.where(
        np.tri(packed.shape[0], size, -1, dtype=bool), packed[:, :size], cells_of(np.eye(*packed.shape))[:, :size]
    )


def upper_of(packed: Array) -> Array:
    """Return the U of a packed factorisation."""
    size = min(packed.shape)
    return np.where(np.tri(size, packed.shape[1], -1, dtype=bool), _ZERO, packed[:size])


def _reflector(x: Array) -> tuple[Array, Any, Any]:
    """Return the vector, the factor and the result of LAPACK's Householder reflection of x onto its first number."""
    rest = _ADD.reduce(x[1:] * x[1:], initial=_ZERO)
    v = x.copy()
    v[0] = as_cell(1)
    if isinstance(rest, arb) and rest.is_zero():
        return v, _ZERO, x[0]
    size = _SQRT(x[0] * x[0] + rest)
    beta = -size if nearest(x[:1])[0] >= 0 else size
    v[1:] = _DIVIDE(x[1:], x[0] - beta)
    return v, _DIVIDE(beta - x[0], beta), beta


def qr(a: Array, *, complete: bool = False) -> tuple[Array, Array]:
    """Return Q and R with the signs of LAPACK, which reflects column after column."""
    rows, columns = a.shape
    size = rows if complete else min(rows, columns)
    r, reflections = a.copy(), []
    for k in range(min(rows, columns)):
        v, tau, beta = _reflector(r[k:, k])
        r[k:, k + 1 :] = r[k:, k + 1 :] - (tau * v)[:, None] * _ADD.reduce(v[:, None] * r[k:, k + 1 :], axis=0)
        r[k, k], r[k + 1 :, k] = beta, _ZERO
        reflections.append((v, tau))
    return reflected(reflections, rows, size), r[:size]


def reflected(reflections: Sequence[tuple[Array, Any]], rows: int, columns: int) -> Array:
    """Return the first columns of a product of reflections, the k-th of which leaves the first k numbers."""
    q = cells_of(np.eye(rows, columns))
    for k, (v, tau) in reversed(list(enumerate(reflections))):
        q[k:] = q[k:] - (tau * v)[:, None] * _ADD.reduce(v[:, None] * q[k:], axis=0)
    return q


# --- eigenvalues ----------------------------------------------------------------------------------------


def symmetric(a: Array, *, lower: bool = True) -> Array:
    """Return the symmetric matrix of one triangle of a matrix."""
    is_below = np.tri(len(a), dtype=bool)
    return np.where(is_below if lower else is_below.T, a, a.T)


def eigenvalues(a: Array) -> Array:
    """Return the eigenvalues of a symmetric matrix, (N,), in rising order; equal ones are no trouble."""
    if not _is_followed(a):
        return _filled((len(a),), NO_VALUE)
    try:
        values = [v.real for v in acb_mat(_balls(a)).eig(multiple=True)] if len(a) > 1 else [a[0, 0]]
    except ValueError:  # more bits may enclose them
        return _filled((len(a),), UNDECIDED)
    return _column(sorted(values, key=float))


def eigenvectors(a: Array, like: Array) -> tuple[Array, Array]:
    """Return eigenvalues, (N,), and eigenvectors, (N, N), of a symmetric matrix.

    Their signs are free: each vector points where that of `like`, numbers (N, N), does.
    """
    if not _is_followed(a):
        return _filled((len(a),), NO_VALUE), _filled(a.shape, NO_VALUE)
    if len(a) == 1:
        return a[0].copy(), _pointing(identity(1), like)
    try:
        values, vectors = acb_mat(_balls(a)).eig(right=True)
    except (ValueError, ZeroDivisionError):  # equal eigenvalues, which have no one vector each
        raise NoExactMatrix from None
    order = sorted(range(len(a)), key=lambda i: float(values[i].real))
    columns = np.stack([_column([vectors[j, i].real for j in range(len(a))]) for i in order], axis=1)
    sizes = _SQRT(_ADD.reduce(columns * columns, axis=0))
    return _column([values[i].real for i in order]), _pointing(as_array(_DIVIDE(columns, sizes)), like)


def _column(cells: Sequence[Any]) -> Array:
    out = np.empty(len(cells), dtype=object)
    out[:] = list(cells)
    return out


def _pointing(vectors: Array, like: Array) -> Array:
    """Turn each column towards that of `like`."""
    along = (nearest(vectors) * like).sum(axis=0)
    return vectors * cells_of(np.where(along < 0, -1.0, 1.0))


def _rank(a: Array) -> int:
    """Return the rank of a matrix of exact numbers; of others, the most that it may be."""
    whole = _fractions(a)
    return min(a.shape) if whole is None else int(whole.rank())


def singular_values(a: Array) -> Array:
    """Return the singular values of one matrix (N, M), in falling order, (min(N, M),)."""
    if not _is_followed(a):
        return _filled((min(a.shape),), NO_VALUE)
    wide = a if a.shape[0] <= a.shape[1] else a.T
    if not wide.size:
        return cells_of(np.zeros(len(wide)))
    squares = eigenvalues(np.matmul(wide, wide.T))[::-1]
    rank = _rank(a)
    return _column([_SQRT(_cut_at_zero(c)) if i < rank else _ZERO for i, c in enumerate(squares)])


def _cut_at_zero(c: Any) -> Any:
    """Cut off a ball what lies below 0, where the number that it encloses does not."""
    return c.nonnegative_part() if isinstance(c, arb) else c


def singular_vectors(a: Array, u_like: Array, v_like: Array) -> tuple[Array, Array, Array]:
    """Return U, the singular values and V^T of one matrix, reduced; U points where that of the run does.

    Without an exact form where singular values are equal or 0: then vectors are free.
    """
    values = singular_values(a)
    if not all(isinstance(c, arb) and c > 0 for c in values):
        raise NoExactMatrix
    if a.shape[0] <= a.shape[1]:
        _, u = eigenvectors(np.matmul(a, a.T), u_like[:, ::-1])
        u = u[:, ::-1]
        return u, values, as_array(_DIVIDE(np.matmul(u.T, a), values[:, None]))
    _, v = eigenvectors(np.matmul(a.T, a), v_like.T[:, ::-1])
    v = v[:, ::-1]
    return as_array(_DIVIDE(np.matmul(a, v), values)), values, v.T


def exponential(a: Array) -> Array:
    """Return the exponential of one matrix."""
    return _cells(_balls(a).exp(), a.shape) if _is_followed(a) and a.size else _filled(a.shape, NO_VALUE)


def pseudo_inverse(a: Array) -> Array:
    """Return the pseudo-inverse of one matrix that is far from one of less than full rank.

    What a tolerance of floats would cut off has none here.
    """
    values = nearest(singular_values(a))
    if not a.size or not values.min() > 1e-3 * values.max():
        raise NoExactMatrix
    if a.shape[0] >= a.shape[1]:
        return solution(np.matmul(a.T, a), a.T)
    return solution(np.matmul(a, a.T), a).T
