"""PyTorch's linear algebra, exactly: determinants, solutions, factorisations, eigenvalues."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stablemax.numerics.formats import Array
from stablemax.trace import exact_matrices as exact
from stablemax.trace.exact_cells import as_array, as_cell, cells_of, nearest
from stablemax.trace.torch.exact_ops import NotExact, matrix_product

if TYPE_CHECKING:
    from stablemax.trace.torch.aten_call import Call

# ruff: noqa: A002, ARG001, FBT001, FBT002, N803 - names, arguments and their order are those of aten's schemas


def _or_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """Leave a matrix that balls do not reach to float64."""

    @functools.wraps(function)
    def followed(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except exact.NoExactMatrix:
            raise NotExact from None

    return followed


def _one(function: Callable[..., Array], *stacks: Array) -> Array:
    return exact.stacked(lambda *matrices: (function(*matrices),), *stacks)[0]


def _mT(a: Array) -> Array:  # noqa: N802 - as PyTorch's
    return np.swapaxes(a, -1, -2)


# --- determinants and solutions -------------------------------------------------------------------------


def _det(call: Call, A: Array) -> Any:
    return _one(exact.determinant, A), _factors(A, call.ran[1], call.ran[2]), None


def _slogdet(call: Call, A: Array) -> Any:
    sign, log = exact.stacked(exact.sign_and_log, A)
    return sign, log, _factors(A, call.ran[2], call.ran[3]), None


def _factors(A: Array, factors: torch.Tensor, pivots: torch.Tensor) -> Array:
    """Return the packed factors of a matrix, or of the transposed one: of that which the run factorised."""
    run = _multiplied(_floats(factors), _rows_of(pivots))
    given = nearest(A).reshape(run.shape)
    is_transposed = np.abs(run - np.swapaxes(given, -1, -2)).sum() < np.abs(run - given).sum()
    return _lu_by(_mT(A) if is_transposed else A, pivots)


def _multiplied(factors: Array, pivots: Array) -> Array:
    """Return the matrices that packed factors are of."""
    out = np.empty((len(pivots), *factors.shape[-2:]))
    for packed, rows, product in zip(factors.reshape(out.shape), pivots, out, strict=True):
        product[exact.order_of((rows - 1).tolist(), len(packed))] = (
            np.tril(packed, -1) + np.eye(len(packed))
        ) @ np.triu(packed)
    return out


def _lu_by(A: Array, pivots: torch.Tensor) -> Array:
    """Return packed factors in the order of rows that the run chose: what goes on with them gets its pivots."""
    rows = A.shape[-2]
    return _lu_in([exact.order_of((p - 1).tolist(), rows) for p in _rows_of(pivots)], A)


def _lu_in(orders: Sequence[Array], A: Array) -> Array:
    if max(A.shape[-2:]) > exact.LARGEST_MATRIX:
        raise NotExact
    packed = [exact.lu(a, order) for a, order in zip(A.reshape(-1, *A.shape[-2:]), orders, strict=True)]
    return np.array(packed, dtype=object).reshape(A.shape)


def _rows_of(pivots: torch.Tensor) -> Array:
    return pivots.cpu().numpy().reshape(-1, pivots.shape[-1])


def _inv(A: Array, *, check_errors: bool = False) -> Any:
    return _one(exact.inverse, A), None


def _is_vector(A: Array, B: Array) -> bool:
    """Tell whether B is a stack of vectors, as ``torch.linalg.solve`` does."""
    return B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1])


def _solve(call: Call, A: Array, B: Array, *, left: bool = True, check_errors: bool = False) -> Any:
    is_vector = _is_vector(A, B)
    right = B[..., None] if is_vector else B
    out = _one(exact.solution, A, right) if left else _mT(_one(exact.solution, _mT(A), _mT(right)))
    return (out[..., 0] if is_vector else out), _factors(A, call.ran[1], call.ran[2]), None, None


def _solve_triangular(self: Array, B: Array, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    def solved(a: Array, b: Array) -> Array:
        return exact.triangular_solution(a, b, lower=not upper, unit=unitriangular)

    def solved_right(a: Array, b: Array) -> Array:
        return exact.triangular_solution(a.T, b.T, lower=upper, unit=unitriangular).T

    return _one(solved if left else solved_right, self, B)


def _old_triangular(
    self: Array, A: Array, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    matrix = _mT(A) if transpose else A
    return _solve_triangular(matrix, self, upper=upper != transpose, unitriangular=unitriangular), A


# --- Cholesky -------------------------------------------------------------------------------------------


def _cholesky(self: Array, *, upper: bool = False, check_errors: bool = False) -> Any:
    low = _one(exact.cholesky, _mT(self) if upper else self)
    return (_mT(low) if upper else low), None


def _cholesky_solve(self: Array, input2: Array, upper: bool = False) -> Any:
    def solved(b: Array, low: Array) -> Array:
        return exact.triangular_solution(low.T, exact.triangular_solution(low, b, lower=True), lower=False)

    return _one(solved, self, _triangle(input2, upper=upper))


def _triangle(factor: Array, *, upper: bool) -> Array:
    """Return the lower factor; the numbers in the other triangle do not matter."""
    low = _mT(factor) if upper else factor
    return np.where(np.tri(low.shape[-1], dtype=bool), low, as_cell(0))


def _cholesky_inverse(self: Array, upper: bool = False) -> Any:
    return _cholesky_solve(np.broadcast_to(exact.identity(self.shape[-1]), self.shape), self, upper)


# --- LU and QR ------------------------------------------------------------------------------------------


def _lu_factor(call: Call, A: Array, *, pivot: bool = True, check_errors: bool = False) -> Any:
    return _lu_by(A, call.ran[1]), None, None


def _lu(call: Call, A: Array, *, pivot: bool = True) -> Any:
    rows = A.shape[-2]
    stack = A.reshape(-1, *A.shape[-2:])
    # Without pivots the P of the run is empty.
    chosen = (
        _floats(call.ran[0]).reshape(-1, rows, rows)
        if pivot
        else np.broadcast_to(np.eye(rows), (len(stack), rows, rows))
    )
    packed = _lu_in(list(chosen.argmax(axis=-2)), stack)
    low, up = _one(exact.lower_of, packed), _one(exact.upper_of, packed)
    leading = A.shape[:-2]
    shaped = (x.reshape(leading + x.shape[-2:]) for x in (low, up))
    return (cells_of(_floats(call.ran[0])) if pivot else None, *shaped)


def _floats(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().to(torch.float64).numpy()


def _lu_solve(LU: Array, pivots: torch.Tensor, B: Array, *, left: bool = True, adjoint: bool = False) -> Any:
    """Solve by the packed factors: L U = P^T A."""
    if not left:
        return _mT(_lu_solve(LU, pivots, _mT(B), adjoint=not adjoint))
    leading = np.broadcast_shapes(LU.shape[:-2], B.shape[:-2])
    factors = np.broadcast_to(LU, leading + LU.shape[-2:]).reshape(-1, *LU.shape[-2:])
    right = np.broadcast_to(B, leading + B.shape[-2:]).reshape(-1, *B.shape[-2:])
    orders = np.broadcast_to(pivots.cpu().numpy(), (*leading, pivots.shape[-1])).reshape(-1, pivots.shape[-1])
    if max(*LU.shape[-2:], B.shape[-1]) > exact.LARGEST_MATRIX:
        raise NotExact
    out = [_lu_solved(f, exact.order_of((p - 1).tolist(), len(f)), b, adjoint=adjoint)
           for f, p, b in zip(factors, orders, right, strict=True)]  # fmt: skip
    return np.array(out, dtype=object).reshape(leading + B.shape[-2:])


def _lu_solved(factors: Array, order: Array, b: Array, *, adjoint: bool) -> Array:
    if not adjoint:
        inner = exact.triangular_solution(factors, b[order], lower=True, unit=True)
        return exact.triangular_solution(factors, inner, lower=False)
    inner = exact.triangular_solution(factors.T, b, lower=True)
    out = np.empty_like(b)
    out[order] = exact.triangular_solution(factors.T, inner, lower=False, unit=True)
    return out


def _lu_unpack(LU_data: Array, LU_pivots: torch.Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    rows = LU_data.shape[-2]
    p: Any = None
    if unpack_pivots:
        orders = [exact.order_of((row - 1).tolist(), rows) for row in _rows_of(LU_pivots)]
        p = cells_of(np.stack([np.eye(rows)[order].T for order in orders])).reshape(*LU_data.shape[:-2], rows, rows)
    if not unpack_data:
        return p, None, None
    return p, _one(exact.lower_of, LU_data), _one(exact.upper_of, LU_data)


def _qr(A: Array, mode: str = "reduced") -> Any:
    q, r = exact.stacked(functools.partial(exact.qr, complete=mode == "complete"), A)
    return (None if mode == "r" else q), r


def _householder(input: Array, tau: Array) -> Any:
    def product(vectors: Array, factors: Array) -> Array:
        unit = np.where(
            np.tri(len(vectors), vectors.shape[1], -1, dtype=bool), vectors, cells_of(np.eye(*vectors.shape))
        )
        reflections = [(unit[k:, k], factors[0, k]) for k in range(factors.shape[1])]
        return exact.reflected(reflections, *vectors.shape)

    return _one(product, input, tau[..., None, :])


# --- eigenvalues ----------------------------------------------------------------------------------------


def _eigh(call: Call, A: Array, UPLO: str = "L", compute_v: bool = True) -> Any:
    whole = _one(functools.partial(exact.symmetric, lower=UPLO.upper() == "L"), A)
    if not compute_v:
        return _one(exact.eigenvalues, whole), None

    def parts(a: Array, like: Array) -> tuple[Array, Array]:
        return exact.eigenvectors(a, nearest(like))

    return tuple(exact.stacked(parts, whole, cells_of(_floats(call.ran[1]))))


def _svd(
    call: Call, A: Array, full_matrices: bool = False, compute_uv: bool = True, *, driver: str | None = None
) -> Any:
    if not compute_uv:
        return None, _one(exact.singular_values, A), None
    if full_matrices and A.shape[-1] != A.shape[-2]:
        raise NotExact

    def parts(a: Array, u: Array, vh: Array) -> tuple[Array, Array, Array]:
        return exact.singular_vectors(a, nearest(u), nearest(vh))

    return tuple(exact.stacked(parts, A, *(cells_of(_floats(call.ran[i])) for i in (0, 2))))


def _pinv(self: Array, *args: Any, **kwargs: Any) -> Any:
    """Return the pseudo-inverse of a matrix of full rank; what a tolerance cuts off is left to float64."""
    if args not in ((), (0.0,), (1e-15,)) or any(v not in (None, False) for v in kwargs.values()):
        raise NotExact
    return _one(exact.pseudo_inverse, self)


def _lstsq(call: Call, self: Array, b: Array, rcond: Any = None, *, driver: str | None = None) -> Any:
    right = b[..., None] if b.ndim == self.ndim - 1 else b
    out = matrix_product(_pinv(self), right)
    residuals = None
    if call.ran[1].numel():
        rest = as_array(matrix_product(self, out) - right)
        residuals = np.add.reduce(rest * rest, axis=-2)
    return (out[..., 0] if right is not b else out), residuals, None, None


_OF_CALL: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "_linalg_det": _det,
        "_linalg_slogdet": _slogdet,
        "_linalg_solve_ex": _solve,
        "linalg_lu_factor_ex": _lu_factor,
        "linalg_lu": _lu,
        "_linalg_eigh": _eigh,
        "_linalg_svd": _svd,
        "linalg_lstsq": _lstsq,
    }
)
_OF_ARGUMENTS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "linalg_inv_ex": _inv,
        "linalg_solve_triangular": _solve_triangular,
        "triangular_solve": _old_triangular,
        "linalg_cholesky_ex": _cholesky,
        "cholesky_solve": _cholesky_solve,
        "cholesky_inverse": _cholesky_inverse,
        "linalg_lu_solve": _lu_solve,
        "lu_unpack": _lu_unpack,
        "linalg_qr": _qr,
        "linalg_householder_product": _householder,
        "linalg_pinv": _pinv,
        "linalg_matrix_exp": lambda self: _one(exact.exponential, self),
    }
)

FACTORISED: Mapping[str, Callable[..., Any]] = MappingProxyType({n: _or_float64(f) for n, f in _OF_CALL.items()})
"""Operators by their aten name that leave pivots or signs open: they get the call first, with what it gave."""

LINEAR_ALGEBRA: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {n: _or_float64(f) for n, f in _OF_ARGUMENTS.items()}
)
"""Operators by their aten name."""
