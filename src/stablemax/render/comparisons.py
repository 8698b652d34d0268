"""A comparison: its document, rows and checks."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from stablemax.operations import is_built_in
from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.forms import Check, Checks, ResultKind, Rows
from stablemax.text.outcomes import OUTCOMES, Outcome
from stablemax.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.results import Comparison, InputSummary, OperationReport, Place, Standout, Verdict

_FIGURES = ("error_ulp", "error_u", "error_over_bound", "sum_error", "mean", "mean_error_ulp")
VERDICT_COLUMNS = (
    *("operation", "variant", "format", "accumulation", "worst"),
    *(outcome.value for outcome in Outcome),
    *_FIGURES,
    *("first_bad_row", "first_bad_column", "first_bad_logit", "first_bad_output", "first_bad_truth"),
    *("cause", "skipped"),
)
_NARROW = 13  # "✓ ok 0.50 ulp", "≈ inaccurate", "overflow 100%"
_WIDE = 24  # "≈ inaccurate 1.6e15 ulp"
_ADDED = {
    "library": "as the library adds",
    "sequential": "one by one in their own format",
    "pairwise": "pairwise in their own format",
    "float32": "in float32",
    "float64": "in float64",
}


def document(result: Comparison, *, details: bool = False, show_values: bool = False) -> doc.Document:
    """Say what breaks, then show a table for each operation, then what the words mean."""
    sections: list[doc.Section] = [(doc.Finding(result.finding),), (doc.Facts(tuple(facts(result))),)]
    for report in result.reports:
        sections.append((_matrix(report, result.formats),))
        if details:
            sections += [_details(v) for v in report.verdicts]
        if show_values:
            sections += [_values(v) for v in report.verdicts if v.values]
    seen = {o for v in result.verdicts for o in (v.shares if details or show_values else (v.worst,))}
    lead = doc.Span("worst outcome of all cells, with its share or the largest error")
    end: doc.Section = (doc.Legend((lead, *doc.outcome_legend(seen))),)
    return (*sections, doc.reproduced(end, result.command))


def facts(result: Comparison) -> list[str]:
    """Say what was compared, and how."""
    ways: dict[str, list[str]] = {}
    for name, how in result.accumulation.items():
        ways.setdefault(how, []).append(name)
    added = "; ".join(f"{' and '.join(names)} {_ADDED[how]}" for how, names in ways.items())
    return [
        input_line(result.input),
        f"sums: {added}. {limit_of(result.max_ulp)}",
        *([_libraries(result)] if result.libraries else []),
    ]


def limit_of(max_ulp: float | None) -> str:
    """Say from which error on a number is inaccurate."""
    limit = "half of the format's bits" if max_ulp is None else f"{max_ulp:g} ulp"
    return f"Inaccurate: off by more than {limit}"


def input_line(summary: InputSummary) -> str:
    """Say what the logits are."""
    rows = counted(summary.rows, "row")
    if summary.judged_rows != summary.rows:
        rows += f" (errors judged on {summary.judged_rows:,})"
    span = f"from {summary.smallest:g} to {summary.largest:g}"
    span = "no finite logit" if math.isnan(summary.smallest) else span
    labels = f"; labels: {summary.labels}" if summary.labels else ""
    return (
        f"input: {summary.source}; {rows} x {counted(summary.classes, 'class', 'classes')}, {summary.dtype}, "
        f"{span}{labels}"
    )


def _libraries(result: Comparison) -> str:
    """Say which other libraries took part, and how."""
    versions = [f"{name} {version}" for name, version in result.libraries.items()]
    device = f" on {result.device}" if result.device else ""
    ours = f"; our variants run on {result.backend} arrays{device}" if result.backend != "numpy" else ""
    theirs = ", whose built-ins add in their own way" if any(is_built_in(v.variant) for v in result.verdicts) else ""
    return f"with {listed(versions)}{theirs}{ours}"


def _matrix(report: OperationReport, formats: tuple[str, ...]) -> doc.Matrix:
    names = list(dict.fromkeys(v.variant for v in report.verdicts))
    by_place = {(v.variant, v.format): v for v in report.verdicts}
    return doc.Matrix(
        report.operation,
        tuple(map(doc.Column, formats)),
        tuple(doc.Span(row_label(name)) for name in names),
        tuple(tuple(_cell(by_place[name, fmt]) for fmt in formats) for name in names),
        narrow_width=_NARROW,
        wide_width=_NARROW,
        wide_room=_WIDE,
    )


def row_label(variant: str) -> str:
    """Name a variant within its operation's table; a built-in keeps its library.

    Examples
    --------
    >>> row_label("softmax/shifted"), row_label("torch/softmax")
    ('shifted', 'torch/softmax')
    """
    return variant if is_built_in(variant) else variant.partition("/")[2]


def _cell(verdict: Verdict) -> doc.Cell:
    if verdict.worst is None:
        return doc.Cell(doc.Span("not run", "dim"))
    return outcome_cell(verdict.worst, _figure(verdict), _NARROW)


def outcome_cell(outcome: Outcome, figure: str, room: int) -> doc.Cell:
    """Return an outcome's word with a figure; narrow, broken between words: "– input" and "overflow 100%"."""
    word = OUTCOMES[outcome].word
    wide = doc.Span(f" {word} {figure}".rstrip(), sign=outcome)
    if len(wide.text) < room:
        return doc.Cell(wide)
    head, _, tail = word.rpartition(" ")
    narrow = f" {head}\n{tail} {figure}" if head else f" {word}\n{figure}"
    return doc.Cell(wide, doc.Span(narrow, sign=outcome))


