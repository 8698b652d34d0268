"""Logits with their labels as rows of classes: a stream that is read in blocks, or a problem in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stablemax.inputs.blocks import Block
from stablemax.inputs.foreign_text import shape_of
from stablemax.inputs.formats import FORMATS
from stablemax.inputs.input_warnings import in_blocks, inexact_integers, inexact_notes, odd_targets, soft_target_notes
from stablemax.inputs.labels import as_labels, find_axis, without_axis
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.stored_rows import Part, Rows, joined
from stablemax.inputs.workspace import Workspace
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Second
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED


@dataclass(frozen=True)
class Source:
    """Where an array of an input comes from."""

    #: The name that messages show.
    name: str
    #: As NumPy names it.
    dtype: str
    #: As stored; several files taken as one.
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Problem:
    """A loaded `Stream`: logits as rows of classes in memory, with their checked labels."""

    #: (N, K), in the dtype and byte order of the source; a view of it where that is possible.
    logits: Array
    #: int64 (N,), float64 (N, K) of soft targets, or None.
    labels: Array | None
    #: These as in `Stream`.
    shape: tuple[int, ...]
    axis: int
    notes: tuple[str, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True, eq=False)
class Stream:
    """Logits as rows of classes with their labels; none of the numbers is read yet.

    It can be sent to another process.
    """

    #: (N, K).
    logits: Rows
    #: (N, 1) of class numbers, or (N, K) of soft targets.
    labels: Rows | None
    #: The shape of the logits, several files taken as one.
    shape: tuple[int, ...]
    #: The axis of the classes in it, not negative.
    axis: int
    #: What was found out, a sentence each.
    notes: tuple[str, ...]
    #: The logits, and the labels if there are any.
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
        return without_axis(self.shape, self.axis)

    @property
    def has_soft_targets(self) -> bool:
        """Whether the labels are a weight for every class."""
        return self.labels is not None and self.labels.parts[0].axis is not None

    def read_labels(self, block: Block, ignore_index: int | None, workspace: Workspace) -> Array:
        """Read the labels of a block: int64 (n,), or float64 (n, K) of soft targets.

        The first label that is not a class is refused, with its file and its row there.
        """
        assert self.labels is not None
        checked = []
        for part, start, stop, _ in self.labels.parts_of(block.start, block.stop):
            read = part.read(start, stop, 0, self.labels.classes, workspace)
            labels = self._checked(read, part, ignore_index, start)
            # The next reading overwrites the workspace.
            checked.append(labels.copy())
        return joined(checked)

    def read_array(self, block: Block, workspace: Workspace, *, in_unit_range: bool) -> Array:
        """Read the second array (n, K) of a block; with `in_unit_range` refuse what is not in [0, 1], by its place."""
        assert self.labels is not None
        # The next reading overwrites the workspace.
        array = self.labels.read(block.start, block.stop, workspace).copy()
        if in_unit_range:
            with np.errstate(invalid="ignore"):
                # A NaN is outside, too.
                outside = np.argwhere(~((array >= 0) & (array <= 1)))
            if len(outside):
                row, column = map(int, outside[0])
                name, place = self.labels.place(block.start + row)
                raise StablemaxError(
                    f"{name}: row {place}, class {column}: the target {float(array[row, column]):g} is not in [0, 1]",
                    "a target of a cell is a probability",
                )
        return array

    def _checked(self, rows: Array, part: Part, ignore_index: int | None, first_row: int = 0) -> Array:
        return as_labels(
            rows if self.has_soft_targets else rows[:, 0],
            rows=len(rows),
            classes=self.classes,
            name=part.stored.name,
            ignore_index=ignore_index,
            first_row=first_row,
        )

    def load(self, ignore_index: int | None = IGNORED, second: Second = Second.LABELS) -> Problem:
        """Take all rows, large ones in a temporary file that is mapped, with the labels checked as what they are."""
        rows, labels, notes = self.logits.whole(), None, list(self.notes)
        if self.has_soft_targets and second is not Second.LABELS:
            with Workspace() as workspace:
                in_unit_range = second is Second.CELL_TARGETS
                labels = self.read_array(Block(0, self.rows), workspace, in_unit_range=in_unit_range)
        elif self.labels is not None:
            labels = joined([self._checked(part.whole(), part, ignore_index) for part in self.labels.parts])
            if labels.ndim == 2:
                notes += soft_target_notes(in_blocks(odd_targets, labels), self.sources[-1].name)
        notes += inexact_notes(in_blocks(inexact_integers, rows), self.sources[0].name)
        return Problem(rows, labels, self.shape, self.axis, tuple(notes), self.sources)


def as_stream(
    logits: Sequence[StoredArray] | StoredArray,
    labels: Sequence[StoredArray] | StoredArray = (),
    *,
    axis: int | None = None,
    second: Second = Second.LABELS,
) -> Stream:
    """Take stored arrays as one input, one after the other; shapes are compared before any number is read.

    Several arrays of logits have one dtype, and one shape but for the first axis; labels may be cut at other rows, and
    are by default the label columns of the logits' tables. The axis of the classes is found from the shapes where it is
    not given: the last, or 1 as PyTorch has it. `second` says what is meant where the shapes do not fit.

    >>> two = [StoredArray.of(np.zeros((2, 3)), "a.npy"), StoredArray.of(np.ones((1, 3)), "b.npy")]
    >>> stream = as_stream(two, StoredArray.of(np.arange(3), "y.npy"))
    >>> stream.rows, stream.classes, stream.logits.place(2)
    (3, 3, ('b.npy', 0))
    """
    files = _sequence(logits)
    targets = _targets(files, _sequence(labels))
    arrays = [_as_rows(stored) for stored in files] if len(files) > 1 else files
    whole = _joined(arrays)
    target = _joined(targets) if targets else None
    class_axis, axis_notes = find_axis(whole, target, axis, second)
    if len(files) > 1 and class_axis == 0:
        raise StablemaxError(
            f"{len(files)} files of logits, of {shape_of(whole.shape)} together, have their classes on axis 0",
            "files are joined along axis 0: give one file, or files with a row for each token",
        )
    notes = [note for stored in (*files, *targets) for note in stored.notes]
    rows, label_rows = Rows(tuple(Part(array, class_axis) for array in arrays)), None
    if target is not None:
        # One number for a single row of one class is a class number, not a soft target.
        soft = target.shape == whole.shape and target.shape != (1,)
        label_rows = Rows(tuple(Part(array, class_axis if soft else None) for array in targets))
    sources = tuple(Source(array.name, array.dtype.name, array.shape) for array in (whole, target) if array is not None)
    return Stream(rows, label_rows, whole.shape, class_axis, (*notes, *axis_notes), sources)


def as_problem(
    logits: StoredArray | Array,
    labels: StoredArray | Array | None = None,
    *,
    axis: int | None = None,
    ignore_index: int | None = IGNORED,
    second: Second = Second.LABELS,
) -> Problem:
    """Bring logits and labels into rows of classes in memory, as `as_stream` and `Stream.load` do.

    >>> problem = as_problem(np.zeros((2, 5, 3)), np.zeros((2, 3), int))
    >>> problem.logits.shape, problem.axis
    ((6, 5), 1)
    >>> problem.notes
    ('the logits: classes found on axis 1 of (2, 5, 3), from the shape of the labels',)
    """
    targets = () if labels is None else _stored(labels, "the labels")
    return as_stream(_stored(logits, "the logits"), targets, axis=axis, second=second).load(ignore_index, second)


def restore(values: Array, problem: Problem) -> Array:
    """Put a result (N, K), or (N,) of one number a row, back into the layout of the logits.

    >>> problem = as_problem(np.zeros((2, 5, 3)), axis=1)
    >>> restore(problem.logits, problem).shape
    (2, 5, 3)
    >>> restore(np.zeros(6), problem).shape
    (2, 3)
    """
    rows, classes = problem.logits.shape
    others = without_axis(problem.shape, problem.axis)
    if values.shape == (rows, classes):
        return np.moveaxis(values.reshape(*others, classes), -1, problem.axis)
    if values.shape == (rows,):
        return values.reshape(others)
    raise ValueError(f"a result of shape {values.shape} does not belong to {rows} rows of {classes} classes")


def _stored(given: StoredArray | Array, name: str) -> StoredArray:
    return given if isinstance(given, StoredArray) else StoredArray.of(np.asarray(given), name)


def _sequence(given: Sequence[StoredArray] | StoredArray) -> list[StoredArray]:
    return [given] if isinstance(given, StoredArray) else list(given)


def _as_rows(stored: StoredArray) -> StoredArray:
    """Take an array of one dimension for one row."""
    if len(stored.shape) != 1:
        return stored
    memory = None if stored.memory is None else stored.memory[np.newaxis]
    return replace(stored, shape=(1, *stored.shape), memory=memory)


def _targets(logits: list[StoredArray], labels: list[StoredArray]) -> list[StoredArray]:
    """Return the labels: of files of their own, or the label columns of the logits."""
    columns = [stored.labels for stored in logits if stored.labels is not None]
    if not labels:
        return columns
    if columns:
        raise StablemaxError(
            f"{logits[0].name}: labels come from its label column and from {labels[0].name} as well",
            "leave out --label-column or the file of labels",
        )
    for stored in labels:
        if stored.labels is not None:
            hint = "leave out --label-column"
            raise StablemaxError(f"{stored.name}: --label-column is for the file of the logits", hint)
    return [_without_column_axis(stored) for stored in labels]


def _without_column_axis(stored: StoredArray) -> StoredArray:
    """Take a table of one column, which always has two dimensions, as one label a row."""
    if not FORMATS[stored.format].is_table or len(stored.shape) != 2 or stored.shape[1] != 1:
        return stored
    return replace(stored, shape=stored.shape[:1], memory=None if stored.memory is None else stored.memory[:, 0])


def _joined(arrays: list[StoredArray]) -> StoredArray:
    """Describe arrays that follow each other along the first axis as one."""
    first = arrays[0]
    if len(arrays) == 1:
        return first
    for stored in arrays[1:]:
        if stored.dtype.newbyteorder("=") != first.dtype.newbyteorder("="):
            raise StablemaxError(
                f"{stored.name}: holds {stored.dtype.name}, and {first.name} {first.dtype.name}",
                "files that are one input have one format; convert one of them: x.astype(...)",
            )
        if not stored.shape or stored.shape[1:] != first.shape[1:] or len(stored.shape) != len(first.shape):
            raise StablemaxError(
                f"{stored.name}: has shape {shape_of(stored.shape)}, and {first.name} {shape_of(first.shape)}",
                "files that are one input differ in their first axis at most",
            )
    rows = sum(stored.shape[0] for stored in arrays)
    name = f"{first.name} and {len(arrays) - 1:,} more"
    return StoredArray((rows, *first.shape[1:]), first.dtype, name, first.format)
