"""What every test of refused input needs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from collections.abc import Callable


class Refusal(Protocol):
    """Calls a function and gives the error it must raise."""

    def __call__(self, call: Callable[..., object], /, *args: Any, **options: Any) -> StablemaxError: ...


class Peak(Protocol):
    """Runs code in a fresh process and gives its peak of resident memory in MiB, and its output."""

    def __call__(self, code: str, *arguments: str) -> tuple[float, str]: ...


@pytest.fixture
def refusal() -> Refusal:
    def refuse(call: Callable[..., object], /, *args: Any, **options: Any) -> StablemaxError:
        with pytest.raises(StablemaxError) as caught:
            call(*args, **options)
        error = caught.value
        assert error.message.isprintable(), "control characters or line feeds in the message"
        assert error.hint.isprintable()
        assert error.hint
        assert len((error.message + error.hint).encode()) < 2_000
        return error

    return refuse


@pytest.fixture
def peak() -> Peak:
    # Not getrusage: its peak is inherited from the process that forks.
    if sys.platform != "linux":
        pytest.skip("reads /proc/self/status")

    def run(code: str, *arguments: str) -> tuple[float, str]:
        prelude = (
            "import re, sys\n"
            "from stablemax.text.errors import StablemaxError\n"
            "from stablemax.inputs.file_format import ReadingLimits\n"
            "from stablemax.inputs.open import open_array\n"
            "def refused(*args, **options):\n"
            "    try: open_array(*args, **options)\n"
            "    except StablemaxError as error: print(error.message)\n"
            "    else: print('accepted')\n"
        )
        ending = "\nprint(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 2**10)"
        done = subprocess.run(
            [sys.executable, "-c", prelude + code + ending, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        *lines, memory = done.stdout.splitlines()
        return float(memory), "\n".join(lines)

    return run
