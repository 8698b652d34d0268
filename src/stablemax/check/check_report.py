"""The report of a check, and its result in a sentence or two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stablemax.results import CheckReport, Outcome, ShapeVerdict, Standing
from stablemax.text.words import counted, listed

if TYPE_CHECKING:
    from stablemax.check.steps import CheckRun


_PRINTED_LIMIT = 2000


def report_of(run: CheckRun, command: tuple[str, ...]) -> CheckReport:
    """Put the findings of a run together."""
    info = run.target.info
    blame = None if run.trace is None else run.trace.blame
    report = CheckReport(
        target=info.name,
        operation=info.operation.name,
        backend=info.backend,
        standing=run.standing,
        finding="",
        formats=tuple(f.name for f in run.formats),
        hazards=tuple(run.hazard_verdicts),
        laws=tuple(run.law_verdicts),
        shapes=tuple(run.shape_verdicts),
        counterexample=run.counterexample,
        blame=blame.sentence if blame else "",
        blame_file=blame.file if blame else "",
        blame_line=blame.line if blame else 0,
        cure=run.cure.id if run.cure else "",
        cure_formula=run.cure.formula if run.cure else "",
        contract=run.trials.contract,
        printed="".join(run.trials.printed)[:_PRINTED_LIMIT],
        command=command,
        notes=tuple(run.notes),
    )
    return replace(report, finding=_finding(report, run))


def _finding(report: CheckReport, run: CheckRun) -> str:
    """Put a check's result into a sentence or two."""
    if report.standing is Standing.GOOD:
        return _good(report)
    if not report.formats:
        return f"{report.target} is broken: it {next(iter(run.refusals.values()), 'gives no answer')}."
    meaning = {
        Standing.WRONG: f"wrong: its formula does not compute {report.operation} {run.wrong_in};",
        Standing.UNSTABLE: "unstable: its formula is right, its arithmetic is not;",
        Standing.BROKEN: "broken:",
    }[report.standing]
    if run.is_random:
        return f"{report.target} is broken: its output changes from one call to the next on the same input."
    sentences = [f"{report.target} is {meaning} {' and '.join(_failures(report))}."]
    if not report.blame:
        sentences += _troubles(report)
    if report.blame:
        file_name = Path(report.blame_file).name
        # The line of a library or of a helper is named with its file.
        is_own_file = file_name in report.target
        sentences.append(
            f"{report.blame[0].upper()}{report.blame[1:]}." if is_own_file else f"{file_name}, {report.blame}."
        )
    if report.cure:
        sentences.append(f"Use {report.cure}: {report.cure_formula}.")
    return " ".join(sentences)


def _troubles(report: CheckReport) -> list[str]:
    """Say what the target did on the first hazard, or else the first shape, that it gave no output for."""
    hazards = [(h.hazard, h.format, h.trouble) for h in report.hazards if h.failed and h.trouble]
    shapes = [(s.shape, s.format, s.trouble) for s in report.shapes if s.failed and s.trouble]
    return [f"On {name} in {fmt} it {trouble}." for name, fmt, trouble in [*hazards, *shapes][:1]]


def _good(report: CheckReport) -> str:
    # The error of a result that was flushed to 0 below the smallest normal number says nothing about the code.
    counted_too = (Outcome.OK, *report.contract.allow)
    errors = [h.error_ulp for h in report.hazards if h.error_ulp is not None and h.worst in counted_too]
    largest = f"; the largest error is {max(errors):.3g} ulp" if errors else ""
    hazards = f"{counted(_hazards_run(report), 'hazard')} in {listed(report.formats)}"
    return f"{report.target} is good: it keeps its contract on {hazards}{_shapes(report)}{largest}."


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
