"""PyTorch's operators that move cells about, or write them into others, exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stablemax.trace.exact_cells import cells_of

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array

# ruff: noqa: ARG001, FBT001, FBT002 - names, arguments and their order are those of aten's schemas


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


def _added_at(base: Array, where: Array, values: Array) -> Array:
    """Add values to cells of `base`, to some perhaps more than once."""
    out = base.flatten()
    spread = np.broadcast_to(values, where.shape)
    for position, value in zip(where.ravel().tolist(), spread.ravel().tolist(), strict=True):
        out[position] = out[position] + value
    return out.reshape(base.shape)


def index_put(self: Array, indices: list[Any], values: Any, accumulate: bool = False, unsafe: bool = False) -> Array:
    """``index_put``: values into the cells of an index, added to them where it accumulates."""
    where = positions(self.shape)[tuple(slice(None) if i is None else i.cpu() for i in indices)].numpy()
    if accumulate:
        return _added_at(self, where, in_cells(values))
    out = self.flatten()
    out[where] = np.broadcast_to(in_cells(values), where.shape)
    return out.reshape(self.shape)


def _scattered(self: Array, dim: int, index: torch.Tensor) -> Array:
    """Positions in `self` that scatter writes to."""
    if self.ndim == 0:
        raise NotExact
    inside = tuple(slice(None) if d == dim % self.ndim else slice(0, n) for d, n in enumerate(index.shape))
    return torch.gather(positions(self.shape)[inside], dim, index.cpu()).numpy()


def _as_wide(src: Any, index: torch.Tensor) -> Array:
    values = in_cells(src)
    return values[tuple(slice(0, n) for n in index.shape)] if values.ndim else values


def scatter(self: Array, dim: int, index: torch.Tensor, src: Any, *, reduce: str | None = None) -> Array:
    """``scatter``: values into the cells that an index names along a dimension."""
    if reduce is not None:
        raise NotExact
    out, where = self.flatten(), _scattered(self, dim, index)
    out[where] = np.broadcast_to(_as_wide(src, index), where.shape)
    return out.reshape(self.shape)


def scatter_add(self: Array, dim: int, index: torch.Tensor, src: Array) -> Array:
    """``scatter_add``: values added to the cells that an index names along a dimension."""
    return _added_at(self, _scattered(self, dim, index), _as_wide(src, index))


MOVES = frozenset(
    [
        "cat",
        "stack",
        "index",
        "gather",
        "index_select",
        "take",
        "flip",
        "roll",
        "repeat",
        "tril",
        "triu",
        "diag_embed",
        "diagonal_backward",
        "masked_select",
        "select_backward",
        "slice_backward",
        "select_scatter",
        "slice_scatter",
        "diagonal_scatter",
        "constant_pad_nd",
        "expand_copy",
        "unfold_backward",
        "repeat_interleave",
        "block_diag",
    ]
)
"""Operators that only move cells, or put zeros between them: run on positions, they say where each cell goes."""

CONSTANTS = frozenset(
    [
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "rand_like",
        "randn_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "new_empty_strided",
    ]
)
"""Operators that take nothing but the shape from their argument."""
