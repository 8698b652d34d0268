"""PyTorch code with one well-known mistake each; `# here` marks the line that makes it."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it


def dim_0_softmax(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x, dim=0)  # here


def twice_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    p = torch.softmax(logits, dim=-1)
    return F.cross_entropy(p, labels)  # here


def logless_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    p = torch.softmax(logits, dim=-1)
    return F.nll_loss(p, labels)  # here


def epsilon_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    p = torch.softmax(logits, dim=-1)
    log_p = torch.log(p + 1e-6)  # here
    return F.nll_loss(log_p, labels)


def negative_log_softmax(x: torch.Tensor) -> torch.Tensor:
    log_p = F.log_softmax(x, dim=-1)
    return -log_p  # here
