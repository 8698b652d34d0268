"""Lists in text: what Python, NumPy, torch and JSON print is read as the numbers that it shows."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.inputs.file_format import OpenedFile, TableOptions
from stablemax.inputs.formats.table import open_table, visit_cells
from stablemax.inputs.open import open_array
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.inputs.stored import StoredArray

    from .conftest import Peak, Refusal

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
        ('name,x,y\na,"[1 2]",1e400\n', "line 2: '1e400' is outside float64", "inf"),
        ("[1,, 2]\n", "line 1, in the list: '' is not a number", "decimal"),
        ("[,1]\n", "line 1, in the list: '' is not a number", "decimal"),
        ('name,x\n"[1 2]"\n', "line 2 has 1 cell, but the header has 2", "leave out that of the first one"),
        ('x,name,more\n"[1 2]",a\n', "line 2 has 2 cells, but the header has 3", "name"),
        ('name,x\n"a,"[1 2]"\n', "line 2: the quotes do not match", "quote a whole cell"),
        ("[" + "1 " * 2**20 + "1]", "line 1: a list of more than 1,048,576 numbers", "numpy.save"),
    ],
    ids=lambda text: ascii(text[:40]),
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


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("label", ["", " ", "cat"])
def test_every_row_of_lists_has_its_label_or_the_table_is_refused(row: int, label: str, refusal: Refusal) -> None:
    lines = [f'"[1, 2]",{label if n == row else n}' for n in range(3)]
    error = refusal(read, "\n".join(["x,y", *lines]), label_column="y")
    assert f"line {row + 2}: the label '{label.strip()}' is no class number" in error.message


@pytest.mark.parametrize("begin", ["", "\ufeff\ufeff", "x", '"'], ids=["whole", "marks", "a letter", "a quote"])
@pytest.mark.parametrize("cut", range(1, 20))
def test_a_printed_array_without_its_beginning_loses_no_row_in_silence(begin: str, cut: int, refusal: Refusal) -> None:
    """What is left of the first row is neither a header nor a row."""
    text = "tensor([[1., 2.],\n        [3., 4.],\n        [5., 6.]])\n"
    # A shorter tensor is one, too, where a row was cut off as a whole.
    assert refusal(read, begin + text[cut:]).hint


@pytest.mark.parametrize(
    "cell",
    [
        "[1 2] x",
        "[1 2]]",
        "[[1 2]",
        "array([1 2]",
        "[1 2])",
        "array([-2.75rray([1 2])",
        "[3tensor([1 2])",
        "[1 2], f=x)",
    ],
)
@pytest.mark.parametrize("before", ["a,", ""], ids=["in a table", "alone"])
def test_what_is_more_or_less_than_one_list_is_refused(cell: str, before: str, refusal: Refusal) -> None:
    for line in (f"{before}{cell}", f'{before}"{cell}"'):
        assert refusal(read, f'{before}"[1 2]"\n{line}\n').hint


def test_commas_at_the_end_of_a_list_and_blanks_around_them_part_no_numbers() -> None:
    assert read("[1 , 2,]\n[3 ,4 , ]\n").array.tolist() == [[1, 2], [3, 4]]


def test_a_title_may_have_brackets() -> None:
    stored = read('x[0],logits\n7,"[1 2]"\n')
    assert stored.array.tolist() == [[1, 2]]
    assert stored.notes == ("x.csv: column 2 (logits) holds a list a row, taken as the logits; x[0] left out",)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["[" * 10**6, "[," * 10**6, "[1," * 10**5 + "]x", '"[,' * 10**5, "[]x," * 10**5, "[1]\n" * 10**5 + "["]
)
def test_brackets_that_do_not_match_are_refused_in_linear_time(text: str, refusal: Refusal) -> None:
    assert refusal(read, text).hint


LONG = 10**5


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        *(f"[1,2]{sign * LONG}x" for sign in " \t\n"),
        *(f"[[1,2]{' ' * LONG}\n", f"1,{' ' * LONG}x\n[1]", f'1,"{" " * LONG}x\n[1]', f"{chr(9) * LONG}x\n[1]"),
        *(f"[1]{',a=b' * LONG}x", f"[1],a=({'b' * LONG}x", f"[1{' ' * LONG},x]", f"tensor({' ' * LONG}x\n[1]"),
    ],
    ids=lambda text: ascii(f"{text[:8]}...{text[-8:]}"),
)
def test_a_long_run_beside_a_list_costs_linear_time(text: str) -> None:
    begin = time.process_time()
    with contextlib.suppress(StablemaxError):
        read(text)
    assert time.process_time() - begin < 5


@pytest.mark.slow
def test_many_lists_are_read_in_linear_time() -> None:
    begin = time.process_time()
    assert read("[1.5, 2.5]\n" * 10**5).shape == (10**5, 2)
    assert time.process_time() - begin < 5


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[1]\n", '"[1]",1\n'])
def test_lists_are_not_all_held_as_text(text: str, tmp_path: Path, peak: Peak) -> None:
    found = []
    for rows in (2, 200_000):
        (tmp_path / "x.csv").write_text(text * rows)
        memory, output = peak("print(open_array(sys.argv[1]).shape)", str(tmp_path / "x.csv"))
        assert output == f"({rows}, 1)"
        found.append(memory)
    # The text a few times over, and 8 bytes a number; lists, strings and a record for each row took 300 more.
    assert found[1] < found[0] + 30
