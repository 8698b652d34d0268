"""The process that reads a Parquet file, forked from this one instead of started: it does all the same."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import traceback
from typing import IO, TYPE_CHECKING, BinaryIO

from stablemax.inputs.formats.parquet import request_of
from stablemax.inputs.formats.parquet_process import answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.inputs.file_format import OpenedFile


class Forked:
    """A forked process, with what `open_parquet` asks of a `subprocess.Popen`."""

    def __init__(self, number: int, answers: int) -> None:
        self._number = number
        self._status: int | None = None
        self.stdout: IO[bytes] = os.fdopen(answers, "rb")

    def wait(self) -> int:
        """Return the exit code, negative for a signal."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._number, 0)[1])
        return self._status

    def end(self) -> None:
        """End the process in any case."""
        if self._status is None:
            os.kill(self._number, signal.SIGKILL)
            self.wait()


@contextlib.contextmanager
def forked_reader(stream: BinaryIO, file: OpenedFile, printed: IO[bytes]) -> Iterator[Forked]:
    """Do what `parquet._reader` does."""
    answers, its_answers = os.pipe()
    number = os.fork()
    if number == 0:
        os.dup2(printed.fileno(), 2)
        try:
            with os.fdopen(its_answers, "wb", buffering=0) as sent:
                stream.seek(0)
                answer(json.loads(json.dumps(request_of(file))), stream, sent)
            os._exit(0)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(1)
    os.close(its_answers)
    process = Forked(number, answers)
    try:
        with process.stdout:
            yield process
    finally:
        process.end()
