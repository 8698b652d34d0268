"""How rows of classes lie in the array that code gets: in one, three or four dimensions, the classes on any axis."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np

from stablemax.numerics.formats import Array


class Arrangement(Protocol):
    """Puts rows (N, K), or one number a row (N,), into the array that code gets, and takes an output out of it."""

    def given(self, rows: Array) -> Array:
        """Return the array that the code gets."""

    def rows(self, output: Array) -> Array:
        """Return an output as rows (N, K), or as one number a row (N,); one number, and any other shape, stays."""

    def of_one_row(self) -> Arrangement:
        """Return the same for a single row."""

    @property
    def class_axis(self) -> int:
        """The axis of the classes."""

    @property
    def words(self) -> str:
        """The shape that the code gets."""


@dataclass(frozen=True)
class AsStored:
    """The rows lie as they do in the user's file.

    >>> AsStored((2, 5, 3), 1).given(np.arange(30).reshape(6, 5))[1, :, 2].tolist()
    [25, 26, 27, 28, 29]
    """

    #: The shape of the logits.
    shape: tuple[int, ...]
    #: The axis of the classes in it, not negative.
    axis: int

    @property
    def others(self) -> tuple[int, ...]:
        """The shape of one number a row."""
        return (*self.shape[: self.axis], *self.shape[self.axis + 1 :])

    @property
    def class_axis(self) -> int:
        """The axis of the classes; the last one is -1."""
        return -1 if self.axis == len(self.shape) - 1 else self.axis

    @property
    def words(self) -> str:
        """The shape that the code gets."""
        return str(self.shape)

    def given(self, rows: Array) -> Array:
        """Return the array that the code gets."""
        if rows.ndim == 1:
            return rows.reshape(self.others)
        return np.ascontiguousarray(np.moveaxis(rows.reshape(*self.others, rows.shape[1]), -1, self.axis))

    def rows(self, output: Array) -> Array:
        """Return an output as rows, or as one number a row."""
        if output.shape == self.shape:
            return np.moveaxis(output, self.axis, -1).reshape(-1, self.shape[self.axis])
        kept_axis = (*self.shape[: self.axis], 1, *self.shape[self.axis + 1 :])
        flat = (math.prod(self.others),)
        if output.ndim and output.shape in (self.others, kept_axis, flat):
            return output.reshape(-1)
        return output

    def of_one_row(self) -> Self:
        """Return the same for a single row: every other axis has length 1."""
        return replace(self, shape=tuple(n if i == self.axis else 1 for i, n in enumerate(self.shape)))


@dataclass(frozen=True)
class InBatch:
    """A batch that holds the rows as its only item, in the axes that the code wants.

    >>> InBatch("1kn1").given(np.arange(6).reshape(2, 3)).shape, InBatch("1kn1").given(np.arange(2)).shape
    ((1, 3, 2, 1), (1, 2, 1))
    """

    #: Of each axis whether it holds the rows (n), the classes (k) or one item (1).
    axes: str

    @property
    def class_axis(self) -> int:
        """The axis of the classes; the last one is -1."""
        axis = self.axes.index("k")
        return -1 if axis == len(self.axes) - 1 else axis

    @property
    def words(self) -> str:
        """The shape that the code gets."""
        return f"({', '.join(axis.upper() for axis in self.axes)})"

    def given(self, rows: Array) -> Array:
        """Return the array that the code gets."""
        if rows.ndim == 1:
            return rows[self._places(None, self.axes.replace("k", ""))]
        return np.ascontiguousarray((rows.T if self._is_transposed else rows)[self._places(None, self.axes)])

    def rows(self, output: Array) -> Array:
        """Return an output as rows, or as one number a row."""
        others = self.axes.replace("k", "")
        if self._has_one_item(output, self.axes):
            only = output[self._places(0, self.axes)]
            return only.T if self._is_transposed else only
        return output[self._places(0, others)] if self._has_one_item(output, others) else output

    def of_one_row(self) -> Self:
        """Return the same for a single row."""
        return self

    def code(self, variable: str, *, has_classes: bool) -> str:
        """Write the array that the code gets, of the variable that holds rows (N, K), or one number a row."""
        transposed = ".T" if has_classes and self._is_transposed else ""
        axes = self.axes if has_classes else self.axes.replace("k", "")
        return f"{variable}{transposed}[{', '.join('None' if axis == '1' else ':' for axis in axes)}]"

    def _has_one_item(self, output: Array, axes: str) -> bool:
        """True for an array of these axes, whose batch holds one item."""
        return output.ndim == len(axes) and all(
            n == 1 for n, axis in zip(output.shape, axes, strict=True) if axis == "1"
        )

    @property
    def _is_transposed(self) -> bool:
        return self.axes.index("k") < self.axes.index("n")

    def _places(self, of_one: int | None, axes: str) -> tuple[Any, ...]:
        return tuple(of_one if axis == "1" else slice(None) for axis in axes)


@dataclass(frozen=True)
class Shifted:
    """A sequence (1, T, K) whose position t is to predict the label at t + 1, as causal language models are trained.

    A row of logits is a position; a position is added at the end, and a label at the beginning, which nothing predicts.
    """

    class_axis = -1

    @property
    def words(self) -> str:
        """The shape that the code gets."""
        return "(1, T, K)"

    def given(self, rows: Array) -> Array:
        """Return the array that the code gets."""
        if rows.ndim == 1:
            return np.concatenate([np.zeros(1, rows.dtype), rows])[None]
        return np.concatenate([rows, np.zeros((1, rows.shape[1]), rows.dtype)])[None]

    def rows(self, output: Array) -> Array:
        """Return an output as rows, or as one number a row, without the position that predicts nothing."""
        if output.ndim == 3 and output.shape[0] == 1:
            return output[0, :-1]
        return output[0] if output.ndim == 2 and output.shape[0] == 1 else output

    def of_one_row(self) -> Self:
        """Return the same for a single row."""
        return self


def place_of(
    arrangement: Arrangement, shape: tuple[int, ...], index: tuple[int, ...], logits: tuple[int, int]
) -> tuple[int | None, int | None]:
    """Return row and class of a cell of an array that has the shape of the logits (N, K), or of one number a row.

    >>> pictures = AsStored((2, 5, 3), 1)
    >>> place_of(pictures, (2, 5, 3), (1, 4, 2), (6, 5)), place_of(pictures, (2, 1, 3), (1, 0, 0), (6, 5))
    ((5, 4), (3, None))
    """
    rows, classes = logits
    numbers = arrangement.given(np.arange(rows * classes).reshape(rows, classes))
    if shape == numbers.shape:
        return divmod(int(numbers[index]), classes)
    for of_rows in (
        np.take(numbers, 0, axis=arrangement.class_axis) // classes,
        np.take(numbers, [0], axis=arrangement.class_axis) // classes,
    ):
        if shape == of_rows.shape:
            return int(of_rows[index]), None
    return None, None


def shifted_labels(labels: Array, others: tuple[int, ...], ignored: int) -> Array:
    """Return the label that each row is to predict, where position t predicts the label at t + 1.

    >>> shifted_labels(np.array([3, 1, 2, 0, 4, 1]), (2, 3), -100).tolist()
    [1, 2, -100, 4, 1, -100]
    """
    sequences = labels.reshape(-1, others[-1])
    moved = np.full_like(sequences, ignored)
    moved[:, :-1] = sequences[:, 1:]
    return moved.reshape(-1)
