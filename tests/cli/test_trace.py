"""``stablemax trace``: the listing, the exit codes, the data."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from .running import assert_refused, process, run, strict_json

if TYPE_CHECKING:
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion

CODE = """
    import numpy as np

    SCALE = 1.0


    def naive_softmax(x):
        e = np.exp(SCALE * x)
        total = e.sum(axis=1, keepdims=True)
        return e / total


    def stable_softmax(x):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)


    def wrong_softmax(x):
        return np.exp(x) / np.sum(np.exp(x))


    def loss(x, y):
        "Mean cross-entropy."
        p = stable_softmax(x)
        losses = []
        for row, label in zip(p, y):
            losses.append(-np.log(row[label]))
        return float(np.mean(losses))


    def by_row_softmax(row):
        e = np.exp(row - max(row))
        return e / sum(e)


    def lossy_logsumexp(x):
        import math
        return np.array([math.log(sum(math.exp(v) for v in row)) for row in x])


    def nothing_softmax(x):
        pass


    def hanging_softmax(x):
        import time
        time.sleep(600)


    def noisy_softmax(x):
        print("not a part of the document")
        return stable_softmax(x)


    def leaving_softmax(x):
        import os
        os._exit(3)


    def large_softmax(x):
        return np.zeros(1 << 57)
"""

ULP = re.compile(r"(?<![\w.])<?[\d.]+(e[+-]?\d+)? ulp(  (made here|inherited))?")


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with code and inputs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text(textwrap.dedent(CODE), encoding="utf-8")
    np.save("x.npy", np.linspace(-1, 5e5, 500).reshape(50, 10))
    np.save("small.npy", np.array([[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]], dtype=np.float32))
    np.save("y.npy", np.array([0, 2]))
    np.save("far.npy", np.array([[0.0, 200.0, 1.0], [0.0, 1.0, 2.0]], dtype=np.float32))
    return tmp_path


def masked(text: str) -> str:
    """Hide the ulps, which differ with the CPU's exp and log, and whose they are said to be."""
    return ULP.sub("# ulp", text)


# --- how it looks -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize(
    "command",
    [
        ("code.py:naive_softmax", "x.npy"),
        ("code.py:loss", "far.npy", "y.npy"),
        ("code.py:wrong_softmax", "small.npy"),
    ],
    ids=["overflow", "loop", "wrong"],
)
@pytest.mark.usefixtures("code")
def test_a_trace_looks_like_this(command: tuple[str, ...], columns: int, snapshot: SnapshotAssertion) -> None:
    done = run("trace", *command, COLUMNS=str(columns))
    assert done.code == 1
    assert masked(done.out) == snapshot


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_the_blamed_line_has_a_sign_a_word_and_a_colour() -> None:
    plain = run("trace", "code.py:naive_softmax", "x.npy").out
    (line,) = [t for t in plain.splitlines() if t.startswith("▶")]
    assert line.endswith("e = np.exp(SCALE * x)")
    assert plain.splitlines()[plain.splitlines().index(line) + 1].strip().startswith("│ blame: exp overflows")
    colored = run("trace", "code.py:naive_softmax", "x.npy", "--color", "always").out
    assert re.search(r"\x1b\[1;31m▶", colored)
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored).replace(" ", "") == plain.replace(" ", "")


@pytest.mark.slow
@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_encoding_without_signs_gets_ascii(encoding: str) -> None:
    done = run("trace", "code.py:naive_softmax", "x.npy", encoding=encoding)
    assert done.code == 1
    assert done.out.isascii()
    assert any(t.startswith(">") for t in done.out.splitlines())
    assert "| blame: exp overflows" in done.out


@pytest.mark.slow
@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_no_number_is_cut_at_any_width(columns: int) -> None:
    narrow, broad = (
        run("trace", "code.py:naive_softmax", "x.npy", "--details", COLUMNS=str(c)).out for c in (columns, 1000)
    )
    assert "…" not in narrow

    def figures(text: str) -> set[str]:
        return {w.strip("(),.;:") for w in text.split() if any(c.isdigit() for c in w)}

    assert figures(broad) <= figures(narrow)
    prose = narrow.partition("write this instead:")[0]
    assert not [t for t in prose.splitlines() if len(t) > columns]


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_details_add_the_dtype_the_shape_and_the_error_made_here() -> None:
    done = run("trace", "code.py:naive_softmax", "x.npy", "--details", COLUMNS="200")
    assert "float64 50x10" in done.out
    assert re.search(r"made here [\d.<]+ ulp", done.out)


