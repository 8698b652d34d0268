"""Lines to cells and cells to float64: whole blocks of plain numbers at once, and cell by cell what names a mistake."""

from __future__ import annotations

import csv
import math
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from stablemax.inputs.foreign_text import brief, listed
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError
from stablemax.text.suggest import nearest
from stablemax.text.words import counted

if TYPE_CHECKING:
    from stablemax.inputs.formats.table_layout import TableLayout

Convert = Callable[[bytes, int], Array | None]

CELL_LIMIT = 1_000
"""Longest number, in characters, that the exact pass reads."""
COLUMN_LIMIT = 2**20
"""Most columns; bounds what splitting one line costs."""

_NUMBER = re.compile(r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_BLANKS = re.compile(r'"[^"]*"(?!\S)|\S+')
_OTHER_DELIMITERS = {";": "';'", "\t": "tab", "|": "'|'", ",": "','"}
"""Signs that may be the delimiter where another one was taken for it, and how a user types them for --delimiter."""
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?", re.ASCII)
MISSING_WORDS = frozenset({"na", "n/a", "#n/a", "<na>", "null", "none", "nil", "-", "--", "?", "missing", "."})
"""Words in lower case that stand for a missing value."""
# Characters of numbers, of nan and infinity too, and of what separates them. NumPy and Arrow disagree about other text:
# Arrow takes nan(1) for a number.
_PLAIN = b"0123456789+-.eEnNaAiIfFtTyY \t\n\0"
_WINDOWS = (
    "C on Windows prints infinity and NaN so; write inf and nan: "
    "sed -E 's/1\\.#(INF|J)[0-9]*(e.000?)?/inf/g; s/[-+]?1\\.#(QNAN|SNAN|IND|QN|R)[0-9]*(e.000?)?/nan/g' FILE"
)
_MEANT = tuple(
    (re.compile(pattern, re.ASCII | re.IGNORECASE), hint)
    for pattern, hint in (
        (r"[+-]?[\d.]+(_[\d.]+)+(e[+-]?\d+)?", "write numbers without underscores"),
        (r"[+-]?0x.*", "write hexadecimal numbers in decimal"),
        (r"[+-]?1\.?#(inf|j|qnan|snan|ind|qn|r)\d*(e[+-]\d+)?", _WINDOWS),
        (r"[-+.e\d\s]*[\[\]()][-+.e\d\s\[\]()]*", "write the numbers without brackets: sed 's/[][()]//g' FILE"),
        (r"\w[\w\s.]*[:=]?\s*[\[(].*", "write the numbers alone, without names and brackets"),
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


def quoted(cell: str, delimiter: str) -> str:
    """Write a cell so that `split` gives it back.

    >>> quoted("1.5", ","), quoted("1,5", ",")
    ('1.5', '"1,5"')
    """
    if delimiter == " ":
        return cell if cell and not any(map(str.isspace, cell)) else f'"{cell}"'
    doubled = cell.replace('"', '""')
    return f'"{doubled}"' if '"' in cell or delimiter in cell else cell


def parse_lines(lines: Sequence[str], numbers: Sequence[int], layout: TableLayout, name: str) -> Array:
    """Parse lines cell by cell and refuse the first mistake with its place.

    >>> from stablemax.inputs.formats.table_layout import TableLayout
    >>> parse_lines(["1,two"], [7], TableLayout(",", 2, ("x", "y")), "a.csv")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: a.csv: line 7, column 2 (y): 'two' is not a number
    """
    width, skipped = layout.width, int(layout.skips_first)
    result = np.empty((len(lines), width - skipped))
    for row, (line, number) in enumerate(zip(lines, numbers, strict=True)):
        place = f"{name}: line {number:,}"
        cells = split(line, layout.delimiter, place)
        if len(cells) != width:
            _refuse_ragged(place, line, cells, layout)
        for column, cell in enumerate(cells[skipped:], start=skipped):
            is_plain = len(cell) <= CELL_LIMIT and is_number(cell)
            value = float(cell) if is_plain else layout.class_number(cell, column)
            if value is None or (math.isinf(value) and "n" not in cell.lower()):  # 1e400, not inf
                _refuse_cell(place, cell, value, number, column, layout)
            result[row, column - skipped] = value
    return result


def _refuse_ragged(place: str, line: str, cells: list[str], layout: TableLayout) -> NoReturn:
    delimiter, has_one_more = layout.delimiter, len(cells) == layout.width + 1
    hint = "give every row as many cells; write nan for a value that is not known"
    other = next((sign for sign in _OTHER_DELIMITERS if sign != delimiter and any(sign in c for c in cells)), None)
    if has_one_more and not cells[-1] and delimiter != " ":
        hint = f"the line ends in {delimiter!r}; remove it, or end every line in it"
    elif other is not None:
        named = _OTHER_DELIMITERS[other]
        hint = (
            f"does {other!r} separate the cells of every line? --delimiter {named}; else write {delimiter!r} here, too"
        )
    elif has_one_more and layout.header:
        hint = "does the header leave out the name of the first column? add one"
    count = counted(len(cells), "cell")
    raise StablemaxError(f"{place} has {count}, but the first line has {layout.width:,}: '{brief(line, 160)}'", hint)


def _refuse_cell(line: str, cell: str, value: float | None, number: int, column: int, layout: TableLayout) -> NoReturn:
    title = f" ({brief(layout.header[column], 120)})" if layout.header and layout.header[column] else ""
    place = f"{line}, column {column + 1:,}{title}"
    if not cell:
        hint = "fill it in; write nan for a value that is not known"
        if column == layout.width - 1 and layout.delimiter != " ":
            hint = f"does every line end in {layout.delimiter!r}? remove it; write nan for an unknown value"
        raise StablemaxError(f"{place}: the cell is empty", hint)
    text = f"'{brief(cell)}'"
    if value is not None:
        raise StablemaxError(f"{place}: {text} is outside float64", "write inf or -inf if it is meant")
    if layout.holds_labels(column):
        raise no_class_error(place, cell, layout.class_names, number_hint(cell, layout.delimiter))
    hint = number_hint(cell, layout.delimiter)
    if not hint and number == 1:
        hint = "if line 1 names the columns: --header"
    elif not hint and column == 0 and layout.width > 1:
        hint = "if the column names the rows: --index-column"
    raise StablemaxError(f"{place}: {text} is not a number", hint or "write a decimal number, nan, inf or -inf")


def no_class_error(place: str, cell: str, class_names: Sequence[str], hint: str = "") -> StablemaxError:
    """Word the error for a label that is neither a number nor the name of a class, with how labels are written."""
    if class_names:
        near = nearest(cell[:60], [title[:60] for title in class_names[:200]])
        hint = f"{f'did you mean {brief(near, 120)}? ' if near else ''}classes are: {listed(class_names)}"
    default = "write class numbers, from 0 on; names are read where a header of the logits' table names the classes"
    return StablemaxError(f"{place}: the label '{brief(cell)}' is no class number", hint or default)


def number_hint(cell: str, delimiter: str) -> str:
    """Say how to write what a cell probably means; empty where it is not clear."""
    if len(cell) > CELL_LIMIT:
        return "is the delimiter right? --delimiter ';'"
    if cell.lower() in MISSING_WORDS:
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
    # With commas between the cells sed would remove those, too.
    if delimiter == ",":
        return "write it without the comma: 1.5 for 1,5, and 1000 for 1,000"
    if decimal and thousands:
        return "a decimal comma? sed 's/,/./g' FILE; a comma between thousands? sed 's/,//g' FILE"
    if thousands:
        return "write no commas between thousands: sed 's/,//g' FILE"
    return "write decimal points instead of commas: sed 's/,/./g' FILE"


def converter(*, large: bool) -> Convert:
    """Return the faster of two converters, which give the same bits: importing Arrow pays for `large` tables."""
    if not large:
        return by_numpy
    try:
        import pyarrow.csv  # noqa: F401
    except ImportError:
        return by_numpy
    return by_arrow


def by_numpy(data: bytes, width: int) -> Array | None:
    """Convert lines of cells that NUL separates, or decline."""
    lines = data.decode().split("\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of lines without any data
            values = np.loadtxt(lines, np.float64, delimiter="\0", comments=None, ndmin=2)
    except ValueError:
        return None
    # NumPy passes over blank lines.
    return values if values.shape == (len(lines), width) else None


def by_arrow(data: bytes, width: int) -> Array | None:
    """Convert as `by_numpy`, five times as fast: all cells as one column, because each column costs time of its own."""
    import pyarrow
    from pyarrow import csv

    text = np.frombuffer(data + b"\n", np.uint8)
    ends = text[(text == 0) | (text == ord("\n"))]
    if len(ends) % width:
        return None
    line_ends = ends.reshape(-1, width)[:, -1]
    if not line_ends.all() or np.count_nonzero(ends) != len(line_ends):
        return None
    try:
        table = csv.read_csv(
            pyarrow.BufferReader(data.replace(b"\0", b"\n") + b"\n"),
            csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=["x"]),
            csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types={"x": pyarrow.float64()}, null_values=[], strings_can_be_null=False),
        )
    except pyarrow.ArrowInvalid:
        return None
    values: Array = table.column(0).to_numpy().reshape(-1, width)
    return values


def parse_block(data: bytes, delimiter: str, width: int, *, skip_first: bool, convert: Convert) -> Array | None:
    r"""Parse lines of `width` cells each, or decline where only `parse_lines` can tell what is right.

    With `skip_first` the first column may hold text, and is left out.

    >>> parse_block(b"1.5,-2\n0.1,1.25e-02", ",", 2, skip_first=False, convert=by_numpy)
    array([[ 1.5   , -2.    ],
           [ 0.1   ,  0.0125]])
    >>> [parse_block(b"1," + cell, ",", 2, skip_first=False, convert=by_numpy) for cell in (b"1e400", b"1_0", b"1,2")]
    [None, None, None]
    """
    sign = delimiter.encode()
    # A line of millions of delimiters would take much memory here; `parse_lines` refuses it.
    if len(data) > 2 * COLUMN_LIMIT and data.count(sign) + data.count(b"\t") + data.count(b"\n") >= COLUMN_LIMIT:
        return None
    if b'"' in data:
        unquoted = _unquoted(data, sign)
        if unquoted is None:
            return None
        data = unquoted
    if delimiter == " ":
        data = b"\n".join(b"\0".join(line.split()) for line in data.split(b"\n"))
    else:
        data = data.replace(sign, b"\0")
    if skip_first:
        data = b"\n".join(line.partition(b"\0")[2] for line in data.split(b"\n"))
        width -= 1
    values = None if data.translate(None, _PLAIN) else convert(data, width)
    if values is None:
        return None
    infinite = int(np.count_nonzero(np.isinf(values)))
    # 1e400 becomes inf as well, and is to be refused.
    return values if infinite in (0, data.lower().count(b"inf")) else None


def _unquoted(text: bytes, sign: bytes) -> bytes | None:
    """Take quotes off that enclose whole cells; decline any others, and empty cells among blanks, which are lost."""
    ends, blanks = (b" \t\n", b"") if sign == b" " else (sign + b"\n", b" ")
    pieces = (b"\n" + text + b"\n").split(b'"')
    inside, between = b"".join(pieces[1::2]), {piece.strip(blanks) for piece in pieces[::2]}
    fits = (
        len(pieces) % 2 == 1
        and all(piece and piece[0] in ends and piece[-1] in ends for piece in between)
        and not any(end in inside for end in ends)
        and (sign != b" " or all(pieces[1::2]))
    )
    return b"".join(pieces)[1:-1] if fits else None
