"""The process in which pyarrow reads a Parquet file, within limits of memory and processor time.

It reads one request as JSON from standard input, and writes messages to standard output, each a line of JSON:
``{"spool": 0, "bytes": n}`` is followed by n bytes of numbers (1: of labels); the last message says what was read, or
why the file was refused.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import IO, Any, BinaryIO

from stablemax.inputs.file_format import ReadingLimits, TableOptions
from stablemax.inputs.foreign_text import brief
from stablemax.inputs.formats.parquet import damaged, no_memory
from stablemax.inputs.formats.parquet_groups import Sink, read_parquet
from stablemax.inputs.regular_file import length_of
from stablemax.inputs.spooled import check_expanded
from stablemax.inputs.workspace import bytes_of
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError
from stablemax.text.machine_limits import limit_reached
from stablemax.text.process_limits import end_with_parent, limit_memory, limit_processor_time

MEMORY_BYTES = 256 * 2**20
"""What reading may take, beside the libraries and what the file's own size and the user's --memory allow."""
PROCESSOR_S = 3
"""What opening the file and reading any batch of its numbers may take; a batch takes some milliseconds."""
_THREADS = 4
"""More than pyarrow starts here."""
_FOOTER_MEMORY = 32
"""Bytes that a byte of the footer may take: pyarrow takes 20 for the columns of a table of 131,072."""
_FOOTER_BYTES_PER_S = 10 * 2**20


def main() -> None:
    """Read the file that standard input names, and send what it holds."""
    end_with_parent()
    asked = json.load(sys.stdin.buffer)
    # Whatever else prints there would be taken for a message.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with open(asked["source"], "rb") as stream:  # noqa: PTH123 - a descriptor, or a path
        stream.seek(0)
        answer(asked, stream, answers)


def answer(asked: dict[str, Any], stream: BinaryIO, answers: IO[bytes]) -> None:
    """Read an open file within limits, which hold for this process from now on, and send what it holds."""
    _send(answers, _read(stream, asked, answers))


def _read(stream: BinaryIO, asked: dict[str, Any], answers: IO[bytes]) -> dict[str, Any]:
    """Read a file whose numbers are sent at once; return what else is to be said of it."""
    name = asked["name"]
    try:
        import pyarrow
        from pyarrow import ArrowException
    except ImportError as error:
        broken = StablemaxError(f"{name}: pyarrow cannot be imported ({brief(error, 200)})", "install it again")
        return _refused(limit_reached(error) or broken)
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    table = TableOptions(**{**asked["table"], "class_names": _tuple_or_none(asked["table"]["class_names"])})
    limits = ReadingLimits(**asked["limits"])
    sinks = _sink(answers, 0), _sink(answers, 1)
    try:
        bounds = _ProcessBounds(stream, name, limits)
        found = read_parquet(stream, name, table, limits.in_memory, sinks, bounds)
    except StablemaxError as error:
        return _refused(error)
    except MemoryError:  # one of pyarrow's is both
        return _refused(no_memory(name))
    except BrokenPipeError:
        raise
    except (ArrowException, OSError, ValueError, OverflowError) as error:
        return _refused(limit_reached(error) or damaged(name, str(error) or type(error).__name__))
    return {**asdict(found), "dtype": found.dtype.str}


def _refused(error: StablemaxError) -> dict[str, Any]:
    return {"refused": [error.message, error.hint]}


def _tuple_or_none(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _sink(answers: IO[bytes], spool: int) -> Sink:
    def send(rows: Array) -> None:
        rest = bytes_of(rows)
        _send(answers, {"spool": spool, "bytes": len(rest)})
        while rest:
            rest = rest[answers.write(rest) :]

    return send


def _send(answers: IO[bytes], message: dict[str, Any]) -> None:
    rest = json.dumps(message).encode() + b"\n"
    while rest:
        rest = rest[answers.write(rest) :]


class _ProcessBounds:
    """Bounds of this process: what its system takes for granted is the size of the file, not what it declares."""

    def __init__(self, stream: BinaryIO, name: str, limits: ReadingLimits) -> None:
        self._name, self._limits = name, limits
        self._size = length_of(stream)
        stream.seek(max(0, self._size - 8))
        footer = min(self._size, int.from_bytes(stream.read(4), "little"))
        stream.seek(0)
        self._processor_s = PROCESSOR_S + footer // _FOOTER_BYTES_PER_S
        limit_memory(MEMORY_BYTES + _FOOTER_MEMORY * footer, _THREADS)
        self.of_batch()

    def of_file(self, metadata: Any) -> None:
        """Allow memory for the largest column of a row group; refuse a file that declares far more than it has."""
        declared = largest = 0
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                declared += column.num_values
                largest = max(largest, column.total_compressed_size)
        check_expanded(8 * declared, self._size, self._name, "write it without a dictionary", force=self._limits.force)
        # A page is taken whole, as stored and decoded.
        limit_memory(MEMORY_BYTES + self._limits.in_memory + 2 * min(largest, self._size), _THREADS)

    def of_batch(self) -> None:
        """Allow the time of a batch."""
        limit_processor_time(self._processor_s)


if __name__ == "__main__":
    main()
