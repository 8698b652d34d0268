"""`stablemax tolerance` as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from .running import assert_refused, run, strict_json

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
SMALL = ("tolerance", "softmax", "--classes", "4", "--scale", "3")
LOOSE = (*SMALL, "--rtol", "1e-2", "--atol", "1e-3")
TIGHT = (*SMALL, "--rtol", "1e-7")
RIGHT = (*SMALL, "--rtol", "1e-5")


def complaints(document: Any) -> list[str]:
    validator = Draft202012Validator({"$ref": "#/$defs/tolerance", "$defs": SCHEMA["$defs"]})
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(document)]


@pytest.mark.parametrize("command", [SMALL, LOOSE, ("tolerance", "sigmoid", "--format", "bf16", "--classes", "4")])
def test_a_tolerance_looks_like_this(command: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    assert run(*command, COLUMNS="80").out == snapshot


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (SMALL, 0, "needs no more than rtol"),
        (RIGHT, 0, "are right for softmax in float32"),
        (LOOSE, 1, "let bugs through for softmax in float32: "),
        (TIGHT, 1, "are too tight for softmax in float32: softmax/shifted is sound, and is off by"),
    ],
    ids=["proposed", "right", "loose", "tight"],
)
def test_the_exit_code_says_whether_a_tolerance_is_right(command: tuple[str, ...], code: int, words: str) -> None:
    done = run(*command, COLUMNS="80")
    assert done.code == code
    assert words in " ".join(done.out.split())
    assert bool(done.err) == bool(code)
    assert done.err.startswith("failed: ") or not code
    assert run(*shlex.split(done.out.splitlines()[-1])[2:], COLUMNS="80") == done


@pytest.mark.parametrize("changes", [{}, {"encoding": "ascii"}, {"COLUMNS": "60"}], ids=str)
@pytest.mark.parametrize("command", [SMALL, TIGHT])
def test_all_but_what_is_copied_fits_the_terminal(command: tuple[str, ...], changes: dict[str, str]) -> None:
    lines = run(*command, **changes).out.splitlines()  # type: ignore[arg-type]
    copied = ("reproduce: ", "    torch.", "    numpy.")
    assert max(len(line) for line in lines if not line.startswith(copied)) <= int(changes.get("COLUMNS", "80"))


@pytest.mark.parametrize(
    "command",
    [
        SMALL,
        LOOSE,
        TIGHT,
        ("tolerance", "logsumexp", "--format", "e4m3", "--rtol", "1"),
        ("tolerance", "bce", "--classes", "2"),
    ],
)
def test_json_is_what_the_schema_says(command: tuple[str, ...]) -> None:
    document = run(*command, "--output-format", "json").json
    assert complaints(document) == []
    assert complaints({k: v for k, v in document.items() if k != "proved"})


def test_csv_and_ndjson_have_a_row_for_each_code_that_was_run() -> None:
    document = run(*LOOSE, "--output-format", "json").json
    rows = list(csv.DictReader(io.StringIO(run(*LOOSE, "--output-format", "csv").out)))
    records = [strict_json(line) for line in run(*LOOSE, "--output-format", "ndjson").out.splitlines()]
    for of_format in (rows, records):
        assert [one["kind"] for one in of_format] == ["sound"] * len(document["sound"]) + ["bug"] * len(
            document["bugs"]
        )
    assert [float(row["error"]) for row in rows] == [run_["error"] for run_ in (*document["sound"], *document["bugs"])]


def test_junit_counts_what_ought_to_pass_and_what_ought_not() -> None:
    document = run(*LOOSE, "--output-format", "json").json
    root = ET.fromstring(run(*LOOSE, "--output-format", "junit").out)
    failed = [case.get("name", "") for case in root.iter("testcase") if case.find("failure") is not None]
    through = [bug["name"] for bug in document["bugs"] if bug["is_told"] and bug["passes"]]
    assert through
    assert [name.partition(" ")[0] for name in failed] == through
    skipped = [case for case in root.iter("testcase") if case.find("skipped") is not None]
    assert len(skipped) == sum(not bug["is_told"] for bug in document["bugs"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("softmx",), ("softmx", "did you mean softmax")),
        ((), ("OPERATION",)),
        (("softmax", "--format", "float17"), ("float17",)),
        (("softmax", "--format", "float16", "--scale", "1e5"), ("beyond float16", "65504", "--scale 8.2e+03")),
        (("softmax", "--classes", "0"), ("--classes 0",)),
        (("softmax", "--rtol", "nan"), ("--rtol nan",)),
        (("softmax", "--atol=-1"), ("--atol -1",)),
    ],
    ids=str,
)
def test_mistakes_are_refused_in_two_lines(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_refused(run("tolerance", *arguments), *words)


def test_every_format_of_the_document_is_written(tmp_path: Path) -> None:
    for ending in ("svg", "html", "md", "txt"):
        path = tmp_path / f"out.{ending}"
        assert run(*SMALL, "-o", str(path)).code == 0
        assert "softmax/shifted" in path.read_text("utf-8").replace("&#160;", " ")
