"""The first fault between its use and the report: it waits until more of what is made of it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from stablemax.watching.torch.fault_words import incoming_as_used
from stablemax.watching.torch.findings import Found, UsedFault
from stablemax.watching.torch.made_of_fault import gradient_of, made_of
from stablemax.watching.torch.non_finite import NonFiniteOrigin, OriginKind
from stablemax.watching.torch.observed_run import ObservedRun
from stablemax.watching.torch.ring import RingEntry
from stablemax.watching.torch.suspicion import Suspicion
from stablemax.watching.watch_options import WatchedKind

_MOST_WAITED = 128
"""A fault is told of after so many further operations, whatever was made of it: half of those that are kept."""
_MOST_KEPT = 4


class WaitingFault:
    """Holds the first fault, and where it is used; `tell` gets it once more of what is made of it is known."""

    def __init__(self, run: ObservedRun, tell: Callable[[UsedFault], None]) -> None:
        self._run = run
        self._tell = tell
        self._used: UsedFault | None = None
        #: Gradients of leaves that were made of what is not used yet, by the number of its fault.
        self._gradients: dict[int, Found | None] = {}

    @property
    def found(self) -> Found | None:
        """The fault that waits."""
        return None if self._used is None else self._used.found

    def use(
        self, origin: NonFiniteOrigin, harm: str, entry: RingEntry, output: torch.Tensor, suspicion: Suspicion
    ) -> None:
        """Tell of infinities or NaN that go on: of what made them, else of where they are used."""
        run = self._run
        if suspicion.kind not in run.options.on and origin.kind is not OriginKind.MADE:
            return
        used = run.taken_down(entry, output, suspicion)
        incoming = origin.incoming
        if incoming is not None:
            incoming = incoming_as_used(incoming, entry, run.steps.current, run.check.sites)
        found = origin.found or used
        later = self._gradients.get(found.number)
        self._used = UsedFault(found, used, incoming, self._unseen(origin), harm, later)
        goes_on = suspicion.kind is not WatchedKind.LOST and not isinstance(output, torch.nn.Parameter)
        if incoming is not None or not goes_on or output is run.steps.last_loss:
            self.settle()

    def settle(self, later: Found | None = None) -> None:
        """Tell of the fault that waits: with the loss, or the first gradient of a leaf that was made of it."""
        if self._used is None:
            return
        used, self._used = self._used, None
        with self._run.ending_on_mistakes():
            if used.incoming is None:
                later = later or used.later or made_of(used.found, self._run)
            self._tell(replace(used, later=later))

    def settle_if_old(self) -> None:
        """Tell of the fault that waits where it has waited long."""
        if self._used is not None and self._run.check.operations - self._used.used.number > _MOST_WAITED:
            self.settle()

    def after_pass(self) -> None:
        """Tell of a fault that waits, behind a backward pass and before a step; else keep what its gradients are."""
        run = self._run
        if self._used is not None:
            self.settle()
        elif run.check.is_active:
            with run.ending_on_mistakes():
                faults = {o.found.number: o.found for _, o in run.origins.made() if o.found is not None}
                # A step overwrites the parameters that the gradients were taken at.
                self._gradients = {
                    n: self._gradients.get(n) or gradient_of(found, run)
                    for n, found in list(faults.items())[:_MOST_KEPT]
                }

    def _unseen(self, origin: NonFiniteOrigin) -> str:
        """Say where what came in may have been made unseen; empty where it came in."""
        if not self._run.options.watches_all and self._run.steps.current > 1:
            return "in a step that was not watched"
        distributed = torch.distributed
        if origin.is_of_gradient and distributed.is_available() and distributed.is_initialized():
            # Gradients are added up over the processes.
            return "in another process, or by a library out of PyTorch's sight"
        return ""
