"""PyTorch kernels with one seeded bug each; the first line of a docstring says what is wrong."""

from __future__ import annotations

import torch
from torch import Tensor


def softmax_partial_tile_dropped(x: Tensor) -> Tensor:
    """The sum leaves out what lies beyond the last whole tile of 128 classes."""
    e = torch.exp(x - x.amax(dim=-1, keepdim=True))
    whole = x.shape[-1] // 128 * 128 or x.shape[-1]
    return e / e[..., :whole].sum(dim=-1, keepdim=True)


def softmax_without_rescaling(x: Tensor) -> Tensor:
    """An online sum over tiles of 256 that is not rescaled when a later tile has a new maximum."""
    m = torch.full_like(x[..., 0], -torch.inf)
    total = torch.zeros_like(m)
    for tile in torch.split(x, 256, dim=-1):
        m = torch.maximum(m, tile.amax(dim=-1))
        total = total + torch.exp(tile - m[..., None]).sum(dim=-1)
    return torch.exp(x - m[..., None]) / total[..., None]


def softmax_dim_1(x: Tensor) -> Tensor:
    """The classes are taken to be dimension 1, which they are in two dimensions alone."""
    return torch.softmax(x, dim=min(1, x.dim() - 1))


def softmax_storage_without_strides(x: Tensor) -> Tensor:
    """Takes the numbers that follow the first one in memory, whatever the strides of a view."""
    rows = x.as_strided(x.shape, torch.empty(x.shape).stride(), x.storage_offset()) if x.numel() else x
    return torch.softmax(rows, dim=-1)


def softmax_into_its_input(x: Tensor) -> Tensor:
    """Works in the memory of its argument."""
    x.sub_(x.amax(dim=-1, keepdim=True)).exp_()
    return x.div_(x.sum(dim=-1, keepdim=True))


def softmax_last_rows_left_out(x: Tensor) -> Tensor:
    """Rows beyond the last whole block of 64 stay as they are, where there is a whole block."""
    rows = x.reshape(-1, x.shape[-1])
    whole = len(rows) // 64 * 64 or len(rows)
    return torch.cat([torch.softmax(rows[:whole], dim=-1), rows[whole:]]).reshape(x.shape)


def log_softmax_bfloat16_accumulator(x: Tensor) -> Tensor:
    """The sum is kept in bfloat16, which stops at 256."""
    d = x - x.amax(dim=-1, keepdim=True)
    total = torch.zeros_like(x[..., :1], dtype=torch.bfloat16)
    for tile in torch.split(torch.exp(d).to(torch.bfloat16), 16, dim=-1):
        total = total + tile.sum(dim=-1, keepdim=True)
    return d - torch.log(total.to(x.dtype))


def logsumexp_maximum_of_a_prefix(x: Tensor) -> Tensor:
    """The maximum is looked for among the first 1024 classes alone."""
    m = x[..., :1024].amax(dim=-1)
    return m + torch.log(torch.exp(x - m[..., None]).sum(dim=-1))


def cross_entropy_label_in_the_tail(x: Tensor, y: Tensor) -> Tensor:
    """The label's logit is looked up in whole tiles of 32 classes; it counts as 0 in the tail."""
    whole = x.shape[-1] // 32 * 32 or x.shape[-1]
    picked = x.gather(1, y[:, None])[:, 0]
    return torch.logsumexp(x, dim=-1) - torch.where(y < whole, picked, torch.zeros_like(picked))


def cross_entropy_mean_of_block_means(x: Tensor, y: Tensor) -> Tensor:
    """The mean of the means of blocks of 64 rows, the last of which may have fewer."""
    blocks = [
        torch.nn.functional.cross_entropy(a, b) for a, b in zip(torch.split(x, 64), torch.split(y, 64), strict=True)
    ]
    return torch.stack(blocks).mean()


def cross_entropy_divisor_of_a_block(x: Tensor, y: Tensor) -> Tensor:
    """The sum is divided by at most 32 rows, the size of a block."""
    return torch.nn.functional.cross_entropy(x, y, reduction="sum") / min(len(x), 32)


def cross_entropy_grad_rows_of_the_first_block(x: Tensor, y: Tensor) -> Tensor:
    """1 is subtracted in the first 128 rows alone."""
    p = torch.softmax(x, dim=-1)
    hot = torch.nn.functional.one_hot(y, x.shape[-1]).to(x.dtype)
    hot[128:] = 0
    return (p - hot) / len(x)
