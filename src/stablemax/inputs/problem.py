"""Logits and labels of any layout as one problem: rows of classes, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.inputs.labels import (
    IGNORED,
    as_labels,
    check_label_dtype,
    shape_error,
)
from stablemax.inputs.noticed import in_blocks, inexact_integers, inexact_notes, odd_targets, soft_target_notes
from stablemax.inputs.source import ArrayFile
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.wording import shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Source:
    """Where an array of a problem comes from.

    Attributes
    ----------
    name : str
        Fit for a message.
    dtype : str
        As numpy names it.
    shape : tuple of int
        As stored.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Problem:
    """Logits as rows of classes, with their labels.

    Attributes
    ----------
    logits : numpy.ndarray
        (N, K), in the dtype and byte order of the source; a view of it where that is possible.
    labels : numpy.ndarray or None
        int64 (N,), float64 (N, K), or None.
    shape : tuple of int
        The original shape of the logits.
    axis : int
        The axis of the classes in it, not negative.
    notes : tuple of str
        What was found out, a sentence each.
    sources : tuple of Source
        The logits, and the labels if there are any.
    """

    logits: np.ndarray
    labels: np.ndarray | None
    shape: tuple[int, ...]
    axis: int
    notes: tuple[str, ...]
    sources: tuple[Source, ...]


def as_problem(
    logits: ArrayFile | np.ndarray,
    labels: ArrayFile | np.ndarray | None = None,
    *,
    axis: int | None = None,
    ignore_index: int | None = IGNORED,
) -> Problem:
    """Bring logits and labels into rows of classes.

    Parameters
    ----------
    logits : ArrayFile or numpy.ndarray
        One or more dimensions; one dimension is one row.
    labels : ArrayFile, numpy.ndarray or None
        Class numbers in the shape of the logits without the class axis, or soft targets in the
        shape of the logits. By default the label column of the logits' table.
    axis : int, optional
        The axis of the classes. By default found out from the shapes: the last, or 1 as PyTorch
        has it.
    ignore_index : int or None
        The label of rows that do not count.

    Returns
    -------
    Problem

    Raises
    ------
    StablemaxError
        When the two do not fit together; shapes are compared before data are read.

    Examples
    --------
    >>> problem = as_problem(np.zeros((2, 5, 3)), np.zeros((2, 3), int))
    >>> problem.logits.shape, problem.axis
    ((6, 5), 1)
    >>> problem.notes
    ('the logits: classes found on axis 1 of (2, 5, 3), from the shape of the labels',)
    """
    given = _file(logits, "the logits")
    targets = _label_file(given, labels)
    array = given.array
    found = find_axis(_described(given), None if targets is None else _described(targets), axis)
    place = found.axis
    notes = [*given.notes, *(targets.notes if targets is not None and targets is not given else ()), *found.notes]
    rows = _rows(array, place)
    checked = None
    if targets is not None:
        checked = as_labels(
            _label_rows(targets.array, array.shape, place),
            rows=rows.shape[0],
            classes=rows.shape[1],
            name=targets.name,
            ignore_index=ignore_index,
        )
        if checked.ndim == 2:
            notes.extend(soft_target_notes(in_blocks(odd_targets, checked), targets.name))
    notes.extend(inexact_notes(in_blocks(inexact_integers, rows), given.name))
    sources = tuple(
        Source(one.name, one.array.dtype.name, one.array.shape) for one in (given, targets) if one is not None
    )
    return Problem(rows, checked, array.shape, place, tuple(notes), sources)


@dataclass(frozen=True)
class Found:
    """The axis of the classes, and what there is to say about how it was found."""

    axis: int
    notes: tuple[str, ...] = ()


def find_axis(logits: StoredArray, labels: StoredArray | None, axis: int | None) -> Found:
    """Find the axis of the classes from the shapes alone.

    Parameters
    ----------
    logits, labels : StoredArray
        What they are; none of their numbers is read.
    axis : int, optional
        The axis that the user named.

    Returns
    -------
    Found

    Raises
    ------
    StablemaxError
        When they are not logits and labels, do not fit together, or fit in two ways.

    Examples
    --------
    >>> find_axis(StoredArray.of(np.zeros((2, 5, 3))), StoredArray.of(np.zeros((2, 3), int), "labels.npy"), None).axis
    1
    """
    _check_logits(logits, axis)
    shape, name = logits.shape, logits.name
    found = _normalised(axis, shape, name)
    notes: list[str] = []
    if labels is not None:
        check_swapped(shape, labels.shape, name, labels.name)
        check_label_dtype(labels.dtype, labels.name)
        candidates = _fitting(shape, labels.shape, found)
        if not candidates:
            raise shape_error(labels.shape, shape, labels.name)
        if len(candidates) > 1:
            raise _ambiguous(shape, labels, candidates)
        if found is None and candidates[0] != len(shape) - 1:
            notes.append(
                f"{name}: classes found on axis {candidates[0]} of {shape_of(shape)}, from the shape of the labels"
            )
        found = candidates[0]
    place = len(shape) - 1 if found is None else found
    _check_not_empty(shape, place, name)
    return Found(place, tuple(notes))


