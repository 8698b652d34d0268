"""An error of a limit of the machine is told as such, wherever it comes from."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from stablemax.text.errors import StablemaxError
from stablemax.text.machine_limits import check_files, check_threads, hint_of, limit_reached, limit_told

LIMITS = [
    OSError(errno.EMFILE, "Too many open files", "x.npy"),
    OSError(errno.ENFILE, "Too many open files in system"),
    OSError(errno.EFBIG, "File too large"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    RuntimeError("can't start new thread"),
    RuntimeError("Cluster failed to start: [Errno 24] Too many open files: '/proc/5600/stat'"),
    ImportError("libflint.so: cannot open shared object file: Too many open files"),
    ImportError("libflint.so: cannot open shared object file: Error 24"),
    ImportError("libopenblas.so: failed to map segment from shared object"),
]


@pytest.mark.parametrize("error", LIMITS, ids=repr)
def test_a_limit_of_the_machine_is_told_with_what_allows_more(error: Exception) -> None:
    told = limit_reached(error)
    assert told is not None
    assert "\n" not in told.message
    assert "ulimit" in told.hint or "close other programs" in told.hint


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "No such file or directory"),
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("dictionary changed size during iteration"),
        ImportError("cannot import name 'x' from 'y'"),
        ValueError("too many open files"),
        KeyError(24),
    ],
    ids=repr,
)
def test_any_other_error_is_none(error: Exception) -> None:
    assert limit_reached(error) is None


def test_a_hint_stays_where_no_limit_is_reached() -> None:
    assert hint_of(OSError(errno.ENOENT, ""), "check the path") == "check the path"
    assert "ulimit -n" in hint_of(OSError(errno.EMFILE, ""), "check the path")
    assert limit_told("libgomp: Thread creation failed: Resource temporarily unavailable") is not None


def test_files_and_threads_that_can_be_had_are_given_back() -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    running = threading.active_count()
    check_files(20)
    check_threads(5)
    assert threading.active_count() == running
    if before:
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_threads_that_cannot_be_started_are_told_and_those_that_were_end(monkeypatch: pytest.MonkeyPatch) -> None:
    start, running = threading.Thread.start, threading.active_count()
    started: list[threading.Thread] = []

    def third(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", third)
    with pytest.raises(StablemaxError, match="no more threads can be started"):
        check_threads(5)
    assert threading.active_count() == running
