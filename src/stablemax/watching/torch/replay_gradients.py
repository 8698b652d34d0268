"""Gradients of a replay that autograd takes anew: of its forward operations, by any tensor on the way to the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from stablemax.watching.torch.replay import Replay, apply, ordinary

T = TypeVar("T")


def with_autograd(run: Callable[[], T]) -> T:
    """Call a function where autograd works: a watch looks on beneath it, so that this may be another thread."""

    def taken() -> T:
        with ordinary(), torch.enable_grad():
            return run()

    if not torch._C._dispatch_tls_is_dispatch_key_excluded("AutogradFunctionality"):
        return taken()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(taken).result()


def gradients_of(replay: Replay, by: Sequence[int]) -> dict[int, torch.Tensor]:
    """Return the gradients of the loss of a replay by some of its tensors, those that it depends on."""
    loss = replay.loss
    assert loss is not None, "gradients are of a loss"

    def run() -> dict[int, torch.Tensor]:
        tensors = {n: t.clone() for n, t in replay.leaves.items()}
        if replay.leaf in tensors:
            tensors[replay.leaf].requires_grad_()
        for operation in replay.operations:
            if operation.call_site.node is None:
                apply(operation, tensors)
        known = [n for n in by if n in tensors and tensors[n].requires_grad]
        gradients = torch.autograd.grad(tensors[loss], [tensors[n] for n in known], allow_unused=True)
        pairs: Iterable[tuple[int, torch.Tensor | None]] = zip(known, gradients, strict=True)
        return {n: g.detach() for n, g in pairs if g is not None}

    return with_autograd(run)
