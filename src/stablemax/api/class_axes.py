"""The axes that the classes lie on: one, several, all or none, made one for what computes rows."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.inputs.foreign_text import shape_of
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.words import counted

_HINT = "one axis (the last is -1), a tuple of axes, or None: all"


@dataclass(frozen=True)
class ClassAxes:
    """Axes of an array whose numbers are one row together; without any, each number is a row of one class.

    >>> axes = ClassAxes.of((0, -1), (2, 5, 3))
    >>> axes.classes, axes.others, axes.kept
    (6, (5,), (1, 5, 1))
    """

    shape: tuple[int, ...]  #: of the array
    axes: tuple[int, ...]  #: not negative, ascending

    @classmethod
    def of(cls, axis: Any, shape: tuple[int, ...]) -> ClassAxes:
        """Take an axis, several, or None for all."""
        count = len(shape)
        if axis is None:
            return cls(shape, tuple(range(count)))
        given = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
        # NumPy lets a single number have an axis.
        whole = [_within(one, max(count, 1), shape) for one in given]
        if len(set(whole)) < len(whole):
            raise StablemaxError(f"axis={shown(axis)} names an axis twice", "each axis once")
        return cls(shape, tuple(sorted(whole)) if count else ())

    @property
    def classes(self) -> int:
        """K."""
        return math.prod(self.shape[axis] for axis in self.axes)

    @property
    def others(self) -> tuple[int, ...]:
        """The shape of one number a row."""
        return tuple(n for axis, n in enumerate(self.shape) if axis not in self.axes)

    @property
    def kept(self) -> tuple[int, ...]:
        """The same, with the axes of the classes as axes of 1; of a single number it is (1,), as SciPy has it."""
        return tuple(1 if axis in self.axes else n for axis, n in enumerate(self.shape)) or (1,)

    @property
    def _are_neighbours(self) -> bool:
        return not self.axes or self.axes[-1] - self.axes[0] == len(self.axes) - 1

    @property
    def merged_axis(self) -> int:
        """The axis of the classes in a `merged` array."""
        return self.axes[0] if self.axes and self._are_neighbours else len(self.others)

    def merged(self, array: Array) -> Array:
        """Return an array of the shape with the classes on one axis: a view where that is possible."""
        if len(self.axes) == 1:
            return array
        if not self._are_neighbours:
            array = np.moveaxis(array, self.axes, range(-len(self.axes), 0))
        at = self.merged_axis
        return array.reshape((*self.others[:at], self.classes, *self.others[at:]))

    def restored(self, values: Array) -> Array:
        """Return one number a class, given as in a `merged` array, in the shape of the array."""
        if values.shape == self.shape:
            return values
        if self._are_neighbours:
            return values.reshape(self.shape)
        moved = values.reshape((*self.others, *(self.shape[axis] for axis in self.axes)))
        return np.ascontiguousarray(np.moveaxis(moved, range(-len(self.axes), 0), self.axes))

    def rows(self, array: Array) -> Array:
        """Return an array of the shape as rows (N, K)."""
        return np.moveaxis(self.merged(array), self.merged_axis, -1).reshape(math.prod(self.others), self.classes)

    def of_rows(self, values: Array) -> Array:
        """Return rows (N, K) in the shape of the array."""
        return self.restored(np.moveaxis(values.reshape((*self.others, self.classes)), -1, self.merged_axis))

    def reduced(self, values: Array, *, keepdims: bool) -> Array:
        """Return one number a row, with the axes of the classes or without."""
        return values.reshape(self.kept if keepdims else self.others)


def _within(axis: Any, count: int, shape: tuple[int, ...]) -> int:
    try:
        whole = operator.index(axis)
    except TypeError:
        raise StablemaxError(f"axis={shown(axis)} is not a whole number", _HINT) from None
    if not -count <= whole < count:
        raise StablemaxError(
            f"axis {whole}: the logits have {counted(len(shape), 'dimension')}, shape {shape_of(shape)}",
            f"axes are 0 to {count - 1}, or -1 for the last",
        )
    return whole % count
