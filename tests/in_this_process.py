"""Checks and traces of commands run in the test's own process, where the process is not what is tested."""

from __future__ import annotations

import pytest

import stablemax.check
from stablemax.check.target import subprocess_target
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import LoadedTarget, Target


class InThisProcess:
    """Takes the place of a target's own process, whose start takes a second."""

    def __init__(self, target: Target, timeout_s: float, memory_bytes: int | None = None) -> None:
        self._loaded = load_local(target)

    def __enter__(self) -> LoadedTarget:
        return self._loaded

    def __exit__(self, *_: object) -> None:
        pass


def start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load targets in this process until the patch is undone."""
    monkeypatch.setattr(stablemax.check, "SubprocessTarget", InThisProcess)
    monkeypatch.setattr(subprocess_target, "SubprocessTarget", InThisProcess)
