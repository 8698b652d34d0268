"""Labels: one class per row, or a soft target per row; anything else is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stablemax.inputs.foreign_text import shape_of
from stablemax.inputs.input_warnings import array_blocks
from stablemax.numerics.formats import format_of
from stablemax.operations.operation import Second
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED
from stablemax.text.words import counted


def as_labels(
    array: np.ndarray, *, rows: int, classes: int, name: str, ignore_index: int | None = IGNORED, first_row: int = 0
) -> np.ndarray:
    """Check labels against logits of shape (rows, classes).

    Shapes are compared before any label is read. One dimension means class numbers, two dimensions mean soft targets;
    nothing is broadcast.

    >>> as_labels(np.array([2.0, 0.0]), rows=2, classes=3, name="labels.npy")
    array([2, 0])
    >>> as_labels(np.array([1, 3]), rows=2, classes=3, name="labels.npy")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: labels.npy: row 1: label 3 is out of range for 3 classes
    >>> as_labels(np.array([[0.5, 0.5]]), rows=1, classes=2, name="targets.npy")
    array([[0.5, 0.5]])
    """
    check_label_dtype(array.dtype, name)
    if array.ndim == 2 and array.shape == (rows, classes):
        return _soft(array, name, first_row)
    if array.ndim == 1 and array.shape == (rows,):
        return _hard(array, classes, name, ignore_index, first_row)
    raise shape_error(array.shape, (rows, classes), name)


def check_label_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Refuse labels that are not real numbers.

    >>> check_label_dtype(np.dtype(bool), "labels.npy")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: labels.npy: labels are boolean, not class numbers
    """
    if dtype.kind == "b":
        raise StablemaxError(
            f"{name}: labels are boolean, not class numbers", "if they mean classes 0 and 1, or one-hot: y.astype(int)"
        )
    try:
        format_of(dtype)
    except StablemaxError:
        raise StablemaxError(
            f"{name}: labels are {dtype.name}, not numbers", "save class numbers: y.astype(np.int64)"
        ) from None


def shape_error(
    labels: tuple[int, ...], logits: tuple[int, ...], name: str, second: Second = Second.LABELS
) -> StablemaxError:
    """Word the error for labels, or another second argument, whose shape does not fit the logits.

    >>> shape_error((4, 1), (4, 10), "labels.npy").hint
    'nothing is broadcast; flatten them: labels.reshape(-1)'
    """
    if second is not Second.LABELS:
        hint = "are they transposed? array.T" if labels == logits[::-1] else "one number for each logit"
        return StablemaxError(
            f"{name}: {second.value} of shape {shape_of(labels)} do not fit logits of shape {shape_of(logits)}",
            f"give the shape {shape_of(logits)}: {hint}",
        )
    rows, classes = (1, logits[0]) if len(logits) == 1 else (logits[0], logits[-1])
    flat = tuple(n for n in labels if n != 1)
    hint = f"give a class number per row, shape ({rows},), or a soft target per row, shape ({rows}, {classes})"
    if len(labels) > 1 and flat in {(rows,), ()}:
        hint = "nothing is broadcast; flatten them: labels.reshape(-1)"
    elif len(logits) == 2 and labels == logits[::-1]:
        hint = "are they transposed? labels.T"
    elif len(logits) == 2 and labels == (classes,):
        hint = f"are the classes on axis 0 of the logits? --axis 0 reads {classes:,} rows of {rows:,} classes"
    elif len(logits) > 2:
        hint = "labels have the shape of the logits without the class axis: --axis N says which that is"
    if len(labels) == 1 and len(logits) == 2:
        return StablemaxError(f"{name}: {counted(labels[0], 'label')} for {rows:,} rows of logits", hint)
    return StablemaxError(
        f"{name}: labels of shape {shape_of(labels)} do not fit logits of shape {shape_of(logits)}", hint
    )


def _hard(array: np.ndarray, classes: int, name: str, ignore_index: int | None, first_row: int) -> np.ndarray:
    native = array.dtype == np.int64 and array.dtype.isnative
    result: np.ndarray = array if native else np.empty(len(array), np.int64)
    for start, piece in array_blocks(array):
        # float16 is widened, because a number of classes above 65,504 has no place in it.
        block = piece if piece.dtype.kind in "iu" else piece.astype(np.float64)
        valid = (block >= 0) & (block < classes)
        if block.dtype.kind == "f":
            valid &= block == np.floor(block)
        if ignore_index is not None and -(2**63) <= ignore_index < 2**63:
            valid |= block == ignore_index
        if not valid.all():
            row = int(np.argmin(valid))
            raise _label_error(block[row].item(), first_row + start + row, array, classes, name)
        if not native:
            result[start : start + len(block)] = block
    return result


def _label_error(value: int | float, row: int, array: np.ndarray, classes: int, name: str) -> StablemaxError:
    place = f"{name}: row {row:,}: label {value!r}"
    if not math.isfinite(value):
        return StablemaxError(f"{place} is not finite", "give every row a class, or -100 for rows that do not count")
    if value != int(value):
        return StablemaxError(
            f"{place} is not integral", "labels are class numbers; soft targets have one column per class"
        )
    whole = int(value) if abs(value) < 2**64 else value
    number = f"{name}: row {row:,}: label {whole}"
    if value < 0:
        return StablemaxError(
            f"{number} is negative, and does not count from the end",
            f"if it marks rows that do not count: --ignore-index {whole}",
        )
    hint = f"classes are 0 to {classes - 1:,}"
    if array.dtype.kind == "u" and value == np.iinfo(array.dtype).max:
        hint += f"; -1 becomes this in {array.dtype.name}: save int64, with -100 for rows that do not count"
    elif value == classes:
        hint += "; if labels count from 1, save labels - 1"
    return StablemaxError(f"{number} is out of range for {classes:,} classes", hint)


def _soft(array: np.ndarray, name: str, first_row: int) -> np.ndarray:
    for start, piece in array_blocks(array):
        valid = (piece >= 0) & np.isfinite(piece)
        if not valid.all():
            row, column = (int(n) for n in np.unravel_index(np.argmin(valid), valid.shape))
            value = piece[row, column].item()
            place = f"{name}: row {first_row + start + row:,}, class {column:,}: soft target {value!r}"
            if not np.isfinite(value):
                raise StablemaxError(f"{place} is not finite", "soft targets are probabilities, 0 or more")
            raise StablemaxError(
                f"{place} is negative", "soft targets are probabilities, 0 or more; were logits passed as labels?"
            )
    return array if array.dtype == np.float64 and array.dtype.isnative else array.astype(np.float64)
