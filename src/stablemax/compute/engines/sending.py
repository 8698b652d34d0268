"""What other processes and other machines can read of an input."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from stablemax.inputs.foreign_text import size_of
from stablemax.inputs.logits import Stream
from stablemax.inputs.regular_file import CHUNK
from stablemax.inputs.spooled import Spool
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.stored_rows import Rows
from stablemax.text.errors import StablemaxError

SENT = 8 << 20
"""Most bytes that are sent to the workers; dask warns from 10 MB on."""


def for_workers(stream: Stream, scheduler: str | None) -> Stream:
    """Return an input that the workers of a cluster can read.

    >>> from stablemax.inputs.stored import StoredArray
    >>> from stablemax.inputs.logits import as_stream
    >>> rows = np.broadcast_to(np.float32(0), (100_000, 100))
    >>> for_workers(as_stream(StoredArray.of(rows, "x.csv")), "tcp://host:8786")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: x.csv: its 40,000,000 bytes are in the memory of this machine
    """
    parts = [part.stored for rows in _both(stream) for part in rows.parts]
    sends = sum(stored.size_bytes for stored in parts if stored.memory is not None) <= SENT
    logits, *labels = (
        Rows(tuple(replace(part, stored=_readable(part.stored, scheduler, sends=sends)) for part in rows.parts))
        for rows in _both(stream)
    )
    return replace(stream, logits=logits, labels=labels[0] if labels else None)


def _both(stream: Stream) -> list[Rows]:
    return [rows for rows in (stream.logits, stream.labels) if rows is not None]


def _readable(stored: StoredArray, scheduler: str | None, *, sends: bool) -> StoredArray:
    # The label column of a table is among the labels already.
    stored = replace(stored, labels=None)
    if stored.memory is not None:
        return stored if sends else _spooled(stored, scheduler)
    if stored.is_temporary:
        if scheduler is not None:
            raise _only_here(stored)
        return stored
    return stored if stored.is_remote else replace(stored, path=os.path.abspath(stored.path))  # noqa: PTH100 - a path stays text


def _spooled(stored: StoredArray, scheduler: str | None) -> StoredArray:
    if scheduler is not None:
        raise _only_here(stored)
    assert stored.memory is not None
    with Spool(stored.name, in_memory=-1) as spool:
        # In pieces: what is not contiguous is not copied as a whole.
        step = max(1, CHUNK * len(stored.memory) // stored.size_bytes)
        for start in range(0, len(stored.memory), step):
            spool.write(np.ascontiguousarray(stored.memory[start : start + step]).view(np.uint8))
        return spool.stored(stored.shape, stored.dtype, format=stored.format, notes=stored.notes)


def _only_here(stored: StoredArray) -> StablemaxError:
    return StablemaxError(
        f"{stored.name}: its {size_of(stored.size_bytes)} are in the memory of this machine",
        "save it as .npy where every worker can read it, or leave out --scheduler",
    )
