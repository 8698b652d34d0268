"""The last operations again, beside exact arithmetic: which of them lost the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from stablemax.libraries.torch_arrays import to_numpy
from stablemax.numerics.formats import FORMATS
from stablemax.text.errors import StablemaxError
from stablemax.trace.blame import Traced, bad_cell, culprit_of
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.observation import Kind, Observation, Record, Site
from stablemax.trace.operation_words import event_words
from stablemax.trace.own_truth import OwnTruth, format_of_run, trusted
from stablemax.trace.story import About, tell
from stablemax.trace.torch.torch_lines import Locator
from stablemax.trace.torch.torch_trace import TorchCode
from stablemax.trace.traced_code import Code
from stablemax.truth.measure import CODES
from stablemax.watching.torch.replay import Replay, ReplayedOperation, ordinary

if TYPE_CHECKING:
    from stablemax.results import Trace
    from stablemax.trace.run import Run
    from stablemax.watching.torch.call_sites import CallSites

MOST_EXACT = 20_000
"""Numbers in all results of a replay that balls are computed for: a second or two."""


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


def caused_exactly(replay: Replay, sites: CallSites) -> ExactCause:
    """Trace a replay: exact arithmetic on the same operations tells which one lost the result.

    Raises `StablemaxError` where it cannot be followed.
    """
    subject, now = subject_of(replay, sites)
    with ordinary():
        run = trusted(subject.observed(), subject)
        assert isinstance(subject.given, GivenArguments), "a replay has named inputs"
        truth = OwnTruth(subject, subject.given, run, format_of_run(run, subject.format))
        about: About = {"target": "the watched program", "source": "what the last operations got"}
        trace = tell(subject, truth, about, run)
        step = _culprit(subject, truth, run) if trace.outcome.is_failure else None
    if step is not None:
        event = next(iter(step.events), None)
        if event is not None:
            record = run.records.get(step.key) or Record(step)
            words = event_words(record.seen, event, truth.place_name(record, event, 0, subject.given))
            return ExactCause(trace, _operation_at(step, now), words)
    if trace.blame is None:
        return ExactCause(trace, None, "")
    blamed = next((s for s in run.steps if s.index == trace.blame.operation), None)
    words = trace.blame.sentence.partition(": ")[2] or trace.blame.sentence
    return ExactCause(trace, None if blamed is None else _operation_at(blamed, now), words)


def is_small(replay: Replay) -> bool:
    """Tell whether balls can be computed for all of a replay."""
    return sum(o.numbers for o in replay.operations) <= MOST_EXACT


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


def _operation_at(step: Observation, by_site: dict[Site, list[ReplayedOperation]]) -> ReplayedOperation | None:
    name = step.label.removeprefix("aten.")
    on_line = by_site.get(step.site, [])
    return next((o for o in on_line if o.plan.name == name), next(iter(on_line), None))
