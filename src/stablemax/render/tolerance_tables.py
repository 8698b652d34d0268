"""A tolerance: its document, rows, records and checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.forms import Check, Checks, ResultKind, Rows
from stablemax.results import BugRun, SoundRun, Tolerance, ToleranceReport
from stablemax.text.outcomes import Grade, Outcome
from stablemax.text.words import counted, percentage

COLUMNS = ("kind", "name", "accumulation", "error", "error_ulp", "over_proved", "is_told", "passes", "words")
_MEANINGS = (
    "rtol and atol: |actual - expected| <= atol + rtol |expected| in each cell, as in torch and NumPy",
    "1 ulp: the distance between two neighbouring numbers of the format",
    "proved: no correct code needs more, rounded up to two digits",
    "found: the least part of that which covers every error that was found",
)
_BUGS_ARE = (
    "told: its error on the uniform rows is beyond what correct code may need, so that a tolerance can tell it; "
    "else no tolerance tells it from correct code at this scale",
)


def document(result: ToleranceReport) -> doc.Document:
    """Say what is proved and found, give the lines to paste, then what was run."""
    sections: list[doc.Section] = [[_table(result), doc.Legend([doc.Span(text) for text in _MEANINGS])]]
    if result.lines:
        pasted = "\n".join(f"# {library}\n{line}" for library, line in result.lines.items())
        sections.append([doc.Code("To paste, for expected values in float64", pasted)])
    sections.append([doc.Heading("Sound code that was run"), _sound(result)])
    if result.bugs:
        sections.append([doc.Heading("Seeded bugs that were run"), _bugs(result), doc.aside(*_BUGS_ARE)])
    style = "bold" if result.is_right else "bold red"
    return doc.report(doc.Finding(result.finding, style), _facts(result), sections, result.command)


def _facts(result: ToleranceReport) -> list[str]:
    """Say what was examined, and what the proof rests on."""
    lines = [
        f"input: {counted(result.classes, 'class')}, logits of a size of at most {result.scale:g}; "
        f"{counted(result.rows, 'row')}, uniform and built, each result held against the exact one",
    ]
    if result.sums:
        lines.append(f"sums: {result.sums}")
    if result.formula:
        lines += [f"correct code: {result.formula}", f"assumed: {'; '.join(result.assumes)}"]
    return lines


def _table(result: ToleranceReport) -> doc.Table:
    proved = [*_pair(result.proved), _ulps(result), "" if result.proved else "nothing"]
    found = [*_pair(result.found), figures.error(result.found_ulp, "").strip(), f"{result.found_error:.3g}"]
    rows = [["proved", *proved], ["found", *found]]
    if result.asked is not None:
        rows.append(["asked about", f"{result.asked.rtol:.3g}", f"{result.asked.atol:.3g}", "", ""])
    return doc.Table(["", "rtol", "atol", "ulps", "largest |error|"], rows)


def _pair(tolerance: Tolerance | None) -> tuple[str, str]:
    return ("-", "-") if tolerance is None else (f"{tolerance.rtol:.2g}", f"{tolerance.atol:.2g}")


def _ulps(result: ToleranceReport) -> str:
    if result.proved is None:
        return "-"
    return "no number of them" if result.proved_ulp is None else f"{result.proved_ulp:.6g}"


def _sound(result: ToleranceReport) -> doc.Table:
    """List what was run; how sums are added where there are any."""
    sums, asked = bool(result.sums), result.asked is not None
    headers = ["variant", *(["sums"] * sums), "largest |error|", "ulps", "of the proved", *(["asked about"] * asked)]
    rows = [
        [
            run.variant,
            *([run.accumulation] * sums),
            f"{run.error:.3g}",
            figures.error(run.error_ulp, "").strip(),
            "-" if run.over_proved is None else percentage(run.over_proved),
            *(["passes" if run.passes else "fails"] * asked),
        ]
        for run in result.sound
    ]
    return doc.Table(headers, rows, whole=("variant",))


def _bugs(result: ToleranceReport) -> doc.Table:
    """List what passes and is told first, then what is told, then the others."""
    order = sorted(result.bugs, key=lambda bug: (not bug.is_told, not bug.passes))
    headers = ["bug", "told", "largest |error|", "what is wrong"]
    rows = [
        [
            bug.name,
            "yes" if bug.is_told else "no",
            *([] if bug.passes is None else ["passes" if bug.passes else "fails"]),
            f"{bug.error:.3g}",
            bug.words,
        ]
        for bug in order
    ]
    if result.asked is not None:
        headers.insert(2, "asked about")
    return doc.Table(headers, rows, whole=("bug",))


def _records(result: ToleranceReport) -> Iterator[dict[str, Any]]:
    for run in result.sound:
        yield {"kind": "sound", "name": run.variant, **_fields(run)}
    for bug in result.bugs:
        yield {"kind": "bug", **_fields(bug)}


def _fields(run: SoundRun | BugRun) -> dict[str, Any]:
    return {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}


def rows(result: ToleranceReport) -> Rows:
    """Give a row for each code that was run."""
    return Rows(COLUMNS, ({name: record.get(name) for name in COLUMNS} for record in _records(result)))


def checks(result: ToleranceReport, _: frozenset[Outcome | Grade]) -> Checks:
    """Count what ought to pass, and what ought not to."""
    of_sound = [
        Check(
            "sound code",
            f"{run.variant}, {run.accumulation} sums",
            result.format,
            f"largest error {run.error:.3g}",
            f"is off by {run.worst.error:.3g} where {run.worst.allowed:.3g} is allowed" if run.passes is False else "",
            "too-tight" if run.passes is False else "",
        )
        for run in result.sound
    ]
    of_bugs = [
        Check(
            "seeded bugs",
            bug.name,
            result.format,
            f"largest error {bug.error:.3g}",
            f"passes: {bug.words}" if bug.passes and bug.is_told else "",
            "let-through" if bug.passes and bug.is_told else "",
            "" if bug.is_told else "no tolerance tells it at this scale",
        )
        for bug in result.bugs
    ]
    return Checks(f"tolerance of {result.operation}", result.finding, (*of_sound, *of_bugs))


TOLERANCE = ResultKind("a tolerance", "tolerance", document=document, records=_records, rows=rows, checks=checks)
"""``stablemax tolerance``."""
