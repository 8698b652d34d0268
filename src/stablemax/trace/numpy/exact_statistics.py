"""NumPy's and SciPy's functions of many numbers on cells: moments, norms, products and interpolation."""

# ruff: noqa: A001, A002, ARG001, FBT001, FBT002 - the signatures are NumPy's

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import as_array, as_cell, cells_of, has_no_value, nearest, settled
from stablemax.trace.numpy.exact_differences import DIFFERENCES
from stablemax.trace.numpy.exact_functions import COMPUTED as BASIC
from stablemax.trace.numpy.exact_functions import NotFollowedError
from stablemax.trace.numpy.exact_matrix_functions import MATRICES, followed, norm_of_singular_values, singular_values
from stablemax.trace.special_cells import FUNCTIONS

_DIVIDE, _SQRT, _EXP, _LOG = (FUNCTIONS[name] for name in ("divide", "sqrt", "exp", "log"))
_ABSOLUTE, _POWER, _SIGN = (FUNCTIONS[name] for name in ("absolute", "power", "sign"))
_sum, _max, _min = BASIC["sum"], BASIC["max"], BASIC["min"]


def _cells(thing: Any) -> Array:
    """Take an array, a number or a list of them to cells."""
    return settled(np.asarray(thing, dtype=object))


def _order(ord: Any) -> Any:
    """Take the order of a norm, which came as a cell, back to a number."""
    return ord if ord is None or isinstance(ord, str) else float(ord)


# --- moments ------------------------------------------------------------------------------------------


def _cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None,
    aweights: Any = None, *, dtype: Any = None,
) -> Any:  # fmt: skip
    if fweights is not None or aweights is not None:
        raise NotFollowedError("cov with weights")
    rows = np.atleast_2d(_cells(m))
    rows = rows if rowvar or len(rows) == 1 else rows.T
    if y is not None:
        others = np.atleast_2d(_cells(y))
        rows = np.concatenate([rows, others if rowvar or len(others) == 1 else others.T])
    count = rows.shape[1]
    centred = rows - as_array(_DIVIDE(np.add.reduce(rows, axis=1, keepdims=True), as_cell(count)))
    freedom = count - ((0 if bias else 1) if ddof is None else ddof)
    return np.squeeze(as_array(_DIVIDE(np.dot(centred, centred.T), as_cell(max(0, freedom)))))


def _corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None, **_: Any) -> Any:
    c = as_array(_cov(x, y, rowvar))
    if c.ndim == 0:
        return as_array(_DIVIDE(c, c))
    deviations = _SQRT(np.diagonal(c))
    out = _DIVIDE(_DIVIDE(c, deviations[:, None]), deviations[None, :])
    return FUNCTIONS["clip"](out, as_cell(-1), as_cell(1))


def _ordered(a: Array, axis: int) -> Array:
    if np.isnan(nearest(a)).any():
        raise NotFollowedError("NaN among what is sorted")
    return np.take_along_axis(a, np.argsort(nearest(a), axis=axis, kind="stable"), axis=axis)


def _quantile(
    a: Any, q: Any, axis: Any = None, out: Any = None, *options: Any, keepdims: bool = False, **more: Any
) -> Any:
    if np.ndim(q) == 1:
        return np.stack([as_array(_quantile(a, one, axis, out, *options, keepdims=keepdims, **more)) for one in q])
    if np.ndim(q) or isinstance(axis, tuple) or options or more.get("method", "linear") != "linear":
        raise NotFollowedError("quantile")
    rows = _ordered(_cells(a).ravel() if axis is None else np.moveaxis(_cells(a), axis, -1), -1)
    place = as_cell(q) * (rows.shape[-1] - 1)
    low = min(int(float(place.floor())), rows.shape[-1] - 1)
    high = min(low + 1, rows.shape[-1] - 1)
    result = rows[..., low] + (rows[..., high] - rows[..., low]) * (place - low)
    return as_array(result) if not keepdims else np.expand_dims(as_array(result), 0 if axis is None else axis)


