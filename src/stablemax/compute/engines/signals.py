"""The signals that end a program, held back while a cluster starts and stops."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any


@contextlib.contextmanager
def no_interrupts_in_processes() -> Iterator[None]:
    """Start threads that never get Ctrl-C, nor do the processes that they start.

    A terminal sends it to every process, and a worker would answer it with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # Whichever thread starts this process lets interrupts through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def signals_for_later() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Hold back the signals that end a program while a cluster starts and stops; `with listening()` lets them through.

    A start or a stop that is interrupted leaves processes and folders, about which distributed then prints messages.
    """
    held_back: list[int] = []

    def note(number: int, frame: object) -> None:  # noqa: ARG001 - what a handler is called with
        held_back.append(number)

    # Not a mask: threads that were there before take the signal, and the handler runs in this one.
    handlers = {number: handler for number in _ending() if callable(handler := signal.getsignal(number))}

    @contextlib.contextmanager
    def listening() -> Iterator[None]:
        try:
            _handle(handlers)
            while held_back:
                signal.raise_signal(held_back.pop())
            yield
        finally:
            _handle(dict.fromkeys(handlers, note))

    _handle(dict.fromkeys(handlers, note))
    try:
        yield listening
    finally:
        _handle(handlers)
        while held_back:
            signal.raise_signal(held_back.pop())


def _ending() -> list[signal.Signals]:
    if threading.current_thread() is not threading.main_thread():
        return []  # handlers are set and run in the main thread alone
    return [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _handle(handlers: dict[signal.Signals, Callable[[int, FrameType | None], Any]]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
