"""Any function, held to its own exact shadow: what exact arithmetic gives for the same code on the same numbers."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np

from stablemax.numerics.formats import FLOAT64, FORMATS, Format
from stablemax.results import Outcome, Trace
from stablemax.text.vocabulary import NO_OPERATION
from stablemax.trace.cures.cure_judge import Judge
from stablemax.trace.cures.telling import with_cure
from stablemax.trace.cures.wider_format import WIDER_FORMAT
from stablemax.trace.exact_cells import UNDECIDED, Special, is_ball
from stablemax.trace.exact_truth import truth_of
from stablemax.trace.given_arguments import GivenArguments, indexed
from stablemax.trace.input_roundings import errors_of_input
from stablemax.trace.observation import Event, Kind, Observation, Record
from stablemax.trace.operation_words import event_words
from stablemax.trace.reading import Reading
from stablemax.trace.story import About, tell
from stablemax.trace.traced_code import arithmetic_handlers
from stablemax.trace.zero_results import zero_sizes
from stablemax.truth.balls import Truth
from stablemax.truth.measure import ExactResult

if TYPE_CHECKING:
    from stablemax.trace.cures.flow import Flow
    from stablemax.trace.run import Inputs, Run, Subject

_WORTH_TELLING = 16.0
"""A smaller condition number takes less than four bits."""
_MOST_TRIED = 16
_ZERO = (
    "a number that is exactly 0 has no relative error: it is judged beside the sizes of the terms that it is made of, "
    "or beside the results of neighbouring inputs"
)
_SMALL = (
    "each error is small beside the largest number of the result: check holds code to such numbers with "
    "--require accurate alone"
)
_BREAKS = (Kind.POLE, Kind.INVALID, Kind.OVERFLOW)


@dataclass(frozen=True, eq=False)
class OwnTruth:
    """What exact arithmetic gives for the same code: the truth about any function."""

    subject: Subject
    given: GivenArguments
    #: The observed run that shows it.
    run: Run
    format: Format
    max_ulp: float | None = None
    #: An error that a few roundings of the input explain is no fault of the code.
    excuses: bool = False

    name = NO_OPERATION
    rows_alone = 1
    unit = "number"

    @property
    def size(self) -> tuple[int, int]:
        """The numbers of the result, each in a row."""
        return self.run.value.size, 1

    def row(self, index: int) -> Self:  # noqa: ARG002 - nothing says that its numbers lie in rows
        """Return the same."""
        return self

    def reading(self, run: Run) -> Reading:  # noqa: ARG002 - one run shows the truth about all
        """Read every output by the one truth."""
        return self._reading

    @functools.cached_property
    def _reading(self) -> Reading:
        values = self.run.value.astype(np.float64).reshape(-1, 1)
        if self.run.exact is None:
            exact = ExactResult(Truth.known(np.full(values.shape, np.nan)), np.ones(len(values), dtype=bool))
        else:
            truth = truth_of(self.run.exact.reshape(-1, 1), self.format)
            lacks = ~np.isfinite(truth.rounded) if self._undefined is not None else np.isnan(truth.nearest)
            exact = ExactResult(truth, (lacks & ~np.isfinite(values))[:, 0] | np.isnan(truth.nearest)[:, 0])
        zero = zero_sizes(self.subject, self.run, self.format, self.max_ulp)
        is_one, may_flush = values.size == 1, self.subject.may_flush
        reading = Reading(
            exact, self.format, self.max_ulp, is_reduced=is_one, may_flush=may_flush, as_good_as_zero=zero
        )
        if not self.excuses:
            return reading
        return replace(
            reading, excused=errors_of_input(self.subject, self.run, self.max_ulp, by_value=True).reshape(-1, 1)
        )

    def result_name(self, row: int, column: int) -> str:  # noqa: ARG002 - there is one column
        """Name a number of the result by its place; one of a gradient by the number that it belongs to."""
        if self.run.forward is not None:
            return f"the gradient at {self.given.name_at(row)}"
        shape = self.run.value.shape
        return indexed("result", [int(i) for i in np.unravel_index(row, shape)] if shape else ())

    def place_name(self, record: Record, event: Event, otherwise: int, given: Inputs) -> str:  # noqa: ARG002
        """Name the number of the input that the first cell of an event comes from, or else that cell."""
        seen = record.seen
        own = indexed("its output", event.place) if event.shape else ""
        is_known = self.subject.records_flow and not self.run.is_sampled and seen.times == 1
        key = self.subject.flow_key(self.run, seen.index) if is_known else None
        if key is not None:
            cell = self._flow.argument_cell(key, event.place)
            if cell is not None:
                return self.given.name_of_cell(*cell)
        alike = [i for i, array in enumerate(self.given.arguments) if array.shape == event.shape and array.size > 1]
        # Where the code keeps an array of that shape, the shape does not tell whose number it is.
        if len(alike) == 1 and not any(array.shape == event.shape for array in self.given.held.values()):
            flat = int(np.ravel_multi_index(event.place, event.shape))
            if key is None or self._flow.takes(key, event.place, alike[0], flat):
                return self.given.name_of_cell(alike[0], flat)
        return self.given.name_of_place(event.shape, event.place, event.operands) or own

    @functools.cached_property
    def _flow(self) -> Flow:
        return self.subject.recorded(self.run.bits)[1]

    def without_value(self, run: Run) -> str:  # noqa: ARG002 - one run shows the truth about all
        """Say what the result is where nothing is right for it, and why."""
        if not self.run.value.size:
            return "The result holds no numbers."
        first = int(np.argmax(~np.isfinite(self.run.value.astype(np.float64))))
        name = self.result_name(first, 0)
        name = name if self.run.forward is None else f"{name[0].upper()}{name[1:]}"
        gives = f"{name} is {float(self.run.value.ravel()[first]):.6g}"
        if self.run.exact is None:
            return f"Not all of the code could be followed, so nothing exact stands beside the result: {gives}."
        if is_ball(self.run.exact).ravel()[first]:
            return f"{gives}."
        if self.run.exact.ravel()[first] is UNDECIDED:
            return f"{gives}; what is right there takes more than {self.run.bits:,} bits to tell: it is not judged."
        return f"{gives}, as in exact arithmetic{self._bad_input}."

    @property
    def left_out(self) -> str:
        """Say what is not judged, and the infinity or NaN of the input that is the reason, where there is one."""
        if self.run.exact is not None and any(cell is UNDECIDED for cell in self.run.exact.ravel().tolist()):
            return f"What takes more than {self.run.bits:,} bits to tell is left out."
        return f"What has no value in exact arithmetic either is left out{self._bad_input}."

    @property
    def _bad_input(self) -> str:
        numbers = np.concatenate([array.astype(np.float64).ravel() for array in self.given.arguments])
        bad = np.flatnonzero(~np.isfinite(numbers)).tolist()
        return f": the input has {self.given.name_at(bad[0])}" if bad else ""

    def cause(self, step: Observation) -> str:
        """Say that the blamed operation is exact, and how many digits its condition leaves."""
        condition = None if step.worst is None else step.worst.condition
        if condition is None or condition < _WORTH_TELLING or any(k in step.kinds for k in _BREAKS):
            return ""
        exact = f"; {step.name} itself is exact" if step.local_error_ulp == 0 else ""
        fmt = FORMATS.get(step.dtype, FLOAT64)
        left = int(fmt.precision - math.log2(condition)) if math.isfinite(condition) else 0
        kept = f"of {fmt.precision} bits it leaves {left if left > 0 else 'none'}"
        return f"{exact}; its condition number is {condition:.2g}: {kept}"

    def undefined_step(self, run: Run, reading: Reading) -> tuple[Observation, str] | None:  # noqa: ARG002
        """Return the operation because of which exact arithmetic has no number of the format either, and why."""
        return self._undefined

    @functools.cached_property
    def _undefined(self) -> tuple[Observation, str] | None:
        return self._without_number or self._of_own_infinities

    @property
    def brings_infinity(self) -> bool:
        """True where a cell has no value because of an infinity that the code brings, and the input has none."""
        return self._without_number is None and self._of_own_infinities is not None

    @functools.cached_property
    def _without_number(self) -> tuple[Observation, str] | None:
        """Return the operation because of which the input leaves no number of the format."""
        steps, value = self.run.steps, self.run.value.astype(np.float64)
        odd = ~np.isfinite(value)
        if not odd.any():
            return None
        if self.run.exact is None:
            return self._first_broken(steps, "")
        exact = self.run.exact.reshape(value.shape)
        beyond = is_ball(exact) & odd & ~np.isfinite(truth_of(exact, self.format).rounded)
        if beyond.any():
            size = _written(exact[beyond].ravel()[0])
            why = f"; exactly the result is {size}, beyond the range of {self.format.name}: the input is to blame"
            return self._first_broken(steps, why)
        step = self._first_valueless(int(np.argmax(odd)))
        if step is not None and step.valueless is not None:
            return step, f"{self._words(step, step.valueless)}; so it is in exact arithmetic: the input is to blame"
        return None

    @functools.cached_property
    def _of_own_infinities(self) -> tuple[Observation, str] | None:
        """Return the operation that makes NaN of an infinity that the code brings: a mask of -inf, a start of inf.

        None where the input has an infinity or NaN, or an operation makes one of numbers: that may be the one.
        """
        steps = [s for s in self.run.steps if s.of_infinities is not None][:_MOST_TRIED]
        is_held_finite = all(np.isfinite(array.astype(np.float64)).all() for array in self.given.held.values())
        is_made = any(s.valueless is not None for s in self.run.steps)
        cell = self._first_odd
        if (
            cell is None
            or self.run.exact is None
            or not steps
            or is_made
            or self._bad_input
            or not is_held_finite
            or self.run.is_sampled
        ):
            return None

        def has_value_if_given(to: Sequence[Observation]) -> bool:
            exact = self.subject.valued(self.run, {s.index for s in to}).exact
            return exact is not None and bool(is_ball(exact).ravel()[cell])

        if not has_value_if_given(steps):
            return None
        step = next((s for s in steps if not has_value_if_given([o for o in steps if o is not s])), steps[0])
        assert step.of_infinities is not None, "only such steps were taken"
        words = self._words(step, step.of_infinities)
        return step, f"{words}; so it is in exact arithmetic: the code brings the infinity, the input has none"

    @property
    def _first_odd(self) -> int | None:
        """The first cell that is infinite or NaN."""
        odd = ~np.isfinite(self.run.value.astype(np.float64))
        return int(np.argmax(odd)) if odd.any() else None

    def _first_valueless(self, cell: int) -> Observation | None:
        """Return the first operation without an exact value that alone takes its value from a cell of the result.

        None where the cell would have none though all of them had one: then the input lacks it.
        """
        steps = [s for s in self.run.steps if s.valueless is not None][:_MOST_TRIED]

        def has_value_if_given(to: Sequence[Observation]) -> bool:
            exact = self.subject.valued(self.run, {s.index for s in to}).exact
            return exact is not None and bool(is_ball(exact).ravel()[cell])

        if not steps or self.run.is_sampled:
            return next(iter(steps), None)
        if not has_value_if_given(steps):
            return None
        return next((s for s in steps if not has_value_if_given([o for o in steps if o is not s])), steps[0])

    def _first_broken(self, steps: Sequence[Observation], why: str) -> tuple[Observation, str] | None:
        """Return the first operation that made inf or NaN of numbers."""
        for step in steps:
            event = next((e for e in step.events if e.kind in _BREAKS), None)
            if event is not None:
                return step, f"{self._words(step, event)}{why}"
        return None

    def _words(self, step: Observation, event: Event) -> str:
        record = self.run.records.get(step.key) or Record(step)
        seen = record.seen
        # Of a loop the record counts the cells of all its runs.
        in_all = (e for e in (*seen.events, seen.valueless, seen.of_infinities) if e is not None)
        event = next((e for e in in_all if replace(e, cells=event.cells) == event), event)
        return event_words(seen, event, self.place_name(record, event, 0, self.given))


def _written(cell: Any) -> str:
    return repr(cell) if isinstance(cell, Special) else str(cell.str(3, radius=False))


def trusted(run: Run, subject: Subject) -> Run:
    """Return a run without its exact result, where numbers may have gone by that: it would agree with any result."""
    # What left the arrays may have raised what the code catches; exact numbers would raise nothing, or elsewhere.
    suspects = (*subject.suspects(run), *(arithmetic_handlers(run.functions) if run.not_followed else ()))
    if not run.is_doubtful and not suspects:
        return run
    return replace(run, exact=None, not_followed=tuple(dict.fromkeys((*run.not_followed, *suspects))))


def format_of_run(run: Run, of_input: Format) -> Format:
    """Return the format that a result is judged in: its own, or that of the input where that has fewer digits."""
    own = FORMATS.get(run.dtype or run.value.dtype.name, FLOAT64)
    # Digits that the input's format lacks are not missed: a float that Python takes is wider than what it holds.
    return min(own, of_input, key=lambda f: f.precision)


def trace_any(subject: Subject, max_ulp: float | None = None, **about: Unpack[About]) -> Trace:
    """Trace code that computes anything, on arguments of any shapes; exact arithmetic on the same code is right.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.trace.numpy.numpy_run import NumpyCode
    >>> given = GivenArguments(("x",), (np.float32([1.0, 200.0]),))
    >>> trace = trace_any(NumpyCode(given, FLOAT32, lambda x: np.log(1 + np.exp(x))), target="f")
    >>> trace.outcome.value, trace.blame.sentence.partition(": ")[2]
    ('overflow',
     'exp overflows for 1 of 2 cells (first: x[1] = 200.0); it overflows above 88.723 in float32')
    """
    run, truth = _truth_about(subject, max_ulp)
    if truth.reading(run).as_good_as_zero is not None:
        about["notes"] = (*about.get("notes", ()), _ZERO)
    trace = subject.explained(tell(subject, truth, about, run), truth)
    if trace.outcome.is_failure and _is_small(truth.reading(run), run):
        trace = replace(trace, notes=(*trace.notes, _SMALL))
    if not trace.pattern:

        def judge_of(other: Subject) -> Judge:
            of_other, truth_of_other = _truth_about(other, max_ulp)
            return Judge(truth_of_other.reading(of_other), of_other)

        trace = with_cure(trace, subject, Judge(truth.reading(run), run), judge_of)
    # Any rounding of the input is less in a wider format: that code holds there says nothing against this one.
    is_better_known = trace.instead and trace.pattern != WIDER_FORMAT.id
    return trace if is_better_known else _excused(trace, truth, about)


def _is_small(reading: Reading, run: Run) -> bool:
    failing = reading.failing(run.value)
    # A gradient fails also by a cell that has no exact value: no distance says that its error is small.
    return bool(failing.any() and reading.small_on_scale(run.value)[failing].all())


def _excused(trace: Trace, truth: OwnTruth, about: About) -> Trace:
    """Tell a trace again without the errors that the input explains: for them no better code is known."""
    run = truth.run
    if trace.outcome not in (Outcome.INACCURATE, Outcome.LOST) or run.exact is None or run.is_sampled:
        return trace
    truth = replace(truth, excuses=True)
    reading = truth.reading(run)
    if not reading.excused_cells(run.value).any():
        return trace
    told = tell(truth.subject, truth, about, run)
    if not told.outcome.is_failure:
        return told
    return replace(told, notes=trace.notes, pattern=trace.pattern, instead=trace.instead, instead_why=trace.instead_why)


def _truth_about(subject: Subject, max_ulp: float | None) -> tuple[Run, OwnTruth]:
    """Run code, and return the run with what exact arithmetic says of it."""
    assert isinstance(subject.given, GivenArguments), "any function gets named arguments"
    run = trusted(subject.observed(), subject)
    return run, OwnTruth(subject, subject.given, run, format_of_run(run, subject.format), max_ulp)
