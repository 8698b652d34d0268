"""NumPy's functions on cells: those that compute, those that only move, and those that are about the values."""

# ruff: noqa: ARG001, FBT002 - the signatures are NumPy's

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from flint import arb

from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError
from stablemax.trace.exact_cells import EXACT, as_array, as_cell, has_no_value


class NotFollowedError(StablemaxError):
    """A function was called in a way that has no exact counterpart here."""


def _reduction(ufunc: np.ufunc, start: float) -> Callable[..., Any]:
    """Return ``np.sum`` or ``np.prod`` on cells."""

    def reduce(
        a: Array, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = start,
        where: Any = True,
    ) -> Any:  # fmt: skip
        return ufunc.reduce(a, axis=axis, keepdims=keepdims, initial=as_cell(initial), where=where)

    return reduce


def _extreme(ufunc: np.ufunc, start: float) -> Callable[..., Any]:
    """Return ``np.max`` or ``np.min`` on cells: they take no dtype."""
    reduce = _reduction(ufunc, start)
    return lambda a, axis=None, out=None, *args, **kwargs: reduce(a, axis, None, out, *args, **kwargs)


_divide, _square, _sqrt = EXACT["divide"], EXACT["square"], EXACT["sqrt"]
_sum, _prod = _reduction(np.add, 0), _reduction(np.multiply, 1)
_max, _min = _extreme(EXACT["maximum"], -math.inf), _extreme(EXACT["minimum"], math.inf)


def _mean(
    a: Array, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, ddof: float = 0,
    where: Any = True,
) -> Any:  # fmt: skip
    """Return ``np.mean`` on cells; `ddof` is subtracted from the number of cells, as `_var` needs it."""
    count = np.add.reduce(np.broadcast_to(where, a.shape), axis=axis, keepdims=keepdims, dtype=np.int64)
    return _divide(_sum(a, axis, keepdims=keepdims, where=where), count - ddof)


def _var(
    a: Array, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, mean: Any = None, correction: Any = None,
) -> Any:  # fmt: skip
    middle = _mean(a, axis, keepdims=True, where=where)
    freedom = ddof if correction is None else correction
    return _mean(_square(a - middle), axis, keepdims=keepdims, ddof=freedom, where=where)


def _running(ufunc: np.ufunc) -> Callable[..., Any]:
    """Return ``np.cumsum`` or ``np.cumprod`` on cells."""
    return lambda a, axis=None, *_: ufunc.accumulate(a.ravel() if axis is None else a, axis=axis or 0)


def _ptp(a: Array, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    return np.subtract(_max(a, axis, keepdims=keepdims), _min(a, axis, keepdims=keepdims))


def _average(a: Array, axis: Any = None, weights: Any = None, returned: Any = False, *, keepdims: Any = False) -> Any:
    if returned:
        raise NotFollowedError("average with returned=True")
    if weights is None:
        return _mean(a, axis, keepdims=keepdims)
    if np.shape(weights) != a.shape:
        if not isinstance(axis, int):
            raise NotFollowedError("average with weights of another shape")
        shape = [1] * a.ndim
        shape[axis] = -1
        weights = np.reshape(weights, shape)
    total = np.broadcast_to(weights, a.shape)
    return _divide(_sum(a * weights, axis, keepdims=keepdims), _sum(total, axis, keepdims=keepdims))


def _clip(a: Array, a_min: Any = None, a_max: Any = None, out: Any = None, **limits: Any) -> Any:
    low, high = limits.get("min", a_min), limits.get("max", a_max)
    raised = a if low is None else EXACT["maximum"](a, low)
    return raised if high is None else EXACT["minimum"](raised, high)


def _trace(a: Array, *offset_and_axes: Any, dtype: Any = None, **kwargs: Any) -> Any:
    return _sum(np.diagonal(a, *offset_and_axes[:3], **kwargs), axis=-1)


def _rounded(a: Array, decimals: Any = 0, out: Any = None) -> Any:
    scale = arb(10) ** int(decimals)
    return _divide(EXACT["rint"](a * scale), scale)


def _ignoring_nan(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, *args, **kwargs: function(a, *args, **{**kwargs, "where": ~has_no_value(a)})


COMPUTED: dict[str, Callable[..., Any]] = {
    "sum": _sum,
    "prod": _prod,
    "max": _max,
    "min": _min,
    "amax": _max,
    "amin": _min,
    "mean": _mean,
    "var": _var,
    "std": lambda *args, **kwargs: _sqrt(_var(*args, **kwargs)),
    "cumsum": _running(np.add),
    "cumprod": _running(np.multiply),
    "ptp": _ptp,
    "average": _average,
    "clip": _clip,
    "nansum": _ignoring_nan(_sum),
    "nanmax": _ignoring_nan(_max),
    "nanmin": _ignoring_nan(_min),
    "nanmean": _ignoring_nan(_mean),
    "round": _rounded,
    "around": _rounded,
    "trace": _trace,
    "dot": np.dot,
    "vdot": np.vdot,
    "inner": np.inner,
    "outer": np.outer,
    "tensordot": np.tensordot,
    "einsum": lambda *operands, optimize=False, **_: np.einsum(*operands, optimize=bool(optimize)),
    "kron": np.kron,
    "diff": np.diff,
    "linalg.multi_dot": lambda arrays: functools.reduce(np.dot, arrays),
    "where": np.where,
    "select": lambda conditions, choices, default=0: np.select(conditions, [as_array(c) for c in choices], default),
}
"""Functions that make new numbers, by name, on arrays of cells; their arguments are NumPy's."""

MOVED = frozenset((
    "reshape", "ravel", "transpose", "permute_dims", "matrix_transpose", "swapaxes", "moveaxis", "rollaxis",
    "squeeze", "expand_dims", "broadcast_to", "broadcast_arrays", "concatenate", "concat", "stack", "vstack",
    "hstack", "dstack", "column_stack", "block", "split", "array_split", "hsplit", "vsplit", "dsplit", "unstack",
    "tile", "repeat", "roll", "flip", "fliplr", "flipud", "rot90", "take", "take_along_axis", "compress", "extract",
    "choose", "diag", "diagonal", "diagflat", "tril", "triu", "atleast_1d", "atleast_2d", "atleast_3d", "pad",
    "insert", "delete", "append", "resize", "copy", "copyto", "put", "place", "putmask", "put_along_axis",
    "fill_diagonal", "meshgrid", "linalg.diagonal", "linalg.matrix_transpose",
))  # fmt: skip
"""Functions that move numbers from one place to another, some of them in place."""

LIKE = frozenset(("zeros_like", "ones_like", "empty_like", "full_like"))
"""Functions that make an array like another one."""

TRUTHS = frozenset(("nonzero", "flatnonzero", "argwhere", "count_nonzero", "all", "any"))
"""Functions that ask which numbers are not 0."""

VALUES = frozenset((
    *TRUTHS,
    "argmax", "argmin", "argsort", "argpartition", "nanargmax", "nanargmin",
    "searchsorted", "isclose", "allclose", "array_equal", "array_equiv", "isin",
    "isreal", "iscomplex", "isrealobj", "iscomplexobj", "shape", "ndim", "size", "result_type", "can_cast",
    "min_scalar_type", "common_type", "may_share_memory", "shares_memory", "array2string", "array_repr",
    "array_str", "isneginf", "isposinf", "lexsort", "unravel_index", "digitize", "bincount", "savetxt", "save",
    "savez",
))  # fmt: skip
"""Functions whose results follow the plain values by nature: places, comparisons, texts."""
