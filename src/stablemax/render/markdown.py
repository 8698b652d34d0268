"""A document in Markdown, as GitHub reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stablemax.render import document as model
from stablemax.render.console import Surface
from stablemax.render.terminal_plots import curve_lines, heatmap_lines


def written(document: model.Document, on: Surface) -> str:
    """Write a document, an empty line between its blocks."""
    blocks = [BLOCKS[type(block)](block, on) for section in document for block in section]
    return "\n\n".join(block.rstrip("\n") for block in blocks if block) + "\n"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    return "\n".join([line(headers), line(["---"] * len(headers)), *map(line, rows)])


def items(lines: Iterable[str]) -> str:
    """Write a list."""
    return "\n".join(f"- {line}" for line in lines)


def code_span(text: str) -> str:
    """Set text as code within a line, whatever backticks it has.

    >>> print(code_span("a * b"), code_span("a`b"))
    `a * b` `` a`b ``
    """
    longest = max(map(len, re.findall("`+", text)), default=0)
    return f"{'`' * (longest + 1)} {text} {'`' * (longest + 1)}" if longest else f"`{text}`"


def _fenced(text: str, language: str = "") -> str:
    fence = "`" * (max(2, *map(len, re.findall("`+", text)), 0) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _finding(block: model.Finding) -> str:
    return f"**{block.label}**: {block.text}" if block.label else block.text


def _lines(block: model.Lines, on: Surface) -> str:
    return items("".join(map(on.spelled, line)).strip() for line in block.lines)


def _matrix(block: model.Matrix, on: Surface) -> str:
    headers = [block.title or block.labels_are, *(c.wide_header or c.header for c in block.columns)]
    rows = [
        [on.spelled(label), *(on.spelled(cell.wide) for cell in cells)]
        for label, cells in zip(block.labels, block.rows, strict=True)
    ]
    return table(headers, rows)


def _formulas(block: model.Formulas, on: Surface) -> str:
    figures = [[block.figures_are, "", *block.figures]] if block.figures else []
    rows = [
        [f"{operation}/{f.name}", code_span(f.whole), *(on.spelled(cell.wide) for cell in f.cells)]
        for operation, formulas in block.groups
        for f in formulas
    ]
    return table(["", "formula", *block.columns], [*figures, *rows])


def _command(block: model.Command) -> str:
    remark = f" ({block.remark})" if block.remark else ""
    return f"{block.title[:1].upper()}{block.title[1:]}: {code_span(block.line)}{remark}"


def _bars(block: model.Bars, on: Surface) -> str:
    figures: dict[str, dict[str, str]] = {}
    for bar in (bar for group in block.groups for bar in group):
        figures.setdefault(bar.title, {})[bar.name] = on.readable(bar.text)
    names = dict.fromkeys(name for by_name in figures.values() for name in by_name)
    rows = [[title, *(by_name.get(name, "-") for name in names)] for title, by_name in figures.items()]
    title = f"{block.title[:1].upper()}{block.title[1:]}:\n\n" if block.title else ""
    return title + table([block.titles_are, *names], rows)


def _picture(lines: Iterable[Sequence[model.Span]]) -> str:
    return _fenced("\n".join("".join(span.text for span in line).rstrip() for line in lines))


def _source(block: model.Source, on: Surface) -> str:
    rows = []
    for line in block.lines:
        sign = (">" if on.ascii_only else "▶") if line.is_blamed else ""
        for happening in line.happenings:
            pieces = "; ".join(map(on.spelled, happening.pieces))
            rows.append([f"{sign} {line.number}".strip(), code_span(line.text.strip()), happening.name.strip(), pieces])
    return f"### {block.file}\n\n" + table(["line", "code", "operation", "what it gives"], rows)


BLOCKS: Mapping[type, Callable[[Any, Surface], str]] = {
    model.Finding: lambda block, _: _finding(block),
    model.Facts: lambda block, _: items(block.lines),
    model.Heading: lambda block, _: f"{'#' * block.level} {block.text}",
    model.Lines: _lines,
    model.Items: lambda block, _: items(block.lines) if len(block.lines) > 1 else "\n".join(block.lines),
    model.Table: lambda block, _: table(block.headers, block.rows),
    model.Matrix: _matrix,
    model.Matrices: lambda block, on: "\n\n".join(_matrix(m, on) for m in block.matrices),
    model.Formulas: _formulas,
    model.Bars: _bars,
    model.Heatmap: lambda block, on: _picture(heatmap_lines(block, on)),
    model.Curve: lambda block, on: _picture(curve_lines(block, on)),
    model.Legend: lambda block, on: "; ".join(map(on.spelled, block.entries)),
    model.Code: lambda block, _: (
        (f"{block.title[:1].upper()}{block.title[1:]}\n\n" if block.title else "") + _fenced(block.text, block.language)
    ),
    model.Excerpt: lambda block, _: f"{block.title}\n\n{_fenced(chr(10).join((*block.lines, block.more)))}",
    model.Source: _source,
    model.Values: lambda block, _: table(block.headers, block.rows),
    model.Command: lambda block, _: _command(block),
}
