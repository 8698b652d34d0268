"""Results for scripts: JSON held by a schema, NDJSON line by line, CSV that reads back the same, Markdown."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from stablemax.comparing.explanation import explanation_of
from stablemax.operations.variant import get

from .running import Done, run, strict_json

SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
HARD = ("compare", "masked.npy", "masked-labels.npy", "--show-values", "2")  # NaN, infinities, masked classes
COMMANDS = [
    HARD,
    ("compare", "--preset", "notebook-b", "--show-values", "1"),
    ("compare", "--preset", "notebook-c", "--operation", "softmax", "--max-ulp", "3"),
    ("compare", "--scale", "1e4", "--format", "float8_e4m3fn", "--format", "float8_e5m2"),
    ("compare", "--preset", "notebook-d", "--operation", "softmax_vjp", "--format", "float32"),
    ("loss", "x.npy", "y.npy"),
    ("loss", "x.npy", "y.npy", "--reduction", "none"),
    ("loss", "x.npy", "ignored.npy"),
    ("loss", "masked.npy", "masked-labels.npy", "--reduction", "none"),
    ("explain", "softmax/naive"),
    ("explain", "softmax_vjp/closed-form"),
    ("explain", "cross_entropy/epsilon"),
    ("list", "variants"),
    ("list", "variants", "logsumexp"),
    ("list", "formats"),
    ("list", "presets"),
    ("list", "hazards"),
    ("list", "hazards", "softmax_vjp"),
    ("softmax", "masked.npy"),
    ("logsumexp", "cube.npy", "--axis", "1"),
    ("tolerance", "softmax", "--classes", "4", "--rtol", "1e-9"),
]
EACH = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


@functools.cache
def told(*command: str) -> Done:
    """What a command gives as JSON; the files that it reads are the same in every test."""
    return run(*command, "--output-format", "json", "-q")


@functools.cache
def validator(name: str | None = None) -> Draft202012Validator:
    Draft202012Validator.check_schema(SCHEMA)
    if name is None:
        return Draft202012Validator(SCHEMA)
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})


@EACH
def test_json_is_what_the_schema_says(command: tuple[str, ...], here: Path) -> None:
    done = told(*command)
    assert done.code in (0, 1), done.err
    document = done.json
    # By its kind rather than by oneOf, so that a failure names the field.
    kind = "losses" if "losses" in document else document["kind"]
    assert [f"{e.json_path}: {e.message}" for e in validator(kind).iter_errors(document)] == []
    assert validator().is_valid(document)


def test_the_schema_refuses_what_it_should(here: Path) -> None:
    good = run("loss", "x.npy", "y.npy", "--output-format", "json").json
    assert validator().is_valid(good)
    for change in (
        {"extra": 1},
        {"loss": "nan"},
        {"loss": None},
        {"kept_rows": -1},
        {"schema": "stablemax/1"},
    ):
        assert not validator().is_valid(good | change)
    assert not validator().is_valid({k: v for k, v in good.items() if k != "versions"})


def test_the_first_bad_row_of_several_files_is_named_by_its_file_too(desk: Path) -> None:
    for n in range(3):
        x = np.zeros((4, 3))
        x[2] = np.inf if n == 1 else 0.0
        np.save(f"part-{n}.npy", x)
    np.save("labels.npy", np.zeros(12, np.int64))
    for reduction in ("mean", "none"):
        done = run("loss", "part-*.npy", "labels.npy", "--reduction", reduction, "--output-format", "json", "-q")
        found = done.json
        assert validator().is_valid(found)
        assert (done.code, found["first_bad_row"]) == (1, 6)
        assert (found["first_bad_file"], found["first_bad_file_row"]) == ("part-1.npy", 2)
        assert "row 2 of part-1.npy has loss nan" in done.err
    found = run("loss", "x.npy", "y.npy", "--output-format", "json").json
    assert (found["first_bad_row"], found["first_bad_file"], found["first_bad_file_row"]) == (None, None, None)


NDJSON = {"compare": "verdict", "loss": "loss_row"}


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] != "explain"], ids=" ".join)
def test_ndjson_is_one_strict_document_a_line(command: tuple[str, ...], here: Path) -> None:
    done = run(*command, "--output-format", "ndjson", "-q")
    assert done.code in (0, 1), done.err
    assert done.out.endswith("\n")
    records = [strict_json(line) for line in done.out.splitlines()]
    assert records
    if command[0] == "compare":
        assert not [e.message for r in records for e in validator("verdict").iter_errors(r)]
        whole = told(*command).json
        flat = [v for report in whole["reports"] for v in report["verdicts"]]
        assert [{k: r[k] for k in v} for r, v in zip(records, flat, strict=True)] == flat
    if command[0] == "list":
        name = f"listed_{command[1].removesuffix('s')}"
        assert not [e.message for r in records for e in validator(name).iter_errors(r)]
    if command[0] == "loss" and "none" in command:
        assert not [e.message for r in records for e in validator("loss_row").iter_errors(r)]


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "compare"], ids=" ".join)
def test_csv_and_plain_hold_the_numbers_of_json_to_the_last_bit(command: tuple[str, ...], here: Path) -> None:
    verdicts = [v for report in told(*command).json["reports"] for v in report["verdicts"]]
    text = run(*command, "--output-format", "csv", "-q").out
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    plain = [line.split("\t") for line in run(*command, "--output-format", "plain", "-q").out.splitlines()]
    assert {len(cells) for cells in plain} == {len(rows[0])}
    assert plain[0] == list(rows[0])
    for row, verdict in zip(rows, verdicts, strict=True):
        assert None not in row, "more cells than headers"
        for name in ("error_ulp", "error_u", "error_over_bound", "sum_error", "mean", "mean_error_ulp"):
            same(row[name], verdict[name])
        for outcome in ("ok", "undefined", "input-overflow", "inaccurate", "lost", "overflow", "nan"):
            same(row[outcome], verdict["shares"].get(outcome))
        for name in ("row", "column", "logit", "output", "truth"):
            same(row[f"first_bad_{name}"], (verdict["first_bad"] or {}).get(name))
        assert row["cause"] == verdict["cause"]
        assert row["worst"] == (verdict["worst"] or "")


def same(text: str, value: Any) -> None:
    if value is None:
        assert text == ""
    else:
        assert float(text) == float(value) or (math.isnan(float(text)) and math.isnan(float(value)))


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] in ("compare", "list", "loss")], ids=" ".join)
def test_markdown_tables_have_one_number_of_columns(command: tuple[str, ...], here: Path) -> None:
    text = run(*command, "--output-format", "markdown", "-q").out
    tables = [[]]  # type: list[list[str]]
    for line in text.splitlines():
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    tables = [t for t in tables if t]
    assert tables
    for table in tables:
        columns = {len(line.replace("\\|", "").split("|")) for line in table}
        assert len(columns) == 1, table
        assert set(table[1]) <= set("|- ")
        assert len(table) > 2


def test_markdown_explains_with_headings() -> None:
    text = run("explain", "softmax/shifted", "--output-format", "markdown").out
    assert text.startswith("# softmax/shifted\n\n")
    assert "\n## Formula\n\n" in text


@pytest.mark.slow
@pytest.mark.parametrize("how", ["table", "plain", "json", "ndjson", "csv", "markdown"])
def test_every_output_ends_with_one_line_end_and_says_the_same_twice(how: str) -> None:
    command = ("compare", "--preset", "notebook-c", "--output-format", how)
    done = run(*command)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("\n")
    assert not done.out.endswith("\n\n")
    assert run(*command).out == done.out


@pytest.mark.parametrize("how", ["plain", "json", "ndjson", "csv", "markdown"])
def test_only_tables_depend_on_the_terminal(how: str) -> None:
    command = ("compare", "--preset", "notebook-c", "--operation", "softmax", "--output-format", how)
    expected = run(*command).out
    assert run(*command, COLUMNS="40", FORCE_COLOR="1").out == expected
    assert run(*command, "--color", "always", COLUMNS="300").out == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("compare", "--seed", "7", "--scale", "300", "--offset=-20", "--format", "float32", "--accumulate", "sequential", "--all"),  # noqa: E501
        ("compare", "--preset", "notebook-c", "--operation", "softmax", "--operation", "logsumexp", "--variant", "*a*"),
        ("compare", "x.npy", "y.npy", "--max-ulp", "2.5", "--judge", "4", "--reduction", "sum", "--all"),
        ("compare", "x.npy", "some-ignored.npy", "--ignore-index=-100", "--format", "float16", "--all"),
        ("compare", "cube.npy", "cube-labels.npy", "--axis", "1", "--operation", "cross_entropy"),
        ("compare", "--scale", "0.1", "--distribution", "normal", "--rows", "3", "--classes", "2", "--all"),
        ("compare", "--scale", "123456.789", "--format", "float64", "--operation", "logsumexp"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_line_that_reproduces_a_run_reproduces_it(command: tuple[str, ...], here: Path) -> None:
    first = run(*command, "--output-format", "json", "-q")
    assert first.code == 0, first.err
    line = next(t for t in run(*command, "-q", COLUMNS="80").out.splitlines() if t.startswith("reproduce: "))
    program, *again = shlex.split(line.removeprefix("reproduce: "))
    assert program == "stablemax"
    assert again == first.json["command"][1:]
    assert run(*again, "--output-format", "json", "-q").out == first.out


@pytest.mark.parametrize(("how", "expected"), [
    ("plain", "1.5\n"), ("table", "1.5\n"), ("csv", "loss\n1.5\n"), ("markdown", "| loss |\n| --- |\n| 1.5 |\n"),
])  # fmt: skip
def test_a_loss_is_one_number(how: str, expected: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stablemax.numerics.exact_sum.ExactSum.mean", lambda *_: 1.5)
    assert run("loss", "x.npy", "y.npy", "--output-format", how).out == expected


@pytest.mark.parametrize("how", ["table", "plain", "markdown"])
def test_a_file_is_in_utf_8_whatever_the_terminal_shows(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = explanation_of(get("softmax/online"))
    monkeypatch.setattr(
        "stablemax.comparing.explanation.explanation_of", lambda _: dataclasses.replace(explained, summary="naïve ∞")
    )
    path = tmp_path / "written"
    assert run("explain", "softmax/online", "--output-format", how, "-o", str(path), encoding="ascii").code == 0
    assert "naïve ∞" in path.read_text("utf-8")
    assert run("explain", "softmax/online", "--output-format", how, encoding="ascii").out.isascii()


def test_a_loss_is_the_shortest_decimal_that_reads_back_the_same(here: Path) -> None:
    text = run("loss", "x.npy", "y.npy").out
    assert text == f"{float(text)!r}\n"
    assert float(text) == run("loss", "x.npy", "y.npy", "--output-format", "json").json["loss"]
