"""An inspection in each output format."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from stablemax.inspection.prediction import OPERATIONS
from stablemax.render import data, figures
from stablemax.render.comparisons import quoted
from stablemax.render.figures import LOOKS, glyph
from stablemax.results import Outcome
from stablemax.vocabulary import OutputFormat
from stablemax.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.text import Text

    from stablemax.render.console import Surface
    from stablemax.results import Forecast, FormatForecast, Inspection, Quantiles

_OPERATIONS = {operation.name: operation.noun for operation in OPERATIONS}
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
_NARROW = 15  # "▲ overflow >99%"
_GAP = 2
_EXACT_DIGITS = 4
SAFE = (
    "tied: rows whose two largest logits become equal in the format; safe: it holds every logit, and the shifted "
    "softmax, loss and gradient (of the sum of the losses) are nowhere NaN, infinite, or 0 where a normal number of "
    "the format is right. stablemax compare tells how accurate they are"
)
_COLUMNS = ("format", "formula", "operation", "rows", "worst", *(o.value for o in Outcome), "tied", "safe")


def render(result: Inspection, how: OutputFormat, *, color: str, to_file: bool) -> str:
    """Write an inspection.

    Parameters
    ----------
    result : Inspection
        What to write.
    how : OutputFormat
        The output format.
    color : str
        "auto", "always" or "never", for tables.
    to_file : bool
        The text goes to a file.
    """
    if how is OutputFormat.JSON:
        return data.document("inspection", result)
    if how is OutputFormat.NDJSON:
        return data.lines(
            [
                *({"kind": "sighting", **dataclasses.asdict(s)} for s in result.sightings),
                *({"kind": "quantiles", **dataclasses.asdict(q)} for q in result.quantiles),
                *({"kind": "forecast", **dataclasses.asdict(f)} for f in result.forecasts),
            ]
        )
    if how in (OutputFormat.CSV, OutputFormat.PLAIN):
        write = data.table_csv if how is OutputFormat.CSV else data.table_plain
        return write(list(_COLUMNS), [_row(f, result) for f in result.forecasts])
    from stablemax.render.console import printed, surface

    on = surface(color, to_file=to_file)
    if how is OutputFormat.MARKDOWN:
        return _markdown(result, on)
    text = printed(_table(result, on), on)
    return f"{text}reproduce: {quoted(result.command)}\n" if result.command else text


def _row(forecast: Forecast, result: Inspection) -> list[str]:
    of_format = next(f for f in result.formats if f.format == forecast.format)
    found = {**dataclasses.asdict(forecast), "tied": of_format.tied, "safe": of_format.safe}
    found |= {outcome.value: share for outcome, share in forecast.shares.items()}
    return [data.cell(found.get(c)) for c in _COLUMNS]


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
        share = figures.share(result.accuracy)
        lines.append(f"labels: {result.labels}; the label's logit is the largest in {share} of {_counting(result)}")
    return lines


def _counting(result: Inspection) -> str:
    return f"{counted(result.counted_rows, 'row')} that {'counts' if result.counted_rows == 1 else 'count'}"


def _quantile_rows(result: Inspection) -> tuple[list[str], list[list[str]]]:
    names = {0: "min", 100: "max"}
    headers = ["of each row", *(names.get(p, f"{p}%") for p in result.quantiles[0].percent)]
    return headers, [[q.of, *_shown(q)] for q in result.quantiles if q.rows]


def _shown(quantiles: Quantiles) -> list[str]:
    """Write quantiles to the digits that are right, and to no more than a table needs."""
    last = len(quantiles.values) - 1
    digits = [_EXACT_DIGITS if i in (0, last) else quantiles.digits or _EXACT_DIGITS for i in range(last + 1)]
    return [f"{value:.{n}g}" for value, n in zip(quantiles.values, digits, strict=True)]


def _quantile_note(result: Inspection) -> list[str]:
    rough = [q for q in result.quantiles if q.digits is not None and q.rows]
    if not rough:
        return []
    fewest = min(q.digits or 0 for q in rough)
    many = "1 digit" if fewest == 1 else f"{fewest} digits"
    return [f"between min and max to {many}: {listed([q.of for q in rough])}"]


def _sighting_rows(result: Inspection) -> list[list[str]]:
    rows = []
    for s in result.sightings:
        if s.rows:
            cells = f"{s.cells:,}" if s.what in _CELLS else ""
            name = f"{s.first_file} " if result.files > 1 else ""
            rows.append([_SIGHTED[s.what], f"{s.rows:,}", cells, f"{name}row {s.first_row:,}"])
    return rows


def _unseen(result: Inspection) -> list[str]:
    """Name what was looked for and is not there."""
    about_labels = {"label-masked", "ignored"}
    absent = [
        _SIGHTED[s.what] for s in result.sightings if not s.rows and (result.labels or s.what not in about_labels)
    ]
    return [f"no row with: {', '.join(absent)}"] if absent else []


def _table(result: Inspection, on: Surface) -> list[RenderableType]:
    """Lay an inspection out: the finding, what the logits are, what becomes of them in each format."""
    from rich.text import Text

    from stablemax.render.tables import grid, legend_of

    parts: list[RenderableType] = [Text(result.finding, style="bold"), Text("")]
    parts += [Text(line, style="dim") for line in facts(result)]
    headers, rows = _quantile_rows(result)
    if rows:
        parts += [Text(""), *grid(headers, rows, on), *(Text(line, style="dim") for line in _quantile_note(result))]
    seen = _sighting_rows(result)
    parts.append(Text(""))
    if seen:
        parts += grid(["logits", "rows", "cells", "first"], seen, on)
    parts += [Text(line, style="dim") for line in _unseen(result)]
    parts += _forecasts(result, on)
    outcomes = {f.worst for f in result.forecasts}
    lines = [
        "each cell: the worst outcome of any row, with the share of the rows that have it",
        legend_of(outcomes, on),
        SAFE,
    ]
    parts += [Text(""), Text("; ".join(line for line in lines if line), style="dim")]
    return parts


@dataclasses.dataclass(frozen=True)
class _Column:
    """A column of the table of formats."""

    header: str
    cells: tuple[Text, ...]

    @property
    def width(self) -> int:
        return max(len(self.header), *(len(line) for cell in self.cells for line in cell.plain.split("\n")))


def _forecasts(result: Inspection, on: Surface) -> list[RenderableType]:
    """Lay out the formats: one table where it fits, else one or more for each formula."""
    from rich.text import Text

    names = [f.format for f in result.formats]
    room = on.width - max(map(len, (*names, *_FORMULAS)))
    wide = {formula: _columns(result, formula, on, one_line=True) for formula in _FORMULAS}
    every = [
        dataclasses.replace(c, header=f"{formula} {c.header}" if c.header in _OPERATIONS.values() else c.header)
        for formula, columns in wide.items()
        for c in columns
    ]
    if _needed(every) <= room:
        return [Text(""), _forecast_table("", every, names, on)]
    parts: list[RenderableType] = []
    for formula in _FORMULAS:
        columns: list[_Column] = []
        for column in _columns(result, formula, on, one_line=False):
            if columns and _needed([*columns, column]) > room:
                parts += [Text(""), _forecast_table(formula, columns, names, on)]
                columns = []
            columns.append(column)
        parts += [Text(""), _forecast_table(formula, columns, names, on)]
    return parts


def _needed(columns: Sequence[_Column]) -> int:
    return sum(c.width + _GAP for c in columns)


def _columns(result: Inspection, formula: str, on: Surface, *, one_line: bool) -> list[_Column]:
    """Return a formula's columns; what is said of a whole format stands beside the shifted one."""
    from rich.text import Text

    found = []
    for operation, header in _OPERATIONS.items():
        of_column = [f for f in result.forecasts if (f.formula, f.operation) == (formula, operation)]
        found.append(_Column(header, tuple(_cell(f, on, one_line=one_line) for f in of_column)))
    if formula == "shifted":
        found.append(_Column("tied", tuple(Text(figures.share(f.tied)) for f in result.formats)))
        found.append(_Column("safe", tuple(_safe(f, on) for f in result.formats)))
    return found


