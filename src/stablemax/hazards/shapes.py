"""Shapes: inputs of sizes, orders, memory layouts and dimensions at which tiled and blocked kernels failed.

What each kind finds of 58 seeded bugs, and in how long, truth and judging included (tests/benchmarks/shapes.py, on
two busy cores); `new` are bugs that no row above finds. So the smallest come first, and large ones are few.

=======================================  ======  ===========  ====  ===  =============
size                                     shapes  s a kernel   bugs  new  bugs a second
=======================================  ======  ===========  ====  ===  =============
blocks of more than 3 rows                   26        0.455    26   26             57
1,100 to 9,000 classes                       21        0.895    29   21             32
up to 1,100 classes                          58        1.578    32    4             20
9,000 to 131,073 classes                     18        1.437    30    1             21
=======================================  ======  ===========  ====  ===  =============

=======================================  ======  ===========  ====  ===  =============
kind, of all sizes                       shapes  s a kernel   bugs  new  bugs a second
=======================================  ======  ===========  ====  ===  =============
rows ignored or with weights                 12        0.002     1    1            624
three and four dimensions                     2        0.030     8    4            267
memory layouts                                6        0.107     9    4             84
rows far apart                               15        0.474    23   16             49
rising                                       13        0.707    20   19             28
falling                                      13        0.492     7    2             14
the maximum in the middle                     9        0.334    13    1             39
all far below 0                              13        0.516    19    0             37
all equal                                    13        0.460    14    0             30
the maximum in the first class                9        0.334     9    0             27
the maximum in the last two classes          18        0.910    24    0             26
=======================================  ======  ===========  ====  ===  =============
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from stablemax.hazards.cases import Axes, HazardCase, Layout, rows
from stablemax.numerics.formats import Array, Format
from stablemax.text.vocabulary import IGNORED
from stablemax.text.words import listed

DIMENSIONS, LAST_AXIS, INTEGERS = "dimensions", "last-axis", "integers"
"""What code may take beside rows of classes in floats: more dimensions, with the classes on the last axis or on axis 1;
the same with the classes on the last axis; integers."""
TAKEN = (DIMENSIONS, INTEGERS, LAST_AXIS)
TILES = tuple(2**k for k in range(4, 17))
"""Classes that a kernel takes at once: 16 to 65,536."""
MANY_TILES = (240, 3000, 5040, 96_000, 100_000)
"""Classes that make whole tiles of many other sizes: 12, 20, 48, 96, 100, 768, 1000, 20,000, ..."""
ROW_COUNTS = (1, 2, 3, 31, 32, 33, 65, 127, 128, 129, 256, 257, 384, 512, 600)
"""Rows beside the blocks of rows that kernels take, 32, 64, 128 and 256, and whole blocks of many other sizes."""
_CLASSES_OF_ROW_BLOCKS = 7
_FEW_CLASSES = 5
BLOCKED_ROW_COUNTS = (33, 65, 129, 257)
"""Rows of which some are ignored, or have weights: in the first block, in later ones and in the rest."""
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
    axes: Axes | None = None
    #: From `hazards.hazard.NEEDS`: ignored rows and weights of the classes are in every block of rows.
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name the shape: ``3 rows x 129 classes, all logits equal``."""
        size = f"{self.rows:,} row{'s' * (self.rows > 1)} x {self.classes:,} classes"
        if self.axes is not None:
            lengths = self.axes.shape(self.classes)
            where = "the last axis" if self.axes.class_axis == -1 else f"axis {self.axes.class_axis}"
            size = f"{' x '.join(map(str, lengths))}{f', classes on {where}' if self.axes.others else ' classes'}"
        with_targets = [f"with {listed([_WORDS_OF_NEEDS[need] for need in self.needs])}"] if self.needs else []
        layout = [] if self.layout is Layout.C else [str(self.layout)]
        return ", ".join([size, self.order, *layout, *with_targets])

    @property
    def dimensions(self) -> int:
        """How many axes the logits have."""
        return 2 if self.axes is None else len(self.axes.others) + 1

    def case(self, fmt: Format) -> HazardCase:
        """Return the input for a number format; labels are the last class and the first in turn, then any."""
        # Far enough apart for exp to overflow and underflow without a shift, and within the format.
        apart = min(1.2 * fmt.exp_overflow.real, fmt.max / 16)
        x = self.logits(self.rows, self.classes, float(math.floor(apart)))
        index = np.arange(self.rows)
        # No two blocks of rows have the same labels.
        labels = np.where(index < 3, (self.classes - 1) * (index % 2 == 0), index * 5 // 3 % self.classes)
        if "ignore-index" in self.needs:
            labels[index % 3 == 1] = IGNORED
        weight = 1.0 + np.arange(self.classes) % 4 if "weights" in self.needs else None
        return replace(rows(x, labels), layout=self.layout, axes=self.axes, weight=weight)


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
    # The last class of a whole tile, and the first that is left over.
    return np.maximum(_peaks(count, classes, classes - 1), _peaks(count, classes, classes - 2))


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


def _falling(count: int, classes: int, apart: float) -> Array:
    """Return rows that begin far above all that follows, and end far below it."""
    x = np.zeros((count, classes))
    x[:, 0], x[:, -1] = apart, -apart
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


_WORDS_OF_NEEDS = {"ignore-index": "ignored rows", "weights": "weights"}
_FIRST = "the maximum in the first class"
_MIDDLE = "the maximum in the middle"
_LAST = "the maximum in the last two classes"
_EVEN = "all logits equal"
_LOW = "all logits far below 0"
_RISING = "every half and the last class far above what comes before"
_FALLING = "the first class far above and the last far below the others"
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
        yield Shape(count, tile + 1, _FALLING, _falling)
        yield Shape(count, 2 * tile + 1, _RISING, _rising)
    for classes in MANY_TILES:
        yield Shape(1, classes, _LAST, _last)


def _of_row_blocks() -> Iterator[Shape]:
    """Yield as many rows as a block has, and one less and more."""
    for count in ROW_COUNTS:
        yield Shape(count, _CLASSES_OF_ROW_BLOCKS, _APART, _rows_apart)
    for count in BLOCKED_ROW_COUNTS:
        for needs in (("ignore-index",), ("weights",), ("ignore-index", "weights")):
            yield Shape(count, _CLASSES_OF_ROW_BLOCKS, _APART, _rows_apart, needs=needs)


def _of_layouts() -> Iterator[Shape]:
    """Yield each memory layout."""
    for layout in Layout:
        yield Shape(3, _CLASSES_OF_ROW_BLOCKS, _DISTINCT, _distinct, layout)


SHAPES: tuple[Shape, ...] = tuple(
    sorted((*_of_layouts(), *_of_row_blocks(), *_of_tiles()), key=lambda shape: shape.rows * shape.classes)
)
"""All shapes, the smallest first."""


@dataclass(frozen=True)
class Arrangement:
    """An array of so many dimensions, with its classes on the last axis and, where that is another, on axis 1."""

    last: Shape
    second: Shape | None = None


def _arrangement(*others: int) -> Arrangement:
    def shape(class_axis: int) -> Shape:
        return Shape(math.prod(others), _FEW_CLASSES, _DISTINCT, _distinct, axes=Axes(others, class_axis))

    return Arrangement(shape(-1), shape(1) if len(others) > 1 else None)


# No two axes have the same length, so that code that takes one for another raises, or differs.
ARRANGEMENTS = (_arrangement(), _arrangement(2, 3), _arrangement(2, 3, 4))
"""Inputs of one, three and four dimensions."""
