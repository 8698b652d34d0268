"""Texts in blocks of whole lines: decoded from UTF-8 or UTF-16, line ends made one, what is no text refused."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

from stablemax.inputs.regular_file import Readable, read_exactly
from stablemax.text.errors import StablemaxError

BLOCK = 2**20
"""Bytes that are read at a time."""
LINE_LIMIT = 16 * 2**20
"""Longest line, in bytes of UTF-8."""
TO_NPY = "convert it to .npy, which is left where it lies: numpy.save('logits.npy', x)"
"""What to do with text that is too large."""
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
# A byte that is no text becomes a character that no text has, and that cannot be encoded.
_UNDECODED = 0xDC00
codecs.register_error(
    "stablemax-undecoded",
    lambda error: (chr(_UNDECODED + error.object[error.start]), error.end),  # type: ignore[attr-defined]
)


def text_blocks(stream: Readable, name: str, notes: list[str]) -> Iterator[tuple[int, bytes]]:
    r"""Check a text and give it in blocks of whole lines in UTF-8, each with the number of its first line.

    Line ends of any system become line feeds. A byte order mark is taken off and noted.

    >>> import io
    >>> notes = []
    >>> list(text_blocks(io.BytesIO(b"\xef\xbb\xbf1,2\r\n3,4\r\n"), "logits.csv", notes))
    [(1, b'1,2\n3,4')]
    >>> notes
    ['logits.csv: UTF-8 byte order mark taken off']
    """
    piece, codec, encoding = read_exactly(stream, BLOCK), "utf-8", "UTF-8"
    mark = next((one for one in _BYTE_ORDER_MARKS if piece.startswith(one[0])), None)
    if mark is None and (order := _utf_16_order(piece)):
        codec, encoding = f"utf-16-{order}", "UTF-16"
        notes.append(f"{name}: read as UTF-16, which begins without a byte order mark")
    if mark is not None:
        piece, codec, encoding = piece.removeprefix(mark[0]), mark[1], mark[2]
        notes.append(f"{name}: {encoding} byte order mark taken off")
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(codec)("stablemax-undecoded"), translate=True)
    first, rest, is_last = 1, b"", False
    while not is_last:
        is_last = not piece
        text = decoder.decode(piece, final=is_last)
        data = rest + _encoded(text, name, first, encoding)
        end = len(data) if is_last else data.rfind(b"\n") + 1
        lines, rest = data[:end], data[end:]
        if len(rest) > LINE_LIMIT:
            number = first + lines.count(b"\n")
            raise StablemaxError(f"{name}: line {number:,} is longer than {LINE_LIMIT:,} bytes", TO_NPY)
        if lines:
            yield first, lines.removesuffix(b"\n")
            first += lines.count(b"\n")
        piece = read_exactly(stream, BLOCK)


def _utf_16_order(piece: bytes) -> str:
    """Return the byte order of UTF-16 that begins with plain characters; empty for other text.

    >>> _utf_16_order("1,2".encode("utf-16-le")), _utf_16_order(b"1,2")
    ('le', '')
    """
    start = piece[: min(len(piece) // 2 * 2, 64)]
    even, odd = start[::2], start[1::2]
    if even and not any(odd) and all(even):
        return "le"
    return "be" if odd and not any(even) and all(odd) else ""


def _encoded(text: str, name: str, first: int, encoding: str) -> bytes:
    """Encode decoded text, whose first line has a number, as UTF-8; refuse what is no text."""
    if "\0" in text:
        raise StablemaxError(
            f"{name}: line {first + text[: text.index(chr(0))].count(chr(10)):,} holds a NUL character, "
            "so this is not a text file",
            "save the table as UTF-8 text; for a binary array use --input-format npy or npz",
        )
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        number, byte = first + text.count("\n", 0, error.start), ord(text[error.start]) - _UNDECODED
        raise StablemaxError(
            f"{name}: line {number:,}: the byte 0x{byte:02x} is not {encoding} text",
            "save it as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8); for a binary array use --input-format npy or npz",
        ) from None
