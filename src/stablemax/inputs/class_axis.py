"""Which axis of the logits holds the classes: found from the shapes of logits and labels alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.inputs.foreign_text import shape_of
from stablemax.inputs.labels import check_label_dtype, shape_error
from stablemax.operations.operation import Second
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.inputs.stored import StoredArray


def find_axis(
    logits: StoredArray, labels: StoredArray | None, axis: int | None, second: Second = Second.LABELS
) -> tuple[int, tuple[str, ...]]:
    """Find the axis of the classes, and what there is to note about it; refuse what cannot be logits and labels.

    `axis` is the one that the user named. None of the numbers is read.

    >>> from stablemax.inputs.stored import StoredArray
    >>> find_axis(StoredArray.of(np.zeros((2, 5, 3))), StoredArray.of(np.zeros((2, 3), int), "labels.npy"), None)
    (1, ('the array: classes found on axis 1 of (2, 5, 3), from the shape of the labels',))
    """
    _check_logits(logits, axis)
    shape, name = logits.shape, logits.name
    given = _normalised(axis, shape, name)
    chosen = len(shape) - 1 if given is None else given
    notes: tuple[str, ...] = ()
    if labels is not None:
        _check_swapped(shape, labels.shape, name, labels.name)
        check_label_dtype(labels.dtype, labels.name)
        candidates = _fitting(shape, labels.shape, given)
        if not candidates:
            raise shape_error(labels.shape, shape, labels.name, second)
        if len(candidates) > 1:
            raise StablemaxError(
                f"{labels.name}: labels of shape {shape_of(labels.shape)} fit logits of {shape_of(shape)} "
                f"with the classes on axis {candidates[0]} and on axis {candidates[-1]}",
                f"say which: --axis {candidates[0]} or --axis {candidates[-1]}",
            )
        if given is None and candidates[0] != chosen:
            notes = (
                f"{name}: classes found on axis {candidates[0]} of {shape_of(shape)}, from the shape of the labels",
            )
        chosen = candidates[0]
    _check_not_empty(shape, chosen, name)
    return chosen, notes


def without_axis(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Return the shape of one number a row."""
    return shape[:axis] + shape[axis + 1 :]


def _check_swapped(logits: Sequence[int], labels: Sequence[int], logits_name: str, labels_name: str) -> None:
    """Refuse logits and labels that were given in the wrong order.

    Labels have at most as many dimensions as logits; more of them, fitting the other way round, can only mean that.
    """
    axes = _fitting(tuple(labels), tuple(logits), None) if len(labels) == len(logits) + 1 else []
    if any(labels[axis] > 1 for axis in axes):
        raise StablemaxError(
            f"{logits_name}: has shape {shape_of(logits)}, {labels_name} {shape_of(labels)}: "
            "logits and labels are swapped",
            "name the logits first, then the labels",
        )


def _check_logits(logits: StoredArray, axis: int | None) -> None:
    name, dtype, shape = logits.name, logits.dtype, logits.shape
    if dtype.kind == "b":
        raise StablemaxError(
            f"{name}: holds booleans: a mask, not logits", "if 0 and 1 are meant as logits: x.astype(np.float32)"
        )
    if not _is_real(dtype):
        raise StablemaxError(f"{name}: holds {dtype.name}, not real numbers", "save x.astype(np.float32)")
    if not shape:
        raise StablemaxError(f"{name}: holds a single number, not a row of classes", "save x.reshape(1, -1)")
    if 0 in shape:
        given = _normalised(axis, shape, name)
        _check_not_empty(shape, len(shape) - 1 if given is None else given, name)


def _is_real(dtype: np.dtype[Any]) -> bool:
    # bfloat16 and the 8-bit formats are kind V to NumPy, but their scalars are no np.void.
    return dtype.kind in "iuf" or (dtype.kind == "V" and dtype.type is not np.void)


def _check_not_empty(shape: tuple[int, ...], axis: int, name: str) -> None:
    if shape[axis] == 0:
        raise StablemaxError(f"{name}: has shape {shape_of(shape)}: no classes", "softmax needs at least one class")
    if 0 in shape:
        raise StablemaxError(f"{name}: has shape {shape_of(shape)}: no rows", "save at least one row of logits")


def _normalised(axis: int | None, shape: tuple[int, ...], name: str) -> int | None:
    if axis is None:
        return None
    count = len(shape)
    if not -count <= axis < count:
        raise StablemaxError(
            f"--axis {axis}: {name} has {count} dimension{'s' if count > 1 else ''}, shape {shape_of(shape)}",
            f"axes are 0 to {count - 1}, or -1 for the last",
        )
    return axis % count


def _fitting(logits: tuple[int, ...], labels: tuple[int, ...], axis: int | None) -> list[int]:
    """Find the axes that can be that of the classes, given the shapes alone."""
    last = len(logits) - 1
    axes = sorted({min(1, last), last}) if axis is None else [axis]
    # One number for a single row is a class number, also where the row has a single class.
    if last == 0 and labels == (1,):
        return [0]
    return axes if labels == logits else [one for one in axes if without_axis(logits, one) == labels]
