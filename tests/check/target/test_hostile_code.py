"""Code that harms the process it runs in: whatever it does is an output or a sentence, and nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stablemax.check.target.messages import Call, NoAnswerError, Target, TraceOptions
from stablemax.check.target.subprocess_target import SubprocessTarget
from stablemax.text.errors import StablemaxError

from ...records import SOFTMAX

FILE = Path(__file__).parents[1] / "hostile.py"
SMALL = Call(np.array([[0.0, 0.0]], np.float32))
# More than a pipe holds.
WIDE = Call(np.zeros((1, 100_000), np.float32))
HALVES = [[0.5, 0.5]]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="the code speaks to a Unix")]


def in_a_process(name: str, timeout_s: float = 20.0) -> SubprocessTarget:
    return SubprocessTarget(Target(f"{FILE}:{name}", SOFTMAX), timeout_s)


HARMFUL = {
    "writes_to_small_descriptors": "",
    "writes_to_every_descriptor": "wrote into the pipe that carries its answers",
    "writes_half_an_answer": "wrote into the pipe that carries its answers",
    "closes_every_descriptor": "closed the pipe that carries its answers",
    "leaves_a_child_and_ends": "ended its process (exit code 5)",
    "removes_one_builtin": "",
    "removes_all_builtins": "",
    "removes_what_pickling_needs": "",
    "empties_the_loaded_modules": "",
    "lowers_its_limits": "",
    "raises_a_huge_error": "raised ValueError: xxx",
}


@pytest.mark.parametrize(("name", "words"), HARMFUL.items(), ids=list(HARMFUL))
def test_whatever_code_does_to_its_process_is_an_output_or_a_sentence(name: str, words: str) -> None:
    with in_a_process(name) as asked:
        for _ in range(2):
            (result,) = asked.call_all([SMALL])
            if words:
                assert result.trouble.startswith(words)
                assert "\n" not in result.trouble
                assert len(result.trouble) < 1000
            else:
                assert result.output is not None, result.trouble
                assert result.output.tolist() == HALVES
        # Neither of these may end in anything but an error that is worded.
        with contextlib.suppress(NoAnswerError, StablemaxError):
            asked.run_exactly(SMALL)
        with contextlib.suppress(NoAnswerError, StablemaxError):
            asked.trace(SMALL, TraceOptions())


@pytest.mark.parametrize("name", ["stops_itself", "claims_an_answer_without_an_end"])
def test_what_never_answers_is_given_up_at_the_time_limit(name: str) -> None:
    with in_a_process(name, timeout_s=1.0) as asked:
        (result,) = asked.call_all([SMALL])
    assert result.hung
    assert result.trouble == "gave no answer within 1 s"


def test_a_process_that_reads_no_more_does_not_keep_its_caller_waiting() -> None:
    with in_a_process("stops_after_its_answer", timeout_s=2.0) as asked:
        (first,) = asked.call_all([SMALL])
        time.sleep(1.0)
        (second,) = asked.call_all([WIDE])
    assert first.output is not None
    assert second.trouble == "gave no answer within 2 s"


def test_after_three_hangs_the_rest_of_a_request_is_not_called() -> None:
    with in_a_process("stops_itself", timeout_s=0.5) as asked:
        troubles = [result.trouble for result in asked.call_all([SMALL] * 50)]
    assert troubles[:3] == ["gave no answer within 0.5 s"] * 3
    assert set(troubles[3:]) == {"is not called: it hung 3 times before"}


def test_what_the_code_started_ends_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARTED", str(tmp_path / "pid"))
    with in_a_process("starts_a_process") as asked:
        asked.call_all([SMALL])
        started = int((tmp_path / "pid").read_text())
        assert is_running(started)
    assert eventually(lambda: not is_running(started))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems end it when its C code returns")
def test_code_in_a_loop_of_c_ends_with_a_check_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    arguments = ["check", f"{FILE}:loops_in_c", "--operation", "softmax", "--timeout", "600"]
    check = subprocess.Popen(
        [sys.executable, "-m", "stablemax", *arguments],
        env={**os.environ, "STARTED": str(pid_file)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert eventually(lambda: pid_file.exists() and pid_file.read_text() != "")
    finally:
        check.kill()
        check.wait()
    worker = int(pid_file.read_text())
    assert eventually(lambda: not is_running(worker))


def is_running(pid: int) -> bool:
    """Tell whether a process is there and has not ended, though nobody may have asked for its exit code."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path("/proc/self").exists()


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for a condition; the time limit is for hangs."""
    end = time.monotonic() + 120
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
