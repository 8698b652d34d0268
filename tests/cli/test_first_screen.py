"""The first screen of `compare`: it fits on a small terminal, and says nothing that its table does not show."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stablemax.operations import all_operations
from stablemax.operations.variant import get, variants

from .running import run

INPUTS = [
    ("--scale", "1e5"),
    ("--scale", "1"),
    (),
    ("--hazard", "collapse"),
    ("--hazard", "row-all-neg-inf"),
    ("--preset", "notebook-c-loss"),
    ("--preset", "notebook-b"),
    ("--scale", "1e300"),
]
ids = [" ".join(words) or "default" for words in INPUTS]
FIGURE = re.compile(r"\d[\d.e]*%?")


@pytest.mark.parametrize("words", INPUTS, ids=ids)
def test_it_fits_on_24_lines_of_80_with_the_prompt_beneath(words: tuple[str, ...]) -> None:
    lines = run("compare", *words, COLUMNS="80").out.splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("words", INPUTS, ids=ids)
@pytest.mark.parametrize("width", [80, 200])
def test_every_figure_of_its_finding_stands_in_a_cell(words: tuple[str, ...], width: int) -> None:
    document = run("compare", *words, "--output-format", "json").json
    out = run("compare", *words, COLUMNS=str(width)).out
    table = out[out.index("exp(x) overflows above") :] if "exp(x)" in out else ""
    finding = document["finding"].replace("float16", "").replace("float32", "").replace("float64", "")
    for figure in FIGURE.findall(finding):
        assert figure.rstrip(".") in table, figure


def test_every_formula_stands_beside_its_name_and_fits_in_its_column() -> None:
    out = run("compare", COLUMNS="80").out
    for operation in (o for o in all_operations() if o.in_overview):
        for name in operation.main_variants:
            variant = get(f"{operation}/{name}")
            brief = variant.brief or variant.formula
            assert len(brief) <= 24
            assert re.search(rf"^ {name} +{re.escape(brief)} +\S", out, re.MULTILINE), variant.id


def test_the_main_variants_of_an_operation_exist_and_end_with_the_best() -> None:
    for operation in all_operations():
        names = [variant.name for variant in variants(operation)]
        assert set(operation.main_variants) <= set(names), operation
        assert operation.main_variants[-1] == operation.best


def test_a_format_that_cannot_hold_the_logits_is_words_not_a_column() -> None:
    lines = run("compare", "--scale", "1e5", COLUMNS="200").out.splitlines()
    header = next(line for line in lines if line.startswith("   "))
    assert header.split() == ["formula", "bfloat16", "float32", "float64"]
    assert any("float16 cannot hold these logits" in line for line in lines)


def test_formulas_whole_and_cells_with_units_stand_where_there_is_room() -> None:
    out = run("compare", "--scale", "1e5", COLUMNS="200").out
    assert get("softmax/compensated").formula in out
    assert "✗ NaN 52%" in out
    assert re.search(r"✓ ok 0\.\d\d ulp", out)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_more_formats_than_fit_beside_formulas_stand_in_tables_of_their_own(encoding: str) -> None:
    formats = [
        w for name in ("float8_e4m3fn", "float16", "tf32", "float64", "bfloat16", "float32") for w in ("--format", name)
    ]
    done = run("compare", "--scale", "1", *formats, COLUMNS="80", encoding=encoding)
    assert max(map(len, done.out.splitlines()[:-1])) <= 80
    for name in formats[1::2]:
        assert name in done.out
    assert "exp(x-m) / sum(exp(x-m))" in done.out


def test_tables_of_all_formulas_stand_side_by_side_where_there_is_room() -> None:
    wide = run("compare", "--all", COLUMNS="120").out
    assert re.search(r"^softmax .*float64 +cross_entropy ", wide, re.MULTILINE)
    narrow = run("compare", "--all", COLUMNS="80").out
    assert re.search(r"^softmax .*float64$", narrow, re.MULTILINE)
    assert sorted(wide.split()) != []
    assert {w for w in narrow.split() if w.startswith("≈")} == {w for w in wide.split() if w.startswith("≈")}


def test_what_to_type_next_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.array([[1000.0, 0.0], [3.0, 4.0]]))
    line = run("compare", "x.npy").out.splitlines()[-1]
    command = re.match(r"why: stablemax (explain \S+) \(or all formulas: add --all\)$", line)
    assert command is not None
    assert "softmax/naive" in run(*command[1].split()).out
    assert "softmax_vjp" in run("compare", "x.npy", "--all").out


def test_the_exact_row_stands_beneath_every_row_that_is_shown() -> None:
    out = run("compare", "--preset", "notebook-c", "--show-values", "2", "--format", "float32", COLUMNS="80").out
    shown = re.findall(r"^  row 1: (.*)\n +exact: (.*)$", out, re.MULTILINE)
    assert ("✗nan ✗nan ✗nan", "0.09003057 0.24472848 0.66524094") in shown
    assert len(shown) == len([o for o in all_operations() if o.in_overview]) * 3
