"""The watch of one process: it begins, looks at what is suspect, finds the first fault, and tells of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import _get_current_dispatch_mode

from stablemax.results.watched import IncomingTensor, Watched, WatchedFault
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted
from stablemax.watching.torch.fault_words import fault_where, incoming_as_used, incoming_at, where_words
from stablemax.watching.torch.findings import Found, UsedFault, finding_of, found_at
from stablemax.watching.torch.finite_check import FiniteCheck
from stablemax.watching.torch.lost_numbers import lost_cells
from stablemax.watching.torch.non_finite import SCALED, WRITTEN, KnownOrigins, NonFiniteOrigin, OriginKind
from stablemax.watching.torch.operands import Operand
from stablemax.watching.torch.repro_folder import write_repro
from stablemax.watching.torch.ring import RingEntry, address_of, is_leaf
from stablemax.watching.torch.suspicion import Deed, Suspicion, is_expected_of_scaled, mixes, suspicion_of
from stablemax.watching.torch.training_steps import TrainingSteps
from stablemax.watching.watch_options import WatchedKind, WatchOptions

Told = Callable[[Watched], None]
_MOST_WAITED = 128
"""A fault is told of after so many further operations, whatever was made of it: half of those that are kept."""
_MOST_KEPT = 4


class Watcher:
    """Watches the operations of this process until something is found; `told` gets that at once."""

    def __init__(self, options: WatchOptions, told: Told | None = None) -> None:
        self.options = options
        self._told = told
        self.check = FiniteCheck(self._look, looks_at_all=WatchedKind.LOST in options.on)
        self.steps = TrainingSteps(
            self.check.unseen, self.check.look_at_pending, self._next_step, self._bad_loss, self.check.sites,
            self._after_pass,
        )  # fmt: skip
        self._origins = KnownOrigins()
        self._found: Watched | None = None
        #: The first fault, and where it is used; it is told of once more of what is made of it is known.
        self._waiting: UsedFault | None = None
        #: Gradients of leaves that were made of what is not used yet, by the number of its fault.
        self._gradients: dict[int, Found | None] = {}
        #: When something was found, in nanoseconds of the clock of the machine.
        self.found_ns = 0
        self._scaled_steps: set[int] = set()
        self._is_entered = False
        self._error = ""
        self._notes: dict[str, None] = {}
        #: What was made, be it used or taken out again.
        self._made_count = 0
        self._first_made: WatchedFault | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Watch as long as the block runs."""
        hooks = [
            register_module_forward_pre_hook(self.check.sites.enter_module),
            register_module_forward_hook(self.check.sites.leave_module, always_call=True),
        ]
        with self.steps.counted(), _uncompiled(self._note):
            self._set_on(is_on=self.options.watches(self.steps.current))
            try:
                yield self
            finally:
                with self._ending_on_mistakes():
                    self.check.look_at_pending()
                    self._settle()
                    self._look_at_what_is_left()
                self._set_on(is_on=False)
                for hook in hooks:
                    hook.remove()

    @property
    def result(self) -> Watched:
        """What was found, or that nothing was."""
        self._settle()
        counts: dict[str, Any] = {
            "operations": self.check.operations,
            "steps": self.steps.current - 1,
            "scaled_overflows": len(self._scaled_steps),
            "skipped_steps": self.steps.skipped,
        }
        if self._found is not None:
            return replace(self._found, **counts, notes=(*self._found.notes, *self._own_notes()))
        if self._error:
            finding = f"The watch ended at step {self.steps.current} by a mistake of its own: {self._error}"
            return Watched(finding, None, **counts, error=self._error, notes=self._own_notes())
        looked_for = "no inf or NaN was made" if self._first_made is None else "no inf or NaN was made and used"
        steps = counted(self.steps.current - 1, "step")
        finding = f"Nothing found: {looked_for} in {counted(self.check.operations, 'operation')} of {steps}."
        return Watched(finding, None, **counts, notes=self._own_notes())

    def _own_notes(self) -> tuple[str, ...]:
        notes = list(self._notes)
        if self.check.captured_graphs:
            notes.append("CUDA graphs: what was captured in a graph is replayed unseen")
        if self._found is None and self._first_made is not None:
            first, where = self._first_made, fault_where(self._first_made)
            notes.append(
                f"{counted(self._made_count, 'operation')} gave inf or NaN that went no further "
                f"(first: {first.operation.removeprefix('aten.')} at {where})"
            )
        if WatchedKind.LOST in self.options.on:
            notes.append("numbers that became 0 are looked for in formats of up to 32 bits")
        if not self.options.watches_all:
            notes.append(
                f"not all steps were watched: every {self.options.every} from step {self.options.from_step} on"
            )
        return tuple(notes)

    def _note(self, text: str) -> None:
        self._notes.setdefault(text)

    # --- steps ---------------------------------------------------------------------------------

    def _next_step(self) -> None:
        self._origins.forget_dead()
        is_over = self._found is not None or bool(self._error)
        self._set_on(is_on=self.options.watches(self.steps.current) and not is_over)

    def _set_on(self, *, is_on: bool) -> None:
        """Enter the mode, or leave it where it is the innermost one: out of the way it costs nothing."""
        if is_on and not self._is_entered:
            self.check.__enter__()  # type: ignore[no-untyped-call]
            self._is_entered = True
        elif not is_on and self._is_entered and _get_current_dispatch_mode() is self.check:
            self.check.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._is_entered = False
        self.check.is_active = is_on
        if not is_on:
            self.check.ring.clear()

    # --- what is suspect -------------------------------------------------------------------------

    def _look(self, entry: RingEntry, output: torch.Tensor) -> None:
        """Look at an output; a mistake of ours ends the watch, and never the program."""
        with self._ending_on_mistakes():
            self._suspect(entry, output)

    @contextlib.contextmanager
    def _ending_on_mistakes(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._error = f"{type(error).__name__}: {error}"
            self.check.end()

    def _suspect(self, entry: RingEntry, output: torch.Tensor) -> None:
        """Look at an output that may not be finite: what is made there counts once it is mixed with other numbers."""
        if self._waiting is not None and self.check.operations - self._waiting.used.number > _MOST_WAITED:
            self._settle()
        if self._waiting is not None:
            self._origins.note(output, NonFiniteOrigin(OriginKind.MADE, found=self._waiting.found))
        if self._found is not None or self._waiting is not None:
            return
        step = self.steps.current
        suspicion = suspicion_of(entry, output, self._origins, self._describing(entry), self._producer(entry))
        if suspicion is None:
            lost = lost_cells(entry, output) if WatchedKind.LOST in self.options.on else None
            if lost is not None:
                suspicion = Suspicion(Deed.MADE, WatchedKind.LOST, lost)
                self._use(self._made(entry, output, suspicion), "", entry, output, suspicion)
            return
        if self._is_scaled(suspicion, entry, output):
            self._scaled_steps.add(step)
            self._origins.note(output, SCALED)
            return
        origin = suspicion.origin
        is_first = origin is None or origin.kind not in (OriginKind.MADE, OriginKind.INCOMING)
        if suspicion.deed is Deed.MADE and is_first:
            origin = self._made(entry, output, suspicion) if suspicion.kind in self.options.on else WRITTEN
        assert origin is not None, "what is passed on has an origin"
        self._origins.note(output, origin)
        where = where_words(self.check.sites.resolved(entry.call_site))
        if isinstance(output, torch.nn.Parameter) and not entry.plan.is_copy:
            harm = f"It reaches a parameter, by {entry.plan.name} at {where}."
            if origin.kind is OriginKind.SCALED:
                harm = (
                    f"Scaled gradients overflowed, and reach a parameter at {where}: GradScaler skips such a step "
                    "where scaler.step(optimizer) is called."
                )
            self._use(origin, harm, entry, output, suspicion)
        elif not is_first and mixes(entry) and (origin.kind is OriginKind.MADE or suspicion.has_nan):
            self._use(origin, f"It reaches {entry.plan.name} at {where}.", entry, output, suspicion)

    def _bad_loss(self, loss: torch.Tensor) -> None:
        """Tell of what made a loss that is no number, or of the operation that gave it where the code wrote it."""
        origin = self._origins.of(loss)
        entry = next((e for e in reversed(self.check.ring.all()) if any(t is loss for t in e.outputs())), None)
        if self._waiting is not None and entry is not None:
            with self._ending_on_mistakes():
                self._settle(self._later_at(entry, loss))
        elif self._found is None and origin is not None and entry is not None:
            kind = WatchedKind.NAN if bool(loss.isnan()) else WatchedKind.OVERFLOW
            writes = origin.kind is OriginKind.WRITTEN
            harm = "It is the loss, by an infinity that the code writes." if writes else "It is the loss."
            with self._ending_on_mistakes():
                self._use(origin, harm, entry, loss, Suspicion(Deed.MADE, kind, ~loss.isfinite(), origin))

    def _use(
        self, origin: NonFiniteOrigin, harm: str, entry: RingEntry, output: torch.Tensor, suspicion: Suspicion
    ) -> None:
        """Tell of infinities or NaN that go on: of what made them, else of where they are used."""
        if suspicion.kind not in self.options.on and origin.kind is not OriginKind.MADE:
            return
        used = self._taken_down(entry, output, suspicion)
        incoming = origin.incoming
        if incoming is not None:
            incoming = incoming_as_used(incoming, entry, self.steps.current, self.check.sites)
        found = origin.found or used
        later = self._gradients.get(found.number)
        self._waiting = UsedFault(found, used, incoming, self._unseen(origin), harm, later)
        goes_on = suspicion.kind is not WatchedKind.LOST and not isinstance(output, torch.nn.Parameter)
        if incoming is not None or not goes_on or output is self.steps.last_loss:
            self._settle()

    def _settle(self, later: Found | None = None) -> None:
        """Tell of the fault that waits: with the loss, or the first gradient of a leaf that was made of it."""
        if self._waiting is None:
            return
        waiting, self._waiting = self._waiting, None
        with self._ending_on_mistakes():
            if waiting.incoming is None:
                later = later or waiting.later or self._later(waiting.found)
            self._find(replace(waiting, later=later))

    def _after_pass(self) -> None:
        """Tell of a fault that waits, behind a backward pass and before a step; else keep what its gradients are."""
        if self._waiting is not None:
            self._settle()
        elif self._found is None and self.check.is_active:
            with self._ending_on_mistakes():
                faults = {o.found.number: o.found for _, o in self._origins.made() if o.found is not None}
                # A step overwrites the parameters that the gradients were taken at.
                self._gradients = {
                    n: self._gradients.get(n) or self._gradient_of(found)
                    for n, found in list(faults.items())[:_MOST_KEPT]
                }

    def _later(self, found: Found) -> Found | None:
        """Take down the first gradient of a leaf that was made after a fault; else what was made of that last."""
        return self._gradient_of(found) or self._last_made_of(found)

    def _gradient_of(self, found: Found) -> Found | None:
        """Take down the first gradient of a leaf that was made after a fault, and is not finite."""
        entries = self.check.ring.all()
        leaves = {id(t): t for e in entries for t in e.tensors if is_leaf(t)}
        known = {i: t for i, t in leaves.items() if t.grad is not None and self._origins.knows(t.grad)}
        with self.check.unseen():
            bad = {address_of(t.grad): t for t in known.values() if t.grad is not None and not _is_finite(t.grad)}
        if not bad:
            return None
        made: dict[int, tuple[RingEntry, torch.Tensor, torch.Tensor]] = {}
        makers = {id(t): e for e in entries for t in e.outputs()}
        for entry in entries:
            for t in entry.outputs():
                leaf = bad.get(address_of(t))
                if entry.number < found.number or leaf is None or t.shape != leaf.shape:
                    continue
                # Autograd copies into new memory what others hold, too: what was copied is the gradient.
                source = entry.tensors[-1] if entry.plan.name == "copy" else t
                maker = makers.get(id(source), entry)
                made[id(leaf)] = (maker, source, leaf)
        first = min(made.values(), key=lambda one: one[0].number, default=None)
        return None if first is None else self._later_at(*first)

    def _last_made_of(self, found: Found) -> Found | None:
        """Take down the last operation that passes a fault on."""
        for entry in reversed([e for e in self.check.ring.all() if e.number > found.number and e.plan.is_checked]):
            for t in entry.outputs():
                origin = self._origins.of(t)
                if origin is not None and origin.found is found and not _is_finite(t):
                    return self._later_at(entry, t)
        return None

    def _later_at(self, entry: RingEntry, output: torch.Tensor, leaf: torch.Tensor | None = None) -> Found:
        kind = WatchedKind.NAN if bool(output.isnan().any()) else WatchedKind.OVERFLOW
        loss = None if leaf is None else self.steps.last_loss
        return self._taken_down(entry, output, Suspicion(Deed.PASSED_ON, kind), leaf, loss)

    def _look_at_what_is_left(self) -> None:
        """Tell of a result that is infinite or NaN at the end, where the program holds it and nothing took that out."""
        if self._found is not None or not self.check.is_active:
            return
        ring, made = self.check.ring.all(), dict(self._origins.made())
        taken_out = {
            address_of(t)
            for entry in ring
            if entry.plan.is_checked and entry.outputs() and not any(map(self._origins.knows, entry.outputs()))
            for t in entry.tensors
        }
        oldest = self.check.ring.oldest
        later = {
            address: self._later(origin.found)
            for address, origin in made.items()
            if origin.found is not None and address not in taken_out
        }
        del ring
        self.check.ring.clear()
        held = dict(self._origins.made())
        for address, origin in made.items():
            found = origin.found
            if found is not None and address in held and address not in taken_out and found.number >= oldest > 0:
                self._find(UsedFault(found, found, None, "", "It is there at the end.", later[address]))
                return

    def _unseen(self, origin: NonFiniteOrigin) -> str:
        """Say where what came in may have been made unseen; empty where it came in."""
        if not self.options.watches_all and self.steps.current > 1:
            return "in a step that was not watched"
        distributed = torch.distributed
        if origin.is_of_gradient and distributed.is_available() and distributed.is_initialized():
            # Gradients are added up over the processes.
            return "in another process, or by a library out of PyTorch's sight"
        return ""

    def _made(self, entry: RingEntry, output: torch.Tensor, suspicion: Suspicion) -> NonFiniteOrigin:
        """Keep what was made, with the operations before it."""
        found = self._taken_down(entry, output, suspicion)
        self._made_count += 1
        self._first_made = self._first_made or found.fault
        return NonFiniteOrigin(OriginKind.MADE, found=found)

    def _taken_down(
        self,
        entry: RingEntry,
        output: torch.Tensor,
        suspicion: Suspicion,
        leaf: torch.Tensor | None = None,
        loss: torch.Tensor | None = None,
    ) -> Found:
        steps = (*self.steps.history, self.steps.latest())
        before = self.check.ring.up_to(entry)
        with self.check.unseen():
            return found_at(entry, output, suspicion, before, steps, self.check.sites, leaf=leaf, loss=loss)

    def _is_scaled(self, suspicion: Suspicion, entry: RingEntry, output: torch.Tensor) -> bool:
        """Tell whether an overflow is one that GradScaler looks for; what reaches a weight is none."""
        scale = self.steps.scale
        from_scaled = suspicion.origin is not None and suspicion.origin.kind is OriginKind.SCALED
        if scale is None or isinstance(output, torch.nn.Parameter):
            return False
        is_of_gradient = entry.call_site.node is not None or self.steps.in_scaler or from_scaled
        if suspicion.deed is Deed.PASSED_ON:
            return from_scaled
        return is_of_gradient and is_expected_of_scaled(suspicion, entry, output, scale)

    def _describing(self, entry: RingEntry) -> Callable[[Operand], IncomingTensor]:
        return lambda operand: incoming_at(operand, entry, self.steps.current, self.check.sites)

    def _producer(self, last: RingEntry) -> Callable[[torch.Tensor], RingEntry | None]:
        def find(tensor: torch.Tensor) -> RingEntry | None:
            made = (e for e in reversed(self.check.ring.up_to(last)) if any(t is tensor for t in e.outputs()))
            return next((e for e in made if e is not last), None)

        return find

    def _find(self, fault: UsedFault) -> None:
        """Tell of the first fault: nothing is watched any more."""
        with self.check.unseen():
            finding = finding_of(fault, self.check.sites)
        found = fault.found
        result = finding.result
        if self.options.repro and finding.replay is not None:
            try:
                write_repro(self.options.repro, finding.replay, found.fault, result.finding, self.check.sites)
                result = replace(result, repro=self.options.repro)
            except StablemaxError as error:
                result = replace(result, notes=(*result.notes, f"no files were written: {error.message}"))
        self._found = result
        self.found_ns = time.time_ns()
        self.check.end()
        if self._told is not None:
            self._told(self.result)


def _is_finite(tensor: torch.Tensor) -> bool:
    return tensor.layout is not torch.strided or bool(tensor.isfinite().all())


@contextlib.contextmanager
def _uncompiled(note: Callable[[str], None]) -> Iterator[None]:
    """Run what torch.compile compiles uncompiled, and note that: in compiled code no operation is seen."""
    words = "torch.compile: the code was run uncompiled, so that its operations are seen"
    own, compiler = torch.compile, torch.compiler
    stances = contextlib.ExitStack()

    def force_eager() -> None:
        note(words)
        stances.enter_context(compiler.set_stance("force_eager"))

    def compile_(*arguments: Any, **options: Any) -> Any:
        force_eager()
        return own(*arguments, **options)

    torch.compile = compile_
    if "torch._dynamo" in sys.modules:
        stances.enter_context(compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        torch.compile = own
        stances.close()
