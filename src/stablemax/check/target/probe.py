"""An easy input, on which it is found out how a function wants to be called."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.check.target.messages import Call
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.operations.operation import Operation, Second
from stablemax.operations.targets import LabelTargets, second_of
from stablemax.operations.variant import evaluate, get

_ROWS, _CLASSES = 4, 5
_NEAR = 0.02
"""Relative to the largest number: coarse formats and kernels are as near; another order of arguments is not."""


class Fit(enum.IntEnum):
    """How well an output on the easy input fits the operation."""

    NONE = 0
    ANY_OUTPUT = 1
    SHAPE = 2
    RIGHT = 3


@dataclass(frozen=True)
class Probe:
    """The easy input for an operation, and what is right for it."""

    operation: Operation
    logits: Array
    second: Array | None
    #: What is right, of a loss for each row; known before the code is called, which may break anything.
    right: Array

    def call(self, fmt: Format) -> Call:
        """Return the call on the easy input in a number format."""
        second = self.second
        if second is not None and second.dtype.kind == "f":
            second = fmt.cast(second)
        return Call(fmt.cast(self.logits), second)

    def fit(self, output: Array) -> Fit:
        """Tell how well an output fits; of a loss its mean, its sum and those of the rows are all right."""
        right = self.right
        one_number = self.operation.reduces and output.size == 1
        allowed = [(_ROWS,), (_ROWS, 1)] if self.operation.per_row else [(_ROWS, _CLASSES)]
        if not one_number and output.shape not in allowed:
            return Fit.ANY_OUTPUT
        count = float(self.operation.loss_count(_ROWS, _CLASSES))
        values = output.astype(np.float64)
        if one_number:
            choices: Sequence[Any] = (right.sum(), right.sum() / count)
            return Fit.RIGHT if any(_is_near(values.reshape(()), choice) for choice in choices) else Fit.SHAPE
        choices = (right, right / count) if self.operation.of_losses else (right,)
        return Fit.RIGHT if any(_is_near(values.reshape(right.shape), choice) for choice in choices) else Fit.SHAPE

    def may_be(self, shape: tuple[int, ...], *, backward: bool = False) -> bool:
        """True for a shape that the operation gives; with `backward` for one of which autograd takes the gradient."""
        operation = self.operation.forward or self.operation if backward else self.operation
        one_number = operation.reduces and not shape
        return one_number or shape in ([(_ROWS,), (_ROWS, 1)] if operation.per_row else [self.logits.shape])


def is_like_the_logits(shape: tuple[int, ...]) -> bool:
    """True for the shape of the easy logits, which a gradient has."""
    return shape == (_ROWS, _CLASSES)


def probe_of(operation: Operation) -> Probe:
    """Return the easy input for an operation: rows that differ, and labels whose losses differ."""
    # Exact in 8 bits. No row is another's permutation, and each label's loss is another.
    logits = np.array(
        [
            [0.5, -1.0, 2.0, 0.0, 1.0],
            [1.5, 0.25, -0.5, 3.0, 0.0],
            [-2.0, 1.0, 0.5, 0.75, 2.5],
            [0.0, 2.0, -1.5, 1.0, -0.25],
        ]
    )
    others = np.array(
        [
            [1.0, 0.5, 0.25, 0.0, 0.75],
            [0.0, 1.0, 0.5, 0.25, 0.5],
            [0.25, 0.0, 1.0, 0.5, 0.0],
            [0.5, 0.75, 0.0, 1.0, 0.25],
        ]
    )
    labels = np.array([0, 3, 1, 4])
    second = {
        Second.NONE: None,
        Second.LABELS: labels,
        Second.CELL_TARGETS: others,
        Second.UPSTREAM: others * 2 - 0.5,
        Second.LOGITS: others * 3,
    }
    array = second[operation.second]
    return Probe(operation, logits, array, _right(operation, logits, array))


def _right(operation: Operation, logits: Array, array: Array | None) -> Array:
    xp = Arithmetic(FLOAT64)
    second = LabelTargets(labels=np.asarray(array)) if operation.needs_targets else second_of(operation, array, xp)
    return np.asarray(evaluate(get(operation.best_id), logits, xp, second), dtype=np.float64)


def _is_near(values: Array, right: Any) -> bool:
    return bool(np.abs(values - right).max() <= _NEAR * max(np.abs(right).max(), 1e-6))
