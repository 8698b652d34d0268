"""What is said of the first fault: which of three it is, and what the last operations tell of its cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from stablemax.results import Trace
from stablemax.results.watched import (
    FaultCause,
    IncomingTensor,
    OutlyingNumber,
    Watched,
    WatchedFault,
    WatchedStep,
    WatchVerdict,
)
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted
from stablemax.trace.traced_code import display_name
from stablemax.watching.torch.call_sites import CallSite, CallSites
from stablemax.watching.torch.divergence import divergence_of
from stablemax.watching.torch.fault_words import fault_of, fault_where
from stablemax.watching.torch.outliers import outlier_of
from stablemax.watching.torch.replay import Replay, ReplayedOperation, drafts_of
from stablemax.watching.torch.replayed_cure import ReplayedCure, replayed_cure
from stablemax.watching.torch.retrace import caused_exactly
from stablemax.watching.torch.ring import RingEntry
from stablemax.watching.torch.smaller_replay import ReplayPart, gives_the_same, is_small, smaller_replay
from stablemax.watching.torch.suspicion import Suspicion
from stablemax.watching.torch.weight_sizes import SizeHistory
from stablemax.watching.torch.wide_retrace import caused_beside_float64

SHOWN_STEPS = 8
_NO_WIDE_CAUSE = (
    "no cause is named: the last operations have too many numbers for exact arithmetic, no part of them shows the "
    "fault, and float64 has no other result there"
)


_OF_INPUT = ": the input is to blame"
_NO_CURE = (
    "no cure was looked for: the last operations have too many numbers for exact arithmetic, and no part of them shows "
    "the fault"
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
    sizes: SizeHistory
    #: It is of an optimizer, whose state is no data.
    in_optimizer: bool = False


@dataclass(frozen=True)
class UsedFault:
    """The first fault, and where it is used: mixed with other numbers, or written to a parameter."""

    found: Found
    used: Found
    #: What came in.
    incoming: IncomingTensor | None
    #: Where what came in may have been made unseen.
    unseen: str
    #: In words, what it does.
    harm: str
    #: The loss, or the first gradient of a leaf, that was made of it: exact arithmetic may have no number of the
    #: format before.
    later: Found | None = None

    @property
    def replays(self) -> Iterator[Replay]:
        """Programs that go on from the operation in which it shows, as far as each goes, then shorter ones."""
        ends = [self.used, *([] if self.later is None else [self.later])]
        longer = (d for end in ends for d in end.drafts if any(o.number == self.found.number for o in d.operations))
        return (draft for draft in (*longer, *self.found.drafts) if draft.repeats)


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
    sizes: SizeHistory,
    sites: CallSites,
    *,
    leaf: torch.Tensor | None = None,
    loss: torch.Tensor | None = None,
) -> Found:
    """Take down what an operation did, and what is needed to run it again with those before it."""
    made = suspicion.made
    if made is None:
        made = output.isnan() if suspicion.has_nan else ~output.isfinite()
    fault = fault_of(entry, output, suspicion.kind, made, steps[-1].step, sites)
    drafts = drafts_of(before, output, sites.parameter_name, leaf=leaf, loss=loss)
    return Found(entry.number, fault, drafts, tuple(steps), sizes)


def finding_of(fault: UsedFault, sites: CallSites) -> Finding:
    """Tell of a fault: the last operations are run again to find its cause, and code that does without.

    They end where the fault is used, or later: there exact arithmetic may have an ordinary number again. What came in
    may have been made unseen.
    """
    found, steps, sizes = fault.found.fault, fault.found.steps, fault.found.sizes
    if fault.incoming is not None:
        return Finding(_of_data(found, fault.incoming, steps, fault.unseen), next(fault.replays, None))
    retraced = _retraced(fault, sites)
    cause, cure = retraced.cause, _cure(fault, retraced, sites)
    is_beside_float64 = cause is not None and retraced.trace is None
    notes = (*retraced.notes, *([_NO_CURE] if is_beside_float64 and cure is None else []))
    where = fault_where(found)
    head = f"step {found.step}{f', {where}' if where else ''}: {found.sentence}"
    is_elsewhere = cause is not None and not cause.is_fault_itself
    is_curable = is_elsewhere or (cure is not None and cure.is_right)
    replays = tuple(fault.replays)
    divergence = divergence_of(replays, steps, sizes, sites.name_at, is_curable=is_curable)
    is_right = divergence is not None or fault.found.in_optimizer or (cure is not None and cure.is_right)
    outlier = None if is_right else outlier_of(replays, lambda a: not sites.name_at(a), sites)
    if divergence is not None:
        verdict, finding, cure = WatchVerdict.DIVERGENCE, f"Divergence: {divergence.words}; then, at {head}.", None
    elif outlier is not None:
        verdict, finding, cure = WatchVerdict.DATA, f"Data: {_outlier_words(outlier)}; then, at {head}.", None
    else:
        verdict, finding = WatchVerdict.OPERATION, f"An operation, at {head}."
        if is_elsewhere and cause is not None:
            finding += f" The cause is at {cause.file}:{cause.line}: {cause.sentence}."
        if cure is not None:
            finding += f" It is {cure.pattern}: {cure.why}."
    if fault.harm:
        finding += f" {fault.harm}"
    if cure is not None and cause is not None:
        # Exact arithmetic may have no number there either; but there is code that has one.
        cause = replace(cause, sentence=cause.sentence.removesuffix(_OF_INPUT))
    result = Watched(finding, verdict, found, cause, None, outlier, _shown(steps), retraced.trace, notes=notes)
    if cure is not None:
        result = replace(result, pattern=cure.pattern, instead=cure.code, instead_why=cure.told)
    return Finding(result, retraced.replay)


def _shown(steps: Sequence[WatchedStep]) -> tuple[WatchedStep, ...]:
    known = [s for s in steps if (s.loss, s.largest_weight, s.gradient_norm) != (None, None, None)]
    return tuple(known[-SHOWN_STEPS:])


def _cure(fault: UsedFault, retraced: _Retraced, sites: CallSites) -> ReplayedCure | None:
    """Look for code that does without, on the program that was retraced, then on those that go on further."""
    if retraced.part is not None:
        cure = replayed_cure(retraced.part.replay, sites, retraced.part.whole)
        if cure is not None:
            return cure
    first = [] if retraced.part is not None else [retraced.replay]
    for replay in (*first, *(() if fault.later is None else fault.later.drafts)):
        if replay is None or not any(o.number == fault.found.number for o in replay.operations):
            continue
        part = None if is_small(replay) else smaller_replay(replay, fault.found.number)
        if part is None and not is_small(replay):
            continue
        cure = replayed_cure(replay, sites) if part is None else replayed_cure(part.replay, sites, part.whole)
        if cure is not None:
            return cure
    return None


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


def _outlier_words(outlier: OutlyingNumber) -> str:
    shape, place = "x".join(map(str, outlier.shape)), ", ".join(map(str, outlier.place))
    is_far = abs(outlier.value) >= abs(outlier.others)
    apart = f"{abs(outlier.value) / outlier.others:.2g} times as large as" if is_far else "below 0, unlike"
    others = f"{counted(outlier.shape[0 if outlier.part == 'sample' else 1] - outlier.parts, outlier.part)}"
    rest = f"the other {others}, of up to {outlier.others:.3g}"
    which = f"that {outlier.part}" if outlier.parts == 1 else f"{counted(outlier.parts, outlier.part)}"
    return (
        f"a tensor of {outlier.dtype}, {shape}, holds {outlier.value:.6g} at [{place}], {apart} {rest}; with {which} "
        f"replaced by another the same operations give numbers; {outlier.operation} at {outlier.file}:{outlier.line} "
        "reads it first"
    )


def _at(place: str) -> str:
    return f" at {place}" if place else ""


@dataclass(frozen=True)
class _Retraced:
    """What the last operations tell when they run again."""

    replay: Replay | None
    cause: FaultCause | None = None
    trace: Trace | None = None
    notes: tuple[str, ...] = ()
    #: The part of it that was retraced in its place.
    part: ReplayPart | None = None
    #: Exact arithmetic, or float64, has an ordinary number where the fault is.
    is_decided: bool = False


def _retraced(fault: UsedFault, sites: CallSites) -> _Retraced:
    """Run the last operations again: the first program whose end is an ordinary number tells; else the first."""
    first: _Retraced | None = None
    for replay in fault.replays:
        retraced = _cause(replay, fault.found.number, sites)
        if retraced.is_decided:
            return retraced
        first = first or retraced
    note = "the last operations do not give the same again, so that no cause was looked for"
    return first or _Retraced(None, notes=(note,))


def _cause(replay: Replay, faulty: int, sites: CallSites) -> _Retraced:
    """Run the last operations again beside exact arithmetic, a part of them where they are many, or beside float64."""
    part = None if is_small(replay) else smaller_replay(replay, faulty)
    if part is None and not is_small(replay):
        return _beside_float64(replay, faulty, sites)
    told = replay if part is None else part.replay
    notes = () if part is None else (f"exact arithmetic was used on a part that shows the fault: {part.words}",)
    try:
        exact = caused_exactly(told, sites, part)
    except StablemaxError as error:
        return _Retraced(told, notes=(*notes, f"the last operations were not followed: {error.message}"))
    if exact.operation is None:
        return _Retraced(told, trace=exact.trace, notes=notes, part=part)
    if part is not None and not gives_the_same(part, exact.operation, by_value=not exact.is_of_whole):
        return _beside_float64(replay, faulty, sites)
    cause = _cause_at(exact.operation, faulty, exact.words, "exact arithmetic", sites)
    return _Retraced(told, cause, exact.trace, notes, part, is_decided=exact.trace.outcome.is_failure)


def _beside_float64(replay: Replay, faulty: int, sites: CallSites) -> _Retraced:
    wide = caused_beside_float64(replay)
    if wide is None:
        return _Retraced(replay, notes=(_NO_WIDE_CAUSE,))
    cause = _cause_at(wide.operation, faulty, wide.words, wide.truth, sites)
    return _Retraced(replay, cause, is_decided=True)


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
