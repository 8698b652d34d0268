from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stablemax.inputs.input_warnings import in_blocks, odd_targets, soft_target_notes
from stablemax.inputs.labels import as_labels, shape_error
from stablemax.operations.operation import Second


def labels(values: object, dtype: Any = None, rows: int = 3, classes: int = 5, **options: Any) -> np.ndarray:
    return as_labels(np.asarray(values, dtype), rows=rows, classes=classes, name="y.npy", **options)


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_integers_and_integral_floats_of_any_width_become_int64(kind: str, order: str) -> None:
    result = labels([4, 0, 2], order + kind)
    assert result.dtype == np.int64
    assert result.dtype.isnative
    assert result.tolist() == [4, 0, 2]


def test_int64_labels_are_not_copied() -> None:
    given = np.array([1, 2, 3])
    assert np.shares_memory(labels(given), given)


@pytest.mark.parametrize("dtype", ["i1", "f2", "f4"])
def test_narrow_labels_fit_more_classes_than_their_type_counts(dtype: str) -> None:
    assert labels([100, 0, 2], dtype, classes=10**6).tolist() == [100, 0, 2]


@pytest.mark.parametrize(
    ("values", "dtype", "says", "hints"),
    [
        ([0, 1, 5], "i8", "row 2: label 5 is out of range for 5 classes", "count from 1"),
        ([0, 1, 7], "f4", "row 2: label 7 is out of range for 5 classes", "0 to 4"),
        ([0, -1, 5], "i8", "row 1: label -1 is negative", "--ignore-index -1"),
        ([0, -1.0, 5], "f8", "row 1: label -1 is negative", "--ignore-index -1"),
        (
            [0, 1, 2**64 - 1],
            "u8",
            "row 2: label 18446744073709551615 is out of range",
            "-1 becomes this in uint64",
        ),
        ([0, 255, 1], "u1", "row 1: label 255 is out of range", "-1 becomes this in uint8"),
        ([0, 2**63 - 1, 1], "i8", "row 1: label 9223372036854775807 is out of range", "0 to 4"),
        ([0, 1e300, 1], "f8", "row 1: label 1e+300 is out of range", "0 to 4"),
        ([0, 1.5, 1], "f8", "row 1: label 1.5 is not integral", "class numbers"),
        ([0, -0.5, 1], "f8", "row 1: label -0.5 is not integral", "class numbers"),
        ([0, np.nan, 1], "f8", "row 1: label nan is not finite", "-100"),
        ([0, -np.inf, 1], "f2", "row 1: label -inf is not finite", "-100"),
        ([True, False, True], "?", "boolean", "astype(int)"),
        ([1j, 1, 1], "c16", "complex128", "astype"),
        (["a", "b", "c"], "U1", "str", "astype"),
        ([0, 1], "i8", "2 labels for 3 rows", "shape (3,)"),
        ([[0], [1], [2]], "i8", "shape (3, 1)", "labels.reshape(-1)"),
        ([[0, 1, 2]], "i8", "shape (1, 3)", "labels.reshape(-1)"),
        ([0, 1, 2, 3, 4], "i8", "5 labels for 3 rows", "--axis 0"),
        (np.zeros((5, 3)), "f8", "shape (5, 3)", "labels.T"),
        (np.zeros((3, 4)), "f8", "shape (3, 4)", "soft target"),
        (0, "i8", "shape ()", "shape (3,)"),
    ],
)
def test_what_is_no_label_is_refused(refusal: Any, values: object, dtype: str, says: str, hints: str) -> None:
    error = refusal(labels, values, dtype)
    assert error.message.startswith("y.npy: ")
    assert says in error.message
    assert hints in error.hint


@pytest.mark.parametrize("dtype", ["i8", "i1", "f4", ">i2"])
def test_rows_that_do_not_count_keep_their_label(refusal: Any, dtype: str) -> None:
    assert labels([0, -100, 2], dtype).tolist() == [0, -100, 2]
    assert labels([0, -1, 2], dtype, ignore_index=-1).tolist() == [0, -1, 2]
    assert labels([0, 9, 2], dtype, ignore_index=9).tolist() == [0, 9, 2]
    assert "-100" in refusal(labels, [0, -100, 2], dtype, ignore_index=None).message


def test_the_uint64_maximum_is_not_minus_one(refusal: Any) -> None:
    wrapped = np.array([0, 1, 2**64 - 1], np.uint64)
    refusal(labels, wrapped, ignore_index=-1)
    refusal(labels, wrapped, ignore_index=2**64 - 1)


def test_a_bad_label_is_found_beyond_the_first_block(refusal: Any) -> None:
    many = np.zeros(3 * 2**20, np.int32)
    many[-2] = 5
    assert "row 3,145,726: label 5" in refusal(labels, many, rows=len(many)).message


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "f8", "i8", "u1"])
def test_soft_and_one_hot_targets_become_float64(dtype: str) -> None:
    given = np.eye(3, 5).astype(dtype)
    result = labels(given)
    assert result.dtype == np.float64
    assert result.dtype.isnative
    assert result.tolist() == np.eye(3, 5).tolist()


@pytest.mark.parametrize(("value", "says"), [(-0.5, "negative"), (np.nan, "not finite"), (np.inf, "not finite")])
def test_soft_targets_that_are_no_probabilities_are_refused(refusal: Any, value: float, says: str) -> None:
    given = np.full((3, 5), 0.2)
    given[1, 3] = value
    message = refusal(labels, given).message
    assert message.startswith(f"y.npy: row 1, class 3: soft target {value!r}")
    assert says in message


def test_boolean_one_hot_targets_are_refused(refusal: Any) -> None:
    assert "astype(int)" in refusal(labels, np.eye(3, 5, dtype=bool)).hint


def test_soft_targets_that_do_not_sum_to_one_are_noted() -> None:
    given = labels([[1, 0], [2, 1], [0, 0]], "f8", classes=2)
    assert soft_target_notes(in_blocks(odd_targets, given), "y.npy") == (
        "y.npy: soft targets of 2 rows do not sum to 1; the first is row 1 with 3",
    )
    assert not odd_targets(np.full((2, 3), 0.3333)).count


def test_for_one_class_a_column_is_a_soft_target() -> None:
    assert labels([[1.0], [1.0], [1.0]], classes=1).shape == (3, 1)


@pytest.mark.parametrize("second", [Second.CELL_TARGETS, Second.UPSTREAM, Second.LOGITS])
def test_a_second_array_of_another_shape_is_refused_and_a_transposed_one_is_told_so(second: Second) -> None:
    for shape, hint in (((5, 3), "are they transposed?"), ((3, 4), "one number for each logit"), ((3,), "one number")):
        error = shape_error(shape, (3, 5), "g.npy", second)
        assert error.message.startswith(f"g.npy: {second.value} of shape ")
        assert f"give the shape (3, 5): {hint}" in error.hint
