"""Why a gradient of autograd is infinite or NaN, what is right for it, and a cure that was run on the failing input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.results import Blame, Outcome, Trace
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted, listed
from stablemax.trace.exact_cells import NO_VALUE, is_ball
from stablemax.trace.observation import Kind, Record
from stablemax.trace.operation_words import line_words
from stablemax.trace.own_truth import truth_of
from stablemax.trace.reading import Reading
from stablemax.trace.rewritten_source import Rewriting, expression_of, functions_of, running
from stablemax.trace.torch.derivatives import Derivative, Slope, slope_at
from stablemax.trace.torch.gradient_cures import Operator, candidates
from stablemax.trace.torch.gradient_flow import stem_of, zero_before
from stablemax.trace.torch.singular_points import POINTS, ZEROS, SingularPoint
from stablemax.trace.traced_code import display_name, python_function
from stablemax.truth.measure import ExactResult

if TYPE_CHECKING:
    from stablemax.trace.observation import Event, Observation
    from stablemax.trace.own_truth import OwnTruth
    from stablemax.trace.torch.torch_trace import TorchCode

_MOST_NUMBERS = 8
"""Of more bad numbers than this, the first are looked at."""
_MOST_CELLS = 200_000
"""Cells of all operations: of so many, one number of the gradient is looked at, of fewer more."""
_MOST_STEPS = 6
_HIDING = frozenset(
    ("detach", "detach_", "no_grad", "inference_mode", "set_grad_enabled", "data", "apply", "register_hook")
)
"""Names that keep something from autograd, or give it other derivatives."""
_SAME = 1e-6
_VARIATIONS = ((1.0, 0.25), (1.5, 0.5), (-1.0, 0.0))
"""Factors and terms: the results of the rewritten code are held to its own results there, too."""
_SAME_RESULT_U = 8
"""So many roundings of one result are no other one."""
_BREAKS = (Kind.OVERFLOW, Kind.POLE, Kind.INVALID)


@dataclass(frozen=True)
class _Cured:
    """A rewriting that was run: what it cures, and the gradient that it gave."""

    rewriting: Rewriting
    point: SingularPoint
    step: Observation
    gradient: Array


@dataclass(frozen=True)
class _Case:
    """A gradient with numbers that are infinite or NaN, and what is right for these."""

    code: TorchCode
    trace: Trace
    expected: OwnTruth
    gradient: Array
    slopes: Mapping[int, Slope]

    @property
    def first(self) -> int:
        """The first bad number; one that has a derivative where there is any."""
        finite = [n for n, slope in self.slopes.items() if slope.kind is Derivative.FINITE]
        return min(finite or self.slopes)

    def name_of(self, number: int) -> str:
        return self.expected.result_name(number, 0)

    @property
    def bad(self) -> Array:
        return np.flatnonzero(~np.isfinite(self.gradient))


def with_cause(code: TorchCode, trace: Trace, expected: OwnTruth) -> Trace:
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
    case = _Case(code, trace, expected, gradient, slopes)
    cured = next(_cured(case), None)
    if cured is not None:
        told = _told(case, cured.step, cured)
        return replace(told, instead=cured.rewriting.source(), instead_why=_why(case, cured))
    has_value = slopes[case.first].kind is Derivative.FINITE
    return _told(case, _blamed(case), None) if has_value else trace


def _hidden_from_autograd(code: TorchCode, expected: OwnTruth, gradient: Array) -> str:
    """Say why the derivative of the forward code may not be what autograd is to give; empty where nothing says so."""
    names = {name for function in expected.run.functions for name in function.co_names}
    if names & _HIDING:
        return f"the code has {listed(sorted(names & _HIDING))}, and its gradient need not be the derivative"
    exact = expected.run.exact
    good = np.flatnonzero(np.isfinite(gradient))
    if good.size and exact is not None:
        number = int(good[0])
        slope, cell = slope_at(code, number, expected.format), exact.ravel()[number]
        is_other = slope.kind is Derivative.FINITE and abs(float(slope.right) - float(cell)) > _SAME * abs(float(cell))
        return "autograd gives another gradient than the derivative of the forward code" if is_other else ""
    return ""


def _is_beyond(slope: Slope, fmt: Format) -> bool:
    """Tell whether a derivative is beyond the range of a format: infinity is right for it."""
    return slope.kind is Derivative.FINITE and bool(abs(float(slope.right)) > fmt.max)


# --- the steps that may be to blame, and their cures --------------------------------------------------


def _steps(case: _Case) -> list[Observation]:
    """Return the blamed step and the others that broke or have no exact value, each operator of the source once."""
    steps = case.expected.run.steps
    blamed = _blamed(case)
    broken = [s for s in steps if s.valueless is not None or s.kinds & set(_BREAKS)]
    unique: dict[tuple[Any, ...], Observation] = {}
    for step in ([blamed] if blamed is not None else []) + broken:
        unique.setdefault((step.site.file, step.site.line, step.site.instruction), step)
    return list(unique.values())[:_MOST_STEPS]


def _blamed(case: _Case) -> Observation | None:
    blame = case.trace.blame
    return None if blame is None else next((s for s in case.expected.run.steps if s.index == blame.operation), None)


def _cured(case: _Case) -> Iterator[_Cured]:
    """Run every rewriting that may cure the gradient, and yield those that do."""
    codes = tuple(case.expected.run.functions)
    root = python_function(case.code.code)
    functions = [] if root is None else functions_of(codes, root)
    for step in _steps(case) if functions else ():
        expression = expression_of(step.site, codes)
        owner = next((f for f in functions if expression is not None and f.__code__ is expression.code), None)
        if expression is None or (owner is None and expression.code.co_qualname.count("<locals>") == 0):
            continue
        operator = Operator(expression, (owner or functions[0]).__globals__)
        names = {stem_of(step.site.node), step.name, step.label.removeprefix("aten.")}
        for point in POINTS:
            for rewriting in candidates(operator, point) if names & set(point.nodes) else ():
                gradient = _right_gradient(case, rewriting, functions)
                if gradient is not None:
                    yield _Cured(rewriting, point, step, gradient)


def _right_gradient(case: _Case, rewriting: Rewriting, functions: Sequence[FunctionType]) -> Array | None:
    """Run the code as it is rewritten; return its gradient where all of that, and the result, is right."""
    code, before = case.code, case.code.plain()
    with running(rewriting, functions) as is_running:
        if not is_running:
            return None
        try:
            after = code.plain()
        except StablemaxError:
            return None
    gradient = after.value.astype(np.float64).ravel()
    if gradient.shape != case.gradient.shape or not np.isfinite(gradient).all():
        return None
    if not _is_same_result(before.forward, after.forward, case.expected.run.forward, case.expected.format):
        return None
    is_right = _is_right(case, gradient) and _is_same_elsewhere(case, rewriting, functions)
    return gradient if is_right else None


def _is_same_elsewhere(case: _Case, rewriting: Rewriting, functions: Sequence[FunctionType]) -> bool:
    """Tell whether the code gives its own results on inputs near the failing one, too, wherever these are numbers."""
    given, fmt = case.expected.given, case.expected.format
    for factor, term in _VARIATIONS:
        varied = (
            a if a.dtype.kind in "biu" else fmt.cast(a.astype(np.float64) * factor + term) for a in given.arguments
        )
        code = replace(case.code, given=replace(given, arguments=tuple(varied)))
        try:
            before = code.plain().forward
        except StablemaxError:
            continue
        with running(rewriting, functions):
            try:
                after = code.plain().forward
            except StablemaxError:
                return False
        assert before is not None, "a gradient was taken of it"
        if not _is_same_result(before, after, np.full(before.shape, np.nan), fmt):
            return False
    return True


def _is_same_result(before: Array | None, after: Array | None, exact: Array | None, fmt: Format) -> bool:
    """Tell whether the forward pass gives what it gave, or what is right where that was no number."""
    assert before is not None, "a gradient was taken of it"
    assert after is not None, "a gradient was taken of it"
    if exact is None or before.shape != after.shape or exact.shape != after.shape:
        return False
    right = np.where(np.isfinite(before), before, exact)
    known = ~np.isnan(right)
    return bool(np.allclose(right[known], after[known], rtol=_SAME_RESULT_U * fmt.u, atol=0.0))


def _is_right(case: _Case, gradient: Array) -> bool:
    """Hold a gradient to the derivatives, to subgradients, and to what autograd gives exactly elsewhere."""
    exact = case.expected.run.exact
    assert exact is not None, "a run without a shadow is not explained"
    cells = exact.flatten()
    for number in case.bad.tolist():
        slope = case.slopes.get(number)
        cells[number] = slope.right if slope is not None and slope.kind is Derivative.FINITE else NO_VALUE
        if slope is not None and slope.kind is Derivative.KINK and not slope.admits(gradient[number]):
            return False
    shaped = cells.reshape(-1, 1)
    reading = Reading(ExactResult(truth_of(shaped, case.expected.format), ~is_ball(shaped)), case.expected.format)
    return not reading.failing(gradient.reshape(-1, 1)).any()


# --- the words ----------------------------------------------------------------------------------------


def _told(case: _Case, step: Observation | None, cured: _Cured | None) -> Trace:
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
        return replace(trace, outcome=outcome, finding=f"{result[0].upper()}{result[1:]}")
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


def _deed(case: _Case, step: Observation) -> str:
    """Say what the operator did to its numbers, as the trace does where its result is not that of exact arithmetic."""
    blame = case.trace.blame
    if blame is not None and case.trace.outcome.is_failure and step is _blamed(case):
        return blame.sentence.removeprefix(line_words(step.site))
    events = [e for kind in _BREAKS for e in step.events if e.kind is kind]
    event: Event | None = next(iter(events), step.valueless)
    return f"{step.name} makes the gradient bad" if event is None else case.expected.words_of(step, event)


def _reason(case: _Case, cured: _Cured) -> tuple[str, str]:
    """Say why the operator's backward pass gives no number; return that, and the id of the pattern."""
    pattern, hands_back = ZEROS.get(zero_before(case.code, cured.point.nodes), ("", ""))
    if not pattern:
        return f"; {cured.point.says}", cured.point.id
    return f"; {cured.point.says}, and {hands_back}: 0 times infinity is NaN", pattern


def _why(case: _Case, cured: _Cured) -> str:
    """Say what the rewritten code gave when it was run."""
    kinds: dict[Derivative, int] = {}
    for number, slope in case.slopes.items():
        kinds.setdefault(slope.kind, number)
    gave = [
        f"{case.name_of(number)} is then {cured.gradient[number]:.6g}, {_standing(case.slopes[number])}"
        for number in kinds.values()
    ]
    forward = case.expected.run.forward
    same = "" if forward is not None and not np.isnan(forward).any() else " wherever it was a number"
    return f"it was run on this input: the result is the same{same}; {'; '.join(gave)}"


def _standing(slope: Slope) -> str:
    """Say by which right a gradient stands there."""
    left, right = _sides(slope)
    return {
        Derivative.FINITE: f"and {right} is right: so say exact difference quotients of the forward code",
        Derivative.KINK: f"a subgradient: the one-sided derivatives are {left} and {right}",
        Derivative.INFINITE: "a choice: the function has no finite derivative there",
        Derivative.NO_VALUE: "a choice: the function has no value there",
    }[slope.kind]
