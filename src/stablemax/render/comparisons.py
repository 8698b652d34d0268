"""A comparison: its document, rows and checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from stablemax.operations import is_built_in
from stablemax.render import document as doc
from stablemax.render import figures, judged_words
from stablemax.render.forms import Check, Checks, ResultKind, Rows
from stablemax.results import Comparison, OperationReport, Verdict
from stablemax.text.outcomes import OUTCOMES, Grade, Outcome

_NARROW = 13  # "✓ ok 0.50 ulp", "≈ inaccurate", "overflow 100%"
_WIDE = 27  # "◐ stable, small values lost"
_ADDED = {
    "library": "as the library adds",
    "sequential": "one by one in their own format",
    "pairwise": "pairwise in their own format",
    "float32": "in float32",
    "float64": "in float64",
}


def document(result: Comparison, *, details: bool = False, show_values: bool = False) -> doc.Document:
    """Say what breaks, then show a table for each operation, then what the words mean."""
    sections: list[doc.Section] = []
    for report in result.reports:
        sections.append([_matrix(report, result.formats)])
        sections += [_details(v) for v in report.verdicts if details]
        sections += [_values(v) for v in report.verdicts if show_values and v.values]
    seen = [(v.worst, v.grade) for v in result.verdicts]
    if details or show_values:
        seen += [(o, None) for v in result.verdicts for o in v.shares]
    lead = doc.Span("worst outcome of all cells, with its share of cells and rows or the largest error")
    sections.append([doc.Legend([lead, *doc.legend_of(seen)])])
    return doc.report(doc.Finding(result.finding), _facts(result), sections, result.command)


def _facts(result: Comparison) -> list[str]:
    """Say what was compared, and how."""
    by_policy: dict[str, list[str]] = {}
    for fmt, policy in result.accumulation.items():
        by_policy.setdefault(policy, []).append(fmt)
    added = "; ".join(f"{' and '.join(names)} {_ADDED[policy]}" for policy, names in by_policy.items())
    lines = [judged_words.input_line(result.input), f"sums: {added}. {judged_words.limit_of(result.max_ulp)}"]
    return [*lines, _libraries(result)] if result.libraries else lines


def _libraries(result: Comparison) -> str:
    """Say which other libraries took part, and how."""
    device = f" on {result.device}" if result.device else ""
    ours = f"; our variants run on {result.backend} arrays{device}" if result.backend != "numpy" else ""
    theirs = ", whose built-ins add in their own way" if any(is_built_in(v.variant) for v in result.verdicts) else ""
    return f"with {judged_words.library_words(result.libraries)}{theirs}{ours}"


def _matrix(report: OperationReport, formats: tuple[str, ...]) -> doc.Matrix:
    names = list(dict.fromkeys(v.variant for v in report.verdicts))
    cells = {(v.variant, v.format): _cell(v) for v in report.verdicts}
    return doc.Matrix(
        report.operation,
        [doc.Column(fmt) for fmt in formats],
        [doc.Span(judged_words.row_label(name)) for name in names],
        [[cells[name, fmt] for fmt in formats] for name in names],
        narrow_width=_NARROW,
        wide_width=_NARROW,
        wide_room=_WIDE,
    )


def _cell(verdict: Verdict) -> doc.Cell:
    """Show the worst outcome with the largest error where all is finite, else with its share; or that it is stable."""
    worst = verdict.worst
    if worst is None:
        return doc.Cell(judged_words.NOT_RUN)
    if verdict.grade is Grade.STABLE:
        return judged_words.stable_cell(worst)
    if worst is Outcome.OK or judged_words.has_error(verdict):
        return judged_words.outcome_cell(worst, figures.short_error(verdict.error_ulp), _NARROW)
    return judged_words.outcome_cell(worst, judged_words.share_words(verdict, worst), _NARROW)


def _details(verdict: Verdict) -> doc.Section:
    heading = doc.Heading(f"{verdict.variant} in {verdict.format}")
    if verdict.worst is None:
        return heading, doc.Lines([[doc.Span(f"  not run: {verdict.skipped}", "dim")]])
    shares = [doc.Span(f" {OUTCOMES[o].word} {judged_words.share_words(verdict, o)}  ", sign=o) for o in verdict.shares]
    measured = doc.words(*(f"  {line}" for line in judged_words.detail_lines(verdict)))
    return heading, doc.Lines([[doc.Span("  "), *shares]]), measured


def _values(verdict: Verdict) -> doc.Section:
    lines = []
    for row in verdict.values:
        spans = [doc.Span(f"  row {row.row}:")]
        for value, outcome in zip(row.values, row.outcomes, strict=True):
            sign = None if outcome is Outcome.OK else outcome
            spans += [doc.Span(" "), doc.Span(figures.number(value, verdict.format), sign=sign)]
        lines.append(spans)
    return doc.Heading(f"{verdict.variant} in {verdict.format}"), doc.Lines(lines)


def records(result: Comparison) -> Iterator[dict[str, Any]]:
    """Give a record for each verdict."""
    for report in result.reports:
        for verdict in report.verdicts:
            yield {"kind": "verdict", "operation": report.operation, **dataclasses.asdict(verdict)}


def rows(result: Comparison) -> Rows:
    """Give a row for each verdict."""
    values = (judged_words.verdict_row(r.operation, v) for r in result.reports for v in r.verdicts)
    return Rows(judged_words.VERDICT_COLUMNS, values)


def checks(result: Comparison, failures: frozenset[Outcome | Grade]) -> Checks:
    """Give a check for each verdict."""
    every = (_check(v, r.operation, failures) for r in result.reports for v in r.verdicts)
    return Checks("stablemax compare", result.finding, tuple(every))


def _check(verdict: Verdict, operation: str, failures: frozenset[Outcome | Grade]) -> Check:
    check = judged_words.outcome_check(f"stablemax.compare.{operation}", verdict.variant, verdict)
    kind = judged_words.failing_outcome(verdict, verdict.shares, failures)
    if kind is None:
        return check
    failure = f"{check.name}: {OUTCOMES[kind].word} in {figures.share(verdict.shares[kind])} of the cells"
    if kind is not verdict.worst:
        # The cause and the place belong to the worst outcome, which does not count as a failure here.
        return dataclasses.replace(check, failure=failure, kind=kind.value)
    failure = f"{failure}: {verdict.cause}" if verdict.cause else failure
    details = judged_words.gives(verdict.first_bad, verdict.format)
    return dataclasses.replace(check, failure=failure, kind=kind.value, details=details)


COMPARISON = ResultKind("a comparison", "comparison", document=document, records=records, rows=rows, checks=checks)
