"""PyTorch kernels that are sound."""

from __future__ import annotations

import torch
from torch import Tensor


def softmax_tail_masked(x: Tensor) -> Tensor:
    """The last tile of 64 classes is padded with -inf."""
    padded = torch.nn.functional.pad(x, (0, -x.shape[-1] % 64), value=-torch.inf)
    e = torch.exp(padded - padded.amax(dim=-1, keepdim=True))
    return (e / e.sum(dim=-1, keepdim=True))[..., : x.shape[-1]]


def softmax_online(x: Tensor) -> Tensor:
    """An online sum over tiles of 256, rescaled, that survives a masked first tile."""
    m = torch.full_like(x[..., 0], -torch.inf)
    total = torch.zeros_like(m)
    for tile in torch.split(x, 256, dim=-1):
        new = torch.maximum(m, tile.amax(dim=-1))
        shift = torch.where(torch.isfinite(new), new, torch.zeros_like(new))
        total = total * torch.exp(m - shift) + torch.exp(tile - shift[..., None]).sum(dim=-1)
        m = new
    return torch.exp(x - m[..., None]) / total[..., None]


def log_softmax_of_the_library(x: Tensor) -> Tensor:
    """PyTorch's own."""
    return torch.log_softmax(x, dim=-1)


def logsumexp_of_the_library(x: Tensor) -> Tensor:
    """PyTorch's own."""
    return torch.logsumexp(x, dim=-1)


def cross_entropy_of_the_library(x: Tensor, y: Tensor) -> Tensor:
    """PyTorch's own mean."""
    return torch.nn.functional.cross_entropy(x, y)


def cross_entropy_sums_of_blocks(x: Tensor, y: Tensor) -> Tensor:
    """The mean, from sums of blocks of 64 rows."""
    function = torch.nn.functional.cross_entropy
    sums = [function(a, b, reduction="sum") for a, b in zip(torch.split(x, 64), torch.split(y, 64), strict=True)]
    return torch.stack(sums).sum() / len(x)


def cross_entropy_grad_minus_onehot(x: Tensor, y: Tensor) -> Tensor:
    """The textbook's (p - onehot) / N."""
    hot = torch.nn.functional.one_hot(y, x.shape[-1]).to(x.dtype)
    return (torch.softmax(x, dim=-1) - hot) / len(x)
