"""What `check` found of a function that is held to no operation: its document, rows and checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stablemax.render import document as doc
from stablemax.render import figures, judged_words
from stablemax.render.forms import Check, Checks, ResultKind, in_columns
from stablemax.results import FunctionCheck, TriedFormat
from stablemax.text.outcomes import GRADES, OUTCOMES, Grade, Outcome

COLUMNS = (
    *("format", "grade", "tried", "proved", "broken", "undefined", "ill_conditioned", "loses_small"),
    *("refused", "not_followed", "worst", "error_ulp", "failed"),
)
_COUNTS = {
    "inputs": "tried, within the ranges",
    "proved": "held against exact arithmetic on the same code: those on which a fault would show first",
    "broken": "inf, NaN, 0 or more than half of the digits gone, where the exact value is an ordinary number",
    "no value": "no number of the format is right in exact arithmetic either: the input is to blame",
    "small": "numbers far below the largest of a result lose their digits",
    "ill-posed": "a few roundings of the input change the exact result as much as the code is off",
}


def document(report: FunctionCheck, *, details: bool = False) -> doc.Document:  # noqa: ARG001 - nothing is left out
    """Give the verdict, what it rests on in each format, the smallest input that breaks it, and a test."""
    facts = [
        f"input: {report.source}",
        f"checked on {report.backend} arrays, judged by exact arithmetic on the same code. "
        f"{judged_words.contract_words(report.contract)}",
    ]
    headers = ("format", "verdict", *_COUNTS, "largest error")
    rows = [_row(tried) for tried in report.formats]
    legend = [doc.Span(f"{word}: {meaning}") for word, meaning in _COUNTS.items()]
    legend.append(doc.Span("largest error: of the results that hold"))
    units = judged_words.meanings(["1 ulp"] if any(tried.error_ulp for tried in report.formats) else [])
    sections: list[doc.Section] = [[doc.Table(headers, rows), doc.Legend([*legend, *units])]]
    if report.instead:
        sections.append([doc.words(f"why: {report.instead_why}"), doc.Code("write this instead:", report.instead)])
    example = report.counterexample
    if example is not None and example.code:
        sections.append([doc.Code("smallest input that breaks it:", example.code)])
    if example is not None and example.test:
        sections += [[doc.Code("a test that fails until it is mended:", example.test)], []]
    finding = doc.Finding(report.finding, GRADES[report.grade].style, report.grade.value)
    return doc.report(finding, facts, sections, report.command)


def _row(tried: TriedFormat) -> list[str]:
    allowed = " (allowed)" if tried.grade is Grade.UNSTABLE and not tried.failed else ""
    outcome = f": {OUTCOMES[tried.worst].word}" if tried.worst is not Outcome.OK else ""
    counts = (tried.tried, tried.proved, tried.broken, tried.undefined, tried.loses_small, tried.ill_conditioned)
    error = "" if tried.error_ulp is None else figures.error(tried.error_ulp)
    return [tried.format, f"{tried.grade}{outcome}{allowed}", *(f"{n:,}" for n in counts), error]


def records(report: FunctionCheck) -> Iterator[dict[str, Any]]:
    """Give a record for each format."""
    for tried in report.formats:
        yield {"kind": "format", "target": report.target, **dataclasses.asdict(tried)}


def checks(report: FunctionCheck, _: frozenset[Outcome | Grade]) -> Checks:
    """Give a check for the verdict, and one for each format."""
    group = f"stablemax.check.{report.target}"
    whole = Check(group, "verdict", outcome=report.grade.value)
    if not report.passed:
        example = report.counterexample
        details = "" if example is None else example.code.rstrip()
        whole = replace(
            whole, failure=report.finding, kind=report.grade.value, details=details, file=report.blame_file,
            line=report.blame_line,
        )  # fmt: skip
    every = [whole, *(_check(tried, group) for tried in report.formats)]
    return Checks(f"stablemax check {report.target}", report.finding, tuple(every))


def _check(tried: TriedFormat, group: str) -> Check:
    check = Check(group, "inputs in the ranges", tried.format, tried.grade.value)
    if not tried.failed:
        return check
    words = f"{tried.broken:,} of {tried.proved:,} inputs break it"
    return replace(check, failure=f"{check.name}: {words}", kind=tried.worst.value)


FUNCTION_CHECK = ResultKind(
    "a check of any function",
    "function-check",
    document=document,
    records=records,
    rows=in_columns(COLUMNS, records),
    checks=checks,
)
