"""An inspection: its document, records and rows."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from stablemax.operations import get_operation
from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.forms import ResultKind, Rows
from stablemax.render.judged_words import outcome_cell
from stablemax.text.outcomes import Outcome
from stablemax.text.words import counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.results import Forecast, Inspection, Quantiles

_FORMULAS = ("naive", "shifted")
_SIGHTED = {
    "nan": "NaN",
    "inf": "+inf",
    "masked": "-inf",
    "masked-row": "nothing but -inf",
    "single-class": "a single finite logit",
    "constant-row": "all logits equal",
    "label-masked": "label at -inf",
    "ignored": "label ignored",
}
_CELLS = ("nan", "inf", "masked")
_ABOUT_LABELS = ("label-masked", "ignored")
_NARROW = 15  # "▲ overflow >99%"
_EXACT_DIGITS = 4
SAFE = (
    "tied: rows whose two largest logits become equal in the format; safe: it holds every logit, and the shifted "
    "softmax, loss and gradient (of the sum of the losses) are nowhere NaN, infinite, or 0 where a normal number of "
    "the format is right. stablemax compare tells how accurate they are"
)
COLUMNS = ("format", "formula", "operation", "rows", "worst", *(o.value for o in Outcome), "tied", "safe")


def document(result: Inspection) -> doc.Document:
    """Give the finding, what the logits are, and what becomes of them in each format."""
    sections: list[doc.Section] = [(doc.Finding(result.finding),), (doc.Facts(tuple(facts(result))),)]
    quantiles = [q for q in result.quantiles if q.rows]
    if quantiles:
        sections.append(_quantiles(quantiles))
    sections.append(_sightings(result))
    sections.append((_forecasts(result),))
    lead = doc.Span("each cell: the worst outcome of any row, with the share of the rows that have it")
    legend = doc.Legend((lead, *doc.outcome_legend({f.worst for f in result.forecasts}), doc.Span(SAFE)))
    return (*sections, doc.reproduced((legend,), result.command))


def facts(result: Inspection) -> list[str]:
    """Say what was looked at."""
    files = f" ({result.files:,} files)" if result.files > 1 else ""
    span = "no finite logit" if math.isnan(result.smallest) else f"from {result.smallest:.6g} to {result.largest:.6g}"
    lines = [
        f"input: {result.source}{files}; {counted(result.rows, 'row')} x "
        f"{counted(result.classes, 'class', 'classes')}, {result.dtype}, {counted(result.size_bytes, 'byte')}, {span}"
    ]
    if not result.labels:
        lines.append("no labels: loss and gradient are those of each row's most likely class")
    elif result.accuracy is None:
        lines.append(f"labels: {result.labels}; no row counts")
    else:
        counting = f"{counted(result.counted_rows, 'row')} that {'counts' if result.counted_rows == 1 else 'count'}"
        share = figures.share(result.accuracy)
        lines.append(f"labels: {result.labels}; the label's logit is the largest in {share} of {counting}")
    return lines


def _quantiles(quantiles: list[Quantiles]) -> doc.Section:
    names = {0: "min", 100: "max"}
    headers = ("of each row", *(names.get(p, f"{p}%") for p in quantiles[0].percent))
    table = doc.Table(headers, tuple((q.of, *_shown(q)) for q in quantiles))
    rough = [q for q in quantiles if q.digits is not None]
    if not rough:
        return (table,)
    fewest = min(q.digits or 0 for q in rough)
    digits = "1 digit" if fewest == 1 else f"{fewest} digits"
    return (table, doc.aside(f"between min and max to {digits}: {listed([q.of for q in rough])}"))


def _shown(quantiles: Quantiles) -> list[str]:
    """Write quantiles to the digits that are right, and to no more than a table needs."""
    last = len(quantiles.values) - 1
    digits = [_EXACT_DIGITS if i in (0, last) else quantiles.digits or _EXACT_DIGITS for i in range(last + 1)]
    return [f"{value:.{n}g}" for value, n in zip(quantiles.values, digits, strict=True)]


def _sightings(result: Inspection) -> doc.Section:
    """Show what was looked for and is there, and name what is not."""
    blocks: list[doc.Block] = []
    rows = []
    for s in (s for s in result.sightings if s.rows):
        file = f"{s.first_file} " if result.files > 1 else ""
        cells = f"{s.cells:,}" if s.what in _CELLS else ""
        rows.append((_SIGHTED[s.what], f"{s.rows:,}", cells, f"{file}row {s.first_row:,}"))
    if rows:
        blocks.append(doc.Table(("logits", "rows", "cells", "first"), tuple(rows)))
    unseen = (s.what for s in result.sightings if not s.rows)
    absent = [_SIGHTED[what] for what in unseen if result.labels or what not in _ABOUT_LABELS]
    if absent:
        blocks.append(doc.aside(f"no row with: {', '.join(absent)}"))
    return tuple(blocks)


def _forecasts(result: Inspection) -> doc.Matrix:
    """Show the formats; what is said of a whole format stands beside the shifted formula."""
    by_place = {(f.format, f.formula, f.operation): f for f in result.forecasts}
    nouns = {f.operation: get_operation(f.operation).noun for f in result.forecasts}
    places = [(formula, operation) for formula in _FORMULAS for operation in nouns]
    columns = [doc.Column(nouns[o], f"{formula} {nouns[o]}", formula) for formula, o in places]
    last = _FORMULAS[-1]
    rows = []
    for f in result.formats:
        cells = [_cell(by_place[f.format, formula, o]) for formula, o in places]
        safe = doc.Span(" yes", sign=Outcome.OK) if f.safe else doc.Span(" no", sign=Outcome.NAN)
        rows.append((*cells, doc.Cell(doc.Span(figures.share(f.tied))), doc.Cell(safe)))
    return doc.Matrix(
        "",
        (*columns, doc.Column("tied", group=last), doc.Column("safe", group=last)),
        tuple(doc.Span(f.format) for f in result.formats),
        tuple(rows),
        labels_are="format",
    )


def _cell(forecast: Forecast) -> doc.Cell:
    if not forecast.rows:
        return doc.Cell(doc.Span("no row", "dim"))
    share = "" if forecast.worst is Outcome.OK else figures.share(forecast.shares[forecast.worst])
    return outcome_cell(forecast.worst, share, _NARROW)


def records(result: Inspection) -> Iterator[dict[str, Any]]:
    """Give a record for each sighting, distribution and forecast."""
    parts: dict[str, tuple[Any, ...]] = {
        "sighting": result.sightings,
        "quantiles": result.quantiles,
        "forecast": result.forecasts,
    }
    return ({"kind": kind, **dataclasses.asdict(part)} for kind, every in parts.items() for part in every)


def rows(result: Inspection) -> Rows:
    """Give a row for each forecast."""
    return Rows(COLUMNS, (_row(f, result) for f in result.forecasts))


def _row(forecast: Forecast, result: Inspection) -> dict[str, Any]:
    of_format = next(f for f in result.formats if f.format == forecast.format)
    values = {**dataclasses.asdict(forecast), "tied": of_format.tied, "safe": of_format.safe}
    return values | {outcome.value: share for outcome, share in forecast.shares.items()}


INSPECTION = ResultKind("an inspection", "inspection", document=document, records=records, rows=rows)