def _percentile(a: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
    return _quantile(a, _cells(q) / 100 if np.ndim(q) else as_cell(q) / 100, *args, **kwargs)


def _median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    return _quantile(a, as_cell(0.5), axis, keepdims=keepdims)


def _ignoring_nan(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, *args, **kwargs: function(a, *args, **{**kwargs, "where": ~has_no_value(a)})


def _with_nan_as(start: int, function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, *args, **kwargs: function(np.where(has_no_value(a), as_cell(start), a), *args, **kwargs)


# --- norms and products -------------------------------------------------------------------------------


def _vector_norm(x: Array, axis: Any, ord: float, *, keepdims: bool = False) -> Any:
    size = as_array(_ABSOLUTE(x))
    if ord in (math.inf, -math.inf):
        return (_max if ord > 0 else _min)(size, axis, keepdims=keepdims)
    if ord == 0:
        return _sum(_SIGN(size), axis, keepdims=keepdims)
    if ord == 1:
        return _sum(size, axis, keepdims=keepdims)
    if ord == 2:
        return _SQRT(_sum(size * size, axis, keepdims=keepdims))
    return _POWER(_sum(_POWER(size, as_cell(ord)), axis, keepdims=keepdims), _DIVIDE(as_cell(1), as_cell(ord)))


def _matrix_norm(x: Array, ord: Any, axes: tuple[int, int], *, keepdims: bool) -> Any:
    if ord in (None, "fro"):
        return _vector_norm(x, axes, 2, keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        values = norm_of_singular_values(np.moveaxis(x, axes, (-2, -1)), ord)
        return np.expand_dims(values, axes) if keepdims else values
    if ord not in (1, -1, math.inf, -math.inf):
        raise NotFollowedError(f"a matrix norm of order {ord}")
    rows, columns = (a % x.ndim for a in axes)
    added, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = _sum(_ABSOLUTE(x), added, keepdims=True)
    largest = as_array((_max if ord > 0 else _min)(as_array(sums), kept, keepdims=True))
    return largest if keepdims else np.squeeze(largest, axis=(rows, columns))


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Return ``np.linalg.norm`` on cells."""
    x, ord = _cells(x), _order(ord)
    if axis is None and ord is None:
        return _vector_norm(x, None, 2, keepdims=keepdims)
    axis = tuple(range(x.ndim)) if axis is None else axis
    axes = axis if isinstance(axis, tuple) else (axis,)
    if len(axes) == 1:
        return _vector_norm(x, axes[0], 2 if ord is None else ord, keepdims=keepdims)
    if len(axes) != 2:
        raise NotFollowedError("a norm of more than two axes")
    return _matrix_norm(x, ord, axes, keepdims=keepdims)


def _cond(x: Any, p: Any = None) -> Any:
    if p in (None, 2, -2):
        s = singular_values(x)
        return _DIVIDE(s[..., 0], s[..., -1]) if p != -2 else _DIVIDE(s[..., -1], s[..., 0])
    return norm(x, p, (-2, -1)) * norm(MATRICES["linalg.inv"](x), p, (-2, -1))


def _vector_norm_of(x: Any, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    return _vector_norm(_cells(x), axis, _order(ord), keepdims=keepdims)


def _matrix_norm_of(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return _matrix_norm(_cells(x), _order(ord), (-2, -1), keepdims=keepdims)


def _convolve(a: Any, v: Any, mode: str = "full") -> Any:
    a, v = _cells(a), _cells(v)
    if len(v) > len(a):
        a, v = v, a
    out = cells_of(np.zeros(len(a) + len(v) - 1))
    for i, factor in enumerate(v.tolist()):
        out[i : i + len(a)] = out[i : i + len(a)] + a * factor
    first, last = {"full": (0, len(out)), "valid": (len(v) - 1, len(a))}.get(
        mode, ((len(v) - 1) // 2, (len(v) - 1) // 2 + len(a))
    )
    return out[first:last]


def _correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    if len(v) > len(a):
        raise NotFollowedError("correlate with the longer array last")
    return _convolve(a, _cells(v)[::-1], mode)


def _interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    if period is not None:
        raise NotFollowedError("interp with a period")
    x, xp, fp = _cells(x), _cells(xp), _cells(fp)
    places = np.clip(np.searchsorted(nearest(xp), nearest(x), side="right") - 1, 0, max(0, len(xp) - 2))
    slopes = _DIVIDE(fp[1:] - fp[:-1], xp[1:] - xp[:-1])
    out = as_array(fp[places] + slopes[places] * (x - xp[places]))
    out = np.where(nearest(x) < float(xp[0]), fp[0] if left is None else as_cell(left), out)
    return np.where(nearest(x) > float(xp[-1]), fp[-1] if right is None else as_cell(right), out)


def _matvec(a: Array, v: Array) -> Any:
    return np.add.reduce(a * v[..., None, :], axis=-1)


def _polynomial(p: Any, x: Any) -> Any:
    out = _cells(x) * as_cell(0)
    for coefficient in _cells(p).tolist():
        out = out * _cells(x) + coefficient
    return out


# --- of SciPy -----------------------------------------------------------------------------------------


def _shifted_exp(a: Array, axis: Any) -> tuple[Array, Array]:
    """Return the exponentials above the maxima, and these; where they are infinite, 0 takes their place."""
    high = as_array(_max(a, axis, keepdims=True))
    shift = np.where(np.isfinite(nearest(high)), high, as_cell(0))
    return as_array(_EXP(a - shift)), shift


def _logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    if return_sign:
        raise NotFollowedError("logsumexp with return_sign=True")
    e, shift = _shifted_exp(_cells(a), axis)
    total = _sum(e if b is None else e * _cells(b), axis, keepdims=True)
    out = as_array(_LOG(total) + shift)
    return out if keepdims else np.squeeze(out, axis=axis)


def _softmax(x: Any, axis: Any = None) -> Any:
    e, _ = _shifted_exp(_cells(x), axis)
    return _DIVIDE(e, _sum(e, axis, keepdims=True))


def _log_softmax(x: Any, axis: Any = None) -> Any:
    e, shift = _shifted_exp(_cells(x), axis)
    return _cells(x) - shift - _LOG(_sum(e, axis, keepdims=True))


COMPUTED: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **BASIC,
        **MATRICES,
        **DIFFERENCES,
        "linalg.cond": followed(_cond),
        "polymul": _convolve,
        "cov": _cov,
        "corrcoef": _corrcoef,
        "median": _median,
        "quantile": _quantile,
        "percentile": _percentile,
        "nanprod": _ignoring_nan(BASIC["prod"]),
        "nanvar": _ignoring_nan(BASIC["var"]),
        "nanstd": _ignoring_nan(BASIC["std"]),
        "nancumsum": _with_nan_as(0, BASIC["cumsum"]),
        "nancumprod": _with_nan_as(1, BASIC["cumprod"]),
        "linalg.norm": norm,
        "linalg.vector_norm": _vector_norm_of,
        "linalg.matrix_norm": _matrix_norm_of,
        "convolve": _convolve,
        "correlate": _correlate,
        "interp": _interp,
        "polyval": _polynomial,
        # Until NumPy 2 it has another name.
        **{name: getattr(np, name) for name in ("trapezoid", "trapz") if hasattr(np, name)},
        "cross": np.cross,
        "ediff1d": np.ediff1d,
        "sinc": FUNCTIONS["sinc"],
        "fix": FUNCTIONS["trunc"],
        "i0": FUNCTIONS["i0"],
    }
)
"""Functions of NumPy that make new numbers, by name, on arrays of cells; their arguments are NumPy's."""

PRODUCTS_OF_VECTORS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "vecdot": lambda a, b: np.add.reduce(a * b, axis=-1),
        "matvec": _matvec,
        "vecmat": lambda v, a: np.add.reduce(v[..., :, None] * a, axis=-2),
    }
)
"""Generalised ufuncs of NumPy, by name, on arrays of cells."""


def _factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    """Return gamma(n + 1), and 0 below 0, as ``scipy.special.factorial`` does for real numbers."""
    if exact or extend != "zero":
        raise NotFollowedError("factorial")
    cells = cells_of(n)
    return np.where(nearest(cells) < 0, as_cell(0), FUNCTIONS["gamma"](cells + 1))


def _comb(n: Any, k: Any, exact: bool = False, repetition: bool = False) -> Any:
    """Return how many ways there are to choose k of n, 0 for none, as ``scipy.special.comb`` does."""
    if exact or repetition:
        raise NotFollowedError("comb")
    n, k = cells_of(n), cells_of(k)
    return np.where((nearest(k) > nearest(n)) | (nearest(k) < 0), as_cell(0), FUNCTIONS["binom"](n, k))


OF_SCIPY: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "polygamma": FUNCTIONS["polygamma"],
        **{f.__name__.removeprefix("_"): f for f in (_logsumexp, _softmax, _log_softmax, _factorial, _comb)},
    }
)
"""Functions of ``scipy.special`` that are no ufuncs, by name, on arrays of cells."""
