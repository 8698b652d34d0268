"""The header of the .npy format, read by a bounded parser of our own; nothing is ever unpickled."""

from __future__ import annotations

import ast
import math
import re
import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.inputs.wording import brief, size_of

MAGIC = b"\x93NUMPY"
HEADER_LIMIT = 10_000
"""Longest header, in bytes; NumPy's own limit is the same."""
MEMORY_LIMIT = 256 * 2**20
"""Most bytes of a remote array that are held in memory at once."""
MAX_DIMENSIONS = 64
CHUNK = 2**20

_SIMPLE = re.compile(r"([<>=|]?)([a-zA-Z?])(\d{0,9})(\[.*\])?", re.ASCII)
_NUMERIC = {"b": (1, 2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
TEXT_MODE = (
    "the file was changed by a text-mode copy (CRLF): "
    "copy it again in binary mode, or mark *.npy as binary in .gitattributes"
)
_RESAVE = "save it again with numpy.save"


class Readable(Protocol):
    """Anything with `read(n)` that gives bytes."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Read at most `size` bytes."""
        ...


@dataclass(frozen=True)
class NpyHeader:
    """What the header of a .npy file declares.

    Attributes
    ----------
    dtype : numpy.dtype
        An allowed dtype.
    fortran_order : bool
        Whether the first axis varies fastest.
    shape : tuple of int
        As declared; not yet compared with the data.
    offset : int
        Where the data begin, in bytes.
    text_mode : bool
        Whether the header itself shows damage by a CRLF conversion.
    """

    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]
    offset: int
    text_mode: bool

    @property
    def data_bytes(self) -> int:
        """The bytes of data that the header declares: a Python integer of any size."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_exactly(stream: Readable, count: int) -> bytes:
    """Read `count` bytes, or fewer where the stream ends before.

    Examples
    --------
    >>> import io
    >>> read_exactly(io.BytesIO(b"abc"), 5)
    b'abc'
    """
    pieces = bytearray()
    while len(pieces) < count:
        piece = stream.read(min(CHUNK, count - len(pieces)))
        if not piece:
            break
        pieces += piece
    return bytes(pieces)


def read_header(stream: Readable, name: str) -> NpyHeader:
    r"""Read the header at the beginning of `stream`, at most 10,012 bytes of it.

    Parameters
    ----------
    stream : Readable
        Stands at the magic; stands at the data afterwards.
    name : str
        The file's name, already fit for a message.

    Returns
    -------
    NpyHeader

    Raises
    ------
    StablemaxError
        When the header is damaged, or declares an array that is not one of real numbers.

    Examples
    --------
    >>> import io
    >>> buffer = io.BytesIO()
    >>> np.save(buffer, np.zeros((2, 3), np.float32))
    >>> header = read_header(io.BytesIO(buffer.getvalue()), "zeros.npy")
    >>> header.shape, header.dtype.name, header.data_bytes
    ((2, 3), 'float32', 24)
    >>> read_header(io.BytesIO(b"1,2,3\n"), "row.npy")
    Traceback (most recent call last):
    stablemax.errors.StablemaxError: row.npy: is not a .npy file: it begins with '1,2,3\n'
    """
    start = read_exactly(stream, 8)
    _check_magic(start, name)
    version = (start[6], start[7])
    if version not in {(1, 0), (2, 0), (3, 0)}:
        raise StablemaxError(
            f"{name}: .npy version {version[0]}.{version[1]} is unknown",
            f"{_RESAVE} (versions 1.0 to 3.0 are read)",
        )
    length_bytes = 2 if version == (1, 0) else 4
    length_field = read_exactly(stream, length_bytes)
    if len(length_field) < length_bytes:
        raise StablemaxError(f"{name}: the .npy header is cut off", "the file is truncated: copy it again")
    length = int.from_bytes(length_field, "little")
    if length > HEADER_LIMIT:
        raise StablemaxError(
            f"{name}: the .npy header claims {length:,} bytes; at most {HEADER_LIMIT:,} are read",
            f"the file is damaged, or made to harm; {_RESAVE}",
        )
    raw = read_exactly(stream, length)
    if len(raw) < length:
        raise StablemaxError(
            f"{name}: the .npy header claims {length:,} bytes, but only {len(raw):,} follow",
            "the file is truncated: copy it again",
        )
    try:
        text = raw.decode("utf-8" if version == (3, 0) else "latin-1")
    except UnicodeDecodeError:
        raise StablemaxError(f"{name}: the .npy header is not UTF-8", _RESAVE) from None
    dtype, fortran_order, shape = _declared(text, name)
    # NumPy ends every header in a line feed; a CRLF conversion puts a carriage return there.
    return NpyHeader(dtype, fortran_order, shape, 8 + length_bytes + length, raw.endswith(b"\r"))


def _check_magic(start: bytes, name: str) -> None:
    if len(start) == 8 and start.startswith(MAGIC):
        return
    if not start:
        raise StablemaxError(f"{name}: is empty", _RESAVE)
    if start.startswith(MAGIC):
        raise StablemaxError(f"{name}: the .npy header is cut off", "the file is truncated: copy it again")
    if b"NUMPY" in start:
        raise StablemaxError(
            f"{name}: the first byte of the .npy file is damaged",
            "it was copied or converted as text: copy it again in binary mode",
        )
    if start.startswith(b"PK"):
        raise StablemaxError(
            f"{name}: is a zip archive, not a .npy file", "if it holds NumPy arrays: --input-format npz"
        )
    if start.startswith(b"\x80") and start[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        raise StablemaxError(
            f"{name}: is a Python pickle, not a .npy file",
            "pickles hold Python code and are never loaded; save the numbers with numpy.save",
        )
    begins = brief(repr(start.decode("latin-1"))[1:-1], 80)
    raise StablemaxError(f"{name}: is not a .npy file: it begins with '{begins}'", "is it text? --input-format csv")


def _declared(text: str, name: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Check the three declarations in the header."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in a hostile header warns on stderr
            declared: object = ast.literal_eval(text.strip())
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise StablemaxError(f"{name}: the .npy header is damaged: {brief(text.strip(), 160)}", _RESAVE) from None
    if not isinstance(declared, dict) or set(declared) != {"descr", "fortran_order", "shape"}:
        raise StablemaxError(
            f"{name}: the .npy header must have the keys descr, fortran_order and shape: {brief(text.strip(), 160)}",
            _RESAVE,
        )
    fortran_order, shape = declared["fortran_order"], declared["shape"]
    if not isinstance(fortran_order, bool):
        raise StablemaxError(
            f"{name}: fortran_order in the .npy header is {_literal(fortran_order)}, not True or False",
            _RESAVE,
        )
    dtype = _dtype(declared["descr"], name)
    return dtype, fortran_order, _shape(shape, dtype.itemsize, name)


def _literal(value: object) -> str:
    try:
        return brief(repr(value), 160)
    except (ValueError, RecursionError):
        return "something that cannot be shown"


def _shape(shape: object, itemsize: int, name: str) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise StablemaxError(
            f"{name}: the shape in the .npy header is {_literal(shape)}, not a tuple of sizes", _RESAVE
        )
    if len(shape) > MAX_DIMENSIONS:
        raise StablemaxError(
            f"{name}: the .npy header declares {len(shape):,} dimensions",
            f"at most {MAX_DIMENSIONS} are possible",
        )
    # NumPy refuses such a shape even where another entry is 0 and no data follow.
    if math.prod(n for n in shape if n) * itemsize >= 2**63:
        raise StablemaxError(
            f"{name}: the shape in the .npy header, {_literal(shape)}, is larger than any memory", _RESAVE
        )
    return shape


def _dtype(descr: object, name: str) -> np.dtype[Any]:
    if isinstance(descr, list | tuple):
        raise StablemaxError(
            f"{name}: holds a structured array (fields), not one array of numbers: {_literal(descr)}",
            f"save one field: numpy.save('logits.npy', x[{_first_field(descr)}])",
        )
    match = _SIMPLE.fullmatch(descr) if isinstance(descr, str) else None
    if match is None:
        raise StablemaxError(f"{name}: the dtype in the .npy header is {_literal(descr)}", _RESAVE)
    order, kind, size = match[1], match[2], int(match[3] or 0)
    if not match[4]:
        if (kind, size) in {("b", 1), ("?", 0), ("?", 1)}:
            return np.dtype(np.bool_)
        if kind != "b" and size in _NUMERIC.get(kind, ()):
            return np.dtype(f"{'' if order == '|' else order}{kind}{size}")
    what, hint = _refusal(kind, size)
    raise StablemaxError(f"{name}: holds {what} (dtype {_literal(descr)}), not real numbers", hint)


def _first_field(descr: list[Any] | tuple[Any, ...]) -> str:
    """Write the name of the first field as Python does; a header may hold anything.

    Examples
    --------
    >>> _first_field([("a", "<f4"), ("b", "<f4")])
    "'a'"
    """
    first = descr[0] if descr else None
    field = first[0] if isinstance(first, tuple) and first else None
    # With a title the name comes second.
    name = field[1] if isinstance(field, tuple) and len(field) == 2 else field
    return _literal(name) if isinstance(name, str) else "'logits'"


def _refusal(kind: str, size: int) -> tuple[str, str]:
    """Say what a dtype that is not allowed stands for, and what to save instead."""
    if kind in "fV" and size <= 2:
        return (
            "raw bytes",
            "ml_dtypes arrays (bfloat16, float8) are stored as raw bytes; save x.astype(np.float32)",
        )
    return {
        "O": (
            "Python objects",
            "object arrays hold pickled Python code and are never loaded; save x.astype(np.float64)",
        ),
        "c": ("complex numbers", "save the real part: x.real"),
        "V": ("raw bytes", "ml_dtypes arrays are stored as raw bytes; save x.astype(np.float32)"),
        "S": ("text", "save numbers: x.astype(np.float64)"),
        "a": ("text", "save numbers: x.astype(np.float64)"),
        "U": ("text", "save numbers: x.astype(np.float64)"),
        "T": ("text", "save numbers: x.astype(np.float64)"),
        "M": ("dates", "save numbers: x.astype(np.int64)"),
        "m": ("time spans", "save numbers: x.astype(np.int64)"),
        "f": ("extended-precision numbers", "this type differs between machines; save x.astype(np.float64)"),
    }.get(kind, ("something unknown", "save x.astype(np.float64)"))


def check_size(header: NpyHeader, size: int, name: str) -> None:
    """Refuse a file (or member) whose size is not that of its header and data together.

    Parameters
    ----------
    header : NpyHeader
        What is declared.
    size : int
        The size of the whole file, in bytes.
    name : str
        For the message.

    Raises
    ------
    StablemaxError
        When the two differ, with both numbers.
    """
    expected = header.offset + header.data_bytes
    if expected == size and not header.text_mode:
        return
    message = f"{name}: header and data make {size_of(expected)}, but the file has {size_of(size)}"
    if header.text_mode:
        raise StablemaxError(message, TEXT_MODE)
    if size > expected:
        raise StablemaxError(message, f"either bytes were appended, or {TEXT_MODE}")
    raise StablemaxError(message, "the file is truncated (copy it again), or it was converted in text mode (CRLF)")
