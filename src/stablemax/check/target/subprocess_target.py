"""Somebody's function in a process of its own, asked over pipes, with a limit on how long an answer may take."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from stablemax.check.target.forked_process import ForkedProcess
from stablemax.check.target.message_pipe import LOST_PIPE, NO_MEMORY, NoMessageError, framed, receive, send
from stablemax.check.target.messages import LoadRequest, NoAnswerError, Reply, Result
from stablemax.numerics.formats import Array
from stablemax.results import Trace
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.machine_limits import limit_told, tells_of_memory

if TYPE_CHECKING:
    from stablemax.check.any_function.candidates import Inputs
    from stablemax.check.any_function.judged_input import HeldTo, JudgedInput
    from stablemax.check.any_function.written_target import WrittenTarget
    from stablemax.check.target.any_target import AnyTarget
    from stablemax.check.target.messages import Call, LoadedTarget, Target, TargetInfo, TraceOptions
    from stablemax.trace.line_values import LineValues

LOAD_TIMEOUT_S = 120.0
"""Importing a framework on a cold disk takes its time."""

MEMORY_BYTES = 2 * 10**9
"""What a target may take beyond its imports, when nothing else is said."""
_POLL_S = 0.1
# A process that ends closes its pipes first, and one that ended may have answered before.
_GRACE_S = 1.0
_MAX_HANGS = 3
_MAX_RESTARTS = 5
_LAST_WORDS = 10_000

Value = TypeVar("Value")


class SubprocessTarget:
    """A `LoadedTarget` in a process of its own; the process is started again when it had to be killed."""

    def __init__(
        self,
        target: Target,
        timeout_s: float,
        memory_bytes: int | None = MEMORY_BYTES,
        function: Callable[..., Any] | None = None,
    ) -> None:
        """Load the target, or a function that only this process has.

        `timeout_s` is how long one answer may take, `memory_bytes` what it may take for that.
        """
        self._target, self._function = target, function
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._exact_hangs = 0
        self._process: subprocess.Popen[bytes] | ForkedProcess | ForkedProcess | None = None
        self._writer: threading.Thread | None = None
        self._replies: queue.SimpleQueue[Reply | NoAnswerError | None] = queue.SimpleQueue()
        #: True once the process has called the code: it may hold what that left behind.
        self._has_called = False
        self._restarts = 0
        #: What the code printed when it was imported, and when it was found out how to call it.
        self._printed_first = ""
        self.info = self._start()

    def prepare(self) -> TargetInfo:
        """Find out how the function wants to be called; where it does not answer, the calls will tell."""
        with contextlib.suppress(NoAnswerError):
            reply = self._exchange(_prepare, self._timeout_s)
            self.info, self._printed_first = cast("TargetInfo", reply.answer), reply.printed
            self._has_called = True
        return self.info

    def call(self, call: Call) -> Result:
        """Call the function once."""
        return self._called([call])[0]

    def call_all(self, calls: Sequence[Call]) -> list[Result]:
        """Call the function once for each, all in one message as long as each is answered."""
        had_called = self._has_called
        try:
            results = self._called(calls)
        except NoAnswerError as error:
            if len(calls) == 1 and (error.hung or not had_called):
                return [_no_output(error)]
        else:
            lacks_memory = any(result.lacks_memory for result in results)
            if not lacks_memory or not had_called or self._restarts >= _MAX_RESTARTS:
                return results
            self._restarts += 1
        # What earlier calls left behind may have been too much: a new process tells.
        self.close()
        results = []
        for call in calls:
            if sum(result.hung for result in results) < _MAX_HANGS:
                results += self.call_all([call])
            else:
                results.append(Result(None, f"is not called: it hung {_MAX_HANGS} times before", hung=True))
        return results

    def run_exactly(self, call: Call) -> Array | None:
        """Run the function on exact numbers, unless that hung too often."""
        if self._exact_hangs >= _MAX_HANGS:
            return None
        try:
            return self._ask(partial(_run_exactly, call=call))
        except NoAnswerError as error:
            self._exact_hangs += error.hung
            raise

    def values_of(self, call: Call) -> list[LineValues]:
        """Return the exact values of each operation; none where that took too long."""
        with contextlib.suppress(NoAnswerError):
            return self._ask(partial(_values_of, call=call))
        return []

    def call_instead(self, code: str, name: str, calls: Sequence[Call]) -> list[Result]:
        """Call a function of other code in the target's process."""
        return self._ask(partial(_call_instead, code=code, name=name, calls=calls))

    def trace(self, call: Call, options: TraceOptions) -> Trace:
        """Trace the function on an input."""
        return self._ask(partial(_trace, call=call, options=options))

    def trace_any(self, options: TraceOptions, inputs: Inputs | None = None) -> Trace:
        """Trace a function that is held to no operation, on its own arguments, or on others in their place."""
        return self._ask_any(partial(_trace_any, options=options, inputs=inputs))

    def judge_each(self, inputs: Sequence[Inputs], held_to: HeldTo) -> list[JudgedInput]:
        """Hold the results of such a function against what exact arithmetic gives for the same code."""
        return self._ask_any(partial(_judge_each, inputs=inputs, held_to=held_to))

    def suspect(self, inputs: Sequence[Inputs]) -> list[float]:
        """Tell of each input how much its result looks like a fault."""
        return self._ask_any(partial(_suspect, inputs=inputs))

    def written(self) -> WrittenTarget:
        """Return how Python code imports such a function and calls it."""
        return self._ask_any(_written)

    def _ask_any(self, request: Callable[[AnyTarget], Value]) -> Value:
        return cast("Value", self._exchange(request, self._timeout_s).answer)

    def close(self) -> None:
        """End the process, and what it started."""
        process, self._process, self._has_called = self._process, None, False
        if process is None:
            return
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        self._printed.close()
        # The reader closes what it reads. A writer that a stranger keeps waiting keeps its end, too.
        if self._writer is not None:
            self._writer.join(_GRACE_S)
        if process.stdin is not None and (self._writer is None or not self._writer.is_alive()):
            with contextlib.suppress(OSError):
                process.stdin.close()

    def __enter__(self) -> SubprocessTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> TargetInfo:
        self._printed = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with the process
        self._process = (
            _started(self._printed) if self._function is None else ForkedProcess(self._function, self._printed)
        )
        self._replies = queue.SimpleQueue()
        try:
            threading.Thread(target=_read, args=(self._process.stdout, self._replies), daemon=True).start()
            request = LoadRequest(self._target, self._memory_bytes)
            return cast("TargetInfo", self._exchange(request, LOAD_TIMEOUT_S).answer)
        except NoAnswerError as error:
            limit = limit_told(str(error))
            hint = "try to import it in Python first" if limit is None else limit.hint
            raise StablemaxError(f"{shown(self._target.name)}: importing it {error}", hint) from None
        except BaseException:
            self.close()
            raise

    def _ask(self, request: Callable[[LoadedTarget], Value]) -> Value:
        return cast("Value", self._exchange(request, self._timeout_s).answer)

    def _called(self, calls: Sequence[Call]) -> list[Result]:
        """Call the function; what it printed meanwhile goes with the first result."""
        reply = self._exchange(partial(_call_all, calls=calls), self._timeout_s)
        self._has_called = True
        results = [
            replace(result, trouble=self._memory_words) if result.lacks_memory else result
            for result in cast("list[Result]", reply.answer)
        ]
        printed, self._printed_first = self._printed_first + reply.printed, ""
        return [replace(result, printed=printed if i == 0 else "") for i, result in enumerate(results)]

    @property
    def _memory_words(self) -> str:
        """What becomes of code that asks for more memory than it may have."""
        return memory_words(self._memory_bytes)

    def _exchange(self, request: object, timeout_s: float) -> Reply:
        """Send what to load, or a request about it, and wait for the reply."""
        if self._process is None:
            self._start()
        assert self._process is not None
        # In a thread: a pipe that nobody reads would keep this one waiting without an end.
        writer = threading.Thread(target=_write, args=(self._process.stdin, framed(request)), daemon=True)
        writer.start()
        self._writer = writer
        try:
            reply = self._reply(self._process, time.monotonic() + timeout_s)
        except queue.Empty:
            self.close()
            raise NoAnswerError(f"gave no answer within {timeout_s:g} s", hung=True) from None
        except NoAnswerError:
            self.close()
            raise
        if isinstance(reply.error, NoAnswerError) and reply.error.lacks_memory:
            raise NoAnswerError(self._memory_words, lacks_memory=True)
        if reply.error is not None:
            raise reply.error
        return reply

    def _reply(self, process: subprocess.Popen[bytes] | ForkedProcess, deadline: float) -> Reply:
        """Wait for the reply; raise `queue.Empty` at the deadline, and `NoAnswerError` where none will come."""
        reply: Reply | NoAnswerError | None = None
        while True:
            left_s = deadline - time.monotonic()
            # What the code started may hold the pipe open after its process has ended.
            has_ended = process.poll() is not None
            try:
                reply = self._replies.get(timeout=_GRACE_S if has_ended else max(0.0, min(left_s, _POLL_S)))
                break
            except queue.Empty:
                if has_ended:
                    break
                if left_s <= 0:
                    raise
        if reply is None:
            raise self._end_of(process)
        if isinstance(reply, NoAnswerError):
            raise reply
        return reply

    def _end_of(self, process: subprocess.Popen[bytes] | ForkedProcess) -> NoAnswerError:
        """Word how the process ended, or that it lives on without a pipe to answer over."""
        try:
            code = process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            code = LOST_PIPE
        if code == LOST_PIPE:
            return NoAnswerError("closed the pipe that carries its answers")
        words = self._last_words() if code != 0 else ""
        limit = limit_told(words)
        if limit is not None:
            return NoAnswerError(f"ended its process ({limit.message})")
        if code == NO_MEMORY or tells_of_memory(words):
            return NoAnswerError(self._memory_words, lacks_memory=True)
        if -code == getattr(signal, "SIGKILL", 0):
            return NoAnswerError("ended its process (signal 9: it was killed, for lack of memory most likely)")
        return NoAnswerError(f"ended its process ({f'signal {-code}' if code < 0 else f'exit code {code}'})")

    def _last_words(self) -> str:
        """Read what the process printed before it ended."""
        with contextlib.suppress(OSError):
            self._printed.seek(0)
            return self._printed.read(_LAST_WORDS).decode("utf-8", "replace")
        return ""


