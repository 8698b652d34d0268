"""What `judge` found: its document, row and check."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

from stablemax.render import document as doc
from stablemax.render import figures, judged_words
from stablemax.render.forms import Checks, ResultKind, Rows
from stablemax.results import ErrorBin, FaultyCell, JudgeReport, Verdict
from stablemax.text.outcomes import GRADES, OUTCOMES, Grade, Outcome
from stablemax.text.words import percentage, precise_percentage

_NEAREST = 0.5
"""The largest error of a number that is nearest to the exact value, in ulps."""
_MOST_BARS = 8


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
    if report.correctly_rounded_share is not None:
        details.insert(0, f"correctly rounded: {precise_percentage(report.correctly_rounded_share)} of the cells")
    end = [*([doc.words(*details)] if details else []), doc.Legend([*_legend(shares), *judged_words.meanings(details)])]
    style = GRADES[report.grade].style if report.passed else "bold red"
    finding = doc.Finding(report.finding, style, report.grade.value)
    # What one line says needs no table.
    errors = [[_histogram(report)]] if len(report.errors) > 1 else []
    cells = [[_faulty_cells(report)]] if len(report.faulty_cells) > 1 else []
    return doc.report(finding, facts, [[matrix], *errors, *cells, end], report.command)


def _histogram(report: JudgeReport) -> doc.Bars:
    """Draw how many cells have which error."""
    total = sum(errors.cells for errors in report.errors)
    bars = [
        doc.Bar(
            "",
            _range_words(errors),
            errors.cells,
            f"{errors.cells:,} ({percentage(errors.cells / total)})",
            errors.up_to_ulp <= _NEAREST,
        )
        for errors in _fewer(report.errors)
    ]
    return doc.Bars("finite cells by their error in ulps", "", [bars])


def _fewer(errors: Sequence[ErrorBin]) -> list[ErrorBin]:
    """Put neighbouring ranges together until they are few, but for the first, which is that of the nearest numbers."""
    shown = list(errors)
    while len(shown) > _MOST_BARS:
        first = [errors[0]] if errors[0].up_to_ulp <= _NEAREST else []
        rest = shown[len(first) :]
        pairs = [rest[i : i + 2] for i in range(0, len(rest), 2)]
        shown = first + [ErrorBin(pair[0].above_ulp, pair[-1].up_to_ulp, sum(e.cells for e in pair)) for pair in pairs]
    return shown


def _range_words(errors: ErrorBin) -> str:
    """Name a range of errors."""
    if math.isinf(errors.up_to_ulp):
        return f"more than {errors.above_ulp:.3g}"
    beginning = f"{errors.above_ulp:.3g} to " if errors.above_ulp else "up to "
    return f"{beginning}{errors.up_to_ulp:.3g}"


def _faulty_cells(report: JudgeReport) -> doc.Matrix:
    """Name the first wrong cells."""
    fmt = report.verdict.format
    columns = ("logit", "output", "right", "error", "outcome")
    rows = [
        [
            *(doc.Cell(doc.Span(text)) for text in _numbers(cell, fmt)),
            doc.Cell(doc.Span(f" {OUTCOMES[cell.outcome].word}", sign=cell.outcome)),
        ]
        for cell in report.faulty_cells
    ]
    labels = [doc.Span(f"row {cell.row}, class {cell.column}") for cell in report.faulty_cells]
    title = f"the first {len(labels)} wrong cells"
    return doc.Matrix(title, [doc.Column(n) for n in columns], labels, rows, title_above=True)


def _numbers(cell: FaultyCell, fmt: str) -> tuple[str, ...]:
    """Write the numbers of a wrong cell."""
    return (
        figures.exact(cell.logit),
        figures.number(cell.output, fmt),
        figures.number(cell.truth, fmt),
        figures.error(cell.error_ulp),
    )


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
    share = report.correctly_rounded_share
    return [
        {
            "kind": "judge",
            "operation": report.operation,
            **dataclasses.asdict(report.verdict),
            "correctly_rounded_share": share,
        }
    ]


def rows(report: JudgeReport) -> Rows:
    """Give one row."""
    row = judged_words.verdict_row(report.operation, report.verdict)
    columns = (*judged_words.VERDICT_COLUMNS, "correctly_rounded_share")
    return Rows(columns, [{**row, "correctly_rounded_share": report.correctly_rounded_share}])


def checks(report: JudgeReport, _: frozenset[Outcome | Grade]) -> Checks:
    """Give one check; the contract says what is a failure."""
    verdict = report.verdict
    check = judged_words.outcome_check("stablemax.judge", f"{report.output} as {report.operation}", verdict)
    if verdict.worst is not None and not report.passed:
        details = judged_words.place_words(verdict.first_bad, verdict.format)
        check = dataclasses.replace(check, failure=report.finding, kind=verdict.worst.value, details=details)
    return Checks(f"stablemax judge {report.output}", report.finding, (check,))


JUDGEMENT = ResultKind("a judgement", "judge", document=document, records=records, rows=rows, checks=checks)
