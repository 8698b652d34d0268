"""What JAX's primitives compute, exactly: an entry for each, on arrays of exact cells."""

# ruff: noqa: ARG005 - the parameters are those of the primitives

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from jax import lax

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import EXACT as UFUNC
from stablemax.trace.exact_cells import as_array, as_cell, cells_of
from stablemax.trace.jax.movements import positions, scattering
from stablemax.trace.special_cells import SPECIAL

LARGEST_PRODUCT = 1 << 20
"""Products of more multiplications than this are left to float64: balls would take minutes."""


class NotExact(Exception):  # noqa: N818 - not an error: the primitive is then taken in float64
    """A primitive, or a way of calling it, that has no entry here."""


_ADD, _MULTIPLY, _DIVIDE = UFUNC["add"], UFUNC["multiply"], UFUNC["divide"]
_MAXIMUM, _MINIMUM = UFUNC["maximum"], UFUNC["minimum"]
_ONE = as_cell(1)


def _of_cells(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs, **_: function(*map(cells_of, xs))


def _reduction(ufunc: np.ufunc) -> Callable[..., Any]:
    return lambda x, *, axes, **_: ufunc.reduce(x, axis=tuple(axes)) if axes else x


def _running(ufunc: np.ufunc) -> Callable[..., Any]:
    def accumulate(x: Array, *, axis: int, reverse: bool, **_: Any) -> Any:
        if not reverse:
            return ufunc.accumulate(x, axis=axis)
        return np.flip(ufunc.accumulate(np.flip(x, axis), axis=axis), axis)

    return accumulate


def _logistic(x: Array, **_: Any) -> Any:
    return UFUNC["reciprocal"](UFUNC["exp"](-x) + _ONE)


def _clamp(low: Array, x: Array, high: Array, **_: Any) -> Any:
    return _MINIMUM(_MAXIMUM(x, low), high)


def _round(x: Array, *, rounding_method: Any, **_: Any) -> Any:
    if rounding_method == lax.RoundingMethod.TO_NEAREST_EVEN:
        return UFUNC["rint"](x)
    return UFUNC["sign"](x) * UFUNC["floor"](UFUNC["absolute"](x) + as_cell(0.5))


def truncated(cells: Array) -> Array:
    """Round cells towards 0."""
    return as_array(UFUNC["sign"](cells) * UFUNC["floor"](UFUNC["absolute"](cells)))


def as_matrices(a: Array, b: Array, dimension_numbers: Any) -> tuple[Array, Array, tuple[int, ...]]:
    """Arrange the factors of a general product as stacks of matrices (B, F, K) and (B, K, G); and its shape.

    >>> [x.shape for x in as_matrices(np.zeros((2, 3)), np.zeros((4, 3)), (((1,), (1,)), ((), ())))[:2]]
    [(1, 2, 3), (1, 3, 4)]
    """
    (a_summed, b_summed), (a_batch, b_batch) = dimension_numbers
    a_free = [d for d in range(a.ndim) if d not in (*a_summed, *a_batch)]
    b_free = [d for d in range(b.ndim) if d not in (*b_summed, *b_batch)]
    batch = tuple(a.shape[d] for d in a_batch)
    shape = (*batch, *(a.shape[d] for d in a_free), *(b.shape[d] for d in b_free))
    many, summed = math.prod(batch), math.prod(a.shape[d] for d in a_summed)
    rows, columns = math.prod(a.shape[d] for d in a_free), math.prod(b.shape[d] for d in b_free)
    left = a.transpose((*a_batch, *a_free, *a_summed)).reshape(many, rows, summed)
    right = b.transpose((*b_batch, *b_summed, *b_free)).reshape(many, summed, columns)
    return left, right, shape


def _dot_general(a: Array, b: Array, *, dimension_numbers: Any, **_: Any) -> Array:
    left, right, shape = as_matrices(cells_of(a), cells_of(b), dimension_numbers)
    if left.size * right.shape[-1] > LARGEST_PRODUCT or not left.shape[-1]:
        raise NotExact
    return as_array(np.matmul(left, right)).reshape(shape)


def _convolution(
    x: Array, kernel: Array, *, window_strides: Any, padding: Any, lhs_dilation: Any, rhs_dilation: Any,
    dimension_numbers: Any, feature_group_count: int, batch_group_count: int, **_: Any,
) -> Array:  # fmt: skip
    """Multiply the patches of x, found by moving positions, with the kernel."""
    out_axes, in_axes = dimension_numbers.out_spec, dimension_numbers.rhs_spec
    spatial = [kernel.shape[d] for d in in_axes[2:]]
    many = x.size * math.prod(spatial) * kernel.shape[in_axes[0]]
    if feature_group_count != 1 or batch_group_count != 1 or many > LARGEST_PRODUCT:
        raise NotExact
    where = lax.conv_general_dilated_patches(
        (positions(x.shape) + 1).astype(np.float32), spatial, window_strides, padding, lhs_dilation, rhs_dilation,
        dimension_numbers, precision=lax.Precision.HIGHEST,
    )  # fmt: skip
    pool = np.append(cells_of([0.0]), x.ravel())
    patches = np.moveaxis(pool[np.asarray(where).astype(np.int64)], out_axes[1], -1)
    weights = kernel.transpose(in_axes).reshape(kernel.shape[in_axes[0]], -1)
    return np.moveaxis(as_array(np.matmul(patches, weights.T)), -1, out_axes[1])


def _sum_of(*xs: Array, **_: Any) -> Any:
    return functools.reduce(_ADD, map(cells_of, xs))


_AS_UFUNCS = (
    "exp", "exp2", "expm1", "log", "log1p", "sqrt", "cbrt", "tanh", "sinh", "cosh", "sin", "cos", "tan", "sign",
    "floor", "ceil", "square",
)  # fmt: skip
_OTHER_NAMES = {
    "neg": "negative", "abs": "absolute", "add": "add", "add_any": "add", "sub": "subtract", "mul": "multiply",
    "div": "divide", "pow": "power", "max": "maximum", "min": "minimum", "asin": "arcsin", "acos": "arccos",
    "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip
_SPECIAL_NAMES = {
    "rem": "fmod", "atan2": "arctan2", "igamma": "gammainc", "igammac": "gammaincc", "bessel_i0e": "i0e",
    "bessel_i1e": "i1e",
}  # fmt: skip
"""JAX's names of NumPy's functions, and of SciPy's."""

EXACT: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **{name: _of_cells(UFUNC[name]) for name in _AS_UFUNCS},
        **{name: _of_cells(UFUNC[other]) for name, other in _OTHER_NAMES.items()},
        **{
            name: _of_cells(SPECIAL[name])
            for name in ("erf", "erfc", "erf_inv", "lgamma", "digamma", "polygamma", "zeta")
        },
        **{name: _of_cells(SPECIAL[other]) for name, other in _SPECIAL_NAMES.items()},
        "integer_pow": lambda x, *, y, **_: UFUNC["power"](x, as_cell(y)),
        "rsqrt": lambda x, **_: UFUNC["reciprocal"](UFUNC["sqrt"](x)),
        "logistic": _logistic,
        "clamp": _clamp,
        "round": _round,
        "reduce_sum": _reduction(_ADD),
        "reduce_prod": _reduction(_MULTIPLY),
        "reduce_max": _reduction(_MAXIMUM),
        "reduce_min": _reduction(_MINIMUM),
        "cumsum": _running(_ADD),
        "cumprod": _running(_MULTIPLY),
        "cummax": _running(_MAXIMUM),
        "cummin": _running(_MINIMUM),
        "cumlogsumexp": _running(UFUNC["logaddexp"]),
        "dot_general": _dot_general,
        "conv_general_dilated": _convolution,
        "convert_element_type": lambda x, **_: cells_of(x),
        "reduce_precision": lambda x, **_: x,
        "scatter": scattering(lambda old, new: new),
        "scatter-add": scattering(operator.add),
        "scatter-mul": scattering(operator.mul),
        "scatter-min": scattering(UFUNC["minimum"]),
        "scatter-max": scattering(UFUNC["maximum"]),
    }
)
"""Primitives by name: cells of numbers, and integers as they are, with the parameters of the equation."""

FROM_THE_VALUE = frozenset(("nextafter",))
"""Primitives that are about the numbers of a format: what they give is exact."""

COMPARISONS = {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    "lt_to": "less",
    "le_to": "less_equal",
    "is_finite": "isfinite",
}  # fmt: skip
"""JAX's comparisons as NumPy calls them."""

WORDS = {
    **{name: other for name, other in _OTHER_NAMES.items() if name != other},
    **_SPECIAL_NAMES,
    "convert_element_type": "astype",
    "integer_pow": "power", "logistic": "sigmoid", "reduce_sum": "sum", "reduce_prod": "prod", "reduce_max": "max",
    "reduce_min": "min", "dot_general": "matmul",
}  # fmt: skip
"""NumPy's names of primitives, for sentences about all libraries."""
