"""Softmaxes that do everything but what they should; loaded by the tests, in a process of their own."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

print("printed on import")  # noqa: T201


def right(x: Any) -> Any:
    d = x.astype(np.float64)
    e = np.exp(d - d.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype(x.dtype)


def raises(x: Any) -> Any:
    raise ValueError("first line\nsecond line")


def raises_when_large(x: Any) -> Any:
    if (x > 100).any():
        raise ValueError("too large")
    return right(x)


def hangs_when_large(x: Any) -> Any:
    if (x > 100).any():
        time.sleep(3600)
    return right(x)


def crashes_when_large(x: Any) -> Any:
    if (x > 100).any():
        ctypes.string_at(0)
    return right(x)


def ends_the_process(x: Any) -> Any:
    os._exit(4)


def exits(x: Any) -> Any:
    sys.exit(3)


def interrupts(x: Any) -> Any:
    raise KeyboardInterrupt


class Wordless(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raises_wordless(x: Any) -> Any:
    raise Wordless


def recurses(x: Any) -> Any:
    return recurses(x)


def asks_for_too_much_memory(x: Any) -> Any:
    return np.zeros(1 << 57)


def prints(x: Any) -> Any:
    print('{"not": "ours"} \x1b[31mred')  # noqa: T201
    sys.stderr.write("to standard error\n")
    os.write(1, b"to the descriptor\n")
    return right(x)


def prints_a_lot(x: Any) -> Any:
    print("line\n" * 50_000)  # noqa: T201
    return right(x)


def reads_standard_input(x: Any) -> Any:
    return right(x) if not sys.stdin.read() else None


def takes_standard_output_away(x: Any) -> Any:
    sys.stdout = None
    return right(x)


def forks(x: Any) -> Any:
    if os.fork() == 0:
        return None
    return right(x)


def forks_and_counts(x: Any) -> Any:
    with Path(os.environ["CALLS"]).open("a") as calls:
        calls.write("called\n")
    os.fork()
    return right(x)


def returns_none(x: Any) -> Any:
    return None


def returns_text(x: Any) -> Any:
    return "0.5 0.5"


def returns_a_tuple(x: Any) -> Any:
    return "no array", 1.0


def returns_complex(x: Any) -> Any:
    return right(x) + 0j


def returns_objects(x: Any) -> Any:
    return right(x).astype(object)


def returns_booleans(x: Any) -> Any:
    return right(x) > 0.5


def returns_a_generator(x: Any) -> Any:
    yield from right(x)
