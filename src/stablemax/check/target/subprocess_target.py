"""Somebody's function in a process of its own, asked over pipes, with a limit on how long an answer may take."""

from __future__ import annotations

import contextlib
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from stablemax.check.target.messages import NoAnswerError, Result
from stablemax.numerics.formats import Array
from stablemax.results import Trace
from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    from stablemax.check.target.messages import Call, LoadedTarget, Reply, Target, TargetInfo, TraceOptions

LOAD_TIMEOUT_S = 120.0
"""Importing a framework on a cold disk takes its time."""

Value = TypeVar("Value")


class SubprocessTarget:
    """A `LoadedTarget` in a process of its own; the process is started again when it had to be killed."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        """Load the target; `timeout_s` is how long one answer may take."""
        self._target = target
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._replies: queue.Queue[Reply | None] = queue.Queue()
        self.info = self._start()

    def call(self, call: Call) -> Result:
        """Call the function once."""
        return self._called([call])[0]

    def call_all(self, calls: Sequence[Call]) -> list[Result]:
        """Call the function once for each, all in one message as long as each is answered."""
        try:
            return self._called(calls)
        except NoAnswerError as error:
            if len(calls) == 1:
                return [Result(None, str(error), hung=error.hung)]
        return [result for call in calls for result in self.call_all([call])]

    def run_exactly(self, call: Call) -> Array | None:
        """Run the function on exact numbers."""
        return self._ask(partial(_run_exactly, call=call))

    def trace(self, call: Call, options: TraceOptions) -> Trace:
        """Trace the function on an input."""
        return self._ask(partial(_trace, call=call, options=options))

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

    def __enter__(self) -> SubprocessTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> TargetInfo:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stablemax.check.target.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._replies = queue.Queue()
        threading.Thread(target=_read, args=(self._process.stdout, self._replies), daemon=True).start()
        try:
            return cast("TargetInfo", self._exchange(self._target, LOAD_TIMEOUT_S).answer)
        except NoAnswerError as error:
            raise StablemaxError(
                f"{shown(self._target.name)}: importing it {error}", "try to import it in Python first"
            ) from None
        except StablemaxError:
            self.close()
            raise

    def _ask(self, request: Callable[[LoadedTarget], Value]) -> Value:
        return cast("Value", self._exchange(request, self._timeout_s).answer)

    def _called(self, calls: Sequence[Call]) -> list[Result]:
        """Call the function; what it printed meanwhile goes with the first result."""
        reply = self._exchange(partial(_call_all, calls=calls), self._timeout_s)
        results = cast("list[Result]", reply.answer)
        return [replace(result, printed=reply.printed if i == 0 else "") for i, result in enumerate(results)]

    def _exchange(self, request: object, timeout_s: float) -> Reply:
        """Send the target, or a request about it, and wait for the reply."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        reply: Reply | None
        try:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            reply = self._replies.get(timeout=timeout_s)
        except queue.Empty:
            self.close()
            raise NoAnswerError(f"gave no answer within {timeout_s:g} s", hung=True) from None
        except BrokenPipeError:
            reply = None
        if reply is None:
            code = self._process.wait()
            self.close()
            end = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise NoAnswerError(f"ended its process ({end})")
        if reply.error is not None:
            raise reply.error
        return reply


# A request to the worker is one of these functions, pickled with its arguments.
def _call_all(target: LoadedTarget, calls: Sequence[Call]) -> list[Result]:
    return target.call_all(calls)


def _run_exactly(target: LoadedTarget, call: Call) -> Array | None:
    return target.run_exactly(call)


def _trace(target: LoadedTarget, call: Call, options: TraceOptions) -> Trace:
    return target.trace(call, options)


def _read(stream: IO[bytes], replies: queue.Queue[Any]) -> None:
    """Put one reply after the other into the queue, and None when there will be no more."""
    with contextlib.suppress(ValueError, EOFError, pickle.UnpicklingError, OSError):
        while True:
            replies.put(pickle.load(stream))  # noqa: S301 - from our own child process
    replies.put(None)
