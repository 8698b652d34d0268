"""Lists in text: printed arrays and tensors, a list a line, and tables with a column of lists."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stablemax.inputs.file_format import TableOptions
from stablemax.inputs.foreign_text import brief, listed, size_of
from stablemax.inputs.formats.table_cells import CELL_LIMIT, COLUMN_LIMIT, is_number, number_hint
from stablemax.inputs.formats.table_layout import called, delimiter_named, find_delimiter, label_notes, other_columns
from stablemax.inputs.spooled import Spool
from stablemax.inputs.stored import StoredArray
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted

TEXT_LIMIT = 2**26
"""Longest text with lists, in bytes: a list may end in a later line, so that all of it is held."""
_TO_NPY = "save the array instead of its text: numpy.save('logits.npy', x)"
# Runs of blanks are taken whole (`*+`): given back one by one they cost the square of their length.
_OPENING = r"(?:(?:torch\.)?tensor|(?:np\.|numpy\.)?array)\s*+\(\s*+"
# How torch and NumPy end what they print: ], dtype=float32), ], grad_fn=<AddmmBackward0>), ], size=(3,)).
_ENDING = r"(?:\s*+,\s*+\w+\s*+=[^,()\[\]\n]*+(?:\([^()\n]*+\))?)*+\s*+,?\s*+\)"
# Without further brackets inside: an opening one that is never closed is passed over at once.
_LIST = rf"(?:{_OPENING})?\[{{1,3}}[^\[\]]*+\](?:\s*+\]){{0,2}}(?:{_ENDING})?"
_BEGINS = re.compile(rf"(?:^|[,;|\t])[^\S\t]*+(?:\"\s*+)?(?:{_OPENING})?\[")
_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_ROW = "\1"
"""Stands for a row where only what is around the rows is looked at."""
_ARRAY = re.compile(rf"(?:{_OPENING})?\[[\[\]\s,{_ROW}]*\](?:{_ENDING})?")
_LINE = re.compile(rf"\s*+(?:(?:{_OPENING})?{_ROW}(?:{_ENDING})?\s*+,?\s*+)?")
_ENTRY = re.compile(r"\w+(?:\[\d+\])+")
_SCALAR = re.compile(r"(?:np|numpy)\.\w+\(([^()]*)\)")


@dataclass(frozen=True)
class ListRow:
    """A row of logits as it is printed."""

    #: The number of its line.
    line: int
    cells: list[str]
    #: What its label column holds; None without one.
    label: str | None = None


def holds_lists(text: str, comment: str) -> bool:
    r"""Whether one of the first lines of a text has a cell that begins as a list.

    >>> holds_lists('name,logit\na,"[1 2]"', "#"), holds_lists("x[0],x[1]\n1,2", "#")
    (True, False)
    """
    lines = (line for line in text.split("\n") if line.strip() and not (comment and line.lstrip().startswith(comment)))
    return any(_BEGINS.search(line) is not None for _, line in zip(range(2), lines, strict=False))


def list_rows(
    blocks: Iterable[tuple[int, bytes]], options: TableOptions, plain: str, name: str, notes: list[str]
) -> Iterator[ListRow]:
    r"""Give the rows of a text with lists, all of one length; they are never all held as text.

    >>> notes = []
    >>> text = b"name,logit\na,\"[1. 2.]\"\nb,\"[3.\n 4.]\"\n"
    >>> [row.cells for row in list_rows([(1, text)], TableOptions(), ",", "x.csv", notes)]
    [['1.', '2.'], ['3.', '4.']]
    >>> notes
    ['x.csv: column 2 (logit) holds a list a row, taken as the logits; name left out']
    """
    text = _whole(blocks, options.comment, name)
    rows, width = _rows_of_array(text, name, notes) or _rows_of_table(text, options, plain, name, notes), -1
    for row in rows:
        width = len(row.cells) if width < 0 else width
        if len(row.cells) > COLUMN_LIMIT:
            raise StablemaxError(f"{name}: line {row.line:,}: a list of more than {COLUMN_LIMIT:,} numbers", _TO_NPY)
        if len(row.cells) != width:
            raise StablemaxError(
                f"{name}: line {row.line:,} has a list of {len(row.cells):,}, but the first list has {width:,}",
                "give every row as many numbers; write nan for a value that is not known",
            )
        for number in row.cells:
            check_number(number, f"{name}: line {row.line:,}, in the list")
        yield row


def stored_lists(rows: Iterable[ListRow], values: Spool, labels: Spool, notes: Sequence[str], kind: str) -> StoredArray:
    """Describe rows of one length as an array; `notes` may grow while they are read."""
    dtype, count, width, has_labels = np.dtype(np.float64), 0, 0, False
    for row in rows:
        values.write(np.fromiter(map(float, row.cells), dtype, len(row.cells)))
        if row.label is not None:
            place = f"{labels.name}: line {row.line:,}"
            if not is_number(row.label):
                raise StablemaxError(
                    f"{place}: the label '{brief(row.label)}' is no class number", "write class numbers, from 0 on"
                )
            check_number(row.label, place)
            labels.write(np.array([float(row.label)], dtype))
        count, width, has_labels = count + 1, len(row.cells), row.label is not None
    targets = labels.stored((count,), dtype, format=kind) if has_labels else None
    return values.stored((count, width), dtype, format=kind, labels=targets, notes=tuple(notes))


def _whole(blocks: Iterable[tuple[int, bytes]], comment: str, name: str) -> str:
    pieces, size = list[str](), 0
    for _, block in blocks:
        size += len(block)
        if size > TEXT_LIMIT:
            raise StablemaxError(f"{name}: is a text of lists longer than {size_of(TEXT_LIMIT)}", _TO_NPY)
        pieces.append(block.decode())
    lines = "\n".join(pieces).split("\n")
    # Blank instead of left out: lines keep their numbers.
    return "\n".join("" if comment and line.lstrip().startswith(comment) else line for line in lines)


def _rows_of_array(text: str, name: str, notes: list[str]) -> Iterator[ListRow] | None:
    """Read a printed array of two dimensions, or a list a line; None where there is more than that."""
    frame = _INNERMOST.sub(_ROW, text).strip()
    is_array = _ARRAY.fullmatch(frame) is not None and _is_closed(frame)
    if not is_array and not all(_LINE.fullmatch(line) and _is_closed(line) for line in frame.split("\n")):
        return None
    if frame.count("[") > 1:
        raise StablemaxError(f"{name}: holds an array of more than two dimensions as text", _TO_NPY)
    notes.append(f"{name}: each list is taken as a row of logits")
    return _each_list(text)


def _each_list(text: str) -> Iterator[ListRow]:
    line, before = 1, 0
    for match in _INNERMOST.finditer(text):
        line, before = line + text.count("\n", before, match.start()), match.start()
        yield ListRow(line, _numbers(match[1]))


def _rows_of_table(text: str, options: TableOptions, plain: str, name: str, notes: list[str]) -> Iterator[ListRow]:
    """Read a table, one column of which holds a list a row."""
    outline = [re.sub(rf'"[^"]*"|{_LIST}', "x", part) for part in text.split("\n", 50)[:50]]
    delimiter = delimiter_named(options.delimiter) if options.delimiter else find_delimiter(outline, plain)
    records = _records(text, delimiter, name)
    number, first = next(records)
    # A line of numbers is no header: it would be lost.
    is_data = options.header is False or any(map(_holds_numbers, first))
    names = () if is_data and not options.header else tuple(first)
    if names:
        number, first = next(records, (0, []))
        if not first:
            raise StablemaxError(f"{name}: holds no rows but a header", _TO_NPY)
        if len(names) != len(first):
            raise StablemaxError(
                f"{name}: line {number:,} has {counted(len(first), 'cell')}, but the header has {len(names):,}",
                "give every column a name; does the header leave out that of the first one?",
            )
    columns = [place for place, cell in enumerate(first) if _is_list(cell)]
    if not columns:
        raise StablemaxError(
            f"{name}: line {number:,} has no list, and a line near it has one: '{brief(','.join(first), 160)}'",
            "give every row one list; or if the line names the columns: --header",
        )
    if len(columns) != 1:
        titles = [called(place, names) for place in columns]
        raise StablemaxError(
            f"{name}: {len(columns)} columns hold lists{': ' if titles else ''}{listed(titles)}",
            'keep the column of the logits, one list a row in one pair of brackets; for instance "[1.5, 2.5]",0',
        )
    (column,) = columns
    _, label = other_columns(options, names, len(first), None, name)
    left_out = [called(place, names, short=True) for place in range(len(first)) if place not in (column, label)]
    words = f"; {listed(left_out)} left out" if left_out else ""
    notes.append(f"{name}: column {called(column, names)} holds a list a row, taken as the logits{words}")
    if label is None:
        notes.extend(label_notes(names, name, "left out", column))
    for line, cells in itertools.chain([(number, first)], records):
        if len(cells) != len(first) or not _is_list(cells[column]):
            raise StablemaxError(
                f"{name}: line {line:,}: {brief(','.join(cells), 160)!r} has no list in column {column + 1}",
                "give every row one list, in quotes",
            )
        inner = _only_list(cells[column], f"{name}: line {line:,}")
        yield ListRow(line, _numbers(inner), None if label is None else cells[label])


def _only_list(cell: str, place: str) -> str:
    """Return what stands in the brackets of a cell that is one list, and nothing else."""
    lists = _INNERMOST.findall(cell)
    if not lists:
        raise StablemaxError(f"{place}: a list is not closed", "is the file cut off? copy it again")
    if len(lists) > 1:
        raise StablemaxError(f"{place}: a cell holds {len(lists)} lists", "give every row one list")
    if not re.fullmatch(_LIST, cell) or not _is_closed(cell):
        raise StablemaxError(
            f"{place}: '{brief(cell, 160)}' is not one whole list",
            "write [1.5, 2.5], and nothing before or after it; is the file cut off? copy it again",
        )
    return str(lists[0])


def _records(text: str, delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Cut a text into records of cells, with the number of their first line; no quotes or brackets are cut."""
    sign = r"[ \t]+" if delimiter == " " else re.escape(delimiter)
    cell = re.compile(rf'[ ]*(?:"((?:[^"]|"")*)"[ ]*|({_LIST})[ ]*|((?:(?!{sign})[^\n])*))({sign}|\n|\Z)')
    line, begin, cells = 1, 0, list[str]()
    for match in cell.finditer(text):
        if (match[3] or "").startswith('"'):
            raise StablemaxError(
                f"{name}: line {line:,}: the quotes do not match: {brief(match[3], 160)}",
                'quote a whole cell ("[1.5, 2.5]") or none of it',
            )
        cells.append(next((part for part in match.groups()[:3] if part), "").strip())
        if match[4] in ("\n", ""):
            if any(cells):
                yield line, cells
            line, begin, cells = line + text.count("\n", begin, match.end()), match.end(), []


