"""``stablemax bench``: what it prints, what scripts read, and when it fails."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import math
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from stablemax.bench.bench_words import Shape, TimedDtype
from stablemax.operations import all_operations
from stablemax.render.benches import CASE_COLUMNS, LIMIT_COLUMNS, TIMING_COLUMNS, document
from stablemax.render.document import Facts
from stablemax.render.tables import drawn_bar

from ..bench.clockwork import sample
from .running import Done, assert_refused, run, strict_json

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from stablemax.results import Benchmark

SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
TINY = ("bench", "--shape", "3x5", "--peer", "numpy", "--threads", "1", "--repeat", "1")
ONE = (*TINY, "--operation", "softmax", "--dtype", "float32")


def errors(name: str, document: Any) -> list[str]:
    validator = Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(document)]


@functools.cache
def told() -> Done:
    """One real run, of everything that needs no other library."""
    return run(*TINY, "--output-format", "json")


@pytest.fixture(scope="module")
def known() -> Benchmark:
    return sample()


@pytest.fixture
def injected(known: Benchmark, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """Let the command find a benchmark whose figures are known, instead of measuring one."""
    result = known
    monkeypatch.setattr("stablemax.bench.benchmark.bench", lambda *_, **__: result)
    return result


def masked(text: str) -> str:
    """Hide the versions."""
    return re.sub(r"stablemax \S+ on numpy \S+", "stablemax # on numpy #", text)


# --- how it looks -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("injected")
@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("options", [(), ("--chart",)], ids=["table", "chart"])
def test_a_benchmark_looks_like_this(columns: int, options: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    done = run("bench", *options, COLUMNS=str(columns))
    assert (done.code, done.err) == (0, "")
    assert masked(done.out) == snapshot


@pytest.mark.slow
@pytest.mark.usefixtures("injected")
def test_a_benchmark_in_markdown_looks_like_this(snapshot: SnapshotAssertion) -> None:
    assert masked(run("bench", "--output-format", "markdown").out) == snapshot


@pytest.mark.slow
@pytest.mark.usefixtures("injected")
def test_a_benchmark_in_ascii_has_every_figure_of_the_other() -> None:
    plain = run("bench", "--chart", encoding="ascii", COLUMNS="80").out
    fine = run("bench", "--chart", COLUMNS="80").out
    assert plain.isascii()
    assert "\\" not in plain
    assert "###" in plain
    figures = re.compile(r"[\d.]+(?:x| [mu]?s| [MG]iB|%)")
    assert figures.findall(plain) == figures.findall(fine.replace("µs", "us"))


@pytest.mark.slow
@pytest.mark.usefixtures("injected")
@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_nothing_is_cut_at_any_width(columns: int) -> None:
    narrow, broad = (run("bench", "--chart", COLUMNS=str(c)).out for c in (columns, 1000))
    assert "…" not in narrow
    words = [set(text.split()) for text in (narrow, broad)]
    assert not {w for w in words[1] - words[0] if re.search(r"\d", w)}
    tables = [line for line in narrow.splitlines() if not line.startswith("reproduce: ")]
    assert max(map(len, tables)) <= columns


@pytest.mark.usefixtures("injected")
def test_colour_says_nothing_that_is_not_said_in_words() -> None:
    colored = run("bench", "--color", "always", COLUMNS="200").out
    red, green = (re.findall(rf"\x1b\[{code}m([^\x1b]*\dx[^\x1b]*)", colored) for code in (31, 32))
    assert len(red) == 8
    assert all("0.999x" in cell for cell in red), "one that is faster than ours is red"
    assert len(green) == 20
    assert not any("0.999x" in cell for cell in green)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in colored.splitlines()]
    assert lines == run("bench", COLUMNS="200").out.splitlines()


def test_the_facts_name_what_the_processor_and_the_loops_ran_by() -> None:
    some = sample(shapes=(Shape(8, 16), Shape(128, 1000)))
    facts = facts_of(some)
    assert facts[1:3] == [
        "vector extensions: avx2, fma; NumPy runs exp float32 by AVX2, exp float64 by baseline",
        "our loops: Numba 0.1, compiled for some-cpu; NumPy's up to 128 logits",
    ]
    bare = dataclasses.replace(some.machine, vector_extensions=(), numpy_loops={})
    facts = facts_of(dataclasses.replace(some, machine=bare, numba=None))
    assert facts[1:3] == ["vector extensions: not told", "our loops: NumPy's"]


def facts_of(result: Benchmark) -> list[str]:
    """What is said of where a benchmark ran, a line each."""
    (facts,) = (b for b in document(result)[1] if isinstance(b, Facts))
    return list(facts.lines)


def test_bars_are_as_long_as_their_values() -> None:
    for ascii_only, wanted in ((True, 10), (False, 10)):
        drawn = drawn_bar(1.0, 4.0, 40, ascii_only=ascii_only)
        assert len(drawn) == wanted
    lengths = [len(drawn_bar(v, 100.0, 100, ascii_only=True)) for v in (0.001, 1.0, 50.0, 100.0)]
    assert lengths == [1, 1, 50, 100]


# --- for scripts --------------------------------------------------------------------------------


@pytest.mark.slow
def test_json_is_what_the_schema_says() -> None:
    done = told()
    assert (done.code, done.err) == (0, "")
    assert errors("benchmark", done.json) == []
    assert Draft202012Validator(SCHEMA).is_valid(done.json)
    cases = done.json["cases"]
    assert [(c["operation"], c["dtype"]) for c in cases] == [
        (o.name, d) for o in all_operations() if o.timed for d in TimedDtype
    ]
    assert {(c["rows"], c["classes"], c["threads"]) for c in cases} == {(3, 5, 1)}
    assert {tuple(t["implementation"] for t in c["timings"]) for c in cases} == {("stablemax", "numpy")}


@pytest.mark.slow
def test_the_schema_refuses_what_it_should() -> None:
    good = told().json
    changes: tuple[dict[str, Any], ...] = ({"kind": "timing"}, {"cases": []}, {"rates": []}, {"seed": -1}, {"extra": 1})
    for change in changes:
        assert errors("benchmark", good | change)


@pytest.mark.usefixtures("injected")
def test_ndjson_and_csv_hold_the_numbers_of_json_to_the_last_bit() -> None:
    flat = [
        {**{k: v for k, v in case.items() if k != "timings"}, **timing}
        for case in run("bench", "--output-format", "json").json["cases"]
        for timing in case["timings"]
    ]
    lines = [strict_json(line) for line in run("bench", "--output-format", "ndjson").out.splitlines()]
    assert [e for line in lines for e in errors("timing", line)] == []
    assert [{k: v for k, v in line.items() if k not in ("schema", "kind")} for line in lines] == flat
    columns = [*CASE_COLUMNS, *TIMING_COLUMNS, *LIMIT_COLUMNS]
    text = run("bench", "--output-format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    plain = [line.split("\t") for line in run("bench", "--output-format", "plain").out.splitlines()]
    assert plain == [columns, *([row[c] for c in columns] for row in rows)]
    for row, expected in zip(rows, flat, strict=True):
        assert set(row) == set(expected)
        for name, in_json in expected.items():
            value = math.inf if in_json == "Infinity" else in_json
            assert row[name] == ("" if value is None else repr(value) if isinstance(value, float) else str(value))


@pytest.mark.slow
def test_every_field_of_a_result_is_a_column() -> None:
    case = sample(shapes=(Shape(2, 3),)).cases[0]
    names = [f.name for of in (case, case.timings[0]) for f in dataclasses.fields(of)]
    assert sorted(n for n in names if n != "timings") == sorted((*CASE_COLUMNS, *TIMING_COLUMNS, *LIMIT_COLUMNS))


@pytest.mark.slow
def test_the_line_that_reproduces_a_run_has_all_that_was_asked_for() -> None:
    asked = (*ONE, "--operation", "logsumexp", "--seed", "4")
    line = run(*asked).out.splitlines()[-1]
    program, *again = shlex.split(line.removeprefix("reproduce: "))
    assert program == "stablemax"
    first, second = (run(*c, "--output-format", "json").json for c in (asked, again))
    assert first["command"] == second["command"] == [program, *again]
    assert (first["seed"], second["seed"]) == (4, 4)
    for case in (*first["cases"], *second["cases"]):
        del case["timings"], case["limit_s"], case["limit_share"], case["bound"]
    assert first["cases"] == second["cases"]


@pytest.mark.slow
def test_a_benchmark_goes_to_a_file(tmp_path: Path) -> None:
    target = tmp_path / "times.json"
    done = run(*ONE, "--output-format", "json", "-o", str(target))
    assert (done.code, done.out) == (0, "")
    assert errors("benchmark", strict_json(target.read_text(encoding="utf-8"))) == []


# --- exit codes ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("injected")
@pytest.mark.parametrize(("least", "code", "failed"), [("0.5", 0, 0), ("0.999", 0, 0), ("1", 1, 8), ("2", 1, 16)])
def test_fail_under_makes_a_check_of_it(least: str, code: int, failed: int) -> None:
    done = run("bench", "--fail-under", least)
    assert done.code == code
    if not failed:
        assert done.err == ""
        return
    lines = done.err.splitlines()
    # Four beside the softmax, three beside the loss, each for two shapes and two numbers of threads.
    assert lines[0] == f"failed: {failed} of 28 ratios below {least}x"
    assert lines[1].startswith("  torch 0.999x: ")
    assert lines[-1] == "  and 6 more" if failed > 10 else len(lines) == 1 + failed


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (("--shape", "3by5"), "--shape 3by5 is not ROWSxCLASSES", "two whole numbers: --shape 2048x32768"),
        (("--operation", "softmax_vjp"), "softmax_vjp is not timed", "one or more of: softmax, log_softmax"),
        (("--threads", "0"), "--threads 0 is out of range", "1 to "),
        (("--threads", "100000"), "--threads 100000 is out of range", "1 to "),
        (("--repeat", "0"), "--repeat 0 is out of range", "1 or more"),
        (("--fail-under", "0"), "--fail-under 0.0 is out of range", "a ratio above 0: --fail-under 1"),
        (("--fail-under", "nan"), "--fail-under nan is out of range", "a ratio above 0: --fail-under 1"),
        (("--output-format", "junit"), "a benchmark is not written as junit", "--output-format table, plain, json"),
        (("--shape", "999999999999x1000"), "999999999999x1000 in float32 is left out", "a smaller --shape"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_before_anything_is_timed(options: tuple[str, ...], message: str, hint: str) -> None:
    done = run("bench", *options)
    assert_refused(done, message, hint)