# --- exit codes -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    ("command", "code_expected", "told"),
    [
        (("code.py:naive_softmax", "x.npy"), 1, "failed: code.py, line 8: exp overflows"),
        (("code.py:naive_softmax", "small.npy"), 0, ""),
        (("code.py:wrong_softmax", "small.npy"), 1, "failed: code.py, line 19: its sum runs over the whole"),
        (("code.py:stable_softmax", "x.npy"), 0, ""),
        (("code.py:loss", "far.npy", "y.npy"), 1, "log of 0 is infinite"),
        (("softmax/shifted", "x.npy"), 0, ""),
        (("softmax/naive", "x.npy"), 1, "failed: stablemax/operations/softmax.py, line "),
    ],
    ids=str,
)
def test_the_exit_code_says_whether_a_line_is_to_blame(command: tuple[str, ...], code_expected: int, told: str) -> None:
    done = run("trace", *command)
    assert done.code == code_expected
    assert told in done.err
    assert ("failed:" in done.err) == (code_expected == 1)


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_without_an_input_the_first_hazard_that_breaks_it_is_shown() -> None:
    done = run("trace", "code.py:naive_softmax")
    assert done.code == 1
    assert "input: hazard " in done.out
    assert "exp overflows" in done.out
    again = run("trace", *done.out.splitlines()[-1].split()[3:])
    assert again.out == done.out


@pytest.mark.usefixtures("code")
def test_what_holds_on_every_hazard_is_shown_on_generated_logits() -> None:
    done = run("trace", "softmax/compensated")
    assert done.code == 0
    assert re.search(r"note: \d+ hazards tried in float32, none breaks it", done.err)
    assert "input: uniform on [-10, 10], seed 0" in done.out


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_rows_keep_their_numbers_where_some_are_left_out() -> None:
    x = np.zeros((6, 3))
    x[4, 2] = 800.0
    np.save("ignored.npy", x)
    np.save("some.npy", np.array([0, -100, -100, 1, 1, 2]))
    done = run("trace", "cross_entropy/naive", "ignored.npy", "some.npy")
    assert "note: traced on 4 of 6 rows" in done.err
    assert "(first: row 4, class 2, logit 800.0)" in " ".join(done.out.split())
    np.save("many.npy", np.concatenate([np.zeros((20000, 3)), x]))
    done = run("trace", "code.py:naive_softmax", "many.npy")
    assert "(first: row 20004, class 2, logit 800.0)" in " ".join(done.out.split())


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_a_function_of_one_row_is_called_row_by_row() -> None:
    done = run("trace", "code.py:by_row_softmax", "small.npy")
    assert done.code == 0
    assert "exp x2" in done.out


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_what_is_not_followed_is_named() -> None:
    done = run("trace", "code.py:lossy_logsumexp", "small.npy")
    assert "not followed: math.exp(v) at code.py:" in done.out


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_the_named_format_is_traced() -> None:
    assert run("trace", "code.py:naive_softmax", "small.npy", "--format", "float16").code == 0
    done = run("trace", "softmax/naive", "--preset", "notebook-c", "--format", "bfloat16")
    assert "it overflows above 88.719 in bfloat16" in " ".join(done.out.split())


# --- data -------------------------------------------------------------------------------------------

