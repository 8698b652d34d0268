"""Interleaved rows, whose classes lie apart in a file, copied once so that each row lies in one piece; and back."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stablemax.inputs.regular_file import reading
from stablemax.inputs.row_layout import Place, gather, move
from stablemax.inputs.spooled import Spool, check_room

if TYPE_CHECKING:
    from stablemax.inputs.row_layout import RowLayout
    from stablemax.inputs.stored import StoredArray

TILE_BYTES = 3 << 20
"""Bytes that are read to be turned: as whole rows where the runs that are written are not too short then."""
SHORT_RUN = 512
"""Numbers of a run that is worth a read or a write of its own."""
TURNED_SHARE = 8
"""Of a tile one of so many parts is turned at a time."""
IN_PLACE_BYTES = 1 << 20
"""Fewer bytes are read and written where they lie: that is sooner done than making a file."""


def in_row_order(stored: StoredArray, layout: RowLayout) -> StoredArray:
    """Copy an array in a file of this machine to a temporary file, as (N, K)."""
    check_room(stored.size_bytes, stored.name)
    with Spool(stored.name, in_memory=-1) as spool, stored.open_raw() as source, reading(stored.name):
        spool.reserve(stored.size_bytes)
        with Path(spool.path).open("r+b", buffering=0) as target:
            turn(Place(source, stored.offset, stored.name), Place(target), layout.box, stored.dtype.itemsize)
        return replace(
            stored, shape=(layout.rows, layout.classes), path=spool.path, offset=0, fortran_order=False, labels=None
        )


def turn(source: Place, target: Place, box: tuple[int, int, int], itemsize: int) -> None:
    """Copy an array (outer, tall, broad) of one file as (outer, broad, tall) into another, a tile at a time."""
    outer, tall, broad = box
    # Bits are moved, whatever they mean.
    dtype, cells = np.dtype(f"u{itemsize}"), max(1, TILE_BYTES // itemsize)
    several = max(1, cells // TURNED_SHARE // (tall * broad))
    height = min(tall, max(min(math.isqrt(cells), SHORT_RUN), cells // broad))
    width = min(broad, max(1, cells // height))
    # A tile is turned in strips: its numbers are in memory once, and once more a strip of them.
    strip = width if several > 1 else min(width, max(1, cells // TURNED_SHARE // height))
    memory = np.empty(several * height * width, dtype), np.empty(several * height * strip, dtype)
    for first, top, left in itertools.product(range(0, outer, several), range(0, tall, height), range(0, broad, width)):
        shape = min(several, outer - first), min(height, tall - top), min(width, broad - left)
        tile = memory[0][: math.prod(shape)].reshape(shape)
        move(source, tile, (first, top, left), box, write=False)
        for begin in range(0, shape[2], strip):
            part = tile[:, :, begin : begin + strip]
            turned = memory[1][: part.size].reshape(shape[0], part.shape[2], shape[1])
            gather(part, turned.reshape(-1, shape[1]))
            move(target, turned, (first, left + begin, top), (outer, broad, tall), write=True)
