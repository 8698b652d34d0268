"""Softmaxes that harm the process they run in; loaded by the tests, in a process of their own."""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

MARK = b"stablemax 1 "


def right(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def writes_to_small_descriptors(x: Any) -> Any:
    _write_everywhere(range(256), b"hello world\n")
    return right(x)


def writes_to_every_descriptor(x: Any) -> Any:
    _write_everywhere(range(4096), b"hello world, and enough of it for a whole header\n")
    return right(x)


def writes_half_an_answer(x: Any) -> Any:
    _write_everywhere(range(4096), MARK + bytes(6))
    os._exit(0)


def claims_an_answer_without_an_end(x: Any) -> Any:
    _write_everywhere(range(4096), MARK + b"\xff" * 12)
    return right(x)


def _write_everywhere(descriptors: range, text: bytes) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.write(descriptor, text)


def closes_every_descriptor(x: Any) -> Any:
    os.closerange(0, 4096)
    return right(x)


def leaves_a_child_and_ends(x: Any) -> Any:
    if ctypes.CDLL(None).fork() == 0:  # without Python's hooks: the child keeps the pipes open
        time.sleep(3600)
    os._exit(5)


def stops_itself(x: Any) -> Any:
    os.kill(os.getpid(), signal.SIGSTOP)
    return right(x)


def stops_after_its_answer(x: Any) -> Any:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGSTOP)).start()
    return right(x)


def starts_a_process(x: Any) -> Any:
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    Path(os.environ["STARTED"]).write_text(str(started.pid))
    return right(x)


def loops_in_c(x: Any) -> Any:
    Path(os.environ["STARTED"]).write_text(str(os.getpid()))
    # The library is loaded so that Python's lock is kept: no thread of Python's runs meanwhile.
    ctypes.PyDLL(None).sleep(3600)
    return right(x)


def removes_one_builtin(x: Any) -> Any:
    del builtins.len
    builtins.open = None  # type: ignore[assignment]
    return right(x)


def removes_all_builtins(x: Any) -> Any:
    y = right(x)
    _set_to_none(builtins)
    return y


def removes_what_pickling_needs(x: Any) -> Any:
    y = right(x)
    for module in (np, os, sys):
        _set_to_none(module)
    return y


def _set_to_none(module: Any) -> None:
    names = vars(module)
    names.update(dict.fromkeys(names))


def empties_the_loaded_modules(x: Any) -> Any:
    y = right(x)
    sys.modules.clear()
    sys.path = None  # type: ignore[assignment]
    return y


def lowers_its_limits(x: Any) -> Any:
    import resource

    for name in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
        resource.setrlimit(name, (0, 0))
    return right(x)


def raises_a_huge_error(x: Any) -> Any:
    raise ValueError("x" * 10**7)
