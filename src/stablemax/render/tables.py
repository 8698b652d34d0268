"""Tables and charts on a terminal: numbers are never cut, whatever the width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from stablemax.render.console import Surface
from stablemax.render.document import Bars, Column, Matrices, Matrix, Span, Table
from stablemax.text.outcomes import sign_words

_GAP = 2  # a space and the table's own
_TIGHT = 1
_BETWEEN = 4  # two tables side by side
_LONGEST_BAR = 40
_EIGHTHS = "▏▎▍▌▋▊▉"


def text_of(span: Span, on: Surface) -> Text:
    """Set a span in its own style, or that of its sign."""
    style = span.style or ("" if span.sign is None else sign_words(span.sign).style)
    return Text(on.spelled(span), style=style)


def _empty(on: Surface, gap: int = _GAP) -> RichTable:
    """Return an empty table in the one style of all tables, with a gap between its columns."""
    style = box.ASCII if on.ascii_only else box.SIMPLE_HEAD
    return RichTable(box=style, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))


def listing(table: Table, on: Surface) -> list[RenderableType]:
    """Lay a list out as a table whose words wrap and whose numbers don't; too wide, as blocks."""
    headers = [on.readable(text) for text in table.headers]
    rows = [[on.readable(text) for text in row] for row in table.rows]
    needed = [
        max(
            len(piece)
            for cell in (header, *(row[i] for row in rows))
            for piece in ([cell] if header in table.whole else cell.split())
        )
        for i, header in enumerate(headers)
    ]
    if sum(needed) + _GAP * len(headers) > on.width:
        blocks: list[RenderableType] = []
        for row in rows:
            blocks.append(Text(row[0], style="bold"))
            lines = [f"{h}: {c}" for h, c in zip(headers[1:], row[1:], strict=True) if c]
            blocks += [Padding(Text(line), (0, 0, 0, 2)) for line in lines]
        return blocks
    laid = _empty(on)
    longest = [max(len(header), *(len(row[i]) for row in rows)) for i, header in enumerate(headers)]
    room = on.width - _GAP * (len(headers) - 1)
    # Left to itself, Rich takes from a short column what a long one lacks, down to two characters.
    for header, width in zip(headers, _shared(room, needed, longest), strict=True):
        laid.add_column(header, width=width)
    for row in rows:
        laid.add_row(*map(Text, row))
    return [laid]


