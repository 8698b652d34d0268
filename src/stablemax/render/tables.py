"""Results as coloured tables for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from stablemax.finding import is_built_in
from stablemax.render import figures
from stablemax.render.figures import LOOKS
from stablemax.results import Outcome
from stablemax.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.console import RenderableType

    from stablemax.render.console import Surface
    from stablemax.results import Comparison, InputSummary, OperationReport, Verdict

_CELL = 15  # "✓ ok 0.50 ulp", "≈ inaccurate", "overflow 100%" and two spaces
_ONE_LINE = 26  # "≈ inaccurate 1.6e15 ulp" and two spaces


def comparison(result: Comparison, on: Surface, *, details: bool, show_values: bool) -> list[RenderableType]:
    """Lay a comparison out: the finding, a table for each operation, what the words mean."""
    parts: list[RenderableType] = [Text(result.finding, style="bold"), Text("")]
    parts += [Text(line, style="dim") for line in facts(result)]
    for report in result.reports:
        parts.append(Text(""))
        parts += _operation(report, result, on)
        if details:
            parts += _details(report, on)
        if show_values:
            parts += _values(report, on)
    parts += [Text(""), Text(legend(result, on, every=details or show_values), style="dim")]
    return parts


_ADDED = {
    "library": "as the library adds",
    "sequential": "one by one in their own format",
    "pairwise": "pairwise in their own format",
    "float32": "in float32",
    "float64": "in float64",
}


def facts(result: Comparison) -> list[str]:
    """Say what was compared, and how."""
    given = result.input
    labels = f"; labels: {given.labels}" if given.labels else ""
    rows = counted(given.rows, "row")
    if given.judged_rows != given.rows:
        rows += f" (errors judged on {given.judged_rows:,})"
    ways: dict[str, list[str]] = {}
    for name, how in result.accumulation.items():
        ways.setdefault(how, []).append(name)
    added = "; ".join(f"{' and '.join(names)} {_ADDED[how]}" for how, names in ways.items())
    limit = "half of the format's bits" if result.max_ulp is None else f"{result.max_ulp:g} ulp"
    return [
        f"input: {given.source}; {rows} x {counted(given.classes, 'class', 'classes')}, {given.dtype}, "
        f"{_range(given)}{labels}",
        f"sums: {added}. Inaccurate: off by more than {limit}",
        *([_libraries(result)] if result.libraries else []),
    ]


def _range(given: InputSummary) -> str:
    if math.isnan(given.smallest):
        return "no finite logit"
    return f"from {given.smallest:g} to {given.largest:g}"


def _libraries(result: Comparison) -> str:
    """Say which other libraries took part, and how."""
    versions = [f"{name} {version}" for name, version in result.libraries.items()]
    where = f" on {result.device}" if result.device else ""
    ours = f"; our variants run on {result.backend} arrays{where}" if result.backend != "numpy" else ""
    theirs = ", whose built-ins add in their own way" if any(is_built_in(v.variant) for v in result.verdicts) else ""
    return f"with {listed(versions)}{theirs}{ours}"


def legend(result: Comparison, on: Surface, *, every: bool) -> str:
    """Explain the words that occur."""
    seen = {o for v in result.verdicts for o in (v.shares if every else (v.worst,))}
    return f"worst outcome of all cells, with its share or the largest error; {legend_of(seen, on)}".rstrip("; ")


def legend_of(seen: Collection[Outcome | None], on: Surface) -> str:
    """Explain the outcomes that occur, but for ok."""
    meanings = {
        Outcome.INACCURATE: "finite and wrong",
        Outcome.LOST: "0 where the truth is not",
        Outcome.OVERFLOW: "infinite where the truth is not",
        Outcome.NAN: "not a number where there is one",
        Outcome.INPUT_OVERFLOW: "the format cannot hold the logits",
        Outcome.UNDEFINED: "the formula has no value there",
    }
    return "; ".join(
        f"{figures.glyph(o, ascii_only=on.ascii_only)} {LOOKS[o].word}: {text}"
        for o, text in meanings.items()
        if o in seen
    )


def _operation(report: OperationReport, result: Comparison, on: Surface) -> list[RenderableType]:
    names = list(dict.fromkeys(v.variant for v in report.verdicts))
    first = max(len(text) for text in (*map(row_label, names), report.operation)) + 2
    room = on.width - first + 2  # the last column needs no space behind it
    one_line = room >= _ONE_LINE * len(result.formats)
    each = max(1, room // (_ONE_LINE if one_line else _CELL))
    tables: list[RenderableType] = []
    by_place = {(v.variant, v.format): v for v in report.verdicts}
    for start in range(0, len(result.formats), each):
        formats = result.formats[start : start + each]
        table = table_like(on)
        table.add_column(Text(report.operation, style="bold"), no_wrap=True, min_width=first - 2)
        for name in formats:
            table.add_column(name, no_wrap=True, min_width=_CELL - 2)
        for variant in names:
            cells = [_cell(by_place[variant, f], on, one_line=one_line) for f in formats]
            table.add_row(Text(row_label(variant)), *cells)
        tables += [Text(""), table] if tables else [table]
    return tables


def row_label(variant: str) -> str:
    """Name a variant within its operation's table; a built-in keeps its library.

    Examples
    --------
    >>> row_label("softmax/shifted"), row_label("torch/softmax")
    ('shifted', 'torch/softmax')
    """
    return variant if is_built_in(variant) else variant.partition("/")[2]


def table_like(on: Surface) -> Table:
    """Return an empty table in the one style of all tables."""
    style = box.ASCII if on.ascii_only else box.SIMPLE_HEAD
    return Table(box=style, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def _cell(verdict: Verdict, on: Surface, *, one_line: bool) -> Text:
    if verdict.worst is None:
        return Text("not run", style="dim")
    look = LOOKS[verdict.worst]
    words = f"{figures.glyph(verdict.worst, ascii_only=on.ascii_only)} {look.word}"
    figure = figure_of(verdict)
    text = f"{words} {figure}".rstrip()
    if not one_line and len(text) > _CELL - 2:
        # Two lines, broken between words: "≈ inaccurate" and its figure, "– input" and "overflow 100%".
        head, _, tail = words.rpartition(" ") if " " in look.word else (words, "", "")
        text = f"{head}\n{tail} {figure}" if tail else f"{head}\n{figure}"
    return Text(text, style=look.style)


def figure_of(verdict: Verdict) -> str:
    """The one figure of a cell: the largest error where all is finite, else the share of the worst."""
    assert verdict.worst is not None
    if verdict.worst in (Outcome.OK, Outcome.INACCURATE):
        return figures.short_error(verdict.error_ulp)
    return figures.share(verdict.shares[verdict.worst])


def _details(report: OperationReport, on: Surface) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for verdict in report.verdicts:
        parts += [Text(""), Text.assemble((f"{verdict.variant} in {verdict.format}", "bold"))]
        if verdict.worst is None:
            parts.append(Text(f"  not run: {verdict.skipped}", style="dim"))
            continue
        shares = Text("  ")
        for outcome, part in verdict.shares.items():
            look = LOOKS[outcome]
            shares.append(
                f"{figures.glyph(outcome, ascii_only=on.ascii_only)} {look.word} {figures.share(part)}  ",
                style=look.style,
            )
        parts.append(shares)
        parts += [Text(f"  {line}") for line in detail_lines(verdict)]
    return parts


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


def _values(report: OperationReport, on: Surface) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for verdict in report.verdicts:
        if not verdict.values:
            continue
        parts += [Text(""), Text(f"{verdict.variant} in {verdict.format}", style="bold")]
        for row in verdict.values:
            line = Text(f"  row {row.row}:")
            for value, outcome in zip(row.values, row.outcomes, strict=True):
                line.append(" ")
                style = "" if outcome is Outcome.OK else LOOKS[outcome].style
                mark = "" if outcome is Outcome.OK else figures.glyph(outcome, ascii_only=on.ascii_only)
                line.append(f"{mark}{figures.number(value, verdict.format)}", style=style)
            parts.append(line)
    return parts


def grid(headers: list[str], rows: list[list[str]], on: Surface) -> list[RenderableType]:
    """Lay a list out as a table whose words wrap and whose numbers don't; too wide, as blocks."""
    needed = [
        max(len(word) for cell in (header, *(row[i] for row in rows)) for word in cell.split())
        for i, header in enumerate(headers)
    ]
    if sum(needed) + 2 * len(headers) > on.width:
        blocks: list[RenderableType] = []
        for row in rows:
            blocks.append(Text(row[0], style="bold"))
            lines = [f"{h}: {c}" for h, c in zip(headers[1:], row[1:], strict=True) if c]
            blocks += [Padding(Text(line), (0, 0, 0, 2)) for line in lines]
        return blocks
    table = table_like(on)
    for header, width in zip(headers, needed, strict=True):
        table.add_column(header, min_width=width)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return [table]
