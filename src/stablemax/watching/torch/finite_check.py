"""The watching itself: every operation runs as it does, and a sum over its output tells of an inf or a NaN."""

from __future__ import annotations

import contextlib
import math
import os
import weakref
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stablemax.watching.torch.call_sites import CallSites
from stablemax.watching.torch.operator_plan import OperatorPlan, plan_of
from stablemax.watching.torch.ring import Ring, RingEntry

CHECKED = frozenset((torch.float16, torch.bfloat16, torch.float32, torch.float64))
_NARROW = frozenset((torch.float16, torch.bfloat16))
_PLAIN = frozenset((torch.Tensor, torch.nn.Parameter))
AT_ONCE = frozenset(("cpu",))
"""Devices on which to look at a number does not wait for others."""
_PENDING = 64
"""Sums on another device that wait to be looked at together: each look waits for the device."""

Suspect = Callable[[RingEntry, torch.Tensor], None]


class FiniteCheck(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Checks the outputs of operations, and keeps the last ones.

    A sum with an inf or a NaN in it is inf or NaN. One that overflows by itself is told apart by whoever is called with
    the suspect. On the CPU that is at once; on another device after some operations, for to look at a number waits for
    the device.
    """

    def __init__(self, suspect: Suspect, *, looks_at_all: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sites = CallSites()
        self.ring = Ring()
        self.operations = 0
        #: False in steps that are not watched.
        self.is_active = True
        self.is_over = False
        #: Threads in which the watcher itself works.
        self._own_threads: set[int] = set()
        self.forks = 0
        self.captured_graphs = False
        self._suspect = suspect
        self._looks_at_all = looks_at_all
        self._plans: dict[Any, OperatorPlan] = {}
        self._pending: list[tuple[RingEntry, torch.Tensor, torch.Tensor]] = []
        # A process that is forked, such as one that loads batches, is none of the training.
        itself = weakref.ref(self)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: _end(itself()), after_in_parent=lambda: _count_fork(itself()))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch need not shield it from its compiler, which would import that: in a mode it compiles nothing.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation as it is, then check what it gave."""
        options = kwargs or {}
        if not self.is_active or (self._own_threads and get_ident() in self._own_threads):
            return func(*args, **options)
        plan = self._plans.get(func)
        if plan is None:
            plan = self._plans[func] = plan_of(func)
        entry = RingEntry(func, plan, args, options)
        result = func(*args, **options)
        entry.result = result
        self.operations += 1
        entry.number = self.operations
        entry.call_site = self.sites.here()
        size_bytes = 0
        if plan.is_checked:
            if type(result) is torch.Tensor and not entry.written:
                size_bytes = self._check(entry, result)
            else:
                for t in entry.outputs():
                    size_bytes += self._check(entry, t)
        self.ring.append(entry, size_bytes)
        return result

    def _check(self, entry: RingEntry, tensor: torch.Tensor) -> int:
        """Sum up an output, and tell of it where the sum is no number; return its size."""
        dtype = tensor.dtype
        if dtype not in CHECKED or type(tensor) not in _PLAIN or tensor.layout is not torch.strided:
            return 0
        if tensor.device.type not in AT_ONCE:
            # Tensors of the device meta have no numbers.
            if not tensor.is_meta:
                self._wait(entry, tensor)
        elif self._looks_at_all or not math.isfinite(
            (tensor.sum(dtype=torch.float32) if dtype in _NARROW else tensor.sum()).item()
        ):
            with self.unseen():
                self._suspect(entry, tensor)
        return tensor.numel() * tensor.element_size()

    def _wait(self, entry: RingEntry, tensor: torch.Tensor) -> None:
        if tensor.is_cuda and torch.cuda.is_current_stream_capturing():
            self.captured_graphs = True
            return
        self._pending.append((entry, tensor, tensor.sum(dtype=torch.float32)))
        if len(self._pending) >= _PENDING:
            self.look_at_pending()

    def look_at_pending(self) -> None:
        """Look at the sums of other devices that were not looked at yet."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        with self.unseen():
            by_device: dict[torch.device, list[torch.Tensor]] = {}
            for _, _, total in pending:
                by_device.setdefault(total.device, []).append(total)
            bad = {id(t) for sums in by_device.values() for t in _bad_among(sums)}
            for entry, tensor, total in pending:
                if self._looks_at_all or id(total) in bad:
                    self._suspect(entry, tensor)

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """Run what the watcher itself does with tensors, in this thread."""
        thread = get_ident()
        is_outer = thread not in self._own_threads
        self._own_threads.add(thread)
        try:
            yield
        finally:
            if is_outer:
                self._own_threads.discard(thread)

    @property
    def is_own_thread(self) -> bool:
        """True where the watcher itself works in this thread."""
        return get_ident() in self._own_threads

    def end(self) -> None:
        """Check nothing any more, and let go of what is held."""
        self.is_over, self.is_active = True, False
        self.ring.clear()
        self._pending.clear()


def _end(check: FiniteCheck | None) -> None:
    if check is not None:
        check.end()


def _count_fork(check: FiniteCheck | None) -> None:
    if check is not None and not check.is_over:
        check.forks += 1


def _bad_among(sums: list[torch.Tensor]) -> list[torch.Tensor]:
    finite = torch.stack(sums).isfinite().tolist()
    return [total for total, is_finite in zip(sums, finite, strict=True) if not is_finite]
