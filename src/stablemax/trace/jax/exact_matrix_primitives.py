"""JAX's linear algebra, exactly: an entry for each primitive, on arrays of exact cells."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace import exact_matrices as exact
from stablemax.trace.exact_cells import NO_VALUE, cells_of, nearest
from stablemax.trace.jax.exact_primitives import NotExact


def _or_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """Leave a matrix that balls do not reach to float64."""

    @functools.wraps(function)
    def followed(*args: Any, **params: Any) -> Any:
        try:
            return function(*args, **params)
        except exact.NoExactMatrix:
            raise NotExact from None

    return followed


def _transposed(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


def _triangular_solve(
    a: Array, b: Array, *, left_side: bool, lower: bool, transpose_a: bool, unit_diagonal: bool, **_: Any
) -> Array:
    if transpose_a:
        a, lower = _transposed(a), not lower
    if not left_side:
        out = _triangular_solve(
            _transposed(a),
            _transposed(b),
            left_side=True,
            lower=not lower,
            transpose_a=False,
            unit_diagonal=unit_diagonal,
        )
        return _transposed(out)
    solve = functools.partial(exact.triangular_solution, lower=lower, unit=unit_diagonal)
    return exact.stacked(lambda m, right: (solve(m, right),), a, b)[0]


def _cholesky(x: Array, **_: Any) -> Array:
    return exact.stacked(lambda a: (_whole_or_none(exact.cholesky(a)),), x)[0]


def _whole_or_none(low: Array) -> Array:
    """Leave a factor that misses some numbers without any, as JAX does."""
    has_none = any(c is NO_VALUE for c in low.ravel().tolist())
    return np.where(np.tri(len(low), dtype=bool), np.array(NO_VALUE, dtype=object), low) if has_none else low


def _qr(x: Array, *, full_matrices: bool, pivoting: bool = False, **_: Any) -> list[Array]:
    if pivoting:
        raise NotExact
    return exact.stacked(functools.partial(exact.qr, complete=full_matrices), x)


# --- what leaves a choice open --------------------------------------------------------------------------


def _lu(values: Sequence[Any], x: Array, **_: Any) -> list[Any]:
    """Take the order of rows that the run chose: what goes on with the factors gets it, too."""
    orders = cells_of(np.asarray(values[2])[..., None, :])

    def factors(a: Array, order: Array) -> tuple[Array]:
        return (exact.lu(a, nearest(order[0]).astype(np.int64)),)

    return [exact.stacked(factors, x, orders)[0], None, None]


def _eigh(values: Sequence[Any], x: Array, *, lower: bool, **options: Any) -> list[Array]:
    if options.get("subset_by_index") is not None:
        raise NotExact

    def parts(a: Array, like: Array) -> tuple[Array, Array]:
        of, vectors = exact.eigenvectors(exact.symmetric(a, lower=lower), nearest(like))
        return vectors, of

    try:
        return exact.stacked(parts, x, _seen(values[0]))
    except exact.NoExactMatrix:
        raise NotExact from None


def _svd(values: Sequence[Any], x: Array, *, full_matrices: bool, compute_uv: bool, **options: Any) -> list[Array]:
    if options.get("subset_by_index") is not None or (compute_uv and full_matrices and x.shape[-1] != x.shape[-2]):
        raise NotExact
    if not compute_uv:
        return exact.stacked(lambda a: (exact.singular_values(a),), x)

    def parts(a: Array, u: Array, vh: Array) -> tuple[Array, Array, Array]:
        u, s, vh = exact.singular_vectors(a, nearest(u), nearest(vh))
        return s, u, vh

    return exact.stacked(parts, x, _seen(values[1]), _seen(values[2]))


def _seen(value: Any) -> Array:
    return cells_of(np.asarray(value))


MATRICES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "triangular_solve": _or_float64(_triangular_solve),
        "cholesky": _or_float64(_cholesky),
        "qr": _or_float64(_qr),
    }
)
"""Primitives by name, with the parameters of the equation."""

FACTORISED: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"lu": _or_float64(_lu), "eigh": _or_float64(_eigh), "svd": _or_float64(_svd)}
)
"""Primitives that leave pivots or signs open, by name: they get the results of the run first."""
