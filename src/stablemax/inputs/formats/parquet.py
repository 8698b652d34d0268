"""Parquet: numeric columns as classes, or one column of lists; pyarrow reads them in a process of its own.

What a file makes pyarrow do is the file's choice: 600 bytes can ask for gigabytes, and others end the process (Arrow
aborts where an exception reaches code that is declared not to throw). So a child reads, within limits, and sends the
numbers over a pipe.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Any, BinaryIO, cast

import numpy as np

from stablemax.inputs.file_format import FileFormat, OpenedFile
from stablemax.inputs.foreign_text import brief
from stablemax.inputs.regular_file import CHUNK, length_of
from stablemax.inputs.spooled import Spool, temporary_directory
from stablemax.inputs.stored import StoredArray
from stablemax.text.errors import StablemaxError
from stablemax.text.machine_limits import tells_of_memory

_LINE_BYTES = 2**20
"""Longest message of the child, but for names of columns: these are in the file, and a character is at most 8 bytes."""
_LAST_WORDS = 10_000
# -P: the folder that somebody stands in is not searched for modules, unless this process does it, too.
_CHILD = ("-P", "-m", f"{__package__}.parquet_process")


class _CutOffError(Exception):
    """The child ended before it had said how it went."""


def open_parquet(file: OpenedFile) -> StoredArray:
    """Read a Parquet file, batch by batch, in a process of its own.

    Every numeric column is a class; a file of one column of lists has a row of logits in each list. Numbers keep their
    type where all columns have the same one, else they become float64; labels are float64.

    >>> import io
    >>> from stablemax.inputs.file_format import OpenedFile
    >>> open_parquet(OpenedFile(io.BytesIO(b"PAR1"), "x.parquet"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: x.parquet: ...
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise StablemaxError(f"{file.name}: Parquet files need the package pyarrow", 'pip install "stablemax[parquet]"')
    name, in_memory = file.name, file.limits.in_memory
    with (
        _regular(file) as (stream, size),
        tempfile.TemporaryFile(buffering=0, dir=temporary_directory()) as printed,
        _reader(stream, file, printed) as process,
        Spool(name, in_memory) as values,
        Spool(name, in_memory) as labels,
    ):
        assert process.stdout is not None
        try:
            answer = _answer(process.stdout, (values, labels), _LINE_BYTES + 8 * size)
        except _CutOffError:
            process.stdout.close()
            raise _end_of(process.wait(), printed, name) from None
        if "refused" in answer:
            raise StablemaxError(*answer["refused"])
        dtype = np.dtype(answer["dtype"])
        rows, classes = answer["shape"]
        targets = labels.stored((rows,), np.dtype(np.float64), format="parquet") if answer["has_labels"] else None
        known = {"labels": targets, "notes": tuple(answer["notes"]), "class_names": tuple(answer["class_names"])}
        return values.stored((rows, classes), dtype, format="parquet", **known)


@contextlib.contextmanager
def _regular(file: OpenedFile) -> Iterator[tuple[BinaryIO, int]]:
    """Give a file of this machine, which another process can read: that which is open, or a copy of it; and its length.

    The other process moves the position of the file, which nobody else may use meanwhile.
    """
    stream = cast("BinaryIO", file.stream)
    try:
        stream.fileno()
    except (AttributeError, io.UnsupportedOperation):
        with Spool(file.name, in_memory=-1) as spool:
            spool.fill(stream)
            with open(spool.path, "rb") as copy:  # noqa: PTH123 - a path stays text
                yield copy, length_of(copy)
    else:
        yield stream, length_of(stream)


@contextlib.contextmanager
def _reader(stream: BinaryIO, file: OpenedFile, printed: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the process that reads an open file, and end it in any case."""
    # Windows hands down standard streams alone.
    descriptors = (stream.fileno(),) if os.name == "posix" else ()
    request = {"source": descriptors[0] if descriptors else stream.name, **request_of(file)}
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, *_CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=printed,
        pass_fds=descriptors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout:
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(json.dumps(request).encode())
            yield process
        finally:
            process.kill()
            process.wait()


def request_of(file: OpenedFile) -> dict[str, Any]:
    """Return what the child is told of a file, besides where it is."""
    return {"name": file.name, "table": asdict(file.table), "limits": asdict(file.limits)}


def _answer(answers: IO[bytes], spools: tuple[Spool, Spool], line_bytes: int) -> dict[str, Any]:
    """Take the numbers that the child sends, and return what it says in the end."""
    while True:
        line = answers.readline(line_bytes)
        if not line.endswith(b"\n"):
            raise _CutOffError
        try:
            message: dict[str, Any] = json.loads(line)
        except ValueError:
            raise _CutOffError from None
        if "bytes" not in message:
            return message
        if spools[message["spool"]].fill(answers, message["bytes"], CHUNK) < message["bytes"]:
            raise _CutOffError


def _end_of(code: int, printed: IO[bytes], name: str) -> StablemaxError:
    """Word how the child ended before its time."""
    printed.seek(0)
    words = printed.read(_LAST_WORDS).decode("utf-8", "replace")
    if -code == getattr(signal, "SIGXCPU", 0):
        return StablemaxError(
            f"{name}: one part of the Parquet file takes seconds of processor time to read",
            "it is damaged, or made to harm; write it again, or as .npy",
        )
    if tells_of_memory(words):
        return no_memory(name)
    last = next((line for line in reversed(words.splitlines()) if line.strip()), f"its reader ended with {code}")
    return damaged(name, last)


def damaged(name: str, reason: str) -> StablemaxError:
    """Word what pyarrow says of a damaged file."""
    return StablemaxError(
        f"{name}: the Parquet file is damaged ({brief(' '.join(reason.split()), 200)})",
        "copy it again, or write it again",
    )


def no_memory(name: str) -> StablemaxError:
    """Word that reading a file took more memory than it may."""
    return StablemaxError(
        f"{name}: one part of the Parquet file takes far more memory than the file",
        "it is damaged, or made to harm; write it with smaller row groups and pages, or as .npy",
    )


FORMAT = FileFormat(
    "parquet", "a table of columns", (".parquet", ".pq"), open_parquet, begins=re.compile(rb"PAR1"), is_table=True
)
