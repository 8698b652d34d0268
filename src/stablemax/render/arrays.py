"""Arrays as files and as text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from stablemax.errors import StablemaxError, shown
from stablemax.output import whole_file
from stablemax.render.data import document, jsonable
from stablemax.vocabulary import OutputFormat

if TYPE_CHECKING:
    from stablemax.formats import Array
    from stablemax.inputs.problem import Problem

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def check_target(path: str | None, how: OutputFormat | None, *, force: bool) -> None:
    """Refuse an output before anything is computed: a wrong ending, a file that is there, a wrong format.

    Parameters
    ----------
    path : str or None
        The file of -o.
    how : OutputFormat or None
        What was asked for standard output.
    force : bool
        Replace a file that is there.

    Raises
    ------
    StablemaxError
        With the fix as hint.
    """
    if how is not None and (how.is_for_ci or how in (OutputFormat.MARKDOWN, OutputFormat.TABLE)):
        raise StablemaxError(f"an array is not written as {how}", "use csv, plain, json or ndjson; or -o FILE.npy")
    if path is None:
        return
    if how is not None:
        raise StablemaxError(
            f"--output-format {how} is for standard output, and -o {shown(path)} is given",
            "leave out one of the two",
        )
    if Path(path).suffix.lower() not in (".npy", *_DELIMITERS):
        raise StablemaxError(f"{shown(path)}: arrays are written as .npy, .csv or .tsv", "give -o one of these endings")
    if Path(path).exists() and not force:
        raise StablemaxError(f"{shown(path)}: exists", "add --force to replace it")


def write(
    array: Array, how: OutputFormat | None, path: str | None, *, force: bool, problem: Problem | None = None
) -> None:
    """Write an array to a file, whole or not at all, or to standard output.

    Parameters
    ----------
    array : ndarray
        Formats that NumPy lacks are written as float32, which holds every number of theirs.
    how : OutputFormat or None
        For standard output; CSV when not given.
    path : str or None
        A file ending in .npy, .csv or .tsv.
    force : bool
        Replace a file that is there.
    problem : Problem, optional
        What it was computed from, for JSON.
    """
    if array.dtype.isbuiltin != 1:
        array = array.astype(np.float32)
    if path is None:
        _to_stdout(array, how or OutputFormat.CSV, problem)
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


def _to_stdout(array: Array, how: OutputFormat, problem: Problem | None) -> None:
    out = sys.stdout
    if how is OutputFormat.JSON:
        described = {} if problem is None else {"input": described_input(problem)}
        out.write(document("array", {**described, "dtype": array.dtype.name, "shape": array.shape, "values": array}))
        return
    if how is OutputFormat.NDJSON:
        for row in _rows(array):
            out.write(json.dumps(jsonable(row), allow_nan=False) + "\n")
        return
    delimiter = "," if how is OutputFormat.CSV else " "
    for row in _rows(array):
        out.write(delimiter.join(map(text_of, row)) + "\n")


def described_input(problem: Problem) -> dict[str, Any]:
    """Describe where logits and labels came from, for JSON."""
    named = [{"name": s.name, "dtype": s.dtype, "shape": s.shape} for s in problem.sources]
    labels = named[1] if len(named) > 1 else None
    return {"logits": named[0], "labels": labels, "axis": problem.axis}
