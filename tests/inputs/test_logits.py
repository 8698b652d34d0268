from __future__ import annotations

import json
import os
import tracemalloc
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stablemax.inputs import spooled
from stablemax.inputs.file_format import TableOptions
from stablemax.inputs.logits import Source, as_problem, restore
from stablemax.inputs.open import open_array
from stablemax.inputs.stored import StoredArray

from ..cli.running import run

if TYPE_CHECKING:
    from pathlib import Path


def counted(*shape: int) -> np.ndarray:
    return np.arange(float(np.prod(shape))).reshape(shape)


def test_two_dimensions_stay_a_view() -> None:
    logits = counted(3, 4).astype(">f4")
    problem = as_problem(logits, np.array([0, 1, 2]))
    assert np.shares_memory(problem.logits, logits)
    assert problem.logits.dtype == logits.dtype
    assert (problem.shape, problem.axis, problem.notes) == ((3, 4), 1, ())
    assert problem.labels is not None
    assert problem.labels.tolist() == [0, 1, 2]
    assert problem.sources == (
        Source("the logits", "float32", (3, 4)),
        Source("the labels", "int64", (3,)),
    )


def test_a_large_file_needs_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooled, "IN_MEMORY", 2**20)
    monkeypatch.setattr(spooled, "DOWNLOADED", 2**20)
    path = tmp_path / "x.npy"
    np.save(path, np.arange(2.0**20).reshape(2**10, 2**10))
    tracemalloc.start()
    problem = as_problem(open_array(str(path)))
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    # Its numbers are those of the file when it was opened, whatever becomes of that.
    path.unlink()
    assert problem.logits[-1, -1] == 2**20 - 1


@pytest.mark.parametrize("label", [2, [2]])
def test_one_dimension_is_one_row(label: object) -> None:
    problem = as_problem(counted(4), np.asarray(label))
    assert problem.logits.shape == (1, 4)
    assert problem.labels is not None
    assert problem.labels.tolist() == [2]
    assert restore(problem.logits, problem).shape == (4,)
    assert restore(np.zeros(1), problem).shape == ()


def test_one_dimension_with_soft_targets() -> None:
    labels = as_problem(counted(4), np.array([0.5, 0.5, 0, 0])).labels
    assert labels is not None
    assert labels.tolist() == [[0.5, 0.5, 0, 0]]


def test_one_class_and_one_number_is_a_class_number() -> None:
    labels = as_problem(counted(1), np.array([0])).labels
    assert labels is not None
    assert labels.tolist() == [0]
    assert labels.dtype == np.int64


def test_the_axis_is_found_out_from_the_labels() -> None:
    last = as_problem(counted(2, 3, 5), np.zeros((2, 3), int))
    assert (last.axis, last.logits.shape, last.notes) == (2, (6, 5), ())
    second = as_problem(counted(2, 3, 5), np.arange(10).reshape(2, 5) % 3)
    assert (second.axis, second.logits.shape) == (1, (10, 3))
    assert second.notes == ("the logits: classes found on axis 1 of (2, 3, 5), from the shape of the labels",)
    assert second.labels is not None
    for row, (n, d) in enumerate(np.ndindex(2, 5)):
        assert second.logits[row].tolist() == counted(2, 3, 5)[n, :, d].tolist()
        assert second.labels[row] == (n * 5 + d) % 3


def test_an_axis_that_both_fit_is_asked_for(refusal: Any) -> None:
    logits, labels = counted(2, 4, 4), np.zeros((2, 4), int)
    error = refusal(as_problem, logits, labels)
    assert "axis 1 and on axis 2" in error.message
    assert error.hint == "say which: --axis 1 or --axis 2"
    assert as_problem(logits, labels, axis=1).axis == 1
    assert as_problem(logits, labels, axis=-1).axis == 2
    assert as_problem(logits, labels, axis=1).notes == ()


def test_soft_targets_of_more_dimensions_need_the_axis(refusal: Any) -> None:
    logits = counted(2, 3, 5)
    targets = np.moveaxis(np.broadcast_to(np.eye(3)[:2, None], (2, 5, 3)), -1, 1)
    assert "--axis" in refusal(as_problem, logits, targets).hint
    problem = as_problem(logits, targets, axis=1)
    assert problem.labels is not None
    assert problem.labels.tolist() == [[1, 0, 0]] * 5 + [[0, 1, 0]] * 5


def test_two_dimensions_of_soft_targets_need_no_axis() -> None:
    assert as_problem(counted(2, 2), np.eye(2)).axis == 1
    assert as_problem(counted(2, 2), np.eye(2), axis=0).axis == 0


