"""Text as blocks of whole lines: checked once, with every cost bounded."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stablemax.inputs.regular_file import read_exactly
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.inputs.regular_file import Readable

LINE_LIMIT = 16 * 2**20
"""Longest line, in bytes of UTF-8."""
BLOCK = 2**20
"""Bytes that are read at a time."""

TO_NPY = "convert it to .npy, which is mapped instead of read: numpy.save('logits.npy', x)"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)


@dataclass(frozen=True)
class TextBlock:
    """Some whole lines of a text."""

    #: The lines in UTF-8, joined by line feeds, without the last line feed.
    data: bytes
    #: The number of the first line, counted from 1.
    first: int

    @property
    def text(self) -> str:
        """The lines as characters."""
        return self.data.decode()


def text_blocks(stream: Readable, name: str, notes: list[str]) -> Iterator[TextBlock]:
    r"""Check a text and give it in blocks of whole lines.

    Line ends of any system become line feeds. A byte order mark is taken off and noted.

    >>> import io
    >>> notes = []
    >>> list(text_blocks(io.BytesIO(b"\xef\xbb\xbf1,2\r\n3,4\r\n"), "logits.csv", notes))
    [TextBlock(data=b'1,2\n3,4', first=1)]
    >>> notes
    ['logits.csv: UTF-8 byte order mark taken off']
    """
    first, rest, held = 1, b"", b""
    for piece, last in _pieces(stream, name, notes):
        if b"\0" in piece:
            before = rest + held + piece[: piece.index(b"\0")]
            raise StablemaxError(
                f"{name}: line {first + _line_feeds(before).count(10):,} holds a NUL character, "
                "so this is not a text file",
                "save the table as UTF-8 text; for a binary array use --input-format npy or npz",
            )
        fresh = held + piece
        # A carriage return at the end may be half of a line end.
        held = b"\r" if fresh.endswith(b"\r") and not last else b""
        text = rest + _line_feeds(fresh[: len(fresh) - len(held)])
        end = len(text) if last else text.rfind(b"\n") + 1
        whole, rest = text[:end], text[end:]
        if len(rest) > LINE_LIMIT:
            raise StablemaxError(
                f"{name}: line {first + whole.count(10):,} is longer than {LINE_LIMIT:,} bytes", TO_NPY
            )
        if whole:
            _check_text(whole, name, first)
            yield TextBlock(whole.removesuffix(b"\n"), first)
            first += whole.count(10)


def _pieces(stream: Readable, name: str, notes: list[str]) -> Iterator[tuple[bytes, bool]]:
    """Give the text in UTF-8, piece by piece, and with each whether it is the last."""
    piece = read_exactly(stream, BLOCK)
    encoding = "utf-8"
    for mark, codec, called in _BOMS:
        if piece.startswith(mark):
            piece, encoding = piece[len(mark) :], codec
            notes.append(f"{name}: {called} byte order mark taken off")
            break
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
    lines = 1
    while True:
        last = not piece
        if decoder is not None:
            try:
                text = decoder.decode(piece, final=last)
            except UnicodeDecodeError as error:
                raise _not_text(error, name, encoding, lines) from None
            lines += text.count("\n")
            piece = text.encode()
        yield piece, last
        if last:
            return
        piece = read_exactly(stream, BLOCK)


def _line_feeds(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _check_text(data: bytes, name: str, first: int) -> None:
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise _not_text(error, name, "utf-8", first) from None


def _not_text(error: UnicodeDecodeError, name: str, encoding: str, first: int) -> StablemaxError:
    before = error.object[: error.start].decode(encoding, "replace")
    byte = error.object[error.start] if error.start < len(error.object) else 0
    called = "UTF-8" if encoding == "utf-8" else "UTF-16"
    return StablemaxError(
        f"{name}: line {first + before.count(chr(10)):,}: the byte 0x{byte:02x} is not {called} text",
        "save it as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8); for a binary array use --input-format npy or npz",
    )
