"""The cure that a trace tells: code that was run on the traced input, and holds there."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import FORMATS
from stablemax.results import Outcome
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted
from stablemax.trace.cures.applying import written
from stablemax.trace.cures.ordinary_inputs import holds_on_ordinary_inputs
from stablemax.trace.cures.part_cures import findings_of_parts
from stablemax.trace.cures.rewriting import Rewritten, rewritten
from stablemax.trace.cures.searching import Cure, cures_of
from stablemax.trace.cures.widening import ID as WIDER
from stablemax.trace.cures.widening import why_of, widened
from stablemax.trace.exact_truth import close_beside_1
from stablemax.truth.measure import CODES, largest

if TYPE_CHECKING:
    from stablemax.results import Trace
    from stablemax.trace.cures.searching import Finding
    from stablemax.trace.reading import Reading
    from stablemax.trace.run import Run, Subject

_SMALL = 0.01
_MOST_CELLS = 1 << 15
"""Runs whose operations have more cells are not repeated in search of a cure."""


@dataclass(frozen=True)
class Judge:
    """Tells whether a run of other code on the traced input gives what the traced code should have."""

    reading: Reading
    #: The run of the traced code.
    run: Run
    #: Results that are far below 1 may lose their own digits, as logarithms of probabilities do.
    beside_1: bool = False

    def is_good(self, run: Run) -> bool:
        """Tell whether every cell of a result is good."""
        failing, truth = self.reading.failing(run.value), self.reading.exact.truth
        if self.beside_1 and run.value.size == truth.nearest.size:
            failing &= ~close_beside_1(run.value.reshape(truth.nearest.shape), truth, self.reading.format)
        return not failing.any()

    def is_finite(self, run: Run) -> bool:
        """Tell whether every cell of a result is finite, and good where the traced code's has a value."""
        return self.is_good(run) and bool(np.isfinite(run.value.astype(np.float64)).all())

    def is_the_same_function(self, run: Run) -> bool:
        """Tell whether a good result has the dtype and shape of the traced code's, and is right in exact arithmetic."""
        before = self.run
        is_alike = (run.dtype or run.value.dtype, run.value.shape) == (
            before.dtype or before.value.dtype, before.value.shape,
        )  # fmt: skip
        wrong = self.reading.wrong_exactly(run)
        return is_alike and self.is_good(run) and not (wrong is not None and wrong.any())

    def is_closer(self, run: Run) -> bool:
        """Tell whether code is right in exact arithmetic, and all that is wrong with its result is a lack of digits.

        The traced code gives worse than that, and its other numbers stay good.
        """
        before, wrong = self.run, self.reading.wrong_exactly(run)
        if run.value.shape != before.value.shape or run.value.dtype != before.value.dtype:
            return False
        if (wrong is not None and wrong.any()) or (
            self.reading.failing(run.value) & ~self.reading.failing(before.value)
        ).any():
            return False
        worst, worst_before = (int(self.reading.judged(r.value).codes.max()) for r in (run, before))
        return worst <= CODES.index(Outcome.INACCURATE) < worst_before

    def error_words(self, run: Run) -> str:
        """Say how large the largest error of a good result is."""
        if self.beside_1:
            truth = self.reading.exact.truth.nearest
            error = float(np.nanmax(np.abs(run.value.astype(np.float64).reshape(truth.shape) - truth)))
            return f" beside 1, as logarithms of probabilities are judged: no error is above {error:.2g}"
        largest_ulp = largest(self.reading.judged(run.value).error_ulp)
        return "" if largest_ulp is None else f": no error is above {max(largest_ulp, _SMALL):.2g} ulp"


def with_cure(trace: Trace, subject: Subject, judge: Judge) -> Trace:
    """Add code to write instead to the trace of a run that failed, where a pattern is found and its code cures.

    Where the formula has no number of the format it is code for another function, which has one.
    """
    run, is_undefined = judge.run, trace.outcome is Outcome.UNDEFINED
    if not (trace.outcome.is_failure or (is_undefined and trace.blame is not None)) or trace.instead:
        return trace
    if run.exact is None or run.is_sampled or run.divergences or not subject.records_flow:
        return trace
    if sum(step.cells for step in run.steps) > _MOST_CELLS:
        size = (
            f"no cure is looked for where operations give more than {_MOST_CELLS:,} numbers: give a part of the input"
        )
        return replace(trace, notes=(*trace.notes, size))
    blamed = None
    if trace.blame is not None and trace.blame.operation >= 0:
        blamed = subject.flow_key(run, trace.blame.operation)
    try:
        told = _in_own_source(subject, judge, blamed, extending=is_undefined)
        beside_1 = replace(judge, beside_1=True)
        if told is None and not is_undefined and not beside_1.is_good(run):
            judge, told = beside_1, _in_own_source(subject, beside_1, blamed, extending=False)
        if told is None and not is_undefined:
            judge = replace(judge, beside_1=False)
            return _with_wider(trace, subject, judge) or _with_part(trace, subject, judge, blamed) or trace
    except StablemaxError:
        return trace  # other numbers lead the code where it raises
    if told is None:
        return trace
    ids = ", ".join(dict.fromkeys(f.pattern.id for f in told.findings))
    return replace(trace, pattern=ids, instead=told.text, instead_why=_why(told, judge, trace.format))


