"""Whole blocks of plain numbers to float64, each the nearest one as `float` reads it; any others are declined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stablemax.inputs.formats.table_cells import COLUMN_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.formats import Array

    Convert = Callable[[bytes], Array | None]

# What numbers are written with, nan and infinity too, and what separates them. Of other text the engines below do
# not agree, be it that Python takes 1_000 or Arrow nan(1).
_PLAIN = b"0123456789+-.eEnNaAiIfFtTyY \t\n\0"


def converter(*, large: bool) -> Convert:
    """Return the fastest way from text to numbers: they give the same bits. Arrow's import pays for `large` tables."""
    if not large:
        return by_python
    try:
        import pyarrow.csv  # noqa: F401
    except ImportError:
        return by_python
    return by_arrow


def by_python(data: bytes) -> Array | None:
    """Convert numbers, one a line."""
    cells = data.split(b"\n")
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None


def by_arrow(data: bytes) -> Array | None:
    """Convert numbers, one a line, with pyarrow: five times as fast."""
    import pyarrow
    from pyarrow import csv

    try:
        table = csv.read_csv(
            pyarrow.BufferReader(data + b"\n"),
            csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=["x"]),
            csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types={"x": pyarrow.float64()}, null_values=[], strings_can_be_null=False),
        )
    except pyarrow.ArrowInvalid:
        return None
    values: Array = table.column(0).to_numpy()
    return values


def parse_block(data: bytes, delimiter: str, width: int, *, skip_first: bool, convert: Convert) -> Array | None:
    r"""Parse lines of `width` cells each, or decline where only `parse_lines` can tell what is right.

    With `skip_first` the first column may hold text, and is left out.

    >>> parse_block(b"1.5,-2\n0.1,1.25e-02", ",", 2, skip_first=False, convert=by_python)
    array([[ 1.5   , -2.    ],
           [ 0.1   ,  0.0125]])
    >>> [parse_block(b"1," + cell, ",", 2, skip_first=False, convert=by_python) for cell in (b"1e400", b"1_0", b"1,2")]
    [None, None, None]
    """
    sign = delimiter.encode()
    # What a line of millions of delimiters takes is bounded by leaving it to the pass that refuses it.
    if len(data) > COLUMN_LIMIT and data.count(sign) + data.count(b"\t") + data.count(b"\n") >= COLUMN_LIMIT:
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
    if data.translate(None, _PLAIN) or not _has_width(data, width):
        return None
    values = convert(data.replace(b"\0", b"\n"))
    if values is None:
        return None
    infinite = int(np.count_nonzero(np.isinf(values)))
    # 1e400 becomes inf, too.
    return values.reshape(-1, width) if infinite == 0 or infinite == data.lower().count(b"inf") else None


def _has_width(data: bytes, width: int) -> bool:
    text = np.frombuffer(data + b"\n", np.uint8)
    ends = text[(text == 0) | (text == ord("\n"))]
    if len(ends) % width:
        return False
    last = ends.reshape(-1, width)[:, -1]
    return bool(last.all()) and np.count_nonzero(ends) == len(last)


def _unquoted(text: bytes, sign: bytes) -> bytes | None:
    """Take quotes off that enclose whole cells; decline any others."""
    ends = b" \t\n" if sign == b" " else sign + b"\n"
    pieces = text.split(b'"')
    between = set(pieces[2:-1:2])
    first, last = pieces[0][-1:], pieces[-1][:1]
    if sign != b" ":
        first, last = pieces[0].strip(b" ")[-1:], pieces[-1].strip(b" ")[:1]
        between = {piece.strip(b" ") for piece in between}
    inside = b"".join(pieces[1::2])
    fits = (
        len(pieces) % 2 == 1
        and first in ends
        and last in ends
        and all(piece and piece[0] in ends and piece[-1] in ends for piece in between)
        and not any(end in inside for end in ends)
    )
    return b"".join(pieces) if fits else None
