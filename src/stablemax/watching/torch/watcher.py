"""The watch of one process: it begins, tells of the first fault, and ends."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from stablemax.results.watched import Watched
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted
from stablemax.watching.torch.compile_stance import uncompiled
from stablemax.watching.torch.fault_words import fault_where
from stablemax.watching.torch.findings import UsedFault, finding_of
from stablemax.watching.torch.finite_check import FiniteCheck
from stablemax.watching.torch.left_at_end import fault_left
from stablemax.watching.torch.mode_switch import ModeSwitch
from stablemax.watching.torch.observed_run import ObservedRun
from stablemax.watching.torch.repro_folder import write_repro
from stablemax.watching.torch.ring import RingEntry
from stablemax.watching.torch.suspect_outputs import SuspectOutputs
from stablemax.watching.torch.training_steps import TrainingSteps
from stablemax.watching.torch.waiting_fault import WaitingFault
from stablemax.watching.watch_options import WatchedKind, WatchOptions

Told = Callable[[Watched], None]


class Watcher:
    """Watches the operations of this process until something is found; `told` gets that at once."""

    def __init__(self, options: WatchOptions, told: Told | None = None) -> None:
        self.options = options
        self._told = told
        check = FiniteCheck(self._look, looks_at_all=WatchedKind.LOST in options.on)
        steps = TrainingSteps(
            check.unseen, check.look_at_pending, self._next_step, self._look_at_loss, check.sites, self._after_pass
        )
        self._run = ObservedRun(options, check, steps)
        self._mode = ModeSwitch(check)
        self._waiting = WaitingFault(self._run, self._find)
        self._suspects = SuspectOutputs(self._run, self._waiting)
        self._found: Watched | None = None
        #: When something was found, in nanoseconds of the clock of the machine.
        self.found_ns = 0
        self._notes: dict[str, None] = {}
        #: Threads of the program find faults one after the other.
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Watch as long as the block runs."""
        run = self._run
        hooks = [
            register_module_forward_pre_hook(run.check.sites.enter_module),
            register_module_forward_hook(run.check.sites.leave_module, always_call=True),
        ]
        with run.steps.counted(), uncompiled(self._note), self._mode.in_new_threads():
            self._mode.set(is_on=self.options.watches(run.steps.current))
            try:
                yield self
            finally:
                with run.ending_on_mistakes():
                    run.check.look_at_pending()
                    self._waiting.settle()
                    left = fault_left(run)
                    if left is not None:
                        self._find(left)
                self._mode.set(is_on=False)
                for hook in hooks:
                    hook.remove()

    @property
    def result(self) -> Watched:
        """What was found, or that nothing was."""
        with self._lock:
            self._waiting.settle()
        run = self._run
        steps = run.steps.current - 1
        counts: dict[str, Any] = {
            "operations": run.check.operations,
            "steps": steps,
            "scaled_overflows": len(self._suspects.scaled_steps),
            "skipped_steps": run.steps.skipped,
        }
        if self._found is not None:
            return replace(self._found, **counts, notes=(*self._found.notes, *self._own_notes()))
        if run.error:
            finding = f"The watch ended at step {run.error_step} by a mistake of its own: {run.error}"
            return Watched(finding, None, **counts, error=run.error, notes=self._own_notes())
        if not run.check.operations:
            finding = f"Nothing was watched: no operation ran in a step that is watched, of {counted(steps, 'step')}."
            return Watched(finding, None, **counts, notes=self._own_notes())
        made = "no inf or NaN was made" if self._suspects.first_made is None else "no inf or NaN was made and used"
        finding = f"Nothing found: {made} in {counted(run.check.operations, 'operation')} of {counted(steps, 'step')}."
        return Watched(finding, None, **counts, notes=self._own_notes())

    def _own_notes(self) -> tuple[str, ...]:
        notes = list(self._notes)
        if self._run.check.captured_graphs:
            notes.append("CUDA graphs: what was captured in a graph is replayed unseen")
        forks = self._run.check.forks
        if forks:
            were = "was" if forks == 1 else "were"
            notes.append(f"{counted(forks, 'process')} {were} forked, as to load batches: what it computes is not seen")
        first = self._suspects.first_made
        if self._found is None and first is not None:
            notes.append(
                f"{counted(self._suspects.made_count, 'operation')} gave inf or NaN that went no further "
                f"(first: {first.operation.removeprefix('aten.')} at {fault_where(first)})"
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

    # --- what operations and steps call ----------------------------------------------------------

    def _look(self, entry: RingEntry, output: Any) -> None:
        with self._lock:
            self._suspects.look(entry, output)

    def _look_at_loss(self, loss: Any) -> None:
        with self._lock:
            self._suspects.look_at_loss(loss)

    def _after_pass(self) -> None:
        with self._lock:
            self._waiting.after_pass()

    def _next_step(self) -> None:
        self._run.origins.forget_dead()
        self._mode.set(is_on=self.options.watches(self._run.steps.current) and not self._run.check.is_over)

    def _find(self, fault: UsedFault) -> None:
        """Tell of the first fault: nothing is watched any more."""
        check = self._run.check
        with check.unseen():
            finding = finding_of(fault, check.sites)
        result = finding.result
        if self.options.repro and finding.replay is not None:
            try:
                write_repro(self.options.repro, finding.replay, fault.found.fault, result.finding, check.sites)
                result = replace(result, repro=self.options.repro)
            except StablemaxError as error:
                result = replace(result, notes=(*result.notes, f"no files were written: {error.message}"))
        self._found = result
        self.found_ns = time.time_ns()
        check.end()
        if self._told is not None:
            self._told(self.result)
