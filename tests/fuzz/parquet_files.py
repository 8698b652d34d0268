"""Parquet files that pyarrow wrote, with the integers of their footers and page headers changed."""

from __future__ import annotations

import functools
import io
import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from .mutations import as_field, damaged, near

MAGIC = b"PAR1"
_STRUCT, _LIST, _SET, _MAP, _BINARY, _DOUBLE, _BYTE = 12, 9, 10, 11, 8, 7, 3


@dataclass(frozen=True)
class Place:
    """Where a value lies in a structure of Thrift's compact protocol."""

    #: `integer` (zigzag), `length` (of text), `count` (of a list) or `type` (of a field).
    kind: str
    start: int
    end: int
    value: int


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class _Walk:
    """Notes the place of each value of a structure."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at
        self.places: list[Place] = []

    def _note(self, kind: str, start: int, value: int) -> None:
        self.places.append(Place(kind, start, self.at, value))

    def _integer(self) -> None:
        start = self.at
        raw, self.at = _varint(self.data, start)
        self._note("integer", start, (raw >> 1) ^ -(raw & 1))

    def value(self, kind: int) -> None:
        """Pass over a value of a kind."""
        start = self.at
        if kind == _STRUCT:
            self.structure()
        elif kind in (_LIST, _SET):
            head = self.data[self.at]
            self.at += 1
            count, inner = head >> 4, head & 15
            if count == 15:
                count, self.at = _varint(self.data, self.at)
            self._note("count", start, count)
            for _ in range(count):
                self.value(inner)
        elif kind == _BINARY:
            length, self.at = _varint(self.data, start)
            self._note("length", start, length)
            self.at += length
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BYTE:
            self.at += 1
        elif kind in (4, 5, 6):
            self._integer()

    def structure(self) -> None:
        """Pass over a structure."""
        while True:
            start, head = self.at, self.data[self.at]
            self.at += 1
            if head == 0:
                return
            self._note("type", start, head)
            if head < 16:
                self._integer()
            self.value(head & 15)


def places_of(data: bytes, at: int = 0) -> tuple[list[Place], int]:
    """Find all values of a structure, and its end."""
    walk = _Walk(data, at)
    walk.structure()
    return walk.places, walk.at


def _replaced(rng: random.Random, data: bytes, place: Place) -> bytes:
    if place.kind == "type":
        new = bytes([rng.choice((place.value ^ 16, place.value & 0xF0 | rng.randrange(16), 0, rng.randrange(256)))])
    elif place.kind == "count":
        new = bytes([data[place.start] & 15 | 16 * rng.randrange(16)])
    else:
        value = near(rng, place.value) if rng.random() < 0.7 else place.value ^ 1
        raw = value if place.kind == "length" else 2 * value if value >= 0 else -2 * value - 1
        new = _as_varint(raw % 2**70)
    return data[: place.start] + new + data[place.end :]


@functools.cache
def samples() -> tuple[bytes, ...]:
    """Write some files: of all encodings and kinds of columns that are read."""
    import pyarrow as pa
    from pyarrow import parquet

    numbers = np.arange(12.0).reshape(4, 3)
    plain = pa.table({f"c{n}": numbers[:, n] for n in range(3)})
    labelled = pa.table({"a": [0.5, 1.5, -2.0], "b": [1.0, 2.0, 3.0], "label": pa.array(["a", "b", "a"])})
    with_index = pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0], "__index_level_0__": [5, 6]})
    tables: list[tuple[Any, dict[str, Any]]] = [
        (plain, {}),
        (plain, {"compression": "none", "use_dictionary": False}),
        (plain, {"row_group_size": 2, "data_page_version": "2.0", "compression": "gzip"}),
        (
            plain.cast(pa.schema([(f"c{n}", pa.float32()) for n in range(3)])),
            {"use_byte_stream_split": True, "use_dictionary": False},
        ),
        (
            pa.table({"x": pa.array([1, 2, 3], pa.int64()), "y": pa.array([4, 5, 6], pa.int16())}),
            {"compression": "zstd"},
        ),
        (
            pa.table({"x": pa.array([3, 1, 2], pa.int32())}),
            {"use_dictionary": False, "column_encoding": "DELTA_BINARY_PACKED"},
        ),
        (pa.table({"x": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}), {}),
        (
            pa.table({"x": pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2))}),
            {"compression": "none", "write_page_checksum": True},
        ),
        (labelled, {}),
        (labelled.set_column(2, "label", labelled["label"].dictionary_encode()), {"compression": "lz4"}),
        (with_index, {}),
        (pa.table({"a": pa.array([1.0, None]), "b": [1.0, 2.0]}), {}),
        (pa.table([pa.array([1.0, 2.0]), pa.array([3.0, 4.0])], names=["a", "a"]), {"write_page_index": True}),
        (
            pa.table({"h": pa.array(np.array([1, 2], np.float16)), "u": pa.array([1, 2], pa.uint64())}),
            {"compression": "brotli"},
        ),
        (pa.table({"x": pa.array([True, False])}), {}),
        (pa.table({"x": np.tile(numbers, (200, 1)).ravel()}), {"data_page_size": 512, "compression": "snappy"}),
    ]
    return tuple(_written(parquet, table, options) for table, options in tables)


def _written(parquet: Any, table: Any, options: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, **options)
    return sink.getvalue()


@functools.cache
def _footer(content: bytes) -> tuple[int, tuple[Place, ...]]:
    """Return where the footer begins, and its values."""
    length = int.from_bytes(content[-8:-4], "little")
    start = len(content) - 8 - length
    return start, tuple(places_of(content[start:-8])[0])


@functools.cache
def _pages(content: bytes) -> tuple[Place, ...]:
    """Return the values of all page headers, found by walking from one page to the next."""
    import pyarrow as pa
    from pyarrow import parquet

    places: list[Place] = []
    about = parquet.ParquetFile(pa.BufferReader(content)).metadata
    for group in range(about.num_row_groups):
        for number in range(about.num_columns):
            column = about.row_group(group).column(number)
            at = column.dictionary_page_offset or column.data_page_offset
            end = at + column.total_compressed_size
            while at < end:
                found, after = places_of(content, at)
                places += found
                # The third field of a page header is the size of the page as stored.
                size = [place.value for place in found if place.kind == "integer"][2]
                at = after + size
    return tuple(places)


def parquet_file(rng: random.Random) -> bytes:
    """Take a file, and change values of its footer or of its page headers, mostly so that all else still fits."""
    content = rng.choice(samples())
    start, places = _footer(content)
    way = rng.random()
    if way < 0.05:
        return content
    if way < 0.55:
        footer = content[start:-8]
        for place in sorted(rng.sample(places, rng.choice((1, 1, 1, 2, 3))), key=lambda place: -place.start):
            footer = _replaced(rng, footer, place)
        length = near(rng, len(footer)) if rng.random() < 0.04 else len(footer)
        return content[:start] + footer + as_field(length, 4) + MAGIC
    if way < 0.8:
        place = rng.choice(_pages(content))
        changed = _replaced(rng, content, place)
        return changed if len(changed) == len(content) or rng.random() < 0.5 else content
    if way < 0.92:  # what the pages hold
        return damaged(rng, content[4:start], content).join((content[:4], content[start:]))
    return damaged(rng, content, rng.choice(samples()))
