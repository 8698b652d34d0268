"""NumPy's linear algebra on cells: determinants, solutions, factors, eigenvalues, and norms made of singular values."""

# ruff: noqa: ARG001, FBT001, FBT002, N803 - the signatures are NumPy's

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace import exact_matrices as exact
from stablemax.trace.exact_cells import cells_of, nearest, settled
from stablemax.trace.numpy.exact_functions import NotFollowedError


def followed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Name what is not followed where a matrix is one that balls do not reach."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except exact.NoExactMatrix:
            raise NotFollowedError("a matrix that balls do not reach") from None

    return run


def _cells(a: Any) -> Array:
    return settled(np.asarray(a, dtype=object))


def _one(function: Callable[..., Any], *stacks: Any) -> Array:
    return exact.stacked(lambda *matrices: (function(*matrices),), *map(_cells, stacks))[0]


def _solve(a: Any, b: Any) -> Array:
    right = _cells(b)
    if right.ndim != 1:
        return _one(exact.solution, a, right)
    return _one(exact.solution, a, right[:, None])[..., 0]


def _matrix_power(a: Any, n: int) -> Array:
    base = _cells(a) if n >= 0 else _one(exact.inverse, a)
    out = np.broadcast_to(exact.identity(base.shape[-1]), base.shape)
    for _ in range(abs(n)):
        out = np.matmul(out, base)
    return out


def singular_values(a: Any) -> Array:
    """Return the singular values of matrices."""
    return _one(exact.singular_values, a)


def _pinv(a: Any, *options: Any, **more: Any) -> Array:
    if options or more:
        raise NotFollowedError("pinv with a tolerance")
    return _one(exact.pseudo_inverse, a)


# --- several results ------------------------------------------------------------------------------------


def _slogdet(values: Any, a: Any) -> Any:
    return exact.stacked(exact.sign_and_log, _cells(a))


def _qr(values: Any, a: Any, mode: str = "reduced") -> Any:
    if mode not in ("reduced", "complete"):
        raise NotFollowedError(f"qr with mode={mode!r}")
    return exact.stacked(functools.partial(exact.qr, complete=mode == "complete"), _cells(a))


def _eigh(values: Any, a: Any, UPLO: str = "L") -> Any:
    def parts(m: Array, like: Array) -> tuple[Array, Array]:
        return exact.eigenvectors(exact.symmetric(m, lower=UPLO.upper() == "L"), nearest(like))

    return exact.stacked(parts, _cells(a), cells_of(values[1]))


def _svd(values: Any, a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    cells = _cells(a)
    if full_matrices and cells.shape[-1] != cells.shape[-2]:
        raise NotFollowedError("svd with full matrices")

    def parts(m: Array, u: Array, vh: Array) -> tuple[Array, Array, Array]:
        return exact.singular_vectors(m, nearest(u), nearest(vh))

    return exact.stacked(parts, cells, cells_of(values[0]), cells_of(values[2]))


MATRICES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "linalg.det": followed(lambda a: _one(exact.determinant, a)),
        "linalg.inv": followed(lambda a: _one(exact.inverse, a)),
        "linalg.solve": followed(_solve),
        "linalg.matrix_power": followed(_matrix_power),
        "linalg.cholesky": followed(lambda a, *, upper=False: _cholesky(a, upper=upper)),
        "linalg.eigvalsh": followed(
            lambda a, UPLO="L": _one(lambda m: exact.eigenvalues(exact.symmetric(m, lower=UPLO.upper() == "L")), a)
        ),
        "linalg.svdvals": followed(singular_values),
        "linalg.pinv": followed(_pinv),
        "linalg.outer": np.multiply.outer,
        "linalg.vecdot": lambda x1, x2, *, axis=-1: np.add.reduce(x1 * x2, axis=axis),
        "linalg.trace": lambda x, *, offset=0: np.add.reduce(np.diagonal(x, offset, -2, -1), axis=-1),
        "linalg.cross": lambda x1, x2, *, axis=-1: np.cross(x1, x2, axis=axis),
        "linalg.matmul": np.matmul,
    }
)
"""Functions of NumPy by name, on arrays of cells; their arguments are NumPy's."""


def _cholesky(a: Any, *, upper: bool) -> Array:
    low = _one(exact.cholesky, np.swapaxes(_cells(a), -1, -2) if upper else a)
    return np.swapaxes(low, -1, -2) if upper else low


SEVERAL: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "linalg.slogdet": followed(_slogdet),
        "linalg.qr": followed(_qr),
        "linalg.eigh": followed(_eigh),
        "linalg.svd": followed(_svd),
    }
)
"""Functions with several results: they get those of the run first, since signs are open."""


def norm_of_singular_values(x: Any, order: Any) -> Any:
    """Return the largest or smallest singular value, or the sum of them."""
    s = followed(singular_values)(x)
    return np.add.reduce(s, axis=-1) if order == "nuc" else s[..., 0 if order > 0 else -1]
