"""A document on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from stablemax.render import document as model
from stablemax.render.console import Surface, printed
from stablemax.render.formula_tables import formulas
from stablemax.render.tables import bars, listing, matrices, matrix, text_of
from stablemax.render.terminal_plots import curve_lines, heatmap_lines

_GUTTER = 8  # "▶ 1234  "


def written(document: model.Document, on: Surface) -> str:
    """Write a document: blocks of a section one beneath another, an empty line between sections."""
    pieces: list[str] = []
    laid: list[RenderableType] = []
    for index, section in enumerate(document):
        if index:
            laid.append(Text(""))
        for block in section:
            whole = WHOLE.get(type(block))
            if whole is None:
                laid += LAID[type(block)](block, on)
                continue
            # What is to be copied is not laid out: Rich would wrap it.
            pieces += [printed(laid, on), *(f"{line}\n" for line in whole(block))]
            laid = []
    return "".join(pieces) + printed(laid, on)


def message(document: model.Document) -> str:
    """Write a document as the message of an assertion: no colours, 100 columns."""
    return written(document, Surface(100))


def _dim(lines: Iterable[str]) -> list[RenderableType]:
    return [Text(line, style="dim") for line in lines]


def _legend(block: model.Legend, on: Surface) -> list[RenderableType]:
    entries = [on.spelled(span) for span in block.entries]
    return _dim(wrapped(entries, on.width) if block.keeps_entries else ["; ".join(entries)])


def wrapped(entries: Sequence[str], width: int) -> list[str]:
    """Join entries by semicolons, breaking lines between them only.

    >>> wrapped(["a one-class", "b collapse", "c gentle"], 24)
    ['a one-class; b collapse;', 'c gentle']
    """
    lines = [entries[0]]
    for entry in entries[1:]:
        fits = len(lines[-1]) + len("; ") + len(entry) < width
        lines[-1:] = [f"{lines[-1]}; {entry}"] if fits else [f"{lines[-1]};", entry]
    return lines


def _picture(lines: Iterable[Sequence[model.Span]]) -> list[RenderableType]:
    return [Text.assemble(*((span.text, span.style) for span in line), no_wrap=True) for line in lines]


def _lines(block: model.Lines, on: Surface) -> list[RenderableType]:
    lines = [Text.assemble(*(text_of(span, on) for span in line)) for line in block.lines]
    return [Padding(line, (0, 0, 0, block.indent)) for line in lines] if block.indent else [*lines]


def _excerpt(block: model.Excerpt, on: Surface) -> list[RenderableType]:
    cut = [line if len(line) <= on.width - 2 else f"{line[: on.width - 5]}..." for line in block.lines]
    more = [block.more] if block.more else []
    return _dim([block.title, *(f"  {line}" for line in (*cut, *more))])


def _source(block: model.Source, on: Surface) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(block.file, style="bold")]
    for line in block.lines:
        if line.after_gap:
            parts.append(Text(f"{'':>5}:", style="dim"))
        parts += _source_line(line, on)
    return parts


def _source_line(line: model.SourceLine, on: Surface) -> list[RenderableType]:
    sign = (">" if on.ascii_only else "▶") if line.is_blamed else " "
    style = "bold red" if line.is_blamed else "bold" if line.happenings else ""
    source = textwrap.wrap(
        line.text, max(20, on.width - _GUTTER), subsequent_indent="      ", drop_whitespace=False,
        replace_whitespace=False, break_long_words=False, break_on_hyphens=False,
    ) or [""]  # fmt: skip
    heads = [f"{sign}{line.number:>5}  ", *[" " * _GUTTER] * (len(source) - 1)]
    parts: list[RenderableType] = [
        Text.assemble((head, style or "dim"), (text, style)) for head, text in zip(heads, source, strict=True)
    ]
    if line.blame:
        parts += _flowing(["blame:", *line.blame.split()], on, "bold red", separator=" ")
    for happening in line.happenings:
        pieces = [happening.name, *map(on.spelled, happening.pieces)]
        parts += _flowing(pieces, on, happening.style, separator="  ")
    return parts


def _flowing(pieces: list[str], on: Surface, style: str, *, separator: str) -> list[RenderableType]:
    """Set pieces one after another behind the gutter, on as many lines as the width takes."""
    indent = " " * _GUTTER
    guide = "| " if on.ascii_only else "│ "
    lines: list[str] = []
    for piece in pieces:
        if lines and _GUTTER + 2 + len(lines[-1]) + len(separator) + len(piece) <= on.width:
            lines[-1] += separator + piece
        else:
            lines.append(piece if not lines else f"  {piece}")
    return [Text.assemble((f"{indent}{guide}", "dim"), (line, style), overflow="fold") for line in lines]


LAID: Mapping[type, Callable[[Any, Surface], list[RenderableType]]] = {
    model.Finding: lambda block, _: [Text(block.text, style=block.style)],
    model.Facts: lambda block, _: _dim(block.lines),
    model.Heading: lambda block, _: [Text(block.text, style="bold cyan" if block.level == 1 else "bold")],
    model.Lines: _lines,
    model.Items: lambda block, _: [Padding(Text(line), (0, 0, 0, 2)) for line in block.lines],
    model.Table: listing,
    model.Matrix: matrix,
    model.Matrices: matrices,
    model.Formulas: formulas,
    model.Bars: bars,
    model.Heatmap: lambda block, on: _picture(heatmap_lines(block, on)),
    model.Curve: lambda block, on: _picture(curve_lines(block, on)),
    model.Legend: _legend,
    model.Excerpt: _excerpt,
    model.Source: _source,
}
WHOLE: Mapping[type, Callable[[Any], list[str]]] = {
    model.Code: lambda block: [
        *([block.title, ""] if block.title else []),
        textwrap.indent(block.text.rstrip("\n"), "    "),
    ],
    model.Values: lambda block: [row[-1] for row in block.rows],
    model.Command: lambda block: [f"{block.title}: {block.line}{f' ({block.remark})' if block.remark else ''}"],
}
