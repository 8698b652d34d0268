"""``explain``: every word has a page that reads at 80 columns, and whose commands can be pasted."""

from __future__ import annotations

import functools
import json
import math
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from stablemax.check.laws import LAW_NAMES
from stablemax.cli.app import build
from stablemax.comparing.explanation import explanation_of
from stablemax.explaining.hazard_pages import commands_for
from stablemax.explaining.kinds import KINDS
from stablemax.explaining.term_pages import term_page
from stablemax.explaining.word_explained import all_words, explained, meanings_of
from stablemax.glossary.terms import TERMS
from stablemax.hazards.catalogue import HAZARDS
from stablemax.libraries import find
from stablemax.numerics.formats import BFLOAT16, FLOAT64, FORMATS, get_format
from stablemax.operations import get_operation
from stablemax.operations.citations import CITATIONS
from stablemax.render import data, markdown, terminal
from stablemax.render.console import Surface
from stablemax.render.word_pages import PAGES, computed
from stablemax.results import Grade
from stablemax.sweeping import NAMES as QUANTITIES

from .running import assert_refused, run, strict_json

if TYPE_CHECKING:
    pass

SCHEMA = json.loads((Path(__file__).parent / "schema.json").read_text(encoding="utf-8"))
EVERY_TERM = pytest.mark.parametrize("name", TERMS)
# A word of each kind but variants, which have tests of their own, and a word with two meanings.
SAMPLES = {
    "ulp": "term",
    "cross_entropy": "operation",
    "shifted": "technique",
    "lost": "outcome",
    "stable": "grade",
    "bfloat16": "number_format",
    "leading-mask": "hazard",
    "rows-sum-to-1": "law",
    "notebook-c": "preset",
    "offset": "quantity",
    "overflow": "meanings",
    "hazards": "words",
}

page_of = functools.cache(term_page)


def assert_follows_the_schema(document: Any) -> None:
    assert not [e.message for e in Draft202012Validator(SCHEMA).iter_errors(document)]


# --- how it reads --------------------------------------------------------------------------------


@EVERY_TERM
@pytest.mark.parametrize("ascii_only", [False, True], ids=["signs", "ascii"])
def test_the_page_of_a_term_is_whole_at_80_columns(name: str, ascii_only: bool) -> None:
    page = page_of(name)
    document = PAGES[type(page)].document(page)
    lines = terminal.written(document, Surface(80, ascii_only=ascii_only)).splitlines()
    assert all(len(line) <= 80 or line.startswith("    stablemax ") for line in lines)
    assert not [line for line in lines if "…" in line or "..." in line]
    assert not ascii_only or all(line.isascii() for line in lines)
    for figure in page.figures:
        for row in figure.rows:
            # All numbers of a row on one line, beside its label: the table is not spread over two.
            numbers = [computed(c) for c in row.cells]
            pattern = re.escape(row.label) + "".join(rf"[ |]+(\S )?{re.escape(number)}" for number in numbers)
            assert any(re.fullmatch(pattern, line) for line in lines), row


@EVERY_TERM
def test_a_term_has_a_sentence_and_figures_that_are_computed(name: str) -> None:
    page = page_of(name)
    assert page.definition.endswith(".")
    assert page.definition[:-1].count(". ") == 0, "one sentence"
    assert page.figures
    assert page.see
    # Numbers of formats are computed, not typed in.
    assert not any(digit in page.definition for digit in "23456789")
    assert all(key in CITATIONS for key in TERMS[name].cites)


def test_a_sign_is_explained_beneath_the_figure_that_has_it() -> None:
    page = page_of("nan")
    text = terminal.written(PAGES[type(page)].document(page), Surface(80))
    assert "✗ nan" in text
    assert "✗ NaN: not a number where there is one" in text


