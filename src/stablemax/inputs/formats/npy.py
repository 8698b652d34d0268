"""The .npy format: NumPy's own reader of its header, under bounds and with words of ours; nothing is unpickled."""

from __future__ import annotations

import io
import math
import re
import warnings
from dataclasses import replace
from typing import Any, BinaryIO, cast

import numpy as np

from stablemax.inputs.file_format import FileFormat, OpenedFile
from stablemax.inputs.foreign_text import brief, size_of
from stablemax.inputs.regular_file import Readable, length_of, read_exactly, version_of
from stablemax.inputs.spooled import Spool, check_room
from stablemax.inputs.stored import StoredArray
from stablemax.text.errors import StablemaxError

MAGIC = b"\x93NUMPY"
HEADER_LIMIT = 10_000
"""Longest header, in bytes; NumPy's own limit is the same."""
MAX_DIMENSIONS = 64

_DESCR = re.compile(r"""['"]descr['"]\s*:\s*(?P<value>[\[(]|'[^']*'|"[^"]*"|[^,}]*)""")
_SIMPLE = re.compile(r"""['"]([<>=|]?)([a-zA-Z?])(\d{0,9})(\[.*\])?['"]""", re.ASCII)
_FIELD = re.compile(r"""\[\s*\(\s*(?:\(\s*(?:'[^']*'|"[^"]*")\s*,\s*)?('[^'\\]*'|"[^"\\]*")""")
_NUMBERS = {"?": (0, 1), "b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
TEXT_MODE = (
    "the file was changed by a text-mode copy (CRLF): "
    "copy it again in binary mode, or mark *.npy as binary in .gitattributes"
)
_RESAVE = "save it again with numpy.save"
_CUT_OFF = "the file is truncated: copy it again"
# What the first eight bytes tell where they are not those of a .npy file.
_NO_MAGIC = tuple(
    (re.compile(pattern, re.DOTALL), problem, hint)
    for pattern, problem, hint in (
        (rb"\Z", "is empty", _RESAVE),
        (re.escape(MAGIC), "the .npy header is cut off", _CUT_OFF),
        (
            rb".*NUMPY",
            "the first byte of the .npy file is damaged",
            "it was copied or converted as text: copy it again in binary mode",
        ),
        (rb"PK", "is a zip archive, not a .npy file", "if it holds NumPy arrays: --input-format npz"),
        (
            rb"\x80[\x02-\x05]",
            "is a Python pickle, not a .npy file",
            "pickles hold Python code and are never loaded; save the numbers with numpy.save",
        ),
    )
)
# What a dtype that is not read stands for, by its letter, and what to save instead.
_OTHERS = {
    "O": ("Python objects", "object arrays hold pickled Python code and are never loaded; save x.astype(np.float64)"),
    "c": ("complex numbers", "save the real part: x.real"),
    "V": ("raw bytes", "ml_dtypes arrays are stored as raw bytes; save x.astype(np.float32)"),
    **dict.fromkeys("SaUT", ("text", "save numbers: x.astype(np.float64)")),
    "M": ("dates", "save numbers: x.astype(np.int64)"),
    "m": ("time spans", "save numbers: x.astype(np.int64)"),
    "f": ("extended-precision numbers", "this type differs between machines; save x.astype(np.float64)"),
}


def read_header(stream: Readable, name: str, kind: str = "npy") -> StoredArray:
    r"""Read the header at the beginning of a stream, at most 10,012 bytes; its shape is not yet compared with data.

    >>> import io
    >>> buffer = io.BytesIO()
    >>> np.save(buffer, np.zeros((2, 3), np.float32))
    >>> header = read_header(io.BytesIO(buffer.getvalue()), "zeros.npy")
    >>> header.shape, header.dtype.name, header.offset
    ((2, 3), 'float32', 128)
    >>> read_header(io.BytesIO(b"1,2,3\n"), "row.npy")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: row.npy: is not a .npy file: it begins with '1,2,3\n'
    """
    start = read_exactly(stream, 8)
    _check_magic(start, name)
    version = (start[6], start[7])
    if version not in {(1, 0), (2, 0), (3, 0)}:
        raise StablemaxError(
            f"{name}: .npy version {version[0]}.{version[1]} is unknown", f"{_RESAVE} (versions 1.0 to 3.0 are read)"
        )
    field = read_exactly(stream, 2 if version == (1, 0) else 4)
    if len(field) < (2 if version == (1, 0) else 4):
        raise StablemaxError(f"{name}: the .npy header is cut off", _CUT_OFF)
    length = int.from_bytes(field, "little")
    if length > HEADER_LIMIT:
        raise StablemaxError(
            f"{name}: the .npy header claims {length:,} bytes; at most {HEADER_LIMIT:,} are read",
            f"the file is damaged, or made to harm; {_RESAVE}",
        )
    raw = read_exactly(stream, length)
    if len(raw) < length:
        raise StablemaxError(f"{name}: the .npy header claims {length:,} bytes, but only {len(raw):,} follow", _CUT_OFF)
    shape, dtype, fortran_order = _declared(field, raw, name)
    # NumPy ends every header in a line feed; a CRLF conversion puts a carriage return there.
    if raw.endswith(b"\r"):
        raise StablemaxError(f"{name}: the .npy header ends in a carriage return", TEXT_MODE)
    return StoredArray(shape, dtype, name, kind, offset=8 + len(field) + length, fortran_order=fortran_order)


def _check_magic(start: bytes, name: str) -> None:
    if len(start) == 8 and start.startswith(MAGIC):
        return
    for pattern, problem, hint in _NO_MAGIC:
        if pattern.match(start):
            raise StablemaxError(f"{name}: {problem}", hint)
    begins = brief(repr(start.decode("latin-1"))[1:-1], 80)
    raise StablemaxError(f"{name}: is not a .npy file: it begins with '{begins}'", "is it text? --input-format csv")


def _declared(field: bytes, raw: bytes, name: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Let NumPy read a header of a length that was checked; refuse what is no array of real numbers."""
    text = raw.decode("latin-1").strip()
    _check_descr(text, name)
    # Versions 2 and 3 differ in how names of fields are encoded, and arrays with fields are refused.
    reader = np.lib.format.read_array_header_1_0 if len(field) == 2 else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            # An invalid escape in a hostile header warns on stderr, and so does a header of Python 2.
            warnings.simplefilter("ignore")
            shape, fortran_order, dtype = reader(io.BytesIO(field + raw), max_header_size=HEADER_LIMIT)
    except Exception:  # whatever Python's parser and tokenizer raise at any text at all
        raise StablemaxError(f"{name}: the .npy header is damaged: {brief(text, 160)}", _RESAVE) from None
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise StablemaxError(f"{name}: the dtype in the .npy header is {brief(dtype, 160)}", _RESAVE)
    checked = shape_in_header(shape, dtype.itemsize, f"{name}: the shape in the .npy header", _RESAVE)
    return checked, dtype, fortran_order


def shape_in_header(
    declared: object, itemsize: int, what: str, hint: str, kind: type[list[Any] | tuple[Any, ...]] = tuple
) -> tuple[int, ...]:
    """Check a shape that a file declares, in a tuple or a list; no array of NumPy's has any other."""
    if not isinstance(declared, kind) or not all(type(n) is int and n >= 0 for n in declared):
        raise StablemaxError(f"{what} is {literal(declared)}, not a {kind.__name__} of sizes", hint)
    if len(declared) > MAX_DIMENSIONS:
        raise StablemaxError(f"{what} declares {len(declared):,} dimensions", f"at most {MAX_DIMENSIONS} are possible")
    # NumPy refuses such a shape even where another entry is 0 and no data follow.
    if math.prod(n for n in declared if n) * itemsize >= 2**63:
        raise StablemaxError(f"{what}, {literal(declared)}, is larger than any memory", hint)
    return tuple(declared)


def literal(value: object) -> str:
    """Show a value of a header; a hostile list of a million entries is never written out whole."""
    try:
        return brief(repr(value[:9] if isinstance(value, list | tuple | str) else value), 160)
    except (ValueError, RecursionError):
        return "something that cannot be shown"


def _check_descr(text: str, name: str) -> None:
    """Refuse the dtypes that are not read, each in its own words; NumPy knows some of them on some machines only."""
    declared = _DESCR.search(text)
    if declared is None:
        return
    descr = declared["value"]
    if descr in ("[", "("):
        rest = text[declared.start("value") :]
        field = _FIELD.search(rest)
        raise StablemaxError(
            f"{name}: holds a structured array (fields), not one array of numbers: {brief(rest, 160)}",
            f"save one field: numpy.save('logits.npy', x[{brief(field[1], 120) if field else repr('logits')}])",
        )
    simple = _SIMPLE.fullmatch(descr)
    if simple is None:
        raise StablemaxError(f"{name}: the dtype in the .npy header is {brief(descr, 160)}", _RESAVE)
    letter, size = simple[2], int(simple[3] or 0)
    if size in _NUMBERS.get(letter, ()) and not simple[4]:
        return
    what, hint = _OTHERS.get(letter, ("something unknown", "save x.astype(np.float64)"))
    if letter in "fV" and size <= 2:
        what = "raw bytes"
        hint = "ml_dtypes arrays (bfloat16, float8) are stored as raw bytes; save x.astype(np.float32)"
    raise StablemaxError(f"{name}: holds {what} (dtype {brief(descr, 160)}), not real numbers", hint)


def check_size(header: StoredArray, size: int) -> None:
    """Refuse a file (or member) whose size is not that of its header and data together, with both numbers."""
    expected = header.offset + header.size_bytes
    if size != expected:
        hint = "the file is truncated (copy it again), or it was converted in text mode (CRLF)"
        if size > expected:
            hint = f"either bytes were appended, or {TEXT_MODE}"
        raise StablemaxError(
            f"{header.name}: header and data make {size_of(expected)}, but the file has {size_of(size)}", hint
        )


def open_npy(file: OpenedFile) -> StoredArray:
    """Read the header of a .npy file and compare sizes; none of its numbers is read yet."""
    stream = cast("BinaryIO", file.stream)
    header = read_header(stream, file.name)
    check_size(header, length_of(stream))
    return replace(header, path=file.path, version=version_of(stream))


def spool_npy(file: OpenedFile, *, size: int | None = None, kind: str = "npy") -> StoredArray:
    """Read a .npy array from a stream that cannot seek: a pipe, or a member of an archive, whose size is known.

    >>> import io
    >>> from stablemax.inputs.file_format import OpenedFile
    >>> buffer = io.BytesIO()
    >>> np.save(buffer, np.array([3, 1]))
    >>> spool_npy(OpenedFile(io.BytesIO(buffer.getvalue()), "standard input")).array
    array([3, 1])
    """
    stream, name = file.stream, file.name
    header = read_header(stream, name, kind)
    if size is not None:
        check_size(header, size)
    check_room(header.size_bytes, name)
    with Spool(name, file.limits.in_memory) as spool:
        count = spool.fill(stream, header.size_bytes)
        check_size(header, header.offset + count)
        if stream.read(1):
            raise StablemaxError(
                f"{name}: header and data make {size_of(header.offset + header.size_bytes)}, but more bytes follow",
                f"either bytes were appended, or {TEXT_MODE}",
            )
        return spool.stored(header.shape, header.dtype, format=kind, fortran_order=header.fortran_order)


FORMAT = FileFormat(
    "npy", "an array of numpy.save", (".npy",), open_npy, begins=re.compile(re.escape(MAGIC)), open_pipe=spool_npy
)
