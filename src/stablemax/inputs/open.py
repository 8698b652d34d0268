"""One array of one file, whatever its format."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

from stablemax.inputs.file_format import IN_MEMORY, OpenedFile, TableOptions
from stablemax.inputs.foreign_text import brief, file_name
from stablemax.inputs.formats import FORMATS, endings_with_members, format_named, format_of_content, format_of_ending
from stablemax.inputs.regular_file import open_regular, read_exactly, reading
from stablemax.inputs.spec import extension_of, is_address, split_spec
from stablemax.inputs.spooled import copied
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from stablemax.inputs.file_format import FileFormat
    from stablemax.inputs.regular_file import Readable
    from stablemax.inputs.stored import StoredArray

START = 16
"""Bytes that tell the formats apart."""
_PICKLE = ("a Python pickle", "pickles hold Python code and are never loaded; use numpy.save")
# What else people have logits in: the beginning of the file, what it is, what to do.
_OTHERS = (
    (b"\x1f\x8b", "a gzip archive", "decompress it first: gunzip FILE"),
    (b"BZh", "a bzip2 archive", "decompress it first: bunzip2 FILE"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "decompress it first: unzstd FILE"),
    (b"\xfd7zXZ", "an xz archive", "decompress it first: unxz FILE"),
    (b"\x89HDF", "an HDF5 file", "save the array: numpy.save('logits.npy', h5py.File(FILE)['logits'])"),
    (b"ARROW1", "an Arrow (Feather) file", "save it as Parquet or .npy"),
    (b"MATLAB", "a MATLAB file", "save the array with numpy.save(scipy.io.loadmat(FILE)['logits'])"),
    *((b"\x80" + bytes([protocol]), *_PICKLE) for protocol in (2, 3, 4, 5)),
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

    The array is named by a path or address, `archive.npz:member`, `file.safetensors:tensor`, or "-" for standard input.
    Its format is `input_format`, else that of its ending, else that of its content. Uncompressed .npy, .npz and
    safetensors data are left where they lie, be it behind an address. Text, Parquet, compressed data and standard input
    are read once, and kept in memory while they have at most `in_memory` bytes, else in a temporary file that goes away
    with the last reference to it.

    >>> import io
    >>> stored = open_array("-", input_format="csv", stdin=io.BytesIO(b"1,2"))
    >>> stored.shape, stored.dtype.name, stored.format, stored.array
    ((1, 2), 'float64', 'csv', array([[1., 2.]]))
    >>> open_array("-", stdin=io.BytesIO(b"1,2"))
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: standard input: the format is not known
    """
    asked = None if input_format is None else format_named(input_format)
    path, member = split_spec(spec)
    name = file_name(path)
    options = table or TableOptions()
    if path == "-":
        with reading(name):
            return _from_stdin(_standard_input(stdin), asked, member, options, name, in_memory)
    local = _local(path)
    with _open(local) as stream, reading(name):
        start = read_exactly(stream, START)
        stream.seek(0)
        chosen = _chosen(start, asked, extension_of(path), name)
        return _opened(chosen, OpenedFile(stream, name, local, options, in_memory, member))


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


def _opened(chosen: FileFormat, file: OpenedFile) -> StoredArray:
    if file.member is not None and not chosen.members:
        raise StablemaxError(
            f"{file.name}: holds {chosen.name} data, which has no member '{brief(file.member, 120)}'",
            f"only {' and '.join(endings_with_members())} files have members",
        )
    if file.path or chosen.open_pipe is None:
        return chosen.open(file)
    return chosen.open_pipe(file)


def _chosen(start: bytes, asked: FileFormat | None, ending: str, name: str) -> FileFormat:
    content = format_of_content(start)
    chosen = asked or format_of_ending(ending) or content
    if chosen is None or chosen.begins is None:
        for magic, what, hint in _OTHERS:
            if start.startswith(magic):
                raise StablemaxError(f"{name}: is {what}, not a table of numbers", hint)
    if content is not None and chosen is not content:
        said = f"--input-format {asked.name}" if asked else f"its name ends in {ending}"
        raise StablemaxError(f"{name}: holds {content.name} data, but {said}", f"--input-format {content.name}")
    return chosen or FORMATS["csv"]


def _standard_input(given: BinaryIO | None) -> BinaryIO:
    stream = given
    if stream is None:
        # None where the program was started with standard input closed.
        stream = getattr(sys.stdin, "buffer", None)
    try:
        terminal = stream is not None and stream.isatty()
    except ValueError:
        stream = None
    if stream is None or terminal:
        what = "closed" if stream is None else "a terminal"
        raise StablemaxError(f"standard input: is {what}", "name a file, or pipe one in: ... < logits.npy")
    return stream


def _from_stdin(
    stream: BinaryIO, asked: FileFormat | None, member: str | None, options: TableOptions, name: str, in_memory: int
) -> StoredArray:
    start = read_exactly(stream, START)
    content = format_of_content(start)
    # A format that is read from a pipe as it comes in, and known by its beginning, needs no option.
    if asked is None and (content is None or content.open_pipe is None):
        if not start:
            raise StablemaxError(f"{name}: is empty", "does the command before it fail?")
        likely = "csv" if content is None else content.name
        raise StablemaxError(f"{name}: the format is not known", f"--input-format {likely} (or {', '.join(FORMATS)})")
    chosen = _chosen(start, asked, "", name)
    source = _Rejoined(start, stream)
    if chosen.open_pipe is not None:
        return _opened(chosen, OpenedFile(source, name, "", options, in_memory, member))
    # Of these the table of contents stands at the end, or tells where in the file the numbers are.
    with copied(source, name) as path, open_regular(path) as file:
        return _opened(chosen, OpenedFile(file, name, path, options, in_memory, member))
