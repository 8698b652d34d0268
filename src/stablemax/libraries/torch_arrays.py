"""NumPy arrays to PyTorch tensors and back, bit for bit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from stablemax.numerics.formats import FORMATS, Array


def to_torch(array: Array, device: str | None = None) -> torch.Tensor:
    """Copy an array to a tensor of the same number format.

    >>> to_torch(FORMATS["bfloat16"].cast([1.0, 2.5])).dtype
    torch.bfloat16
    """
    plain = np.array(array)
    if plain.dtype.isbuiltin == 1:
        return torch.from_numpy(plain).to(device)
    bits = torch.from_numpy(plain.view(f"u{plain.dtype.itemsize}"))
    return bits.view(getattr(torch, plain.dtype.name)).to(device)


def to_numpy(tensor: Any) -> Array:
    """Copy a tensor to an array of the same number format.

    >>> to_numpy(torch.tensor([0.1], dtype=torch.bfloat16)).dtype
    dtype(bfloat16)
    """
    plain = tensor.detach().cpu().resolve_conj()
    name = str(plain.dtype).removeprefix("torch.")
    if name in FORMATS and not FORMATS[name].is_native:
        bits = {1: torch.uint8, 2: torch.uint16}[plain.element_size()]
        return plain.contiguous().view(bits).numpy().view(FORMATS[name].dtype)
    return np.array(plain.numpy())


def stacked(rows: list[torch.Tensor]) -> torch.Tensor:
    """Put the results of rows together along a new first axis."""
    return torch.stack(rows)


class TorchArrays:
    """How arrays get into PyTorch and out of it, and how it differentiates."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Nothing has to be set up."""
        return contextlib.nullcontext()

    def put(self, array: Array, device: str | None) -> torch.Tensor:
        """Copy to a tensor."""
        return to_torch(array, device)

    def back(self, array: Any) -> Array:
        """Copy to NumPy."""
        return to_numpy(array)

    def gradient(self, forward: Callable[[Any], Any], x: Any, upstream: Any) -> Any:
        """Differentiate: the sum of the outputs without an upstream gradient, else their product with it."""
        leaf = x.detach().requires_grad_()
        out = forward(leaf)
        (gradient,) = torch.autograd.grad(out.sum() if upstream is None else out, leaf, upstream)
        return gradient
