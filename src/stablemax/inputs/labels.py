"""Labels: one class per row, or a soft target per row, and the axis of the logits that holds the classes then."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stablemax.inputs.foreign_text import shape_of
from stablemax.inputs.input_warnings import array_blocks
from stablemax.inputs.stored import StoredArray
from stablemax.numerics.formats import format_of
from stablemax.operations.operation import Second
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED
from stablemax.text.words import counted


def find_axis(
    logits: StoredArray, labels: StoredArray | None, axis: int | None, second: Second = Second.LABELS
) -> tuple[int, tuple[str, ...]]:
    """Find the axis of the classes, and notes about it; refuse what cannot be logits and labels.

    `axis` is the one that the user named. None of the numbers is read.

    >>> from stablemax.inputs.stored import StoredArray
    >>> find_axis(StoredArray.of(np.zeros((2, 5, 3))), StoredArray.of(np.zeros((2, 3), int), "labels.npy"), None)
    (1, ('the array: classes found on axis 1 of (2, 5, 3), from the shape of the labels',))
    """
    shape, name = logits.shape, logits.name
    check_logits_dtype(logits.dtype, name)
    if not shape:
        raise StablemaxError(f"{name}: holds a single number, not a row of classes", "save x.reshape(1, -1)")
    named = None if axis is None else _normalised(axis, shape, name)
    last = len(shape) - 1
    chosen = last if named is None else named
    if shape[chosen] == 0:
        raise StablemaxError(f"{name}: has shape {shape_of(shape)}: no classes", "softmax needs at least one class")
    if 0 in shape:
        raise StablemaxError(f"{name}: has shape {shape_of(shape)}: no rows", "save at least one row of logits")
    if labels is None:
        return chosen, ()
    _check_swapped(shape, labels.shape, name, labels.name)
    check_label_dtype(labels.dtype, labels.name)
    candidates = fitting_axes(shape, labels.shape, named)
    if not candidates:
        raise shape_error(labels.shape, shape, labels.name, second)
    if len(candidates) > 1:
        raise StablemaxError(
            f"{labels.name}: labels of shape {shape_of(labels.shape)} fit logits of {shape_of(shape)} "
            f"with the classes on axis {candidates[0]} and on axis {candidates[-1]}",
            f"say which: --axis {candidates[0]} or --axis {candidates[-1]}",
        )
    if candidates[0] == chosen:
        return chosen, ()
    note = f"{name}: classes found on axis {candidates[0]} of {shape_of(shape)}, from the shape of the labels"
    return candidates[0], (note,)


def without_axis(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Return the shape of one number a row."""
    return shape[:axis] + shape[axis + 1 :]


def _check_swapped(logits: tuple[int, ...], labels: tuple[int, ...], logits_name: str, labels_name: str) -> None:
    """Refuse logits and labels that were given in the wrong order.

    Labels have at most as many dimensions as logits; more of them, fitting the other way round, can only mean that.
    """
    axes = fitting_axes(labels, logits, None) if len(labels) == len(logits) + 1 else []
    if any(labels[axis] > 1 for axis in axes):
        raise StablemaxError(
            f"{logits_name}: has shape {shape_of(logits)}, {labels_name} {shape_of(labels)}: "
            "logits and labels are swapped",
            "name the logits first, then the labels",
        )