def _is_list(cell: str) -> bool:
    return re.match(rf"(?:{_OPENING})?\[", cell) is not None


def _is_closed(text: str) -> bool:
    """Whether as many brackets and parentheses are closed as are opened: what lacks some is a part of something."""
    return text.count("[") == text.count("]") and text.count("(") == text.count(")")


def _holds_numbers(cell: str) -> bool:
    """Whether a cell of the first line is data: a number, a list, or a part of one; a title may be x[0]."""
    return is_number(cell) or (("[" in cell or "]" in cell) and not _ENTRY.fullmatch(cell))


def _numbers(inner: str) -> list[str]:
    """Cut a list at commas and blanks; what lies between two commas is a number, and is not passed over."""
    text = _SCALAR.sub(r"\1", inner.strip()).removesuffix(",").strip()
    return re.split(r"\s*,\s*|\s+", text, maxsplit=COLUMN_LIMIT) if text else []


def check_number(number: str, place: str) -> None:
    """Refuse what stands for no number."""
    if number == "...":
        raise StablemaxError(
            f"{place}: the array was shortened when it was printed ('...')",
            f"{_TO_NPY}; or print all of it: numpy.set_printoptions(threshold=10**9)",
        )
    is_known = len(number) <= CELL_LIMIT and is_number(number)
    if is_known and math.isinf(float(number)) and "n" not in number.lower():
        raise StablemaxError(f"{place}: {brief(number)!r} is outside float64", "write inf or -inf if it is meant")
    if not is_known:
        raise StablemaxError(
            f"{place}: {brief(number)!r} is not a number",
            number_hint(number, ",") or "write a decimal number, nan, inf or -inf",
        )
