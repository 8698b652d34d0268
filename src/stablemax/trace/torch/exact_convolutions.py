"""Convolutions and attention, exactly, forwards and backwards."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import MINUS_INFINITE, as_array, as_cell, cells_of, nearest
from stablemax.trace.special_cells import FUNCTIONS
from stablemax.trace.torch.exact_ops import LARGEST_PRODUCT, NotExact, matrix_product, reduced

# ruff: noqa: ARG001, FBT001, FBT002 - arguments and their order are those of aten's schemas

_ADD, _DIVIDE, _EXP = FUNCTIONS["add"], FUNCTIONS["divide"], FUNCTIONS["exp"]
_ZERO = as_cell(0)
_MASKED: Any = MINUS_INFINITE


@dataclass(frozen=True)
class _Windows:
    """The windows of a kernel over the spatial axes of an array."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def offsets(self) -> Iterator[tuple[int, ...]]:
        """Yield the places in the kernel."""
        return itertools.product(*map(range, self.kernel))

    def sizes(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Return how many windows there are along each axis."""
        return tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(spatial, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        )

    def padded(self, x: Array) -> Array:
        """Put zeros around the spatial axes."""
        widths = [(0, 0)] * (x.ndim - len(self.kernel)) + [(p, p) for p in self.padding]
        return np.pad(x, widths, constant_values=_ZERO)

    def inner(self, padded: Array) -> Array:
        """Take the zeros around the spatial axes away."""
        spatial = padded.shape[-len(self.kernel) :]
        index: tuple[Any, ...] = (..., *(slice(p, n - p) for p, n in zip(self.padding, spatial, strict=True)))
        return padded[index]

    def at(self, offset: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[Any, ...]:
        """Return the index of what all windows see at one place of the kernel."""
        places = zip(offset, sizes, self.stride, self.dilation, strict=True)
        return (..., *(slice(o * d, o * d + s * (n - 1) + 1, s) for o, n, s, d in places))


def _of_kernel(offset: tuple[int, ...]) -> tuple[Any, ...]:
    """Return the index of one place of a kernel (O, C, ...)."""
    return (slice(None), slice(None), *offset)


def _groups(array: Array, axis: int, groups: int) -> list[Array]:
    return list(np.split(array, groups, axis=axis))


def _windows(weight: Array, stride: Any, padding: Any, dilation: Any) -> _Windows:
    count = weight.ndim - 2
    spread = (tuple(v) if len(v) == count else tuple(v) * count for v in (stride, padding, dilation))
    return _Windows(weight.shape[2:], *spread)


def _gathered(x: Array, weight: Array, windows: _Windows, groups: int) -> Array:
    """Correlate (N, C, ...) with a kernel (O, C / groups, ...)."""
    padded, sizes = windows.padded(x), windows.sizes(x.shape[2:])
    parts = []
    for xs, ws in zip(_groups(padded, 1, groups), _groups(weight, 0, groups), strict=True):
        terms = (
            np.tensordot(ws[_of_kernel(offset)], xs[windows.at(offset, sizes)], axes=([1], [1]))
            for offset in windows.offsets()
        )
        parts.append(np.moveaxis(functools.reduce(operator.add, terms), 0, 1))
    return np.concatenate(parts, axis=1)


def _scattered(y: Array, weight: Array, windows: _Windows, groups: int, spatial: Sequence[int]) -> Array:
    """Add (N, O, ...) times a kernel (O, C / groups, ...) into the windows that each number was made of."""
    sizes, parts = y.shape[2:], []
    for ys, ws in zip(_groups(y, 1, groups), _groups(weight, 0, groups), strict=True):
        whole = [n + 2 * p for n, p in zip(spatial, windows.padding, strict=True)]
        out = cells_of(np.zeros((y.shape[0], ws.shape[1], *whole)))
        for offset in windows.offsets():
            index = windows.at(offset, sizes)
            out[index] = out[index] + np.moveaxis(np.tensordot(ws[_of_kernel(offset)], ys, axes=([0], [1])), 0, 1)
        parts.append(windows.inner(out))
    return np.concatenate(parts, axis=1)


def _kernel_gradient(x: Array, y: Array, windows: _Windows, groups: int) -> Array:
    """Return the gradient by a kernel (O, C / groups, ...) of what it makes of x, with the gradient y by that."""
    padded, sizes = windows.padded(x), y.shape[2:]
    axes = [0, *range(2, x.ndim)]
    parts = []
    for xs, ys in zip(_groups(padded, 1, groups), _groups(y, 1, groups), strict=True):
        shape = (ys.shape[1], xs.shape[1], *windows.kernel)
        part = np.empty(shape, dtype=object)
        for offset in windows.offsets():
            seen = xs[windows.at(offset, sizes)]
            part[_of_kernel(offset)] = np.tensordot(ys, seen, axes=(axes, axes))
        parts.append(part)
    return np.concatenate(parts, axis=0)


def _refuse_large(x: Array, weight: Array) -> None:
    if x.size * weight.size > LARGEST_PRODUCT * 16:
        raise NotExact


def _convolution(
    input: Array, weight: Array, bias: Array | None, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int,
) -> Any:  # fmt: skip
    # ruff: noqa: A002
    _refuse_large(input, weight)
    windows = _windows(weight, stride, padding, dilation)
    if input.ndim != weight.ndim:
        raise NotExact
    if transposed:
        spatial = _transposed_size(input.shape[2:], windows, output_padding)
        out = _scattered(input, weight, windows, groups, spatial)
    else:
        out = _gathered(input, weight, windows, groups)
    return out if bias is None else out + bias.reshape(-1, *[1] * (input.ndim - 2))


def _transposed_size(sizes: Sequence[int], windows: _Windows, more: Any) -> list[int]:
    more = tuple(more) if len(more) == len(sizes) else tuple(more) * len(sizes)
    parts = zip(sizes, windows.kernel, windows.stride, windows.padding, windows.dilation, more, strict=True)
    return [(n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, d, e in parts]


def _convolution_backward(
    grad_output: Array, input: Array, weight: Array, bias_sizes: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, output_mask: Sequence[bool],
) -> Any:  # fmt: skip
    _refuse_large(input, weight)
    windows = _windows(weight, stride, padding, dilation)
    out: list[Any] = [None, None, None]
    if output_mask[0]:
        gather = _gathered(grad_output, weight, windows, groups) if transposed else None
        out[0] = gather if transposed else _scattered(grad_output, weight, windows, groups, input.shape[2:])
    if output_mask[1]:
        x, y = (grad_output, input) if transposed else (input, grad_output)
        out[1] = _kernel_gradient(x, y, windows, groups)
    if output_mask[2]:
        out[2] = reduced(_ADD, grad_output, [0, *range(2, input.ndim)], keepdim=False, takes_nothing=True)
    return tuple(out)


# --- attention ----------------------------------------------------------------------------------------


def _weights(query: Array, key: Array, is_causal: bool, attn_mask: Any, scale: float) -> Array:
    """Return the softmax of the scores; a row that is masked as a whole has weights of 0."""
    scores = matrix_product(query, np.swapaxes(key, -1, -2)) * as_cell(scale)
    if is_causal:
        after = np.triu(np.ones(scores.shape[-2:], dtype=bool), 1)
        scores = np.where(after, _MASKED, scores)
    if isinstance(attn_mask, torch.Tensor):
        scores = np.where(attn_mask.cpu().numpy(), scores, _MASKED)
    elif attn_mask is not None:
        scores = scores + attn_mask
    highest = reduced(FUNCTIONS["maximum"], as_array(scores), -1, keepdim=True)
    is_empty = np.isneginf(nearest(highest))
    powers = np.where(is_empty, _ZERO, _EXP(scores - np.where(is_empty, _ZERO, highest)))
    total = reduced(_ADD, as_array(powers), -1, keepdim=True)
    return as_array(_DIVIDE(powers, np.where(is_empty, as_cell(1), total)))


def _attention(
    query: Array, key: Array, value: Array, dropout_p: float = 0.0, is_causal: bool = False, *, attn_mask: Any = None,
    scale: float | None = None,
) -> Any:  # fmt: skip
    if dropout_p:
        raise NotExact
    weights = _weights(query, key, is_causal, attn_mask, scale or 1 / math.sqrt(query.shape[-1]))
    # The log-sum-exps serve only the backward pass, which takes them from the scores.
    return matrix_product(weights, value), None


def _attention_backward(
    grad_out: Array, query: Array, key: Array, value: Array, out: Array, logsumexp: Array, dropout_p: float,
    is_causal: bool, *, attn_mask: Any = None, scale: float | None = None,
) -> Any:  # fmt: skip
    if dropout_p:
        raise NotExact
    scale = scale or 1 / math.sqrt(query.shape[-1])
    weights = _weights(query, key, is_causal, attn_mask, scale)
    by_weights = matrix_product(grad_out, np.swapaxes(value, -1, -2))
    shares = reduced(_ADD, as_array(by_weights * weights), -1, keepdim=True)
    by_scores = weights * (by_weights - shares) * as_cell(scale)
    return (
        matrix_product(by_scores, key),
        matrix_product(np.swapaxes(by_scores, -1, -2), query),
        matrix_product(np.swapaxes(weights, -1, -2), grad_out),
    )


WINDOWS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "convolution": _convolution,
        "convolution_backward": _convolution_backward,
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
        "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    }
)
"""Operators by their aten name."""
