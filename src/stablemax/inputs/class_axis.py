"""Which axis of the logits holds the classes: found from the shapes of logits and labels alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.inputs.foreign_text import shape_of
from stablemax.inputs.labels import check_label_dtype, shape_error
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.inputs.stored import StoredArray


def find_axis(logits: StoredArray, labels: StoredArray | None, axis: int | None) -> tuple[int, tuple[str, ...]]:
    """Find the axis of the classes, and what there is to note about it; refuse what cannot be logits and labels.

    `axis` is the one that the user named. None of the numbers is read.

    >>> from stablemax.inputs.stored import StoredArray
    >>> find_axis(StoredArray.of(np.zeros((2, 5, 3))), StoredArray.of(np.zeros((2, 3), int), "labels.npy"), None)
    (1, ('the array: classes found on axis 1 of (2, 5, 3), from the shape of the labels',))
    """
    shape, name = logits.shape, logits.name
    _check_dtype(logits.dtype, name)
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
    candidates = _fitting(shape, labels.shape, named)
    if not candidates:
        raise shape_error(labels.shape, shape, labels.name)
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


def _check_dtype(dtype: np.dtype[Any], name: str) -> None:
    if dtype.kind == "b":
        raise StablemaxError(
            f"{name}: holds booleans: a mask, not logits", "if 0 and 1 are meant as logits: x.astype(np.float32)"
        )
    # bfloat16 and the 8-bit formats are kind V to NumPy, but their scalars are no np.void.
    if dtype.kind not in "iuf" and (dtype.kind != "V" or dtype.type is np.void):
        raise StablemaxError(f"{name}: holds {dtype.name}, not real numbers", "save x.astype(np.float32)")


def _normalised(axis: int, shape: tuple[int, ...], name: str) -> int:
    count = len(shape)
    if not -count <= axis < count:
        raise StablemaxError(
            f"--axis {axis}: {name} has {counted(count, 'dimension')}, shape {shape_of(shape)}",
            f"axes are 0 to {count - 1}, or -1 for the last",
        )
    return axis % count


def _fitting(logits: tuple[int, ...], labels: tuple[int, ...], axis: int | None) -> list[int]:
    """Find the axes that can be that of the classes, given the shapes alone."""
    last = len(logits) - 1
    # One number for a single row is a class number, also where the row has a single class.
    if last == 0 and labels == (1,):
        return [0]
    candidates = sorted({min(1, last), last}) if axis is None else [axis]
    return [candidate for candidate in candidates if labels in {logits, without_axis(logits, candidate)}]
