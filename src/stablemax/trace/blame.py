"""Which operation to blame: the run is repeated with some of its operations made exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from stablemax.numerics.formats import FORMATS, Array
from stablemax.results import Origin, Outcome
from stablemax.text.errors import StablemaxError
from stablemax.trace.exact_cells import nearest
from stablemax.trace.observation import BACKWARD, MAGNIFIED, Kind
from stablemax.trace.reading import Expectation, Reading, first_of
from stablemax.truth.measure import CODES, default_max_ulp

if TYPE_CHECKING:
    from stablemax.trace.observation import Event, Observation, Record
    from stablemax.trace.run import Run, Subject

_MAX_ROWS_TRIED = 64
_WELL_ROUNDED = 4.0
"""An operation whose output is off by no more ulps than this did what it could."""


@dataclass(frozen=True)
class Traced:
    """Code under trace, the result that is expected of it, and the names of the code and its rows."""

    subject: Subject
    expected: Expectation
    name: str

    def row(self, index: int) -> Traced:
        """Return the same on one row."""
        return replace(self, subject=self.subject.row(index), expected=self.expected.row(index))

    def place_name(self, record: Record, event: Event, otherwise: int) -> str:
        """Name what the first cell of an event comes from; the row `otherwise` where nothing else is known."""
        return self.expected.place_name(record, event, otherwise, self.subject.given)

    def fails(self, cell: int, code: int) -> bool:
        """Tell whether a cell of the result is as bad as an outcome, given by its position in `CODES`."""
        try:
            run = self.subject.plain()
            return int(self.expected.reading(run).judged(run.value).codes.ravel()[cell]) >= code
        except StablemaxError:
            # The function may not take a single row; then all rows are looked at together.
            return False


@dataclass(frozen=True)
class BadCell:
    """A bad cell, and the smallest input that has it."""

    traced: Traced
    row: int
    #: Its position in the flattened output for that input.
    cell: int
    #: The observed run on that input.
    run: Run


class WithKinds(Protocol):
    """A step, as far as blaming asks: what happened to cells of its output."""

    @property
    def kinds(self) -> set[Kind]:
        """What happened."""

    @property
    def origin(self) -> Origin:
        """Where its error comes from."""


@dataclass(frozen=True)
class Culprit:
    """The operation to blame, and the one that lost what it needed; both positions in the run's steps."""

    index: int
    root: int


def bad_cell(traced: Traced, run: Run, reading: Reading, codes: Array, worst: Outcome) -> BadCell:
    """Find the first of the worst cells, and try to show it on its row alone: then no other row can distract."""
    code = CODES.index(worst)
    where = codes == code
    row, column = (0, 0) if reading.is_reduced else first_of(where)
    count = traced.expected.rows_alone
    candidates = range(min(count, _MAX_ROWS_TRIED)) if reading.is_reduced else [row]
    for candidate in candidates if count > 1 else ():
        alone = traced.row(candidate)
        if alone.fails(column, code):
            return BadCell(alone, candidate, column, alone.subject.observed())
    return BadCell(traced, row, int(np.argmax(where)), run)


def culprit_of(bad: BadCell) -> tuple[Observation, Observation | None] | None:
    """Return the step to blame for a bad cell, and the step that lost what it needed where that is an earlier one."""
    subject, base = bad.traced.subject, bad.run
    if base.is_sampled:
        return _culprit_of_a_sample(base.steps)
    reading = bad.traced.expected.reading(base)
    if base.stepwise is not None and not reading.failing(base.stepwise).ravel()[bad.cell]:
        return None  # what a compiler made of the operations is to blame, and none of them alone

    def is_good_if_rounded(count: int) -> bool:
        return not reading.failing(subject.rounded(base, count).value).ravel()[bad.cell]

    def is_bad_if_forgotten(count: int) -> bool:
        return is_lost(subject.forgotten(base, count), reading, bad.cell)

    # A shadow that is lost or wrong at the end proves nothing about the steps before.
    is_whole = base.exact is not None and not is_lost(base, reading, bad.cell)
    culprit = find_culprit(base.steps, is_good_if_rounded, is_bad_if_forgotten if is_whole else None)
    if culprit is None:
        return None
    culprit = handed_on(base.steps, culprit)
    index = _in_the_backward_pass(base.steps, culprit.index)
    return base.steps[index], base.steps[culprit.root] if culprit.root < index else None


def _culprit_of_a_sample(steps: Sequence[Observation]) -> tuple[Observation, Observation | None] | None:
    """Blame the first operation that breaks, or that loses half of its digits by itself: a long run is not repeated."""
    broken = _first_broken(steps)
    if broken is not None:
        step = steps[broken]
        zero = next((s for s in steps[:broken] if Kind.ZERO in s.kinds), None)
        return (zero, None) if zero is not None and Kind.INVALID in step.kinds else (step, None)
    by_themselves = (Origin.MADE_HERE, Origin.CANCELLATION, Origin.ABSORPTION)
    lossy = (s for s in steps if s.origin in by_themselves and (s.error_ulp or 0.0) > default_max_ulp(FORMATS[s.dtype]))
    step_or_none = next(lossy, None)
    return None if step_or_none is None else (step_or_none, None)


