"""Lines to cells and cells to numbers, one by one: the pass that names the place of a mistake."""

from __future__ import annotations

import csv
import math
import re
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from stablemax.inputs.foreign_text import brief
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

CELL_LIMIT = 1_000
"""Longest number, in characters, that the exact pass reads."""
COLUMN_LIMIT = 2**20
"""Most columns; bounds what splitting one line costs."""

_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_BLANKS = re.compile(r'"[^"]*"|\S+')
_OTHER_DELIMITERS = {";": "';'", "\t": "tab", "|": "'|'", ",": "','"}
"""What may separate cells where another sign was taken for it, and how --delimiter is given it."""
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?", re.ASCII)
_MISSING = frozenset({"na", "n/a", "#n/a", "<na>", "null", "none", "nil", "-", "--", "?", "missing", "."})
_MEANT = tuple(
    (re.compile(pattern, re.ASCII | re.IGNORECASE), hint)
    for pattern, hint in (
        (r"[+-]?[\d.]+(_[\d.]+)+(e[+-]?\d+)?", "write numbers without underscores"),
        (r"[+-]?0x.*", "write hexadecimal numbers in decimal"),
        (r"true|false", "write 1 and 0"),
        (r"\(?[+-]?[\d.]+([+-][\d.]*)?[ij]\)?", "complex numbers have no softmax; write the real part"),
        (r"\S+\s.*", "are the cells separated by blanks? --delimiter space"),
    )
)


def is_number(cell: str) -> bool:
    """Whether a cell is a number as this program reads them.

    Plain decimal notation, `nan`, `inf` and `infinity` in any case: not what Python reads as well, such as `1_000`.

    >>> [is_number(cell) for cell in ("1e-3", "-inf", "1_000", "0x10", "")]
    [True, True, False, False, False]
    """
    return _NUMBER.fullmatch(cell) is not None


def is_missing_word(cell: str) -> bool:
    """Whether a cell is a word for a missing value.

    >>> is_missing_word("N/A")
    True
    """
    return cell.lower() in _MISSING


def split(line: str, delimiter: str, place: str) -> list[str]:
    """Split a line into cells, without quotes and blanks around them.

    >>> split('1, "2.5",x', ",", "a.csv: line 1")
    ['1', '2.5', 'x']
    >>> split("  1   2 ", " ", "a.txt: line 1")
    ['1', '2']
    """
    if delimiter == " ":
        cells = _BLANKS.findall(line) if '"' in line else line.split(None, COLUMN_LIMIT)
        cells = [cell[1:-1] if cell[0] == cell[-1] == '"' and len(cell) > 1 else cell for cell in cells]
    elif line.count(delimiter) >= COLUMN_LIMIT:
        cells = [""] * (COLUMN_LIMIT + 1)
    elif '"' in line:
        closed = re.sub(rf'" +(?={re.escape(delimiter)}|$)', '"', line)  # csv allows blanks before a quote only
        try:
            cells = next(csv.reader([closed], delimiter=delimiter, skipinitialspace=True, strict=True))
        except csv.Error:
            raise StablemaxError(
                f"{place}: the quotes do not match: {brief(line)}", 'quote a whole cell ("1.5") or none of it'
            ) from None
    else:
        cells = line.split(delimiter)
    if len(cells) > COLUMN_LIMIT:
        raise StablemaxError(
            f"{place}: more than {COLUMN_LIMIT:,} columns",
            "is the table transposed? convert it to .npy: numpy.save('logits.npy', x)",
        )
    return [cell.strip() for cell in cells] or [""]


