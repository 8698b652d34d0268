"""What PyTorch makes of many numbers, exactly: variances, norms, distances, running and sorted numbers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import as_array, as_cell, cells_of, has_no_value, nearest
from stablemax.trace.special_cells import FUNCTIONS
from stablemax.trace.torch.exact_ops import Axes, NotExact, matrix_product, reduced

# ruff: noqa: A002, ARG001, FBT001, FBT002 - names, arguments and their order are those of aten's schemas

_ADD, _MULTIPLY, _DIVIDE = FUNCTIONS["add"], FUNCTIONS["multiply"], FUNCTIONS["divide"]
_MAXIMUM, _MINIMUM, _ABSOLUTE = FUNCTIONS["maximum"], FUNCTIONS["minimum"], FUNCTIONS["absolute"]
_SQRT, _POWER, _SIGN = FUNCTIONS["sqrt"], FUNCTIONS["power"], FUNCTIONS["sign"]
_ZERO, _ONE = as_cell(0), as_cell(1)


def _sum(x: Array, dim: Axes, *, keepdim: bool = False) -> Array:
    return reduced(_ADD, as_array(x), dim, keepdim=keepdim, takes_nothing=True)


# --- variances ----------------------------------------------------------------------------------------


def _var_mean(
    self: Array, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Any, Any]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    freedom = correction if correction is not None else int(unbiased)
    mean = _sum(self, dim, keepdim=True)
    count = self.size // max(1, mean.size)
    mean = as_array(_DIVIDE(mean, as_cell(count)))
    squares = _sum((self - mean) * (self - mean), dim, keepdim=keepdim)
    return _DIVIDE(squares, as_cell(max(0, count - freedom))), mean if keepdim else _sum(mean, dim)


def _var(*args: Any, **kwargs: Any) -> Any:
    return _var_mean(*args, **kwargs)[0]


def _std_mean(*args: Any, **kwargs: Any) -> Any:
    variance, mean = _var_mean(*args, **kwargs)
    return _SQRT(variance), mean


# --- norms and distances ------------------------------------------------------------------------------


def _norm(self: Array, ord: float = 2, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    size = as_array(_ABSOLUTE(self))
    if math.isinf(ord):
        return reduced(_MAXIMUM if ord > 0 else _MINIMUM, size, dim, keepdim=keepdim)
    if ord == 0:
        return _sum(FUNCTIONS["sign"](size), dim, keepdim=keepdim)
    if ord == 1:
        return _sum(size, dim, keepdim=keepdim)
    if ord == 2:
        return _SQRT(_sum(self * self, dim, keepdim=keepdim))
    return _POWER(_sum(_POWER(size, as_cell(ord)), dim, keepdim=keepdim), _DIVIDE(_ONE, as_cell(ord)))


def _old_norm(self: Array, p: float | None = 2, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return _norm(self, 2 if p is None else p, dim, keepdim)


def _cdist(x1: Array, x2: Array, p: float, compute_mode: int | None = None) -> Any:
    return _norm(x1[..., :, None, :] - x2[..., None, :, :], p, -1)


def _cdist_backward(grad: Array, x1: Array, x2: Array, p: float, cdist: Array) -> Any:
    differences = x1[..., :, None, :] - x2[..., None, :, :]
    return _sum(_distance_gradient(differences, grad[..., None], cdist[..., None], p), -2)


def _distance_gradient(d: Array, grad: Array, distance: Array, p: float) -> Any:
    """Return the gradient of a norm by the numbers it is of; autograd gives 0 where the norm is 0."""
    if p == 0:
        return d * _ZERO
    if math.isinf(p):
        return np.where(np.asarray(nearest(_ABSOLUTE(d)) == nearest(distance)), _SIGN(d) * grad, _ZERO)
    if p == 1:
        return _SIGN(d) * grad
    scale = _POWER(_ABSOLUTE(d), as_cell(p - 2)) if p != 2 else _ONE
    out = _DIVIDE(d * scale * grad, _POWER(distance, as_cell(p - 1)))
    is_zero = np.broadcast_to(nearest(distance) == 0, d.shape) | (nearest(d) == 0)
    return np.where(is_zero, _ZERO, out)


def _pairs(rows: int) -> tuple[Array, Array]:
    return np.triu_indices(rows, 1)


def _pdist(self: Array, p: float = 2) -> Any:
    first, second = _pairs(len(self))
    return _norm(self[first] - self[second], p, -1)


def _pdist_backward(grad: Array, self: Array, p: float, pdist: Array) -> Any:
    first, second = _pairs(len(self))
    gradients = _distance_gradient(self[first] - self[second], grad[:, None], pdist[:, None], p)
    out = cells_of(np.zeros(self.shape))
    for i, j, gradient in zip(first.tolist(), second.tolist(), gradients, strict=True):
        out[i], out[j] = out[i] + gradient, out[j] - gradient
    return out


# --- running, sorted and left out ---------------------------------------------------------------------


def _logcumsumexp(self: Array, dim: int) -> Any:
    return FUNCTIONS["logaddexp"].accumulate(self, axis=dim) if self.ndim else self


def _taken(self: Array, places: torch.Tensor, dim: int) -> tuple[Array, None]:
    return (np.take_along_axis(self, places.numpy(), axis=dim) if self.ndim else self), None


def _floats(self: Array) -> torch.Tensor:
    return torch.from_numpy(nearest(self).copy())


def _sort(self: Array, dim: int = -1, descending: bool = False, *, stable: bool | None = None) -> Any:
    return _taken(self, torch.sort(_floats(self), dim=dim, descending=descending, stable=True).indices, dim)


def _topk(self: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    return _taken(self, torch.topk(_floats(self), k, dim, largest, sorted).indices, dim)


def _running_extreme(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, dim: _taken(self, function(_floats(self), dim).indices, dim)


def _kth(self: Array, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    places = torch.kthvalue(_floats(self), k, dim, keepdim=True).indices
    cells, _ = _taken(self, places, dim)
    return (cells if keepdim else np.squeeze(cells, axis=dim)), None


def _median(self: Array, dim: int | None = None, keepdim: bool = False) -> Any:
    if dim is None:
        order = np.argsort(nearest(self).ravel(), kind="stable")
        return as_array(self.ravel()[order[(self.size - 1) // 2]])
    return _kth(self, (self.shape[dim] + 1) // 2, dim, keepdim)


def _nansum(self: Array, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return _sum(np.where(has_no_value(self), _ZERO, self), dim, keepdim=keepdim)


def _addmv(self: Array, mat: Array, vec: Array, *, beta: float = 1, alpha: float = 1) -> Any:
    return self * as_cell(beta) + matrix_product(mat, vec[:, None])[..., 0] * as_cell(alpha)


def _addbmm(self: Array, batch1: Array, batch2: Array, *, beta: float = 1, alpha: float = 1) -> Any:
    return self * as_cell(beta) + _sum(matrix_product(batch1, batch2), 0) * as_cell(alpha)


def _trilinear(
    i1: Array, i2: Array, i3: Array, expand1: Any, expand2: Any, expand3: Any, sumdim: Any, unroll_dim: int = 1
) -> Any:
    factors = ((i1, expand1), (i2, expand2), (i3, expand3))
    a, b, c = (np.expand_dims(x, tuple(axes)) if axes else x for x, axes in factors)
    return _sum(a * b * c, list(sumdim)) if sumdim else a * b * c


def _ldexp(self: Array, other: Any) -> Any:
    exponents = other if isinstance(other, np.ndarray) else cells_of(other.to(torch.float64).numpy())
    return self * _POWER(as_cell(2), exponents)


def _median_of(self: Array, *args: Any, **kwargs: Any) -> Any:
    if np.isnan(nearest(self)).any():
        raise NotExact
    return _median(self, *args, **kwargs)


def _nan_median(self: Array, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the median of what is no NaN: of an even number of them the lower one."""
    if dim is None:
        numbers = self.ravel()[~np.isnan(nearest(self).ravel())]
        return _median(numbers) if numbers.size else as_array(self.ravel()[0])
    return _located(torch.nanmedian, self, dim, keepdim)