def is_lost(run: Run, reading: Reading, cell: int) -> bool:
    """Tell whether even exact arithmetic, from where the shadow starts, misses the right result of a cell."""
    wrong = reading.wrong_exactly(run)
    if wrong is None or run.exact is None:
        return False
    return bool(wrong.ravel()[cell] or np.isnan(nearest(run.exact)).ravel()[cell])


def handed_on(steps: Sequence[Observation], culprit: Culprit) -> Culprit:
    """Blame what magnifies roundings of operations that are as right as the format allows, not the last of these.

    Which of several sums, each off by half an ulp, has to be right for the result to be good is chance: the difference
    of them loses the digits.
    """
    step = steps[culprit.index]
    if step.kinds or step.error_ulp is None or step.error_ulp > _WELL_ROUNDED:
        return culprit
    before = max((s.error_ulp or 0.0 for s in steps[: culprit.index]), default=0.0)
    for i in range(culprit.index + 1, len(steps)):
        before = max(before, steps[i - 1].error_ulp or 0.0)
        if _magnifies(steps[i], before):
            return Culprit(i, culprit.index)
    return culprit


def _magnifies(step: Observation, before: float) -> bool:
    """Tell whether an operation alone turns roundings of its inputs into errors of many ulps.

    No operation before it is off by more than `before`.
    """
    error, made = step.error_ulp or 0.0, step.local_error_ulp or 0.0
    if step.origin is Origin.CANCELLATION:
        return True
    condition = None if step.worst is None else step.worst.condition
    is_ill_conditioned = condition is not None and condition > MAGNIFIED
    return error > MAGNIFIED * max(1.0, made, 0.0 if is_ill_conditioned else before)


def _in_the_backward_pass(steps: Sequence[Observation], index: int) -> int:
    """Blame the backward pass of an operation that met a pole, where both passes did: there the gradient is lost."""
    if steps[index].phase == BACKWARD or Kind.POLE not in steps[index].kinds:
        return index
    return next((i for i, s in enumerate(steps) if s.phase == BACKWARD and Kind.POLE in s.kinds), index)


def first_true(count: int, holds: Callable[[int], bool]) -> int | None:
    """Return the least k in 1..count for which `holds` turns true, by bisection; None if not even for count.

    >>> first_true(10, lambda k: k >= 7), first_true(10, lambda k: False)
    (7, None)
    """
    if count < 1 or not holds(count):
        return None
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def find_culprit(
    steps: Sequence[WithKinds],
    is_good_if_rounded: Callable[[int], bool],
    is_bad_if_forgotten: Callable[[int], bool] | None,
) -> Culprit | None:
    """Find the operation to blame for a bad cell.

    Two questions are asked of every operation. Had it and all before it been right to the last bit, would the result
    be good? The first for which it would makes something bad of inputs as good as the format allows. And: can exact
    arithmetic still make the right result of what it gave? The first for which it cannot destroys information. An
    overflow is blamed where it destroys; so are zeros that turn into 0 / 0; all else where the right inputs do not
    help any more. The second question is not asked where the shadow does not reach the end.
    """
    rounded = first_true(len(steps), is_good_if_rounded)
    forgotten = None if is_bad_if_forgotten is None else first_true(len(steps), is_bad_if_forgotten)
    if rounded is None or forgotten is None:
        # What makes inf or NaN of finite numbers; else what stands last before the result is good again.
        broken = _first_broken(steps)
        # What no right value repairs, for it is cut down to an integer, is blamed for what it destroys.
        last = broken if broken is not None else (rounded or forgotten or 0) - 1
        if last < 0:
            return None
        return Culprit(last, last)
    index, root = rounded - 1, forgotten - 1
    destroys, breaks = steps[root].kinds, steps[index].kinds
    if Kind.OVERFLOW in destroys:
        return Culprit(root, root)
    hands_on = not breaks and steps[index].origin in (Origin.NONE, Origin.INHERITED)
    if Kind.ZERO in destroys and (Kind.INVALID in breaks or hands_on):
        # 0 / 0 is the zeros' fault; but where one was divided by first, that division is to blame.
        pole = next((i for i in range(root + 1, index) if Kind.POLE in steps[i].kinds), None)
        if pole is not None:
            return Culprit(pole, root)
        if breaks:
            return Culprit(root, root)
    return Culprit(index, root)


def _first_broken(steps: Sequence[WithKinds]) -> int | None:
    """Return the first operation that makes inf or NaN of finite numbers."""
    broken = {Kind.OVERFLOW, Kind.POLE, Kind.INVALID}
    return next((i for i, s in enumerate(steps) if s.kinds & broken), None)
