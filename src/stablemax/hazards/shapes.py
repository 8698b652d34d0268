"""Shapes: inputs of sizes, orders and memory layouts at which tiled and blocked kernels failed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from stablemax.hazards.cases import HazardCase, Layout, rows
from stablemax.numerics.formats import Array, Format

TILES = tuple(2**k for k in range(4, 17))
"""Classes that a kernel takes at once: 16 to 65,536."""
ROW_COUNTS = (1, 2, 3, 31, 32, 33, 65, 127, 128, 129, 257)
"""Rows beside the blocks of rows that kernels take: 32, 64, 128 and 256."""
_CLASSES_OF_ROW_BLOCKS = 7
_MAX_EQUAL_TERMS = 4096
"""More equal terms, added to a large one, are each rounded the same way: torch.log_softmax of 65,536 is off by 3e-4."""


@dataclass(frozen=True)
class Shape:
    """The size, the order of values and the memory layout of an input."""

    rows: int
    classes: int
    #: What the order of values is called, and what makes it: (rows, classes, size of exponents) to logits.
    order: str
    logits: Callable[[int, int, float], Array]
    layout: Layout = Layout.C

    @property
    def name(self) -> str:
        """Name the shape: ``3 rows x 129 classes, the maximum in the last class``."""
        words = f"{self.rows:,} row{'s' * (self.rows > 1)} x {self.classes:,} classes, {self.order}"
        return words if self.layout is Layout.C else f"{words}, {self.layout}"

    def case(self, fmt: Format) -> HazardCase:
        """Return the input for a number format; labels are the last class and the first in turn, then any."""
        # Far enough apart for exp to overflow and underflow without a shift, and within the format.
        apart = min(1.2 * fmt.exp_overflow.real, fmt.max / 16)
        x = self.logits(self.rows, self.classes, float(math.floor(apart)))
        index = np.arange(self.rows)
        # No two blocks of rows have the same labels.
        labels = np.where(index < 3, (self.classes - 1) * (index % 2 == 0), index * 5 // 3 % self.classes)
        return replace(rows(x, labels), layout=self.layout)


def _peaks(count: int, classes: int, at: int) -> Array:
    """Return zeros with one class in each row as probable as all others together."""
    x = np.zeros((count, classes))
    x[:, at] = math.ceil(math.log(classes)) + np.arange(count) % 2
    return x


def _first(count: int, classes: int, _: float) -> Array:
    return _peaks(count, classes, 0)


def _middle(count: int, classes: int, _: float) -> Array:
    return _peaks(count, classes, classes // 2)


def _last(count: int, classes: int, _: float) -> Array:
    return _peaks(count, classes, classes - 1)


def _even(count: int, classes: int, _: float) -> Array:
    return np.zeros((count, classes))


def _low(count: int, classes: int, apart: float) -> Array:
    return np.full((count, classes), -apart)


def _rising(count: int, classes: int, apart: float) -> Array:
    """Return rows whose every half, and whose last class, is far above what comes before."""
    x = np.full((count, classes), -apart)
    x[:, (classes - 1) // 2 :] = 0.0
    x[:, -1] = apart
    return x


def _rows_apart(count: int, classes: int, apart: float) -> Array:
    """Return rows that differ in their size and in their most probable class."""
    index = np.arange(count)
    x = np.zeros((count, classes))
    x[index, index % classes] = 1.0 + index % 5
    return x + (index % 3 - 1.0)[:, None] * apart


def _distinct(count: int, classes: int, _: float) -> Array:
    """Return small numbers in no order, most of them different."""
    return (np.arange(count * classes) * 5 % 37).reshape(count, classes) / 8.0


_FIRST = "the maximum in the first class"
_MIDDLE = "the maximum in the middle"
_LAST = "the maximum in the last class"
_EVEN = "all logits equal"
_LOW = "all logits far below 0"
_RISING = "every half and the last class far above what comes before"
_APART = "rows far apart"
_DISTINCT = "logits in no order"


def _of_tiles() -> Iterator[Shape]:
    """Yield rows that end just before, at and just after the end of a tile."""
    for tile in TILES:
        count = 3 if tile < 1024 else 1
        yield Shape(count, tile - 1, _LOW, _low)
        if tile <= _MAX_EQUAL_TERMS:
            yield Shape(count, tile, _FIRST, _first)
            yield Shape(count, tile, _MIDDLE, _middle)
        yield Shape(count, tile + 1, _LAST, _last)
        yield Shape(count, tile + 1, _EVEN, _even)
        yield Shape(count, 2 * tile + 1, _RISING, _rising)


def _of_row_blocks() -> Iterator[Shape]:
    """Yield as many rows as a block has, and one less and more."""
    for count in ROW_COUNTS:
        yield Shape(count, _CLASSES_OF_ROW_BLOCKS, _APART, _rows_apart)


def _of_layouts() -> Iterator[Shape]:
    """Yield each memory layout."""
    for layout in Layout:
        yield Shape(3, _CLASSES_OF_ROW_BLOCKS, _DISTINCT, _distinct, layout)


SHAPES: tuple[Shape, ...] = tuple(
    sorted((*_of_layouts(), *_of_row_blocks(), *_of_tiles()), key=lambda shape: shape.rows * shape.classes)
)
"""All shapes, the smallest first."""
