"""Long tables: row, class and value a line, in any order, give the logits that a wide table gives."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.inputs.file_format import OpenedFile, TableOptions
from stablemax.inputs.formats.table import open_table, visit_cells
from stablemax.inputs.open import open_files

if TYPE_CHECKING:
    from pathlib import Path

    from stablemax.inputs.stored import StoredArray

    from .conftest import Refusal

X = np.random.default_rng(6).normal(size=(7, 5))
LINES = [f"{n},{k},{X.tolist()[n][k]!r}" for n in range(7) for k in range(5)]


def file_of(text: str, **options: Any) -> OpenedFile:
    return OpenedFile(io.BytesIO(text.encode()), "x.csv", table=TableOptions(**options))


def read(text: str, **options: Any) -> StoredArray:
    return open_table(file_of(text, **options))


@pytest.mark.parametrize("header", ["row,class,value", "sample,class,logit", "example,col,score", "Row;Class;Logit"])
@pytest.mark.parametrize(
    "order",
    [np.arange(35), np.arange(35)[::-1], np.random.default_rng(1).permutation(35)],
    ids=["in-order", "backwards", "mixed"],
)
def test_lines_in_any_order_give_the_logits(header: str, order: np.ndarray) -> None:
    lines = [LINES[place] for place in order]
    text = "\n".join([header, *(line.replace(",", ";") if ";" in header else line for line in lines)])
    stored = read(text)
    assert stored.array.tolist() == X.tolist()
    assert stored.notes[-1] == "x.csv: lines of row, class and value taken as 7 rows x 5 classes"
    printed: list[list[str]] = []
    visit_cells(file_of(text), printed.append)
    assert [[float(cell) for cell in row] for row in printed] == X.tolist()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (LINES[:-1], "has row 6, class 4 nowhere"),
        ([*LINES[:3], *LINES[4:]], "has row 0, class 3 nowhere"),
        ([*LINES, LINES[7]], "has row 1, class 2 twice"),
        ([*LINES[:-1], LINES[3]], "has row 0, class 3 twice"),
        ([*LINES, "0.5,1,2"], "has row 0.5, class 1"),
        ([*LINES, "-1,1,2"], "has row -1, class 1"),
        ([*LINES, "nan,1,2"], "has row nan, class 1"),
        (["0,1e300,2"], "has row 0, class 1e+300"),
        (["1,1,2.5"], "has row 1, class 1"),
    ],
)
def test_a_table_that_lacks_a_logit_or_has_it_twice_is_refused(lines: list[str], says: str, refusal: Refusal) -> None:
    text = "\n".join(["row,class,value", *lines])
    error = refusal(read, text)
    assert says in error.message
    # The hint works when it is followed.
    assert "--header" in error.hint
    assert read(text, header=True).shape == (len(lines), 3)


@pytest.mark.parametrize("options", [{"header": True}, {"label_column": "class"}, {"index_column": True}], ids=str)
def test_options_about_the_columns_read_the_table_as_they_say(options: dict[str, Any]) -> None:
    assert read("\n".join(["row,class,value", *LINES]), **options).shape == (35, 3 if "header" in options else 2)


def test_a_table_of_labels_and_scores_is_no_long_table() -> None:
    assert read("id,label,score\n0,1,0.5\n1,0,0.25\n", label_column="label").array.tolist() == [[0.5], [0.25]]
    assert read("id,label,score\n0,1,0.5\n1,0,0.25\n").shape == (2, 2)


# --- names in place of numbers ----------------------------------------------------------------------

NAMES = ["dog", "cat", "10", "bird", "2"]
BY_NAME = sorted(range(5), key=NAMES.__getitem__)
NAMED = [f"{n},{NAMES[k]},{X.tolist()[n][k]!r}" for n in range(7) for k in range(5)]


@pytest.mark.parametrize("order", [np.arange(35), np.random.default_rng(1).permutation(35)], ids=["in-order", "mixed"])
def test_names_of_classes_give_the_columns_in_the_order_of_the_names(order: np.ndarray) -> None:
    text = "\n".join(["row,class,logit", *(NAMED[place] for place in order)])
    stored = read(text)
    assert stored.class_names == tuple(sorted(NAMES))
    assert stored.array.tolist() == X[:, BY_NAME].tolist()
    assert "x.csv: classes are numbered in the order of their names (10 = 0, 2 = 1, bird = 2, cat = 3, dog = 4)" in (
        stored.notes
    )
    printed: list[list[str]] = []
    visit_cells(file_of(text), printed.append)
    assert [[float(cell) for cell in row] for row in printed] == X[:, BY_NAME].tolist()


def test_names_of_rows_are_rows_in_the_order_in_which_they_appear() -> None:
    lines = [f"{name},{k},{k + 10 * n}" for n, name in enumerate(["b.jpg", "a.jpg", "c.jpg"]) for k in range(2)]
    stored = read("\n".join(["row,class,logit", *lines]))
    assert stored.array.tolist() == [[0, 1], [10, 11], [20, 21]]
    assert "x.csv: rows are numbered as they appear (b.jpg = 0, a.jpg = 1, c.jpg = 2)" in stored.notes


def test_a_large_table_of_names_is_read_block_by_block() -> None:
    rows = 40_000
    lines = [f"{n},{name},{n % 7}" for n in range(rows) for name in ("x", "y")]
    stored = read("\n".join(["row,class,logit", *lines]))
    assert stored.shape == (rows, 2)
    assert stored.array[:, 0].tolist() == [n % 7 for n in range(rows)]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (NAMED[:-1], "has row 6, class 1 (2) nowhere"),
        ([*NAMED, NAMED[7]], "has row 1, class 0 (10) twice"),
        ([*NAMED, "7,dgo,1"], "has row 0, class 4 (dgo) nowhere"),
        (["0,cat,x"], "column 3 (logit): 'x' is not a number"),
        (["0,cat,1", "0,dog"], "line 3 has 2 cells"),
    ],
)
def test_a_table_of_names_that_lacks_a_logit_is_refused_by_name(lines: list[str], says: str, refusal: Refusal) -> None:
    assert says in refusal(read, "\n".join(["row,class,logit", *lines])).message


def test_labels_may_be_the_names_of_a_long_table(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("\n".join(["row,class,logit", *NAMED]))
    (tmp_path / "y.csv").write_text("\n".join(["dog", "cat", "bird", "dog", "dog", "cat", "bird"]))
    problem = open_files([str(tmp_path / "x.csv")], [str(tmp_path / "y.csv")]).load()
    assert problem.labels is not None
    assert problem.labels.tolist() == [4, 3, 2, 4, 4, 3, 2]


@pytest.mark.parametrize("rows", [("0", "1"), ("b.jpg", "a.jpg")])
@pytest.mark.parametrize("classes", [("0", "1"), ("dog", "cat")])
def test_names_alone_are_said_to_be_numbered(rows: tuple[str, str], classes: tuple[str, str]) -> None:
    text = "row,class,value\n" + "".join(f"{r},{c},0.5\n" for r in rows for c in classes)
    notes = read(text).notes
    assert any("rows are numbered" in note for note in notes) is (rows[0] == "b.jpg")
    assert any("classes are numbered" in note for note in notes) is (classes[0] == "dog")


@pytest.mark.parametrize("value", ['"""1"""', '"1,5"', '"1""5"', '"1,5,2"'])
@pytest.mark.parametrize("names", [("0", "0"), ("a", "0"), ("0", "cat"), ("a", '"c,""d"""')])
def test_a_value_in_quotes_is_what_stands_in_them(value: str, names: tuple[str, str], refusal: Refusal) -> None:
    """Quotes come off once: what is left of a cell is no line of several cells, and no number in further quotes."""
    lines = [f"{','.join(names)},2.5", f"{','.join(names)},{value}"]
    assert read(f"row,class,value\n{lines[0]}\n").array.tolist() == [[2.5]]
    inner = value[1:-1].replace('""', '"')
    assert (
        f"line 3, column 3 (value): '{inner}' is not a number"
        in refusal(read, "\n".join(["row,class,value", *lines])).message
    )
