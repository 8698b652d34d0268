"""PyTorch's operations as they are timed."""

from __future__ import annotations

import contextlib
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - as PyTorch's own documentation calls it

from stablemax.peers.torch_arrays import to_numpy
from stablemax.vocabulary import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stablemax.formats import Array


def _gradient(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(F.cross_entropy(x, y), x)[0]


class TimedTorch:
    """PyTorch on the CPU."""

    name = "torch"
    libraries = ("torch",)
    needs_affinity = False
    formulas = MappingProxyType(
        {
            Operation.SOFTMAX: "torch.softmax(x, dim=-1)",
            Operation.LOG_SOFTMAX: "torch.log_softmax(x, dim=-1)",
            Operation.LOGSUMEXP: "torch.logsumexp(x, dim=-1)",
            Operation.CROSS_ENTROPY: "torch.nn.functional.cross_entropy(x, y)",
            Operation.CROSS_ENTROPY_GRAD: "torch.autograd.grad(torch.nn.functional.cross_entropy(x, y), x)",
        }
    )

    @contextlib.contextmanager
    def running(self, threads: int) -> Iterator[None]:
        """Set the number of threads within operations, and put it back."""
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def call(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:  # noqa: ARG002
        """Share the arrays' memory, which `from_numpy` does."""
        logits, labels = torch.from_numpy(x), torch.from_numpy(y)
        match operation:
            case Operation.SOFTMAX:
                return partial(torch.softmax, logits, dim=-1)
            case Operation.LOG_SOFTMAX:
                return partial(torch.log_softmax, logits, dim=-1)
            case Operation.LOGSUMEXP:
                return partial(torch.logsumexp, logits, dim=-1)
            case Operation.CROSS_ENTROPY:
                return partial(F.cross_entropy, logits, labels)
            case Operation.CROSS_ENTROPY_GRAD:
                return partial(_gradient, logits.requires_grad_(), labels)
            case _:
                raise NotImplementedError(operation)

    def back(self, result: Any) -> Array:
        """Copy to NumPy."""
        return to_numpy(result)


TIMED = TimedTorch()