def _located(function: Callable[..., Any], self: Array, dim: int = -1, keepdim: bool = False) -> Any:
    """Take the cells that a function of numbers picks along an axis."""
    if not self.ndim:
        return self, None
    cells, _ = _taken(self, function(_floats(self), dim, keepdim=True).indices, dim)
    return (cells if keepdim else np.squeeze(cells, axis=dim)), None


REDUCTIONS_OF_MANY: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "var": _var,
        "var_mean": _var_mean,
        "std": lambda *args, **kwargs: _SQRT(_var(*args, **kwargs)),
        "std_mean": _std_mean,
        "linalg_vector_norm": _norm,
        "norm": _old_norm,
        "_cdist_forward": _cdist,
        "_cdist_backward": _cdist_backward,
        "_pdist_forward": _pdist,
        "_pdist_backward": _pdist_backward,
        "logcumsumexp": _logcumsumexp,
        "_logcumsumexp": _logcumsumexp,
        "sort": _sort,
        "topk": _topk,
        "kthvalue": _kth,
        "cummax": _running_extreme(torch.cummax),
        "cummin": _running_extreme(torch.cummin),
        "median": _median_of,
        "nanmedian": _nan_median,
        "mode": functools.partial(_located, torch.mode),
        "nansum": _nansum,
        "addmv": _addmv,
        "addbmm": _addbmm,
        "vdot": lambda self, other: _sum(as_array(self * other), None),
        "ldexp": _ldexp,
        "_trilinear": _trilinear,
        "addr": lambda self, vec1, vec2, *, beta=1, alpha=1: (
            self * as_cell(beta) + as_array(vec1[:, None] * vec2) * as_cell(alpha)
        ),
    }
)
"""Operators by their aten name."""
