"""Probabilities in place of logits: rows that lie in [0, 1] and sum to 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stablemax.inputs.logits import Stream
from stablemax.inputs.stored_rows import Part
from stablemax.inputs.workspace import Workspace
from stablemax.numerics.formats import Array, format_of

FIRST_CLASSES = 64
"""Numbers of the first row that are read alone: of logits, hardly ever do all of them lie in [0, 1]."""
BLOCK_CELLS = 1 << 16
MOST_CELLS = 1 << 22
"""Numbers that are looked at: a few milliseconds, however long the input is."""
SUM_TOLERANCE = 4e-3
"""How far a sum may be from 1, whatever the format: the sum of numbers of three significant digits hardly ever is."""
MOST_DECIMALS = 2
"""Decimals that are told from more digits; with more of them a sum is off by less than `SUM_TOLERANCE` mostly."""


def with_probabilities_noted(stream: Stream) -> Stream:
    """Add a note to an input whose rows are probabilities; it is given up at the first row that is none.

    >>> from stablemax.inputs.logits import as_stream
    >>> from stablemax.inputs.stored import StoredArray
    >>> stream = as_stream(StoredArray.of(np.array([[0.5, 0.5], [0.9, 0.1]]), "p.npy"))
    >>> with_probabilities_noted(stream).notes
    ('p.npy: every row sums to 1: are these probabilities? log(p) gives logits of the same softmax',)
    """
    rows = min(stream.rows, MOST_CELLS // stream.classes)
    if stream.classes < 2 or rows == 0 or not all(map(_is_cheap, stream.logits.parts)):
        return stream
    with Workspace() as workspace, np.errstate(invalid="ignore"):  # a signalling NaN is no probability, as any other
        first = stream.logits.read(0, 1, workspace, last=min(stream.classes, FIRST_CLASSES))
        if not _in_unit_range(first.astype(np.float64)) or not _all_sum_to_1(stream, rows, workspace):
            return stream
    which = "every row" if rows == stream.rows else f"each of the first {rows:,} rows"
    note = (
        f"{stream.sources[0].name}: {which} sums to 1: are these probabilities? log(p) gives logits of the same softmax"
    )
    return replace(stream, notes=(*stream.notes, note))


def _is_cheap(part: Part) -> bool:
    """Whether a row is not a request to a server for each of its classes."""
    return not part.stored.is_remote or (part.layout is not None and part.layout.is_plain)


def _all_sum_to_1(stream: Stream, rows: int, workspace: Workspace) -> bool:
    start, step = 0, 1
    while start < rows:
        stop = min(start + step, rows)
        x = stream.logits.read(start, stop, workspace).astype(np.float64)
        if not _in_unit_range(x) or not (np.abs(x.sum(axis=1) - 1) <= _tolerance(stream, x)).all():
            return False
        start, step = stop, max(1, BLOCK_CELLS // stream.classes)
    return True


def _in_unit_range(x: Array) -> bool:
    """Whether all numbers lie in [0, 1]; NaN does not."""
    return bool(((x >= 0) & (x <= 1)).all())


def _tolerance(stream: Stream, x: Array) -> float:
    """Return how far a sum of rounded probabilities may be from 1: by their format, or by their printed decimals."""
    fmt = format_of(stream.logits.dtype)
    decimals = (d for d in range(1, MOST_DECIMALS + 1) if bool((np.round(x, d) == x).all()))
    of_decimals = 0.5 * 10.0 ** -next(decimals, MOST_DECIMALS + 1)
    # Roundings go either way: those of n numbers add up to about the root of n.
    return max(SUM_TOLERANCE, 2 * fmt.u, min(0.1, of_decimals * 2 * np.sqrt(x.shape[1])))
