"""Why a gradient of autograd is infinite or NaN, what is right for it, and a cure that was run on the failing input."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.results import Blame, Outcome, Trace
from stablemax.text.words import counted, listed
from stablemax.trace.gradients.derivatives import Derivative, Slope, slope_at
from stablemax.trace.gradients.gradient_trials import BREAKS, BadGradient, Cured, Trials
from stablemax.trace.observation import BACKWARD, Kind, Record
from stablemax.trace.operation_words import event_words, line_words
from stablemax.trace.traced_code import display_name

if TYPE_CHECKING:
    from stablemax.trace.gradients.differentiable import Differentiable
    from stablemax.trace.observation import Event, Observation
    from stablemax.trace.own_truth import OwnTruth

_MOST_NUMBERS = 8
"""Of more bad numbers than this, the first are looked at."""
_MOST_CELLS = 200_000
"""Cells of all operations: of so many, one number of the gradient is looked at, of fewer more."""
_SAME = 1e-6


def with_cause(code: Differentiable, trace: Trace, expected: OwnTruth) -> Trace:
    """Say of a gradient that is infinite or NaN which operator's backward pass makes it, why, and what to write."""
    run = expected.run
    gradient = run.value.astype(np.float64).ravel()
    bad = np.flatnonzero(~np.isfinite(gradient))
    if not bad.size or run.not_followed or run.exact is None:
        return trace
    hidden = _hidden_from_autograd(code, expected, gradient)
    if hidden:
        return replace(trace, notes=(*trace.notes, f"no cause was looked for in the backward pass: {hidden}"))
    most = min(_MOST_NUMBERS, _MOST_CELLS // (1 + sum(step.cells for step in run.steps)))
    slopes = {int(n): slope_at(code, int(n), expected.format) for n in bad[:most]}
    slopes = {n: slope for n, slope in slopes.items() if not _is_beyond(slope, expected.format)}
    if not slopes or any(slope.kind is Derivative.UNKNOWN for slope in slopes.values()):
        return trace
    case = BadGradient(code, trace, expected, gradient, slopes)
    cured = Trials(case).cured()
    if cured is not None:
        told = _told(case, cured.step, cured)
        return replace(told, instead=cured.rewriting.source(), instead_why=_why(case, cured))
    has_value = slopes[case.first].kind is not Derivative.NO_VALUE
    return _told(case, case.blamed, None) if has_value or trace.blame is None else trace


def _hidden_from_autograd(code: Differentiable, expected: OwnTruth, gradient: Array) -> str:
    """Say why the derivative of the forward code may not be what autograd is to give; empty where nothing says so."""
    names = {name for function in expected.run.functions for name in function.co_names}
    hiding = names & (code.dialect.hiding | code.own_rules())
    if hiding:
        return f"the code has {listed(sorted(hiding))}, and its gradient need not be the derivative"
    exact = expected.run.exact
    good = np.flatnonzero(np.isfinite(gradient))
    if good.size and exact is not None:
        number = int(good[0])
        slope, here = slope_at(code, number, expected.format), float(exact.ravel()[number])
        if slope.kind is Derivative.FINITE:
            there = float(slope.right)
            size = max(abs(here), abs(there))
            if size > expected.format.smallest_normal and abs(there - here) > _SAME * size:
                return "autograd gives another gradient than the derivative of the forward code"
    return ""


def _is_beyond(slope: Slope, fmt: Format) -> bool:
    """Tell whether a derivative is beyond the range of a format: infinity is right for it."""
    return slope.kind is Derivative.FINITE and bool(abs(float(slope.right)) > fmt.max)


# --- the words ----------------------------------------------------------------------------------------


def _told(case: BadGradient, step: Observation | None, cured: Cured | None) -> Trace:
    """Say what is right for the gradient, and which operator makes it what it is."""
    trace, slope = case.trace, case.slopes[case.first]
    value, outcome = case.gradient[case.first], trace.outcome
    if slope.kind is Derivative.FINITE:
        outcome = Outcome.NAN if math.isnan(value) else Outcome.OVERFLOW
    count = f"{case.bad.size:,} of {counted(case.gradient.size, 'number')} in {case.expected.format.name}"
    word = "NaN" if math.isnan(value) else "infinite"
    whose = f"{trace.target}'s gradient" if trace.target else "the gradient"
    result = f"{whose} is {word} for {count}: it gives {value:.6g} {_exactly(slope)} ({case.name_of(case.first)})."
    if step is None:
        return replace(trace, outcome=outcome, finding=result if trace.target else f"{result[0].upper()}{result[1:]}")
    reason, pattern = ("", "") if cured is None else _reason(case, cured)
    words = f"{line_words(step.site)}{_deed(case, step)}{reason}"
    record = case.expected.run.records.get(step.key) or Record(replace(step, index=0))
    file = display_name(step.site.file) if step.site.file else trace.target
    return replace(
        trace,
        outcome=outcome,
        lines=tuple(replace(line, blamed=(line.file, line.line) == (file, step.line)) for line in trace.lines),
        blame=Blame(file, step.line, record.seen.index, words),
        finding=f"{words[0].upper()}{words[1:]}. {result}",
        pattern=pattern,
    )


def _exactly(slope: Slope) -> str:
    left, right = _sides(slope)
    return {
        Derivative.FINITE: f"where {right} is right",
        Derivative.KINK: f"where the one-sided derivatives are {left} and {right}",
        Derivative.INFINITE: "where the derivative is infinite",
    }.get(slope.kind, "where the function has no value")


def _sides(slope: Slope) -> tuple[str, str]:
    if slope.left is None:
        return "", ""
    return f"{float(slope.left):.6g}", f"{float(slope.right):.6g}"


def _deed(case: BadGradient, step: Observation) -> str:
    """Say what the operator did to its numbers, as the trace does where its result is not that of exact arithmetic."""
    blame = case.trace.blame
    if blame is not None and case.trace.outcome.is_failure and step.index == blame.operation:
        return blame.sentence.removeprefix(line_words(step.site))
    events = [e for kind in BREAKS for e in step.events if e.kind is kind]
    event: Event | None = next(iter(events), step.valueless)
    if event is None:
        return f"{step.name} makes the gradient bad"
    expected = case.expected
    record = expected.run.records.get(step.key) or Record(step)
    column = record.place(event, *expected.given.size)[1]
    # An operator of the backward pass reads several numbers: that is named whose gradient is bad.
    is_other = column is not None and column not in case.bad
    place = expected.given.name_at(case.first) if is_other else expected.place_name(record, event, 0, expected.given)
    return event_words(record.seen, event, place)


def _reason(case: BadGradient, cured: Cured) -> tuple[str, str]:
    """Say why the operator's backward pass gives no number; return that, and the id of the pattern."""
    zero, step = case.code.zero_before(cured.step, cured.point), cured.step
    # The point is where the derivative is infinite; beyond it the operator has no value: sqrt(-4).
    is_beyond = step.site.phase != BACKWARD and Kind.INVALID in step.kinds
    says = f"{step.name} has no value there" if is_beyond else cured.point.says
    if zero is None:
        return f"; {says}", cured.point.id
    return f"; {says}, and {zero.says}: 0 times {'NaN' if is_beyond else 'infinity'} is NaN", zero.pattern


def _why(case: BadGradient, cured: Cured) -> str:
    """Say what the rewritten code gave when it was run."""
    kinds: dict[Derivative, int] = {}
    for number, slope in case.slopes.items():
        kinds.setdefault(slope.kind, number)
    gave = [
        f"{case.name_of(number)} is then {cured.gradient[number]:.6g}, {_standing(case.slopes[number])}"
        for number in kinds.values()
    ]
    same = (
        "the same" if cured.is_same else "the same wherever it was a number, and right where exact arithmetic has one"
    )
    return f"it was run on this input: the result is {same}; {'; '.join(gave)}"


def _kind_of_kink(slope: Slope) -> str:
    """Name what lies between one-sided derivatives: where the slope falls, the function bends as a concave one does."""
    is_concave = slope.left is not None and float(slope.left) > float(slope.right)
    return "a supergradient" if is_concave else "a subgradient"


def _standing(slope: Slope) -> str:
    """Say by which right a gradient stands there."""
    left, right = _sides(slope)
    return {
        Derivative.FINITE: f"and {right} is right: so say exact difference quotients of the forward code",
        Derivative.KINK: f"{_kind_of_kink(slope)}: the one-sided derivatives are {left} and {right}",
        Derivative.INFINITE: "a choice: the function has no finite derivative there",
        Derivative.NO_VALUE: "a choice: the function has no value there",
    }[slope.kind]
