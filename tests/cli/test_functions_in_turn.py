"""Several functions in one TARGET of ``stablemax trace`` and ``stablemax check``."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from .running import assert_refused, run

CODE = """
    import numpy as np


    def positive_part(x):
        return np.log(1 + np.exp(x))


    def sound(x):
        return np.logaddexp(0, x)


    def softmax(x):
        e = np.exp(x)
        return e / e.sum(axis=-1, keepdims=True)


    def log_softmax(logits):
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
"""
RANGE = ("--arg", "x=linspace(0, 100, 3)", "--format", "float32")
TWO = "my.py:positive_part,sound"


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with code in two files, one of which has a comma in its name."""
    monkeypatch.chdir(tmp_path)
    for name in ("my.py", "other.py", "a,b.py"):
        (tmp_path / name).write_text(textwrap.dedent(CODE), encoding="utf-8")
    np.save("x.npy", np.array([[0.0, 1.0, 1.0], [0.0, 90.0, 90.0]], np.float32))
    return tmp_path


def in_a_line(text: str) -> str:
    return " ".join(text.split())


def without_versions(document: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in document.items() if k not in ("schema", "kind", "versions")}


@pytest.mark.parametrize("command", ["trace", "check"])
def test_each_function_is_told_of_in_the_order_in_which_it_is_named(command: str) -> None:
    done = run(command, TWO, *RANGE)
    assert done.code == 1
    lines = done.out.splitlines()
    titles = [i for i, line in enumerate(lines) if line in ("my.py:positive_part", "my.py:sound")]
    assert [lines[i] for i in titles] == ["my.py:positive_part", "my.py:sound"]
    broken, sound = "\n".join(lines[: titles[1]]), "\n".join(lines[titles[1] :])
    assert "exp overflows" in broken
    assert "exp overflows" not in sound
    assert f"reproduce: stablemax {command} my.py:sound --arg" in sound
    assert [line.partition(":")[0] for line in done.err.splitlines()] == ["note", "failed"]


@pytest.mark.parametrize("command", ["trace", "check"])
def test_results_together_are_those_of_each_alone(command: str) -> None:
    options = (*RANGE, "--output-format", "json")
    together = run(command, TWO, *options).json
    alone = [run(command, name, *options).json for name in ("my.py:positive_part", "my.py:sound")]
    assert together["kind"] == f"{alone[0]['kind']}s"
    assert together["results"] == [without_versions(document) for document in alone]


def test_rows_and_records_of_several_functions_say_whose_they_are() -> None:
    rows = list(csv.DictReader(io.StringIO(run("trace", TWO, *RANGE, "--output-format", "csv").out)))
    lines = run("check", TWO, *RANGE, "--no-search", "--output-format", "ndjson").out.splitlines()
    for found in (rows, [json.loads(line) for line in lines]):
        assert list(dict.fromkeys(row["target"] for row in found)) == ["my.py:positive_part", "my.py:sound"]


def test_a_ci_system_gets_a_suite_for_each_function() -> None:
    top = ET.fromstring(run("check", TWO, *RANGE, "--output-format", "junit").out)
    failures = {suite.get("name"): suite.get("failures") for suite in top}
    assert failures == {"stablemax.check.my.py:positive_part": "2", "stablemax.check.my.py:sound": "0"}
    log = run("check", TWO, *RANGE, "--no-search", "--output-format", "github").out
    assert "stablemax: 1 of 2 functions fail." in log


def test_all_functions_hold_ends_with_0() -> None:
    assert run("trace", "my.py:sound,other.py:sound", *RANGE).code == 0
    assert run("trace", TWO, *RANGE).code == 1


def test_functions_of_operations_are_taken_on_the_same_logits() -> None:
    done = run("trace", "my.py:softmax,log_softmax", "x.npy", "--output-format", "json")
    found = [(result["operation"], result["outcome"], result["source"]) for result in done.json["results"]]
    assert found == [("softmax", "nan", "x.npy"), ("log_softmax", "ok", "x.npy")]
    options = ("--format", "float32", "--only", "large-logits", "--no-search")
    variants = run("check", "softmax/naive,softmax/shifted", *options)
    assert (variants.code, "failed: softmax/naive is unstable" in variants.err) == (1, True)


def test_what_has_no_file_of_its_own_is_of_the_file_before() -> None:
    done = run("trace", "my.py:sound,other.py:positive_part,sound", *RANGE, "--output-format", "json")
    assert [r["target"] for r in done.json["results"]] == ["my.py:sound", "other.py:positive_part", "other.py:sound"]


def test_a_comma_in_the_name_of_a_file_is_none_between_functions() -> None:
    assert run("trace", "a,b.py:sound", *RANGE, "--output-format", "json").json["target"] == "a,b.py:sound"
    both = run("trace", "a,b.py:sound,positive_part", *RANGE, "--output-format", "json").json["results"]
    assert [result["target"] for result in both] == ["a,b.py:sound", "a,b.py:positive_part"]


def test_a_function_that_is_named_twice_is_taken_once() -> None:
    assert run("trace", "my.py:sound,sound", *RANGE, "--output-format", "json").json["kind"] == "trace"


def test_functions_of_operations_and_others_need_a_word() -> None:
    mixed = ("trace", "my.py:softmax,sound", *RANGE)
    assert_refused(run(*mixed), "my.py:softmax is held to an operation, and my.py:sound to none", "--operation none")
    assert run(*mixed, "--operation", "none").code == 1


def test_mistakes_about_one_of_several_functions_name_it() -> None:
    assert_refused(run("trace", "my.py:sound,", *RANGE), "my.py:sound,: no function is named beside a comma", "my.py")
    assert_refused(run("trace", "my.py:sound,sond", *RANGE), "has no function 'sond'", "sound")
    assert_refused(run("check", "my.py:sound,log_softmax", "--operation", "none", *RANGE), "log_softmax", "logits")
    several = run("trace", "my.py:softmax,log_softmax", "-", stdin=b"0,1\n")
    assert_refused(several, "standard input is read once, and several functions are traced", "put it into a file")


def test_a_file_of_several_results_is_written_whole(tmp_path: Path) -> None:
    assert run("check", TWO, *RANGE, "-o", "found.html").code == 1
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert page.index("my.py:positive_part") < page.index("my.py:sound")
    assert_refused(run("check", TWO, *RANGE, "-o", "my.py"), "my.py: is an input, too", "give -o another name")
