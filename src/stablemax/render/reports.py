"""A report: its page, part by part."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from stablemax.render import checks, comparisons, explanations, figures, judged_words, sweeps, traces
from stablemax.render import document as doc
from stablemax.render.axis_ticks import axis_ticks, place_of
from stablemax.render.forms import ResultKind, absent
from stablemax.render.html_blocks import Links, written
from stablemax.render.html_elements import Html, details, element, joined
from stablemax.render.html_page import Part, html_page
from stablemax.render.line_charts import Chart, Series, chart
from stablemax.render.overviews import formats_held, unfit_words
from stablemax.render.sweep_plots import FLOOR_U
from stablemax.render.verdict_cells import verdict_cell, verdict_legend
from stablemax.results import Comparison, Explanation, Report, Sweep, SweptLine, Verdict
from stablemax.text.outcomes import OUTCOMES, Grade, Outcome
from stablemax.text.words import counted


def page(result: Report) -> str:
    """Write the page; parts without a result are left out."""
    parts = list(_parts(result))
    links = [(part, finding) for part in parts if (finding := _finding_of(part, result))]
    findings = [
        element("li", element("a", part.title, href=f"#{part.id}"), ": ", finding, class_="finding")
        for part, finding in links
    ]
    source = result.comparison.input.source
    lead = element("ul", *findings, class_="findings")
    formats = dict.fromkeys(
        [*result.comparison.formats, *result.sweep.formats, *(result.check or result.sweep).formats]
    )
    return html_page(f"stablemax report: {source}", lead, parts, list(formats), _outcomes(result))


def _finding_of(part: Part, result: Report) -> str:
    of_parts = {"check": result.check, "trace": result.trace, "formulas": result.comparison, "sweep": result.sweep}
    found = of_parts.get(part.id)
    return "" if found is None else found.finding


def _parts(result: Report) -> Iterator[Part]:
    if result.check is not None:
        checked = _body(checks.document(result.check, details=True))
        yield Part("check", f"Check of {result.check.target}", written(checked))
    if result.trace is not None:
        yield Part("trace", f"Trace of {result.trace.target}", written(_body(traces.document(result.trace))))
    links = {e.variant: f"#{_anchor(e.variant)}" for e in result.explanations}
    yield Part("formulas", "Formulas on this input", _comparison(result.comparison, links))
    yield Part("sweep", f"Along the {result.sweep.noun}", _sweep(result.sweep))
    yield Part("explanations", "What each formula is", joined(map(_explanation, result.explanations), "\n"))
    yield Part("made", "How this page was made", _made(result))


def _body(document: doc.Document) -> doc.Document:
    """Leave out the title and the finding, which stand elsewhere."""
    return [
        [b for b in section if not (isinstance(b, doc.Heading) and b.level == 1) and not isinstance(b, doc.Finding)]
        for section in document
    ]


def _anchor(variant: str) -> str:
    return f"formula-{variant.replace('/', '-')}"


def _formats(result: Comparison) -> list[str]:
    """Name the formats that hold the logits; where none does, all of them say so."""
    return formats_held(result) or list(result.formats)


def _comparison(result: Comparison, links: Links) -> Html:
    """Show every verdict, in one table for each operation."""
    formats = _formats(result)
    shown = [v for v in result.verdicts if v.format in formats]
    ranks = _ranks(shown)
    matrices: list[doc.Block] = []
    for report in result.reports:
        cells = {
            (v.variant, v.format): dataclasses.replace(verdict_cell(v), rank=ranks[v.variant, v.format])
            for v in report.verdicts
            if v.format in formats
        }
        names = list(dict.fromkeys(v.variant for v in report.verdicts))
        rows = [[cells[name, fmt] for fmt in formats] for name in names]
        columns = [doc.Column(fmt) for fmt in formats]
        matrices.append(doc.Matrix(report.operation, columns, [doc.Span(name) for name in names], rows))
    unfit = unfit_words(result)
    lead = doc.Span("each cell: the worst outcome, with its share of cells and rows or the largest error")
    after = [*([doc.Lines([unfit])] if unfit else []), doc.Legend([lead, *verdict_legend(shown)])]
    return written([[doc.Facts(comparisons.facts(result))], matrices, [*after, doc.Command(result.command)]], links)


def _outcomes(result: Report) -> list[tuple[str, str]]:
    """List what a reader may filter by: the signs of the cells, from good to bad, and how they are called."""
    formats = _formats(result.comparison)
    signs = {verdict_cell(v).wide.sign for v in result.comparison.verdicts if v.format in formats}
    hazards = () if result.check is None else result.check.hazards
    signs |= {Grade.STABLE if h.grade is Grade.STABLE else h.worst for h in hazards}
    stable = [(Grade.STABLE.value, Grade.STABLE.value)] if Grade.STABLE in signs else []
    seen = [(o.value, OUTCOMES[o]) for o in Outcome if o in signs]
    called = [(value, w.word if w.short == w.word else f"{w.short} ({w.word})") for value, w in seen]
    return [*called[:1], *stable, *called[1:]]


def _badness(verdict: Verdict) -> tuple[int, int, float, float]:
    """Order verdicts from good to bad: by grade, outcome, share and error; what was not run comes last."""
    if verdict.worst is None or verdict.grade is None:
        return (len(Grade), 0, 0.0, 0.0)
    worst = verdict.worst
    share = verdict.shares.get(worst, 0.0) if worst.is_failure else 0.0
    return (verdict.grade.severity, worst.severity, share, verdict.error_ulp or 0.0)


def _ranks(verdicts: Sequence[Verdict]) -> dict[tuple[str, str], int]:
    places = {badness: i for i, badness in enumerate(sorted(set(map(_badness, verdicts))))}
    return {(v.variant, v.format): places[_badness(v)] for v in verdicts}


def _sweep(result: Sweep) -> Html:
    """Show the heatmaps and the breaking points, with charts in place of the tables of errors."""
    *before, last = ([b for b in section if not _is_of_errors(b)] for section in _body(sweeps.document(result)))
    charts = element("div", *_charts(result), class_="charts")
    heading = element("h3", "How the error grows, and what theory allows")
    words = element(
        "p",
        "u is the unit roundoff, 2**-p: the largest relative error of one rounding to p bits. Dashed lines are what "
        f"the theorem of a formula allows. Errors below {FLOOR_U:g} u stand on the floor.",
    )
    return joined([written(before), heading, words, charts, written([last])], "\n")


def _is_of_errors(block: doc.Block) -> bool:
    """Tell a table of errors, and what is said of it, from the pictures with their legend."""
    is_aside = isinstance(block, doc.Legend) and not any(span.sign for span in block.entries)
    return isinstance(block, doc.Matrix) or is_aside


def _charts(result: Sweep) -> Iterator[Html]:
    by_chart: dict[tuple[str, str], list[SweptLine]] = {}
    for line in result.lines:
        if any(_has_error(point.error_u) for point in line.points):
            by_chart.setdefault((line.operation, line.format), []).append(line)
    for (operation, fmt), lines in by_chart.items():
        yield chart(_chart(operation, fmt, lines, result))


def _has_error(error: float | None) -> bool:
    return error is not None and math.isfinite(error)


def _chart(operation: str, fmt: str, lines: Sequence[SweptLine], result: Sweep) -> Chart:
    values = [point.value for line in lines for point in line.points]
    low, high = min(values), max(values)
    series = []
    for color, line in enumerate(lines):
        for name, is_bound in (("error_u", False), ("bound_u", True)):
            points = [
                (place_of(point.value, low, high, is_log=result.is_log), getattr(point, name))
                for point in line.points
                if _has_error(getattr(point, name))
            ]
            if points:
                label = judged_words.row_label(line.label)
                series.append(Series(f"{label}: bound" if is_bound else label, points, color, is_bound))
    ticks = axis_ticks(low, high, is_log=result.is_log)
    return Chart(
        f"{operation} in {fmt}",
        result.over,
        "error in u",
        [(place_of(tick, low, high, is_log=result.is_log), f"{tick:g}") for tick in ticks],
        series,
        floor=FLOOR_U,
        column=fmt,
        listed=[(place_of(v, low, high, is_log=result.is_log), _value(v, fmt, result)) for v in values],
    )


def _value(value: float, fmt: str, result: Sweep) -> str:
    return f"{value:.0f}" if result.is_whole else figures.shortest(value, fmt)


def _explanation(result: Explanation) -> Html:
    body = [[b for b in section if not isinstance(b, doc.Code)] for section in _body(explanations.document(result))]
    summary = joined([element("strong", result.variant), " ", element("code", result.formula)])
    inner = joined([element("p", result.summary), written(body)])
    return details(summary, inner, id=_anchor(result.variant), class_="formula")


def _made(result: Report) -> Html:
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    count = counted(len(result.comparison.verdicts), "verdict")
    facts = [f"made with {versions}", f"{count}, each against a value proved in exact arithmetic"]
    notes = [doc.Facts(result.notes)] if result.notes else []
    return written([[doc.Facts(facts), *notes, doc.Command(result.command)]])


REPORT = ResultKind("a report", "report", content=absent, page=page)
