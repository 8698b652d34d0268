"""Arrays as files and as text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from stablemax.errors import StablemaxError, shown
from stablemax.output import whole_file
from stablemax.render.data import jsonable
from stablemax.results import SCHEMA
from stablemax.vocabulary import OutputFormat

if TYPE_CHECKING:
    from stablemax.formats import Array

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def check_target(path: str | None, *, force: bool) -> None:
    """Refuse an output file before anything is computed: a wrong ending, or one that is there.

    Raises
    ------
    StablemaxError
        With the fix as hint.
    """
    if path is None:
        return
    if Path(path).suffix.lower() not in (".npy", *_DELIMITERS):
        raise StablemaxError(
            f"{shown(path)}: arrays are written as .npy, .csv or .tsv", "give -o one of these endings"
        )
    if Path(path).exists() and not force:
        raise StablemaxError(f"{shown(path)}: exists", "add --force to replace it")


def write(array: Array, how: OutputFormat, path: str | None, *, force: bool) -> None:
    """Write an array to a file, whole or not at all, or to standard output.

    Parameters
    ----------
    array : ndarray
        Formats that NumPy lacks are written as float32, which holds every number of theirs.
    how : OutputFormat
        For standard output.
    path : str or None
        A file ending in .npy, .csv or .tsv.
    force : bool
        Replace a file that is there.
    """
    if array.dtype.isbuiltin != 1:
        array = array.astype(np.float32)
    if path is None:
        _to_stdout(array, how)
        return
    with whole_file(path, force=force) as stream:
        suffix = Path(path).suffix.lower()
        if suffix == ".npy":
            np.save(stream, array, allow_pickle=False)
        else:
            _write_rows(array, stream, _DELIMITERS[suffix])


def _rows(array: Array) -> Array:
    """One line a row: the last axis runs along the line, and one number a row stands alone."""
    return array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array.reshape(-1, 1)


def text_of(value: Any) -> str:
    """Write a number in its own format: the shortest decimal that reads back the same."""
    return str(value)


def _write_rows(array: Array, stream: IO[bytes], delimiter: str) -> None:
    for row in _rows(array):
        stream.write((delimiter.join(map(text_of, row)) + "\n").encode("ascii"))


def _to_stdout(array: Array, how: OutputFormat) -> None:
    out = sys.stdout
    if how is OutputFormat.JSON:
        body = {
            "schema": SCHEMA,
            "kind": "array",
            "dtype": array.dtype.name,
            "shape": array.shape,
            "values": array,
        }
        out.write(json.dumps(jsonable(body), allow_nan=False) + "\n")
        return
    if how is OutputFormat.NDJSON:
        for row in _rows(array):
            out.write(json.dumps(jsonable(row), allow_nan=False) + "\n")
        return
    if how in (OutputFormat.MARKDOWN, OutputFormat.TABLE):
        raise StablemaxError(
            f"an array is not written as {how}", "use csv, plain, json or ndjson; or -o FILE.npy"
        )
    delimiter = "," if how is OutputFormat.CSV else " "
    for row in _rows(array):
        out.write(delimiter.join(map(text_of, row)) + "\n")
