"""`stablemax sweep` as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from .running import assert_refused, run, strict_json

SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
QUICK = ("sweep", "--variant", "softmax/naive", "--variant", "softmax/shifted", "--steps", "5")
FLOAT32 = (*QUICK, "--format", "float32")
BROKEN = ("softmax/naive", "float32", "88.72283", "88.72284", "NaN")


def complaints(document: Any) -> list[str]:
    validator = Draft202012Validator({"$ref": "#/$defs/sweep", "$defs": SCHEMA["$defs"]})
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(document)]


def test_the_finding_the_picture_and_the_table_say_where_it_breaks() -> None:
    done = run(*FLOAT32)
    assert (done.code, done.err) == (0, "")
    assert "right at 88.72283, NaN at 88.72284 in float32" in " ".join(done.out.split())
    assert "softmax/naive   ✓" in done.out
    reproduce = shlex.split(done.out.splitlines()[-1])
    assert run(*reproduce[2:]) == done
    table = [line.split() for line in done.out.splitlines()]
    assert ["softmax/naive", "88.72283", "88.72284", "NaN"] in table
    assert "none in float32: softmax/shifted" in done.out


@pytest.mark.parametrize("changes", [{}, {"encoding": "ascii"}, {"COLUMNS": "60"}], ids=str)
def test_all_of_it_fits_the_terminal(changes: dict[str, str]) -> None:
    lines = run(*QUICK, "--format", "float16", **changes).out.splitlines()  # type: ignore[arg-type]
    assert max(len(line) for line in lines if not line.startswith("reproduce: ")) <= int(changes.get("COLUMNS", "80"))


def test_a_picture_of_five_values_has_its_breaking_point_where_it_is() -> None:
    done = run(*QUICK, "--format", "float16")
    (row,) = (line for line in done.out.splitlines() if line.startswith("softmax/naive   ✓"))
    signs = row.removeprefix("softmax/naive   ")
    # The logit 11.09 on an axis from 1 to 1e5.
    assert signs.count("✓") == int(math.log10(11.09375) / 5 * len(signs))


def test_plain_has_a_line_for_each_breaking_point() -> None:
    assert run(*FLOAT32, "--output-format", "plain").out == "\t".join(BROKEN) + "\n"


def test_json_holds_every_point_and_both_neighbours() -> None:
    done = run(*FLOAT32, "--output-format", "json")
    assert complaints(done.json) == []
    naive, shifted = done.json["lines"]
    assert [(b["below"]["outcome"], b["above"]["outcome"]) for b in naive["breaks"]] == [("ok", "nan")]
    assert shifted["breaks"] == []
    assert [point["value"] for point in naive["points"]][::4] == [1.0, 100000.0]


def test_csv_has_a_row_for_each_value_and_ndjson_a_record_for_each_break_too() -> None:
    rows = list(csv.DictReader(io.StringIO(run(*FLOAT32, "--output-format", "csv").out)))
    assert [row["outcome"] for row in rows if row["variant"] == "softmax/naive"] == ["ok", "ok", "nan", "nan", "nan"]
    records = [strict_json(line) for line in run(*FLOAT32, "--output-format", "ndjson").out.splitlines()]
    assert [record["kind"] for record in records] == ["break", *["point"] * 10]
    assert records[0]["above"]["value"] > records[0]["below"]["value"] > 88.7


def test_markdown_keeps_the_picture_as_it_is() -> None:
    text = run(*FLOAT32, "--output-format", "markdown").out
    assert "```\nfloat32\nsoftmax/naive   ✓" in text
    assert "| softmax/naive | 88.72283 | 88.72284 | NaN |" in text


def test_the_notebook_s_loss_curve_is_printed_and_drawn() -> None:
    done = run("sweep", "--preset", "notebook-d-gap", "--show-values", "--variant", "cross_entropy/compensated")
    rows = [line.split() for line in done.out.splitlines()]
    losses = [row[1] for row in rows if len(row) == 2 and row[0] in ("1", "0.998", "0.996", "0.994")]
    assert [f"{float(loss):.4f}" for loss in losses] == ["1.3133", "1.3118", "1.3103", "1.3089"]
    assert any("⣀" in line for line in done.out.splitlines())


def test_code_of_a_file_is_swept_in_a_process_of_its_own(tmp_path: Path) -> None:
    code = tmp_path / "my.py"
    code.write_text(
        "import numpy as np\n\ndef softmax(x):\n    print('hello')\n    e = np.exp(x)\n"
        "    return e / e.sum(axis=-1, keepdims=True)\n",
        encoding="utf-8",
    )
    command = ("--format", "float64", "--steps", "2", "--to", "1000", "--output-format", "plain")
    done = run("sweep", f"{code}:softmax", *command)
    assert (done.code, done.err) == (0, "")
    ((name, fmt, right, broken, outcome),) = (line.split("\t") for line in done.out.splitlines())
    assert (name, fmt, outcome) == (f"{code}:softmax", "float64", "NaN")
    assert 709.78 < float(right) < float(broken) < 709.79


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--over", "scael"), ("scael", "did you mean scale?")),
        (("--from", "5", "--to", "2"), ("--from 5 is not below --to 2", "--from 2 --to 5")),
        (("--from", "-1"), ("--from -1.0", "above 0")),
        (("--to", "nan"), ("--to nan", "above 0")),
        (("--over", "offset", "--log"), ("--log needs values above 0", "--from 1")),
        (("--over", "classes", "--from", "1.5"), ("--from 1.5 is not a whole number", "--from 2")),
        (("--over", "classes", "--to", "1e9"), ("out of range", "1,048,576")),
        (("--over", "rows", "--operation", "softmax"), ("softmax is not swept over rows", "--operation cross_entropy")),
        (("--steps", "1"), ("--steps 1", "2 or more")),
        (("--preset", "notebook-a"), ("notebook-a", "notebook-d-gap")),
        (("--preset", "notebook-d-gap", "--steps", "5"), ("--steps does not go with --preset",)),
        (("--arg", "temperature=2"), ("--arg is for TARGET", "my.py:softmax")),
        (("my.py:f", "--operation", "softmax", "--operation", "logsumexp"), ("names several",)),
        (("--variant", "nosuch"), ("nosuch", "stablemax list variants")),
    ],
    ids=str,
)
def test_a_mistake_is_told_with_what_to_do(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_refused(run("sweep", *arguments), *words)


def test_help_names_every_quantity_and_gives_examples() -> None:
    text = " ".join(run("sweep", "--help").out.split())
    assert "scale, offset, gap, classes, temperature or rows" in text
    assert text.count("stablemax sweep ") >= 3
