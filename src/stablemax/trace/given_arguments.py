"""The arguments of any function: arrays of any shapes, by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import cells_of

if TYPE_CHECKING:
    from stablemax.trace.run import Run


@dataclass(frozen=True)
class GivenArguments:
    """The arrays that a function of any kind gets, by their names; the first is of a number format."""

    names: tuple[str, ...]
    arguments: tuple[Array, ...]
    #: Arrays that the code's own object holds, by their names: the parameters of a module. They are exact, too.
    held: Mapping[str, Array] = field(default_factory=dict)

    arrangement = None
    first_is_exact = True

    @property
    def size(self) -> tuple[int, int]:
        """All numbers of all arguments, as one row."""
        return 1, sum(array.size for array in self.arguments)

    def cells_of_first(self) -> Array:
        """Return the exact cells of the first argument."""
        return cells_of(self.arguments[0])

    def placed(self, places: Array) -> tuple[Array, ...]:
        """Give each argument its share of the places of the one row."""
        ends = np.cumsum([array.size for array in self.arguments])[:-1]
        shares = np.split(places.ravel(), ends)
        return tuple(s.reshape(a.shape) for s, a in zip(shares, self.arguments, strict=True))

    def row(self, index: int) -> Self:  # noqa: ARG002 - nothing says that its numbers lie in rows
        """Return the same."""
        return self

    def as_rows(self, run: Run) -> Run:
        """Return the run as it is."""
        return run

    def name_at(self, flat: int) -> str:
        """Name a number by its place among all of them.

        >>> GivenArguments(("x", "y"), (np.float32([1, 2]), np.float32([[3], [4]]))).name_at(3)
        'y[1, 0] = 4.0'
        """
        for name, array in zip(self.names, self.arguments, strict=True):
            if flat < array.size:
                place = tuple(int(i) for i in np.unravel_index(flat, array.shape))
                return self.written(name, array, place)
            flat -= array.size
        return ""

    def name_of_cell(self, argument: int, flat: int) -> str:
        """Name a number of an argument by its place in that.

        >>> GivenArguments(("x", "y"), (np.float32([1, 2]), np.float32([[3], [4]]))).name_of_cell(1, 0)
        'y[0, 0] = 3.0'
        """
        return self.name_at(sum(array.size for array in self.arguments[:argument]) + flat)

    def name_of_place(self, shape: tuple[int, ...], place: tuple[int, ...], operands: Sequence[float]) -> str:
        """Name the number at a place of an array of some shape that alone went into an operation; empty elsewhere."""
        named = [*zip(self.names, self.arguments, strict=True), *self.held.items()]
        # Of two calls on one line the place may be of the other, with another shape.
        alike = [(name, array) for name, array in named if array.shape == shape and array.ndim == len(place)]
        alike = [(name, array) for name, array in alike if float(array[place]) in operands]
        return self.written(*alike[0], place) if len(alike) == 1 else ""

    def written(self, name: str, array: Array, place: tuple[int, ...]) -> str:
        """Write a number of an argument with its place."""
        return f"{indexed(name, place)} = {array[place]!s}"


def indexed(name: str, place: Sequence[int]) -> str:
    """Write a place in an array as Python does.

    >>> indexed("x", (0, 3)), indexed("x", ())
    ('x[0, 3]', 'x')
    """
    return f"{name}[{', '.join(map(str, place))}]" if place else name
