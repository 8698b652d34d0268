"""A document as HTML elements: one function for each block."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from stablemax.render import document as model
from stablemax.render.html_elements import Html, details, element, joined, scrolled, sign_class, spelled, with_links
from stablemax.render.line_charts import Chart, Series, chart
from stablemax.text.outcomes import Grade, Outcome, sign_words

_MOST_LINES = 12
"""More are shown when a reader asks for them."""
Links = Mapping[str, str]
"""Addresses within the page, by the name that leads there."""


def written(document: model.Document, links: Links | None = None) -> Html:
    """Write a document."""
    blocks = (BLOCKS[type(block)](block, links or {}) for section in document for block in section)
    return joined((block for block in blocks if block), "\n")


def table(
    headers: Iterable[str], rows: Iterable[Sequence[str]], name: str = "", attributes: Sequence[Mapping[str, str]] = ()
) -> Html:
    """Write a table whose first column heads its rows, and which can be sorted."""
    heads = list(headers)
    of_columns = [*attributes, *({} for _ in heads[len(attributes) :])]
    head = element("tr", *(element("th", h, scope="col", **a) for h, a in zip(heads, of_columns, strict=True)))
    body = (element("tr", element("th", row[0], scope="row"), *_cells(row[1:])) for row in rows)
    inner = element("table", element("thead", head), "\n", element("tbody", joined(body, "\n")), class_="sortable")
    return scrolled(name or next(filter(None, heads), "table"), inner)


def _cells(cells: Iterable[str]) -> list[Html]:
    """Write what is no cell yet as one."""
    return [Html(cell) if cell.startswith("<td") and isinstance(cell, Html) else element("td", cell) for cell in cells]


def _lines(lines: Sequence[model.Line]) -> Html:
    written = element("ul", *(element("li", *map(spelled, line)) for line in lines), class_="lines")
    return written if len(lines) <= _MOST_LINES else details(f"all {len(lines)} lines", written)


def _items(lines: Sequence[str]) -> Html:
    if len(lines) == 1:
        return element("p", with_links(lines[0]))
    return element("ul", *(element("li", with_links(line)) for line in lines))


def _cell(cell: model.Cell, column: str) -> Html:
    sign = cell.wide.sign
    rank = sign.severity if cell.rank is None and sign is not None else cell.rank
    return element(
        "td",
        spelled(cell.wide),
        class_=None if sign is None else f"tint {sign_class(sign)}",
        data_outcome=None if sign is None else sign.value,
        data_column=column or None,
        data_rank=None if rank is None else str(rank),
    )


def _matrix(block: model.Matrix, links: Links) -> Html:
    columns = [c.wide_header or c.header for c in block.columns]
    rows = [
        [_linked(label, links), *(_cell(cell, column) for cell, column in zip(cells, columns, strict=True))]
        for label, cells in zip(block.labels, block.rows, strict=True)
    ]
    title = block.title or block.labels_are
    attributes = [{}, *({"data_column": column} for column in columns)]
    return table([title, *columns], rows, title, attributes)


def _linked(label: model.Span, links: Links) -> Html:
    name = label.text.strip()
    return element("a", spelled(label), href=links[name]) if name in links else spelled(label)


def _formulas(block: model.Formulas, links: Links) -> Html:
    figures = [[block.figures_are, "", *block.figures]] if block.figures else []
    rows = [
        [
            _linked(model.Span(f"{operation}/{f.name}"), links),
            element("code", f.whole),
            *(_cell(cell, column) for cell, column in zip(f.cells, block.columns, strict=True)),
        ]
        for operation, formulas in block.groups
        for f in formulas
    ]
    return table(["", "formula", *block.columns], [*figures, *rows], "formulas")


def _bars(block: model.Bars) -> Html:
    rows = []
    for group in block.groups:
        most = max((bar.value for bar in group), default=0.0) or 1.0
        for bar in group:
            meter = element("span", class_="bar", style=f"width:{100 * bar.value / most:.1f}%")
            rows.append([bar.title, element("td", bar.name), element("td", bar.text), element("td", meter)])
    title = element("p", block.title) if block.title else Html()
    return joined([title, table([block.titles_are, "", "", ""], rows, block.title)])


def _heatmap(block: model.Heatmap, _: Links) -> Html:
    """Draw each line as runs of one sign, as wide as they are along the axis."""
    lines = []
    for label, marks in zip(block.labels, block.rows, strict=True):
        runs = [_run(sign, width) for sign, width in _runs(marks)]
        lines.append(
            element("div", element("div", label, class_="name"), element("ol", *runs, class_="runs"), class_="heatline")
        )
    ticks = [_tick(place, text) for place, text in block.ticks]
    axis = element(
        "div", element("div", block.axis, class_="name"), element("div", *ticks, class_="ticks"), class_="heatline"
    )
    caption = element("figcaption", block.title)
    return element("figure", caption, *lines, axis, class_="heatmap", data_column=block.title)


def _tick(place: float, text: str) -> Html:
    """Write what stands at a place of an axis, within its ends."""
    return element("span", text, style=f"left:{100 * place:.2f}%;transform:translateX({-100 * place:.2f}%)")


def _runs(marks: Sequence[model.Mark]) -> Iterator[tuple[Outcome | Grade | None, float]]:
    """Join neighbours of one sign; between two signs the border lies halfway."""
    ordered = sorted(marks, key=lambda mark: mark.place)
    groups = [(sign, list(group)) for sign, group in itertools.groupby(ordered, key=lambda mark: mark.sign)]
    borders = [(a[-1].place + b[0].place) / 2 for (_, a), (_, b) in itertools.pairwise(groups)]
    for (sign, _), (start, end) in zip(groups, itertools.pairwise([0.0, *borders, 1.0]), strict=True):
        yield sign, end - start


def _run(sign: Outcome | Grade | None, width: float) -> Html:
    style = f"flex-grow:{100 * width:.2f}"
    if sign is None:
        return element("li", "not run", class_="dim", style=style)
    word = element("span", f" {getattr(sign_words(sign), 'short', sign.value)}", class_="word")
    glyph = element("span", sign_words(sign).glyph, class_="glyph", aria_hidden="true")
    return element("li", glyph, word, class_=f"tint {sign_class(sign)}", style=style, title=sign.value)


def _curve(block: model.Curve) -> Html:
    series = [Series(block.title, block.points, color=1)]
    return chart(Chart(block.title, block.axis, "", block.ticks, series, is_log=False))


def _source(block: model.Source, _: Links) -> Html:
    rows: list[Html] = []
    for line in block.lines:
        if line.after_gap:
            rows.append(element("tr", element("td", ":"), element("td", ""), class_="dim"))
        sign = "▶ " if line.is_blamed else ""
        inner: list[str] = [element("code", line.text)]
        if line.blame:
            inner.append(element("p", f"blame: {line.blame}", class_="bold red"))
        for happening in line.happenings:
            pieces = joined(map(spelled, happening.pieces), "  ")
            inner.append(element("p", f"{happening.name.strip()}  ", pieces, class_=f"happening {happening.style}"))
        number = element("th", f"{sign}{line.number}", scope="row")
        rows.append(element("tr", number, element("td", *inner), class_="blamed" if line.is_blamed else None))
    body = element("table", element("caption", block.file), element("tbody", joined(rows, "\n")), class_="source")
    return scrolled(block.file, body)


def _code(block: model.Code) -> Html:
    code = scrolled(block.title or "code", element("pre", element("code", block.text.rstrip("\n"))))
    return joined([element("p", _sentence(block.title)), code])


def _command(block: model.Command) -> Html:
    remark = f" ({block.remark})" if block.remark else ""
    command = scrolled(block.title, element("pre", element("code", block.line)))
    return joined([element("p", f"{_sentence(block.title)}{remark}:"), command])


def _excerpt(block: model.Excerpt) -> Html:
    text = "\n".join([*block.lines, *([block.more] if block.more else [])])
    return joined([element("p", _sentence(block.title)), scrolled(block.title, element("pre", text))])


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _finding(block: model.Finding) -> Html:
    label = [element("strong", block.label), ": "] if block.label else []
    return element("p", *label, block.text, class_="finding")


BLOCKS: Mapping[type, Callable[[Any, Links], Html]] = {
    model.Finding: lambda block, _: _finding(block),
    model.Facts: lambda block, _: element("ul", *(element("li", line) for line in block.lines), class_="facts"),
    model.Heading: lambda block, _: element(f"h{min(block.level + 1, 6)}", block.text),
    model.Lines: lambda block, _: _lines(block.lines),
    model.Items: lambda block, _: _items(block.lines),
    model.Table: lambda block, _: table(block.headers, block.rows),
    model.Matrix: _matrix,
    model.Matrices: lambda block, links: joined([_matrix(m, links) for m in block.matrices], "\n"),
    model.Formulas: _formulas,
    model.Bars: lambda block, _: _bars(block),
    model.Heatmap: _heatmap,
    model.Curve: lambda block, _: _curve(block),
    model.Legend: lambda block, _: element(
        "ul", *(element("li", spelled(span)) for span in block.entries), class_="legend"
    ),
    model.Code: lambda block, _: _code(block),
    model.Excerpt: lambda block, _: _excerpt(block),
    model.Source: _source,
    model.Values: lambda block, _: table(block.headers, block.rows),
    model.Command: lambda block, _: _command(block),
}
