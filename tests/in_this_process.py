"""Checks and traces of commands run in the test's own process, where the process is not what is tested."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import stablemax
import stablemax.check
from stablemax.check.target import subprocess_target
from stablemax.check.target.any_target import AnyTarget
from stablemax.check.target.local import load_for
from stablemax.check.target.messages import LoadedTarget, Target

_INSTALLED = {sys.prefix, sys.base_prefix, *(str(Path(m).parents[1]) for m in (stablemax.__file__, pytest.__file__))}


class InThisProcess:
    """Takes the place of a target's own process, whose start takes a second."""

    def __init__(
        self,
        target: Target,
        timeout_s: float,
        memory_bytes: int | None = None,
        function: Callable[..., Any] | None = None,
    ) -> None:
        self._loaded = load_for(target, function)

    def __enter__(self) -> LoadedTarget | AnyTarget:
        return self._loaded

    def __exit__(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def no_process() -> Iterator[None]:
    """Load targets in this process, and forget their modules: a file of the same name is another test's."""
    path, modules = list(sys.path), set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stablemax.check, "SubprocessTarget", InThisProcess)
        patch.setattr(subprocess_target, "SubprocessTarget", InThisProcess)
        yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = Path(getattr(sys.modules[name], "__file__", None) or sys.prefix)
        if not any(file.is_relative_to(kept) for kept in _INSTALLED):
            del sys.modules[name]
