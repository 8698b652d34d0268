"""JSON: every usual layout of rows gives the same logits and labels, and whatever else it holds is named."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.inputs.file_format import OpenedFile, TableOptions
from stablemax.inputs.formats.jsonl import open_jsonl, visit_numbers
from stablemax.inputs.open import open_array, open_files

if TYPE_CHECKING:
    from pathlib import Path

    from stablemax.inputs.stored import StoredArray

    from .conftest import Peak, Refusal

X = [[1.5, -2.25, 1e-30], [0.1, 7.0, -3.0]]
Y = [2, 0]
RECORDS = [{"id": f"a{n}", "logits": row, "label": y} for n, (row, y) in enumerate(zip(X, Y, strict=True))]
OF_CLASSES = [dict(zip(("cat", "dog", "bird", "label"), [*row, y], strict=True)) for row, y in zip(X, Y, strict=True)]
LAYOUTS = {
    "lines": "\n".join(map(json.dumps, RECORDS)),
    "lines, blank ones between": "\n\n".join(map(json.dumps, RECORDS)) + "\n\n",
    "one document of rows": json.dumps(RECORDS),
    "an indented document": json.dumps(RECORDS, indent=2),
    "columns": json.dumps({"logits": X, "label": Y}),
    "indented columns": json.dumps({"model": "m", "logits": X, "label": Y}, indent=1),
    "a number a class": "\n".join(map(json.dumps, OF_CLASSES)),
    "CRLF": "\r\n".join(map(json.dumps, RECORDS)) + "\r\n",
}


def read(text: str, member: str | None = None, **options: Any) -> StoredArray:
    return open_jsonl(OpenedFile(io.BytesIO(text.encode()), "x.jsonl", table=TableOptions(**options), member=member))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_logits_and_labels(layout: str) -> None:
    stored = read(LAYOUTS[layout], label_column="label")
    assert stored.array.tolist() == X
    assert stored.labels is not None
    assert stored.labels.array.tolist() == Y


@pytest.mark.parametrize("text", ["[1, 2]\n[3, 4]\n", "[[1, 2], [3, 4]]", "[[1, 2],\n [3, 4]]"])
def test_lists_without_keys_are_rows(text: str) -> None:
    assert read(text).array.tolist() == [[1, 2], [3, 4]]


def test_a_single_row_is_one() -> None:
    assert read("[1, 2]").array.tolist() == [[1, 2]]
    assert read('{"logits": [1, 2]}').array.tolist() == [[1, 2]]


def test_what_is_left_out_is_named_and_how_labels_are_taken() -> None:
    assert read(LAYOUTS["lines"]).notes == (
        "x.jsonl: logits holds the logits; id, label left out",
        "x.jsonl: label is left out; --label-column label takes it as labels",
    )


@pytest.mark.parametrize("text", ["NaN", '"NaN"', "-Infinity", '"-Infinity"', "Infinity"])
def test_nan_and_infinities_are_read_bare_as_python_writes_them_and_in_quotes_as_strict_json(text: str) -> None:
    np.testing.assert_equal(read(f"[1, {text}]").array, [[1.0, float(text.strip('"'))]])


def test_of_several_lists_logits_are_taken_and_a_key_names_others(refusal: Refusal) -> None:
    assert read('{"logits": [1, 2], "hidden": [3, 4, 5]}').array.tolist() == [[1, 2]]
    assert read('{"logits": [1, 2], "hidden": [3, 4, 5]}', member="hidden").array.tolist() == [[3, 4, 5]]
    assert "FILE.jsonl:NAME" in refusal(read, '{"a": [1, 2], "b": [3, 4]}').hint


def test_a_file_is_known_by_its_ending_and_another_one_is_told_how_to_be_read(tmp_path: Path, refusal: Refusal) -> None:
    text = LAYOUTS["lines"]
    for name in ("x.jsonl", "x.ndjson", "x.json", "x.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    for name in ("x.jsonl", "x.ndjson", "x.json"):
        assert open_array(str(tmp_path / name)).array.tolist() == X
    assert open_array(f"{tmp_path}/x.jsonl:logits").array.tolist() == X
    for encoding in ("utf-8", "utf-16"):
        assert open_array("-", stdin=io.BytesIO(text.encode(encoding)), input_format="jsonl").array.tolist() == X
    assert refusal(open_array, str(tmp_path / "x.csv")).hint.endswith("or say --input-format jsonl")
    assert open_array(str(tmp_path / "x.csv"), input_format="jsonl").array.tolist() == X


def test_labels_may_lie_in_a_file_of_their_own(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array(X))
    (tmp_path / "y.jsonl").write_text('{"y": 2}\n{"y": 0}\n', encoding="utf-8")
    problem = open_files([str(tmp_path / "x.npy")], [str(tmp_path / "y.jsonl")]).load()
    assert problem.labels is not None
    assert problem.labels.tolist() == Y


def test_digits_are_those_that_are_printed() -> None:
    rows: list[list[str]] = []
    visit_numbers(OpenedFile(io.BytesIO(b'{"p": [0.50, 1e-3]}\n{"p": [1, 0.25]}'), "x.jsonl"), rows.append)
    assert rows == [["0.50", "1e-3"], ["1", "0.25"]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no rows"),
        ('{"logits": [1, 2]}\n{"logits": [1, 2, 3]}', "row 1 has 3 logits, but the first row has 2"),
        ('{"logits": [1, 2]}\n{"other": [1, 2]}', "row 1 has no key 'logits', which the first row has"),
        ('{"logits": [1, 2]}\n[1, 2]', "row 1 has no key 'logits'"),
        ('{"logits": [1, 2]}\n{"logits": [1, 2', "row 1: is not JSON"),
        ('{"logits": [1, 2', "is not JSON"),
        ('{"logits": [1, null]}', "row 0: null is not a number"),
        ('{"logits": [1, true]}', "row 0: true is not a number"),
        ('{"logits": [1, "two"]}', "row 0: 'two' is not a number"),
        ('{"logits": [[[1, 2]]]}', "holds a list where a number is needed"),
        ('{"logits": [1, 1e400]}', "'1e400' is outside float64"),
        ('{"text": "a"}', "no key holds numbers: text"),
        ('{"logits": [[1, 2], [3, 4]], "y": [0]}', "its lists differ in length: logits 2, y 1"),
        ('{"cat": {"0": 1, "1": 2}}', "no key holds numbers"),
        ("3", "is no list of numbers"),
        ("[" * 10**5, "nested too deeply"),
        ("[1, " + "9" * 10**4 + "]", "is not a number"),
    ],
)
def test_what_is_no_row_of_numbers_is_refused_with_its_place(text: str, says: str, refusal: Refusal) -> None:
    error = refusal(read, text)
    assert says in error.message
    assert error.hint


def test_a_label_that_is_not_there_is_refused(refusal: Refusal) -> None:
    assert refusal(read, LAYOUTS["lines"], label_column="y").hint == "its keys are: id, logits, label"
    assert "its rows are lists" in refusal(read, "[1, 2]\n[3, 4]", label_column="y").message


def test_a_label_may_be_the_key_of_its_class(refusal: Refusal) -> None:
    text = '{"cat": 1, "dog": 2, "y": "dog"}\n{"cat": 1, "dog": 2, "y": "%s"}\n'
    stored = read(text % "cat", label_column="y")
    assert stored.labels is not None
    assert stored.labels.array.tolist() == [1, 0]
    assert refusal(read, text % "cow", label_column="y").hint.endswith("classes are: cat, dog")


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        *(
            "[" + "1," * 7_000_000 + "1]\n",
            "[[" + "1," * 4_000_000 + "1],\n[2]]",
            "[[1],\n" + "[1]," * 4_000_000 + "[1]]",
        ),
        *(
            '[{"a":1},\n' + '{"a":1},' * 2_000_000 + '{"a":1}]',
            '{"a": 1}\n[' + "[]," * 5_000_000 + "1]",
            "[" * 8_000_000,
        ),
    ],
    ids=["a line", "a document", "rows", "objects", "empty lists", "depth"],
)
def test_what_takes_much_memory_once_it_is_parsed_is_refused_before(text: str, tmp_path: Path, peak: Peak) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    memory, output = peak("refused(sys.argv[1])", str(tmp_path / "x.jsonl"))
    assert output.endswith("takes more than 314,572,800 bytes once it is parsed")
    assert memory < 400
