"""Lists in text: what Python, NumPy, torch and JSON print is read as the numbers that it shows."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.inputs.file_format import OpenedFile, TableOptions
from stablemax.inputs.formats.table import open_table, visit_cells
from stablemax.inputs.open import open_array

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.inputs.stored import StoredArray

    from .conftest import Refusal

X = np.random.default_rng(4).normal(size=(5, 12)).round(4) * 100
X[1, 2], X[3, 4] = -np.inf, np.nan


def file_of(text: str, **options: Any) -> OpenedFile:
    return OpenedFile(io.BytesIO(text.encode()), "x.csv", table=TableOptions(**options))


def read(text: str, *, plain: str = ",", **options: Any) -> StoredArray:
    return open_table(file_of(text, **options), delimiter=plain)


def as_tensor(row: np.ndarray) -> str:
    numbers = ", ".join(f"{v:.4f}" for v in row.tolist())
    return f"tensor([{numbers}], device='cuda:0', grad_fn=<AddmmBackward0>)"


PRINTED: dict[str, Callable[[np.ndarray], str]] = {
    "str": str,
    "repr": repr,
    "list": lambda row: str(row.tolist()),
    "scalars": lambda row: str(list(row)),
    "json": lambda row: json.dumps(row.tolist()).replace("Infinity", "inf").replace("NaN", "nan"),
    "tensor": as_tensor,
    "within another": lambda row: str(row[np.newaxis]),
}


@pytest.mark.parametrize("form", PRINTED)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [True, False])
def test_a_column_of_printed_rows_is_read_whoever_printed_them(form: str, delimiter: str, header: bool) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    if header:
        writer.writerow(["file", "logits", "y"])
    writer.writerows([f"{n}.jpg", PRINTED[form](row), n] for n, row in enumerate(X))
    stored = read(text.getvalue(), label_column="y" if header else "2")
    np.testing.assert_allclose(stored.array, X, rtol=0, atol=1e-9)
    assert stored.labels is not None
    assert stored.labels.array.tolist() == list(range(5))
    assert "holds a list a row, taken as the logits" in stored.notes[-1]


@pytest.mark.parametrize(
    "text",
    [
        str(X),
        repr(X),
        str(X.tolist()),
        "\n".join(str(row.tolist()) for row in X),
        "\n".join(map(str, X.tolist())) + ",\n",
        f"tensor({X.tolist()}, dtype=torch.float64, grad_fn=<AddmmBackward0>)\n",
        "\n".join(map(as_tensor, X)),
        f"# made by hand\n{X}\n\n",
    ],
    ids=["str", "repr", "nested", "a-list-a-line", "commas-between", "tensor", "tensors", "comment"],
)
def test_a_printed_array_is_read_whole(text: str) -> None:
    stored = read(text)
    np.testing.assert_allclose(stored.array, X, rtol=0, atol=1e-9)
    assert stored.notes == ("x.csv: each list is taken as a row of logits",)


def test_unquoted_lists_are_not_cut_at_their_commas() -> None:
    assert read("a.jpg,[1, 2, 3],2\nb.jpg,[4, 5, 6],0\n", label_column="2").array.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_the_digits_of_lists_are_those_that_are_printed() -> None:
    rows: list[list[str]] = []
    visit_cells(file_of("[0.50, 1.25]\n[2, 3]\n"), rows.append)
    assert rows == [["0.50", "1.25"], ["2", "3"]]


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        (str(np.arange(5000.0)), "shortened when it was printed", "numpy.save"),
        (str(np.zeros((2, 2, 2))), "more than two dimensions", "numpy.save"),
        ('a,"[1 2]"\nb,"[1 2 3]"\n', "line 2 has a list of 3, but the first list has 2", "nan"),
        ('a,"[1 two]"\n', "line 1, in the list: 'two' is not a number", "decimal"),
        ('a,"[1 -1.#IND]"\n', "line 1, in the list: '-1.#IND' is not a number", "nan"),
        ('a,b\n"[1 2]","[3 4]"\n', "2 columns hold lists: 1 (a), 2 (b)", "keep the column of the logits"),
        ('name,x\na,"[1\n 2]"\nb,oops\n', "line 4: 'b,oops' has no list in column 2", "quotes"),
        ('name,x,y\na,"[1 2]",cat\n', "line 2: the label 'cat' is no class number", "from 0 on"),
        ("1,2\n[3,4]\n", "line 1 has no list, and a line near it has one: '1,2'", "--header"),
        ("[1, 2, 3", "line 1: a list is not closed", "cut off"),
        ('# a comment\n\na,"[1 2]"\nb,"[1 2"\n', "line 4: a list is not closed", "cut off"),
        ('\n\na,"[1\n2]"\n\nb,oops\n', "line 6: 'b,oops' has no list in column 2", "quotes"),
        ('a,"[1 2]"\nb,"[1 2"\n', "line 2: a list is not closed", "cut off"),
        ("(1, 2)\n(3, 4)\n", "'(1' is not a number", "sed"),
        ("logits: [1, 2, 3]\n", "'logits: [1' is not a number", "without names"),
        ("[1e400, 2]", "line 1, in the list: '1e400' is outside float64", "inf"),
    ],
)
def test_what_is_not_certain_is_refused_with_its_line(text: str, says: str, hint: str, refusal: Refusal) -> None:
    error = refusal(read, text, label_column="y" if ",y" in text else None)
    assert says in error.message
    assert hint in error.hint


def test_a_table_without_lists_is_read_as_before() -> None:
    assert read("x[0],x[1]\n1,2\n").array.tolist() == [[1, 2]]
    assert read("# of [3, 4]\n1,2\n").array.tolist() == [[1, 2]]


@pytest.mark.skipif(sys.platform == "win32", reason="needs sed")
@pytest.mark.parametrize("text", ["1,2,-1.#INF\n0.5,1.#QNAN,3\n", "1.#INF00e+000,-1.#IND00\n", "-1.#J,1.#R\n"])
def test_the_hint_about_infinities_of_windows_works_when_it_is_followed(
    text: str, tmp_path: Path, refusal: Refusal
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    hint = refusal(open_array, str(path)).hint
    command = hint[hint.index("sed ") :].replace("FILE", str(path))
    path.write_bytes(subprocess.run(command, shell=True, check=True, capture_output=True, timeout=60).stdout)
    words = {"INF": np.inf, "J": np.inf}
    cells = [cell for line in text.split() for cell in line.split(",")]
    found = open_array(str(path)).array.ravel().tolist()
    for cell, value in zip(cells, found, strict=True):
        if "#" in cell:
            right = next((v for k, v in words.items() if k in cell), np.nan) * (-1 if cell[0] == "-" else 1)
            np.testing.assert_equal(value, right)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["[" * 10**6, "[," * 10**6, "[1," * 10**5 + "]x", '"[,' * 10**5, "[]x," * 10**5, "[1]\n" * 10**5 + "["]
)
def test_brackets_that_do_not_match_are_refused_in_linear_time(text: str, refusal: Refusal) -> None:
    assert refusal(read, text).hint
