"""Why a cell went bad: the variant runs once more on its row, and every operation is watched."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import Array, Format
from stablemax.results import Outcome

_PHRASES = {
    "exp overflows": "exp overflows above {overflow:.5g}",
    "exp gives 0": "exp gives 0 below {underflow:.5g}",
    "exp2 overflows": "exp2 overflows",
    "exp2 gives 0": "exp2 gives 0",
    "log of 0": "log of 0 is -inf",
    "sum overflows": "the sum overflows",
    "sum is 0": "the sum of the exponentials is 0",
    "sum loses digits": "the sum loses more than half of its digits",
}
_VANISHING = ("exp gives 0", "exp2 gives 0")


@dataclass(frozen=True)
class Event:
    """An exception of floating point: what an operation did (overflow, zero, infinity), and to which classes."""

    kind: str
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Witness(Arithmetic):
    """An arithmetic that notes where finite numbers turn into inf, NaN or 0."""

    events: list[Event] = field(default_factory=list, compare=False)

    def elementary(self, function: np.ufunc, x: Array) -> Array:
        """An elementary function, watched."""
        result = super().elementary(function, x)
        if function is np.log:
            self._note("log of 0", x == self.number(0.0))
        elif function in (np.exp, np.exp2):
            finite = np.isfinite(x)
            self._note(f"{function.__name__} overflows", finite & ~np.isfinite(result))
            self._note(f"{function.__name__} gives 0", finite & (result == self.number(0.0)))
        return result

    def sum(self, x: Array, *, axis: int | None = -1) -> Array:
        """Sum, watched."""
        total = super().sum(x, axis=axis)
        if np.isfinite(x).all():
            terms = x.astype(np.float64)
            right = np.add.reduce(terms, axis=axis, keepdims=True)
            size = np.add.reduce(np.abs(terms), axis=axis, keepdims=True)
            limit = self.format.u * 2.0 ** (self.format.precision / 2)
            self._note("sum loses digits", np.abs(total.astype(np.float64) - right) > limit * size)
            self._note("sum overflows", ~np.isfinite(total))
            self._note("sum is 0", (total == self.number(0.0)) & (x >= self.number(0.0)).all())
        return total

    def _note(self, kind: str, where: Array) -> None:
        # numpy.unique would import numpy.ma, a tenth of what NumPy itself takes to be imported.
        columns = sorted(set(np.nonzero(where)[-1].tolist()))
        if columns:
            self.events.append(Event(kind, tuple(columns)))


@dataclass(frozen=True)
class BadCell:
    """A cell that went bad, and what a `Witness` saw on its row."""

    outcome: Outcome  #: what became of it
    events: tuple[Event, ...]  #: in order
    format: Format  #: for the thresholds of exp
    columns: tuple[int, ...]  #: the cell's class and its row's label, as far as there are such
    logits: Array  #: the row, in float64, before it was rounded to the format
    weakness: str  #: the variant's own reason for a finite but wrong result
    tiny: bool  #: true where the right result lies below the smallest normal number


def describe(cell: BadCell) -> tuple[str, int]:
    """Put the cause of a bad cell into words."""
    row = np.where(np.isnan(cell.logits), -np.inf, cell.logits)
    column = cell.columns[0] if cell.columns else int(np.argmax(row))
    if cell.outcome is Outcome.UNDEFINED:
        return _undefined(cell.logits)
    if cell.outcome is Outcome.INPUT_OVERFLOW:
        lacking = _first(cell.format.lacks(cell.logits))
        absent = "NaN does" if np.isnan(cell.logits[lacking]) else f"logits beyond {cell.format.max:.5g} do"
        return f"{absent} not exist in {cell.format.name}", lacking
    causes = [e for e in cell.events if _matters(e, cell)]
    if causes:
        thresholds = {"overflow": cell.format.exp_overflow.real, "underflow": cell.format.exp_underflow.real}
        words = " and ".join(dict.fromkeys(_PHRASES[e.kind].format(**thresholds) for e in causes))
        # A zero is reported at the cell itself, an overflow at the first class that has one.
        own_columns = [c for c in cell.columns if c in causes[0].columns and causes[0].kind in _VANISHING]
        return words, own_columns[0] if own_columns else causes[0].columns[0]
    if cell.outcome is Outcome.NAN and np.isneginf(cell.logits).any():
        return "-inf - -inf is NaN", _first(np.isneginf(cell.logits))
    if cell.tiny and cell.outcome is not Outcome.INACCURATE:
        smallest = f"{cell.format.smallest_normal:.5g}"
        return f"the result is below {smallest}, where digits go missing one by one", column
    return cell.weakness, column


def _undefined(logits: Array) -> tuple[str, int]:
    if np.isnan(logits).any():
        return "a logit is NaN", _first(np.isnan(logits))
    if np.isposinf(logits).any():
        return "a logit is +inf: the formula has no value there", _first(np.isposinf(logits))
    if np.isneginf(logits).all():
        return "every logit of the row is -inf: the formula has no value there", 0
    return "what stands beside the logits is not a number that the formula takes", 0


def _first(where: Array) -> int:
    return int(np.argmax(where))


def _matters(event: Event, cell: BadCell) -> bool:
    """Tell the events that made this cell bad from the harmless ones of its row."""
    if cell.outcome is Outcome.INACCURATE:
        return event.kind == "sum loses digits"
    if event.kind in _VANISHING:
        # An exponential of 0 is harmless, unless it is that of this cell or of the label, or the whole sum is 0.
        overflowed = any(e.kind.endswith("overflows") for e in cell.events)
        matters = any(c in event.columns for c in cell.columns) or any(e.kind == "sum is 0" for e in cell.events)
        return matters and not overflowed
    return event.kind != "sum loses digits"
