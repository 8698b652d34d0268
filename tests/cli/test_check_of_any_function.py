"""``stablemax check`` of any function: ranges by --arg, the verdict and its exit code, the outputs, the mistakes."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from .running import assert_refused, process, run

CODE = """
    import numpy as np


    def positive_part(x):
        return np.log(1 + np.exp(x))


    def sound(x):
        return np.logaddexp(0, x)


    def loss(logits, labels):
        e = np.exp(logits)
        return -np.log((e / e.sum(axis=-1, keepdims=True))[np.arange(len(labels)), labels]).mean()


    def root(x):
        return np.sqrt(x)


    def pair(x):
        return x, np.log(np.exp(x))


    def dot_of_names(x, /, by=1.0):
        return np.log(np.exp(x * by))


    def hangs(x):
        while True:
            pass
"""


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with code and inputs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(textwrap.dedent(CODE), encoding="utf-8")
    np.save("labels.npy", np.array([0, 2]))
    np.save("half.npy", np.array([1.0, 20.0], dtype=np.float16))
    return tmp_path


def in_a_line(text: str) -> str:
    return " ".join(text.split())


def test_a_function_that_breaks_ends_with_1_and_with_the_smallest_input() -> None:
    done = run(
        "check", "my.py:positive_part", "--operation", "none", "--arg", "x=normal(0, 30, 4x3)", "--format", "float32"
    )
    assert done.code == 1
    assert done.err.splitlines()[-1] == "failed: my.py:positive_part is unstable"
    assert "At x = [[100]] it gives inf where 100 is right (result[0, 0])." in in_a_line(done.out)
    assert "It breaks from x[0, 0] = 88.72284 on; its neighbour 88.72283 holds." in in_a_line(done.out)
    assert "Line 6: exp overflows for 1 of 1 cell (first: x[0, 0] = 100.0)" in in_a_line(done.out)
    assert "input: x = normal(0, 30, 4x3)" in done.out
    assert "x = np.array([[100.0]], dtype=np.float32)" in done.out
    assert max(map(len, done.out.partition("smallest input")[0].splitlines())) <= 80


def test_a_function_that_holds_ends_with_0_and_with_what_that_rests_on() -> None:
    done = run("check", "my.py:sound", "--arg", "x=normal(0, 30, 4)", "--format", "float32")
    assert (done.code, done.err.startswith("note: its name says no operation")) == (0, True)
    assert "my.py:sound is accurate in float32." in in_a_line(done.out)
    assert "held against exact arithmetic on the same code: " in in_a_line(done.out)


def test_a_loss_all_of_whose_arguments_are_given_by_name_is_any_function() -> None:
    arguments = ("--arg", "logits=normal(0, 50, 2x3)", "--arg", "labels=labels.npy")
    done = run("check", "my.py:loss", *arguments, "--format", "float32")
    assert done.code == 1
    assert "note: all that it takes is given by --arg" in done.err
    assert "input: logits = normal(0, 50, 2x3), labels int64 (2,)" in in_a_line(done.out)
    assert "labels = np.array([0, 2])" in done.out


def test_a_file_of_floats_is_checked_as_it_is_in_its_own_format() -> None:
    document = run("check", "my.py:positive_part", "--arg", "x=half.npy", "--output-format", "json").json
    assert (document["kind"], document["grade"]) == ("function-check", "unstable")
    (tried,) = document["formats"]
    assert (tried["format"], tried["proved"], tried["broken"]) == ("float16", 1, 1)
    example = document["counterexample"]
    assert example["arguments"] == [{"name": "x", "dtype": "float16", "shape": [2], "values": [1.0, 20.0]}]
    assert (example["outcome"], example["output"], example["truth"]) == ("overflow", "Infinity", 20.0)
    assert document["command"] == ["stablemax", "check", "my.py:positive_part", "--arg", "x=half.npy"]


def test_formats_that_are_asked_for_are_rows_of_a_table() -> None:
    command = ("check", "my.py:positive_part", "--arg", "x=uniform(0, 50, 2)", "--format", "float16")
    done = run(*command, "--format", "float64", "--output-format", "csv", "--allow", "unstable-in=float16")
    assert done.code == 0
    rows = [line.split(",") for line in done.out.splitlines()]
    assert [row[:2] for row in rows] == [["format", "grade"], ["float16", "unstable"], ["float64", "accurate"]]


def test_a_ci_system_gets_a_check_for_the_verdict_and_one_for_each_format() -> None:
    command = ("check", "my.py:positive_part", "--arg", "x=half.npy")
    assert 'tests="2"' in run(*command, "--output-format", "junit").out
    assert "file=my.py,line=6" in run(*command, "--output-format", "github").out


def test_the_item_that_is_picked_and_positional_arguments_are_in_the_pasted_code() -> None:
    picked = run("check", "my.py:pair", "--pick", "1", "--arg", "x=uniform(0, 100, 2)", "--format", "float32")
    assert "output = pair(x=x)[1]" in picked.out
    by_place = run(
        "check", "my.py:dot_of_names", "--arg", "by=2", "--arg", "x=uniform(0, 100, 2)", "--format", "float32"
    )
    assert "output = dot_of_names(x, by=2)" in by_place.out


@pytest.mark.slow
def test_the_pasted_test_runs_as_it_is_and_fails(code: Path) -> None:
    document = run("check", "my.py:positive_part", "--arg", "x=half.npy", "--output-format", "json").json
    (code / "test_pasted.py").write_text(document["counterexample"]["test"], encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_pasted.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=code)
    assert (done.returncode, "1 failed" in done.stdout) == (1, True)
    with (code / "my.py").open("a", encoding="utf-8") as stream:
        stream.write("\n\npositive_part = sound\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=code)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True)


@pytest.mark.slow
@pytest.mark.own_process
def test_code_that_hangs_is_a_mistake_and_no_verdict() -> None:
    done = process("check", "my.py:hangs", "--arg", "x=half.npy", "--timeout", "2")
    assert_refused(done, "my.py:hangs gave no answer within 2 s", "--timeout")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("my.py:sound", "--operation", "none"), ("takes x, too", "--arg x=VALUE")),
        (("my.py:sound", "--arg", "x=0.5"), ("no argument is an array of floats", "uniform")),
        (("my.py:sound", "--arg", "x=edge", "--only", "gentle"), ("--only is about operations",)),
        (("my.py:sound", "--arg", "x=edge", "--with", "weights"), ("--with is about operations",)),
        (("my.py:sound", "--arg", "x=edge", "--allow", "shift-invariance"), ("no outcome 'shift-invariance'", "lost")),
        (("my.py:sound", "--arg", "x=edge", "--format", "tf32"), ("not traced in tf32", "--format float16")),
        (("my.py:sound", "--arg", "x=edge", "--backward"), ("autograd",)),
        (("my.py:sound", "--arg", "x=normal(0, 1, 200x200)"), ("40,000 numbers",)),
        (("my.py:root", "--arg", "x=uniform(-2, -1, 3)"), ("nothing is known of my.py:root", "--arg")),
        (("my.py:pair", "--arg", "x=half.npy"), ("returned a tuple", "--pick 0 or 1")),
        (("softmax/naive", "--operation", "none"), ("is a variant",)),
        (
            ("my.py:loss", "--arg", "labels=labels.npy"),
            ("--arg labels: my.py:loss gets it with", "give logits by --arg"),
        ),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_a_mistake_is_told_in_two_lines(command: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_refused(run("check", *command), *words)
