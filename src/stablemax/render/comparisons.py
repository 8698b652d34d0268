"""A comparison: its document, rows and checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from stablemax.render import document as doc
from stablemax.render import figures, judged_words
from stablemax.render.forms import Check, Checks, ResultKind, Rows
from stablemax.render.overviews import formats_held, libraries_line, overview, unfit_words
from stablemax.render.verdict_cells import verdict_cell, verdict_legend
from stablemax.results import Comparison, OperationReport, Verdict
from stablemax.text.outcomes import OUTCOMES, Grade, Outcome
from stablemax.text.words import percentage

_NARROW = 13  # "✓ ok 0.50 ulp", "≈ inaccurate", "overflow 100%"
_WIDE = 27  # "◐ stable, small values lost"


def document(result: Comparison, *, details: bool = False, show_values: bool = False) -> doc.Document:
    """Say what breaks, then show tables, then what the words mean; of the main formulas alone, one table."""
    more = [
        [s for v in r.verdicts for s in (*([_details(v)] if details else []), *([_values(v)] if show_values else []))]
        for r in result.reports
    ]
    if result.is_overview:
        first, last = overview(result)
        between = [section for of_report in more for section in of_report if section]
        return [first, *between, last] if between else [[*first, *last]]
    formats = formats_held(result)
    matrices = [_matrix(report, formats) for report in result.reports]
    sections: list[doc.Section] = []
    if any(more):
        for matrix, of_report in zip(matrices, more, strict=True):
            sections += [[matrix], *of_report]
    elif formats:
        sections.append([doc.Matrices(matrices)])
    shown = [v for v in result.verdicts if v.format in formats]
    lead = doc.Span("worst outcome of all cells, with its share of cells and rows or the largest error")
    legend = verdict_legend(shown, (o for v in shown for o in v.shares) if any(more) else ())
    unfit = unfit_words(result)
    sections.append([*([doc.Lines([unfit])] if unfit else []), doc.Legend([lead, *legend])])
    return doc.report(doc.Finding(result.finding), facts(result), sections, result.command)


def facts(result: Comparison) -> list[str]:
    """Say what was compared, and how."""
    added = judged_words.added_words(result.accumulation)
    lines = [judged_words.input_line(result.input), f"sums: {added}. {judged_words.limit_of(result.max_ulp)}"]
    return [*lines, libraries_line(result)] if result.libraries else lines


def _matrix(report: OperationReport, formats: Sequence[str]) -> doc.Matrix:
    names = list(dict.fromkeys(v.variant for v in report.verdicts))
    cells = {(v.variant, v.format): verdict_cell(v) for v in report.verdicts}
    return doc.Matrix(
        report.operation,
        [doc.Column(fmt) for fmt in formats],
        [doc.Span(judged_words.row_label(name)) for name in names],
        [[cells[name, fmt] for fmt in formats] for name in names],
        wide_width=_NARROW,
        wide_room=_WIDE,
    )


def _details(verdict: Verdict) -> doc.Section:
    heading = doc.Heading(f"{verdict.variant} in {verdict.format}")
    if verdict.worst is None:
        return heading, doc.Lines([[doc.Span(f"  not run: {verdict.skipped}", "dim")]])
    shares = [doc.Span(f" {OUTCOMES[o].word} {judged_words.share_words(verdict, o)}  ", sign=o) for o in verdict.shares]
    measured = doc.words(*(f"  {line}" for line in judged_words.detail_lines(verdict)))
    return heading, doc.Lines([[doc.Span("  "), *shares]]), measured


def _values(verdict: Verdict) -> doc.Section:
    """Show rows of an output, the exact row beneath each."""
    if not verdict.values:
        return ()
    lines = []
    for row in verdict.values:
        spans = [doc.Span(f"  row {row.row}:")]
        for value, outcome in zip(row.values, row.outcomes, strict=True):
            sign = None if outcome is Outcome.OK else outcome
            spans += [doc.Span(" "), doc.Span(figures.number(value, verdict.format), sign=sign)]
        exact = " ".join(figures.number(value, verdict.format) for value in row.truth)
        lines += [spans, [doc.Span(f"{'exact:':>{len(spans[0].text)}} {exact}", "dim")]]
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
    failure = f"{check.name}: {OUTCOMES[kind].word} in {percentage(verdict.shares[kind])} of the cells"
    if kind is not verdict.worst:
        # The cause and the place belong to the worst outcome, which does not count as a failure here.
        return dataclasses.replace(check, failure=failure, kind=kind.value)
    failure = f"{failure}: {verdict.cause}" if verdict.cause else failure
    details = judged_words.gives(verdict.first_bad, verdict.format)
    return dataclasses.replace(check, failure=failure, kind=kind.value, details=details)


COMPARISON = ResultKind("a comparison", "comparison", document=document, records=records, rows=rows, checks=checks)
