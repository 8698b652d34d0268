"""What is done with an output that may not be finite: what is made there counts once it is mixed with numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from stablemax.results.watched import IncomingTensor, WatchedFault
from stablemax.watching.torch.fault_words import incoming_at, where_words
from stablemax.watching.torch.lost_numbers import lost_cells
from stablemax.watching.torch.non_finite import SCALED, WRITTEN, NonFiniteOrigin, OriginKind
from stablemax.watching.torch.observed_run import ObservedRun
from stablemax.watching.torch.operands import Operand
from stablemax.watching.torch.ring import RingEntry
from stablemax.watching.torch.suspicion import Deed, Suspicion, is_expected_of_scaled, mixes, suspicion_of
from stablemax.watching.torch.waiting_fault import WaitingFault
from stablemax.watching.watch_options import WatchedKind


class SuspectOutputs:
    """Looks at suspect outputs and losses, notes where what is in them comes from, and tells of what is used."""

    def __init__(self, run: ObservedRun, waiting: WaitingFault) -> None:
        self._run = run
        self._waiting = waiting
        #: Steps in which scaled gradients overflowed.
        self.scaled_steps: set[int] = set()
        #: What was made, be it used or taken out again.
        self.made_count = 0
        self.first_made: WatchedFault | None = None

    def look(self, entry: RingEntry, output: torch.Tensor) -> None:
        """Look at an output that may not be finite."""
        with self._run.ending_on_mistakes():
            self._suspect(entry, output)

    def _suspect(self, entry: RingEntry, output: torch.Tensor) -> None:
        run = self._run
        self._waiting.settle_if_old()
        if self._waiting.found is not None:
            run.origins.note(output, NonFiniteOrigin(OriginKind.MADE, found=self._waiting.found))
        if run.check.is_over or self._waiting.found is not None:
            return
        suspicion = suspicion_of(entry, output, run.origins, self._describing(entry), self._producer(entry))
        if suspicion is None:
            self._look_for_lost(entry, output)
            return
        if self._is_scaled(suspicion, entry, output):
            self.scaled_steps.add(run.steps.current)
            run.origins.note(output, SCALED)
            return
        origin = suspicion.origin
        is_first = origin is None or origin.kind not in (OriginKind.MADE, OriginKind.INCOMING)
        if suspicion.deed is Deed.MADE and is_first:
            origin = self._made(entry, output, suspicion) if suspicion.kind in run.options.on else WRITTEN
        assert origin is not None, "what is passed on has an origin"
        run.origins.note(output, origin)
        where = where_words(run.check.sites.resolved(entry.call_site))
        if isinstance(output, torch.nn.Parameter) and not entry.plan.is_copy:
            harm = f"It reaches a parameter, by {entry.plan.name} at {where}."
            if origin.kind is OriginKind.SCALED:
                harm = (
                    f"Scaled gradients overflowed, and reach a parameter at {where}: GradScaler skips such a step "
                    "where scaler.step(optimizer) is called."
                )
            self._waiting.use(origin, harm, entry, output, suspicion)
        elif not is_first and mixes(entry) and (origin.kind is OriginKind.MADE or suspicion.has_nan):
            self._waiting.use(origin, f"It reaches {entry.plan.name} at {where}.", entry, output, suspicion)

    def _look_for_lost(self, entry: RingEntry, output: torch.Tensor) -> None:
        lost = lost_cells(entry, output) if WatchedKind.LOST in self._run.options.on else None
        if lost is not None:
            suspicion = Suspicion(Deed.MADE, WatchedKind.LOST, lost)
            self._waiting.use(self._made(entry, output, suspicion), "", entry, output, suspicion)

    def look_at_loss(self, loss: torch.Tensor) -> None:
        """Tell of what made a loss that is no number, or of the operation that gave it where the code wrote it."""
        run = self._run
        origin = run.origins.of(loss)
        entry = next((e for e in reversed(run.check.ring.all()) if any(t is loss for t in e.outputs())), None)
        if self._waiting.found is not None and entry is not None:
            with run.ending_on_mistakes():
                self._waiting.settle(run.passed_on_at(entry, loss))
        elif not run.check.is_over and origin is not None and entry is not None:
            kind = WatchedKind.NAN if bool(loss.isnan()) else WatchedKind.OVERFLOW
            writes = origin.kind is OriginKind.WRITTEN
            harm = "It is the loss, by an infinity that the code writes." if writes else "It is the loss."
            with run.ending_on_mistakes():
                self._waiting.use(origin, harm, entry, loss, Suspicion(Deed.MADE, kind, ~loss.isfinite(), origin))

    def _made(self, entry: RingEntry, output: torch.Tensor, suspicion: Suspicion) -> NonFiniteOrigin:
        """Keep what was made, with the operations before it."""
        found = self._run.taken_down(entry, output, suspicion)
        self.made_count += 1
        self.first_made = self.first_made or found.fault
        return NonFiniteOrigin(OriginKind.MADE, found=found)

    def _is_scaled(self, suspicion: Suspicion, entry: RingEntry, output: torch.Tensor) -> bool:
        """Tell whether an overflow is one that GradScaler looks for; what reaches a weight is none."""
        scale = self._run.steps.scale
        from_scaled = suspicion.origin is not None and suspicion.origin.kind is OriginKind.SCALED
        if scale is None or isinstance(output, torch.nn.Parameter):
            return False
        is_of_gradient = entry.call_site.node is not None or self._run.steps.in_scaler or from_scaled
        if suspicion.deed is Deed.PASSED_ON:
            return from_scaled
        return is_of_gradient and is_expected_of_scaled(suspicion, entry, output, scale)

    def _describing(self, entry: RingEntry) -> Callable[[Operand], IncomingTensor]:
        return lambda operand: incoming_at(operand, entry, self._run.steps.current, self._run.check.sites)

    def _producer(self, last: RingEntry) -> Callable[[torch.Tensor], RingEntry | None]:
        def find(tensor: torch.Tensor) -> RingEntry | None:
            made = (e for e in reversed(self._run.check.ring.up_to(last)) if any(t is tensor for t in e.outputs()))
            return next((e for e in made if e is not last), None)

        return find
