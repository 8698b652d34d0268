"""One operation of the traced code in words: what it did to its numbers, where first, and what that needed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import FORMATS, Format
from stablemax.results import Origin
from stablemax.text.words import counted
from stablemax.trace.observation import BACKWARD, Kind

if TYPE_CHECKING:
    from stablemax.trace.blame import Traced
    from stablemax.trace.observation import Cell, Event, Observation, PartialSum, Record, Site


@dataclass(frozen=True)
class CellOfInterest:
    """The cell of an output that a sentence is about, and the numbers that it was made of, where these are known."""

    shape: tuple[int, ...]
    place: tuple[int, ...]
    operands: tuple[float, ...] = ()
    #: What went into it may be 0 because equal numbers were subtracted.
    is_of_cancelled: bool = False

    def may_come_from(self, shape: tuple[int, ...], place: tuple[int, ...]) -> bool:
        """Tell whether a cell of another array may have gone into this one.

        >>> cell = CellOfInterest((2, 3), (0, 2))
        >>> cell.may_come_from((2, 3), (0, 1)), cell.may_come_from((2, 1), (0, 0))
        (False, True)
        """
        if len(shape) != len(self.shape):
            return True
        axes = zip(shape, self.shape, place, self.place, strict=True)
        return all(size != own_size or i == j for size, own_size, i, j in axes)

    def may_be_made_of_zero(self) -> bool:
        """Tell whether one of the numbers that it was made of is 0."""
        return not self.is_of_cancelled and (not self.operands or 0 in self.operands)


_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}
_EXPONENTIALS = ("exp", "shifted_exp")
_GRAVEST_FIRST = (Kind.OVERFLOW, Kind.POLE, Kind.INVALID, Kind.ZERO)


def sentence_of(
    record: Record,
    step: Observation,
    traced: Traced,
    row: int,
    root: Observation | None,
    between: Iterable[Observation] = (),
) -> str:
    """Say what the blamed operation did.

    The record has its figures in the whole run, the step is the operation on the bad row alone; the root lost what
    the step needed, where that is another operation, and `between` are those that ran after the root.
    """
    words = f"{line_words(step.site)}{_deed(record, step, traced, row)}"
    # Of a loop an earlier turn of the same line lost them: no other operation to a reader.
    if root is None or (root.site, root.name) == (step.site, step.name):
        return words
    cell = _told_cell(record, step)
    if cell is not None and any(s.lost and (s.name == "subtract" or s.origin is Origin.CANCELLATION) for s in between):
        # A difference of equal numbers is 0, whatever became 0 before.
        cell = replace(cell, is_of_cancelled=True)
    return f"{words}; {root_words(root, step.site.file, cell)}"


def note_on(record: Record, traced: Traced) -> str:
    """Say the gravest thing that happened in an operation; empty where nothing did."""
    seen = record.seen
    for event in sorted(seen.events, key=lambda e: _GRAVEST_FIRST.index(e.kind)):
        return event_words(seen, event, traced.place_name(record, event, 0))
    return _cell(seen) if seen.origin in (Origin.CANCELLATION, Origin.ABSORPTION) else ""


def line_words(site: Site) -> str:
    """Begin a sentence with the line; say so where it is blamed for its backward pass."""
    if not site.file:
        return ""
    if site.phase != BACKWARD:
        return f"line {site.line}: "
    node = site.node.rstrip("0123456789").removesuffix("Backward")
    return f"line {site.line}, backward{f' of {node}' if node else ''}: "


def _deed(record: Record, step: Observation, traced: Traced, row: int) -> str:
    event = _told_event(record, step)
    if event is not None:
        return event_words(record.seen, event, traced.place_name(record, event, row))
    return _cell(step) or f"{step.name} makes the result bad"


def _told_event(record: Record, step: Observation) -> Event | None:
    for kind in _GRAVEST_FIRST:
        event = next((e for e in record.seen.events if e.kind is kind), None)
        if event is not None and kind in step.kinds:
            return event
    return None


def _told_cell(record: Record, step: Observation) -> CellOfInterest | None:
    """Return the cell that a sentence about the blamed operation is about."""
    event = _told_event(record, step)
    if event is not None:
        return CellOfInterest(event.shape, event.place, event.operands)
    return None if step.worst is None else CellOfInterest(step.shape, step.worst.place, step.worst.operands)


def event_words(seen: Observation, event: Event, place: str) -> str:
    """Say what happened, to how many cells, and where first."""
    name, fmt = seen.name, FORMATS[seen.dtype]
    share = f"for {event.cells:,} of {counted(seen.cells, 'cell')}"
    first, calculation = f" (first: {place})" if place else "", _calculation(name, event.operands)
    if event.overflow is not None:
        return f"{name} overflows {share}: {_partial_sum(event.overflow, fmt)}"
    if event.kind is Kind.OVERFLOW:
        if abs(event.exact) <= fmt.max and any(0 < abs(o) < fmt.smallest_normal for o in event.operands):
            return f"{name} is infinite {share}{first}: what is below {fmt.smallest_normal:.3g}, it takes for 0"
        limit = f"; it overflows above {fmt.exp_overflow.real:.5g} in {fmt.name}" if name in _EXPONENTIALS else ""
        return f"{name} overflows {share}{first}{limit}"
    if event.kind is Kind.ZERO:
        limit = f"; it gives 0 below {fmt.exp_underflow.real:.5g} in {fmt.name}" if name in _EXPONENTIALS else ""
        return f"{name} gives 0 {share}{first}{_flushing(event, fmt) or limit}"
    if event.kind is Kind.POLE:
        of_one, of_two = len(event.operands) == 1, len(event.operands) == 2
        operands = f"of {_number(event.operands[0])}" if of_one else calculation
        what = calculation if of_two and calculation.startswith(name) else f"{name} {operands}".rstrip()
        return f"{what} is infinite {share}{first}"
    return f"{name} gives NaN {share}{f': {calculation}' if calculation else ''}{first}"


def _flushing(event: Event, fmt: Format) -> str:
    """Say that a number below the smallest normal one became 0, where it need not have; empty elsewhere."""
    if not fmt.smallest_subnormal <= abs(event.exact) < fmt.smallest_normal:
        return ""
    return f"; what is below {fmt.smallest_normal:.3g}, the smallest normal number of {fmt.name}, is made 0 here"


def _partial_sum(partial: PartialSum, fmt: Format) -> str:
    """Say where a sum leaves the format, and what its largest number is."""
    terms = "all its terms" if partial.terms == partial.of else f"its first {partial.terms:,} of {partial.of:,} terms"
    return f"{terms} add up to {partial.value:.6g}, above {fmt.max:.6g}, the largest number of {fmt.name}"


def _cell(seen: Observation) -> str:
    """Say what became of the worst cell: what went in, what came out, what would have been right."""
    if seen.worst is None:
        return ""
    verb = {
        Origin.CANCELLATION: "cancels",
        Origin.ABSORPTION: "absorbs",
        Origin.INHERITED: "magnifies what was rounded before",
    }.get(seen.origin, "is inaccurate")
    return f"{seen.name} {verb}: {_outcome(seen.name, seen.worst)}{_spacing(seen)}"


def _outcome(name: str, cell: Cell) -> str:
    """Say what came out beside what should have, or by how much it is off where the two print alike."""
    what = _calculation(name, cell.operands) or name
    value, exact = _number(cell.value), _number(cell.exact)
    if value == exact:
        return f"{what} gives {value}, off by {abs(cell.difference):.3g}"
    return f"{what} gives {value}, exactly {exact}"


def root_words(root: Observation, file: str, cell: CellOfInterest | None = None) -> str:
    """Say which operation lost what a cell of another one in `file` needed; what became of other cells is not told."""
    other_file = f"{Path(root.site.file).name} " if root.site.file != file else ""
    where = f" on {other_file}line {root.line}" if root.line else ""
    fmt = FORMATS[root.dtype]
    if any(e.kind is Kind.OVERFLOW for e in root.events):
        limit = f" (above {fmt.exp_overflow.real:.5g} in {root.dtype})" if root.name in _EXPONENTIALS else ""
        return f"the infinity comes from {root.name}{where}, which overflows{limit}"
    zero = next((e for e in root.events if e.kind is Kind.ZERO and abs(e.exact) < fmt.smallest_normal), None)
    is_other = cell is not None and not cell.may_be_made_of_zero()
    if zero is not None and not is_other and _may_go_into(cell, root, zero):
        limit = f" (below {fmt.exp_underflow.real:.5g} in {root.dtype})" if root.name in _EXPONENTIALS else ""
        return f"the 0 comes from {root.name}{where}, which underflows{_flushing(zero, fmt) or limit}"
    if root.worst is None or (zero is not None and is_other) or not _may_go_into(cell, root, root.worst):
        return f"the digits are lost{where}, in {root.name}"
    verb = "absorbed" if root.origin is Origin.ABSORPTION else "rounded away"
    return f"the digits were {verb}{where}: {_outcome(root.name, root.worst)}{_spacing(root)}"


def _may_go_into(cell: CellOfInterest | None, root: Observation, told: Event | Cell) -> bool:
    return cell is None or cell.may_come_from(root.shape, told.place)


def _spacing(seen: Observation) -> str:
    """Say how far apart the numbers of the format are where a term was absorbed, and from which exponent on that is."""
    if seen.worst is None or seen.origin is not Origin.ABSORPTION or not math.isfinite(seen.worst.value):
        return ""
    fmt, value = FORMATS[seen.dtype], abs(seen.worst.value)
    words = f", where the numbers of {fmt.name} are {float(fmt.ulp(np.asarray(value))):.3g} apart"
    if 0.5 <= value <= 2.0:
        return f"{words}: exp of less than {math.log(fmt.u):.3g} is lost beside 1"
    return words


_OF_MANY = frozenset((
    "cumsum", "cumprod", "logcumsumexp", "cumlogsumexp", "add.accumulate", "multiply.accumulate",
    "logaddexp.accumulate", "softmax", "_softmax", "log_softmax", "_log_softmax", "matmul", "dot", "mm", "bmm", "addmm",
    "dot_general", "inner",
))  # fmt: skip
"""Operations whose output has the shape of an operand, and is made of more than the number at its place."""


def _calculation(name: str, operands: tuple[float, ...]) -> str:
    """Write an operation of one or two numbers; empty for one of many."""
    if name in _OF_MANY:
        return ""
    if len(operands) == 2 and name in _SIGNS:
        return f"{_number(operands[0])} {_SIGNS[name]} {_number(operands[1])}"
    return f"{name}({', '.join(map(_number, operands))})" if 1 <= len(operands) <= 2 else ""


def _number(value: float) -> str:
    """Write a number to six digits; one near 1 to as many as tell it from 1.

    >>> _number(1001.0), _number(-2.0611536181902037e-09), _number(0.99999999793884631), _number(1.0986122886681098)
    ('1001', '-2.06115e-09', '0.9999999979388463', '1.09861')
    """
    short = f"{value:.6g}"
    return repr(value) if short in ("1", "-1") and abs(value) != 1 else short
