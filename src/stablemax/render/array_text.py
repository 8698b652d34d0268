"""An array as text: numbers, each in its own format, the shortest decimals that read back the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from stablemax.render.forms import ResultKind, Rows

if TYPE_CHECKING:
    from stablemax.inputs.logits import Problem, Stream
    from stablemax.inputs.stored import StoredArray
    from stablemax.numerics.formats import Array

CELLS_AT_ONCE = 1 << 18
"""Numbers that are read from a large result at a time."""


class ArrayOfInput(NamedTuple):
    """An array with what it was computed from."""

    stored: StoredArray
    stream: Stream | None = None


def plain(array: Array) -> Array:
    """Return an array of a dtype that NumPy has: float32 for the narrow formats that it lacks."""
    return array if array.dtype.isbuiltin == 1 or not array.dtype.isnative else array.astype("float32")


def _blocks(stored: StoredArray) -> Iterator[Array]:
    """Give lines (n, K), some at a time: the last axis runs along a line, and one number a row stands alone."""
    from stablemax.inputs.stored_rows import Part
    from stablemax.inputs.stored_rows import Rows as StoredRows
    from stablemax.inputs.workspace import Workspace

    axis = len(stored.shape) - 1
    rows = StoredRows((Part(stored, axis if axis > 0 else None),))
    step = max(1, CELLS_AT_ONCE // max(1, rows.classes))
    with Workspace() as workspace:
        for start in range(0, rows.rows, step):
            yield plain(rows.read(start, min(start + step, rows.rows), workspace))


def _cells(stored: StoredArray) -> Iterator[list[str]]:
    for block in _blocks(stored):
        # Python writes a float64 as NumPy does, and sooner.
        for row in block.tolist() if block.dtype.name == "float64" else block:
            yield list(map(str, row))


def delimited(stored: StoredArray, delimiter: str) -> Iterator[str]:
    """Write lines of numbers with a delimiter between them."""
    return (delimiter.join(cells) + "\n" for cells in _cells(stored))


def content(array: ArrayOfInput) -> dict[str, Any]:
    """Give the whole array with what it is of."""
    values = plain(array.stored.array)
    described = {} if array.stream is None else {"input": described_input(array.stream)}
    return {**described, "dtype": values.dtype.name, "shape": values.shape, "values": values}


def described_input(stream: Problem | Stream) -> dict[str, Any]:
    """Describe where logits and labels came from."""
    sources = [{"name": s.name, "dtype": s.dtype, "shape": s.shape} for s in stream.sources]
    return {"logits": sources[0], "labels": sources[1] if len(sources) > 1 else None, "axis": stream.axis}


ARRAY = ResultKind(
    "an array",
    "array",
    content,
    records=lambda array: (row for block in _blocks(array.stored) for row in block),
    rows=lambda array: Rows((), _cells(array.stored)),
    lines=lambda array, _: delimited(array.stored, " "),
)
