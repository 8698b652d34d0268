"""PyTorch's margin losses of several classes, exactly, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import as_array, as_cell, cells_of, nearest
from stablemax.trace.special_cells import FUNCTIONS

# ruff: noqa: ARG001 - arguments and their order are those of aten's schemas

_DIVIDE, _MAXIMUM = FUNCTIONS["divide"], FUNCTIONS["maximum"]
_ZERO, _ONE = as_cell(0), as_cell(1)
_NONE, _MEAN = 0, 1


def _reduced(losses: Array, reduction: int, like: Array) -> Any:
    if reduction == _NONE:
        return losses if like.ndim > 1 else as_array(losses[0])
    total = np.add.reduce(losses, initial=_ZERO)
    return as_array(_DIVIDE(total, as_cell(len(losses))) if reduction == _MEAN else total)


def _shares(grad_output: Array, reduction: int, rows: int) -> Array:
    """Return what each row's loss hands back."""
    grad = np.broadcast_to(grad_output.reshape(-1) if grad_output.ndim else grad_output, (rows,))
    return as_array(_DIVIDE(grad, as_cell(rows))) if reduction == _MEAN else grad


def _is_above(cell: Any) -> bool:
    return bool(nearest(as_array(cell)) > 0)


# --- one right class ------------------------------------------------------------------------------------


def _excesses(
    x: Array, target: torch.Tensor, margin: float, weight: Array | None
) -> Iterator[tuple[int, int, Array, Any]]:
    """Yield row, right class, by how much each class exceeds the margin, and the weight of the row."""
    for row, label in enumerate(target.reshape(-1).tolist()):
        excess = _MAXIMUM(as_cell(margin) - x[row, label] + x[row], _ZERO)
        excess[label] = _ZERO
        yield row, label, excess, _ONE if weight is None else weight[label]


def _multi_margin(
    self: Array, target: torch.Tensor, p: float = 1, margin: float = 1, weight: Array | None = None,
    reduction: int = _MEAN,
) -> Any:  # fmt: skip
    x = np.atleast_2d(self)
    losses = cells_of(np.zeros(len(x)))
    for row, _, excess, factor in _excesses(x, target, margin, weight):
        powers = excess if p == 1 else excess * excess
        losses[row] = _DIVIDE(np.add.reduce(powers) * factor, as_cell(x.shape[1]))
    return _reduced(losses, reduction, self)


def _multi_margin_backward(
    grad_output: Array, self: Array, target: torch.Tensor, p: float, margin: float, weight: Array | None = None,
    reduction: int = _MEAN,
) -> Any:  # fmt: skip
    x = np.atleast_2d(self)
    out, shares = cells_of(np.zeros(x.shape)), _shares(grad_output, reduction, len(x))
    for row, label, excess, factor in _excesses(x, target, margin, weight):
        slopes = np.array([(_ONE if p == 1 else 2 * e) if _is_above(e) else _ZERO for e in excess], dtype=object)
        by = _DIVIDE(slopes * factor * shares[row], as_cell(x.shape[1]))
        by[label] = -np.add.reduce(by)
        out[row] = by
    return out.reshape(self.shape)


# --- several right classes ------------------------------------------------------------------------------


def _right(target: torch.Tensor) -> list[list[int]]:
    """Return the right classes of each row: those before the first -1."""
    rows = np.atleast_2d(target.cpu().numpy()).tolist()
    return [row[: row.index(-1)] if -1 in row else row for row in rows]


def _multilabel(self: Array, target: torch.Tensor, reduction: int) -> Any:
    x = np.atleast_2d(self)
    losses = cells_of(np.zeros(len(x)))
    is_right = np.zeros(x.shape)
    for row, labels in enumerate(_right(target)):
        is_right[row, labels] = 1
        others = [i for i in range(x.shape[1]) if i not in labels]
        for label in labels:
            excess = _MAXIMUM(_ONE - x[row, label] + x[row, others], _ZERO)
            losses[row] = losses[row] + np.add.reduce(excess, initial=_ZERO)
    losses = as_array(_DIVIDE(losses, as_cell(x.shape[1])))
    return _reduced(losses, reduction, self), cells_of(is_right.reshape(self.shape))


def _multilabel_backward(
    grad_output: Array, self: Array, target: torch.Tensor, reduction: int, is_target: Array
) -> Any:
    x = np.atleast_2d(self)
    out, shares = cells_of(np.zeros(x.shape)), _shares(grad_output, reduction, len(x))
    for row, labels in enumerate(_right(target)):
        share = _DIVIDE(shares[row], as_cell(x.shape[1]))
        for label in labels:
            for other in range(x.shape[1]):
                if other not in labels and _is_above(_ONE - x[row, label] + x[row, other]):
                    out[row, other], out[row, label] = out[row, other] + share, out[row, label] - share
    return out.reshape(self.shape)


MARGINS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "multi_margin_loss": _multi_margin,
        "multi_margin_loss_backward": _multi_margin_backward,
        "multilabel_margin_loss_forward": _multilabel,
        "multilabel_margin_loss_backward": _multilabel_backward,
    }
)
"""Operators by their aten name."""
