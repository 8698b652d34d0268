"""The process that somebody's code runs in: it may hang, print, exit or crash without taking us along.

Requests and replies are messages on the descriptors that were standard input and output; what the code
itself prints goes to a file, the standard error, whose beginning travels with the reply.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from stablemax.check.target.any_target import AnyTarget
from stablemax.check.target.interpreter_state import OF_IMPORTS, InterpreterState
from stablemax.check.target.local import load_for
from stablemax.check.target.message_pipe import LOST_PIPE, NO_MEMORY, framed, private, receive, send
from stablemax.check.target.messages import LoadedTarget, LoadRequest, NoAnswerError, Reply
from stablemax.operations import all_operations
from stablemax.text.errors import StablemaxError
from stablemax.text.process_limits import end_with_parent, limit_memory, limits, lowered_limits
from stablemax.text.words import listed

PRINTED_LIMIT = 2000
_IMPORTS_BYTES = 8 * 10**9
"""What frameworks may take to be imported, beyond what the code may take: with kernels for GPUs they are large."""


@dataclass(frozen=True)
class Streams:
    """The descriptors of the pipes, and the file that holds what the code prints."""

    requests: int
    replies: int
    printed: IO[bytes]


def main(function: Callable[..., Any] | None = None) -> None:
    """Load the target that the first message names, and answer requests until the other end closes.

    A process that was forked has the function itself.
    """
    end_with_parent()
    streams = _take_streams()
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(streams.requests, messages), daemon=True).start()
    own_process, limits_at_first = os.getpid(), limits()
    loaded: LoadedTarget | AnyTarget | None = None
    while True:
        message = messages.get()
        try:
            if isinstance(message, LoadRequest):
                loaded = _loaded(message, function)
                reply = Reply(loaded.info)
            else:
                reply = Reply(message(loaded), _printed_since_the_last_reply(streams.printed))
        except (StablemaxError, NoAnswerError) as error:
            reply = Reply(error=error)
        except MemoryError:
            reply = Reply(error=NoAnswerError("lacks memory", lacks_memory=True))
        except Exception as error:
            reply = Reply(error=_fault(error, lowered_limits(limits_at_first)))
        if os.getpid() != own_process:  # the code has forked: the child would answer everything once more
            os._exit(0)
        _answer(streams.replies, reply)


def _loaded(request: LoadRequest, function: Callable[..., Any] | None) -> LoadedTarget | AnyTarget:
    # The code may leave no descriptor to import them later.
    all_operations()
    state = InterpreterState(OF_IMPORTS)
    if request.memory_bytes is not None:
        limit_memory(request.memory_bytes + _IMPORTS_BYTES)
    try:
        loaded = load_for(request.target, function)
    finally:
        state.put_back()
    if request.memory_bytes is not None:
        limit_memory(request.memory_bytes)
    return loaded


def _fault(error: Exception, lowered: list[str]) -> NoAnswerError | RuntimeError:
    """Word what nobody expects: the code took what this program needs, or else this program is to blame."""
    if lowered:
        return NoAnswerError(f"lowered a limit of its process ({listed(lowered)}): {type(error).__name__}")
    fault = RuntimeError(f"{type(error).__name__}: {error}")
    fault.add_note(f"in the target's process:\n{traceback.format_exc()}")
    return fault


def _listen(requests: int, messages: queue.SimpleQueue[Any]) -> None:
    """Hand on what is asked; end the process with its caller, though the code still runs."""
    try:
        while True:
            messages.put(receive(requests))
    except EOFError:
        os._exit(0)
    except MemoryError:
        os._exit(NO_MEMORY)
    except BaseException:
        os._exit(LOST_PIPE)


def _answer(replies: int, reply: Reply) -> None:
    try:
        send(replies, framed(reply))
    except MemoryError:
        os._exit(NO_MEMORY)
    except OSError:  # the code closed the pipe
        os._exit(LOST_PIPE)


def _take_streams() -> Streams:
    """Keep the real standard streams for the parent, and give the code others."""
    requests, replies = private(0), private(1)
    # Until it ends, a child that the code forks would hold the pipes open.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _close(requests, replies))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    # Standard error is a file, which the parent can read even when this process has crashed.
    os.dup2(2, 1)
    printed = os.fdopen(private(2), "r+b", buffering=0)
    # Otherwise text on standard error would come before text that was printed earlier.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    return Streams(requests, replies, printed)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _printed_since_the_last_reply(printed: IO[bytes]) -> str:
    for stream in (sys.stdout, sys.stderr):
        # The code may have closed them, or put anything in their place.
        with contextlib.suppress(Exception):
            stream.flush()
    try:
        printed.seek(0)
        text = printed.read(PRINTED_LIMIT).decode("utf-8", "replace")
        printed.seek(0)
        printed.truncate()
    except OSError:  # the code closed the file, too
        return ""
    return text


if __name__ == "__main__":
    main()
