"""The data flow of a run: which operation's output went into which, number by number."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import numpy as np
from flint import arb

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import Special, as_array

UNKNOWN = -1
"""Position of a cell that no operation of the run made."""


@dataclass(frozen=True)
class SourceRange:
    """The expression that called an operation: its code object, and where it stands in the file."""

    code: CodeType
    line: int
    column: int
    end_line: int
    end_column: int
    #: What the function's module names.
    names: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Reduction:
    """The axes, counted from 0, that an operation takes together, and whether its output keeps them."""

    axes: tuple[int, ...]
    keepdims: bool = False
    #: The code names no axis: it takes all of them, however many there are.
    is_of_all: bool = False


@dataclass(frozen=True, eq=False)
class Operand:
    """An array as an operation read it: floats, and the exact cells that they stand for."""

    values: Array
    cells: Array
    #: The number of the operation that read it, and which of its operands it is.
    reader: int = -1
    place: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.values.shape

    def at(self, shape: tuple[int, ...], positions: Array | None) -> Operand:
        """Broadcast to a shape, and take the cells at flat positions of it."""
        if shape == self.shape and positions is None:
            return self
        values, cells = (np.broadcast_to(a, shape) for a in (self.values, self.cells))
        if positions is not None:
            # One position alone would take the cell out of its array.
            values, cells = (a.ravel()[positions.ravel()].reshape(positions.shape) for a in (values, cells))
        return Operand(values, cells, self.reader, self.place)

    @property
    def identities(self) -> tuple[int, ...]:
        """The identities of its cells: they stay with a number wherever code moves it."""
        return tuple(map(id, self.cells.ravel().tolist()))


@dataclass(frozen=True, eq=False)
class FlowNode:
    """One operation of a run, or an argument of the code."""

    #: What the observer calls its output by, to put another in its place.
    key: Hashable
    #: As NumPy calls it; `argument` for an argument.
    name: str
    values: Array
    #: Cells of its own, none of them that of an operand.
    cells: Array
    operands: tuple[Operand, ...] = ()
    reduction: Reduction | None = None
    source: SourceRange | None = None
    #: What the variables of the calling function held then: `fingerprint` of each.
    variables: Mapping[str, Hashable] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its output."""
        return self.values.shape


@dataclass(frozen=True)
class ArgumentKey:
    """The key of an argument: its position among the arguments."""

    number: int


@dataclass(frozen=True)
class Origin:
    """The operation that made the cells of an operand, and where they stood in its output."""

    node: FlowNode
    #: Flat positions; None where it is the whole output, in its order and shape.
    positions: Array | None


