"""A sweep: its document, rows and records."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from stablemax.render import document as doc
from stablemax.render import figures, judged_words
from stablemax.render.axis_ticks import axis_ticks, place_of
from stablemax.render.forms import Page, ResultKind, Rows
from stablemax.render.sweep_plots import plots
from stablemax.results import Change, Sweep, SweptLine, SweptPoint
from stablemax.text.outcomes import GRADES, OUTCOMES, Grade, Outcome
from stablemax.text.words import counted, listed

POINT_COLUMNS = (
    *("operation", "variant", "mean", "format", "accumulation", "value"),
    *("outcome", "grade", "error_ulp", "error_u", "bound_u"),
)
_MEANS = (
    "sum / N: the sum of the losses is rounded to the format, then divided; mean: it is divided before it is rounded, "
    "or as the library does it"
)
_U = "u: unit roundoff, 2**-p, the largest relative error of one rounding to p bits"


def document(result: Sweep, *, details: bool = False, show_values: bool = False) -> doc.Document:
    """Say what breaks, show every formula along the axis, then where it breaks, how errors grow, and the values."""
    by_format = {fmt: [line for line in result.lines if line.format == fmt and line.points] for fmt in result.formats}
    sections: list[doc.Section] = [[_heatmap(fmt, lines, result)] for fmt, lines in by_format.items() if lines]
    sections.append([_legend(result)])
    errors = [_errors(fmt, lines, result, details=details) for fmt, lines in by_format.items()]
    matrices = [matrix for matrix in errors if matrix is not None]
    if matrices:
        sections += [[matrix] for matrix in matrices]
        sections.append([doc.aside(f"largest error since the value to the left, and what theory allows it, in {_U}")])
    sections.append(_breaks(result))
    if show_values:
        sections += [section for lines in by_format.values() for section in _values(lines, result)]
    return doc.report(doc.Finding(result.finding), _facts(result), sections, result.command)


def _facts(result: Sweep) -> list[str]:
    """Say what was swept, how sums were added, and how far was looked."""
    added: dict[str, str] = {}
    ranges: dict[str, list[str]] = {}
    for line in result.lines:
        if line.points and line.format not in added:
            added[line.format] = line.accumulation
            low, high = (_number(end, line, result) for end in line.searched)
            ranges.setdefault(f"from {low} to {high}", []).append(f"{line.format} ({counted(line.scanned, 'value')})")
    looked = "; ".join(f"{listed(names)} {ends}" for ends, names in ranges.items())
    lines = [
        f"{result.over}: {result.meaning}",
        f"sums: {judged_words.added_words(added)}. {judged_words.limit_of(result.max_ulp)}",
        f"tried: {looked}. Where two tried values differ, the numbers between were searched down to two neighbours; "
        "where they agree, nothing between was looked at",
    ]
    if any(line.mean for line in result.lines):
        lines.append(_MEANS)
    return [*lines, f"with {judged_words.library_words(result.libraries)}"] if result.libraries else lines


def _number(value: float, line: SweptLine, result: Sweep) -> str:
    """Write a number of a line's format so that it reads back, or an integer."""
    return f"{value:.0f}" if result.is_whole else figures.shortest(value, line.format)


def _heatmap(fmt: str, lines: Sequence[SweptLine], result: Sweep) -> doc.Heatmap:
    low, high = _ends(lines)
    marks = [
        [
            doc.Mark(place_of(point.value, low, high, is_log=result.is_log), point.sign)
            for point in _known(line, low, high)
        ]
        for line in lines
    ]
    ticks = axis_ticks(low, high, is_log=result.is_log)
    places = [(place_of(tick, low, high, is_log=result.is_log), f"{tick:g}") for tick in ticks]
    return doc.Heatmap(fmt, [line.label for line in lines], marks, result.over, places)


def _known(line: SweptLine, low: float, high: float) -> Iterator[SweptPoint]:
    """Yield the points of a picture, and both sides of each change between them."""
    yield from line.points
    for change in line.changes:
        yield from (point for point in (change.below, change.above) if low <= point.value <= high)


def _ends(lines: Iterable[SweptLine]) -> tuple[float, float]:
    values = [point.value for line in lines for point in line.points]
    return min(values), max(values)


def _legend(result: Sweep) -> doc.Legend:
    """Explain the signs that the pictures have."""
    points = [point for line in result.lines for point in line.points]
    seen = [(point.outcome, point.grade if point.sign is Grade.STABLE else None) for point in points]
    spans = [doc.Span(f" {OUTCOMES[Outcome.OK].sentence}", sign=Outcome.OK), *doc.legend_of(seen)]
    if any(point.sign is Grade.BROKEN for point in points):
        spans.append(doc.Span(f" {Grade.BROKEN}: {GRADES[Grade.BROKEN].sentence}", sign=Grade.BROKEN))
    return doc.Legend(spans)