def check_logits_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Refuse logits that are not real numbers."""
    if dtype.kind == "b":
        raise StablemaxError(
            f"{name}: holds booleans: a mask, not logits", "if 0 and 1 are meant as logits: x.astype(np.float32)"
        )
    if not holds_numbers(dtype):
        raise StablemaxError(f"{name}: holds {dtype.name}, not real numbers", "save x.astype(np.float32)")


def holds_numbers(dtype: np.dtype[Any]) -> bool:
    """Tell whether a dtype is one of real numbers."""
    # bfloat16 and the 8-bit formats are kind V to NumPy, but their scalars are no np.void.
    return dtype.kind in "iuf" or (dtype.kind == "V" and dtype.type is not np.void)


def _normalised(axis: int, shape: tuple[int, ...], name: str) -> int:
    count = len(shape)
    if not -count <= axis < count:
        raise StablemaxError(
            f"--axis {axis}: {name} has {counted(count, 'dimension')}, shape {shape_of(shape)}",
            f"axes are 0 to {count - 1}, or -1 for the last",
        )
    return axis % count


def fitting_axes(logits: tuple[int, ...], labels: tuple[int, ...], axis: int | None = None) -> list[int]:
    """Find the axes that may be that of the classes, from the shapes alone; `axis` is the one that was named.

    >>> fitting_axes((2, 3, 3), (2, 3))
    [1, 2]
    """
    if not logits:
        return []
    last = len(logits) - 1
    # One number for a single row is a class number, also where the row has a single class.
    if last == 0 and labels == (1,):
        return [0]
    candidates = sorted({min(1, last), last}) if axis is None else [axis]
    return [candidate for candidate in candidates if labels in {logits, without_axis(logits, candidate)}]


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
    with np.errstate(invalid="ignore"):  # a signalling NaN is refused as any other
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
        size = f"{counted(classes, 'row')} of {counted(rows, 'class')}"
        hint = f"are the classes on axis 0 of the logits? --axis 0 reads {size}"
    elif len(logits) > 2:
        hint = "labels have the shape of the logits without the class axis: --axis N says which that is"
    if len(labels) == 1 and len(logits) == 2:
        return StablemaxError(f"{name}: {counted(labels[0], 'label')} for {counted(rows, 'row')} of logits", hint)
    return StablemaxError(
        f"{name}: labels of shape {shape_of(labels)} do not fit logits of shape {shape_of(logits)}", hint
    )


def _hard(array: np.ndarray, classes: int, name: str, ignore_index: int | None, first_row: int) -> np.ndarray:
    for start, piece in array_blocks(array):
        # float16 is widened, because it holds no number of classes above 65,504.
        block = piece if piece.dtype.kind in "iu" else piece.astype(np.float64)
        valid = (block >= 0) & (block < classes)
        if block.dtype.kind == "f":
            valid &= block == np.floor(block)
        if ignore_index is not None and -(2**63) <= ignore_index < 2**63:
            valid |= block == ignore_index
        row = int(valid.argmin())
        if not valid[row]:
            raise _label_error(block[row].item(), first_row + start + row, array, classes, name)
    return array.astype(np.int64, copy=False)


def _label_error(value: int | float, row: int, array: np.ndarray, classes: int, name: str) -> StablemaxError:
    place = f"{name}: row {row:,}: label"
    if not math.isfinite(value):
        hint = "give every row a class, or -100 for rows that do not count"
        return StablemaxError(f"{place} {value!r} is not finite", hint)
    if value != int(value):
        hint = "labels are class numbers; soft targets have one column per class"
        return StablemaxError(f"{place} {value!r} is not integral", hint)
    whole = int(value) if abs(value) < 2**64 else value
    if value < 0:
        hint = f"if it marks rows that do not count: --ignore-index {whole}"
        return StablemaxError(f"{place} {whole} is negative, and does not count from the end", hint)
    hint = f"classes are 0 to {classes - 1:,}"
    if array.dtype.kind == "u" and value == np.iinfo(array.dtype).max:
        hint += f"; -1 becomes this in {array.dtype.name}: save int64, with -100 for rows that do not count"
    elif value == classes:
        hint += "; if labels count from 1, save labels - 1"
    return StablemaxError(f"{place} {whole} is out of range for {counted(classes, 'class')}", hint)


def _soft(array: np.ndarray, name: str, first_row: int) -> np.ndarray:
    for start, block in array_blocks(array):
        valid = (block >= 0) & np.isfinite(block)
        if not valid.all():
            row, column = (int(n) for n in np.unravel_index(np.argmin(valid), valid.shape))
            value, hint = block[row, column].item(), "soft targets are probabilities, 0 or more"
            place = f"{name}: row {first_row + start + row:,}, class {column:,}: soft target {value!r}"
            if not np.isfinite(value):
                raise StablemaxError(f"{place} is not finite", hint)
            raise StablemaxError(f"{place} is negative", f"{hint}; were logits passed as labels?")
    return array.astype(np.float64, copy=False)
