"""PyTorch code that decides by numbers which rounding changed."""

from __future__ import annotations

import torch


def zero_sum(x: torch.Tensor) -> torch.Tensor:
    e = torch.exp(x)
    s = e.sum(dim=-1, keepdim=True)
    if (s == 0).any():
        return torch.full_like(x, 1 / x.shape[-1])
    return e / s


def masked_sum(x: torch.Tensor) -> torch.Tensor:
    e = torch.exp(x)
    s = e.sum(dim=-1, keepdim=True)
    return torch.where(s > 0, e / torch.where(s > 0, s, 1.0), 1 / x.shape[-1])


def nan_to_one(x: torch.Tensor) -> torch.Tensor:
    e = torch.exp(x)
    p = e / e.sum(dim=-1, keepdim=True)
    return p.masked_fill(torch.isnan(p), 1.0)


def infinite_sum(x: torch.Tensor) -> torch.Tensor:
    e = torch.exp(x)
    s = e.sum(dim=-1, keepdim=True)
    return torch.where(torch.isinf(s), torch.zeros_like(x), e / s)


def eps_log_softmax(x: torch.Tensor) -> torch.Tensor:
    p = torch.softmax(x, dim=-1)
    p = p.masked_fill(p == 0, 1e-30)
    return torch.log(p)


def masked_entropy(x: torch.Tensor) -> torch.Tensor:
    """Leave out what is 0: a mask that rounding decides, and that does no harm."""
    p = torch.softmax(x, dim=-1)
    return -torch.where(p > 0, p * torch.log(torch.where(p > 0, p, 1.0)), 0.0).sum(dim=-1)
