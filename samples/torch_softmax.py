"""Three softmaxes in PyTorch: a good one, one that overflows, and one that is wrong on any input."""

import torch


def good(x: torch.Tensor) -> torch.Tensor:
    """Subtract the maximum of each row first, in float64 whatever comes in."""
    wide = x.double()
    e = torch.exp(wide - wide.max(dim=1, keepdim=True).values)
    return (e / e.sum(dim=1, keepdim=True)).to(x.dtype)


def unstable(x: torch.Tensor) -> torch.Tensor:
    """Right for small logits, NaN from 89 on in float32."""
    e = torch.exp(x)
    return e / e.sum(dim=1, keepdim=True)


def wrong(x: torch.Tensor) -> torch.Tensor:
    """Divide by the sums of the columns."""
    e = torch.exp(x)
    return e / e.sum(dim=0)