def _figure(verdict: Verdict) -> str:
    """The one figure of a cell: the largest error where all is finite, else the share of the worst."""
    assert verdict.worst is not None
    if verdict.worst in (Outcome.OK, Outcome.INACCURATE):
        return figures.short_error(verdict.error_ulp)
    return figures.share(verdict.shares[verdict.worst])


def _details(verdict: Verdict) -> doc.Section:
    heading = doc.Heading(f"{verdict.variant} in {verdict.format}")
    if verdict.worst is None:
        return (heading, doc.Lines(((doc.Span(f"  not run: {verdict.skipped}", "dim"),),)))
    shares = [doc.Span(f" {OUTCOMES[o].word} {figures.share(share)}  ", sign=o) for o, share in verdict.shares.items()]
    figures_of = doc.words(*(f"  {line}" for line in detail_lines(verdict)))
    return (heading, doc.Lines(((doc.Span("  "), *shares),)), figures_of)


def detail_lines(verdict: Verdict, bound: str = "its bound") -> list[str]:
    """All the figures of a verdict, in words."""
    measured = [
        ("largest error", figures.error(verdict.error_ulp)),
        ("relative", figures.error(verdict.error_u, "u")),
        (f"over {bound}", "" if verdict.error_over_bound is None else f"{verdict.error_over_bound:.3g}"),
        ("largest |sum p - 1|", "" if verdict.sum_error is None else f"{verdict.sum_error:.3g}"),
        ("mean loss", "" if verdict.mean is None else figures.number(verdict.mean, verdict.format)),
        ("off by", figures.error(verdict.mean_error_ulp)),
    ]
    lines = ["; ".join(f"{name} {value}" for name, value in measured if value)]
    if verdict.first_bad is not None and verdict.worst is not None and verdict.worst.is_failure:
        bad = verdict.first_bad
        lines.append(
            f"gives {figures.number(bad.output, verdict.format)}, "
            f"should give {figures.number(bad.truth, verdict.format)}"
        )
    if verdict.cause:
        lines.append(f"cause: {verdict.cause}")
    return [line for line in lines if line]