def _shared(room: int, needed: Sequence[int], longest: Sequence[int]) -> list[int]:
    """Give each column what its longest word needs, and of what is left the more, the longer its cells are.

    >>> _shared(20, [4, 5], [4, 60]), _shared(20, [4, 5], [14, 15]), _shared(80, [4, 5], [14, 15])
    ([4, 16], [9, 10], [14, 15])
    """
    left, wanted = room - sum(needed), sum(longest) - sum(needed)
    if wanted <= left:
        return list(longest)
    return [least + left * (most - least) // wanted for least, most in zip(needed, longest, strict=True)]


def matrix(block: Matrix, on: Surface, gap: int = _GAP) -> list[RenderableType]:
    """Lay a matrix out: one table where cells on one line fit, else narrow cells in as many tables as it takes."""
    labels = [text_of(span, on) for span in block.labels]
    corner = "" if block.title_above else block.title
    label_width = max(len(text) for text in (*(t.plain for t in labels), corner, *(c.group for c in block.columns)))
    room = on.width - label_width
    wide = [_Laid(block, i, on, is_wide=True) for i in range(len(block.columns))]
    parts: list[RenderableType] = [Text(block.title, style="bold")] if block.title_above else []
    if sum(max(c.width, block.wide_room) + gap for c in wide) <= room:
        return [*parts, _one_table(corner, labels, wide, label_width, on, gap)]
    narrow = [_Laid(block, i, on, is_wide=False) for i in range(len(block.columns))]
    for title, columns in _spread(narrow, room, gap):
        if parts and not block.title_above:
            parts.append(Text(""))
        parts.append(_one_table(title or corner, labels, columns, label_width, on, gap))
    return parts


_BESIDE = 120
"""Width from which on matrices stand side by side."""


def matrices(block: Matrices, on: Surface) -> list[RenderableType]:
    """Lay matrices out one beneath another, or in two columns that are about equally long."""
    half = replace(on, width=(on.width - _BETWEEN) // 2)
    fits = on.width >= _BESIDE and all(len(matrix(m, half, _TIGHT)) == 1 for m in block.matrices)
    if not fits or len(block.matrices) < 2:
        return [part for m in block.matrices for part in (*matrix(m, on), Text(""))][:-1]
    lengths = [len(m.rows) + 3 for m in block.matrices]
    split = min(range(1, len(lengths)), key=lambda i: max(sum(lengths[:i]), sum(lengths[i:])))
    parts = (block.matrices[:split], block.matrices[split:])
    columns = [[p for m in part for p in (*matrix(m, half, _TIGHT), Text(""))] for part in parts]
    grid = RichTable.grid(padding=(0, _BETWEEN, 0, 0))
    grid.add_row(*(Group(*column[:-1]) for column in columns))
    return [grid]


class _Laid:
    """A column of a matrix as it is set: header, cells and width."""

    def __init__(self, block: Matrix, index: int, on: Surface, *, is_wide: bool) -> None:
        self.column: Column = block.columns[index]
        self.header = self.column.wide_header or self.column.header if is_wide else self.column.header
        cells = [row[index] for row in block.rows]
        self.cells = [text_of(cell.wide if is_wide else cell.narrow or cell.wide, on) for cell in cells]
        lines = (len(line) for cell in self.cells for line in cell.plain.split("\n"))
        self.width = max(block.wide_width if is_wide else block.narrow_width, len(self.header), *lines)


def _spread(columns: Sequence[_Laid], room: int, gap: int) -> Iterator[tuple[str, list[_Laid]]]:
    """Spread columns over tables, one column at least in each, with the titles of their groups."""
    pinned = [c for c in columns if c.column.is_pinned]
    room -= sum(c.width + gap for c in pinned)
    table: list[_Laid] = []
    for column in columns:
        if column.column.is_pinned:
            continue
        full = sum(c.width + gap for c in (*table, column)) > room
        if table and (full or column.column.group != table[0].column.group):
            yield table[0].column.group, [*table, *pinned]
            table, pinned = [], []
        table.append(column)
    yield table[0].column.group, [*table, *pinned]


def _one_table(
    title: str, labels: list[Text], columns: Sequence[_Laid], label_width: int, on: Surface, gap: int
) -> RichTable:
    table = _empty(on, gap)
    table.add_column(title, no_wrap=True, min_width=label_width)
    for column in columns:
        table.add_column(column.header, no_wrap=True, min_width=column.width)
    for i, label in enumerate(labels):
        table.add_row(label, *(column.cells[i] for column in columns))
    return table


def bars(block: Bars, on: Surface) -> list[RenderableType]:
    """Draw bars beside their titles and names, with their figures; each group has its own scale."""
    every = [bar for group in block.groups for bar in group]
    figures = [on.readable(bar.text) for bar in every]
    title_width, name_width = (max(len(getattr(bar, name)) for bar in every) for name in ("title", "name"))
    room = max(1, min(_LONGEST_BAR, on.width - title_width - name_width - max(map(len, figures)) - 3))
    lines: list[RenderableType] = [Text(block.title, style="bold")] if block.title else []
    texts = iter(figures)
    before = ""
    for group in block.groups:
        largest = max(bar.value for bar in group)
        for bar in group:
            line = Text(f"{'' if bar.title == before else bar.title:<{title_width}} {bar.name:<{name_width}} ")
            drawn = drawn_bar(bar.value, largest, room, ascii_only=on.ascii_only)
            line.append(drawn, style="bold cyan" if bar.is_ours else "cyan")
            lines.append(line.append(f" {next(texts)}"))
            before = bar.title
    return lines


def drawn_bar(value: float, largest: float, width: int, *, ascii_only: bool) -> str:
    """Draw a bar whose length is to the width as the value is to the largest.

    >>> drawn_bar(1.0, 4.0, 10, ascii_only=False), drawn_bar(1.0, 4.0, 10, ascii_only=True)
    ('██▌', '##')
    """
    if ascii_only:
        return "#" * max(1, int(width * value / largest))
    full, eighths = divmod(max(1, round(8 * width * value / largest)), 8)
    return "█" * full + _EIGHTHS[eighths - 1 : eighths]
