"""Layer, group and batch normalisation, exactly, forwards and backwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import as_array, as_cell
from stablemax.trace.special_cells import FUNCTIONS
from stablemax.trace.torch.exact_ops import reduced

# ruff: noqa: A002, ARG001, FBT001 - names, arguments and their order are those of aten's schemas

_ADD, _DIVIDE, _SQRT = FUNCTIONS["add"], FUNCTIONS["divide"], FUNCTIONS["sqrt"]


def _sum(x: Any, axes: Sequence[int], *, keepdims: bool = True) -> Array:
    # Without axes PyTorch would add up all of them.
    return reduced(_ADD, as_array(x), list(axes), keepdim=keepdims, takes_nothing=True) if axes else as_array(x)


def _mean(x: Any, axes: Sequence[int]) -> Array:
    return as_array(_DIVIDE(_sum(x, axes), as_cell(math.prod(np.shape(x)[a] for a in axes))))


def _moments(x: Array, axes: Sequence[int], eps: float) -> tuple[Array, Array]:
    """Return the means along axes, and one over the standard deviations."""
    mean = _mean(x, axes)
    variance = _mean((x - mean) * (x - mean), axes)
    return mean, as_array(_DIVIDE(as_cell(1), _SQRT(variance + as_cell(eps))))


def _gradient(g: Array, x: Array, mean: Array, inverse: Array, axes: Sequence[int]) -> Any:
    """Return the gradient by numbers that were normalised along axes, by themselves."""
    normal = (x - mean) * inverse
    return inverse * (g - _mean(g, axes) - normal * _mean(g * normal, axes))


def _scaled(x: Any, weight: Array | None, bias: Array | None) -> Any:
    scaled = x if weight is None else x * weight
    return scaled if bias is None else scaled + bias


def _of_parameters(grad: Array, normal: Any, axes: Sequence[int], mask: Sequence[bool]) -> tuple[Any, Any]:
    by_weight = _sum(grad * normal, axes, keepdims=False) if mask[1] else None
    return by_weight, _sum(grad, axes, keepdims=False) if mask[2] else None


# --- along the last axes ------------------------------------------------------------------------------


def _last(x: Array, normalized_shape: Sequence[int]) -> list[int]:
    return list(range(x.ndim - len(normalized_shape), x.ndim))


def _layer_norm(
    input: Array, normalized_shape: Sequence[int], weight: Array | None, bias: Array | None, eps: float
) -> Any:
    mean, inverse = _moments(input, _last(input, normalized_shape), eps)
    return _scaled((input - mean) * inverse, weight, bias), mean, inverse


def _layer_norm_backward(
    grad_out: Array, input: Array, normalized_shape: Sequence[int], mean: Array, rstd: Array, weight: Array | None,
    bias: Array | None, output_mask: Sequence[bool],
) -> Any:  # fmt: skip
    axes = _last(input, normalized_shape)
    g = grad_out if weight is None else grad_out * weight
    by_input = _gradient(g, input, mean, rstd, axes) if output_mask[0] else None
    outer = list(range(input.ndim - len(axes)))
    return (by_input, *_of_parameters(grad_out, (input - mean) * rstd, outer, output_mask))


# --- along groups of channels -------------------------------------------------------------------------


def _in_groups(x: Array, group: int) -> Array:
    return x.reshape(len(x), group, -1)


def _by_channel(parameter: Array | None, x: Array) -> Array | None:
    return None if parameter is None else parameter.reshape(1, -1, *[1] * (x.ndim - 2))


def _group_norm(
    input: Array, weight: Array | None, bias: Array | None, n: int, c: int, hxw: int, group: int, eps: float
) -> Any:
    grouped = _in_groups(input, group)
    mean, inverse = _moments(grouped, [2], eps)
    normal = as_array((grouped - mean) * inverse).reshape(input.shape)
    return _scaled(normal, _by_channel(weight, input), _by_channel(bias, input)), mean[..., 0], inverse[..., 0]


def _group_norm_backward(
    grad_out: Array, input: Array, mean: Array, rstd: Array, weight: Array | None, n: int, c: int, hxw: int, group: int,
    output_mask: Sequence[bool],
) -> Any:  # fmt: skip
    grouped, middle, inverse = _in_groups(input, group), mean[..., None], rstd[..., None]
    g = grad_out if weight is None else grad_out * _by_channel(weight, input)
    by_input = _gradient(_in_groups(as_array(g), group), grouped, middle, inverse, [2]).reshape(input.shape)
    normal = as_array((grouped - middle) * inverse).reshape(input.shape)
    rest = _of_parameters(grad_out, normal, [0, *range(2, input.ndim)], output_mask)
    return (by_input if output_mask[0] else None, *rest)


# --- along the batch ----------------------------------------------------------------------------------


def _stored(mean: Array, variance: Array, x: Array, eps: float) -> tuple[Any, Any]:
    inverse = _DIVIDE(as_cell(1), _SQRT(variance + as_cell(eps)))
    return _by_channel(mean, x), _by_channel(as_array(inverse), x)


def _batch_norm(
    input: Array, weight: Array | None, bias: Array | None, running_mean: Array | None, running_var: Array | None,
    training: bool, momentum: float, eps: float,
) -> Any:  # fmt: skip
    if training or running_mean is None or running_var is None:
        mean, inverse = _moments(input, [0, *range(2, input.ndim)], eps)
        saved: tuple[Any, Any] = (mean.ravel(), inverse.ravel())
    else:
        mean, inverse = _stored(running_mean, running_var, input, eps)
        saved = (None, None)  # it saves nothing
    return (_scaled((input - mean) * inverse, _by_channel(weight, input), _by_channel(bias, input)), *saved)


def _batch_norm_backward(
    grad_out: Array, input: Array, weight: Array | None, running_mean: Array | None, running_var: Array | None,
    save_mean: Array | None, save_invstd: Array | None, train: bool, eps: float, output_mask: Sequence[bool],
) -> Any:  # fmt: skip
    axes = [0, *range(2, input.ndim)]
    g = grad_out if weight is None else as_array(grad_out * _by_channel(weight, input))
    if train or running_mean is None or running_var is None:
        mean, inverse = _by_channel(save_mean, input), _by_channel(save_invstd, input)
        assert mean is not None, "the forward pass saved it"
        assert inverse is not None, "the forward pass saved it"
        by_input = _gradient(g, input, mean, inverse, axes)
    else:
        mean, inverse = _stored(running_mean, running_var, input, eps)
        by_input = g * inverse
    rest = _of_parameters(grad_out, (input - mean) * inverse, axes, output_mask)
    return (by_input if output_mask[0] else None, *rest)


NORMALISATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "native_layer_norm": _layer_norm,
        "native_layer_norm_backward": _layer_norm_backward,
        "native_group_norm": _group_norm,
        "native_group_norm_backward": _group_norm_backward,
        "native_batch_norm": _batch_norm,
        "native_batch_norm_backward": _batch_norm_backward,
    }
)
"""Operators by their aten name."""
