"""`stablemax lesson`: the list, a lesson step by step, and a graded exercise."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

import pytest
import typer
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from stablemax.check import CheckOptions
from stablemax.cli import lesson
from stablemax.hazards.catalogue import HAZARDS
from stablemax.lessons import MODULES, grading

from .running import assert_refused, run, start_on_terminal

GOOD = """\
import numpy as np

def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)
"""
BAD = GOOD.replace(" - np.max(x, axis=-1, keepdims=True)", "")


def test_without_a_name_the_lessons_are_listed_in_their_order() -> None:
    done = run("lesson", "--output-format", "json")
    assert (done.code, done.err) == (0, "")
    assert [entry["name"] for entry in done.json["lessons"]] == list(MODULES)
    assert run("lesson", "--output-format", "csv").out.count("\n") == len(MODULES) + 1


@pytest.mark.parametrize("name", [(), ("overflow",), ("masks",)], ids=["list", "overflow", "masks"])
def test_json_is_what_the_schema_says(name: tuple[str, ...]) -> None:
    schema = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
    kind = "lesson" if name else "lessons"
    errors = Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]}).iter_errors(
        run("lesson", *name, "--output-format", "json").json
    )
    assert [f"{e.json_path}: {e.message}" for e in errors] == []


def test_a_lesson_is_plain_text_where_it_is_piped() -> None:
    done = run("lesson", "overflow")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Lesson overflow: why a softmax is NaN\nYou learn why")
    assert "\x1b" not in done.out
    assert "stablemax lesson overflow --check my.py:function" in done.out
    assert "The next lesson: stablemax lesson underflow" in done.out


def test_a_lesson_as_json_holds_what_was_computed() -> None:
    taught = run("lesson", "overflow", "--output-format", "json").json
    assert (taught["schema"], taught["kind"], taught["name"]) == ("stablemax/2", "lesson", "overflow")
    table = taught["steps"][1]["table"]
    naive = next(column for column in table["columns"] if column["name"] == "naive")
    assert [cell["value"] for cell in naive["cells"]] == ["NaN"] * 3
    assert [cell["outcome"] for cell in naive["cells"]] == ["nan"] * 3


@pytest.mark.parametrize("ending", ["md", "ipynb", "txt", "json"])
def test_a_lesson_is_written_by_the_ending_of_its_file(ending: str, desk: Path) -> None:
    done = run("lesson", "shift", "-o", f"lesson.{ending}")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert "a constant changes nothing" in (desk / f"lesson.{ending}").read_text(encoding="utf-8")


def test_what_has_no_cells_is_no_notebook(desk: Path) -> None:
    assert_refused(run("compare", "--preset", "notebook-c", "-o", "c.ipynb"), "a comparison is not written as notebook")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("overflw",), "did you mean overflow?"),
        (("overflow", "--pause"), "is no terminal"),
        (("overflow", "--pause", "-o", "lesson.md"), "leave --pause out"),
        (("overflow", "--pause", "--output-format", "json"), "leave --pause out"),
        (("overflow", "--pause", "--check", "my.py:softmax"), "leave out one of the two"),
        (("--pause",), "stablemax lesson overflow --pause"),
        (("--check", "my.py:softmax"), "stablemax lesson overflow --check my.py:softmax"),
        (("overflow", "-o", "lesson.exe"), ".ipynb"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused_in_words(command: tuple[str, ...], words: str, desk: Path) -> None:
    assert_refused(run("lesson", *command), words)


@pytest.fixture
def few_hazards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a check try what tells a good softmax from a bad one."""
    names = ("gentle", "two-rows", "large-logits")
    monkeypatch.setattr(CheckOptions, "hazards_of", lambda *_: [HAZARDS[name] for name in names])
    # Nor is the smallest input that breaks it looked for.
    monkeypatch.setattr(grading, "CheckOptions", functools.partial(CheckOptions, search=False))


@pytest.mark.slow
def test_a_good_function_passes_its_exercise(desk: Path, few_hazards: None) -> None:
    (desk / "my.py").write_text(GOOD, encoding="utf-8")
    done = run("lesson", "overflow", "--check", "my.py:softmax", "-q")
    assert (done.code, done.err) == (0, "")
    assert "my.py:softmax is accurate" in done.out
    assert "What is missing" not in done.out
    assert "the exercise is solved" in done.out


@pytest.mark.slow
def test_what_a_bad_function_lacks_is_said_in_the_words_of_the_lesson(desk: Path, few_hazards: None) -> None:
    (desk / "my.py").write_text(BAD, encoding="utf-8")
    done = run("lesson", "overflow", "--check", "my.py:softmax", "-q", COLUMNS="200")
    assert (done.code, done.err) == (1, "failed: my.py:softmax is unstable\n")
    assert "no exponent is positive" in done.out
    assert "Read again: step 2 of lesson overflow, exp leaves the range of the format." in done.out


# --- on a terminal -------------------------------------------------------------------------------


PATIENCE_S = 60.0


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.child, self.screen = start_on_terminal(*arguments, COLUMNS="80", TERM="xterm", NO_COLOR="1")

    def said(self, patience_s: float) -> str:
        """Read what the program says next; nothing at its end, or where it says nothing for so long."""
        ready, _, _ = select.select([self.screen], [], [], patience_s)
        try:
            return os.read(self.screen, 4096).decode(errors="replace") if ready else ""
        except OSError:  # what a Linux terminal says at its end
            return ""

    def until(self, words: str) -> str:
        text = ""
        while words not in text:
            more = self.said(PATIENCE_S)
            assert more, text
            text += more
        return text

    def press(self, key: str) -> str:
        """Press a key until the program answers: one that comes before it listens is lost, and echoed."""
        for _ in range(20):
            os.write(self.screen, key.encode())
            text = ""
            while more := self.said(1.0):
                text += more
                if text.replace(key, "").strip():
                    return text
        raise AssertionError("no answer")

    def stop(self, key: str) -> int:
        """Press a key until the program ends, and return how it exited."""
        for _ in range(20):
            with contextlib.suppress(OSError):
                os.write(self.screen, key.encode())
            while self.said(1.0):
                pass
            code = self.child.poll()
            if code is not None:
                os.close(self.screen)
                return code
            time.sleep(0.5)
        raise AssertionError("it goes on")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
def test_the_answer_is_hidden_until_a_key_is_pressed_and_ctrl_c_ends_it() -> None:
    terminal = Terminal("lesson", "shift", "--pause")
    question = terminal.until("any key: the answer; q stops]")
    assert "What do you expect?" in question
    assert "1001" not in question
    answer = terminal.press(" ")
    # On a quiet machine all of the answer is there by then.
    answer += "" if "q stops]" in answer else terminal.until("q stops]")
    assert "1001" in answer
    assert "any key: why it is the maximum" in answer
    assert terminal.stop("\x03") == 128 + signal.SIGINT


@pytest.mark.parametrize("key", ["q", "Q", "\x04"])
def test_q_stops(key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    keys = iter([" ", " ", key])
    monkeypatch.setattr(typer, "getchar", lambda: next(keys))
    monkeypatch.setattr(lesson, "_check_pause", lambda *_: None)
    done = run("lesson", "shift", "--pause")
    assert done.code == 0
    assert done.out.count("What do you expect") == 2
    assert done.out.count("exact") == 2  # in the table of the first step, and in a sentence of the second
    assert next(keys, None) is None
