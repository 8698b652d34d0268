"""A `Host` in a process of its own, asked over pipes, with a limit on how long an answer may take."""

from __future__ import annotations

import contextlib
import pickle
import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from stablemax.check.target.messages import Answer
from stablemax.errors import StablemaxError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.check.target.messages import Described, Order, Question

LOAD_TIMEOUT_S = 120.0
"""Importing a framework on a cold disk takes its time."""


HUNG = "gave no answer within"
"""How the trouble of a call that took too long begins."""


class NoAnswerError(Exception):
    """The code hung or ended its process; the text says which."""


class Remote:
    """Somebody's function in a process of its own; started again when it had to be killed.

    Parameters
    ----------
    order : Order
        What to load.
    timeout_s : float
        How long one call may take.

    Raises
    ------
    StablemaxError
        If it cannot be loaded.
    """

    def __init__(self, order: Order, timeout_s: float) -> None:
        self._order = order
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[Any] = queue.Queue()
        self.described = self._start()

    def call(self, question: Question) -> Answer:
        """Call the function once; a hang or a crash becomes the answer's trouble."""
        return self.many([question])[0]

    def many(self, questions: list[Question]) -> list[Answer]:
        """Call the function once for each question, all in one message while all goes well."""
        try:
            return self._ask("many", (questions,), self._timeout_s)
        except NoAnswerError as error:
            if len(questions) == 1:
                return [Answer(None, str(error))]
        return [self.call(q) for q in questions]

    def ask(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of the host; raise `NoAnswerError` where it hangs or crashes."""
        return self._ask(name, arguments, self._timeout_s, named)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            self._process = None

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> Described:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stablemax.check.target.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._answers = queue.Queue()
        threading.Thread(target=_read, args=(self._process.stdout, self._answers), daemon=True).start()
        try:
            return self._ask("load", (self._order,), LOAD_TIMEOUT_S)
        except NoAnswerError as error:
            raise StablemaxError(
                f"{shown(self._order.target)}: importing it {error}", "try to import it in Python first"
            ) from None
        except StablemaxError:
            self.close()
            raise

    def _ask(self, name: str, arguments: tuple[Any, ...], timeout_s: float, named: dict[str, Any] | None = None) -> Any:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            pickle.dump((name, arguments, named or {}), self._process.stdin)
            self._process.stdin.flush()
            kind, result = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            self.close()
            raise NoAnswerError(f"{HUNG} {timeout_s:g} s") from None
        except BrokenPipeError:
            kind, result = "ended", None
        if kind == "ended":
            code = self._process.wait()
            self.close()
            raise NoAnswerError(f"ended its process ({_exit_words(code)})")
        if kind == "refused":
            raise StablemaxError(*result)
        if kind == "failed":
            raise RuntimeError(result)
        return result


def _exit_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _read(stream: Any, answers: queue.Queue[Any]) -> None:
    """Put one answer after the other into the queue, and "ended" when there will be no more."""
    with contextlib.suppress(ValueError):
        for answer in _pickles(stream):
            answers.put(answer)
    answers.put(("ended", None))


def _pickles(stream: Any) -> Iterator[Any]:
    while True:
        try:
            yield pickle.load(stream)  # noqa: S301 - from our own child process
        except (EOFError, pickle.UnpicklingError, OSError):
            return
