"""Arrays as files and as text."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stablemax.errors import StablemaxError, shown
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.stored_rows import Part, Rows
from stablemax.output import whole_file, write_out, writing
from stablemax.render.data import document, jsonable
from stablemax.vocabulary import ARRAY_FORMATS, OutputFormat
from stablemax.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stablemax.formats import Array
    from stablemax.inputs.logits import Problem, Stream

CELLS_AT_ONCE = 1 << 18
"""Numbers that are read from a large result at a time."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def check_target(path: str | None, how: OutputFormat | None, *, force: bool, option: str = "-o") -> None:
    """Refuse an output before anything is computed: a wrong ending, a file that is there, a wrong format.

    Parameters
    ----------
    path : str or None
        The file of -o.
    how : OutputFormat or None
        What was asked for standard output.
    force : bool
        Replace a file that is there.
    option : str
        What the user names the file with.

    Raises
    ------
    StablemaxError
        With the fix as hint.
    """
    if how is not None and how not in ARRAY_FORMATS:
        raise StablemaxError(f"an array is not written as {how}", "use csv, plain, json or ndjson; or -o FILE.npy")
    if path is None:
        return
    if how is not None:
        raise StablemaxError(
            f"--output-format {how} is for standard output, and -o {shown(path)} is given",
            "leave out one of the two",
        )
    if Path(path).suffix.lower() not in (".npy", *_DELIMITERS):
        raise StablemaxError(
            f"{shown(path)}: arrays are written as .npy, .csv or .tsv", f"give {option} one of these endings"
        )
    if Path(path).exists() and not force:
        raise StablemaxError(f"{shown(path)}: exists", "add --force to replace it")


def write(
    array: Array | StoredArray, how: OutputFormat | None, path: str | None, *, force: bool, stream: Stream | None = None
) -> None:
    """Write an array to a file, whole or not at all, or to standard output.

    Parameters
    ----------
    array : ndarray or StoredArray
        Formats that NumPy lacks are written as float32, which holds every number of theirs.
    how : OutputFormat or None
        For standard output; CSV when not given.
    path : str or None
        A file ending in .npy, .csv or .tsv.
    force : bool
        Replace a file that is there.
    stream : Stream, optional
        What it was computed from, for JSON.
    """
    stored = array if isinstance(array, StoredArray) else StoredArray.of(array)
    if path is None:
        _to_stdout(stored, how or OutputFormat.CSV, stream)
        return
    with whole_file(path, force=force) as file:
        _to_file(stored, path, file)


def write_files(arrays: Sequence[tuple[Array, str, str]], *, force: bool) -> None:
    """Write arrays to files: all of them or none.

    Parameters
    ----------
    arrays : sequence of (ndarray, str, str)
        Each with its file, ending in .npy, .csv or .tsv, and the option that names it.
    force : bool
        Replace files that are there.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(whole_file(path, force=force, option=option)) for _, path, option in arrays]
        for (array, path, option), file in zip(arrays, files, strict=True):
            # Every file is open: an error here would else be told of the last one.
            with writing(path, option):
                _to_file(StoredArray.of(array), path, file)
                file.flush()


class _Writable(NamedTuple):
    """A file to NumPy, which writes to any other by itself and says of a full disk only that too little was written."""

    write: Callable[[bytes], object]


def _to_file(stored: StoredArray, path: str, file: IO[bytes]) -> None:
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        np.save(_Writable(file.write), plain(stored.array), allow_pickle=False)
        return
    for text in _text(stored, _DELIMITERS[suffix]):
        file.write(text.encode("ascii"))


def plain(array: Array) -> Array:
    """Return an array of a dtype that NumPy has: float32 for the narrow formats that it lacks."""
    return array if array.dtype.isbuiltin == 1 or not array.dtype.isnative else array.astype(np.float32)


def _blocks(stored: StoredArray) -> Iterator[Array]:
    """Give lines (n, K), some at a time: the last axis runs along a line, and one number a row stands alone."""
    axis = len(stored.shape) - 1
    rows = Rows((Part(stored, axis if axis > 0 else None),))
    step = max(1, CELLS_AT_ONCE // max(1, rows.classes))
    with Workspace() as workspace:
        for start in range(0, rows.rows, step):
            yield plain(rows.read(start, min(start + step, rows.rows), workspace))


def _text(stored: StoredArray, delimiter: str) -> Iterator[str]:
    """Write lines of numbers, each in its own format: the shortest decimal that reads back the same."""
    for block in _blocks(stored):
        # Python writes a float64 as NumPy does, and sooner.
        numbers = block.tolist() if block.dtype == np.float64 else block
        for row in numbers:
            yield delimiter.join(map(str, row)) + "\n"


def _to_stdout(stored: StoredArray, how: OutputFormat, stream: Stream | None) -> None:
    if how is OutputFormat.JSON:
        array = plain(stored.array)
        described = {} if stream is None else {"input": described_input(stream)}
        write_out(document("array", {**described, "dtype": array.dtype.name, "shape": array.shape, "values": array}))
        return
    if how is OutputFormat.NDJSON:
        for block in _blocks(stored):
            for row in block:
                write_out(json.dumps(jsonable(row), allow_nan=False) + "\n")
        return
    for text in _text(stored, "," if how is OutputFormat.CSV else " "):
        write_out(text)


def described_input(stream: Problem | Stream) -> dict[str, Any]:
    """Describe where logits and labels came from, for JSON."""
    named = [{"name": s.name, "dtype": s.dtype, "shape": s.shape} for s in stream.sources]
    labels = named[1] if len(named) > 1 else None
    return {"logits": named[0], "labels": labels, "axis": stream.axis}
