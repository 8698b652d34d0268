"""The report of a check, and its result in a sentence or two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stablemax.numerics.formats import get_format
from stablemax.results import Blame, CheckReport, Grade, HazardVerdict, Outcome, ShapeVerdict
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.words import counted, listed
from stablemax.truth.measure import default_max_ulp

if TYPE_CHECKING:
    from stablemax.check.steps import CheckRun


Verdict = TypeVar("Verdict", HazardVerdict, ShapeVerdict)
_PRINTED_LIMIT = 2000


def blamed_line(run: CheckRun) -> Blame | None:
    """Return the line to blame: for a wrong formula that of its mistake, and no other."""
    if run.grade is not Grade.WRONG:
        return None if run.trace is None else run.trace.blame
    if run.mistake is None or not run.mistake.line:
        return None
    return Blame(run.mistake.file, run.mistake.line, -1, f"line {run.mistake.line}: {run.mistake.words}")


def instead_words(run: CheckRun) -> str:
    """Say why the code to write instead holds, and on what it was run; empty where there is none."""
    if run.instead is None:
        return ""
    others, holding = run.instead.inputs - 1, run.instead.holding - 1
    on_others = f", and on {holding} of {counted(others, 'other input')} on which yours fails" if others else ""
    return f"{run.instead.why}. Run on {run.instead.input}, it holds{on_others}"


def report_of(run: CheckRun, command: tuple[str, ...]) -> CheckReport:
    """Put the findings of a run together."""
    info = run.target.info
    blame = blamed_line(run)
    report = CheckReport(
        target=info.name,
        operation=info.operation.name,
        backend=info.backend,
        grade=run.grade,
        grades={f.name: run.grade_in(f.name) for f in run.formats},
        finding="",
        formats=tuple(f.name for f in run.formats),
        hazards=tuple(_of_a_formula(run, verdict) for verdict in run.hazard_verdicts),
        laws=tuple(run.law_verdicts),
        shapes=tuple(_of_a_formula(run, verdict) for verdict in run.shape_verdicts),
        counterexample=run.counterexample,
        blame=blame.sentence if blame else "",
        blame_file=blame.file if blame else "",
        blame_line=blame.line if blame else 0,
        mistake=run.mistake.kind if run.mistake else "",
        mistake_words=run.mistake.words if run.mistake else "",
        instead=run.instead.code if run.instead else "",
        instead_why=instead_words(run),
        cure=run.cure.id if run.cure else "",
        cure_formula=run.cure.formula if run.cure else "",
        contract=run.trials.contract,
        printed="".join(run.trials.printed)[:_PRINTED_LIMIT],
        command=command,
        notes=tuple(run.notes),
    )
    return replace(report, finding=_finding(report, run))


def _of_a_formula(run: CheckRun, verdict: Verdict) -> Verdict:
    """Return the verdict on an input; where a wrong formula fails, that is no instability."""
    is_of_numbers = verdict.failed and verdict.worst is not None
    return replace(verdict, grade=Grade.WRONG) if run.grade is Grade.WRONG and is_of_numbers else verdict


def _finding(report: CheckReport, run: CheckRun) -> str:
    """Put a check's result into a few sentences."""
    if not report.formats and report.grade is Grade.BROKEN:
        return f"{report.target} is broken: it {next(iter(run.refusals.values()), 'gives no answer')}."
    if run.is_random:
        return f"{report.target} is broken: its output changes from one call to the next on the same input."
    if report.passed:
        return " ".join([f"{report.target} is {_by_format(report)}.", *_keeps(report), _evidence(report)])
    meaning = {
        Grade.WRONG: f"wrong: its formula does not compute {report.operation} {run.wrong_in};",
        Grade.BROKEN: "broken:",
        Grade.STABLE: f"{_by_format(report)}, and {report.contract.require} is asked for:",
    }.get(report.grade, f"{_by_format(report)}: its formula is right, its arithmetic is not;")
    failures = _failures(report) if report.formats else [f"it {next(iter(run.refusals.values()))}"]
    sentences = [f"{report.target} is {meaning} {' and '.join(failures)}."]
    # What is wrong comes first in a wrong formula, what breaks first in an unstable one.
    said = [[*_worst(report, run), *_troubles(report)], _line_or_mistake(report)]
    for sentence in reversed(said) if report.grade is Grade.WRONG else said:
        sentences += sentence
    if report.cure and not report.instead:
        sentences.append(f"Use {report.cure}: {report.cure_formula}.")
    return " ".join(sentences)


def _line_or_mistake(report: CheckReport) -> list[str]:
    """Say which line is to blame, or what the mistake is where it has no certain line."""
    if not report.blame:
        return [f"The mistake: {report.mistake_words}."] if report.mistake_words else []
    file_name = Path(report.blame_file).name
    # The line of a library or of a helper is named with its file.
    if file_name in report.target:
        return [f"{report.blame[0].upper()}{report.blame[1:]}."]
    return [f"{file_name}, {report.blame}."]


def _worst(report: CheckReport, run: CheckRun) -> list[str]:
    """Say what the worst failure is, on which hazard or else which shape, and in which format."""
    hazards = [(h.worst, h.hazard, h.format) for h in report.hazards if h.failed and h.worst is not None]
    shapes = [(s.worst, s.shape, s.format) for s in report.shapes if s.failed and s.worst is not None]
    failures = hazards or shapes
    if not failures:
        return []
    # Of equally bad ones, the first like the input that the line is blamed on.
    fmt = "" if run.traced is None else run.traced.format.name
    worst, name, where = max(failures, key=lambda failure: (failure[0].severity, failure[2] == fmt))
    return [f"The worst is {OUTCOMES[worst].word}, on {name} in {where}."]


