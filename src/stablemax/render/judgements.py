"""What `judge` found: its document, row and check."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from stablemax.render import document as doc
from stablemax.render import judged_words
from stablemax.render.forms import Checks, ResultKind, Rows
from stablemax.results import JudgeReport, Verdict
from stablemax.text.outcomes import GRADES, OUTCOMES, Grade, Outcome
from stablemax.text.words import percentage


def document(report: JudgeReport) -> doc.Document:
    """Give the verdict, the outcomes with their shares, and all the figures."""
    facts = [
        judged_words.input_line(report.input),
        f"judged as {report.operation} in {report.verdict.format}. {judged_words.contract_words(report.contract)}",
    ]
    shares = report.verdict.shares
    matrix = doc.Matrix(
        "outcome",
        [doc.Column("share of the cells"), doc.Column("of the rows"), doc.Column("grade")],
        [doc.Span(f" {OUTCOMES[outcome].word}", sign=outcome) for outcome in shares],
        [[doc.Cell(doc.Span(text)) for text in _row(report.verdict, outcome)] for outcome in shares],
    )
    details = judged_words.detail_lines(report.verdict, f"the bound of {report.bound_of}")
    end = [*([doc.words(*details)] if details else []), doc.Legend([*_legend(shares), *judged_words.meanings(details)])]
    style = GRADES[report.grade].style if report.passed else "bold red"
    finding = doc.Finding(report.finding, style, report.grade.value)
    return doc.report(finding, facts, [[matrix], end], report.command)


def _legend(shares: Iterable[Outcome]) -> list[doc.Span]:
    """Explain the outcomes and the grades."""
    by_digits = "grade: accurate keeps more than half of the digits of every value, stable on the scale of the result"
    return [
        doc.Span(" ok: accurate", sign=Outcome.OK),
        *doc.legend_of((outcome, None) for outcome in shares),
        doc.Span(f"{by_digits}, unstable neither"),
    ]


def _row(verdict: Verdict, outcome: Outcome) -> tuple[str, ...]:
    """Say how many cells and rows have an outcome, and what their grade is."""
    cells = verdict.shares[outcome]
    shares = (cells, verdict.row_shares.get(outcome, cells))
    return (*map(percentage, shares), verdict.outcome_grades[outcome].value)


def records(report: JudgeReport) -> list[dict[str, Any]]:
    """Give one record."""
    return [{"kind": "judge", "operation": report.operation, **dataclasses.asdict(report.verdict)}]


def rows(report: JudgeReport) -> Rows:
    """Give one row."""
    return Rows(judged_words.VERDICT_COLUMNS, [judged_words.verdict_row(report.operation, report.verdict)])


def checks(report: JudgeReport, _: frozenset[Outcome | Grade]) -> Checks:
    """Give one check; the contract says what is a failure."""
    verdict = report.verdict
    check = judged_words.outcome_check("stablemax.judge", f"{report.output} as {report.operation}", verdict)
    if verdict.worst is not None and not report.passed:
        details = judged_words.place_words(verdict.first_bad, verdict.format)
        check = dataclasses.replace(check, failure=report.finding, kind=verdict.worst.value, details=details)
    return Checks(f"stablemax judge {report.output}", report.finding, (check,))


JUDGEMENT = ResultKind("a judgement", "judge", document=document, records=records, rows=rows, checks=checks)
