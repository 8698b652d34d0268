"""The steps of a training: counted by optimizers, with losses, weights and gradients, and what GradScaler does."""

from __future__ import annotations

import contextlib
import functools
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
from stablemax.watching.torch.call_sites import CallSites

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
        self.skipped = 0
        #: The largest of the losses that backward passes of this step started from.
        self.loss: float | None = None
        #: What GradScaler multiplied a loss of this step by; None where it has not.
        self.scale: float | None = None
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
            _replaced(torch.autograd, "backward", self._watched_backward),
            _replaced(Optimizer, "__init__", self._watched_optimizer),
            _replaced(GradScaler, "scale", self._watched_scale),
            _replaced(GradScaler, "step", self._watched_scaler_step),
        ):
            try:
                yield
            finally:
                for handle in handles:
                    handle.remove()

    def latest(self) -> WatchedStep:
        """Return the figures of the step that runs, as they are now."""
        return self._figures()

    @property
    def last_loss(self) -> torch.Tensor | None:
        """The one tensor that the last backward pass started from, if it lives."""
        return None if self._last_loss is None else self._last_loss()

    def _before_step(self, optimizer: Any, *_: Any) -> None:
        self._before()
        self._settle()
        self._optimizers[id(optimizer)] = optimizer
        if not self._counts:
            # What the weights were before the first step; the gradient is of that step.
            self.history.append(WatchedStep(0, None, self._figures().largest_weight, None))
            self._counts[id(optimizer)] = 0

    def _after_step(self, optimizer: Any, *_: Any) -> None:
        number = self.current
        self._count(optimizer)
        if self.current != number:
            self._finish(number)

    def _finish(self, number: int) -> None:
        figures = self._figures()
        self.history.append(replace(figures, step=number))
        self.loss, self.scale = None, None
        self._after()

    def _count(self, optimizer: Any) -> None:
        self._counts[id(optimizer)] = self._counts.get(id(optimizer), 0) + 1

    def _figures(self) -> WatchedStep:
        """Take the largest weight and the norm of the gradients, over all optimizers."""
        parameters = [p for o in self._optimizers.values() for g in o.param_groups for p in g["params"]]
        with self._unseen():
            weights = _norms([p for p in parameters if p.numel()], math.inf)
            gradients = _norms([p.grad for p in parameters if p.grad is not None and p.grad.numel()], 2)
        largest = max(weights) if weights and not any(map(math.isnan, weights)) else None
        norm = math.sqrt(sum(n * n for n in gradients)) if gradients and max(gradients) < 1e150 else None
        return WatchedStep(self.current, self.loss, largest, norm)

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
        self._sites.in_backward = True
        try:
            result = own(tensors, *arguments, **options)
        finally:
            self._sites.in_backward = False
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


def _norms(tensors: list[torch.Tensor], order: float) -> list[float]:
    if not tensors:
        return []
    with torch.no_grad():
        try:
            return [n for same in _by_kind(tensors) for n in torch.stack(torch._foreach_norm(same, order)).tolist()]
        except (RuntimeError, NotImplementedError, TypeError):
            return []  # sparse and complex ones have no such norm


def _by_kind(tensors: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    groups: dict[Any, list[torch.Tensor]] = {}
    for t in tensors:
        groups.setdefault((t.device, t.dtype), []).append(t)
    return list(groups.values())


@contextlib.contextmanager
def _replaced(owner: Any, name: str, wrapper: Callable[..., Any]) -> Iterator[None]:
    """Let a wrapper stand in place of a function; it gets the function first."""
    own = getattr(owner, name)

    @functools.wraps(own)
    def call(*arguments: Any, **options: Any) -> Any:
        return wrapper(own, *arguments, **options)

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, own)