def _breaks(result: Sweep) -> doc.Section:
    """List the breaking points of each format, then the formulas that have none."""
    blocks: list[doc.Block] = [doc.Heading("Breaking points: two neighbouring numbers, none between them")]
    without: dict[str, list[str]] = {}
    for fmt in result.formats:
        lines = [line for line in result.lines if line.format == fmt and line.points]
        rows = [
            [line.label, *_neighbours(change, line, result), _broken(change.broken)]
            for line in lines
            for change in line.breaks
        ]
        if rows:
            blocks.append(doc.Table([fmt, "right at", "broken at", "what it is there"], rows))
        for line in lines:
            if not line.breaks:
                without.setdefault(line.label, []).append(fmt)
    by_formats: dict[str, list[str]] = {}
    for label, formats in without.items():
        names = "any format" if len(formats) == len(result.formats) > 1 else listed(formats)
        by_formats.setdefault(names, []).append(label)
    none = [f"none in {formats}: {', '.join(labels)}" for formats, labels in by_formats.items()]
    return [*blocks, doc.words(*none)] if none else blocks


def _neighbours(change: Change, line: SweptLine, result: Sweep) -> tuple[str, str]:
    return _number(change.right.value, line, result), _number(change.broken.value, line, result)


def _broken(point: SweptPoint) -> str:
    return "without an answer" if point.outcome is None else OUTCOMES[point.outcome].predicate


def _errors(fmt: str, lines: Sequence[SweptLine], result: Sweep, *, details: bool) -> doc.Matrix | None:
    """Show the errors of formulas beside their bounds at the ticks of the axis; with `details` of all formulas."""
    chosen = [line for line in lines if details or any(point.bound_u is not None for point in line.points)]
    if not chosen:
        return None
    low, high = _ends(lines)
    ticks = axis_ticks(low, high, is_log=result.is_log)
    labels, rows = [], []
    for line in chosen:
        for name, figure in (("error", "error_u"), ("bound", "bound_u")):
            cells = [
                _largest(line, figure, before, tick) for before, tick in zip([-math.inf, *ticks], ticks, strict=False)
            ]
            if any(cell is not None for cell in cells):
                labels.append(doc.Span(f"{line.label} {name}"))
                rows.append(
                    [doc.Cell(doc.Span("-" if cell is None else figures.error(cell, "").rstrip())) for cell in cells]
                )
    if not rows:
        return None
    return doc.Matrix(f"{fmt}, in u", [doc.Column(f"{tick:g}") for tick in ticks], labels, rows)


def _largest(line: SweptLine, figure: str, after: float, until: float) -> float | None:
    found = (getattr(point, figure) for point in line.points if after < point.value <= until)
    return max((value for value in found if value is not None), default=None)


def _values(lines: Sequence[SweptLine], result: Sweep) -> Iterator[doc.Section]:
    """Show the outputs of each operation in one format: as a curve where they are one number, then all of them."""
    for operation in dict.fromkeys(line.operation for line in lines):
        chosen = [line for line in lines if line.operation == operation and any(p.values for p in line.points)]
        if not chosen:
            continue
        best, fmt = chosen[-1], chosen[-1].format
        curve = [
            (point.value, point.values[0])
            for point in best.points
            if len(point.values) == 1 and math.isfinite(point.values[0])
        ]
        rows = [
            [
                _number(points[0].value, best, result),
                *(" ".join(figures.number(v, fmt) for v in p.values) for p in points),
            ]
            for points in zip(*(line.points for line in chosen), strict=True)
        ]
        blocks: list[doc.Block] = [doc.Table([result.over, *(line.label for line in chosen)], rows)]
        if len(curve) > 1:
            blocks.insert(0, _curve(best, result, curve))
        yield blocks


def _curve(line: SweptLine, result: Sweep, points: Sequence[tuple[float, float]]) -> doc.Curve:
    low, high = (pick(x for x, _ in points) for pick in (min, max))
    ticks = [
        (place_of(x, low, high, is_log=result.is_log), f"{x:g}") for x in axis_ticks(low, high, is_log=result.is_log)
    ]
    placed = [(place_of(x, low, high, is_log=result.is_log), y) for x, y in points]
    return doc.Curve(f"{line.label} in {line.format}", result.over, placed, ticks)


def _point_rows(result: Sweep) -> Iterator[dict[str, Any]]:
    for line in result.lines:
        head = {name: getattr(line, name) for name in POINT_COLUMNS[:5]}
        for point in line.points:
            yield {**head, **{name: getattr(point, name) for name in POINT_COLUMNS[5:]}}


def rows(result: Sweep) -> Rows:
    """Give a row for each value of the picture."""
    return Rows(POINT_COLUMNS, _point_rows(result))


def records(result: Sweep) -> Iterator[dict[str, Any]]:
    """Give a record for each breaking point, then for each value of the picture."""
    for line in result.lines:
        head = {name: getattr(line, name) for name in POINT_COLUMNS[:5]}
        for change in line.breaks:
            yield {"kind": "break", "over": result.over, **head, **dataclasses.asdict(change)}
    for row in _point_rows(result):
        yield {"kind": "point", "over": result.over, **row}


def lines(result: Sweep, _: Page) -> Iterator[str]:
    """Give a line for each breaking point: formula, format, right at, broken at, what it is there."""
    for line in result.lines:
        for change in line.breaks:
            cells = (line.label, line.format, *_neighbours(change, line, result), _broken(change.broken))
            yield "\t".join(cells) + "\n"


SWEEP = ResultKind("a sweep", "sweep", document=document, records=records, rows=rows, lines=lines, plots=plots)
