"""Code that ends the process at once, in the process of somebody's tests: no test may pass for want of a verdict."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from stablemax.check.target.messages import NoAnswerError


@contextlib.contextmanager
def exits_refused() -> Iterator[None]:
    """Make `os._exit` raise `NoAnswerError`: it would end pytest with exit code 0 and without a word."""
    real: Callable[[int], None] = getattr(os._exit, "real", os._exit)
    refusal = _refusal(real)
    # `posix` or `nt`: where `os` has it from.
    modules = [module for name in ("os", os.name) if (module := sys.modules.get(name)) is not None]
    for module in modules:
        vars(module)["_exit"] = refusal
    try:
        yield
    finally:
        for module in modules:
            vars(module)["_exit"] = real


def _refusal(real: Callable[[int], None]) -> Callable[[int], None]:
    own_process = os.getpid()

    def refuse(status: int) -> None:
        if os.getpid() != own_process:  # a child that was forked is to end
            real(status)
        raise NoAnswerError(f"ends its process (exit code {status})")

    # For a check within a check, or beside it in a thread.
    vars(refuse)["real"] = real
    return refuse
