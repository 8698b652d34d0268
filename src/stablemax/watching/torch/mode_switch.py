"""Where the mode that watches is entered: in the thread that watches, and in those that the program starts."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils._python_dispatch import _get_current_dispatch_mode

from stablemax.watching.torch.finite_check import FiniteCheck
from stablemax.watching.torch.replaced_functions import replaced


class ModeSwitch:
    """Enters the mode that watches, and leaves it: in steps that are not watched it costs nothing."""

    def __init__(self, check: FiniteCheck) -> None:
        self._check = check
        self._entered: set[int] = set()
        self._started: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

    def set(self, *, is_on: bool) -> None:
        """Enter the mode in this thread, or leave it where it is the innermost one."""
        if is_on:
            self._enter()
        else:
            self._leave()
        self._check.is_active = is_on
        if not is_on:
            self._check.ring.clear()

    def _enter(self) -> None:
        if threading.get_ident() not in self._entered:
            self._check.__enter__()  # type: ignore[no-untyped-call]
            self._entered.add(threading.get_ident())

    def _leave(self) -> None:
        if threading.get_ident() in self._entered and _get_current_dispatch_mode() is self._check:
            self._check.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._entered.discard(threading.get_ident())

    @contextlib.contextmanager
    def in_new_threads(self) -> Iterator[None]:
        """Enter the mode in each thread that the program starts: PyTorch keeps one stack of modes for each."""
        with (
            replaced(threading.Thread, "start", self._start),
            replaced(threading.Thread, "_bootstrap_inner", self._run),
        ):
            yield

    def _start(self, own: Callable[..., Any], thread: threading.Thread) -> Any:
        if not (self._check.is_over or self._check.is_own_thread):
            self._started.add(thread)
        return own(thread)

    def _run(self, own: Callable[..., Any], thread: threading.Thread) -> Any:
        if thread not in self._started:
            return own(thread)
        with self._check.sites.in_thread():
            self._enter()
            try:
                return own(thread)
            finally:
                self._leave()
                self._entered.discard(threading.get_ident())