@dataclass
class Flow:
    """The operations of a run in their order, with what they read and made.

    Every number is known by its exact cell, an object of its own, which stays with it through views, copies and
    selections: no operation that only moves numbers needs a rule here.
    """

    nodes: list[FlowNode] = field(default_factory=list)
    _made: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add_argument(self, number: int, values: Array, cells: Array) -> None:
        """Record an argument of the code, by its position among the arguments."""
        self._add(FlowNode(ArgumentKey(number), "argument", values.copy(), cells.copy()))

    def add(
        self,
        key: Hashable,
        name: str,
        values: Array,
        cells: Array,
        operands: Sequence[tuple[Array, Array]],
        *,
        reduction: Reduction | None = None,
        frame: FrameType | None = None,
        source: SourceRange | None = None,
        fingerprint: Callable[[Any], Hashable] = id,
    ) -> Array:
        """Record an operation; return cells of its own for its output."""
        own = as_array(_fresh(cells))
        variables = {} if frame is None else {n: fingerprint(v) for n, v in frame.f_locals.items()}
        number = len(self.nodes)
        read = tuple(Operand(np.array(v), as_array(c).copy(), number, i) for i, (v, c) in enumerate(operands))
        self._add(
            FlowNode(key, name, np.array(values), own.copy(), read, reduction, source or source_range(frame), variables)
        )
        return own

    def origin(self, operand: Operand) -> Origin | None:
        """Return the operation, or argument, that alone made the cells of an operand; None where there is none such."""
        found = [
            (-1, UNKNOWN) if isinstance(c, Special) else self._made.get(id(c), (-2, UNKNOWN))
            for c in operand.cells.ravel().tolist()
        ]
        numbers = {number for number, _ in found} - {-1}
        if len(numbers) != 1 or -2 in numbers:
            return None
        node = self.nodes[numbers.pop()]
        positions = np.array([position for _, position in found], dtype=np.int64)
        whole = np.arange(positions.size)
        # Infinities are objects that all share: their positions follow from those of the numbers between them.
        if node.shape == operand.shape and (positions[positions != UNKNOWN] == whole[positions != UNKNOWN]).all():
            return Origin(node, None)
        return None if (positions == UNKNOWN).any() else Origin(node, positions.reshape(operand.shape))

    def argument_cell(self, key: Hashable, place: tuple[int, ...]) -> tuple[int, int] | None:
        """Return the argument, and the flat position in it, that alone a cell of an output comes from, cell by cell.

        What is spread over the cells, a maximum that is taken from all, is none of them where another number is.
        """
        found = self._argument_cells(key, place, is_together=False)
        return found.pop() if len(found) == 1 else None

    def takes(self, key: Hashable, place: tuple[int, ...], argument: int, flat: int) -> bool:
        """Tell whether a number of an argument went into a cell of an output, alone or with others."""
        return (argument, flat) in self._argument_cells(key, place, is_together=True)

    def _argument_cells(self, key: Hashable, place: tuple[int, ...], *, is_together: bool) -> set[tuple[int, int]]:
        """Follow a cell back to arguments: through operations cell by cell, or also through those of many cells."""
        number = next((i for i, node in enumerate(self.nodes) if node.key == key), None)
        if number is None:
            return set()
        found: set[tuple[int, int]] = set()
        seen = {(number, int(np.ravel_multi_index(place, self.nodes[number].shape)) if place else 0)}
        waiting = list(seen)
        while waiting:
            made_by, flat = waiting.pop()
            node = self.nodes[made_by]
            if isinstance(node.key, ArgumentKey):
                found.add((node.key.number, flat))
                continue
            read = {self._made[id(cell)] for cell in _read_for(node, flat, is_together) if id(cell) in self._made}
            waiting += read - seen
            seen |= read
        return found

    def _add(self, node: FlowNode) -> None:
        number = len(self.nodes)
        self.nodes.append(node)
        for position, cell in enumerate(node.cells.ravel().tolist()):
            if not isinstance(cell, Special):
                self._made[id(cell)] = number, position


_OF_MANY = frozenset((
    "dot", "matmul", "inner", "vdot", "outer", "einsum", "tensordot", "dot_general", "addmm", "addmv", "addbmm",
    "baddbmm", "convolution", "conv_general_dilated", "convolve", "correlate",
))  # fmt: skip
"""Operations whose output may have the shape of an operand, though its cells are made of many."""


def _read_for(node: FlowNode, flat: int, is_together: bool) -> Iterable[Any]:  # noqa: FBT001 - one question of two
    """Yield the cells that a cell of an operation's output was made of.

    Of many numbers, as a sum is, all are yielded, or none: then only operands of the output's own shape count, where
    there is one, else those that are spread over it.
    """
    is_of_many = node.name in _OF_MANY
    alike = [o for o in node.operands if o.shape == node.shape and not is_of_many]
    for operand in node.operands if is_together or not alike else alike:
        try:
            spread = None if is_of_many else np.broadcast_to(operand.cells, node.shape)
        except ValueError:
            spread = None
        if spread is not None:
            yield spread.ravel()[flat]
        elif is_together:
            yield from operand.cells.ravel().tolist()


def source_range(frame: FrameType | None) -> SourceRange | None:
    """Return where the expression that a frame is at stands in its file; None where Python does not know."""
    return None if frame is None else range_of(frame.f_code, frame.f_lasti, frame.f_globals)


def range_of(code: CodeType, instruction: int, names: dict[str, Any]) -> SourceRange | None:
    """Return where the expression of an instruction stands in its file; None where Python does not know."""
    positions = next(itertools.islice(code.co_positions(), instruction // 2, None), None)
    if positions is None:
        return None
    line, end_line, column, end_column = positions
    if line is None or end_line is None or column is None or end_column is None:
        return None
    return SourceRange(code, line, column, end_line, end_column, names)


def _fresh(cells: Array) -> Array:
    """Copy the balls of an array, each as an object of its own; infinities stay the objects that all share."""
    out = np.empty(cells.shape, dtype=object)
    flat = [c if isinstance(c, Special) else arb(c) for c in cells.ravel().tolist()]
    out.reshape(-1)[:] = flat
    return out
