"""The cure that a trace tells: code that was run on the traced input, and holds there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from stablemax.results import Outcome
from stablemax.text.errors import StablemaxError
from stablemax.trace.cures.choosing import cure_for
from stablemax.trace.cures.smaller_input import of_some_rows

if TYPE_CHECKING:
    from stablemax.results import Trace
    from stablemax.trace.cures.choosing import Told
    from stablemax.trace.cures.cure_judge import Judge
    from stablemax.trace.run import Subject

_MOST_CELLS = 1 << 15
"""Runs whose operations have more cells are not repeated in search of a cure: some of their rows are."""


def with_cure(trace: Trace, subject: Subject, judge: Judge, judge_of: Callable[[Subject], Judge]) -> Trace:
    """Add code to write instead to the trace of a run that failed, where a pattern is found and its code cures.

    Where the formula has no number of the format it is code for another function, which has one. `judge_of` makes the
    judge of the same code on another input.
    """
    run, is_undefined = judge.run, trace.outcome is Outcome.UNDEFINED
    if not (trace.outcome.is_failure or (is_undefined and trace.blame is not None)) or trace.instead:
        return trace
    if run.exact is None or run.is_sampled or run.divergences or not subject.records_flow:
        return trace
    cells = sum(step.cells for step in run.steps)
    if cells > _MOST_CELLS:
        return _with_cure_of_rows(trace, subject, judge, judge_of, cells)
    blamed = None
    if trace.blame is not None and trace.blame.operation >= 0:
        blamed = subject.flow_key(run, trace.blame.operation)
    try:
        told = cure_for(subject, judge, blamed, extending=is_undefined)
    except StablemaxError:
        return trace  # other numbers lead the code where it raises
    if told is None:
        return trace
    return _with(trace, told, f"Run on this input in {trace.format}, {told.says(told.judge, told.run)}")


def _with(trace: Trace, told: Told, shown: str) -> Trace:
    return replace(trace, pattern=told.pattern, instead=told.text, instead_why=f"{told.why}. {shown}")


def _with_cure_of_rows(
    trace: Trace, subject: Subject, judge: Judge, judge_of: Callable[[Subject], Judge], cells: int
) -> Trace:
    """Look for the cure on some rows of a large input that fail, and run it on the whole input."""
    note = f"operations give more than {_MOST_CELLS:,} numbers: a cure was looked for on some rows, and none holds"
    trace_without = replace(trace, notes=(*trace.notes, note))
    is_undefined = trace.outcome is Outcome.UNDEFINED
    try:
        smaller = of_some_rows(subject, judge.run, judge.reading.failing(judge.run.value), cells)
        if smaller is None:
            return trace_without
        rows, count, total = smaller
        told = cure_for(rows, judge_of(rows), None, extending=is_undefined)
        if told is None or told.new is None:
            return trace_without
        with told.new.in_place():
            # Exact arithmetic was asked on the rows; here it is the values that are held to the exact result.
            run = replace(subject.with_outputs({}), exact=None)
    except StablemaxError:
        return trace_without
    beside_1 = replace(judge, beside_1=True)
    may_be_beside_1 = told.is_beside_1 and not beside_1.is_good(judge.run)
    own_judge = next((j for j in (judge, *([beside_1] * may_be_beside_1)) if told.holds(j, run)), None)
    if own_judge is None:
        return trace_without
    shown = f"Found on {count:,} of {total:,} rows, and run on all of this input in {trace.format}"
    return _with(trace, told, f"{shown}, {told.says(own_judge, run)}")
