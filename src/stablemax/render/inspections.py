"""An inspection: its document, records and rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from stablemax.operations import get_operation
from stablemax.render import document as doc
from stablemax.render import judged_words
from stablemax.render.forms import ResultKind, Rows
from stablemax.results import Forecast, Inspection, Quantiles
from stablemax.text.outcomes import Outcome
from stablemax.text.words import counted, listed, percentage

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
_OF_ROWS = (
    "maximum: the largest logit of a row; spread: from its smallest finite logit to its largest; gap: from its largest "
    "to its second largest; 25%: a quarter of the rows have at most this"
)
_COLUMN_WORDS = (
    doc.Span(
        "naive: exp of the logits as they are; shifted: of what is left when the largest logit of the row is subtracted"
    ),
    doc.Span("tied: rows whose two largest logits become equal in the format"),
    doc.Span(
        " yes, safe: it holds every logit, and the shifted softmax, loss and gradient (of the sum of the losses) are "
        "nowhere NaN, infinite, or 0 where a normal number of the format is right",
        sign=Outcome.OK,
    ),
    doc.Span(" no: one of these does not hold. stablemax compare tells how accurate they are", sign=Outcome.NAN),
)
COLUMNS = ("format", "formula", "operation", "rows", "worst", *(o.value for o in Outcome), "tied", "safe")


def document(result: Inspection) -> doc.Document:
    """Give the finding, what the logits are, and what becomes of them in each format."""
    quantiles = [q for q in result.quantiles if q.rows]
    lead = doc.Span("each cell: the worst outcome of any row, with the share of the rows that have it")
    is_ok = (
        [doc.Span(" ok: no row fails", sign=Outcome.OK)] if any(f.worst is Outcome.OK for f in result.forecasts) else []
    )
    legend = doc.Legend([lead, *is_ok, *doc.legend_of((f.worst, None) for f in result.forecasts), *_COLUMN_WORDS])
    sections = [_quantiles(quantiles)] if quantiles else []
    sections += [_sightings(result), [_forecasts(result)], [legend]]
    return doc.report(doc.Finding(result.finding), _facts(result), sections, result.command)


def _facts(result: Inspection) -> list[str]:
    """Say what was looked at."""
    files = f" ({result.files:,} files)" if result.files > 1 else ""
    span = judged_words.range_words(result.smallest, result.largest, ".6")
    size = judged_words.size_words(result.rows, result.classes)
    line = f"input: {result.source}{files}; {size}, {result.dtype}, {counted(result.size_bytes, 'byte')}, {span}"
    if not result.labels:
        return [line, "no labels: loss and gradient are those of each row's most likely class"]
    if result.accuracy is None:
        return [line, f"labels: {result.labels}; no row counts"]
    counting = f"{counted(result.counted_rows, 'row')} that {'counts' if result.counted_rows == 1 else 'count'}"
    share = percentage(result.accuracy)
    return [line, f"labels: {result.labels}; the label's logit is the largest in {share} of {counting}"]


def _quantiles(quantiles: list[Quantiles]) -> doc.Section:
    names = {0: "min", 100: "max"}
    headers = ["of each row", *(names.get(p, f"{p}%") for p in quantiles[0].percent)]
    table = doc.Table(headers, [[q.of, *_shown(q)] for q in quantiles])
    rough = {q.of: q.digits for q in quantiles if q.digits is not None}
    if not rough:
        return table, doc.aside(_OF_ROWS)
    digits = counted(min(rough.values()), "digit")
    return table, doc.aside(_OF_ROWS, f"between min and max to {digits}: {listed(list(rough))}")


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
        rows.append([_SIGHTED[s.what], f"{s.rows:,}", cells, f"{file}row {s.first_row:,}"])
    if rows:
        blocks.append(doc.Table(["logits", "rows", "cells", "first"], rows))
    unseen = (s.what for s in result.sightings if not s.rows)
    absent = [_SIGHTED[what] for what in unseen if result.labels or what not in _ABOUT_LABELS]
    if absent:
        blocks.append(doc.aside(f"no row with: {', '.join(absent)}"))
    return blocks


def _forecasts(result: Inspection) -> doc.Matrix:
    """Show the formats; what is said of a whole format stands beside the shifted formula."""
    cells = {(f.format, f.formula, f.operation): _cell(f) for f in result.forecasts}
    nouns = {f.operation: get_operation(f.operation).noun for f in result.forecasts}
    places = [(formula, operation) for formula in _FORMULAS for operation in nouns]
    columns = [doc.Column(nouns[o], f"{formula} {nouns[o]}", formula) for formula, o in places]
    columns += [doc.Column(header, group=_FORMULAS[-1]) for header in ("tied", "safe")]
    rows = []
    for f in result.formats:
        safe = doc.Span(" yes", sign=Outcome.OK) if f.safe else doc.Span(" no", sign=Outcome.NAN)
        of_format = [doc.Cell(doc.Span(percentage(f.tied))), doc.Cell(safe)]
        rows.append([*(cells[f.format, formula, o] for formula, o in places), *of_format])
    return doc.Matrix("", columns, [doc.Span(f.format) for f in result.formats], rows, labels_are="format")


def _cell(forecast: Forecast) -> doc.Cell:
    if not forecast.rows:
        return doc.Cell(doc.Span("no row", "dim"))
    share = "" if forecast.worst is Outcome.OK else percentage(forecast.shares[forecast.worst])
    return judged_words.outcome_cell(forecast.worst, share, _NARROW)


def records(result: Inspection) -> Iterator[dict[str, Any]]:
    """Give a record for each sighting, distribution and forecast."""
    by_kind: dict[str, tuple[Any, ...]] = {
        "sighting": result.sightings,
        "quantiles": result.quantiles,
        "forecast": result.forecasts,
    }
    return ({"kind": kind, **dataclasses.asdict(item)} for kind, items in by_kind.items() for item in items)


def rows(result: Inspection) -> Rows:
    """Give a row for each forecast."""
    formats = {f.format: dataclasses.asdict(f) for f in result.formats}
    values = (
        {**formats[f.format], **dataclasses.asdict(f), **{o.value: share for o, share in f.shares.items()}}
        for f in result.forecasts
    )
    return Rows(COLUMNS, values)


INSPECTION = ResultKind("an inspection", "inspection", document=document, records=records, rows=rows)
