"""Text as blocks of whole lines: decoded once, with every cost bounded."""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stablemax.errors import StablemaxError
from stablemax.inputs.npy import read_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.inputs.npy import Readable

TEXT_LIMIT = 160 * 2**20
"""Most bytes of text that are read."""
LINE_LIMIT = 16 * 2**20
"""Longest line, in characters."""
BLOCK = 2**20
"""Bytes that are decoded at a time."""

TO_NPY = "convert it to .npy, which is mapped instead of read: numpy.save('logits.npy', x)"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)


@dataclass(frozen=True)
class Block:
    """Some whole lines of a text.

    Attributes
    ----------
    text : str
        The lines, joined by line feeds, without the last line feed.
    first : int
        The number of the first line, counted from 1.
    """

    text: str
    first: int


def blocks(stream: Readable, name: str, notes: list[str]) -> Iterator[Block]:
    r"""Decode a text and give it in blocks of whole lines.

    Line ends of any system become line feeds. A byte order mark is taken off and noted.

    Parameters
    ----------
    stream : Readable
        The bytes.
    name : str
        For messages, already fit for one.
    notes : list of str
        What was found out is appended here.

    Yields
    ------
    Block

    Raises
    ------
    StablemaxError
        When the bytes are not text, a line is too long, or the text is too large.

    Examples
    --------
    >>> notes = []
    >>> list(blocks(io.BytesIO(b"\xef\xbb\xbf1,2\r\n3,4\r\n"), "logits.csv", notes))
    [Block(text='1,2\n3,4', first=1)]
    >>> notes
    ['logits.csv: UTF-8 byte order mark taken off']
    """
    piece = read_exactly(stream, BLOCK)
    encoding = "utf-8"
    for mark, found, called in _BOMS:
        if piece.startswith(mark):
            piece, encoding = piece[len(mark) :], found
            notes.append(f"{name}: {called} byte order mark taken off")
            break
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    total, first, rest = 0, 1, ""
    while True:
        total += len(piece)
        if total > TEXT_LIMIT:
            raise StablemaxError(
                f"{name}: is longer than {TEXT_LIMIT:,} bytes, the most that is read of a text", TO_NPY
            )
        last = not piece
        try:
            text: str = decoder.decode(piece, final=last)  # type: ignore[arg-type,unused-ignore]
        except UnicodeDecodeError as error:
            raise _not_text(error, name, encoding, first) from None
        if "\0" in text:
            line = first + text.count("\n", 0, text.index("\0"))
            raise StablemaxError(
                f"{name}: line {line:,} holds a NUL character, so this is not a text file",
                "save the table as UTF-8 text; for a binary array use --input-format npy or npz",
            )
        text = rest + text
        end = len(text) if last else text.rfind("\n") + 1
        whole, rest = text[:end], text[end:]
        if len(rest) > LINE_LIMIT:
            raise StablemaxError(
                f"{name}: line {first + whole.count(chr(10)):,} is longer than {LINE_LIMIT:,} characters",
                TO_NPY,
            )
        if whole:
            yield Block(whole.removesuffix("\n"), first)
            first += whole.count("\n")
        if last:
            return
        piece = read_exactly(stream, BLOCK)


def _not_text(error: UnicodeDecodeError, name: str, encoding: str, first: int) -> StablemaxError:
    before = error.object[: error.start].decode(encoding, "replace")
    byte = error.object[error.start] if error.start < len(error.object) else 0
    called = "UTF-8" if encoding == "utf-8" else "UTF-16"
    return StablemaxError(
        f"{name}: line {first + before.count(chr(10)):,}: the byte 0x{byte:02x} is not {called} text",
        "save it as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8); for a binary array use --input-format npy or npz",
    )
