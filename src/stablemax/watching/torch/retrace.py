"""The last operations again, beside exact arithmetic: which of them lost the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from stablemax.libraries.torch_arrays import to_numpy
from stablemax.numerics.formats import FORMATS, Array
from stablemax.text.errors import StablemaxError
from stablemax.trace.blame import Traced, bad_cell, culprit_of
from stablemax.trace.given_arguments import GivenArguments, indexed
from stablemax.trace.observation import Event, Kind, Observation, Record, Site
from stablemax.trace.operation_words import event_words
from stablemax.trace.own_truth import OwnTruth, format_of_run, trusted
from stablemax.trace.story import About, tell
from stablemax.trace.torch.torch_lines import Locator
from stablemax.trace.torch.torch_trace import TorchCode
from stablemax.trace.traced_code import Code
from stablemax.truth.measure import CODES
from stablemax.watching.torch.replay import Replay, ReplayedOperation, ordinary
from stablemax.watching.torch.wide_retrace import operation_run

if TYPE_CHECKING:
    from stablemax.results import Trace
    from stablemax.trace.run import Inputs, Run
    from stablemax.watching.torch.call_sites import CallSites
    from stablemax.watching.torch.smaller_replay import ReplayPart


@dataclass
class ReplayLocator(Locator):
    """Gives operations of a replay the lines that they had in the run."""

    now: Site = field(default_factory=Site)
    expression: str = ""

    def site(self) -> Site:
        """Return the line of the operation that runs."""
        return self.now

    def caller(self) -> Site:
        """Return the line of the operation that runs."""
        return self.now

    def source(self) -> str:
        """Return its source."""
        return self.expression

    def frame(self) -> None:
        """Return no frame: those of the run have ended."""
        return


@dataclass(frozen=True)
class ReplayCode(TorchCode):
    """A replay as the subject of a trace."""

    locator: ReplayLocator = field(default_factory=lambda: ReplayLocator(Code()))

    def _locator(self) -> Locator:
        return self.locator


@dataclass(frozen=True)
class ExactCause:
    """What exact arithmetic tells of a replay."""

    trace: Trace
    #: The operation to blame, and what it did; None where none is.
    operation: ReplayedOperation | None
    words: str
    #: Of a part: the words count cells of the whole.
    is_of_whole: bool = False


@dataclass(frozen=True)
class PartArguments(GivenArguments):
    """What a part of a replay starts from; its numbers are named by their places in the whole."""

    part: ReplayPart | None = None

    def written(self, name: str, array: Array, place: tuple[int, ...]) -> str:
        """Write a number with its place in the whole."""
        assert self.part is not None, "it is given"
        number = next(n for n, own in self.part.replay.names.items() if own == name)
        return f"{indexed(name, self.part.place(number, place))} = {array[place]!s}"


@dataclass(frozen=True, eq=False)
class PartTruth(OwnTruth):
    """The truth about a part of a replay; places are those of the whole."""

    part: ReplayPart | None = None
    by_site: Mapping[Site, list[ReplayedOperation]] = field(default_factory=dict)

    def place_name(self, record: Record, event: Event, otherwise: int, given: Inputs) -> str:
        """Name the number of the input that the first cell of an event comes from, or else that cell."""
        name = super().place_name(record, event, otherwise, given)
        operation = _operation_at(record.seen, self.by_site)
        if self.part is None or operation is None or name != indexed("its output", event.place):
            return name
        return indexed("its output", self.part.place(operation.outputs[record.seen.output], event.place))


def caused_exactly(replay: Replay, sites: CallSites, part: ReplayPart | None = None) -> ExactCause:
    """Trace a replay: exact arithmetic on the same operations tells which one lost the result.

    Of a `part` the whole is told where that is known: how many cells are concerned, and their places. Raises
    `StablemaxError` where it cannot be followed.
    """
    subject, now = subject_of(replay, sites)
    if part is not None:
        assert isinstance(subject.given, GivenArguments), "a replay has named inputs"
        named = PartArguments(subject.given.names, subject.given.arguments, part=part)
        subject = replace(subject, given=named)
    with ordinary():
        run = trusted(subject.observed(), subject)
        assert isinstance(subject.given, GivenArguments), "a replay has named inputs"
        fmt = format_of_run(run, subject.format)
        truth = PartTruth(subject, subject.given, run, fmt, part=part, by_site=now)
        source = "what the last operations got" + (f": {replay.part}" if replay.part else "")
        about: About = {"target": "the watched program", "source": source}
        trace = tell(subject, truth, about, run)
        undefined = _without_number(truth, run) if trace.outcome.is_failure else None
        step = _culprit(subject, truth, run) if trace.outcome.is_failure and undefined is None else None
        told = _Told(truth)
        if step is not None and step.events:
            words, whole = told.event(step, step.events[0])
            return ExactCause(trace, _operation_at(step, now), whole or words, bool(whole))
        blamed, words = undefined or _blamed(trace, run)
        if part is not None and blamed is not None:
            for event in (*blamed.events, *filter(None, (blamed.valueless, blamed.of_infinities))):
                of_part, whole = told.event(blamed, event)
                words = words.replace(of_part, whole) if whole else words
        return ExactCause(trace, None if blamed is None else _operation_at(blamed, now), words)


def _blamed(trace: Trace, run: Run) -> tuple[Observation | None, str]:
    """Return the step that a trace blames, and its sentence; none where it did nothing that explains an inf."""
    blamed = next((s for s in run.steps if trace.blame is not None and s.index == trace.blame.operation), None)
    if trace.blame is None or blamed is None:
        return None, ""
    if not (blamed.events or blamed.worst or blamed.valueless or blamed.of_infinities):
        return None, ""
    return blamed, trace.blame.sentence.partition(": ")[2] or trace.blame.sentence


@dataclass(frozen=True)
class _Told:
    """Puts what happened in an operation into words: of a part, in the whole."""

    truth: PartTruth

    def event(self, step: Observation, event: Event) -> tuple[str, str]:
        """Return an event in words; and that of the whole, empty where it is not known."""
        record = self.truth.run.records.get(step.key) or Record(step)
        place = self.truth.place_name(record, event, 0, self.truth.given)
        operation = _operation_at(step, self.truth.by_site)
        words = event_words(record.seen, event, place)
        if self.truth.part is None or operation is None:
            return words, ""
        return words, _whole_words(self.truth.part, operation, record.seen, event, place)


def _whole_words(part: ReplayPart, operation: ReplayedOperation, seen: Observation, event: Event, place: str) -> str:
    """Say what happened in the whole of a replay, where a part was traced; empty where the whole does not tell.

    What is marked in the whole has to be the very cells in the part. The first of these is named if it is the first of
    the whole, too.
    """
    of_part, of_whole = (operation_run(replay, operation.number) for replay in (part.replay, part.whole))
    if of_part is None or of_whole is None:
        return ""
    few, many = (run.marked(seen.output, event.kind) for run in (of_part, of_whole))
    if few is None or many is None or int(few.sum()) != event.cells or not bool(many.any()):
        return ""
    here = part.place(operation.outputs[seen.output], event.place)
    operands = of_whole.operands(seen.output, here) or ()
    told = replace(
        event,
        cells=int(many.sum()),
        operands=operands if len(operands) == len(event.operands) else event.operands,
        # Of a sum of other terms nothing is known.
        overflow=None if part.cuts else event.overflow,
    )
    is_first = [int(i) for i in many.nonzero()[0]] == here
    return event_words(replace(seen, cells=many.numel()), told, place if is_first else "")


def subject_of(replay: Replay, sites: CallSites) -> tuple[ReplayCode, dict[Site, list[ReplayedOperation]]]:
    """Return a replay as the subject of a trace, and its operations by their places in the code."""
    floats = [n for n, t in replay.leaves.items() if t.is_floating_point()]
    if not floats:
        raise StablemaxError("the last operations start from no real numbers")
    arrays = tuple(to_numpy(replay.leaves[n]) for n in floats)
    names = tuple(replay.names[n] for n in floats)
    others = {n: t for n, t in replay.leaves.items() if n not in floats}
    locator = ReplayLocator(Code())
    by_site: dict[Site, list[ReplayedOperation]] = {}
    for operation in replay.operations:
        resolved = sites.resolved(operation.call_site)
        by_site.setdefault(resolved.site, []).append(operation)
        if resolved.code is not None:
            locator.functions.setdefault(resolved.code)

    def around(operation: ReplayedOperation) -> None:
        resolved = sites.resolved(operation.call_site)
        locator.now, locator.expression = resolved.site, resolved.text

    def function(*tensors: torch.Tensor) -> torch.Tensor:
        leaves = dict(zip(floats, tensors, strict=True)) | {n: t.clone() for n, t in others.items()}
        return replay.run(leaves, around)

    fmt = FORMATS[str(replay.expected.dtype).removeprefix("torch.")]
    return ReplayCode(GivenArguments(names, arrays), fmt, function, function, locator=locator), by_site


def _without_number(truth: OwnTruth, run: Run) -> tuple[Observation, str] | None:
    """Return why no number is right where the result is inf or NaN, though cells that are finite fail."""
    reading = truth.reading(run)
    codes = reading.judged(run.value).codes.ravel()[~np.isfinite(run.value.astype(np.float64)).ravel()]
    if not codes.size or CODES[int(codes.max())].is_failure:
        return None
    return truth.undefined_step(run, reading)


def _culprit(subject: ReplayCode, truth: OwnTruth, run: Run) -> Observation | None:
    """Return the step that lost the first bad cell: of a pole that of the zeros, where these are none in truth."""
    traced = Traced(subject, truth, "the watched program")
    reading = truth.reading(run)
    codes = reading.judged(run.value).codes
    culprit = culprit_of(bad_cell(traced, run, reading, codes, CODES[int(codes.max())]))
    if culprit is None:
        return None
    step, root = culprit
    return root if root is not None and Kind.ZERO in root.kinds else step


def _operation_at(step: Observation, by_site: Mapping[Site, list[ReplayedOperation]]) -> ReplayedOperation | None:
    name = step.label.removeprefix("aten.")
    on_line = by_site.get(step.site, [])
    return next((o for o in on_line if o.plan.name == name), next(iter(on_line), None))
