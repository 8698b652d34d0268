"""Somebody's code in a process of its own: it may hang, crash, print or exit, and is told of in words."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from stablemax.check.target.messages import Call, NoAnswerError, Target
from stablemax.check.target.subprocess_target import SubprocessTarget
from stablemax.check.target.worker import PRINTED_LIMIT
from stablemax.text.errors import StablemaxError

from ...records import SOFTMAX

FILE = Path(__file__).parents[1] / "misbehaving.py"
SMALL = Call(np.array([[0.0, 0.0]], np.float32))
LARGE = Call(np.array([[1000.0, 0.0]], np.float32))

pytestmark = pytest.mark.skipif(os.name == "nt", reason="processes end by signals")


def in_a_process(name: str, timeout_s: float = 20.0) -> SubprocessTarget:
    return SubprocessTarget(Target(f"{FILE}:{name}", SOFTMAX), timeout_s)


def outputs(asked: SubprocessTarget, *questions: Call) -> list[list[list[float]] | str]:
    answers = asked.call_all(list(questions))
    return [a.trouble if a.output is None else a.output.tolist() for a in answers]


HALVES = [[0.5, 0.5]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", "raised ValueError: first line at misbehaving.py:"),
        ("raises_wordless", "raised Wordless at misbehaving.py:"),
        ("exits", "raised SystemExit: 3 at misbehaving.py:"),
        ("ends_the_process", "ended its process (exit code 4)"),
        ("interrupts", "ended its process (signal 2)"),
        ("recurses", "raised RecursionError: maximum recursion depth exceeded at misbehaving.py:"),
        ("asks_for_too_much_memory", "needs more than 2 GB"),
        ("returns_none", "returned None, not an array"),
        ("returns_text", "returned a str, not an array"),
        ("returns_a_tuple", "returned a tuple, not an array"),
        ("returns_complex", "returned an array of dtype complex64, not of real numbers"),
        ("returns_objects", "returned an array of dtype object, not of real numbers"),
        ("returns_booleans", "returned an array of dtype bool, not of real numbers"),
        ("returns_a_generator", "returned an array of dtype object, not of real numbers"),
    ],
)
def test_whatever_happens_instead_of_an_answer_is_a_sentence(name: str, words: str) -> None:
    with in_a_process(name) as asked:
        (trouble,) = outputs(asked, SMALL)
    assert isinstance(trouble, str)
    assert trouble.startswith(words)
    assert "\n" not in trouble


@pytest.mark.slow
def test_a_crash_concerns_only_the_input_that_made_it() -> None:
    with in_a_process("crashes_when_large") as asked:
        assert outputs(asked, SMALL, LARGE, SMALL) == [HALVES, "ended its process (signal 11)", HALVES]


@pytest.mark.slow
def test_a_hang_is_ended_at_the_time_limit_and_the_other_inputs_are_answered() -> None:
    started = time.monotonic()
    with in_a_process("hangs_when_large", timeout_s=1.0) as asked:
        assert outputs(asked, SMALL, LARGE) == [HALVES, "gave no answer within 1 s"]
        assert outputs(asked, SMALL) == [HALVES]
    assert time.monotonic() - started < 300, "it waited for the hour that the code sleeps"


@pytest.mark.slow
def test_a_request_that_hangs_is_an_error_of_its_own() -> None:
    with in_a_process("hangs_when_large", timeout_s=0.5) as asked, pytest.raises(NoAnswerError) as caught:
        asked.run_exactly(LARGE)
    assert str(caught.value) == "gave no answer within 0.5 s"
    assert caught.value.hung


@pytest.mark.slow
def test_a_hang_is_told_from_a_crash() -> None:
    with in_a_process("hangs_when_large", timeout_s=0.5) as asked:
        assert [result.hung for result in asked.call_all([SMALL, LARGE])] == [False, True]
    with in_a_process("crashes_when_large") as asked:
        assert [result.hung for result in asked.call_all([SMALL, LARGE])] == [False, False]
        with pytest.raises(NoAnswerError) as caught:
            asked.call(LARGE)
    assert not caught.value.hung


@pytest.mark.slow
def test_an_exception_concerns_only_the_input_that_made_it() -> None:
    with in_a_process("raises_when_large") as asked:
        good, bad = outputs(asked, SMALL, LARGE)
    assert good == HALVES
    assert isinstance(bad, str)
    assert bad.startswith("raised ValueError: too large at misbehaving.py:")


@pytest.mark.slow
def test_what_it_prints_is_kept_apart_and_handed_over(capfd: pytest.CaptureFixture[str]) -> None:
    with in_a_process("prints") as asked:
        first, second = asked.call_all([SMALL]), asked.call_all([SMALL])
    assert first[0].printed.startswith("printed on import\n")
    assert sorted(second[0].printed.splitlines()) == [
        "to standard error",
        "to the descriptor",
        '{"not": "ours"} \x1b[31mred',
    ]
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_flood_of_prints_is_cut() -> None:
    with in_a_process("prints_a_lot") as asked:
        (answer,) = asked.call_all([SMALL])
    assert answer.output is not None
    assert len(answer.printed) == PRINTED_LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reads_standard_input", "takes_standard_output_away", "forks"])
def test_neither_reading_nor_forking_nor_closing_its_streams_disturbs_the_conversation(name: str) -> None:
    with in_a_process(name) as asked:
        assert outputs(asked, SMALL, SMALL) == [HALVES, HALVES]
        assert outputs(asked, SMALL) == [HALVES]


@pytest.mark.slow
def test_code_that_forks_is_called_once_for_each_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Were the children to go on with the questions that are left, five of them would make 31 calls, and a
    # search's 250 would stop the machine.
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    with in_a_process("forks_and_counts") as asked:
        asked.prepare()
        before = (tmp_path / "calls").read_text()
        assert outputs(asked, *[SMALL] * 5) == [HALVES] * 5
        time.sleep(0.2)
    assert (tmp_path / "calls").read_text() == before + "called\n" * 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os\nos._exit(3)\n", "importing it ended its process (exit code 3)"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
        ("1 / 0\n", "line 1: ZeroDivisionError"),
    ],
)
def test_code_that_cannot_be_imported_is_a_mistake(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "model.py").write_text(code)
    with pytest.raises(StablemaxError) as caught:
        SubprocessTarget(Target(f"{tmp_path / 'model.py'}:softmax"), 10.0)
    assert message in caught.value.message


@pytest.mark.slow
def test_its_process_is_gone_when_the_conversation_is_over() -> None:
    with in_a_process("prints") as asked:
        (answer,) = asked.call_all([SMALL])
        process = asked._process
    assert answer.output is not None
    assert process is not None
    assert process.poll() is not None


def test_a_bug_of_ours_is_no_trouble_of_the_codes() -> None:
    with in_a_process("prints") as asked, pytest.raises(RuntimeError, match="AttributeError") as caught:
        asked.call_all(["no call"])  # type: ignore[list-item]
    (stack,) = caught.value.__notes__
    assert stack.startswith("in the target's process:\nTraceback (most recent call last):\n")
    assert "in call_all" in stack


@pytest.mark.slow
def test_the_worker_runs_with_the_same_python() -> None:
    with in_a_process("prints") as asked:
        assert asked._process is not None
        assert asked._process.args[0] == sys.executable  # type: ignore[union-attr,index]
