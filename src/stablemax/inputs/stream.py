"""Logits and labels of any size as rows that are read a block at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.inputs.labels import as_labels
from stablemax.inputs.problem import Source, find_axis
from stablemax.inputs.rows import Part, Rows
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.wording import shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.blocks import Block
    from stablemax.formats import Array
    from stablemax.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Stream:
    """Logits as rows of classes with their labels; none of the numbers is read yet.

    It can be sent to another process.

    Attributes
    ----------
    logits : Rows
        (N, K).
    labels : Rows or None
        (N, 1) of class numbers, or (N, K) of soft targets.
    shape : tuple of int
        The shape of the logits, several files taken as one.
    axis : int
        The axis of the classes in it, not negative.
    notes : tuple of str
        What was found out, a sentence each.
    sources : tuple of Source
        The logits, and the labels if there are any.
    """

    logits: Rows
    labels: Rows | None
    shape: tuple[int, ...]
    axis: int
    notes: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def rows(self) -> int:
        """N."""
        return self.logits.rows

    @property
    def classes(self) -> int:
        """K."""
        return self.logits.classes

    @property
    def others(self) -> tuple[int, ...]:
        """The shape of one number a row: that of the logits without the axis of the classes."""
        return self.shape[: self.axis] + self.shape[self.axis + 1 :]

    @property
    def has_soft_targets(self) -> bool:
        """Whether the labels are a weight for every class."""
        return self.labels is not None and self.labels.parts[0].axis is not None

    def read_labels(self, block: Block, ignore_index: int | None, workspace: Workspace) -> Array:
        """Read and check the labels of a block.

        Returns
        -------
        ndarray
            int64 (n,), or float64 (n, K) of soft targets.

        Raises
        ------
        StablemaxError
            At the first label that is not a class, with its file and its row there.
        """
        assert self.labels is not None
        checked = []
        for part, start, stop, _ in self.labels.parts_of(block.start, block.stop):
            read = part.read(start, stop, 0, self.labels.classes, workspace)
            labels = as_labels(
                read if self.has_soft_targets else read[:, 0],
                rows=len(read),
                classes=self.classes,
                name=part.stored.name,
                ignore_index=ignore_index,
                first_row=start,
            )
            # What lies in the workspace is overwritten by the next reading.
            checked.append(labels.copy())
        return checked[0] if len(checked) == 1 else np.concatenate(checked)


def as_stream(
    logits: Sequence[StoredArray] | StoredArray,
    labels: Sequence[StoredArray] | StoredArray = (),
    *,
    axis: int | None = None,
) -> Stream:
    """Take stored arrays as one input, one after the other.

    Parameters
    ----------
    logits : StoredArray or sequence of them
        Of one dtype, and of one shape but for the first axis; an array of one dimension is one row.
    labels : StoredArray or sequence of them
        They may be cut at other rows. By default the label columns of the logits' tables.
    axis : int, optional
        The axis of the classes; by default found out from the shapes.

    Returns
    -------
    Stream

    Raises
    ------
    StablemaxError
        When they do not fit together.

    Examples
    --------
    >>> two = [StoredArray.of(np.zeros((2, 3)), "a.npy"), StoredArray.of(np.ones((1, 3)), "b.npy")]
    >>> stream = as_stream(two, StoredArray.of(np.arange(3), "y.npy"))
    >>> stream.rows, stream.classes, stream.logits.place(2)
    (3, 3, ('b.npy', 0))
    """
    given = _sequence(logits)
    targets = _targets(given, _sequence(labels))
    whole = _joined([_as_rows(one) for one in given] if len(given) > 1 else given)
    target = _joined(targets) if targets else None
    found = find_axis(whole, target, axis)
    if len(given) > 1 and found.axis == 0:
        raise StablemaxError(
            f"{len(given)} files of logits, of {shape_of(whole.shape)} together, have their classes on axis 0",
            "files are joined along axis 0: give one file, or files with a row for each token",
        )
    notes = [note for one in (*given, *(t for t in targets if t not in given)) for note in one.notes]
    rows = Rows(tuple(Part(one if len(given) == 1 else _as_rows(one), found.axis) for one in given))
    label_rows = None
    if target is not None:
        soft = target.shape == whole.shape and target.shape != (1,)
        label_rows = Rows(tuple(Part(one, found.axis if soft else None) for one in targets))
    sources = tuple(Source(one.name, one.dtype.name, one.shape) for one in (whole, target) if one is not None)
    return Stream(rows, label_rows, whole.shape, found.axis, (*notes, *found.notes), sources)


def _sequence(given: Sequence[StoredArray] | StoredArray) -> list[StoredArray]:
    return [given] if isinstance(given, StoredArray) else list(given)


def _as_rows(one: StoredArray) -> StoredArray:
    """Take an array of one dimension for one row."""
    if len(one.shape) != 1:
        return one
    memory = None if one.memory is None else one.memory[np.newaxis]
    return replace(one, shape=(1, *one.shape), memory=memory)


def _targets(logits: list[StoredArray], labels: list[StoredArray]) -> list[StoredArray]:
    columns = [one.labels for one in logits if one.labels is not None]
    if not labels:
        return columns
    if columns:
        raise StablemaxError(
            f"{logits[0].name}: labels come from its label column and from {labels[0].name} as well",
            "leave out --label-column or the file of labels",
        )
    for one in labels:
        if one.labels is not None:
            raise StablemaxError(
                f"{one.name}: --label-column is for the file of the logits", "leave out --label-column"
            )
    return [_without_column_axis(one) for one in labels]


def _without_column_axis(one: StoredArray) -> StoredArray:
    """Take a table of one column, which always has two dimensions, as one label a row."""
    if one.format not in {"csv", "tsv", "parquet"} or len(one.shape) != 2 or one.shape[1] != 1:
        return one
    return replace(one, shape=one.shape[:1], memory=None if one.memory is None else one.memory[:, 0])


def _joined(arrays: list[StoredArray]) -> StoredArray:
    """Describe arrays that follow each other along the first axis as one."""
    first = arrays[0]
    if len(arrays) == 1:
        return first
    for one in arrays[1:]:
        if one.dtype.newbyteorder("=") != first.dtype.newbyteorder("="):
            raise StablemaxError(
                f"{one.name}: holds {one.dtype.name}, and {first.name} {first.dtype.name}",
                "files that are one input have one format; convert one of them: x.astype(...)",
            )
        if not one.shape or one.shape[1:] != first.shape[1:] or len(one.shape) != len(first.shape):
            raise StablemaxError(
                f"{one.name}: has shape {shape_of(one.shape)}, and {first.name} {shape_of(first.shape)}",
                "files that are one input differ in their first axis at most",
            )
    rows = sum(one.shape[0] for one in arrays)
    name = f"{first.name} and {len(arrays) - 1:,} more"
    return StoredArray((rows, *first.shape[1:]), first.dtype, name, first.format)
