"""One array of one file, whatever its format."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

from stablemax.errors import StablemaxError
from stablemax.inputs.files import open_regular, reading
from stablemax.inputs.layout import TableOptions
from stablemax.inputs.naming import check_format, extension_of, is_address, split_spec
from stablemax.inputs.npy import MAGIC, read_exactly
from stablemax.inputs.npy_array import open_npy, spool_npy
from stablemax.inputs.spool import IN_MEMORY
from stablemax.inputs.wording import brief, file_name

if TYPE_CHECKING:
    from stablemax.inputs.npy import Readable
    from stablemax.inputs.source import ArrayFile
    from stablemax.inputs.stored import StoredArray

FORMATS = ("npy", "npz", "csv", "tsv", "safetensors", "parquet")
_EXTENSIONS = {
    ".npy": "npy",
    ".npz": "npz",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".safetensors": "safetensors",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PLAIN = {"csv": ",", "tsv": "\t"}
_WITH_MEMBERS = ("npz", "safetensors")
START = 9
"""Bytes that tell the formats apart."""
# What else people have logits in: the beginning of the file, what it is, what to do.
_OTHERS = (
    (b"\x1f\x8b", "a gzip archive", "decompress it first: gunzip FILE"),
    (b"BZh", "a bzip2 archive", "decompress it first: bunzip2 FILE"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "decompress it first: unzstd FILE"),
    (b"\xfd7zXZ", "an xz archive", "decompress it first: unxz FILE"),
    (b"\x89HDF", "an HDF5 file", "save the array: numpy.save('logits.npy', h5py.File(FILE)['logits'])"),
    (b"ARROW1", "an Arrow (Feather) file", "save it as Parquet or .npy"),
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


def open_array(
    spec: str,
    *,
    input_format: str | None = None,
    table: TableOptions | None = None,
    stdin: BinaryIO | None = None,
    in_memory: int = IN_MEMORY,
) -> StoredArray:
    """Open the array that a user named, without reading its numbers where that is possible.

    Uncompressed .npy, .npz and safetensors data are left where they lie, be it behind an address.
    Text, Parquet, compressed data and standard input are read once, in bounded memory, and kept in
    memory while they are few, else in a temporary file that goes away with the last reference to it.

    Parameters
    ----------
    spec : str
        A path or address, `archive.npz:member`, `file.safetensors:tensor`, or "-" for standard input.
    input_format : {"npy", "npz", "csv", "tsv", "safetensors", "parquet"}, optional
        The format; by default that of the extension, or of the content where the extension says
        nothing.
    table : TableOptions, optional
        How to read CSV, TSV and Parquet.
    stdin : BinaryIO, optional
        What "-" stands for; by default the program's standard input.
    in_memory : int
        Most bytes to keep in memory of what has to be read.

    Returns
    -------
    StoredArray

    Raises
    ------
    StablemaxError
        Whatever is wrong with the file.

    Examples
    --------
    >>> import io
    >>> stored = open_array("-", input_format="csv", stdin=io.BytesIO(b"1,2"))
    >>> stored.shape, stored.dtype.name, stored.format
    ((1, 2), 'float64', 'csv')
    >>> open_array("-", stdin=io.BytesIO(b"1,2"))
    Traceback (most recent call last):
    stablemax.errors.StablemaxError: standard input: the format is not known
    """
    check_format(input_format, FORMATS)
    path, member = split_spec(spec)
    name = file_name(path)
    options = table or TableOptions()
    if path == "-":
        with reading(name):
            return _from_stdin(_standard_input(stdin), member, input_format, options, name, in_memory)
    local = _local(path)
    with _open(local) as stream, reading(name):
        start = read_exactly(stream, START)
        stream.seek(0)
        kind = _format(path, start, input_format, name)
        _check_member(member, kind, name)
        return _opened(stream, local, kind, member, options, name, in_memory)


def read_array(
    spec: str,
    *,
    input_format: str | None = None,
    table: TableOptions | None = None,
    stdin: BinaryIO | None = None,
) -> ArrayFile:
    """Read the array that a user named: mapped where that is possible, read where it is not.

    Parameters
    ----------
    spec, input_format, table, stdin
        As for `open_array`.

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
    """
    return open_array(spec, input_format=input_format, table=table, stdin=stdin).load()


def _local(path: str) -> str:
    if not is_address(path):
        return path
    from stablemax.inputs.remote import local_path

    return local_path(path) or path


def _open(path: str) -> BinaryIO:
    if not is_address(path):
        return open_regular(path)
    from stablemax.inputs.remote import open_address

    return open_address(path)


def _opened(
    stream: BinaryIO, path: str, kind: str, member: str | None, options: TableOptions, name: str, in_memory: int
) -> StoredArray:
    """Open a file that can seek. Each format's reader is loaded only for it: zipfile alone takes longer than .npy."""
    if kind == "npy":
        return open_npy(stream, path, name)
    if kind == "npz":
        from stablemax.inputs.npz import open_npz

        return open_npz(stream, path, member, name, in_memory=in_memory)
    if kind == "safetensors":
        from stablemax.inputs.safetensors import open_safetensors

        return open_safetensors(stream, path, member, name)
    if kind == "parquet":
        from stablemax.inputs.parquet import open_parquet

        return open_parquet(stream, options, name, in_memory=in_memory)
    return _table(stream, options, name, kind, in_memory)


def _table(stream: Readable, options: TableOptions, name: str, kind: str, in_memory: int) -> StoredArray:
    from stablemax.inputs.table import open_table

    return open_table(stream, options, name, plain=_PLAIN[kind], kind=kind, in_memory=in_memory)


def _check_member(member: str | None, kind: str, name: str) -> None:
    if member is not None and kind not in _WITH_MEMBERS:
        raise StablemaxError(
            f"{name}: holds {kind} data, which has no member '{brief(member, 120)}'",
            "only .npz and .safetensors files have members",
        )


def _content(start: bytes) -> str | None:
    """Tell the binary formats by their first bytes."""
    if start.startswith(MAGIC):
        return "npy"
    if start.startswith(b"PAR1"):
        return "parquet"
    # A length below 2**32 has NUL bytes, which no text has.
    if start[4:9] == b"\0\0\0\0{":
        return "safetensors"
    return "npz" if start.startswith((b"PK\x03\x04", b"PK\x05\x06")) else None


def _format(path: str, start: bytes, asked: str | None, name: str) -> str:
    content = _content(start)
    extension = _EXTENSIONS.get(extension_of(path))
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


def _from_stdin(
    stream: BinaryIO, member: str | None, asked: str | None, options: TableOptions, name: str, in_memory: int
) -> StoredArray:
    start = read_exactly(stream, START)
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
        return spool_npy(source, name, in_memory=in_memory)
    if kind in _PLAIN:
        return _table(source, options, name, kind, in_memory)
    # Of these the table of contents stands at the end, or tells where in the file the numbers are.
    from stablemax.inputs.spool import copied

    with copied(source, name) as path, open_regular(path) as file:
        return _opened(file, path, kind, member, options, name, in_memory)