def _started(printed: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process that imports what it is to call."""
    return subprocess.Popen(
        [sys.executable, "-m", "stablemax.check.target.worker"],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=printed,
        # A group of its own, so that what the code starts ends with it.
        start_new_session=True,
    )


def memory_words(memory_bytes: int | None) -> str:
    """Say what becomes of code that asks for more memory than it may have.

    >>> memory_words(2 * 10**9), memory_words(512 * 10**6), memory_words(None)
    ('needs more than 2 GB', 'needs more than 512 MB', 'needs more memory than there is')
    """
    if memory_bytes is None:
        return "needs more memory than there is"
    amount = f"{memory_bytes / 1e9:.3g} GB" if memory_bytes >= 10**9 else f"{memory_bytes / 1e6:.3g} MB"
    return f"needs more than {amount}"


def _no_output(error: NoAnswerError) -> Result:
    return Result(None, str(error), hung=error.hung, lacks_memory=error.lacks_memory)


# A request to the worker is one of these functions, pickled with its arguments.
def _prepare(target: LoadedTarget) -> TargetInfo:
    return target.prepare()


def _call_all(target: LoadedTarget, calls: Sequence[Call]) -> list[Result]:
    return target.call_all(calls)


def _run_exactly(target: LoadedTarget, call: Call) -> Array | None:
    return target.run_exactly(call)


def _values_of(target: LoadedTarget, call: Call) -> list[LineValues]:
    return target.values_of(call)


def _call_instead(target: LoadedTarget, code: str, name: str, calls: Sequence[Call]) -> list[Result]:
    return target.call_instead(code, name, calls)


def _trace(target: LoadedTarget, call: Call, options: TraceOptions) -> Trace:
    return target.trace(call, options)


def _trace_any(target: AnyTarget, options: TraceOptions, inputs: Inputs | None) -> Trace:
    return target.trace_any(options, inputs)


def _judge_each(target: AnyTarget, inputs: Sequence[Inputs], held_to: HeldTo) -> list[JudgedInput]:
    return target.judge_each(inputs, held_to)


def _suspect(target: AnyTarget, inputs: Sequence[Inputs]) -> list[float]:
    return target.suspect(inputs)


def _written(target: AnyTarget) -> WrittenTarget:
    return target.written()


def _write(stream: IO[bytes], frame: bytes) -> None:
    """Send a request; where its reader has gone, the reply tells."""
    with contextlib.suppress(OSError, ValueError):
        send(stream.fileno(), frame)


def _read(stream: IO[bytes], replies: queue.SimpleQueue[Any]) -> None:
    """Put one reply after the other into the queue, and None or an error when there will be no more."""
    with stream:
        try:
            while True:
                reply = receive(stream.fileno())
                if not isinstance(reply, Reply):
                    raise NoMessageError
                replies.put(reply)
        except (EOFError, OSError):
            replies.put(None)
        except NoMessageError:
            replies.put(NoAnswerError("wrote into the pipe that carries its answers"))
        except MemoryError:
            replies.put(NoAnswerError("gave an answer that is too large", lacks_memory=True))