def _by_format(report: CheckReport) -> str:
    """Say which grade it has in which formats, the worst first.

    A grade of a format that is allowed stands behind those that count.
    """
    names: dict[Grade, list[str]] = {}
    for name, grade in report.grades.items():
        names.setdefault(grade, []).append(name)
    if not names:  # it answers in no format
        return str(report.grade)
    order = sorted(names, key=lambda grade: (grade is not report.grade, -grade.severity))
    clauses = [f"{grade} in {listed(names[grade])}" for grade in order]
    if not report.contract.is_met_by(max(names, key=lambda grade: grade.severity)) and report.passed:
        clauses[-1] += " (allowed)" if order[-1] is Grade.UNSTABLE else ""
    return listed(clauses)


def _troubles(report: CheckReport) -> list[str]:
    """Say what the target did on the first hazard, or else the first shape, that it gave no output for."""
    hazards = [(h.hazard, h.format, h.trouble) for h in report.hazards if h.failed and h.trouble]
    shapes = [(s.shape, s.format, s.trouble) for s in report.shapes if s.failed and s.trouble]
    return [f"On {name} in {fmt} it {trouble}." for name, fmt, trouble in [*hazards, *shapes][:1]]


def _keeps(report: CheckReport) -> list[str]:
    """Say what code of its grade keeps, and where small values lose their digits, or the range ends."""
    limit = "more than half of the digits" if report.contract.max_ulp is None else f"{report.contract.max_ulp:g} ulp"
    kept = "keeps" if report.contract.max_ulp is None else "is within"
    if report.grade is Grade.ACCURATE:
        return [f"It {kept} {limit} of every value."]
    losses = [h for h in report.hazards if h.grade is Grade.STABLE]
    at_the_end = [h for h in losses if h.worst in (Outcome.OVERFLOW, Outcome.NAN)]
    small = [h for h in losses if h not in at_the_end]
    sentences = [f"It {kept} {limit} on the scale of the result."]
    if small:
        count = counted(len({h.hazard for h in small}), "hazard")
        sentences.append(f"Values far below that scale lose their digits on {count}, first {_first(small)}.")
    if at_the_end:
        logits = "logits beyond a quarter of the format's largest number"
        sentences.append(f"It does not hold at the end of the range, for {logits}: {_first(at_the_end)}.")
    return sentences


def _first(losses: list[HazardVerdict]) -> str:
    """Name the first of some hazards, in the format that most people use."""
    hazard = losses[0].hazard
    shown = max((h for h in losses if h.hazard == hazard), key=lambda h: (h.format == "float32", h.format))
    bad = shown.first_bad
    what = "" if bad is None else f" ({bad.output:.3g} where {bad.truth:.3g} is right)"
    return f"{hazard} in {shown.format}{what}"


def _evidence(report: CheckReport) -> str:
    """Say what the verdict rests on."""
    # The error of a result that was flushed to 0 below the smallest normal number says nothing about the code.
    accurate = (Outcome.OK, *report.contract.allow)
    errors = [(h.error_ulp, h.format) for h in report.hazards if h.error_ulp is not None and h.worst in accurate]
    worst = max(errors, key=lambda error: error[0] / default_max_ulp(get_format(error[1])), default=None)
    largest = "" if worst is None else f"; where it is accurate, its error is at most {worst[0]:.3g} ulp ({worst[1]})"
    hazards = f"{counted(_hazards_run(report), 'hazard')} in {listed(report.formats)}"
    return f"Tried on {hazards}{_shapes(report)}{largest}."


def _shapes(report: CheckReport) -> str:
    """Say how many shapes were tried, and how large they were."""
    shapes = report.shapes
    if not shapes:
        return ""
    classes, rows = max(s.classes for s in shapes), max(s.rows for s in shapes)
    size = f"up to {classes:,} classes and {rows:,} rows"
    return f", and on {len(shapes)} shapes of {size} in {shapes[0].format}, in {_dimensions(shapes)} dimensions"


def _dimensions(shapes: Sequence[ShapeVerdict]) -> str:
    """Say how many axes the logits of some shapes have.

    >>> _dimensions([])
    'two'
    """
    words = {1: "one", 2: "two", 3: "three", 4: "four"}
    numbers = sorted({2, *(shape.dimensions for shape in shapes)})
    return "one to four" if numbers == list(words) else listed([words[number] for number in numbers])


def _failures(report: CheckReport) -> list[str]:
    """Say which hazards and laws fail."""
    hazards = {h.hazard for h in report.hazards if h.failed}
    laws = list(dict.fromkeys(law.law for law in report.laws if law.failed))
    failed = [f"{len(hazards)} of {counted(_hazards_run(report), 'hazard')}"] if hazards else []
    shapes = [shape for shape in report.shapes if shape.failed]
    if shapes:
        failed.append(f"{len(shapes)} of {len(report.shapes)} shapes (the smallest: {shapes[0].shape})")
    clauses = [f"it fails {' and '.join(failed)}"] if failed else []
    if laws:
        clauses.append(f"it breaks {'the law' if len(laws) == 1 else 'the laws'} of {listed(laws)}")
    return clauses or ["the search found an input that breaks it"]


def _hazards_run(report: CheckReport) -> int:
    return len({h.hazard for h in report.hazards if not h.skipped})