def _forecast_table(title: str, columns: Sequence[_Column], names: Sequence[str], on: Surface) -> RenderableType:
    from rich.text import Text

    from stablemax.render.tables import table_like

    table = table_like(on)
    table.add_column(Text(title, style="bold"), no_wrap=True, min_width=max(map(len, (*names, title))))
    for column in columns:
        table.add_column(column.header, no_wrap=True, min_width=column.width)
    for i, name in enumerate(names):
        table.add_row(Text(name), *(column.cells[i] for column in columns))
    return table


def _words(forecast: Forecast, on: Surface) -> tuple[str, str]:
    """Return the outcome with its sign, and the share of the rows."""
    if not forecast.rows:
        return "no row", ""
    words = f"{glyph(forecast.worst, ascii_only=on.ascii_only)} {LOOKS[forecast.worst].word}"
    return words, "" if forecast.worst is Outcome.OK else figures.share(forecast.shares[forecast.worst])


def _cell(forecast: Forecast, on: Surface, *, one_line: bool) -> Text:
    from rich.text import Text

    words, share = _words(forecast, on)
    text = f"{words} {share}".rstrip()
    if not one_line and len(text) > _NARROW:
        head, _, tail = words.rpartition(" ")
        text = f"{head}\n{tail} {share}"
    return Text(text, style=LOOKS[forecast.worst].style if forecast.rows else "dim")


def _safe(forecast: FormatForecast, on: Surface) -> Text:
    from rich.text import Text

    look = LOOKS[Outcome.OK if forecast.safe else Outcome.NAN]
    sign = look.ascii_glyph if on.ascii_only else look.glyph
    return Text(f"{sign} {'yes' if forecast.safe else 'no'}", style=look.style)


def _markdown(result: Inspection, on: Surface) -> str:
    parts = [f"{result.finding}\n", *(f"- {line}" for line in facts(result)), ""]
    headers, rows = _quantile_rows(result)
    if rows:
        parts += [data.table_markdown(headers, rows), *(f"{line}\n" for line in _quantile_note(result))]
    seen = _sighting_rows(result)
    if seen:
        parts.append(data.table_markdown(["logits", "rows", "cells", "first"], seen))
    parts += [f"{line}\n" for line in _unseen(result)]
    columns = [(formula, o) for formula in _FORMULAS for o in _OPERATIONS]
    lines = []
    for f in result.formats:
        by_place = {(g.formula, g.operation): g for g in result.forecasts if g.format == f.format}
        cells = [" ".join(_words(by_place[place], on)).rstrip() for place in columns]
        lines.append([f.format, *cells, figures.share(f.tied), "yes" if f.safe else "no"])
    names = [f"{formula} {_OPERATIONS[o]}" for formula, o in columns]
    parts += [data.table_markdown(["format", *names, "tied", "safe"], lines), f"{SAFE}\n"]
    if result.command:
        parts.append(f"Reproduce: `{quoted(result.command)}`")
    return "\n".join(parts) + "\n"
