"""Names of classes as labels: numbers by the header of the logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stablemax.inputs.file_format import TableOptions
from stablemax.inputs.open import open_files

if TYPE_CHECKING:
    from pathlib import Path

    from stablemax.inputs.logits import Problem

    from .conftest import Refusal

HEADER, ROWS = "cat,dog,bird", ["1,2,3", "4,5,6", "7,8,9"]


def problem(folder: Path, logits: str, labels: str | None = None, column: str | None = None) -> Problem:
    (folder / "x.csv").write_text(logits, encoding="utf-8")
    if labels is not None:
        (folder / "y.csv").write_text(labels, encoding="utf-8")
    files = [] if labels is None else [str(folder / "y.csv")]
    return open_files([str(folder / "x.csv")], files, table=TableOptions(label_column=column)).load()


def labels_of(found: Problem) -> list[int]:
    assert found.labels is not None
    return [int(label) for label in found.labels.tolist()]


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_label_column_may_hold_the_names_of_the_header(place: int, tmp_path: Path) -> None:
    lines = [line.split(",") for line in (HEADER, *ROWS)]
    for line, label in zip(lines, ["label", "dog", "cat", "2"], strict=True):
        line.insert(place, label)
    found = problem(tmp_path, "\n".join(map(",".join, lines)), column="label")
    assert labels_of(found) == [1, 0, 2]
    assert found.logits.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert found.notes[-1].endswith("numbered as in the header of the logits (cat = 0, dog = 1, bird = 2)")


@pytest.mark.parametrize("title", ["", "label\n", "class\n"])
def test_a_file_of_labels_may_hold_the_names_of_the_header(title: str, tmp_path: Path) -> None:
    found = problem(tmp_path, "\n".join([HEADER, *ROWS]), f"{title}dog\nbird\ncat\n")
    assert labels_of(found) == [1, 2, 0]
    assert "labels are names of classes" in "; ".join(found.notes)


def test_numbers_stay_numbers_whatever_the_header_says(tmp_path: Path) -> None:
    found = problem(tmp_path, "\n".join([HEADER, *ROWS]), "0\n1\n2\n")
    assert labels_of(found) == [0, 1, 2]
    assert "labels are names" not in "; ".join(found.notes)


def test_a_name_that_is_no_class_is_refused_with_the_names(tmp_path: Path, refusal: Refusal) -> None:
    error = refusal(problem, tmp_path, "\n".join([HEADER, *ROWS]), "dog\nbrid\ncat\n")
    assert "line 2, column 1: the label 'brid' is no class number" in error.message
    assert error.hint == "did you mean bird? classes are: cat, dog, bird"


def test_names_without_a_header_of_classes_are_refused_with_what_to_do(tmp_path: Path, refusal: Refusal) -> None:
    error = refusal(problem, tmp_path, "\n".join(ROWS), "cat\ndog\ncat\ndog\n")
    assert "the label 'dog' is no class number" in error.message
    assert "header of the logits' table names the classes" in error.hint
    # The hint works when it is followed.
    assert labels_of(problem(tmp_path, "\n".join([HEADER, *ROWS]), "cat\ndog\ncat\n")) == [0, 1, 0]


def test_a_logit_is_no_label(tmp_path: Path, refusal: Refusal) -> None:
    assert "'dog' is not a number" in refusal(problem, tmp_path, f"{HEADER}\n1,dog,3\n").message


def test_soft_targets_under_the_header_of_the_logits_are_soft_targets(tmp_path: Path) -> None:
    found = problem(tmp_path, "\n".join([HEADER, *ROWS]), f"{HEADER}\n0.5,0.5,0\n0,0,1\n1,0,0\n")
    assert found.labels is not None
    assert found.labels.tolist() == [[0.5, 0.5, 0], [0, 0, 1], [1, 0, 0]]


# --- Parquet ----------------------------------------------------------------------------------------


def write_parquet(path: Path, **columns: Any) -> None:
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    from pyarrow import parquet

    parquet.write_table(arrow.table(columns), path)


LOGITS = {"cat": [1.0, 4.0, 7.0], "dog": [2.0, 5.0, 8.0], "bird": [3.0, 6.0, 9.0]}
NAMED_NOTE = "labels are names of classes, numbered as in the header of the logits (cat = 0, dog = 1, bird = 2)"


@pytest.mark.parametrize("is_dictionary", [False, True])
def test_a_parquet_column_of_labels_may_hold_the_names_of_the_columns(is_dictionary: bool, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    labels = arrow.array(["dog", "cat", "2"])
    write_parquet(tmp_path / "x.parquet", **LOGITS, label=labels.dictionary_encode() if is_dictionary else labels)
    found = open_files([str(tmp_path / "x.parquet")], table=TableOptions(label_column="label")).load()
    assert labels_of(found) == [1, 0, 2]
    assert found.logits.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert NAMED_NOTE in "; ".join(found.notes)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_of_labels_may_hold_the_names_of_parquet_columns_and_the_other_way_round(
    ending: str, tmp_path: Path
) -> None:
    names = ["dog", "bird", "cat"]
    write_parquet(tmp_path / "x.parquet", **LOGITS)
    write_parquet(tmp_path / "y.parquet", label=names)
    (tmp_path / "x.csv").write_text("\n".join([HEADER, *ROWS]))
    (tmp_path / "y.csv").write_text("\n".join(names))
    other = {"csv": "parquet", "parquet": "csv"}[ending]
    found = open_files([str(tmp_path / f"x.{other}")], [str(tmp_path / f"y.{ending}")]).load()
    assert labels_of(found) == [1, 2, 0]
    assert NAMED_NOTE in "; ".join(found.notes)


def test_a_name_that_is_no_parquet_column_is_refused_with_the_names(tmp_path: Path, refusal: Refusal) -> None:
    write_parquet(tmp_path / "x.parquet", **LOGITS, label=["dog", "brid", "cat"])
    table = TableOptions(label_column="label")
    error = refusal(lambda: open_files([str(tmp_path / "x.parquet")], table=table).load())
    assert "x.parquet: column label, row 1: the label 'brid' is no class number" in error.message
    assert error.hint == "did you mean bird? classes are: cat, dog, bird"


def test_text_among_the_logits_of_a_parquet_file_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    write_parquet(tmp_path / "x.parquet", **LOGITS, label=["dog", "bird", "cat"])
    assert "column label holds string, not numbers" in refusal(open_files, [str(tmp_path / "x.parquet")]).message
