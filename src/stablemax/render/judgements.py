"""What `judge` found: its document, row and check."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from stablemax.render import figures
from stablemax.render.checks import contract_words
from stablemax.render.comparisons import (
    VERDICT_COLUMNS,
    detail_lines,
    input_line,
    outcome_words,
    place_words,
    verdict_row,
)
from stablemax.render.document import Cell, Column, Command, Document, Facts, Finding, Lines, Matrix, Section, Span
from stablemax.render.forms import Check, Checks, ResultKind, Rows
from stablemax.text.outcomes import OUTCOMES, Outcome

if TYPE_CHECKING:
    from stablemax.results import JudgeReport


def document(report: JudgeReport) -> Document:
    """Give the verdict, the outcomes with their shares, and all the figures."""
    shares = report.verdict.shares
    matrix = Matrix(
        "outcome",
        (Column("share of the cells"),),
        tuple(Span(f" {OUTCOMES[outcome].word}", sign=outcome) for outcome in shares),
        tuple((Cell(Span(figures.share(share))),) for share in shares.values()),
    )
    details = detail_lines(report.verdict, f"the bound of {report.bound_of}")
    end: Section = (Lines(tuple((Span(line),) for line in details)),) if details else ()
    return (
        (Finding(report.finding, "bold green" if report.passed else "bold red"),),
        (Facts(tuple(facts(report))),),
        (matrix,),
        (*end, Command(report.command)) if report.command else end,
    )


def facts(report: JudgeReport) -> list[str]:
    """Say what was judged, and against what."""
    return [
        input_line(report.input),
        f"judged as {report.operation} in {report.verdict.format}. {contract_words(report.contract)}",
    ]


def records(report: JudgeReport) -> list[dict[str, Any]]:
    """Give one record."""
    return [{"kind": "judge", "operation": report.operation, **dataclasses.asdict(report.verdict)}]


def rows(report: JudgeReport) -> Rows:
    """Give one row."""
    return Rows(VERDICT_COLUMNS, [verdict_row(report.operation, report.verdict)])


def checks(report: JudgeReport, _: frozenset[Outcome]) -> Checks:
    """Give one check; what is a failure the contract has said."""
    verdict = report.verdict
    check = Check("stablemax.judge", f"{report.output} as {report.operation}", verdict.format)
    if verdict.worst is None:
        check = dataclasses.replace(check, skipped=verdict.skipped or "not run")
    else:
        check = dataclasses.replace(check, outcome=outcome_words(verdict.worst, verdict.error_ulp))
        if not report.passed:
            details = place_words(verdict.first_bad, verdict.format)
            check = dataclasses.replace(check, failure=report.finding, kind=verdict.worst.value, details=details)
    return Checks(f"stablemax judge {report.output}", report.finding, (check,))


JUDGEMENT = ResultKind("a judgement", "judge", document=document, records=records, rows=rows, checks=checks)