def parse_lines(
    lines: Sequence[str],
    numbers: Sequence[int],
    delimiter: str,
    width: int,
    *,
    skip_first: bool,
    name: str,
    header: Sequence[str],
) -> np.ndarray:
    """Parse lines cell by cell and refuse the first mistake with its place.

    >>> parse_lines(["1,two"], [7], ",", 2, skip_first=False, name="a.csv", header=("x", "y"))
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: a.csv: line 7, column 2 (y): 'two' is not a number
    """
    result = np.empty((len(lines), width - skip_first))
    for row, (line, number) in enumerate(zip(lines, numbers, strict=True)):
        place = f"{name}: line {number:,}"
        cells = split(line, delimiter, place)
        if len(cells) != width:
            _refuse_ragged(place, line, cells, width, delimiter, has_header=bool(header))
        for column in range(int(skip_first), width):
            cell = cells[column]
            value = float(cell) if len(cell) <= CELL_LIMIT and is_number(cell) else None
            if value is None or (math.isinf(value) and "n" not in cell.lower()):  # 1e400, not inf
                title = f" ({brief(header[column], 120)})" if header and header[column] else ""
                default = "write a decimal number, nan, inf or -inf"
                if number == 1:
                    default = "if line 1 names the columns: --header"
                elif column == 0 and width > 1:
                    default = "if the column names the rows: --index-column"
                if not cell and column == width - 1 and delimiter != " ":
                    default = f"does every line end in {delimiter!r}? remove it; write nan for an unknown value"
                _refuse_cell(f"{place}, column {column + 1:,}{title}", cell, value, default, delimiter)
            result[row, column - skip_first] = value
    return result


def _refuse_ragged(
    place: str, line: str, cells: list[str], width: int, delimiter: str, *, has_header: bool
) -> NoReturn:
    count = counted(len(cells), "cell")
    hint = "give every row as many cells; write nan for a value that is not known"
    other = next((sign for sign in _OTHER_DELIMITERS if sign != delimiter and any(sign in c for c in cells)), None)
    if len(cells) == width + 1 and not cells[-1] and delimiter != " ":
        hint = f"the line ends in {delimiter!r}; remove it, or end every line in it"
    elif other is not None:
        named = _OTHER_DELIMITERS[other]
        hint = (
            f"does {other!r} separate the cells of every line? --delimiter {named}; else write {delimiter!r} here, too"
        )
    elif len(cells) == width + 1 and has_header:
        hint = "does the header leave out the name of the first column? add one"
    raise StablemaxError(f"{place} has {count}, but the first line has {width:,}: '{brief(line, 160)}'", hint)


def _refuse_cell(place: str, cell: str, value: float | None, default: str, delimiter: str) -> NoReturn:
    if not cell:
        hint = default if default.startswith("does") else "fill it in; write nan for a value that is not known"
        raise StablemaxError(f"{place}: the cell is empty", hint)
    text = f"'{brief(cell)}'"
    if value is not None:
        raise StablemaxError(f"{place}: {text} is outside float64", "write inf or -inf if it is meant")
    raise StablemaxError(f"{place}: {text} is not a number", _hint(cell, delimiter) or default)


def _hint(cell: str, delimiter: str) -> str:
    """Say how to write what a cell probably means; empty where nobody can tell."""
    if len(cell) > CELL_LIMIT:
        return "is the delimiter right? --delimiter ';'"
    if is_missing_word(cell):
        return "write nan for a value that is not known"
    of_commas = _hint_of_commas(cell, delimiter)
    return of_commas or next((hint for pattern, hint in _MEANT if pattern.fullmatch(cell)), "")


def _hint_of_commas(cell: str, delimiter: str) -> str:
    """Say what to do about commas within a number; empty where there are none.

    >>> _hint_of_commas("1,5", ";")
    "write decimal points instead of commas: sed 's/,/./g' FILE"
    >>> _hint_of_commas("1,234,567", ";")
    "write no commas between thousands: sed 's/,//g' FILE"
    """
    decimal, thousands = (p.fullmatch(cell) is not None for p in (_DECIMAL_COMMA, _THOUSANDS))
    if not decimal and not thousands:
        return ""
    # There sed would take the commas between the cells, too.
    if delimiter == ",":
        return "write it without the comma: 1.5 for 1,5, and 1000 for 1,000"
    if decimal and thousands:
        return "a decimal comma? sed 's/,/./g' FILE; a comma between thousands? sed 's/,//g' FILE"
    if thousands:
        return "write no commas between thousands: sed 's/,//g' FILE"
    return "write decimal points instead of commas: sed 's/,/./g' FILE"
