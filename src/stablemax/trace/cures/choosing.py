"""Which cure is told: the first that holds on the traced input and on ordinary ones, the best kind before others."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stablemax.numerics.formats import FORMATS
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted
from stablemax.trace.cures.applying import written
from stablemax.trace.cures.cure_judge import Judge
from stablemax.trace.cures.ordinary_inputs import holds_on_ordinary_inputs
from stablemax.trace.cures.part_cures import findings_of_parts
from stablemax.trace.cures.rewriting import rewritten
from stablemax.trace.cures.searching import cures_of
from stablemax.trace.cures.wider_format import WIDER_FORMAT, why_of, widened

if TYPE_CHECKING:
    from stablemax.trace.cures.rewriting import Rewritten
    from stablemax.trace.cures.searching import Cure, Finding
    from stablemax.trace.run import Run, Subject


@dataclass(frozen=True)
class Told:
    """Code that cures, why it does, and the run that shows it."""

    #: Ids of its patterns.
    pattern: str
    text: str
    why: str
    run: Run
    judge: Judge
    #: The user's function with the code in it; None where the code is expressions alone.
    new: Rewritten | None
    #: Whether a run of it is what was promised, and what is then said of that.
    holds: Callable[[Judge, Run], bool]
    says: Callable[[Judge, Run], str]
    #: Its results are logarithms of probabilities, which may be judged beside 1.
    is_beside_1: bool = False


def cure_for(subject: Subject, judge: Judge, blamed: Hashable, *, extending: bool) -> Told | None:
    """Return the cure of a run that failed; with `extending` that of a formula without a number of the format."""
    if extending:
        return _by_patterns(subject, judge, blamed, extending=True)
    beside_1 = replace(judge, beside_1=True)
    return (
        _by_patterns(subject, judge, blamed)
        or (None if beside_1.is_good(judge.run) else _by_patterns(subject, beside_1, blamed))
        or (None if subject.is_gradient else _in_a_wider_format(subject, judge) or _of_a_part(subject, judge, blamed))
    )


def _it_holds(judge: Judge, run: Run) -> str:
    return f"it holds{judge.error_words(run)}"


def _it_is_finite(judge: Judge, run: Run) -> str:  # noqa: ARG001 - it says no more
    return "its result is finite"


def _its_part_holds(judge: Judge, run: Run) -> str:
    failing = judge.reading.failing(run.value)
    return (
        "this part holds for what came into it, and the result has no infinity, no NaN and no wrong 0; but "
        f"{int(failing.sum()):,} of {counted(failing.size, 'number')} still lack half of their digits, for another "
        "reason"
    )


def _by_patterns(subject: Subject, judge: Judge, blamed: Hashable, *, extending: bool = False) -> Told | None:
    """Return the findings that cure with their code: the user's function, or the expressions where it has no source."""
    alone: Cure | None = None
    is_good, holds = judge.is_good, Judge.is_the_same_function
    if extending:
        is_good, holds = judge.is_finite, Judge.is_finite
    says, bits = _it_is_finite if extending else _it_holds, judge.run.bits
    for cure, flow in cures_of(subject, is_good, blamed, bits, extending=extending, beside_1=judge.beside_1):
        is_beside_1 = any(finding.pattern.is_beside_1 for finding in cure.findings)
        if judge.beside_1 and not is_beside_1:
            continue
        is_written, why = False, _why(cure.findings, judge)
        for new in rewritten(cure.findings, flow, subject.backend, subject.function):
            is_written = is_written or not new.is_guess
            run = _run_of(subject, new, bits)
            if run is not None and holds(judge, run) and _is_right_elsewhere(subject, new, judge, extending=extending):
                return Told(_ids(cure.findings), new.text, why, run, judge, new, holds, says, is_beside_1)
        if not (is_written or subject.is_gradient):
            alone = alone or cure
    if alone is None:
        return None
    text = _as_expressions(alone.findings, subject.backend)
    return Told(_ids(alone.findings), text, _why(alone.findings, judge), alone.run, judge, None, holds, says)


def _in_a_wider_format(subject: Subject, judge: Judge) -> Told | None:
    """Return the user's function in a wider format, where that holds."""
    bits, holds = judge.run.bits, Judge.is_the_same_function
    for new in widened(subject, subject.recorded(bits)[1]):
        run = _run_of(subject, new, bits)
        if run is not None and holds(judge, run) and _is_right_elsewhere(subject, new, judge):
            return Told(WIDER_FORMAT.id, new.text, why_of(subject.format.name), run, judge, new, holds, _it_holds)
    return None


def _of_a_part(subject: Subject, judge: Judge, blamed: Hashable) -> Told | None:
    """Return code that mends a part of the run, where other errors stay in the result."""
    bits, holds = judge.run.bits, Judge.is_closer
    for found, flow in findings_of_parts(subject, blamed, bits):
        for new in rewritten(found, flow, subject.backend, subject.function):
            run = _run_of(subject, new, bits)
            if run is not None and holds(judge, run) and _is_right_elsewhere(subject, new, judge):
                return Told(_ids(found), new.text, _why(found, judge), run, judge, new, holds, _its_part_holds)
    return None


def _ids(found: Sequence[Finding]) -> str:
    return ", ".join(dict.fromkeys(f.pattern.id for f in found))


def _why(found: Sequence[Finding], judge: Judge) -> str:
    """Say why code holds, and what it computes where that is another function."""
    why = "; ".join(dict.fromkeys(f.pattern.why for f in found))
    if not found[0].pattern.extends:
        return why
    limit = str(math.floor(FORMATS[judge.reading.format.name].exp_overflow.real))
    other = "; ".join(dict.fromkeys(f.pattern.extends.format(limit=limit) for f in found))
    return f"{why}. This is not the same function: {other}"


def _run_of(subject: Subject, new: Rewritten, bits: int) -> Run | None:
    """Run code in the place of the user's function; None where it raises."""
    try:
        with new.in_place():
            return subject.recorded(bits)[0]
    except (StablemaxError, ValueError):
        return None


def _is_right_elsewhere(subject: Subject, new: Rewritten, judge: Judge, *, extending: bool = False) -> bool:
    return holds_on_ordinary_inputs(subject, new, judge.reading.format, judge.run.bits, extending=extending)


def _as_expressions(found: Sequence[Finding], backend: str) -> str:
    """Write the code of patterns with their own letters, each beneath the line that it is for."""
    lines: dict[str, None] = {}
    for finding in found:
        source, match = finding.match.root.source, finding.match
        where = f" on line {source.line}" if source is not None else ""
        code = written(finding.code, match, {name: name for name in match.leaves}, backend)
        lines[f"# in the place of {finding.pattern.formula}{where}\n{code}"] = None
    return "\n".join(lines) + "\n"