def restore(values: np.ndarray, problem: Problem) -> np.ndarray:
    """Put a result back into the layout of the logits.

    Parameters
    ----------
    values : numpy.ndarray
        (N, K), or (N,) for one value per row.
    problem : Problem
        Whose result it is.

    Returns
    -------
    numpy.ndarray
        In the shape of the logits, or in that shape without the class axis.

    Raises
    ------
    ValueError
        When the result has another shape.

    Examples
    --------
    >>> problem = as_problem(np.zeros((2, 5, 3)), axis=1)
    >>> restore(problem.logits, problem).shape
    (2, 5, 3)
    >>> restore(np.zeros(6), problem).shape
    (2, 3)
    """
    rows, classes = problem.logits.shape
    others = _without(problem.shape, problem.axis)
    if values.shape == (rows, classes):
        return np.moveaxis(values.reshape(*others, classes), -1, problem.axis)
    if values.shape == (rows,):
        return values.reshape(others)
    raise ValueError(f"a result of shape {values.shape} does not belong to {rows} rows of {classes} classes")


def check_swapped(logits: Sequence[int], labels: Sequence[int], logits_name: str, labels_name: str) -> None:
    """Refuse logits and labels that were given in the wrong order.

    Labels have at most as many dimensions as logits; more of them, fitting the other way round,
    can only mean that.

    Examples
    --------
    >>> check_swapped((4,), (4, 10), "labels.npy", "logits.npy")
    Traceback (most recent call last):
    stablemax.errors.StablemaxError: labels.npy: has shape (4,), logits.npy (4, 10):
    logits and labels are swapped
    """
    axes = _fitting(tuple(labels), tuple(logits), None) if len(labels) == len(logits) + 1 else []
    if any(labels[axis] > 1 for axis in axes):
        raise StablemaxError(
            f"{logits_name}: has shape {shape_of(logits)}, {labels_name} {shape_of(labels)}: "
            "logits and labels are swapped",
            "name the logits first, then the labels",
        )


def _file(given: ArrayFile | np.ndarray, name: str) -> ArrayFile:
    return given if isinstance(given, ArrayFile) else ArrayFile(np.asarray(given), name=name)


def _label_file(logits: ArrayFile, labels: ArrayFile | np.ndarray | None) -> ArrayFile | None:
    if labels is None:
        return None if logits.labels is None else ArrayFile(logits.labels, name=logits.name, format=logits.format)
    given = _file(labels, "the labels")
    if logits.labels is not None:
        raise StablemaxError(
            f"{logits.name}: labels come from its label column and from {given.name} as well",
            "leave out --label-column or the file of labels",
        )
    if given.labels is not None:
        raise StablemaxError(f"{given.name}: --label-column is for the file of the logits", "leave out --label-column")
    # A table always has two dimensions; one column of labels is one label per row.
    if given.format in {"csv", "tsv"} and given.array.ndim == 2 and given.array.shape[1] == 1:
        return ArrayFile(given.array[:, 0], None, given.name, given.notes, given.format)
    return given


def _described(file: ArrayFile) -> StoredArray:
    return StoredArray.of(file.array, file.name, format=file.format)


def _check_logits(logits: StoredArray, axis: int | None) -> None:
    name, dtype, shape = logits.name, logits.dtype, logits.shape
    if dtype.kind == "b":
        raise StablemaxError(
            f"{name}: holds booleans: a mask, not logits",
            "if 0 and 1 are meant as logits: x.astype(np.float32)",
        )
    if not _is_real(dtype):
        raise StablemaxError(f"{name}: holds {dtype.name}, not real numbers", "save x.astype(np.float32)")
    if not shape:
        raise StablemaxError(f"{name}: holds a single number, not a row of classes", "save x.reshape(1, -1)")
    if 0 in shape:
        place = _normalised(axis, shape, name)
        _check_not_empty(shape, len(shape) - 1 if place is None else place, name)


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


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _fitting(logits: tuple[int, ...], labels: tuple[int, ...], axis: int | None) -> list[int]:
    """Find the axes that can be that of the classes, given the shapes alone."""
    last = len(logits) - 1
    axes = sorted({min(1, last), last}) if axis is None else [axis]
    if labels == logits and not (last == 0 and labels == (1,)):
        return axes
    found = [one for one in axes if _without(logits, one) == labels]
    return [0] if last == 0 and labels == (1,) else found


def _ambiguous(shape: tuple[int, ...], labels: StoredArray, axes: Sequence[int]) -> StablemaxError:
    return StablemaxError(
        f"{labels.name}: labels of shape {shape_of(labels.shape)} fit logits of {shape_of(shape)} "
        f"with the classes on axis {axes[0]} and on axis {axes[-1]}",
        f"say which: --axis {axes[0]} or --axis {axes[-1]}",
    )


def _rows(array: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(array, axis, -1)
    return moved if moved.ndim == 2 else moved.reshape(-1, moved.shape[-1])


def _label_rows(labels: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    # One number for a single row of one class is a class number, not a soft target.
    if labels.shape == shape and labels.shape != (1,):
        return _rows(labels, axis)
    return labels.reshape(-1)
