"""What is said of the first fault: which of three it is, and what the last operations tell of its cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from stablemax.results import Trace
from stablemax.results.watched import FaultCause, IncomingTensor, Watched, WatchedFault, WatchedStep, WatchVerdict
from stablemax.text.errors import StablemaxError
from stablemax.trace.traced_code import display_name
from stablemax.watching.growth import growth_of
from stablemax.watching.torch.call_sites import CallSite, CallSites
from stablemax.watching.torch.fault_words import fault_of, fault_where
from stablemax.watching.torch.replay import Replay, ReplayedOperation, drafts_of
from stablemax.watching.torch.retrace import caused_exactly, is_small
from stablemax.watching.torch.ring import RingEntry
from stablemax.watching.torch.suspicion import Suspicion
from stablemax.watching.torch.wide_retrace import caused_beside_float64

SHOWN_STEPS = 8
_NO_WIDE_CAUSE = (
    "no cause is named: the last operations have too many numbers for exact arithmetic, and float64 has no other "
    "result there"
)


@dataclass(frozen=True)
class Found:
    """The operation in which the first fault shows; without a tensor of the run."""

    #: Its number in the run.
    number: int
    #: It in words, programs that end with it, and the steps before: taken at once, for the run overwrites what it can.
    fault: WatchedFault
    drafts: tuple[Replay, ...]
    steps: tuple[WatchedStep, ...]


@dataclass(frozen=True)
class Finding:
    """The result, and the last operations as a program."""

    result: Watched
    replay: Replay | None


def found_at(
    entry: RingEntry,
    output: torch.Tensor,
    suspicion: Suspicion,
    before: Sequence[RingEntry],
    steps: Sequence[WatchedStep],
    sites: CallSites,
) -> Found:
    """Take down what an operation did, and what is needed to run it again with those before it."""
    made = suspicion.made
    if made is None:
        made = output.isnan() if suspicion.has_nan else ~output.isfinite()
    fault = fault_of(entry, output, suspicion.kind, made, steps[-1].step, sites)
    drafts = drafts_of(before, output, sites.parameter_name)
    return Found(entry.number, fault, drafts, tuple(steps))


def finding_of(
    found: Found,
    used: Found,
    incoming: IncomingTensor | None,
    unseen: str,
    harm: str,
    sites: CallSites,
) -> Finding:
    """Tell of a fault: the last operations are run again to find its cause.

    They end where the fault is used: there exact arithmetic may have an ordinary number again. What came in may have
    been made unseen, as `unseen` says.
    """
    fault, steps = found.fault, found.steps
    longer = tuple(d for d in used.drafts if any(o.number == found.number for o in d.operations))
    replay = next((draft for draft in (*longer, *found.drafts) if draft.repeats), None)
    if incoming is not None:
        return Finding(_of_data(fault, incoming, steps, unseen), replay)
    cause, trace, notes = _cause(replay, found.number, sites)
    growth = growth_of(steps)
    where = fault_where(fault)
    head = f"step {fault.step}{f', {where}' if where else ''}: {fault.sentence}"
    is_curable = cause is not None and not cause.is_fault_itself
    if growth is not None and (growth.is_certain or not is_curable):
        verdict, finding = WatchVerdict.DIVERGENCE, f"Divergence: {growth.words}; then, at {head}."
    else:
        verdict, finding = WatchVerdict.OPERATION, f"An operation, at {head}."
        if is_curable and cause is not None:
            finding += f" The cause is at {cause.file}:{cause.line}: {cause.sentence}."
    if harm:
        finding += f" {harm}"
    result = Watched(finding, verdict, fault, cause, history=_shown(steps), retrace=trace, notes=notes)
    return Finding(_with_cure(result, replay), replay)


def _shown(steps: Sequence[WatchedStep]) -> tuple[WatchedStep, ...]:
    known = [s for s in steps if (s.loss, s.largest_weight, s.gradient_norm) != (None, None, None)]
    return tuple(known[-SHOWN_STEPS:])


def _with_cure(result: Watched, replay: Replay | None) -> Watched:
    """Put a known cure into a result, where one was run on the failing input and holds."""
    trace = result.retrace
    if replay is None or trace is None or not trace.instead:
        return result
    return replace(result, instead=trace.instead, instead_why=trace.instead_why)


def _of_data(fault: WatchedFault, incoming: IncomingTensor, steps: Sequence[WatchedStep], unseen: str) -> Watched:
    """Tell that an inf or a NaN came in; or that it was there when watching began."""
    shape = "x".join(map(str, incoming.shape)) or "scalar"
    place = f"[{', '.join(map(str, incoming.place))}]" if incoming.place else ""
    name = f"the parameter {incoming.name}" if incoming.name else f"a tensor of {incoming.dtype}, {shape},"
    what = {"nan": "NaN"}.get(incoming.value, incoming.value)
    line = f"{incoming.file}:{incoming.line}" if incoming.file else "an operation without a line"
    seen = f"{incoming.operation} at {line} saw it first, in step {incoming.step}"
    if unseen:
        finding = f"Unseen: {what} was made {unseen}: {name} holds it{_at(place)}; {seen}."
        return Watched(finding, WatchVerdict.UNSEEN, fault, incoming=incoming, history=_shown(steps))
    finding = f"Data: {what} came in, no watched operation made it: {name} holds it{_at(place)}; {seen}."
    return Watched(finding, WatchVerdict.DATA, fault, incoming=incoming, history=_shown(steps))


def _at(place: str) -> str:
    return f" at {place}" if place else ""


def _cause(
    replay: Replay | None, faulty: int, sites: CallSites
) -> tuple[FaultCause | None, Trace | None, tuple[str, ...]]:
    """Run the last operations again beside exact arithmetic, or beside float64 where they are many."""
    if replay is None:
        return None, None, ("the last operations do not give the same again, so that no cause was looked for",)
    if not is_small(replay):
        wide = caused_beside_float64(replay)
        if wide is None:
            return None, None, (_NO_WIDE_CAUSE,)
        return _cause_at(wide.operation, faulty, wide.words, wide.truth, sites), None, ()
    try:
        exact = caused_exactly(replay, sites)
    except StablemaxError as error:
        return None, None, (f"the last operations were not followed: {error.message}",)
    if exact.operation is None:
        return None, exact.trace, ()
    return _cause_at(exact.operation, faulty, exact.words, "exact arithmetic", sites), exact.trace, ()


def _cause_at(operation: ReplayedOperation, faulty: int, words: str, truth: str, sites: CallSites) -> FaultCause:
    site: CallSite = sites.resolved(operation.call_site)
    return FaultCause(
        file="" if site.code is None else display_name(site.code.co_filename),
        line=site.line,
        text=site.text,
        module=sites.module_name(site.module),
        operation=f"aten.{operation.plan.name}",
        sentence=words,
        is_fault_itself=operation.number == faulty,
        truth=truth,
    )