def _values(verdict: Verdict) -> doc.Section:
    lines = []
    for row in verdict.values:
        spans = [doc.Span(f"  row {row.row}:")]
        for value, outcome in zip(row.values, row.outcomes, strict=True):
            sign = None if outcome is Outcome.OK else outcome
            spans += [doc.Span(" "), doc.Span(figures.number(value, verdict.format), sign=sign)]
        lines.append(tuple(spans))
    return (doc.Heading(f"{verdict.variant} in {verdict.format}"), doc.Lines(tuple(lines)))


def records(result: Comparison) -> Iterator[dict[str, Any]]:
    """Give a record for each verdict."""
    for report in result.reports:
        for verdict in report.verdicts:
            yield {"kind": "verdict", "operation": report.operation, **dataclasses.asdict(verdict)}


def rows(result: Comparison) -> Rows:
    """Give a row for each verdict."""
    return Rows(VERDICT_COLUMNS, [verdict_row(r.operation, v) for r in result.reports for v in r.verdicts])


def verdict_row(operation: str, verdict: Verdict) -> dict[str, Any]:
    """Flatten a verdict to the cells of `VERDICT_COLUMNS`."""
    values: dict[str, Any] = {
        "operation": operation,
        **{f.name: getattr(verdict, f.name) for f in dataclasses.fields(verdict)},
        **{outcome.value: share for outcome, share in verdict.shares.items()},
    }
    if verdict.first_bad is not None:
        values |= {f"first_bad_{name}": value for name, value in dataclasses.asdict(verdict.first_bad).items()}
    return values


def checks(result: Comparison, failures: frozenset[Outcome]) -> Checks:
    """Give a check for each verdict."""
    group = "stablemax.compare"
    every = (_check(v, f"{group}.{r.operation}", failures) for r in result.reports for v in r.verdicts)
    return Checks("stablemax compare", result.finding, tuple(every))


def _check(verdict: Verdict, group: str, failures: frozenset[Outcome]) -> Check:
    check = outcome_check(group, verdict.variant, verdict)
    hits = failures & verdict.shares.keys()
    if not hits:
        return check
    kind = max(hits, key=lambda o: o.severity)
    failure = f"{check.name}: {OUTCOMES[kind].word} in {figures.share(verdict.shares[kind])} of the cells"
    if kind is not verdict.worst:
        # The cause and the place are those of the worst outcome, which nobody asked about.
        return dataclasses.replace(check, failure=failure, kind=kind.value)
    failure = f"{failure}: {verdict.cause}" if verdict.cause else failure
    details = gives(verdict.first_bad, verdict.format)
    return dataclasses.replace(check, failure=failure, kind=kind.value, details=details)


def outcome_check(group: str, subject: str, verdict: Verdict | Standout) -> Check:
    """Return a check that says what came out, or why nothing was run."""
    if verdict.worst is None:
        return Check(group, subject, verdict.format, skipped=verdict.skipped or "not run")
    return Check(group, subject, verdict.format, outcome_words(verdict.worst, verdict.error_ulp))


def outcome_words(worst: Outcome, error_ulp: float | None) -> str:
    """Name an outcome, with the largest error where all is finite."""
    word = OUTCOMES[worst].word
    has_error = worst in (Outcome.OK, Outcome.INACCURATE) and error_ulp is not None
    return f"{word}, largest error {figures.error(error_ulp)}" if has_error else word


def place_words(place: Place | None, fmt: str) -> str:
    """Say where the first bad cell is, and what it should be."""
    if place is None:
        return ""
    cell_name = f"first at row {place.row}, class {place.column}, logit {figures.exact(place.logit)}"
    return f"{cell_name}: {gives(place, fmt)}"


def gives(place: Place | None, fmt: str) -> str:
    """Say what a cell gives and what is right."""
    if place is None:
        return ""
    return f"gives {figures.number(place.output, fmt)} where {figures.number(place.truth, fmt)} is right"


COMPARISON = ResultKind("a comparison", "comparison", document=document, records=records, rows=rows, checks=checks)
