"""The steps of a training: counted by optimizers, with losses, weights and gradients, and what GradScaler does."""

from __future__ import annotations

import contextlib
import gc
import math
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from stablemax.results.watched import WatchedStep
from stablemax.watching.growth import WINDOW
from stablemax.watching.torch.call_sites import CallSites
from stablemax.watching.torch.replaced_functions import replaced
from stablemax.watching.torch.ring import address_of
from stablemax.watching.torch.weight_sizes import SizeHistory, WeightSizes

_KEPT = 1000


class TrainingSteps:
    """Counts the steps of a run, and keeps the figures of the last thousand.

    With several optimizers a step is one of that which has stepped most often; without any it is a backward pass.
    What this does itself with tensors runs within `unseen`; `before` is called before a step and before a backward
    pass, `after` behind a step, `settle` before a step and behind a backward pass, and `bad_loss` with a loss that is
    no number before its backward pass.
    """

    def __init__(
        self,
        unseen: Callable[[], contextlib.AbstractContextManager[None]],
        before: Callable[[], None],
        after: Callable[[], None],
        bad_loss: Callable[[torch.Tensor], None],
        sites: CallSites,
        settle: Callable[[], None],
    ) -> None:
        self._sites = sites
        self._bad_loss = bad_loss
        self._unseen = unseen
        self._before = before
        self._after = after
        self._settle = settle
        self._last_loss: weakref.ref[torch.Tensor] | None = None
        self._has_optimizer = any(issubclass(type(thing), Optimizer) for thing in gc.get_objects())
        self._backwards = 0
        self._counts: dict[int, int] = {}
        self._optimizers: dict[int, Any] = {}
        self.history: deque[WatchedStep] = deque(maxlen=_KEPT)
        self._first_sizes: WeightSizes | None = None
        self._sizes: deque[WeightSizes] = deque(maxlen=WINDOW)
        #: A backward pass of this step has begun: until then gradients are those of the step before.
        self._has_gradients = False
        self.skipped = 0
        #: The largest of the losses that backward passes of this step started from.
        self.loss: float | None = None
        #: What GradScaler multiplied a loss of this step by; None where it has not.
        self.scale: float | None = None
        #: An optimizer steps.
        self.in_optimizer = False
        #: GradScaler's own code runs.
        self.in_scaler = False

    @property
    def current(self) -> int:
        """The number of the step that runs, from 1."""
        done = max(self._counts.values(), default=0) if self._has_optimizer else self._backwards
        return done + 1

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count steps as long as the block runs."""
        handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        with (
            replaced(torch.autograd, "backward", self._watched_backward),
            replaced(Optimizer, "__init__", self._watched_optimizer),
            replaced(GradScaler, "scale", self._watched_scale),
            replaced(GradScaler, "step", self._watched_scaler_step),
        ):
            try:
                yield
            finally:
                for handle in handles:
                    handle.remove()

    def latest(self) -> tuple[WatchedStep, SizeHistory]:
        """Return the figures of the step that runs, as they are now, and the sizes of the weights up to it."""
        figures, sizes = self._figures()
        first = () if self._first_sizes is None else (self._first_sizes,)
        before = tuple(s for s in self._sizes if s not in first)
        figures = figures if self._has_gradients else replace(figures, gradient_norm=None)
        return figures, SizeHistory((*first, *before, sizes))

    @property
    def last_loss(self) -> torch.Tensor | None:
        """The one tensor that the last backward pass started from, if it lives."""
        return None if self._last_loss is None else self._last_loss()

    def _before_step(self, optimizer: Any, *_: Any) -> None:
        self._before()
        self._settle()
        self._optimizers[id(optimizer)] = optimizer
        if not self._counts:
            self._begin()
            self._counts[id(optimizer)] = 0
        self.in_optimizer = True

    def _after_step(self, optimizer: Any, *_: Any) -> None:
        self.in_optimizer = False
        number = self.current
        self._count(optimizer)
        if self.current != number:
            self._finish(number)

    def _begin(self) -> None:
        """Note what the weights were before the first step; the gradient is of that step."""
        figures, sizes = self._figures()
        self.history.append(WatchedStep(0, None, figures.largest_weight, None))
        self._first_sizes = replace(sizes, step=0)

    def _finish(self, number: int) -> None:
        figures, sizes = self._figures()
        self.history.append(replace(figures, step=number))
        self._sizes.append(replace(sizes, step=number))
        self.loss, self.scale, self._has_gradients = None, None, False
        self._after()

    def _count(self, optimizer: Any) -> None:
        self._counts[id(optimizer)] = self._counts.get(id(optimizer), 0) + 1

    def _figures(self) -> tuple[WatchedStep, WeightSizes]:
        """Take the sizes of the weights and the norm of the gradients: of all optimizers, else of the modules."""
        parameters = [p for o in self._optimizers.values() for g in o.param_groups for p in g["params"]]
        if not self._has_optimizer:
            parameters = [p for root in list(self._sites.roots) for p in root.parameters()]
        with self._unseen():
            sizes = _norms([p for p in parameters if p.numel()], math.inf)
            gradients = _norms([p.grad for p in parameters if p.grad is not None and p.grad.numel()], 2)
        largest = max(n for _, n in sizes) if sizes and not any(math.isnan(n) for _, n in sizes) else None
        norms = [n for _, n in gradients]
        norm = math.sqrt(sum(n * n for n in norms)) if norms and max(norms) < 1e150 else None
        by_address = {address_of(p): n for p, n in sizes}
        return WatchedStep(self.current, self.loss, largest, norm), WeightSizes(self.current, by_address)

    # --- what is called in place of PyTorch's own --------------------------------------------------

    def _watched_backward(self, own: Callable[..., Any], tensors: Any, *arguments: Any, **options: Any) -> Any:
        self._before()
        for t in tensors if isinstance(tensors, (list, tuple)) else (tensors,):
            if isinstance(t, torch.Tensor) and t.numel() == 1 and t.is_floating_point():
                with self._unseen():
                    size = t.detach().item() / (self.scale or 1.0)
                    if not math.isfinite(size):
                        self._bad_loss(t)
                self.loss = size if self.loss is None or math.isnan(size) else max(self.loss, size, key=abs)
        self._last_loss = weakref.ref(tensors) if isinstance(tensors, torch.Tensor) else None
        self._has_gradients = True
        if not self._has_optimizer and not self._backwards:
            self._begin()
        with self._sites.backward():
            result = own(tensors, *arguments, **options)
        self._settle()
        if not self._has_optimizer:
            self._backwards += 1
            self._finish(self._backwards)
        return result

    def _watched_optimizer(self, own: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        if not self._has_optimizer:
            self._has_optimizer = True
            self.history.clear()
        own(*arguments, **options)

    def _watched_scale(self, own: Callable[..., Any], scaler: Any, outputs: Any) -> Any:
        if not scaler.is_enabled():
            return own(scaler, outputs)
        with self._within_scaler():
            scaled = own(scaler, outputs)
        self.scale = scaler.get_scale()
        return scaled

    def _watched_scaler_step(
        self, own: Callable[..., Any], scaler: Any, optimizer: Any, *arguments: Any, **o: Any
    ) -> Any:
        before = self._counts.get(id(optimizer), 0)
        result = own(scaler, optimizer, *arguments, **o)
        if scaler.is_enabled() and self._counts.get(id(optimizer), 0) == before:
            self.skipped += 1
            self._after_step(optimizer)
        return result

    @contextlib.contextmanager
    def _within_scaler(self) -> Iterator[None]:
        self.in_scaler = True
        try:
            yield
        finally:
            self.in_scaler = False


def _norms(tensors: list[torch.Tensor], order: float) -> list[tuple[torch.Tensor, float]]:
    """Take the norm of each tensor that has one: sparse and complex ones have none."""
    groups: dict[Any, list[torch.Tensor]] = {}
    for t in tensors:
        groups.setdefault((t.device, t.dtype, t.layout), []).append(t)
    found: list[tuple[torch.Tensor, float]] = []
    with torch.no_grad():
        for same in groups.values():
            with contextlib.suppress(RuntimeError, NotImplementedError, TypeError):
                norms = torch.stack(torch._foreach_norm(same, order)).tolist()
                found += zip(same, norms, strict=True)
    return found
