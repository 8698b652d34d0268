"""How rows of classes lie in the array that code gets: in one, three or four dimensions, the classes on any axis."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, Self

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


def shifted_labels(labels: Array, others: tuple[int, ...], ignored: int) -> Array:
    """Return the label that each row is to predict, where position t predicts the label at t + 1.

    >>> shifted_labels(np.array([3, 1, 2, 0, 4, 1]), (2, 3), -100).tolist()
    [1, 2, -100, 4, 1, -100]
    """
    sequences = labels.reshape(-1, others[-1])
    moved = np.full_like(sequences, ignored)
    moved[:, :-1] = sequences[:, 1:]
    return moved.reshape(-1)
