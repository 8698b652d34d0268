"""Documents on a terminal and in Markdown: whole at any width, in any encoding, with nothing that is obeyed."""

from __future__ import annotations

from typing import get_type_hints

import pytest

from stablemax.render import document as model
from stablemax.render import html_blocks, markdown, terminal
from stablemax.render.console import Surface
from stablemax.text.outcomes import OUTCOMES, Outcome
from stablemax.text.suggest import nearest, suggest

BLOCKS = [kind for kind in vars(model).values() if isinstance(kind, type) and issubclass(kind, model.Block)]


def test_every_block_has_a_place_in_each_writer() -> None:
    blocks = set(BLOCKS) - {model.Block}
    assert len(blocks) > 10
    assert set(terminal.LAID) | set(terminal.WHOLE) == blocks
    assert not set(terminal.LAID) & set(terminal.WHOLE)
    assert set(markdown.BLOCKS) == blocks
    assert set(html_blocks.BLOCKS) == blocks


def test_the_model_knows_no_terminal_and_no_markdown() -> None:
    for kind in BLOCKS:
        assert not any(
            "rich" in str(hint) for hint in get_type_hints(kind, {**vars(model), "Outcome": Outcome}).values()
        )


def matrix(count: int) -> model.Matrix:
    cell = model.Cell(model.Span(" not a number 50%", sign=Outcome.NAN), model.Span(" NaN\n50%", sign=Outcome.NAN))
    columns = tuple(model.Column(f"column{i}") for i in range(count))
    return model.Matrix("title", columns, (model.Span("row"),), ((cell,) * count,))


def test_a_matrix_that_fits_stands_on_one_line_and_one_that_does_not_is_spread_over_tables() -> None:
    document = ((matrix(6),),)
    wide = terminal.written(document, Surface(200))
    assert wide.count("✗ not a number 50%") == 6
    assert wide.count("title") == 1
    narrow = terminal.written(document, Surface(40))
    assert narrow.count("✗ NaN") == narrow.count("50%") == 6
    assert narrow.count("title") == 2
    assert max(map(len, narrow.splitlines())) <= 40


def test_groups_of_columns_stand_apart_only_where_there_is_little_room() -> None:
    cell = model.Cell(model.Span("x" * 12))
    columns = tuple(model.Column("c", f"{group} c", group) for group in ("first", "second") for _ in range(2))
    document = ((model.Matrix("", columns, (model.Span("r"),), ((cell,) * 4,)),),)
    assert "first c" in terminal.written(document, Surface(100))
    heads = [line.split()[0] for line in terminal.written(document, Surface(40)).splitlines() if " c" in line]
    assert heads == ["first", "second"]


def test_a_pinned_column_stands_once_at_the_end_of_the_first_table() -> None:
    cells = tuple(model.Cell(model.Span("x" * 14)) for _ in range(5))
    columns = (*(model.Column(f"column{i}") for i in range(4)), model.Column("limit", is_pinned=True))
    document = ((model.Matrix("title", columns, (model.Span("r"),), (cells,), title_above=True),),)
    text = terminal.written(document, Surface(60))
    heads = [line.split() for line in text.splitlines() if "column" in line]
    assert heads == [["column0", "column1", "limit"], ["column2", "column3"]]
    assert max(map(len, text.splitlines())) <= 60


def test_signs_have_letters_where_the_encoding_has_no_others() -> None:
    document = ((model.Lines(((model.Span(" NaN ±3 µs", sign=Outcome.NAN),),)),),)
    assert terminal.written(document, Surface(80, ascii_only=True)) == "x NaN +-3 us\n"
    assert markdown.written(document, Surface(ascii_only=True)) == "- x NaN +-3 us\n"
    assert terminal.written(document, Surface(80)) == "✗ NaN ±3 µs\n"


def test_a_command_and_code_are_never_wrapped_and_the_command_runs_when_copied() -> None:
    command = model.Command(("stablemax", "loss", "a b.npy", *["--long-option"] * 20))
    text = terminal.written(((model.Code("code:", "x = 1\n" + "y" * 300), command),), Surface(40))
    assert "    " + "y" * 300 in text.splitlines()
    assert text.splitlines()[-1].startswith("reproduce: stablemax loss 'a b.npy' --long-option")


@pytest.mark.parametrize("text", ["plain", "with ` one", "with ``` three", "```\nfence\n```"])
def test_code_in_markdown_ends_where_it_should(text: str) -> None:
    written = markdown.written(((model.Code("", text, ""),),), Surface())
    fence = written.strip().splitlines()[-1]
    assert set(fence) == {"`"}
    assert written.count(fence) == 2
    assert fence not in text


def test_a_cell_in_markdown_ends_where_it_should() -> None:
    table = markdown.written(((model.Table(("a|b", "c"), (("x\ny", "|"),)),),), Surface())
    assert table == "| a\\|b | c |\n| --- | --- |\n| x y | \\| |\n"


# --- outcomes ------------------------------------------------------------------------------------

STRENGTH = ("yellow", "bold yellow", "red", "bold red")


def test_every_outcome_is_in_the_table_with_signs_of_its_own() -> None:
    assert list(OUTCOMES) == list(Outcome)
    for name in ("word", "glyph", "ascii_glyph", "sentence"):
        assert len({getattr(words, name) for words in OUTCOMES.values()}) == len(Outcome)
    assert all(len(w.glyph) == len(w.ascii_glyph) == 1 and w.ascii_glyph.isascii() for w in OUTCOMES.values())


def test_the_worse_a_failure_the_stronger_its_colour() -> None:
    failures = sorted((o for o in Outcome if o.is_failure), key=lambda o: o.severity)
    assert tuple(OUTCOMES[o].style for o in failures) == STRENGTH
    others = {OUTCOMES[o].style for o in Outcome if not o.is_failure}
    assert not others & set(STRENGTH)


def test_colours_are_those_that_every_terminal_has() -> None:
    document = ((model.Lines(tuple((model.Span(" x", sign=o),) for o in Outcome)),),)
    text = terminal.written(document, Surface(80, color=True))
    assert "\x1b[9" not in text  # a bright colour is not one of the eight
    assert "38;5" not in text


# --- did you mean --------------------------------------------------------------------------------


def test_the_nearest_name_is_suggested_before_the_hint() -> None:
    assert nearest("softmx", iter(["logsumexp", "softmax"])) == "softmax"
    assert suggest("softmx", ["softmax"], "list them") == "did you mean softmax? list them"
    assert suggest("softmx", ["softmax"]) == "did you mean softmax?"
    assert suggest("zzz", ["softmax"], "list them") == "list them"
    assert suggest("softmx", ["softmax"], cutoff=0.99) == ""


def test_did_you_mean_is_asked_in_one_module() -> None:
    from pathlib import Path

    import stablemax

    package = Path(stablemax.__file__).parent
    users = [p.relative_to(package).as_posix() for p in package.rglob("*.py") if "difflib" in p.read_text("utf-8")]
    assert users == ["text/suggest.py"]
