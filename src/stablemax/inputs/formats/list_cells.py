"""Lists in text: printed arrays and tensors, a list a line, and tables with a column of lists."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stablemax.inputs.file_format import TableOptions
from stablemax.inputs.foreign_text import brief, listed, size_of
from stablemax.inputs.formats.table_cells import CELL_LIMIT, is_number, number_hint
from stablemax.inputs.formats.table_layout import called, delimiter_named, find_delimiter, label_notes, other_columns
from stablemax.inputs.spooled import Spool
from stablemax.inputs.stored import StoredArray
from stablemax.text.errors import StablemaxError

TEXT_LIMIT = 2**26
"""Longest text with lists, in bytes: a list may end in a later line, so that all of it is held."""
_TO_NPY = "save the array instead of its text: numpy.save('logits.npy', x)"
_OPENING = r"(?:(?:torch\.)?tensor|(?:np\.|numpy\.)?array)\s*\(\s*"
# How torch and NumPy end what they print: ], dtype=float32), ], grad_fn=<AddmmBackward0>), ], size=(3,)).
_ENDING = r"(?:\s*,\s*\w+\s*=[^,()\[\]\n]*(?:\([^()\n]*\))?)*\s*,?\s*\)"
# Without further brackets inside: an opening one that is never closed is passed over at once.
_LIST = rf"(?:{_OPENING})?\[{{1,3}}[^\[\]]*\](?:\s*\]){{0,2}}(?:{_ENDING})?"
_BEGINS = re.compile(rf"(?:^|[,;|\t])\s*\"?\s*(?:{_OPENING})?\[")
_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_ROW = "\1"
"""Stands for a row where only what is around the rows is looked at."""
_ARRAY = re.compile(rf"(?:{_OPENING})?\[[\[\]\s,{_ROW}]*\](?:{_ENDING})?")
_LINE = re.compile(rf"\s*(?:(?:{_OPENING})?{_ROW}(?:{_ENDING})?\s*,?\s*)?")
_SCALAR = re.compile(r"(?:np|numpy)\.\w+\(([^()]*)\)")


@dataclass(frozen=True)
class ListRow:
    """A row of logits as it is printed."""

    #: The number of its line.
    line: int
    cells: list[str]
    #: What its label column holds; empty without one.
    label: str = ""


def holds_lists(text: str, comment: str) -> bool:
    r"""Whether one of the first lines of a text has a cell that begins as a list.

    >>> holds_lists('name,logit\na,"[1 2]"', "#"), holds_lists("x[0],x[1]\n1,2", "#")
    (True, False)
    """
    lines = (line for line in text.split("\n") if line.strip() and not (comment and line.lstrip().startswith(comment)))
    return any(_BEGINS.search(line) is not None for _, line in zip(range(2), lines, strict=False))


def list_rows(
    blocks: Iterable[tuple[int, bytes]], options: TableOptions, plain: str, name: str, notes: list[str]
) -> list[ListRow]:
    r"""Read the rows of a text with lists, all of one length.

    >>> notes = []
    >>> text = b"name,logit\na,\"[1. 2.]\"\nb,\"[3.\n 4.]\"\n"
    >>> [row.cells for row in list_rows([(1, text)], TableOptions(), ",", "x.csv", notes)]
    [['1.', '2.'], ['3.', '4.']]
    >>> notes
    ['x.csv: column 2 (logit) holds a list a row, taken as the logits; name left out']
    """
    text = _whole(blocks, options.comment, name)
    rows = _rows_of_array(text, name, notes)
    if rows is None:
        rows = list(_rows_of_table(text, options, plain, name, notes))
    for row in rows:
        if len(row.cells) != len(rows[0].cells):
            raise StablemaxError(
                f"{name}: line {row.line:,} has a list of {len(row.cells):,}, but the first list has "
                f"{len(rows[0].cells):,}",
                "give every row as many numbers; write nan for a value that is not known",
            )
        for number in row.cells:
            check_number(number, f"{name}: line {row.line:,}, in the list")
    return rows


def stored_lists(rows: Iterable[ListRow], values: Spool, labels: Spool, notes: Sequence[str], kind: str) -> StoredArray:
    """Describe rows of one length as an array; `notes` may grow while they are read."""
    dtype, count, width, has_labels = np.dtype(np.float64), 0, 0, False
    for row in rows:
        values.write(np.array([float(cell) for cell in row.cells], dtype))
        if row.label:
            if not is_number(row.label):
                raise StablemaxError(
                    f"{labels.name}: line {row.line:,}: the label '{brief(row.label)}' is no class number",
                    "write class numbers, from 0 on",
                )
            labels.write(np.array([float(row.label)], dtype))
        count, width, has_labels = count + 1, len(row.cells), bool(row.label)
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


def _rows_of_array(text: str, name: str, notes: list[str]) -> list[ListRow] | None:
    """Read a printed array of two dimensions, or a list a line; None where there is more than that."""
    frame = _INNERMOST.sub(_ROW, text).strip()
    if not _ARRAY.fullmatch(frame) and not all(_LINE.fullmatch(line) for line in frame.split("\n")):
        return None
    if frame.count("[") > 1:
        raise StablemaxError(f"{name}: holds an array of more than two dimensions as text", _TO_NPY)
    notes.append(f"{name}: each list is taken as a row of logits")
    matches = _INNERMOST.finditer(text)
    return [ListRow(_line(text, match.start()), _numbers(match[1])) for match in matches]


def _rows_of_table(text: str, options: TableOptions, plain: str, name: str, notes: list[str]) -> Iterator[ListRow]:
    """Read a table, one column of which holds a list a row."""
    outline = [re.sub(rf'"[^"]*"|{_LIST}', "x", part) for part in text.split("\n", 50)[:50]]
    delimiter = delimiter_named(options.delimiter) if options.delimiter else find_delimiter(outline, plain)
    records = list(_records(text, delimiter))
    # A line of numbers is no header: it would be lost.
    is_data = options.header is False or any(_is_list(cell) or is_number(cell) for cell in records[0][1])
    names = () if is_data and not options.header else tuple(records.pop(0)[1])
    if not records:
        raise StablemaxError(f"{name}: holds no rows but a header", _TO_NPY)
    first = records[0][1]
    columns = [place for place, cell in enumerate(first) if _is_list(cell)]
    if not columns:
        raise StablemaxError(
            f"{name}: line {records[0][0]:,} has no list, and a line near it has one: '{brief(','.join(first), 160)}'",
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
    for line, cells in records:
        if len(cells) != len(first) or not _is_list(cells[column]):
            raise StablemaxError(
                f"{name}: line {line:,}: {brief(','.join(cells), 160)!r} has no list in column {column + 1}",
                "give every row one list, in quotes",
            )
        lists = _INNERMOST.findall(cells[column])
        if not lists:
            raise StablemaxError(f"{name}: line {line:,}: a list is not closed", "is the file cut off? copy it again")
        if len(lists) > 1:
            raise StablemaxError(f"{name}: line {line:,}: a cell holds {len(lists)} lists", "give every row one list")
        yield ListRow(line, _numbers(lists[0]), "" if label is None else cells[label])


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Cut a text into records of cells, with the number of their first line; no quotes or brackets are cut."""
    sign = r"[ \t]+" if delimiter == " " else re.escape(delimiter)
    cell = re.compile(rf'[ ]*(?:"((?:[^"]|"")*)"[ ]*|({_LIST})[ ]*|((?:(?!{sign})[^\n])*))({sign}|\n|\Z)')
    line, begin, cells = 1, 0, list[str]()
    for match in cell.finditer(text):
        cells.append(next((part for part in match.groups()[:3] if part), "").strip())
        if match[4] in ("\n", ""):
            if any(cells):
                yield line, cells
            line, begin, cells = line + text.count("\n", begin, match.end()), match.end(), []


def _is_list(cell: str) -> bool:
    return re.match(rf"(?:{_OPENING})?\[", cell) is not None


def _numbers(inner: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+", _SCALAR.sub(r"\1", inner.strip())) if part]


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


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
