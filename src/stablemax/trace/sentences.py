"""What an operation did, in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stablemax.formats import FORMATS
from stablemax.results import Origin
from stablemax.trace.observe import Cell, Event, Kind
from stablemax.wording import counted

if TYPE_CHECKING:
    from stablemax.formats import Array
    from stablemax.trace.numpy.tape import Record, Step

_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}
_EXPONENTIALS = ("exp", "shifted_exp")


@dataclass(frozen=True)
class Input:
    """The logits that were traced.

    Parameters
    ----------
    x : ndarray (N, K)
        In float64.
    numbers : ndarray of int (N,), optional
        What the rows are called, where they are some of many.
    """

    x: Array
    numbers: Array | None = None

    def row(self, index: int) -> str:
        """Name a row."""
        return f"row {index if self.numbers is None else int(self.numbers[index])}"

    def place(self, record: Record, event: Event, otherwise: int) -> str:
        """Say where an event happened first: its row, class and logit, as far as the shape tells.

        In a loop over the rows an operation has run as often as there are rows, and the number of its
        run is the row.
        """
        rows, classes = self.x.shape
        shape, at = record.seen.shape, event.place
        run = record.first.get(event.kind, 0)
        row, column = otherwise, None
        if shape[:2] == (rows, classes) and record.times == 1:
            row, column = at[0], at[1]
        elif shape[:1] == (rows,) and record.times == 1:
            row = at[0]
        elif record.times == rows:
            row = run
            column = at[-1] if shape[-1:] == (classes,) else None
        elif record.times == rows * classes and not shape:
            row, column = divmod(run, classes)
        elif shape[-1:] == (classes,):
            column = at[-1]
        if column is None:
            return self.row(row)
        return f"{self.row(row)}, class {column}, logit {float(self.x[row, column])!r}"


def sentence(record: Record, step: Step, given: Input, row: int, root: Step | None) -> str:
    """Say what the blamed operation did.

    Parameters
    ----------
    record : Record
        Its figures in the whole run.
    step : Step
        The operation on the bad row.
    given : Input
        The logits.
    row : int
        The bad row.
    root : Step, optional
        The operation that lost what this one needed, where that is another.
    """
    words = f"line {step.site.line}: {_deed(record, step, given, row)}"
    return f"{words}; {_root(root, step)}" if root is not None else words


def _deed(record: Record, step: Step, given: Input, row: int) -> str:
    own = {e.kind for e in step.seen.events}
    for kind in (Kind.OVERFLOW, Kind.POLE, Kind.INVALID, Kind.ZERO):
        event = next((e for e in record.seen.events if e.kind is kind), None)
        if event is not None and kind in own:
            return event_words(record.name, record.dtype, event, record.seen.cells, given.place(record, event, row))
    return cell_words(step.name, step.seen.origin, step.seen.worst) or f"{step.name} makes the result bad"


def event_words(name: str, dtype: str, event: Event, cells: int, place: str) -> str:
    """Say what happened, to how many cells, and where first."""
    fmt = FORMATS[dtype]
    share = f"for {event.cells:,} of {counted(cells, 'cell')}"
    first = f"(first: {place})"
    if event.kind is Kind.OVERFLOW:
        limit = f"; it overflows above {fmt.exp_overflow.real:.5g} in {dtype}" if name in _EXPONENTIALS else ""
        return f"{name} overflows {share} {first}{limit}"
    if event.kind is Kind.ZERO:
        limit = f"; it gives 0 below {fmt.exp_underflow.real:.5g} in {dtype}" if name in _EXPONENTIALS else ""
        return f"{name} gives 0 {share} {first}{limit}"
    if event.kind is Kind.POLE:
        return f"{name}{_of(name, event.operands)} is infinite {share} {first}"
    return f"{name} gives NaN {share}{_calculation(name, event.operands)} {first}"


def cell_words(name: str, origin: Origin, cell: Cell | None) -> str:
    """Say what became of one cell: what went in, what came out, what would have been right."""
    if cell is None:
        return ""
    what = _calculation(name, cell.operands).removeprefix(": ") or name
    outcome = f"{what} {_gives(cell)}"
    if origin is Origin.CANCELLATION:
        return f"{name} cancels: {outcome}"
    if origin is Origin.ABSORPTION:
        return f"{name} absorbs: {outcome}"
    if origin is Origin.CAME_IN:
        return f"{name} magnifies what was rounded before: {outcome}"
    return f"{name} is inaccurate: {outcome}"


def _gives(cell: Cell) -> str:
    """Say what came out beside what should have, or by how much it is off where the two print alike."""
    value, exact = _number(cell.value), _number(cell.exact)
    if value == exact:
        return f"gives {value}, off by {abs(cell.difference):.3g}"
    return f"gives {value}, exactly {exact}"


def _root(root: Step, step: Step) -> str:
    where = f"line {root.site.line}"
    if root.site.file != step.site.file:
        where = f"{Path(root.site.file).name} {where}"
    fmt = FORMATS[root.dtype]
    event = next((e for e in root.seen.events if e.kind is Kind.ZERO and abs(e.exact) < fmt.smallest_normal), None)
    if event is not None:
        limit = f" (below {fmt.exp_underflow.real:.5g} in {root.dtype})" if root.name in _EXPONENTIALS else ""
        return f"the 0 comes from {root.name} on {where}, which underflows{limit}"
    cell = root.seen.worst
    if cell is None:
        return f"the digits are lost on {where}, in {root.name}"
    what = _calculation(root.name, cell.operands).removeprefix(": ") or root.name
    verb = "absorbed" if root.seen.origin is Origin.ABSORPTION else "rounded away"
    return f"the digits were {verb} on {where}: {what} {_gives(cell)}"


def _calculation(name: str, operands: tuple[float, ...]) -> str:
    sign = _SIGNS.get(name)
    if sign is not None and len(operands) == 2:
        return f": {_number(operands[0])} {sign} {_number(operands[1])}"
    return f": {name}({', '.join(map(_number, operands))})" if 1 <= len(operands) <= 2 else ""


def _of(name: str, operands: tuple[float, ...]) -> str:
    if len(operands) == 1:
        return f" of {_number(operands[0])}"
    return _calculation(name, operands).replace(":", "", 1)


def _number(value: float) -> str:
    """Write a number to six digits; one near 1 to as many as tell it from 1.

    Examples
    --------
    >>> _number(1001.0), _number(-2.0611536181902037e-09), _number(0.99999999793884631), _number(1.0986122886681098)
    ('1001', '-2.06115e-09', '0.9999999979388463', '1.09861')
    """
    short = f"{value:.6g}"
    return repr(value) if short in ("1", "-1") and abs(value) != 1 else short
