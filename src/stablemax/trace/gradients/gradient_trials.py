"""Rewritten code, run on the failing input: told of only where its result stays and its gradient is right."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.text.errors import StablemaxError
from stablemax.trace.exact_cells import NO_VALUE, is_ball
from stablemax.trace.exact_truth import truth_of
from stablemax.trace.gradients.derivatives import Derivative, Slope
from stablemax.trace.gradients.gradient_cures import Operator, candidates
from stablemax.trace.gradients.singular_points import POINTS, SingularPoint, stem_of
from stablemax.trace.observation import BACKWARD, FORWARD, Kind
from stablemax.trace.reading import Reading
from stablemax.trace.rewritten_source import Edit, Rewriting, expression_of, functions_of, running
from stablemax.trace.traced_code import python_function
from stablemax.truth.measure import ExactResult

if TYPE_CHECKING:
    from stablemax.results import Trace
    from stablemax.trace.gradients.differentiable import Differentiable
    from stablemax.trace.observation import Observation
    from stablemax.trace.own_truth import OwnTruth

_MOST_STEPS = 6
_SAME_RESULT_U = 8
"""So many roundings of one result are no other one."""
_VARIATIONS = ((1.0, 0.25), (1.5, 0.5), (-1.0, 0.0))
"""Factors and terms: the results of the rewritten code are held to its own results there, too."""
BREAKS = (Kind.OVERFLOW, Kind.POLE, Kind.INVALID)


@dataclass(frozen=True)
class BadGradient:
    """A gradient with numbers that are infinite or NaN, and what is right for these."""

    code: Differentiable
    trace: Trace
    expected: OwnTruth
    gradient: Array
    slopes: Mapping[int, Slope]

    @property
    def first(self) -> int:
        """The first bad number; one that has a derivative where there is any."""
        finite = [n for n, slope in self.slopes.items() if slope.kind is Derivative.FINITE]
        return min(finite or self.slopes)

    @property
    def bad(self) -> Array:
        """The places of all bad numbers."""
        return np.flatnonzero(~np.isfinite(self.gradient))

    def name_of(self, number: int) -> str:
        """Name a number of the gradient."""
        return self.expected.result_name(number, 0)

    @functools.cached_property
    def broken(self) -> Sequence[Observation]:
        """The steps that made inf or NaN of numbers, or that have no exact value, in their order."""
        return [s for s in self.expected.run.steps if s.valueless is not None or s.kinds & set(BREAKS)]

    @functools.cached_property
    def blamed(self) -> Observation | None:
        """The step that the trace blames; where that broke nothing, the first of the backward pass that did."""
        blame = self.trace.blame
        step = None if blame is None else next((s for s in self.expected.run.steps if s.index == blame.operation), None)
        if step is None or step in self.broken:
            return step
        return next((s for s in self.broken if s.site.phase == BACKWARD), step)

    @property
    def steps(self) -> Sequence[Observation]:
        """The blamed step, the others that broke, and those that may; each operator of the source once."""
        unique: dict[tuple[Any, ...], Observation] = {}
        for step in ([] if self.blamed is None else [self.blamed]) + list(self.broken) + self._at_zero:
            unique.setdefault((step.site.file, step.site.line, step.site.instruction), step)
        return list(unique.values())[:_MOST_STEPS]

    @property
    def _at_zero(self) -> list[Observation]:
        """The forward steps that gave 0: behind another fault they break nothing yet."""
        known = {name for point in POINTS for name in point.nodes}
        return [
            s
            for s in self.expected.run.steps
            if s.site.phase == FORWARD and s.name in known and s.smallest <= 0 <= s.largest
        ]


@dataclass(frozen=True)
class Cured:
    """A rewriting that was run: what it cures, and the gradient that it gave."""

    rewriting: Rewriting
    point: SingularPoint
    step: Observation
    gradient: Array
    #: The result of the code, which it leaves as it is, was made of numbers alone.
    is_same: bool


@dataclass
class Trials:
    """The rewritings that are tried on a bad gradient."""

    case: BadGradient
    functions: Sequence[FunctionType] = field(init=False)

    def __post_init__(self) -> None:
        root = python_function(self.case.code.code)
        codes = tuple(self.case.expected.run.functions)
        self.functions = [] if root is None else functions_of(codes, root)

    def cured(self) -> Cured | None:
        """Run the rewritings of each operator that broke, then one of each together; return the first that cures."""
        harmless: list[tuple[Edit, SingularPoint, Observation]] = []
        for step in self.case.steps if self.functions else ():
            first: tuple[Edit, SingularPoint, Observation] | None = None
            for edit, point in self._edits(step):
                rewriting = Rewriting((edit,))
                gradient = self._gradient(rewriting)
                if gradient is not None and self._is_same_elsewhere(rewriting):
                    if self._is_right(gradient):
                        return Cured(rewriting, point, step, gradient, is_same=self._was_finite)
                    first = first or (edit, point, step)
            harmless += [] if first is None else [first]
        return self._together(harmless)

    def _together(self, harmless: list[tuple[Edit, SingularPoint, Observation]]) -> Cured | None:
        """Run several edits that change no result; return as few of them as cure."""

        def tried(edits: Sequence[tuple[Edit, SingularPoint, Observation]]) -> tuple[Rewriting, Array] | None:
            rewriting = Rewriting.of([edit for edit, _, _ in edits])
            gradient = None if rewriting is None else self._gradient(rewriting)
            is_cure = gradient is not None and self._is_right(gradient)
            return (rewriting, gradient) if rewriting is not None and gradient is not None and is_cure else None

        found = tried(harmless) if len(harmless) > 1 else None
        if found is None:
            return None
        for edit in harmless[1:]:
            fewer = [other for other in harmless if other is not edit]
            without = tried(fewer)
            harmless, found = (fewer, without) if without is not None else (harmless, found)
        if not self._is_same_elsewhere(found[0]):
            return None
        _, point, step = harmless[0]
        return Cured(found[0], point, step, found[1], is_same=self._was_finite)

    def _edits(self, step: Observation) -> Iterator[tuple[Edit, SingularPoint]]:
        expression = expression_of(step.site, tuple(self.case.expected.run.functions))
        if expression is None:
            return
        owner = next((f for f in self.functions if f.__code__ is expression.code), self.functions[0])
        operator = Operator(expression, owner.__globals__, self.case.code.dialect)
        names = {stem_of(step.site.node), step.name, step.label.removeprefix("aten."), operator.sign, operator.called}
        for point in POINTS:
            for edit in candidates(operator, point) if names & set(point.nodes) else ():
                yield edit, point

    @functools.cached_property
    def _before(self) -> Array | None:
        return self.case.code.rerun().forward

    @property
    def _was_finite(self) -> bool:
        return self._before is not None and bool(np.isfinite(self._before).all())

    def _gradient(self, rewriting: Rewriting) -> Array | None:
        """Run the code as it is rewritten; return its gradient where its result is that of the code."""
        run, expected = self.case.expected.run, self.case.expected
        with running(rewriting, self.functions) as is_running:
            if not is_running:
                return None
            try:
                after = self.case.code.rerun()
            except StablemaxError:
                return None
        gradient = after.value.astype(np.float64).ravel()
        is_same = _is_same_result(self._before, after.forward, run.forward, expected.format)
        return gradient if is_same and gradient.shape == self.case.gradient.shape else None

    def _is_same_elsewhere(self, rewriting: Rewriting) -> bool:
        """Tell whether the code gives its own results on other inputs, too, wherever these are numbers."""
        given, fmt = self.case.expected.given, self.case.expected.format
        for factor, term in _VARIATIONS:
            varied = (
                a if a.dtype.kind in "biu" else fmt.cast(a.astype(np.float64) * factor + term) for a in given.arguments
            )
            code = self.case.code.on(replace(given, arguments=tuple(varied)))
            try:
                before = code.rerun().forward
            except StablemaxError:
                continue
            with running(rewriting, self.functions):
                try:
                    after = code.rerun().forward
                except StablemaxError:
                    return False
            # What was no number there must be right, too, not only finite: an infinity is not to be hidden.
            is_whole = before is not None and bool(np.isfinite(before).all())
            exact = before if is_whole else code.exact_losses()
            if not _is_same_result(before, after, exact, fmt):
                return False
        return True

    def _is_right(self, gradient: Array) -> bool:
        """Hold a gradient to the derivatives, to subgradients, and to what autograd gives exactly elsewhere."""
        case, exact = self.case, self.case.expected.run.exact
        assert exact is not None, "a run without a shadow is not explained"
        if not np.isfinite(gradient).all():
            return False
        cells = exact.flatten()
        for number in case.bad.tolist():
            slope = case.slopes.get(number)
            cells[number] = slope.right if slope is not None and slope.kind is Derivative.FINITE else NO_VALUE
            if slope is not None and slope.kind is Derivative.KINK and not slope.admits(gradient[number]):
                return False
        shaped = cells.reshape(-1, 1)
        reading = Reading(ExactResult(truth_of(shaped, case.expected.format), ~is_ball(shaped)), case.expected.format)
        return not reading.failing(gradient.reshape(-1, 1)).any()


def _is_same_result(before: Array | None, after: Array | None, exact: Array | None, fmt: Format) -> bool:
    """Tell whether the forward pass gives what it gave, or what is right where that was no number."""
    if before is None or after is None or exact is None or not before.shape == after.shape == exact.shape:
        return False
    in_range = np.where(np.abs(exact) > fmt.max, np.copysign(np.inf, exact), exact)
    right = np.where(np.isfinite(before), before, in_range)
    known = ~np.isnan(right)
    return bool(np.allclose(right[known], after[known], rtol=_SAME_RESULT_U * fmt.u, atol=0.0))
