"""What PyTorch's operators compute, exactly: one entry for each aten operator, on arrays of exact cells."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import EXACT as UFUNC
from stablemax.trace.exact_cells import as_array, as_cell, cells_of, nearest
from stablemax.trace.special_cells import SPECIAL

# ruff: noqa: A002, A006, ARG001, ARG005, FBT001, FBT002 - names, arguments and their order are those of aten's schemas


class NotExact(Exception):  # noqa: N818 - not an error: the operator is then taken in float64
    """An operator, or a way of calling it, that has no entry here."""


def in_cells(value: Any) -> Array:
    """Take an argument to cells: an array of them as it is, a number or an integer tensor by its value."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, torch.Tensor):
        return cells_of(value.detach().cpu().to(torch.float64).numpy())
    return cells_of(float(value))


def positions(shape: tuple[int, ...], start: int = 0) -> torch.Tensor:
    """Number the cells of an array from `start`, as a tensor that PyTorch can move about.

    >>> positions((2, 2), 1).tolist()
    [[1, 2], [3, 4]]
    """
    return torch.arange(start, start + math.prod(shape)).reshape(shape)


LARGEST_PRODUCT = 1 << 20
"""Matrix products of more multiplications than this are left to float64: balls would take minutes."""

_ADD, _MULTIPLY, _DIVIDE = UFUNC["add"], UFUNC["multiply"], UFUNC["divide"]
_MAXIMUM, _MINIMUM = UFUNC["maximum"], UFUNC["minimum"]
_EXP, _LOG, _SQRT = UFUNC["exp"], UFUNC["log"], UFUNC["sqrt"]

Axes = int | list[int] | tuple[int, ...] | None


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: function(*map(in_cells, arguments))


def _scaled(value: Any, alpha: float) -> Any:
    return in_cells(value) if alpha == 1 else in_cells(value) * as_cell(float(alpha))


def _add(self: Any, other: Any, *, alpha: float = 1) -> Any:
    return in_cells(self) + _scaled(other, alpha)


def _sub(self: Any, other: Any, *, alpha: float = 1) -> Any:
    return in_cells(self) - _scaled(other, alpha)


def _rsub(self: Any, other: Any, *, alpha: float = 1) -> Any:
    return in_cells(other) - _scaled(self, alpha)


