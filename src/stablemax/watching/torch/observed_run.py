"""What is known of a run while it is watched, and an operation of it taken down with those before it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch

from stablemax.watching.torch.findings import Found, found_at
from stablemax.watching.torch.finite_check import FiniteCheck
from stablemax.watching.torch.non_finite import KnownOrigins
from stablemax.watching.torch.ring import RingEntry
from stablemax.watching.torch.suspicion import Deed, Suspicion
from stablemax.watching.torch.training_steps import TrainingSteps
from stablemax.watching.watch_options import WatchedKind, WatchOptions


@dataclass
class ObservedRun:
    """The operations and steps of a run, and the origins of what is not finite in it."""

    options: WatchOptions
    check: FiniteCheck
    steps: TrainingSteps
    origins: KnownOrigins = field(default_factory=KnownOrigins)
    #: A mistake of the watch itself, by which it ended; empty where there was none.
    error: str = ""
    error_step: int = 0

    @contextlib.contextmanager
    def ending_on_mistakes(self) -> Iterator[None]:
        """Let a mistake of ours end the watch, and never the program."""
        try:
            yield
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
            self.error_step = self.steps.current
            self.check.end()

    def taken_down(
        self,
        entry: RingEntry,
        output: torch.Tensor,
        suspicion: Suspicion,
        leaf: torch.Tensor | None = None,
        loss: torch.Tensor | None = None,
    ) -> Found:
        """Take down an operation and what is needed to run it again, before the run overwrites that."""
        latest, sizes = self.steps.latest()
        steps, before = (*self.steps.history, latest), self.check.ring.up_to(entry)
        with self.check.unseen():
            found = found_at(entry, output, suspicion, before, steps, sizes, self.check.sites, leaf=leaf, loss=loss)
        return replace(found, in_optimizer=self.steps.in_optimizer)

    def passed_on_at(self, entry: RingEntry, output: torch.Tensor, leaf: torch.Tensor | None = None) -> Found:
        """Take down an operation that passes an inf or a NaN on; with the loss, where it gives a gradient."""
        kind = WatchedKind.NAN if bool(output.isnan().any()) else WatchedKind.OVERFLOW
        loss = None if leaf is None else self.steps.last_loss
        return self.taken_down(entry, output, Suspicion(Deed.PASSED_ON, kind), leaf, loss)