def test_the_page_in_markdown_has_the_figures_as_tables() -> None:
    page = page_of("absorption")
    text = markdown.written(PAGES[type(page)].document(page), Surface())
    assert text.startswith("# absorption (term)\n")
    assert "| 256 + 1 in bfloat16 | 256 | 257 |" in text
    assert "```console\nstablemax explain ulp\n" in text


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_every_name_of_a_kind_and_every_alias_is_found_in_it(kind: Any) -> None:
    names = set(kind.names())
    for word, name in kind.spellings().items():
        assert kind.find(word) == name
        assert name in names


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("ULP", "ulp"),
        ("unit roundoff", "unit-roundoff"),
        ("machine epsilon", "unit-roundoff"),
        ("cross-entropy", "cross_entropy"),
        ("bce", "binary_cross_entropy"),
        ("bf16", "bfloat16"),
        ("e5m10", "e5m10"),
        ("NaN", "nan"),
        ("input overflow", "input-overflow"),
        ("grade", "grades"),
    ],
)
def test_a_word_is_found_however_it_is_spelled(words: str, name: str) -> None:
    assert meanings_of(words)[0].name == name


def test_a_word_that_is_not_known_gets_did_you_mean_over_all_kinds() -> None:
    for word, near in (("absorbtion", "absorption"), ("shiftd", "shifted"), ("bfloat61", "bfloat16")):
        assert_refused(run("explain", word), f"there is no word '{word}' to explain", f"did you mean {near}?")
    assert_refused(run("explain", "xyzzy"), "'xyzzy'", "stablemax explain, without a word")


def test_without_a_word_all_words_are_listed_by_kind() -> None:
    done = run("explain")
    assert (done.code, done.err) == (0, "")
    words = done.out.replace(",", " ").split()
    assert set(TERMS) <= set(words)
    assert {"naive", "softmax", "lost", "stable", "bfloat16"} <= set(words)
    assert max(map(len, done.out.splitlines())) <= 80


def test_several_words_are_one_name() -> None:
    assert run("explain", "unit", "roundoff").out == run("explain", "unit-roundoff").out


def test_a_word_with_two_meanings_has_both_pages() -> None:
    out = run("explain", "overflow").out
    assert out.startswith("overflow is explained as a term and as an outcome.\n")
    assert out.index("overflow (term)") < out.index("overflow (outcome)")


def test_terms_are_listed_with_what_they_are() -> None:
    listed = run("list", "terms", "--output-format", "json").json
    assert [t["name"] for t in listed["terms"]] == list(TERMS)
    assert_follows_the_schema(listed)


@functools.cache
def page_of_word(word: str) -> Any:
    return explained(word, meanings_of(word))


@pytest.mark.parametrize("word", SAMPLES)
def test_the_json_of_a_page_says_its_kind_and_follows_the_schema(word: str) -> None:
    page = page_of_word(word)
    kind = PAGES[type(page)]
    told = strict_json(data.document(kind.kind, kind.content(page)))
    assert told["kind"] == SAMPLES[word]
    assert_follows_the_schema(told)


@pytest.mark.parametrize("word", SAMPLES)
def test_a_page_of_any_kind_is_whole_at_80_columns(word: str) -> None:
    page = page_of_word(word)
    text = terminal.written(PAGES[type(page)].document(page), Surface(80, ascii_only=True))
    assert all(len(line) <= 80 or line.startswith("    ") for line in text.splitlines())
    assert text.isascii()


@pytest.mark.parametrize("grade", [g for g in Grade if g is not Grade.BROKEN])
def test_every_grade_of_a_formula_is_shown_by_formulas_that_have_it(grade: Grade) -> None:
    page = page_of_word(grade.value)
    assert page.variants
    assert {v.grade for v in page.variants} == {grade}


@pytest.mark.parametrize("name", FORMATS)
def test_the_page_of_a_format_shows_where_exp_breaks_and_no_infinity_as_exact(name: str) -> None:
    fmt, (_, exponentials) = get_format(name), page_of_word(name).figures
    broken = {row.label: row.cells for row in exponentials.rows}
    assert broken["overflows"][0].value == fmt.exp_overflow.first_bad
    assert broken["underflows"][1].value == 0
    assert all(math.isfinite(cells[2].value) for cells in broken.values() if "exact" in exponentials.columns)


def test_a_page_is_written_by_the_command_in_every_form() -> None:
    assert run("explain", "bf16", "--output-format", "json").json["precision"] == BFLOAT16.precision
    assert run("explain", "bf16", "--output-format", "markdown").out.startswith("# bfloat16 (number format)\n")
    assert run("explain", "bf16", "--output-format", "plain").out == run("explain", "bf16").out
    assert_refused(run("explain", "ulp", "--output-format", "csv"), "csv", "markdown")


