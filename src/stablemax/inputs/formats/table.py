"""CSV and TSV: a text table to an array, with everything found out announced."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from stablemax.inputs.file_format import FileFormat
from stablemax.inputs.foreign_text import brief
from stablemax.inputs.formats.table_cells import parse_lines
from stablemax.inputs.formats.table_layout import find_layout
from stablemax.inputs.formats.table_lines import TO_NPY, text_blocks
from stablemax.inputs.formats.table_numbers import converter, parse_block
from stablemax.inputs.spooled import Spool
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stablemax.inputs.file_format import OpenedFile, TableOptions
    from stablemax.inputs.formats.table_layout import TableLayout
    from stablemax.inputs.formats.table_lines import TextBlock
    from stablemax.inputs.stored import StoredArray
    from stablemax.numerics.formats import Array

COMMENTS_LIMIT = 2**20
BLANKS_LIMIT = 2**24
"""Most blank lines at the end: a stream of nothing else is given up on."""
SAMPLE = 50
"""Lines that the layout is found out from."""


class _Table:
    """The rows of a table of known layout as they come in; they go to spools."""

    def __init__(self, layout: TableLayout, values: Spool, labels: Spool) -> None:
        self.layout = layout
        self.count = 0
        #: A forced index column may hold text: it is never parsed, and the others stand one to the left.
        self.skips_first = layout.index_column and not layout.index_guessed
        self._values = values
        self._labels = labels

    def parsed(self, block: bytes) -> Array | None:
        """Parse lines of plain numbers, or decline."""
        # Of a small table the first block is all.
        convert = converter(large=self.count > 0)
        return parse_block(
            block, self.layout.delimiter, self.layout.width, skip_first=self.skips_first, convert=convert
        )

    def add_lines(self, lines: list[str], numbers: Sequence[int]) -> None:
        """Add lines of a block that holds more than plain numbers."""
        layout = self.layout
        values = self.parsed("\n".join(lines).encode())
        if values is None:
            values = parse_lines(
                lines,
                numbers,
                layout.delimiter,
                layout.width,
                skip_first=self.skips_first,
                name=self._values.name,
                header=layout.header,
            )
        self.add(values)

    def add(self, rows: Array) -> None:
        """Add parsed rows."""
        layout, dropped = self.layout, []
        if layout.index_guessed:
            self._check_index(rows[:, 0])
            dropped.append(0)
        if layout.label_column is not None:
            at = layout.label_column - self.skips_first
            self._labels.write(rows[:, at].copy())
            dropped.append(at)
        self._values.write(np.ascontiguousarray(np.delete(rows, dropped, axis=1) if dropped else rows))
        self.count += len(rows)

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
        """Describe all rows as an array, without the index and the labels."""
        layout = self.layout
        width = layout.width - layout.index_column - (layout.label_column is not None)
        labels = None
        if layout.label_column is not None:
            labels = self._labels.stored((self.count,), np.dtype(np.float64), format=kind)
        return self._values.stored(
            (self.count, width), np.dtype(np.float64), format=kind, labels=labels, notes=tuple(notes)
        )


def open_table(file: OpenedFile, *, delimiter: str = ",", kind: str = "csv") -> StoredArray:
    r"""Read a text table to float64, in memory that does not grow with it.

    Its index and label columns are no part of the array. `delimiter` is the one that needs no announcement.

    >>> import io
    >>> from stablemax.inputs.file_format import OpenedFile
    >>> def read(text):
    ...     return open_table(OpenedFile(io.BytesIO(text), "logits.csv"))
    >>> read(b"a,b\n1,2\n3,4\n").array
    array([[1., 2.],
           [3., 4.]])
    >>> read(b"a,b\n1,2\n3,4\n").notes
    ('logits.csv: line 1 taken as a header (a, b)',)
    >>> read(b"1,2\n3\n")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: logits.csv: line 2 has 1 cell, but the first line has 2: '3'
    """
    name, comment, notes = file.name, file.table.comment, list[str]()
    with Spool(name, file.in_memory) as values, Spool(name, file.in_memory) as labels:
        blocks = text_blocks(file.stream, name, notes)
        table, comments = _read(blocks, file.table, delimiter, (values, labels), notes)
        if comments:
            lines = counted(comments, "comment line")
            notes.append(f"{name}: {lines} left out (beginning with '{brief(comment, 60)}')")
        if table.layout.index_guessed:
            header = table.layout.header
            title = f"'{header[0]}'" if header[0] else "without a name"
            notes.append(f"{name}: column 1 ({title}, 0 to {table.count - 1:,}) taken as an index and left out")
        return table.stored(notes, kind)


def _read(
    blocks: Iterator[TextBlock], options: TableOptions, plain: str, spools: tuple[Spool, Spool], notes: list[str]
) -> tuple[_Table, int]:
    """Read all rows; return the table, and how many comment lines there were."""
    name = spools[0].name
    comment = options.comment.encode()
    table: _Table | None = None
    comments = blanks = 0
    blank: int | None = None
    for block in blocks:
        if table is not None and blank is None and not (comment and comment in block.data):
            body, blank = _without_blank_lines(block)
            values = table.parsed(body)
            if values is not None:
                table.add(values)
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
        if table is None:
            layout = find_layout(lines[:SAMPLE], numbers, options, plain=plain, name=name, notes=notes)
            table = _Table(layout, *spools)
            if layout.header:
                lines, numbers = lines[1:], numbers[1:]
        if lines:
            table.add_lines(lines, numbers)
    if table is None:
        raise StablemaxError(f"{name}: holds no rows", "write one row of numbers per line, for instance 1.5,2.5")
    if not table.count:
        raise StablemaxError(f"{name}: holds no rows but a header", "if its first line is data: --no-header")
    return table, comments


def _without_blank_lines(block: TextBlock) -> tuple[bytes, int | None]:
    """Return a block without the blank lines at its end, and the number of the first of them."""
    # Only spaces make a line blank: one with a tab may be a row of empty cells.
    body = block.data.rstrip(b" \n")
    cut = block.data.find(b"\n", len(body))
    return (body, None) if cut < 0 else (block.data[:cut], block.first + body.count(b"\n") + 1)


def _data_lines(
    block: TextBlock, comment: str, blank: int | None, name: str
) -> tuple[list[str], Sequence[int], int | None, int]:
    """Take comments and blank lines at the end out of a block; refuse blank lines before a row.

    Returns the lines, their numbers, that of the first blank line so far, and how many comments there were.
    """
    body, after = _without_blank_lines(block)
    if not body.strip(b" "):
        return [], (), block.first if blank is None else blank, 0
    lines = body.decode().split("\n")
    numbers: Sequence[int] = range(block.first, block.first + len(lines))
    skipped = 0
    if comment and comment.encode() in body:
        places = [at for at, line in enumerate(lines) if not line.lstrip().startswith(comment)]
        skipped = len(lines) - len(places)
        while places and not lines[places[-1]].strip(" "):
            after = block.first + places.pop()
        lines = [lines[at] for at in places]
        numbers = [block.first + at for at in places]
    if lines and blank is None and (not all(lines) or b"\n " in body or body.startswith(b" ")):
        blank = next((number for line, number in zip(lines, numbers, strict=True) if not line.strip(" ")), None)
    if lines and blank is not None:
        raise StablemaxError(
            f"{name}: line {blank:,} is blank, but rows follow it",
            "delete the line, or write nan for the values that are not known",
        )
    return lines, numbers, after if blank is None else blank, skipped


FORMATS = tuple(
    FileFormat(name, words, endings, opener, open_pipe=opener, is_table=True)
    for name, words, endings, opener in (
        ("csv", "a table, its cells between commas", (".csv",), partial(open_table, delimiter=",", kind="csv")),
        ("tsv", "a table, its cells between tabs", (".tsv", ".tab"), partial(open_table, delimiter="\t", kind="tsv")),
    )
)
