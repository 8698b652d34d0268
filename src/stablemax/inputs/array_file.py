"""One array of one file, whatever its format."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from typing import TYPE_CHECKING, BinaryIO

from stablemax.errors import StablemaxError
from stablemax.inputs.files import open_regular, reading
from stablemax.inputs.layout import TableOptions
from stablemax.inputs.npy import CHUNK, MAGIC, MEMORY_LIMIT, read_exactly, read_npy, read_npy_stream
from stablemax.inputs.source import ArrayFile
from stablemax.inputs.wording import brief, file_name

if TYPE_CHECKING:
    from types import ModuleType

    from stablemax.inputs.npy import Readable

FORMATS = ("npy", "npz", "csv", "tsv")
_EXTENSIONS = {".npy": "npy", ".npz": "npz", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv"}
_PLAIN = {"csv": ",", "tsv": "\t"}
# What else people have logits in: the beginning of the file, what it is, what to do.
_OTHERS = (
    (b"\x1f\x8b", "a gzip archive", "decompress it first: gunzip FILE"),
    (b"\x89HDF", "an HDF5 file", "save the array with numpy.save"),
    (b"PAR1", "a Parquet file", "save it with pandas: numpy.save('logits.npy', frame.to_numpy())"),
    (b"MATLAB", "a MATLAB file", "save the array with numpy.save(scipy.io.loadmat(FILE)['logits'])"),
    (b"\x80\x02", "a Python pickle", "pickles hold Python code and are never loaded; use numpy.save"),
    (b"\x80\x03", "a Python pickle", "pickles hold Python code and are never loaded; use numpy.save"),
    (b"\x80\x04", "a Python pickle", "pickles hold Python code and are never loaded; use numpy.save"),
    (b"\x80\x05", "a Python pickle", "pickles hold Python code and are never loaded; use numpy.save"),
)


class _Rejoined:
    """A stream whose first bytes were already looked at."""

    def __init__(self, start: bytes, stream: Readable) -> None:
        self._start = start
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes | None:
        if not self._start:
            return self._stream.read(size)
        piece = self._start if size < 0 else self._start[:size]
        self._start = self._start[len(piece) :]
        return piece


def split_spec(spec: str) -> tuple[str, str | None]:
    r"""Split `file.npz:logits` into a path and a member.

    A colon may also stand in a file's name or after a drive's letter, so an existing file of the
    whole name comes first, then an existing file before a colon.

    Parameters
    ----------
    spec : str
        As typed.

    Returns
    -------
    tuple of (str, str or None)

    Examples
    --------
    >>> split_spec("dump.npz:logits")
    ('dump.npz', 'logits')
    >>> split_spec(r"C:\runs\logits.npy")
    ('C:\\runs\\logits.npy', None)
    >>> split_spec("-:labels")
    ('-', 'labels')
    """
    if ":" not in spec or _exists(spec):
        return spec, None
    for match in reversed(list(re.finditer(":", spec))[:64]):
        path, member = spec[: match.start()], spec[match.end() :]
        # A single letter is a drive, except where such a file exists and is no drive.
        if member and (path == "-" or (path and _exists(path) and not os.path.isdir(path))):  # noqa: PTH112
            return path, member
    match_npz = re.search(r"\.npz:(?=.)", spec, re.IGNORECASE)
    if match_npz:
        return spec[: match_npz.end() - 1], spec[match_npz.end() :]
    return spec, None


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def read_array(
    spec: str,
    *,
    input_format: str | None = None,
    table: TableOptions | None = None,
    stdin: BinaryIO | None = None,
) -> ArrayFile:
    """Read the array that a user named.

    Parameters
    ----------
    spec : str
        A path, `archive.npz:member`, or "-" for standard input.
    input_format : {"npy", "npz", "csv", "tsv"}, optional
        The format; by default that of the extension, or of the content where the extension says
        nothing.
    table : TableOptions, optional
        How to read CSV and TSV.
    stdin : BinaryIO, optional
        What "-" stands for; by default the program's standard input.

    Returns
    -------
    ArrayFile

    Raises
    ------
    StablemaxError
        Whatever is wrong with the file.

    Examples
    --------
    >>> import io
    >>> read_array("-", input_format="csv", stdin=io.BytesIO(b"1,2")).array
    array([[1., 2.]])
    >>> read_array("-", stdin=io.BytesIO(b"1,2"))
    Traceback (most recent call last):
    stablemax.errors.StablemaxError: standard input: the format is not known
    """
    if input_format is not None and input_format not in FORMATS:
        raise StablemaxError(
            f"--input-format: '{brief(input_format, 60)}' is unknown", f"formats are: {', '.join(FORMATS)}"
        )
    path, member = split_spec(spec)
    name = file_name(path)
    options = table or TableOptions()
    if path == "-":
        with reading(name):
            return _from_stdin(_standard_input(stdin), member, input_format, options, name)
    with open_regular(path) as stream, reading(name):
        start = read_exactly(stream, 8)
    kind = _format(path, start, input_format, name)
    _check_member(member, kind, name)
    if kind == "npy":
        return ArrayFile(read_npy(path, name=name), name=name, format=kind)
    if kind == "npz":
        called = name if member is None else f"{name}:{brief(member, 120)}"
        return ArrayFile(_npz().read_npz(path, member, name=name), name=called, format=kind)
    return _from_table(path, options, name, kind)


def _npz() -> ModuleType:
    """Load what zip archives need only for them: zipfile alone takes longer than reading a small array."""
    from stablemax.inputs import npz

    return npz


def _from_table(source: str | Readable, options: TableOptions, name: str, kind: str) -> ArrayFile:
    from stablemax.inputs.table import read_table

    table = read_table(source, options, name, plain=_PLAIN[kind])
    return ArrayFile(table.array, table.labels, name, table.notes, kind)


def _check_member(member: str | None, kind: str, name: str) -> None:
    if member is not None and kind != "npz":
        raise StablemaxError(
            f"{name}: holds {kind} data, which has no member '{brief(member, 120)}'",
            "only .npz files have members",
        )


def _content(start: bytes) -> str | None:
    """Tell the binary formats by their first bytes."""
    if start.startswith(MAGIC):
        return "npy"
    return "npz" if start.startswith((b"PK\x03\x04", b"PK\x05\x06")) else None


def _format(path: str, start: bytes, asked: str | None, name: str) -> str:
    content = _content(start)
    extension = _EXTENSIONS.get(os.path.splitext(path)[1].lower())  # noqa: PTH122 - a path stays text
    kind = asked or extension or content
    if kind in _PLAIN or kind is None:
        for magic, what, hint in _OTHERS:
            if start.startswith(magic):
                raise StablemaxError(f"{name}: is {what}, not a table of numbers", hint)
    if content is not None and kind != content:
        said = f"--input-format {asked}" if asked else f"its name ends in .{extension}"
        raise StablemaxError(f"{name}: holds {content} data, but {said}", f"--input-format {content}")
    return kind or "csv"


def _standard_input(given: BinaryIO | None) -> BinaryIO:
    stream = given
    if stream is None:
        # None where the program was started with standard input closed.
        stream = getattr(sys.stdin, "buffer", None)
    try:
        terminal = stream is not None and stream.isatty()
    except ValueError:
        stream = None
    if stream is None:
        raise StablemaxError("standard input: is closed", "name a file, or pipe one in: ... < logits.npy")
    if terminal:
        raise StablemaxError("standard input: is a terminal", "name a file, or pipe one in: ... < logits.npy")
    return stream


def _from_stdin(stream: BinaryIO, member: str | None, asked: str | None, options: TableOptions, name: str) -> ArrayFile:
    start = read_exactly(stream, 8)
    content = _content(start)
    if asked is None and content != "npy":
        if not start:
            raise StablemaxError(f"{name}: is empty", "does the command before it fail?")
        raise StablemaxError(
            f"{name}: the format is not known", f"--input-format {content or 'csv'} (or {', '.join(FORMATS)})"
        )
    kind = _format("-", start, asked, name)
    _check_member(member, kind, name)
    source = _Rejoined(start, stream)
    if kind == "npy":
        return ArrayFile(read_npy_stream(source, name), name=name, format=kind)
    if kind == "npz":
        with contextlib.closing(_spooled(source, name)) as spool:
            called = name if member is None else f"{name}:{brief(member, 120)}"
            return ArrayFile(_npz().read_npz_file(spool, member, name), name=called, format=kind)
    return _from_table(source, options, name, kind)


def _spooled(stream: Readable, name: str) -> BinaryIO:
    """Copy an archive into a temporary file, because its table of contents stands at its end."""
    spool: BinaryIO = tempfile.TemporaryFile()  # type: ignore[assignment,unused-ignore]  # noqa: SIM115
    total = 0
    while piece := stream.read(CHUNK):
        total += len(piece)
        if total > MEMORY_LIMIT:
            spool.close()
            raise StablemaxError(
                f"{name}: is longer than {MEMORY_LIMIT:,} bytes, the most that is taken from a pipe",
                "save it to a file and name the file",
            )
        spool.write(piece)
    spool.flush()
    spool.seek(0)
    return spool