# --- what has no value ---------------------------------------------------------------------------


def test_nan_where_no_value_exists_is_not_shown_like_a_failure() -> None:
    out = run("explain", "softmax/shifted", COLUMNS="200").out
    assert "○ undefined: row-all-neg-inf, positive-infinity (no value exists; it gives NaN, as it should)" in out
    assert "✗" not in out


def test_a_hazard_without_a_value_fails_nobody() -> None:
    failing = {v.variant for v in page_of_word("positive-infinity").variants if not v.grade.is_sound}
    assert not [name for name in failing if name.startswith("softmax/")]
    assert "sigmoid/exp-ratio" in failing, "a sigmoid of infinity is 1"
    out = run("explain", "no-rows").out
    assert "○ undefined: 8 of 8 formulas, where no value exists" in out
    assert "✓" not in out


def test_a_trace_shows_the_nan_of_a_row_without_a_value_as_no_failure() -> None:
    out = run("trace", "softmax/shifted", "--hazard", "row-all-neg-inf", COLUMNS="400").out
    assert "○ NaN 2 of 2" in out
    assert "✗" not in out
    assert "○ undefined: the formula has no value there" in out
    assert "✗ NaN" in run("trace", "softmax/naive", "--hazard", "large-logits").out


# --- commands to paste ---------------------------------------------------------------------------


@functools.cache
def command_line() -> Any:
    return typer.main.get_command(build())


def check_command(line: str) -> None:
    """Parse a command line without running it, and look up every name in it."""
    program, *words = shlex.split(line)
    assert program == "stablemax"
    group = command_line()
    name, command, rest = group.resolve_command(group.context_class(group), words)
    given = command.make_context(name, list(rest)).params
    if name == "explain":
        assert meanings_of(" ".join(given["word"]))
    if given.get("target"):
        find(given["target"])
    operations = given.get("operation") or ()
    for operation in [operations] if isinstance(operations, str) else operations:
        get_operation(operation)
        assert given.get("hazard") is None or HAZARDS[given["hazard"]].concerns(get_operation(operation))
    for hazard in (given.get("hazard"), *(given.get("only") or ())):
        assert hazard is None or hazard in HAZARDS, line
    assert given.get("over") in (None, *QUANTITIES), line
    number_format = given.get("number_format") or ()
    for fmt in [number_format] if isinstance(number_format, str) else number_format:
        get_format(fmt)


@EVERY_TERM
def test_every_command_of_a_term_can_be_pasted(name: str) -> None:
    for command in page_of(name).see:
        check_command(command)
        assert command != f"stablemax explain {name}"


@pytest.mark.parametrize("word", [w for w, kind in SAMPLES.items() if kind not in ("meanings", "words", "term")])
def test_every_command_of_another_page_can_be_pasted(word: str) -> None:
    for command in page_of_word(word).see:
        check_command(command)


@pytest.mark.parametrize("variant", ["softmax/naive", "softmax_vjp/wide", "sigmoid/tanh"])
def test_every_command_of_a_variant_can_be_pasted(variant: str) -> None:
    for command in explanation_of(find(variant)).see:
        check_command(command)


def test_every_command_about_a_hazard_can_be_pasted() -> None:
    # One of each sort: of all operations, of one, with needs, without logits.
    for name in ("gentle", "largest-upstream", "weights-far-apart", "no-rows"):
        for command in commands_for(HAZARDS[name]):
            check_command(command)


def test_a_command_with_a_wrong_name_is_seen() -> None:
    for command in ("stablemax compare --hazard nowhere", "stablemax explain xyzzy", "stablemax sweep --over nope"):
        with pytest.raises(Exception, match=r"nowhere|xyzzy|nope"):
            check_command(command)


def test_every_law_that_a_check_may_name_has_a_page() -> None:
    (laws,) = (kind for kind in KINDS if kind.name == "law")
    assert set(laws.names()) == set(LAW_NAMES)


def test_completion_knows_every_word() -> None:
    words = all_words()
    assert len(words) == len(set(words))
    assert {"ulp", "softmax/shifted", "naive", "collapse", "bf16", "lost", "accurate"} <= set(words)
    (parameter,) = (p for p in command_line().commands["explain"].params if p.name == "word")
    assert FLOAT64.name in {item.value for item in parameter.shell_complete(None, "float")}
