"""CSV and TSV: a text table to an array, with everything found out announced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.inputs.cells import parse_block, parse_lines
from stablemax.inputs.decimals import parse_decimals
from stablemax.inputs.layout import find_layout
from stablemax.inputs.lines import TO_NPY, Block, blocks
from stablemax.inputs.spool import IN_MEMORY, Spool
from stablemax.inputs.wording import brief

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stablemax.formats import Array
    from stablemax.inputs.layout import Layout, TableOptions
    from stablemax.inputs.npy import Readable
    from stablemax.inputs.stored import StoredArray

COMMENTS_LIMIT = 2**20
BLANKS_LIMIT = 2**24
"""Most blank lines at the end: a stream of nothing else is given up on."""
SAMPLE = 50
"""Lines that the layout is found out from."""


class _Rows:
    """Rows as they come in."""

    def __init__(self, layout: Layout, values: Spool, labels: Spool) -> None:
        self.layout = layout
        self.count = 0
        self._values = values
        self._labels = labels

    def add(self, parsed: Array) -> None:
        layout = self.layout
        dropped = []
        if layout.index_guessed:
            self._check_index(parsed[:, 0])
            dropped.append(0)
        if layout.label_column is not None:
            # A forced index column was never parsed, so the columns stand one to the left.
            place = layout.label_column - (layout.index_column and not layout.index_guessed)
            self._labels.write(parsed[:, place].copy())
            dropped.append(place)
        self._values.write(np.ascontiguousarray(np.delete(parsed, dropped, axis=1) if dropped else parsed))
        self.count += len(parsed)

    def _check_index(self, column: Array) -> None:
        wrong = np.flatnonzero(column != np.arange(self.count, self.count + len(column)))
        if len(wrong):
            row = self.count + int(wrong[0])
            title = f"is named '{self.layout.header[0]}'" if self.layout.header[0] else "has no name"
            raise StablemaxError(
                f"{self._values.name}: column 1 {title} like an index, but row {row:,} has {column[wrong[0]]:g} there",
                "--index-column leaves the column out, --no-index-column reads it as logits",
            )

    def stored(self, notes: Sequence[str], kind: str) -> StoredArray:
        layout = self.layout
        width = layout.width - layout.index_column - (layout.label_column is not None)
        labels = None
        if layout.label_column is not None:
            labels = self._labels.stored((self.count,), np.dtype(np.float64), format=kind)
        return self._values.stored(
            (self.count, width), np.dtype(np.float64), format=kind, labels=labels, notes=tuple(notes)
        )


def open_table(
    stream: Readable,
    options: TableOptions,
    name: str,
    *,
    plain: str = ",",
    kind: str = "csv",
    in_memory: int = IN_MEMORY,
) -> StoredArray:
    r"""Read a CSV or TSV table, in memory that does not grow with it.

    Parameters
    ----------
    stream : Readable
        The bytes of the text.
    options : TableOptions
        How to read it.
    name : str
        What to call it in messages.
    plain : str
        The delimiter that needs no announcement.
    kind : str
        The format to note.
    in_memory : int
        Most bytes to keep in memory.

    Returns
    -------
    StoredArray
        float64 of shape (N, K) without the index and label columns, and the label column.

    Raises
    ------
    StablemaxError
        At the first mistake, with line, column and value.

    Examples
    --------
    >>> import io
    >>> from stablemax.inputs.layout import TableOptions
    >>> stored = open_table(io.BytesIO(b"a,b\n1,2\n3,4\n"), TableOptions(), "logits.csv")
    >>> stored.load().array
    array([[1., 2.],
           [3., 4.]])
    >>> stored.notes
    ('logits.csv: line 1 taken as a header (a, b)',)
    >>> open_table(io.BytesIO(b"1,2\n3\n"), TableOptions(), "logits.csv")
    Traceback (most recent call last):
    stablemax.errors.StablemaxError: logits.csv: line 2 has 1 cell, but the first line has 2: '3'
    """
    notes: list[str] = []
    with Spool(name, in_memory) as values, Spool(name, in_memory) as labels:
        rows, comments = _read(blocks(stream, name, notes), options, plain, (values, labels), notes)
        if comments:
            called = "1 comment line" if comments == 1 else f"{comments:,} comment lines"
            notes.append(f"{name}: {called} left out (beginning with '{brief(options.comment, 60)}')")
        if rows.layout.index_guessed:
            header = rows.layout.header
            title = f"'{header[0]}'" if header[0] else "without a name"
            notes.append(f"{name}: column 1 ({title}, 0 to {rows.count - 1:,}) taken as an index and left out")
        return rows.stored(notes, kind)


def _read(
    text: Iterator[Block], options: TableOptions, plain: str, spools: tuple[Spool, Spool], notes: list[str]
) -> tuple[_Rows, int]:
    """Read all rows; return them, and how many comment lines there were."""
    name = spools[0].name
    comment = options.comment.encode()
    rows: _Rows | None = None
    comments = blanks = 0
    blank: int | None = None
    for block in text:
        if rows is not None and blank is None and not (comment and comment in block.data):
            values, blank = _plain_rows(block, rows.layout)
            if values is not None:
                rows.add(values)
                continue
            blank = None
        lines, numbers, blank, skipped = _data_lines(block, options.comment, blank, name)
        comments += skipped
        blanks = 0 if lines or skipped else blanks + len(block.data)
        if comments > COMMENTS_LIMIT:
            raise StablemaxError(f"{name}: more than {COMMENTS_LIMIT:,} comment lines", "remove them, or set --comment")
        if blanks > BLANKS_LIMIT:
            raise StablemaxError(f"{name}: more than {BLANKS_LIMIT:,} blanks and blank lines", TO_NPY)
        if not lines:
            continue
        if rows is None:
            layout = find_layout(lines[:SAMPLE], numbers, options, plain=plain, name=name, notes=notes)
            rows = _Rows(layout, *spools)
            if layout.header:
                lines, numbers = lines[1:], numbers[1:]
        if lines:
            rows.add(_parsed(lines, numbers, rows.layout, name))
    if rows is None:
        raise StablemaxError(f"{name}: holds no rows", "write one row of numbers per line, for instance 1.5,2.5")
    if not rows.count:
        raise StablemaxError(f"{name}: holds no rows but a header", "if its first line is data: --no-header")
    return rows, comments


def _plain_rows(block: Block, layout: Layout) -> tuple[Array | None, int | None]:
    """Read a block of nothing but decimal numbers; return the number of a blank line at its end, too."""
    skip_first = layout.index_column and not layout.index_guessed
    if skip_first or not layout.delimiter.isascii():
        return None, None
    body = block.data.rstrip(b" \n")
    cut = block.data.find(b"\n", len(body))
    values = parse_decimals(body, layout.delimiter, layout.width)
    if values is None or cut < 0:
        return values, None
    return values, block.first + len(values)


def _data_lines(
    block: Block, comment: str, blank: int | None, name: str
) -> tuple[list[str], Sequence[int], int | None, int]:
    """Take comments and blank lines at the end out of a block; refuse blank lines before a row."""
    text = block.text
    # Only spaces make a line blank: one with a tab may be a row of empty cells.
    body = text.rstrip(" \n")
    if not body:
        return [], (), block.first if blank is None else blank, 0
    cut = text.find("\n", len(body))
    body = text if cut < 0 else text[:cut]
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


def _parsed(lines: list[str], numbers: Sequence[int], layout: Layout, name: str) -> Array:
    skip_first = layout.index_column and not layout.index_guessed
    values = parse_block(lines, layout.delimiter, layout.width, skip_first=skip_first)
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
