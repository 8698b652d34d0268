"""CSV and TSV: a text table to an array, with everything found out announced."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from stablemax.inputs.file_format import FileFormat, OpenedFile, TableOptions
from stablemax.inputs.foreign_text import brief
from stablemax.inputs.formats.list_cells import holds_lists, list_rows, stored_lists
from stablemax.inputs.formats.long_table import SAMPLE, Numbering, widened, widened_cells
from stablemax.inputs.formats.table_cells import converter, parse_block, parse_lines, quoted, split
from stablemax.inputs.formats.table_layout import find_layout
from stablemax.inputs.formats.text_blocks import TO_NPY, text_blocks
from stablemax.inputs.spooled import Spool
from stablemax.inputs.stored import StoredArray
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted

if TYPE_CHECKING:
    from stablemax.inputs.formats.table_layout import TableLayout

COMMENTS_LIMIT = 2**20
BLANKS_LIMIT = 2**24
"""Most blank lines at the end: a stream of nothing else is given up on."""


class _Table:
    """The rows of a table of known layout as they come in; they go to spools."""

    def __init__(self, layout: TableLayout, values: Spool, labels: Spool) -> None:
        self.layout = layout
        self.count = 0
        self._values = values
        self._labels = labels
        self._numbering: Numbering | None = None

    def add_plain(self, block: bytes) -> bool:
        """Add lines if they hold plain numbers alone; say whether they do."""
        layout = self.layout
        rows = parse_block(
            block,
            layout.delimiter,
            layout.width,
            skip_first=layout.skips_first,
            convert=converter(large=self.count > 0),  # of a small table the first block is all
        )
        if rows is not None:
            self._add(rows)
        return rows is not None

    def add_lines(self, lines: list[str], numbers: Sequence[int]) -> None:
        """Add lines that may hold more than plain numbers."""
        layout, name = self.layout, self._values.name
        if layout.is_long:
            lines = self._numbered(lines, numbers)
        if not self.add_plain("\n".join(lines).encode()):
            self._add(parse_lines(lines, numbers, layout, name))

    def _numbered(self, lines: list[str], numbers: Sequence[int]) -> list[str]:
        """Put numbers in the place of the names of a long table."""
        sign, places = self.layout.delimiter, (f"{self._values.name}: line {number:,}" for number in numbers)
        cells = [split(line, sign, place) for line, place in zip(lines, places, strict=True)]
        numbering = self._numbering = self._numbering or Numbering(cells[:SAMPLE])
        if not numbering.has_names:
            return lines
        return [sign.join(quoted(cell, sign) for cell in numbering.numbered(line)) for line in cells]

    @property
    def takes_blocks(self) -> bool:
        """False where each line has a name that is to be numbered."""
        return self._numbering is None or not self._numbering.has_names

    def _add(self, rows: Array) -> None:
        if self.layout.index_guessed:
            self._check_index(rows[:, 0])
        dropped = self.layout.dropped
        if self.layout.label_column is not None:
            self._labels.write(rows[:, dropped[-1]].copy())
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
        layout, labels, dtype = self.layout, None, np.dtype(np.float64)
        if layout.label_column is not None:
            labels = self._labels.stored((self.count,), dtype, format=kind)
        width = layout.width - layout.skips_first - len(layout.dropped)
        class_names = layout.class_names
        if self._numbering is not None:
            notes = (*notes, *self._numbering.notes(self._values.name))
            class_names = self._numbering.class_names
        known = {"format": kind, "labels": labels, "notes": tuple(notes), "class_names": class_names}
        return self._values.stored((self.count, width), dtype, **known)


_Visitor = Callable[[list[str]], None]
_AnyTable = TypeVar("_AnyTable", bound=_Table)


class _PrintedTable(_Table):
    """The same rows as they are printed: a visitor gets their cells, and nothing is parsed."""

    def __init__(
        self, visit: _Visitor, visit_long: _Visitor, layout: TableLayout, values: Spool, labels: Spool
    ) -> None:
        super().__init__(layout, values, labels)
        self._visit = visit_long if layout.is_long else visit

    def add_plain(self, block: bytes) -> bool:  # noqa: ARG002
        """Decline: a block tells no cells."""
        return False

    def add_lines(self, lines: list[str], numbers: Sequence[int]) -> None:
        """Split lines, and leave out the index and the labels."""
        layout = self.layout
        dropped = {place + layout.skips_first for place in layout.dropped} | ({0} if layout.skips_first else set())
        for line, number in zip(lines, numbers, strict=True):
            cells = split(line, layout.delimiter, f"{self._values.name}: line {number:,}")
            self._visit([cell for place, cell in enumerate(cells) if place not in dropped])
        self.count += len(lines)


def visit_cells(file: OpenedFile, visit: _Visitor, *, delimiter: str = ",") -> None:
    r"""Call a visitor with the cells of each row of a table that `open_table` reads, as they are printed.

    >>> import io
    >>> from stablemax.inputs.file_format import OpenedFile
    >>> visit_cells(OpenedFile(io.BytesIO(b"a,b\n1,2.50\n"), "logits.csv"), print)
    ['1', '2.50']
    """
    with Spool(file.name, file.limits.in_memory) as spool:
        blocks, has_lists = _peeked(text_blocks(file.stream, file.name, []), file.table.comment, file.name)
        if has_lists:
            for list_row in list_rows(blocks, file.table, delimiter, file.name, []):
                visit(list_row.cells)
            return
        rows = list[list[str]]()
        make = partial(_PrintedTable, visit, rows.append)
        _read(blocks, file.table, delimiter, make, (spool, spool), [])
        for row in widened_cells(rows, file.name) if rows else ():
            visit(row)


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
    with Spool(name, file.limits.in_memory) as values, Spool(name, file.limits.in_memory) as labels:
        blocks, has_lists = _peeked(text_blocks(file.stream, name, notes), comment, name)
        if has_lists:
            return stored_lists(list_rows(blocks, file.table, delimiter, name, notes), values, labels, notes, kind)
        table, comments = _read(blocks, file.table, delimiter, _Table, (values, labels), notes)
        if comments:
            lines = counted(comments, "comment line")
            notes.append(f"{name}: {lines} left out (beginning with '{brief(comment, 60)}')")
        if table.layout.index_guessed:
            header = table.layout.header
            title = f"'{header[0]}'" if header[0] else "without a name"
            notes.append(f"{name}: column 1 ({title}, 0 to {table.count - 1:,}) taken as an index and left out")
        stored = table.stored(notes, kind)
    return widened(stored) if table.layout.is_long else stored


def _peeked(blocks: Iterator[tuple[int, bytes]], comment: str, name: str) -> tuple[Iterator[tuple[int, bytes]], bool]:
    """Return the blocks, and whether the first has cells that are lists."""
    first = list(itertools.islice(blocks, 1))
    if first and first[0][1].lstrip().startswith(b"{"):
        raise StablemaxError(f"{name}: begins as JSON", "give its name the ending .jsonl, or say --input-format jsonl")
    has_lists = b"[" in b"".join(data for _, data in first) and holds_lists(first[0][1].decode(), comment)
    return itertools.chain(first, blocks), has_lists


def _read(
    blocks: Iterator[tuple[int, bytes]],
    options: TableOptions,
    plain: str,
    make: Callable[[TableLayout, Spool, Spool], _AnyTable],
    spools: tuple[Spool, Spool],
    notes: list[str],
) -> tuple[_AnyTable, int]:
    """Read all rows; return the table, and how many comment lines there were."""
    name, comment = spools[0].name, options.comment
    table: _AnyTable | None = None
    comments = blank_bytes = 0
    blank: int | None = None
    for first, block in blocks:
        has_comment = bool(comment) and comment.encode() in block
        if table is not None and blank is None and not has_comment and table.takes_blocks and table.add_plain(block):
            continue
        every = block.rstrip(b" ").decode().split("\n") if block.strip(b" \n") else [""]
        numbered = [(number, line) for number, line in enumerate(every, first) if not _is_comment(line, comment)]
        comments += len(every) - len(numbered)
        rows, blank = _rows(numbered, blank, name)
        blank_bytes = 0 if rows or len(numbered) < len(every) else blank_bytes + len(block)
        if comments > COMMENTS_LIMIT:
            raise StablemaxError(f"{name}: more than {COMMENTS_LIMIT:,} comment lines", "remove them, or set --comment")
        if blank_bytes > BLANKS_LIMIT:
            raise StablemaxError(f"{name}: more than {BLANKS_LIMIT:,} blanks and blank lines", TO_NPY)
        if not rows:
            continue
        numbers, lines = [number for number, _ in rows], [line for _, line in rows]
        if table is None:
            table = make(find_layout(lines[:SAMPLE], numbers, options, plain=plain, name=name, notes=notes), *spools)
            if table.layout.header:
                del lines[0], numbers[0]
        if lines:
            table.add_lines(lines, numbers)
    if table is None:
        raise StablemaxError(f"{name}: holds no rows", "write one row of numbers per line, for instance 1.5,2.5")
    if not table.count:
        raise StablemaxError(f"{name}: holds no rows but a header", "if its first line is data: --no-header")
    return table, comments


def _is_comment(line: str, comment: str) -> bool:
    return bool(comment) and line.lstrip().startswith(comment)


def _rows(numbered: list[tuple[int, str]], blank: int | None, name: str) -> tuple[list[tuple[int, str]], int | None]:
    """Take blank lines out of numbered lines; refuse a row after them, the first of which may have come before."""
    rows = []
    for number, line in numbered:
        # Only spaces make a line blank: one with a tab may be a row of empty cells.
        if not line.strip(" "):
            blank = number if blank is None else blank
        elif blank is None:
            rows.append((number, line))
        else:
            raise StablemaxError(
                f"{name}: line {blank:,} is blank, but rows follow it",
                "delete the line, or write nan for the values that are not known",
            )
    return rows, blank


def _format(name: str, words: str, endings: tuple[str, ...], delimiter: str) -> FileFormat:
    opener = partial(open_table, delimiter=delimiter, kind=name)
    cells = partial(visit_cells, delimiter=delimiter)
    return FileFormat(name, words, endings, opener, open_pipe=opener, is_table=True, cells=cells)


FORMATS = (
    _format("csv", "a table, its cells between commas", (".csv",), ","),
    _format("tsv", "a table, its cells between tabs", (".tsv", ".tab"), "\t"),
)
