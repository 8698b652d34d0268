"""Opening what a user names: one array of a file of any format, files of logits and of labels as one stream."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from stablemax.inputs.file_format import USUAL_LIMITS, FileFormat, OpenedFile, ReadingLimits, TableOptions
from stablemax.inputs.foreign_text import brief, file_name
from stablemax.inputs.formats import (
    FORMATS,
    endings_with_members,
    format_named,
    format_of_content,
    format_of_ending,
    format_of_text,
)
from stablemax.inputs.labels import holds_numbers
from stablemax.inputs.logits import Stream, as_stream
from stablemax.inputs.printed import PrintedNumbers, parts_of, printed_numbers
from stablemax.inputs.regular_file import Readable, open_file, open_regular, read_exactly, reading
from stablemax.inputs.server_limits import TIMEOUT_S
from stablemax.inputs.spec import expand, extension_of, local_path, out_of_order, split_spec
from stablemax.inputs.spooled import Spool
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.stored_rows import Part, Rows
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation, Second
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted

START = 16
"""Bytes that tell the formats apart."""
_PICKLE = ("a Python pickle", "pickles hold Python code and are never loaded; use numpy.save")
# Files of other formats that hold logits: how the file begins, what it is, what to do.
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


def open_array(spec: str, **options: Any) -> StoredArray:
    """Open the array that a user named, as `find_array` does, and decompress it where it is compressed.

    >>> import io
    >>> open_array("-", stdin=io.BytesIO(b"1,2")).array
    array([[1., 2.]])
    """
    return find_array(spec, **options).read_in()


def find_array(
    spec: str,
    *,
    input_format: str | None = None,
    table: TableOptions | None = None,
    stdin: BinaryIO | None = None,
    limits: ReadingLimits = USUAL_LIMITS,
) -> StoredArray:
    """Find the array that a user named, without reading its numbers where that is possible.

    The array is named by a path or address, `archive.npz:member`, `file.safetensors:tensor`, or "-" for standard input.
    Its format is `input_format`, else that of its ending, else that of its content; text is taken for a table or for
    JSON. Uncompressed .npy, .npz and safetensors data are left where they lie, be it behind an address. Compressed data
    are yet to be read (`StoredArray.read_in`). Text, Parquet and standard input are read once, and kept in memory while
    they are as small as `limits` say, else in a temporary file that goes away with the last reference to it. A file
    that declares more than a thousand times its own size is refused, unless the limits are forced.

    >>> import io
    >>> stored = find_array("-", input_format="csv", stdin=io.BytesIO(b"1,2"))
    >>> stored.shape, stored.dtype.name, stored.format, stored.array
    ((1, 2), 'float64', 'csv', array([[1., 2.]]))
    >>> find_array("-", stdin=io.BytesIO(b"1,2")).notes
    ('standard input: taken for csv by its content; --input-format names another format',)
    """
    asked = None if input_format is None else format_named(input_format)
    options = table or TableOptions()
    if split_spec(spec)[0] == "-":
        name = file_name("-")
        with reading(name):
            member = split_spec(spec)[1]
            return _from_pipe(OpenedFile(_standard_input(stdin), name, "", options, limits, member), asked)
    with _open_named(spec, asked, options, limits) as (file, chosen):
        return replace(_opened(file, chosen), timeout_s=limits.timeout_s)


@contextlib.contextmanager
def _open_named(
    spec: str, asked: FileFormat | None, options: TableOptions, limits: ReadingLimits
) -> Iterator[tuple[OpenedFile, FileFormat]]:
    """Open a file, and find out its format."""
    path, member = split_spec(spec)
    name, path = file_name(path), local_path(path) or path
    with open_file(path, limits.timeout_s) as stream, reading(name):
        start = read_exactly(stream, START)
        stream.seek(0)
        file = OpenedFile(stream, name, path, options, limits, member)
        yield file, _chosen(start, asked, extension_of(path), name)


def _from_pipe(file: OpenedFile, asked: FileFormat | None) -> StoredArray:
    start = read_exactly(file.stream, START)
    if asked is None and not start:
        raise StablemaxError(f"{file.name}: is empty", "does the command before it fail?")
    chosen = _chosen(start, asked, "", file.name)
    file = replace(file, stream=_Rejoined(start, file.stream))
    if asked is None and chosen.begins is None:
        return _guessed(file, chosen)
    if chosen.open_pipe is not None:
        return _opened(file, chosen)
    # These formats have a table of contents at the end, or positions in the file: the stream must seek.
    with Spool(file.name, in_memory=-1) as spool:
        spool.fill(file.stream)
        with open_regular(spool.path) as stream:
            return _opened(replace(file, stream=stream, path=spool.path), chosen)


def _guessed(file: OpenedFile, chosen: FileFormat) -> StoredArray:
    """Read text whose format nobody has named, and say what it was taken for, also where that fails."""
    try:
        stored = _opened(file, chosen)
    except StablemaxError as error:
        others = ", ".join(name for name in FORMATS if name != chosen.name)
        raise StablemaxError(
            f"{error.message} (taken for {chosen.name} by its content)",
            f"{error.hint}; or name another format: --input-format {others}",
        ) from None
    note = f"{file.name}: taken for {chosen.name} by its content; --input-format names another format"
    return replace(stored, notes=(note, *stored.notes))


def _opened(file: OpenedFile, chosen: FileFormat) -> StoredArray:
    if file.member is not None and not chosen.members:
        raise StablemaxError(
            f"{file.name}: holds {chosen.name} data, which has no member '{brief(file.member, 120)}'",
            f"only {' and '.join(endings_with_members())} files have members",
        )
    opener = chosen.open if file.path else chosen.open_pipe or chosen.open
    return opener(file)


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
    return chosen or format_of_text(start)


def _standard_input(given: BinaryIO | None) -> BinaryIO:
    # sys.stdin is None where the program was started with standard input closed.
    stream: Any = getattr(sys.stdin, "buffer", None) if given is None else given
    try:
        what = "closed" if stream is None else "a terminal" if stream.isatty() else ""
    except ValueError:
        what = "closed"
    if what:
        raise StablemaxError(f"standard input: is {what}", "name a file, or pipe one in: ... < logits.npy")
    return stream


def open_files(
    logits: Sequence[str],
    labels: Sequence[str] = (),
    *,
    axis: int | None = None,
    input_format: str | None = None,
    table: TableOptions | None = None,
    second: Second = Second.LABELS,
    limits: ReadingLimits = USUAL_LIMITS,
) -> Stream:
    """Open logits and labels of any size; only numbers in text, Parquet and compressed archives are read.

    The files share the memory in which those may be kept.
    """
    table = table or TableOptions()
    if labels and table.label_column is not None:
        raise StablemaxError("labels are given twice: in a file and with --label-column", "leave one of them out")
    named, targets = (expand(specs, limits.timeout_s) for specs in (logits, labels))
    if "-" in named and "-" in targets:
        raise StablemaxError("logits and labels cannot both come from standard input", "put one of them into a file")
    share = replace(limits, in_memory=limits.in_memory // (len(named) + len(targets)))
    stored = [find_array(one, input_format=input_format, table=table, limits=share) for one in named]
    names = next((one.class_names for one in stored), ()) if second is Second.LABELS else None
    label_table = TableOptions(delimiter=table.delimiter, comment=table.comment, class_names=names)
    label_arrays = [find_array(one, table=label_table, limits=share) for one in targets]
    # Shapes are compared before anything is decompressed.
    stream = as_stream(stored, label_arrays, axis=axis, second=second)
    if any(one.unread for one in (*stored, *label_arrays)):
        read = [[one.read_in() for one in arrays] for arrays in (stored, label_arrays)]
        stream = as_stream(*read, axis=axis, second=second)
    notes = []
    if len(named) > 1:
        ends = f"{file_name(named[0])} to {file_name(named[-1])}"
        notes.append(f"{len(named):,} files as one input: {ends}, {counted(stream.rows, 'row')}")
    for pair in filter(None, map(out_of_order, (targets, named))):
        before, after = map(file_name, pair)
        notes.append(f"{before} comes before {after}, as they were named; a quoted pattern has numbers in order")
    return replace(stream, notes=(*notes, *stream.notes))


def read_weights(path: str, timeout_s: float = TIMEOUT_S) -> Array:
    """Read the weight of each class."""
    stored = find_array(path, limits=ReadingLimits(timeout_s=timeout_s))
    if stored.dtype.kind not in "iuf":
        raise StablemaxError(f"{stored.name}: weights of dtype {stored.dtype} are not numbers", "use float64")
    if max(stored.shape, default=0) != math.prod(stored.shape):
        raise StablemaxError(
            f"{stored.name}: shape {stored.shape} is not a vector of weights", "give one weight for each class"
        )
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        return np.asarray(stored.read_in().array, dtype=np.float64).ravel()


@dataclass(frozen=True, eq=False)
class ComputedOutput:
    """What a program computed, in a file or in memory; its numbers are not read yet, where that is possible."""

    #: With its classes where the logits have theirs, or one number a row; else the one number that all losses are.
    values: Stream | float
    name: str
    #: As stored, in the byte order of this machine.
    dtype: np.dtype[Any]
    #: The digits of numbers in text, (N, C) or (1, 1); None where they are exact.
    printed: PrintedNumbers | None = None
    #: What was found out when the file was opened.
    notes: tuple[str, ...] = ()

    def rows(self) -> Array:
        """All its numbers, (N, C) or (1, 1)."""
        return np.full((1, 1), self.values) if isinstance(self.values, float) else self.values.logits.whole()


def open_computed(
    path: str, stream: Stream, operation: Operation, limits: ReadingLimits = USUAL_LIMITS
) -> ComputedOutput:
    """Open what a program computed of the logits of a stream."""
    stored = find_array(path, limits=limits)
    name = stored.name
    if not holds_numbers(stored.dtype):
        raise StablemaxError(f"{name}: holds {stored.dtype}, not real numbers", "save it as float32")
    is_one_number = operation.is_reduced(stored.shape, (stream.rows, stream.classes))
    if not is_one_number:
        _check_shape(stored, stream, operation)
    stored = stored.read_in()
    axis = None if operation.per_row else stream.axis

    def as_rows(array: Array) -> Array:
        stored = StoredArray.of(array)
        return array.reshape(1, 1) if is_one_number else Rows((Part(stored, axis),)).whole()

    printed = _read_printed(path, limits)
    dtype = stored.dtype.newbyteorder("=")
    return ComputedOutput(
        _only_number(stored.array)
        if is_one_number
        else Stream(Rows((Part(stored, axis),)), None, stored.shape, stream.axis, (), ()),
        name,
        dtype,
        None if printed is None else printed.shaped(as_rows),
        stored.notes,
    )


def _only_number(array: Array) -> float:
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        return float(array.astype(np.float64).reshape(()))


def _read_printed(path: str, limits: ReadingLimits = USUAL_LIMITS) -> PrintedNumbers | None:
    """Read the digits of a text once more, as they are printed; None for a file of another format."""
    rows: list[Array] = []
    with _open_named(path, None, TableOptions(), limits) as (file, chosen):
        if chosen.cells is None:
            return None
        chosen.cells(file, lambda cells: rows.append(parts_of(cells)))
    return printed_numbers(rows)


def _check_shape(stored: StoredArray, stream: Stream, operation: Operation) -> None:
    """Refuse an output whose shape is not that of the operation on the logits."""
    expected, hint = stream.shape, "the output has the shape of the logits"
    allowed = {expected}
    if operation.per_row:
        expected, hint = stream.others, "one number for each row, or for a cross-entropy their mean"
        # A table cannot say whether a single column is one number a row.
        allowed = {expected, (stream.rows,), (stream.rows, 1)}
    if stored.shape not in allowed:
        raise StablemaxError(
            f"{stored.name}: has shape {stored.shape}, and {operation} of these logits has {expected}", hint
        )