def _with_wider(trace: Trace, subject: Subject, judge: Judge) -> Trace | None:
    """Add the user's function in a wider format to a trace; None where that does not hold."""
    if subject.is_gradient:
        return None
    _, flow = subject.recorded(judge.run.bits)
    for new in widened(subject, flow):
        run = _run_of(subject, new, judge.run.bits)
        if run is not None and judge.is_the_same_function(run) and _holds(subject, new, judge):
            why = f"{why_of(trace.format)}. Run on this input in {trace.format}, it holds{judge.error_words(run)}"
            return replace(trace, pattern=WIDER, instead=new.text, instead_why=why)
    return None


def _with_part(trace: Trace, subject: Subject, judge: Judge, blamed: Hashable) -> Trace | None:
    """Add code that mends a part of the run, where other errors stay in the result; None where none does."""
    if subject.is_gradient:
        return None
    for found, flow in findings_of_parts(subject, blamed, judge.run.bits):
        for new in rewritten(found, flow, subject.backend, subject.function):
            run = _run_of(subject, new, judge.run.bits)
            if run is None or not judge.is_closer(run) or not _holds(subject, new, judge):
                continue
            failing = judge.reading.failing(run.value)
            pattern = found[0].pattern
            why = (
                f"{pattern.why}. Run on this input in {trace.format}, this part holds for what came into it, and the "
                f"result has no infinity, no NaN and no wrong 0; but {int(failing.sum()):,} of "
                f"{counted(failing.size, 'number')} still lack half of their digits, for another reason"
            )
            return replace(trace, pattern=pattern.id, instead=new.text, instead_why=why)
    return None


def _holds(subject: Subject, new: Rewritten, judge: Judge, *, extending: bool = False) -> bool:
    return holds_on_ordinary_inputs(subject, new, judge.reading.format, judge.run.bits, extending=extending)


def _why(told: _Told, judge: Judge, fmt: str) -> str:
    """Say why the code holds, and that it was run."""
    found = told.findings
    why = "; ".join(dict.fromkeys(f.pattern.why for f in found))
    if not found[0].pattern.extends:
        return f"{why}. Run on this input in {fmt}, it holds{judge.error_words(told.run)}"
    limit = str(math.floor(FORMATS[fmt].exp_overflow.real))
    other = "; ".join(dict.fromkeys(f.pattern.extends.format(limit=limit) for f in found))
    return f"{why}. This is not the same function: {other}. Run on this input in {fmt}, its result is finite"


@dataclass(frozen=True)
class _Told:
    """Findings that cure, their code, and the run that shows it."""

    findings: Sequence[Finding]
    text: str
    run: Run


def _in_own_source(subject: Subject, judge: Judge, blamed: Hashable, *, extending: bool) -> _Told | None:
    """Return the findings that cure with their code: the user's function, or the expressions where it has no source."""
    alone: Cure | None = None
    bits = judge.run.bits
    is_good, is_right = (judge.is_finite,) * 2 if extending else (judge.is_good, judge.is_the_same_function)
    for cure, flow in cures_of(subject, is_good, blamed, bits, extending=extending, beside_1=judge.beside_1):
        if judge.beside_1 and not any(finding.pattern.is_beside_1 for finding in cure.findings):
            continue
        is_written = False
        for new in rewritten(cure.findings, flow, subject.backend, subject.function):
            is_written = is_written or not new.is_guess
            run = _run_of(subject, new, bits)
            if run is not None and is_right(run) and _holds(subject, new, judge, extending=extending):
                return _Told(cure.findings, new.text, run)
        if not (is_written or subject.is_gradient):
            alone = alone or cure
    if alone is None:
        return None
    return _Told(alone.findings, _as_expressions(alone.findings, subject.backend), alone.run)


def _run_of(subject: Subject, new: Rewritten, bits: int) -> Run | None:
    """Run code in the place of the user's function; None where it raises."""
    try:
        with new.in_place():
            return subject.recorded(bits)[0]
    except (StablemaxError, ValueError):
        return None


def _as_expressions(found: Sequence[Finding], backend: str) -> str:
    """Write the code of patterns with their own letters, each beneath the line that it is for."""
    lines: dict[str, None] = {}
    for finding in found:
        source, match = finding.match.root.source, finding.match
        where = f" on line {source.line}" if source is not None else ""
        code = written(finding.code, match, {name: name for name in match.leaves}, backend)
        lines[f"# in the place of {finding.pattern.formula}{where}\n{code}"] = None
    return "\n".join(lines) + "\n"