def test_the_first_axis_only_when_asked(refusal: Any) -> None:
    logits, labels = counted(4, 3), np.array([3, 0, 1])
    assert "--axis 0" in refusal(as_problem, logits, labels).hint
    problem = as_problem(logits, labels, axis=0)
    assert problem.logits.tolist() == logits.T.tolist()
    assert np.shares_memory(problem.logits, logits)


@given(st.data())
def test_restore_undoes_as_problem(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(max_dims=4, max_side=4))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    order = data.draw(st.sampled_from("CF"))
    logits = np.asarray(counted(*shape), order=order)  # type: ignore[call-overload]
    problem = as_problem(logits, axis=axis)
    assert problem.logits.shape == (logits.size // shape[axis], shape[axis])
    assert restore(problem.logits, problem).tolist() == logits.tolist()
    assert restore(problem.logits.max(axis=1), problem).tolist() == logits.max(axis=axis).tolist()


def test_restoring_something_else_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="does not belong"):
        restore(np.zeros((4, 3)), as_problem(counted(3, 4)))


@pytest.mark.parametrize(
    ("logits", "says"),
    [
        (np.ones((2, 3), bool), "a mask, not logits"),
        (np.ones((2, 3), complex), "complex128"),
        (np.ones((2, 3), object), "object"),
        (np.ones((2, 3), "V2"), "void"),
        (np.ones((2, 3), "M8[s]"), "datetime64"),
        (np.ones((2, 3), [("a", "f8")]), "void"),
        (np.array(1.0), "single number"),
        (np.ones((0, 3)), "no rows"),
        (np.ones((3, 0)), "no classes"),
        (np.ones((2, 0, 3)), "no rows"),
        (np.ones(0), "no classes"),
    ],
)
def test_what_is_no_logits_is_refused(refusal: Any, logits: np.ndarray, says: str) -> None:
    assert says in refusal(as_problem, logits).message
    assert says in refusal(as_problem, logits, np.zeros(logits.shape[:-1], int)).message


def test_an_axis_without_classes_is_told_from_no_rows(refusal: Any) -> None:
    assert "no classes" in refusal(as_problem, np.ones((0, 3)), axis=0).message


@pytest.mark.parametrize("axis", [2, -3, 10**30])
def test_an_axis_that_is_not_there_is_refused(refusal: Any, axis: int) -> None:
    assert refusal(as_problem, counted(2, 3), axis=axis).message.startswith(f"--axis {axis}: ")


@pytest.mark.parametrize(("labels", "logits"), [((6,), (6, 10)), ((2, 5), (2, 3, 5)), ((2, 3), (2, 3, 5)), ((), (4,))])
def test_swapped_files_are_refused(refusal: Any, labels: tuple[int, ...], logits: tuple[int, ...]) -> None:
    error = refusal(as_problem, np.zeros(labels, int) if labels else np.zeros(1, int), np.zeros(logits))
    if labels:
        assert "swapped" in error.message
        assert "logits first" in error.hint


@pytest.mark.parametrize(
    ("shape", "says", "hints"),
    [
        ((5,), "5 labels for 6 rows", "shape (6,)"),
        ((1,), "1 label for 6 rows", "shape (6,)"),
        ((6, 1), "(6, 1)", "reshape(-1)"),
        ((1, 6), "(1, 6)", "reshape(-1)"),
        ((10, 6), "(10, 6)", "labels.T"),
        ((), "()", "shape (6,)"),
        ((6, 10, 1), "(6, 10, 1)", "shape (6,)"),
    ],
)
def test_nothing_is_broadcast(refusal: Any, shape: tuple[int, ...], says: str, hints: str) -> None:
    error = refusal(as_problem, counted(6, 10), np.zeros(shape, int))
    assert says in error.message
    assert hints in error.hint


def test_row_counts_are_compared_before_data_are_read(tmp_path: Path, refusal: Any) -> None:
    for name, shape in (("x.npy", (2**20, 2**10)), ("y.npy", (2**20 - 1,))):
        np.save(tmp_path / name, np.zeros(0, np.int64))
        raw = (tmp_path / name).read_bytes()
        text = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".ljust(len(raw) - 11) + "\n"
        (tmp_path / name).write_bytes(raw[:10] + text.encode())
        os.truncate(tmp_path / name, len(raw) + 8 * int(np.prod(shape)))
    tracemalloc.start()
    error = refusal(as_problem, open_array(str(tmp_path / "x.npy")), open_array(str(tmp_path / "y.npy")))
    assert "1,048,575 labels for 1,048,576 rows" in error.message
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([[2**53, -(2**53), 0, 2**62, -(2**63)]], 0),
        ([[2**53 + 1, -(2**53) - 1, 2**63 - 1, 1, -(2**63) + 1]], 4),
    ],
)
def test_integers_that_float64_cannot_hold_are_noted(values: list[list[int]], count: int) -> None:
    array = np.array(values)
    notes = as_problem(array).notes
    assert count == sum(int(float(value)) != value for value in values[0])
    assert bool(notes) == bool(count)
    if count:
        assert notes == (
            "the logits: 4 integers are not exact in float64; the first is row 0, class 0: 9007199254740993",
        )
    assert as_problem(array.astype(">i8")).notes == notes


