"""PyTorch code that wants to be called in many ways, and NumPy code beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it


def numpy_softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def helped_softmax(x: Any) -> Any:
    return numpy_softmax(x)


def unhelped_softmax(x: Any) -> Any:
    """Names no library, and passes an axis and keywords as only NumPy takes them."""
    p = 2.0 ** ((x - x.max(axis=-1, keepdims=True)) * 1.4426950408889634)
    return p / p.sum(axis=-1, keepdims=True, dtype=x.dtype)


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        p = torch.softmax(x, dim=-1)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        (p,) = ctx.saved_tensors
        return p * (grad_output - (p * grad_output).sum(dim=-1, keepdim=True))


class WrongSoftmax(Softmax):
    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        (p,) = ctx.saved_tensors
        return p * (1 - p) * grad_output


class SwappedLoss(torch.nn.Module):
    def forward(self, target: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(score, target)


class HandWritten(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.p = torch.softmax(x, dim=-1)
        return self.p

    def backward(self, grad_output: torch.Tensor) -> torch.Tensor:
        return self.p * (grad_output - (self.p * grad_output).sum(dim=-1, keepdim=True))


def causal_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    shift_logits, shift_labels = logits[..., :-1, :], labels[..., 1:]
    return F.cross_entropy(shift_logits.reshape(-1, logits.shape[-1]), shift_labels.reshape(-1))


def unshifted_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compares each position with its own label."""
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))


def weighted_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weight: Any = None) -> torch.Tensor:
    return F.cross_entropy(logits, labels, weight=weight, label_smoothing=0.0)


def dropped_softmax(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x + 0 * F.dropout(x, 0.5), dim=-1)
