"""What the machine allows no more of: open files, threads, processes, memory; an error of it is nobody's bug."""

from __future__ import annotations

import errno
import os
import re

from stablemax.text.errors import StablemaxError

_FILES = "allow more open files: ulimit -n 1024"
_TASKS = "allow more threads and processes, or more memory for them: ulimit -u 4096, ulimit -v unlimited"
_ROOM = "allow more memory: ulimit -v unlimited, ulimit -d unlimited"
_LENGTH = "allow longer files: ulimit -f unlimited; or choose a disk that takes them"
_HINTS = {
    errno.EMFILE: _FILES,
    errno.ENFILE: "close other programs: the whole system has too many open files",
    errno.EFBIG: _LENGTH,
    errno.ENOMEM: _ROOM,
}
# What Python, the loader of shared libraries and the libraries themselves say.
_SAID = (
    (r"too many open files|cannot open shared object file: Error 24", "too many open files", _FILES),
    (r"can't start new thread|thread creation failed|no more threads", "no more threads can be started", _TASKS),
    (r"failed to map segment|cannot apply additional memory protection", "out of memory", _ROOM),
)
# PyTorch has an error of its own for the memory of devices alone, JAX one for everything; C++ prints, and aborts.
_WORDS_FOR_NO_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "memory allocation",
    "out of memory",
    "resource_exhausted",
    "bad_alloc",
    "pthread_create",
)


def limit_told(text: str) -> StablemaxError | None:
    """Word what a program says of a limit of the machine; None where it says nothing of one.

    >>> limit_told("RuntimeError: can't start new thread")
    StablemaxError('no more threads can be started')
    """
    for pattern, message, hint in _SAID:
        if re.search(pattern, text, re.IGNORECASE):
            return StablemaxError(message, hint)
    return None


def tells_of_memory(text: str) -> bool:
    """Tell from what a library printed or raised whether it lacked memory.

    >>> tells_of_memory("terminate called after throwing an instance of 'std::bad_alloc'")
    True
    """
    return any(words in text.lower() for words in _WORDS_FOR_NO_MEMORY)


def limit_reached(error: BaseException) -> StablemaxError | None:
    """Word an error that tells of a limit of the machine; None for any other.

    >>> limit_reached(OSError(24, "Too many open files"))
    StablemaxError('too many open files')
    >>> limit_reached(OSError(2, "No such file or directory"))
    """
    if isinstance(error, OSError) and error.errno in _HINTS:
        reason = os.strerror(error.errno)
        return StablemaxError(reason[:1].lower() + reason[1:], _HINTS[error.errno])
    # The answer of `fork`.
    if isinstance(error, BlockingIOError) and error.errno == errno.EAGAIN:
        return StablemaxError("no more processes can be started", _TASKS)
    return limit_told(str(error)) if isinstance(error, (ImportError, RuntimeError, OSError)) else None


def hint_of(error: BaseException, usual: str) -> str:
    """Say what helps against an error of the operating system: more of what it allows, or else what usually does.

    >>> hint_of(OSError(24, "Too many open files"), "check the path")
    'allow more open files: ulimit -n 1024'
    """
    return _HINTS.get(getattr(error, "errno", 0), usual)


def check_files(count: int) -> None:
    """Refuse to go on where so many files more cannot be open at once."""
    opened: list[int] = []
    try:
        for _ in range(count):
            opened.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401 - what was opened before an error is closed
    except OSError as error:
        raise limit_reached(error) or error from None
    finally:
        for descriptor in opened:
            os.close(descriptor)


def check_threads(count: int) -> None:
    """Refuse to go on where so many threads more cannot run at once: libraries in C end the program there."""
    import threading

    go = threading.Event()
    started = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=go.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise limit_reached(error) or error from None
    finally:
        go.set()
        for thread in started:
            thread.join()