def _div(self: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    return _QUOTIENTS[rounding_mode](in_cells(self), in_cells(other))


_QUOTIENTS: Mapping[str | None, Any] = MappingProxyType(
    {None: UFUNC["divide"], "floor": SPECIAL["floor_divide"], "trunc": SPECIAL["trunc_divide"]}
)
"""What division gives, by its rounding mode."""


def _clamp(self: Array, min: Any = None, max: Any = None) -> Any:
    low = self if min is None else _MAXIMUM(self, in_cells(min))
    return low if max is None else _MINIMUM(low, in_cells(max))


def _fill(self: Array, value: Any, non_blocking: bool = False) -> Array:
    return np.broadcast_to(in_cells(value), self.shape).copy()


def reduced(ufunc: np.ufunc, x: Array, dim: Axes, *, keepdim: bool, takes_nothing: bool = False) -> Array:
    """Reduce an array over axes, or over all of them where none is given, as PyTorch does."""
    axes = (dim,) if isinstance(dim, int) else tuple(dim or ())
    # Without dimensions PyTorch takes the axes 0 and -1 all the same.
    out = as_array(ufunc.reduce(x, axis=axes if axes and x.ndim else None, keepdims=keepdim))
    if out.size and not x.size and not takes_nothing:
        raise NotExact
    return out


def _sum(self: Any, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    return reduced(_ADD, in_cells(self), dim, keepdim=keepdim, takes_nothing=True)


def _mean(self: Array, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    total = _sum(self, dim, keepdim)
    return _DIVIDE(total, as_cell(float(self.size // max(1, total.size))))


def _prod(self: Array, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    return reduced(_MULTIPLY, self, dim, keepdim=keepdim, takes_nothing=True)


def _extreme(ufunc: np.ufunc, self: Array, dim: Any = None, keepdim: bool = False) -> Any:
    if isinstance(dim, np.ndarray):  # torch.max(a, b) is elementwise
        return ufunc(self, dim)
    cells = reduced(ufunc, self, dim, keepdim=keepdim)
    # Along an axis it also gives positions, which are those of the values.
    return (cells, None) if isinstance(dim, int) else cells


def _amax(ufunc: np.ufunc, self: Array, dim: Axes = (), keepdim: bool = False) -> Array:
    return reduced(ufunc, self, dim, keepdim=keepdim)


def _shifted(x: Array, dim: Axes) -> tuple[Array, Array]:
    """Return the maxima along axes and the sums of the exponentials above them."""
    m = reduced(_MAXIMUM, x, dim, keepdim=True)
    return m, reduced(_ADD, as_array(_EXP(x - m)), dim, keepdim=True)


def _softmax(self: Array, dim: int, half_to_float: bool = False) -> Any:
    m, s = _shifted(self, dim)
    return _DIVIDE(_EXP(self - m), s)


def _log_softmax(self: Array, dim: int, half_to_float: bool = False) -> Any:
    m, s = _shifted(self, dim)
    return (self - m) - _LOG(s)


def _logsumexp(self: Array, dim: Axes, keepdim: bool = False) -> Any:
    m, s = _shifted(self, dim)
    # A row of -inf has the log-sum-exp -inf, one with +inf has +inf; m - m has no value there.
    total = np.where(np.isfinite(nearest(m)), m + _LOG(s), m)
    return total if keepdim else reduced(_ADD, total, dim, keepdim=False)


def _softmax_backward(grad_output: Array, output: Array, dim: int, input_dtype: Any = None) -> Any:
    weighted = as_array(output * grad_output)
    return weighted - output * reduced(_ADD, weighted, dim, keepdim=True)


def _log_softmax_backward(grad_output: Array, output: Array, dim: int, input_dtype: Any = None) -> Any:
    return grad_output - _EXP(output) * reduced(_ADD, grad_output, dim, keepdim=True)


_NO_REDUCTION, _MEAN = 0, 1


@dataclass(frozen=True)
class _Picked:
    """The cells that a negative log-likelihood takes of the rows that count, and their weights."""

    row: Array
    label: Array
    weight: Array

    @property
    def total(self) -> Any:
        return _ADD.reduce(self.weight, initial=as_cell(0.0))


def _picked(target: torch.Tensor, weight: Array | None, ignore_index: int) -> _Picked:
    labels = np.atleast_1d(target.cpu().numpy())
    row = np.flatnonzero(labels != ignore_index)
    weights = cells_of(np.ones(row.size)) if weight is None else weight[labels[row]]
    return _Picked(row, labels[row], weights)


def _nll(self: Array, target: torch.Tensor, weight: Array | None, reduction: int, ignore_index: int) -> Any:
    rows, picked = np.atleast_2d(self), _picked(target, weight, ignore_index)
    losses = cells_of(np.zeros(len(rows)))
    losses[picked.row] = -(rows[picked.row, picked.label] * picked.weight)
    # The second output, the sum of the weights, serves only the backward pass, which takes it from the labels.
    if reduction == _NO_REDUCTION:
        return losses.reshape(target.shape), None
    total = _ADD.reduce(losses, initial=as_cell(0.0))
    return (_DIVIDE(total, picked.total) if reduction == _MEAN else total), None


def _nll_backward(
    grad_output: Array, self: Array, target: torch.Tensor, weight: Array | None, reduction: int, ignore_index: int,
    total_weight: Array,
) -> Array:  # fmt: skip
    picked, out = _picked(target, weight, ignore_index), cells_of(np.zeros(np.atleast_2d(self).shape))
    g = -(np.broadcast_to(grad_output, len(out))[picked.row] * picked.weight)
    out[picked.row, picked.label] = _DIVIDE(g, picked.total) if reduction == _MEAN else g
    return out.reshape(self.shape)


def matrix_product(self: Array, other: Array) -> Array:
    """Multiply matrices, or batches of them."""
    if self.size * other.shape[-1] > LARGEST_PRODUCT:
        raise NotExact
    # Each row times each column; a batch of matrices is multiplied matrix by matrix.
    return reduced(_ADD, self[..., :, :, None] * other[..., None, :, :], -2, keepdim=False, takes_nothing=True)


def _addmm(self: Array, mat1: Array, mat2: Array, *, beta: float = 1, alpha: float = 1) -> Any:
    return _scaled(self, beta) + _scaled(matrix_product(mat1, mat2), alpha)


def _addcmul(self: Array, tensor1: Array, tensor2: Array, *, value: float = 1) -> Any:
    return self + _scaled(as_array(tensor1 * tensor2), value)


def _addcdiv(self: Array, tensor1: Array, tensor2: Array, *, value: float = 1) -> Any:
    return self + _scaled(as_array(_DIVIDE(tensor1, tensor2)), value)


# --- writes to some cells -----------------------------------------------------------------------


def added_at(base: Array, where: Array, values: Array) -> Array:
    """Add values to cells of `base`, to some perhaps more than once."""
    out = base.flatten()
    spread = np.broadcast_to(values, where.shape)
    for position, value in zip(where.ravel().tolist(), spread.ravel().tolist(), strict=True):
        out[position] = out[position] + value
    return out.reshape(base.shape)


def _index_put(self: Array, indices: list[Any], values: Any, accumulate: bool = False, unsafe: bool = False) -> Array:
    """``index_put``: values into the cells of an index, added to them where it accumulates."""
    where = positions(self.shape)[tuple(slice(None) if i is None else i.cpu() for i in indices)].numpy()
    if accumulate:
        return added_at(self, where, in_cells(values))
    out = self.flatten()
    out[where] = np.broadcast_to(in_cells(values), where.shape)
    return out.reshape(self.shape)


_AS_UFUNCS = (
    "reciprocal", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "tanh", "sinh", "cosh", "sin", "cos",
    "tan", "sign",
)  # fmt: skip
_OTHER_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip
"""PyTorch's names of NumPy's functions."""

BASIC: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **{name: UFUNC[name] for name in _AS_UFUNCS},
        **{name: UFUNC[other] for name, other in _OTHER_NAMES.items()},
        "add": _add,
        "sub": _sub,
        "rsub": _rsub,
        "mul": _elementwise(operator.mul),
        "div": _div,
        "neg": operator.neg,
        "abs": UFUNC["absolute"],
        "rsqrt": lambda self: UFUNC["reciprocal"](_SQRT(self)),
        "logaddexp": _elementwise(UFUNC["logaddexp"]),
        "hypot": _elementwise(UFUNC["hypot"]),
        "silu": lambda self: _DIVIDE(self, _EXP(-self) + as_cell(1.0)),
        "cumprod": lambda self, dim, *, dtype=None: _MULTIPLY.accumulate(self, axis=dim) if self.ndim else self,
        "pow": _elementwise(UFUNC["power"]),
        "sigmoid": lambda self: UFUNC["reciprocal"](_EXP(-self) + as_cell(1.0)),
        "sigmoid_backward": lambda grad_output, output: grad_output * output * (as_cell(1.0) - output),
        "tanh_backward": lambda grad_output, output: grad_output * (as_cell(1.0) - output * output),
        "relu": lambda self: _clamp(self, 0.0),
        "threshold": lambda self, threshold, value: np.where(nearest(self) > threshold, self, as_cell(value)),
        "threshold_backward": lambda grad_output, self, threshold: np.where(
            nearest(self) > threshold, grad_output, as_cell(0.0)
        ),
        "maximum": _elementwise(_MAXIMUM),
        "minimum": _elementwise(_MINIMUM),
        "clamp": _clamp,
        "clamp_min": _clamp,
        "clamp_max": lambda self, max: _clamp(self, None, max),
        "addcmul": _addcmul,
        "addcdiv": _addcdiv,
        "where": lambda condition, self, other: np.where(condition.cpu().numpy(), in_cells(self), in_cells(other)),
        "masked_fill": lambda self, mask, value: np.where(mask.cpu().numpy(), in_cells(value), self),
        "fill": _fill,
        "copy": _fill,
        "zero": lambda self: _fill(self, 0.0),
        "_to_copy": lambda self, **_: in_cells(self),
        "clone": lambda self, **_: in_cells(self),
        "sum": _sum,
        "mean": _mean,
        "prod": _prod,
        "max": functools.partial(_extreme, _MAXIMUM),
        "min": functools.partial(_extreme, _MINIMUM),
        "amax": functools.partial(_amax, _MAXIMUM),
        "amin": functools.partial(_amax, _MINIMUM),
        "cumsum": lambda self, dim, *, dtype=None: _ADD.accumulate(self, axis=dim) if self.ndim else self,
        "_softmax": _softmax,
        "_log_softmax": _log_softmax,
        "logsumexp": _logsumexp,
        "_softmax_backward_data": _softmax_backward,
        "_log_softmax_backward_data": _log_softmax_backward,
        "nll_loss_forward": _nll,
        "nll_loss_backward": _nll_backward,
        "mm": matrix_product,
        "bmm": matrix_product,
        "mv": lambda self, vec: matrix_product(self, vec[:, None])[..., 0],
        "dot": lambda self, tensor: _sum(as_array(self * tensor)),
        "addmm": _addmm,
        "index_put": _index_put,
        "_index_put_impl": _index_put,
    }
)
"""Operators by their aten name, without the underscore that ends the name of an in-place form."""

REDUCTIONS = frozenset(["sum", "mean", "prod", "max", "min", "amax", "amin", "logsumexp"])
"""Operators called as ``f(x, dim, keepdim)`` that make one cell of many."""