NUMBER = {"oneOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
ERROR = {"oneOf": [{"type": "null"}, {"type": "number", "minimum": 0}, {"const": "Infinity"}]}
COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
OPERATION = {
    "index": COUNT, "name": TEXT, "phase": {"enum": ["forward", "backward"]}, "file": TEXT,
    "line": COUNT, "dtype": TEXT, "shape": {"type": "array", "items": COUNT}, "smallest": NUMBER, "largest": NUMBER,
    "cells": COUNT, "inf": COUNT, "nan": COUNT, "lost": COUNT, "error_ulp": ERROR, "local_error_ulp": ERROR,
    "origin": {"enum": ["none", "made here", "inherited", "cancellation", "absorption"]}, "note": TEXT,
    "times": {"type": "integer", "minimum": 1},
}  # fmt: skip
LINE = {
    "file": TEXT, "line": COUNT, "text": TEXT, "blamed": {"type": "boolean"},
    "operations": {
        "type": "array",
        "items": {
            "type": "object", "properties": OPERATION, "required": list(OPERATION), "additionalProperties": False,
        },
    },
}  # fmt: skip
BLAME = {"file": TEXT, "line": COUNT, "operation": {"type": "integer", "minimum": -1}, "sentence": TEXT}
TRACE: dict[str, Any] = {
    "schema": {"const": "stablemax/2"}, "kind": {"const": "trace"}, "versions": {"type": "object"}, "target": TEXT,
    "operation": TEXT, "backend": TEXT, "format": TEXT, "source": TEXT, "rows": COUNT, "classes": COUNT,
    "lines": {
        "type": "array",
        "items": {"type": "object", "properties": LINE, "required": list(LINE), "additionalProperties": False},
    },
    "outcome": {"enum": ["ok", "undefined", "input-overflow", "inaccurate", "lost", "overflow", "nan"]},
    "error_ulp": ERROR, "formula_is_wrong": {"type": ["boolean", "null"]},
    "blame": {
        "oneOf": [
            {"type": "null"},
            {"type": "object", "properties": BLAME, "required": list(BLAME), "additionalProperties": False},
        ]
    },
    "finding": {"type": "string", "minLength": 1}, "not_followed": {"type": "array", "items": TEXT},
    "command": {"type": "array", "items": TEXT}, "notes": {"type": "array", "items": TEXT},
    "mistake": TEXT, "instead": TEXT, "instead_why": TEXT, "pattern": TEXT,
}  # fmt: skip
SCHEMA = {"type": "object", "properties": TRACE, "required": list(TRACE), "additionalProperties": False}


@pytest.mark.slow
@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("function", ["naive_softmax", "stable_softmax", "wrong_softmax", "lossy_logsumexp"])
def test_json_is_one_strict_document_of_a_fixed_shape(function: str) -> None:
    done = run("trace", f"code.py:{function}", "small.npy", "--output-format", "json")
    Draft202012Validator(SCHEMA).validate(done.json)


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_json_names_the_blamed_line_and_its_operation() -> None:
    found = run("trace", "code.py:naive_softmax", "x.npy", "--output-format", "json").json
    Draft202012Validator(SCHEMA).validate(found)
    (line,) = [t for t in found["lines"] if t["blamed"]]
    assert (line["file"], line["line"], line["text"]) == ("code.py", 8, "    e = np.exp(SCALE * x)")
    assert found["blame"]["operation"] in [o["index"] for o in line["operations"] if o["name"] == "exp"]
    assert (found["outcome"], found["formula_is_wrong"]) == ("nan", False)


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_every_other_format_has_a_record_for_each_operation() -> None:
    found = run("trace", "code.py:naive_softmax", "x.npy", "--output-format", "json").json
    count = sum(len(t["operations"]) for t in found["lines"])
    for how, extra in (("ndjson", 0), ("csv", 1), ("plain", 1)):
        lines = run("trace", "code.py:naive_softmax", "x.npy", "--output-format", how).out.splitlines()
        assert len(lines) == count + extra
    records = run("trace", "code.py:naive_softmax", "x.npy", "--output-format", "ndjson").out.splitlines()
    blamed = [r for r in map(strict_json, records) if r["blamed"]]
    assert [r["name"] for r in blamed] == ["exp"]
    assert "| exp |" in run("trace", "code.py:naive_softmax", "x.npy", "--output-format", "markdown").out


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_what_the_code_prints_is_no_part_of_the_document() -> None:
    done = process("trace", "code.py:noisy_softmax", "small.npy", "--output-format", "json")
    assert (done.code, done.json["outcome"]) == (0, "ok")


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_the_time_it_may_take_is_a_part_of_the_command() -> None:
    done = run("trace", "code.py:stable_softmax", "small.npy", "--timeout", "90", "--output-format", "json")
    assert done.json["command"][-2:] == ["--timeout", "90"]


@pytest.mark.slow
@pytest.mark.usefixtures("code")
def test_a_process_writes_the_same_as_a_run_here() -> None:
    here = run("trace", "code.py:loss", "far.npy", "y.npy")
    done = process("trace", "code.py:loss", "far.npy", "y.npy")
    assert (done.code, done.err) == (here.code, here.err)
    assert masked(done.out) == masked(here.out)


# --- mistakes ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("nowhere.py:f",), ("nowhere.py", "no such file")),
        (("code.py:soft", "x.npy"), ("has no function", "soft")),
        (("code.py:loss", "far.npy"), ("needs labels",)),
        (("code.py:nothing_softmax", "small.npy"), ("not an array of real numbers",)),
        (("code.py:loss", "small.npy", "y.npy", "--operation", "softmax"), ("takes y, too", "--operation")),
        (("softmax/naive", "x.npy", "--hazard", "gentle"), ("--hazard",)),
        (("softmax/naive", "--hazard", "gentl"), ("gentl",)),
        (("softmax/naive", "x.npy", "--rows", "3"), ("--rows",)),
        (("softmax/naive", "--output-format", "junit"), ("junit",)),
        (("softmax/naive", "x.npy", "--max-ulp", "nan"), ("--max-ulp",)),
        (("softmax/no-such-thing",), ("no-such-thing",)),
        pytest.param(
            *(
                ("code.py:hanging_softmax", "small.npy", "--timeout", "0.5"),
                ("no answer within 0.5 s", "--timeout 300"),
            ),
            marks=pytest.mark.own_process,
        ),
        pytest.param(
            ("code.py:leaving_softmax", "small.npy"),
            ("ended its process (exit code 3)",),
            marks=pytest.mark.own_process,
        ),
        pytest.param(
            ("code.py:large_softmax", "small.npy", "--memory", "100MB"),
            ("raises MemoryError", "--memory 8GB"),
            marks=pytest.mark.own_process,
        ),
        (("code.py:loss", "small.npy", "--memory", "lots"), ("--memory lots", "such as 512MB")),
        (("code.py:loss", "--timeout", "0"), ("--timeout 0", "more than 0")),
    ],
    ids=str,
)
def test_a_mistake_is_told_in_two_lines(command: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_refused(run("trace", *command), *words)
