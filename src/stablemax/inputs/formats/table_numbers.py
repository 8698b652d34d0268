"""Whole blocks of plain numbers to float64, each the nearest one as `float` reads it; any others are declined."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from stablemax.inputs.formats.table_cells import COLUMN_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.numerics.formats import Array

    Convert = Callable[[bytes, int], Array | None]

# What numbers are written with, nan and infinity too, and what separates them. About other text the engines below do
# not agree: Arrow takes nan(1) for a number.
_PLAIN = b"0123456789+-.eEnNaAiIfFtTyY \t\n\0"


def converter(*, large: bool) -> Convert:
    """Return the fastest way from text to numbers: they give the same bits. Arrow's import pays for `large` tables."""
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
    """The same with pyarrow, five times as fast: all cells as one column, as each column costs time of its own."""
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
    # What a line of millions of delimiters takes is bounded by leaving it to the pass that refuses it.
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
    # 1e400 becomes inf, too.
    return values if infinite in (0, data.lower().count(b"inf")) else None


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
