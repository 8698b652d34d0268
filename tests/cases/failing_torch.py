"""PyTorch code whose formulas are right, and whose arithmetic fails."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it


def naive_softmax(x: torch.Tensor) -> torch.Tensor:
    e = torch.exp(x)
    total = torch.zeros_like(x[:, :1])
    for k in range(x.shape[-1]):
        total = total + e[:, k : k + 1]
    return e / total


def log_of_softmax_cross_entropy(logits: torch.Tensor, target: torch.Tensor, ignore_index: int = -100) -> torch.Tensor:
    return F.nll_loss(torch.log(torch.softmax(logits, dim=-1)), target, ignore_index=ignore_index)


def onehot_cross_entropy_grad(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    p = torch.softmax(logits, dim=-1)
    return (p - F.one_hot(labels, logits.shape[-1])) / len(labels)
