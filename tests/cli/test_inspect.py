"""``stablemax inspect``: what it prints, what scripts read, and when it fails."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from stablemax.cli.inspect import FAILURES

from .running import assert_refused, run, strict_json

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def errors(document: Any) -> list[str]:
    validator = Draft202012Validator({"$ref": "#/$defs/inspection", "$defs": SCHEMA["$defs"]})
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(document)]


@pytest.fixture
def dump(desk: Path) -> Path:
    """Write logits of every kind of row, with labels."""
    x = np.array(
        [
            [0.0, 1.5, 3.25, -2.0],
            [100.0, 20.0, 0.0, -5.0],
            [-np.inf, 1.0, 2.0, 3.0],
            [np.nan, 1.0, np.inf, 0.0],
            [-np.inf, -np.inf, -np.inf, -np.inf],
            [7.0, 7.0, 7.0, 7.0],
            [70000.0, 3.0, 2.0, 1.0],
            [-150.0, -140.0, -148.5, -141.0],
        ],
        np.float32,
    )
    np.save("dump.npy", x)
    np.save("labels.npy", np.array([2, 0, 0, 1, 1, 3, -100, 1]))
    return desk


# --- how it looks -------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [45, 80, 200])
def test_an_inspection_looks_like_this(columns: int, dump: Path, snapshot: SnapshotAssertion) -> None:
    done = run("inspect", "dump.npy", "labels.npy", COLUMNS=str(columns))
    assert (done.code, done.err) == (0, "")
    assert done.out == snapshot
    assert max(map(len, done.out.splitlines()[:-1])) <= columns


def test_without_labels_the_loss_is_of_the_most_likely_class(dump: Path, snapshot: SnapshotAssertion) -> None:
    done = run("inspect", "dump.npy", "--format", "float16", "--format", "float32")
    assert done.out == snapshot
    assert "each row's most likely class" in done.out


def test_colour_adds_nothing_that_the_words_do_not_say(dump: Path) -> None:
    plain, coloured = run("inspect", "dump.npy"), run("inspect", "dump.npy", "--color", "always")
    assert coloured.out != plain.out
    assert [line.rstrip() for line in ANSI.sub("", coloured.out).split("\n")] == plain.out.split("\n")


def test_an_ascii_terminal_gets_ascii(dump: Path) -> None:
    out = run("inspect", "dump.npy", encoding="ascii").out
    assert out.isascii()
    assert "\\u" not in out
    assert "x NaN" in out


def test_the_last_line_is_a_command_that_gives_the_same(dump: Path) -> None:
    first = run("inspect", "dump.npy", "labels.npy", "--ignore-index", "-7", "--format", "float16", "--axis", "1")
    assert first.code == 2  # -100 is no class then
    first = run("inspect", "dump.npy", "labels.npy", "--format", "float16", "--axis", "1")
    command = first.out.splitlines()[-1].removeprefix("reproduce: stablemax ")
    assert run(*command.split()).out == first.out


def test_rough_quantiles_say_to_how_many_digits_they_are_right(desk: Path) -> None:
    np.save("many.npy", np.random.default_rng(0).standard_normal((100_000, 3)))
    out = run("inspect", "many.npy").out
    assert "between min and max to 3 digits: maximum, spread and gap" in out


@pytest.mark.slow
@pytest.mark.parametrize("columns", range(40, 180, 7))
def test_no_width_cuts_a_number_or_a_word(columns: int, dump: Path) -> None:
    def words(width: int) -> set[str]:
        done = run("inspect", "dump.npy", "labels.npy", COLUMNS=str(width))
        # Too narrow for a table, its lines become "name: value".
        return {word.strip(":") for word in done.out.split() if "─" not in word}

    # "of each row" heads the first column of a table only.
    assert words(400) <= words(columns) | {"each"}


# --- what scripts read --------------------------------------------------------------------------


def test_json_is_what_the_schema_says(dump: Path) -> None:
    found = run("inspect", "dump.npy", "labels.npy", "--output-format", "json").json
    assert errors(found) == []
    assert (found["rows"], found["judged_rows"], found["counted_rows"]) == (8, 6, 5)
    np.save("none.npy", np.full((2, 3), np.nan))
    assert errors(run("inspect", "none.npy", "--output-format", "json").json) == []


def test_the_schema_refuses_what_it_should(dump: Path) -> None:
    found = run("inspect", "dump.npy", "--output-format", "json").json
    for key, wrong in {"rows": -1, "smallest": None, "accuracy": 2, "extra": 1, "kind": "loss"}.items():
        assert errors({**found, key: wrong}), key
    for key in ("sightings", "quantiles", "forecasts", "formats"):
        assert errors({**found, key: []}), key
    forecast = found["forecasts"][0]
    assert errors({**found, "forecasts": [{**forecast, "worst": "bad"}]})


def test_ndjson_is_the_lists_of_the_json_one_a_line(dump: Path) -> None:
    found = run("inspect", "dump.npy", "--output-format", "json").json
    lines = [strict_json(line) for line in run("inspect", "dump.npy", "--output-format", "ndjson").out.splitlines()]
    kinds = {"sighting": "sightings", "quantiles": "quantiles", "forecast": "forecasts"}
    for kind, name in kinds.items():
        of_kind = [{k: v for k, v in line.items() if k not in ("schema", "kind")} for line in lines]
        assert [one for one, line in zip(of_kind, lines, strict=True) if line["kind"] == kind] == found[name]


def test_csv_is_a_line_for_each_formula_in_each_format(dump: Path) -> None:
    found = run("inspect", "dump.npy", "--output-format", "json").json
    rows = list(csv.DictReader(io.StringIO(run("inspect", "dump.npy", "--output-format", "csv").out)))
    assert len(rows) == len(found["forecasts"]) == 36
    for row, forecast in zip(rows, found["forecasts"], strict=True):
        assert (row["format"], row["formula"], row["operation"]) == tuple(
            forecast[k] for k in ("format", "formula", "operation")
        )
        judged = next(f for f in found["formats"] if f["format"] == row["format"])
        assert (json.loads(row["safe"]), float(row["tied"])) == (judged["safe"], judged["tied"])
        shares = {k: float(row[k]) for k in forecast["shares"]}
        assert shares == forecast["shares"]
        assert abs(sum(shares.values()) - 1) <= 4 * 2.0**-53


def test_markdown_and_plain_are_written(dump: Path, snapshot: SnapshotAssertion) -> None:
    assert run("inspect", "dump.npy", "labels.npy", "--output-format", "markdown").out == snapshot
    plain = run("inspect", "dump.npy", "--output-format", "plain").out.splitlines()
    assert {line.count("\t") for line in plain} == {13}


@pytest.mark.parametrize(
    "options", [("--threads", "1"), ("--threads", "3"), ("--memory", "28MB"), ("--threads", "2", "--memory", "30MB")]
)
def test_threads_and_memory_change_nothing(options: tuple[str, ...], desk: Path) -> None:
    rng = np.random.default_rng(0)
    np.save("a.npy", (rng.standard_normal((700, 900)) * 9).astype(np.float32))
    np.save("b.npy", (rng.standard_normal((300, 900)) * 9).astype(np.float32))
    assert run("inspect", "?.npy", "--labels", "l.npy").code == 2
    command = ("inspect", "[ab].npy", "--output-format", "json", "-q")
    assert run(*command, *options).out == run(*command).out


# --- when it fails ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("nan", "1 row with a NaN; the first is row 3 of dump.npy"),
        ("inf", "1 row with a +inf; the first is row 3 of dump.npy"),
        ("masked-row", "1 row of nothing but -inf; the first is row 4 of dump.npy"),
        ("constant-row", "1 row with all logits equal; the first is row 5 of dump.npy"),
        ("label-masked", "2 rows whose label is at -inf; the first is row 2 of dump.npy"),
    ],
)
def test_what_fail_on_asks_for_fails_with_its_place(what: str, line: str, dump: Path) -> None:
    done = run("inspect", "dump.npy", "labels.npy", "--fail-on", what)
    assert done.code == 1
    assert f"failed: {line}\n" in done.err
    assert run("inspect", "x.npy", "y.npy", "--fail-on", what).code == 0


def test_an_unsafe_format_fails_and_a_safe_one_does_not(desk: Path) -> None:
    np.save("large.npy", np.array([[7e4, 7e4, 0.0]]))
    done = run("inspect", "large.npy", "--format", "float16", "--format", "float32", "--fail-on", "nan,unsafe")
    assert (done.code, done.err) == (1, "failed: float16 is not safe for these logits\n")
    assert run("inspect", "large.npy", "--format", "float32", "--fail-on", "unsafe").code == 0


def test_every_failure_is_listed_when_one_is_misspelt(desk: Path) -> None:
    done = run("inspect", "x.npy", "--fail-on", "nans")
    assert_refused(done, "there is nothing called 'nans'")
    assert all(name in done.err for name in FAILURES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x.npy", "--fail-on", "unsafe"), "none is named"),
        (("x.npy", "--output-format", "junit"), "an inspection is not written as junit"),
        (("x.npy", "soft.npy"), "soft targets of shape (3, 4)"),
        (("nowhere.npy",), "nowhere.npy"),
        (("x.npy", "--memory", "9MB"), "give at least 27MB"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint(arguments: tuple[str, ...], words: str, desk: Path) -> None:
    np.save("soft.npy", np.full((3, 4), 0.25))
    assert_refused(run("inspect", *arguments), words)
