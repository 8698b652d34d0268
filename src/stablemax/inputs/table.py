"""CSV and TSV: a text table to an array, with everything found out announced."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.inputs.cells import parse_block, parse_lines
from stablemax.inputs.files import open_regular, reading
from stablemax.inputs.layout import TableOptions, find_layout
from stablemax.inputs.lines import TEXT_LIMIT, TO_NPY, blocks
from stablemax.inputs.wording import brief, file_name, size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.inputs.layout import Layout
    from stablemax.inputs.lines import Block
    from stablemax.inputs.npy import Readable

__all__ = ["CELLS_LIMIT", "Table", "TableOptions", "read_table"]

CELLS_LIMIT = 2**24
"""Most cells, about 4 s of parsing: the bytes of a text do not bound the cells in it."""
COMMENTS_LIMIT = 2**20
SAMPLE = 50
"""Lines that the layout is found out from."""


@dataclass(frozen=True, eq=False)
class Table:
    """What a table holds.

    Attributes
    ----------
    array : numpy.ndarray
        float64 of shape (N, K), read-only, without the index and label columns.
    labels : numpy.ndarray or None
        float64 of shape (N,): the label column.
    header : tuple of str
        Names of the columns of `array`; empty without a header.
    delimiter : str
        What separates the cells; a space stands for blanks.
    notes : tuple of str
        What was found out, a sentence each.
    """

    array: np.ndarray
    labels: np.ndarray | None
    header: tuple[str, ...]
    delimiter: str
    notes: tuple[str, ...]


@dataclass
class _Rows:
    """Rows as they come in; bytearrays grow in place, so no second copy is ever held."""

    layout: Layout
    name: str
    values: bytearray = field(default_factory=bytearray)
    labels: bytearray = field(default_factory=bytearray)
    count: int = 0

    def add(self, parsed: np.ndarray) -> None:
        layout = self.layout
        rows = len(parsed)
        dropped = []
        if layout.index_guessed:
            self._check_index(parsed[:, 0])
            dropped.append(0)
        if layout.label_column is not None:
            # A forced index column was never parsed, so the columns stand one to the left.
            place = layout.label_column - (layout.index_column and not layout.index_guessed)
            self.labels += parsed[:, place].tobytes()
            dropped.append(place)
        self.values += (np.delete(parsed, dropped, axis=1) if dropped else parsed).tobytes()
        self.count += rows
        if self.count * layout.width > CELLS_LIMIT:
            raise StablemaxError(
                f"{self.name}: more than {CELLS_LIMIT:,} cells, the most that are read of a text", TO_NPY
            )

    def _check_index(self, column: np.ndarray) -> None:
        wrong = np.flatnonzero(column != np.arange(self.count, self.count + len(column)))
        if len(wrong):
            row = self.count + int(wrong[0])
            title = f"is named '{self.layout.header[0]}'" if self.layout.header[0] else "has no name"
            raise StablemaxError(
                f"{self.name}: column 1 {title} like an index, but row {row:,} has {column[wrong[0]]:g} there",
                "--index-column leaves the column out, --no-index-column reads it as logits",
            )


def read_table(
    source: str | Readable, options: TableOptions | None = None, name: str | None = None, *, plain: str = ","
) -> Table:
    r"""Read a CSV or TSV table.

    Parameters
    ----------
    source : str or Readable
        A path, or a stream of bytes.
    options : TableOptions, optional
        How to read it.
    name : str, optional
        What to call it in messages.
    plain : str
        The delimiter that needs no announcement.

    Returns
    -------
    Table

    Raises
    ------
    StablemaxError
        At the first mistake, with line, column and value; when the table is larger than 160 MiB of
        text or 16,777,216 cells.

    Examples
    --------
    >>> import io
    >>> table = read_table(io.BytesIO(b"a,b\n1,2\n3,4\n"), name="logits.csv")
    >>> table.array
    array([[1., 2.],
           [3., 4.]])
    >>> table.notes
    ('logits.csv: line 1 taken as a header (a, b)',)
    >>> read_table(io.BytesIO(b"1,2\n3\n"), name="logits.csv")
    Traceback (most recent call last):
    stablemax.errors.StablemaxError: logits.csv: line 2 has 1 cell, but the first line has 2: '3'
    """
    chosen = options or TableOptions()
    if not isinstance(source, str):
        return _read(source, chosen, name or "standard input", plain)
    called = name or file_name(source)
    with open_regular(source) as stream, reading(called):
        size = os.fstat(stream.fileno()).st_size
        if size > TEXT_LIMIT:
            raise StablemaxError(f"{called}: {size_of(size)} of text; at most {TEXT_LIMIT:,} are read", TO_NPY)
        return _read(stream, chosen, called, plain)


def _read(stream: Readable, options: TableOptions, name: str, plain: str) -> Table:
    notes: list[str] = []
    rows: _Rows | None = None
    layout: Layout | None = None
    comments = 0
    blank: int | None = None
    for block in blocks(stream, name, notes):
        lines, numbers, blank, skipped = _data_lines(block, options.comment, blank, name)
        comments += skipped
        if comments > COMMENTS_LIMIT:
            raise StablemaxError(f"{name}: more than {COMMENTS_LIMIT:,} comment lines", "remove them, or set --comment")
        if not lines:
            continue
        if layout is None or rows is None:
            layout = find_layout(lines[:SAMPLE], numbers, options, plain=plain, name=name, notes=notes)
            rows = _Rows(layout, name)
            if layout.header:
                lines, numbers = lines[1:], numbers[1:]
        if lines:
            rows.add(_parsed(block, lines, numbers, layout, name))
    if layout is None or rows is None:
        raise StablemaxError(f"{name}: holds no rows", "write one row of numbers per line, for instance 1.5,2.5")
    if not rows.count:
        raise StablemaxError(f"{name}: holds no rows but a header", "if its first line is data: --no-header")
    return _table(rows, layout, comments, options, notes)


def _table(rows: _Rows, layout: Layout, comments: int, options: TableOptions, notes: list[str]) -> Table:
    name = rows.name
    if comments:
        called = "1 comment line" if comments == 1 else f"{comments:,} comment lines"
        notes.append(f"{name}: {called} left out (beginning with '{brief(options.comment, 60)}')")
    if layout.index_guessed:
        title = f"'{layout.header[0]}'" if layout.header[0] else "without a name"
        notes.append(f"{name}: column 1 ({title}, 0 to {rows.count - 1:,}) taken as an index and left out")
    array: np.ndarray = np.frombuffer(rows.values).reshape(rows.count, -1)
    array.flags.writeable = False
    labels: np.ndarray | None = None
    if layout.label_column is not None:
        labels = np.frombuffer(rows.labels)
        labels.flags.writeable = False
    header = tuple(
        title
        for place, title in enumerate(layout.header)
        if place != layout.label_column and not (place == 0 and layout.index_column)
    )
    return Table(array, labels, header, layout.delimiter, tuple(notes))


def _data_lines(
    block: Block, comment: str, blank: int | None, name: str
) -> tuple[list[str], Sequence[int], int | None, int]:
    """Take comments and blank lines at the end out of a block; refuse blank lines before a row."""
    # Only spaces make a line blank: one with a tab may be a row of empty cells.
    body = block.text.rstrip(" \n")
    if not body:
        return [], (), block.first if blank is None else blank, 0
    cut = block.text.find("\n", len(body))
    body = block.text if cut < 0 else block.text[:cut]
    lines = body.split("\n")
    after = None if cut < 0 else block.first + len(lines)
    numbers: Sequence[int] = range(block.first, block.first + len(lines))
    skipped = 0
    if comment and comment in body:
        kept = [at for at, line in enumerate(lines) if not line.lstrip().startswith(comment)]
        skipped = len(lines) - len(kept)
        while kept and not lines[kept[-1]].strip(" "):
            after = block.first + kept.pop()
        lines = [lines[at] for at in kept]
        numbers = [block.first + at for at in kept]
    if lines and blank is None and (not all(lines) or "\n " in body or body.startswith(" ")):
        blank = next((number for line, number in zip(lines, numbers, strict=True) if not line.strip(" ")), None)
    if lines and blank is not None:
        raise StablemaxError(
            f"{name}: line {blank:,} is blank, but rows follow it",
            "delete the line, or write nan for the values that are not known",
        )
    return lines, numbers, after if blank is None else blank, skipped


def _parsed(block: Block, lines: list[str], numbers: Sequence[int], layout: Layout, name: str) -> np.ndarray:
    skip_first = layout.index_column and not layout.index_guessed
    values = parse_block(block.text, lines, layout.delimiter, layout.width, skip_first=skip_first)
    if values is not None:
        return values
    return parse_lines(
        lines,
        numbers,
        layout.delimiter,
        layout.width,
        skip_first=skip_first,
        name=name,
        header=layout.header,
    )