def test_unsigned_integers_that_float64_cannot_hold_are_noted() -> None:
    (note,) = as_problem(np.array([[2**64 - 1, 2**63]], np.uint64)).notes
    assert "1 integer is not exact in float64; the first is row 0, class 0: 18446744073709551615" in note


def test_integers_and_small_formats_stay_as_they_are() -> None:
    for dtype in ("i1", "u8", "f2", ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn):
        problem = as_problem(np.ones((2, 3), dtype))
        assert problem.logits.dtype == np.dtype(dtype)
        assert problem.notes == ()


def test_the_label_column_of_a_table_is_used(tmp_path: Path, refusal: Any) -> None:
    (tmp_path / "x.csv").write_text("a,b,y\n5,6,1\n7,8,0\n")
    file = open_array(str(tmp_path / "x.csv"), table=TableOptions(label_column="y"))
    problem = as_problem(file)
    assert problem.logits.tolist() == [[5, 6], [7, 8]]
    assert problem.labels is not None
    assert problem.labels.tolist() == [1, 0]
    assert len(problem.notes) == 1
    assert [source.name for source in problem.sources] == [file.name, file.name]
    assert "--label-column" in refusal(as_problem, file, np.array([1, 0])).hint
    assert "--label-column" in refusal(as_problem, counted(2, 2), file).hint


def test_a_table_of_one_column_is_a_list_of_labels(tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_text("label\n1\n0\n")
    problem = as_problem(counted(2, 3), open_array(str(tmp_path / "y.csv")))
    assert problem.labels is not None
    assert problem.labels.tolist() == [1, 0]
    assert "taken as a header (label)" in problem.notes[0]


def test_notes_on_soft_targets_are_passed_on() -> None:
    (note,) = as_problem(counted(2, 2), StoredArray.of(np.ones((2, 2)), name="t.npy")).notes
    assert note.startswith("t.npy: soft targets of 2 rows do not sum to 1")


def test_booleans_as_labels_are_refused(refusal: Any) -> None:
    assert "astype(int)" in refusal(as_problem, counted(2, 3), np.array([True, False])).hint


SIGNALLING = {"float16": 0x7D01, "float32": 0x7F800001, "float64": 0x7FF0000000000001, "bfloat16": 0x7F81}


def of_bits(path: Path, dtype: str, bits: int, shape: tuple[int, ...]) -> str:
    size = 2 if dtype.endswith("16") else int(dtype[5:]) // 8
    array = np.full(shape, bits, f"<u{size}")
    name = {"float16": "F16", "float32": "F32", "float64": "F64", "bfloat16": "BF16"}[dtype]
    entry = {"x": {"dtype": name, "shape": shape, "data_offsets": [0, array.nbytes]}}
    header = json.dumps(entry).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + array.tobytes())
    return str(path)


@pytest.mark.parametrize("dtype", SIGNALLING)
@pytest.mark.parametrize(
    "command",
    [
        *(["loss", "X", "Y"], ["softmax", "X"], ["inspect", "X"], ["loss", "Y2", "X"]),
        *(["loss", "Y2", "L"], ["loss", "Y2", "Y", "--weight", "W"], ["compare", "X", "Y"]),
        *(["judge", "--operation", "softmax", *pair] for pair in (["X", "Y2"], ["Y2", "X"])),
        ["judge", "--operation", "cross_entropy", "Y2", "ONE", "Y"],
    ],
    ids=" ".join,
)
def test_a_nan_that_signals_is_said_of_what_any_other_is(command: list[str], dtype: str, tmp_path: Path) -> None:
    """Nothing is warned of: whatever lay in memory that was never written may be one."""
    np.save(tmp_path / "y.npy", np.array([0, 1]))
    np.save(tmp_path / "z.npy", np.arange(6.0).reshape(2, 3))
    found = []
    quiet = SIGNALLING[dtype] | {"float16": 0x200, "float32": 2**22, "float64": 2**51, "bfloat16": 0x40}[dtype]
    for bits in (quiet, SIGNALLING[dtype]):
        files = {"Y": str(tmp_path / "y.npy"), "Y2": str(tmp_path / "z.npy")}
        shapes: dict[str, tuple[int, ...]] = {"X": (2, 3), "L": (2,), "W": (3,), "ONE": ()}
        files |= {name: of_bits(tmp_path / f"{name}.safetensors", dtype, bits, shape) for name, shape in shapes.items()}
        found.append(run(*(files.get(word, word) for word in command)))
    assert found[0] == found[1]
    assert found[0].code in (0, 1, 2)
