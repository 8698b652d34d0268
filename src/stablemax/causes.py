"""Why a cell went bad, witnessed: the variant runs once more on its row, watched operation by operation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.results import Outcome

if TYPE_CHECKING:
    from stablemax.formats import Array, Format

_PHRASES = {
    "exp overflows": "exp overflows above {overflow:.5g}",
    "exp gives 0": "exp gives 0 below {underflow:.5g}",
    "exp2 overflows": "exp2 overflows",
    "exp2 gives 0": "exp2 gives 0",
    "log of 0": "log of 0 is -inf",
    "sum overflows": "the sum overflows",
    "sum is 0": "the sum of the exponentials is 0",
}
_VANISHING = ("exp gives 0", "exp2 gives 0")


@dataclass(frozen=True)
class Event:
    """Something that an operation did to its first class: overflow, a zero, an infinity."""

    kind: str
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Witness(Arithmetic):
    """An arithmetic that notes where finite numbers turn into inf, NaN or 0."""

    events: list[Event] = field(default_factory=list, compare=False)

    def exp(self, x: Array) -> Array:
        """``e**x``, watched."""
        return self._watched("exp", x, super().exp(x))

    def exp2(self, x: Array) -> Array:
        """``2**x``, watched."""
        return self._watched("exp2", x, super().exp2(x))

    def log(self, x: Array) -> Array:
        """Natural logarithm, watched."""
        self._note("log of 0", x == self.number(0.0))
        return super().log(x)

    def sum(self, x: Array, *, axis: int | None = -1) -> Array:
        """Sum, watched."""
        total = super().sum(x, axis=axis)
        if np.isfinite(x).all():
            self._note("sum overflows", ~np.isfinite(total))
            self._note("sum is 0", (total == self.number(0.0)) & (x >= self.number(0.0)).all())
        return total

    def _watched(self, name: str, x: Array, result: Array) -> Array:
        finite = np.isfinite(x)
        self._note(f"{name} overflows", finite & ~np.isfinite(result))
        self._note(f"{name} gives 0", finite & (result == self.number(0.0)))
        return result

    def _note(self, kind: str, where: Array) -> None:
        columns = np.unique(np.nonzero(where)[-1])
        if columns.size:
            self.events.append(Event(kind, tuple(columns.tolist())))


def describe(
    outcome: Outcome,
    events: list[Event],
    fmt: Format,
    column: int | None,
    logits: Array,
    weakness: str,
    *,
    tiny: bool,
) -> tuple[str, int | None]:
    """Put the cause of a bad cell into words.

    Parameters
    ----------
    outcome : Outcome
        What became of the cell.
    events : list of Event
        What a `Witness` saw on the cell's row, in order.
    fmt : Format
        For the thresholds of exp.
    column : int or None
        The cell's class or its row's label, or None where the whole row is meant.
    logits : ndarray (K,)
        The row.
    weakness : str
        The variant's own reason for a finite but wrong result.
    tiny : bool
        True where the right result lies below the smallest normal number.

    Returns
    -------
    words : str
        The cause.
    column : int or None
        The first class at which it happened.
    """
    if outcome is Outcome.INPUT_OVERFLOW:
        return f"logits beyond {fmt.max:.5g} do not exist in {fmt.name}", column
    if outcome is Outcome.UNDEFINED:
        if np.isnan(logits).any():
            return "a logit is NaN", int(np.flatnonzero(np.isnan(logits))[0])
        if np.isposinf(logits).any():
            return "a logit is +inf: the formula has no value there", int(
                np.flatnonzero(np.isposinf(logits))[0]
            )
        return "every logit of the row is -inf: the formula has no value there", 0
    if outcome is not Outcome.INACCURATE:
        overflowed = any(e.kind.endswith("overflows") for e in events)
        told = [
            e
            for e in events
            if not (e.kind in _VANISHING and (overflowed or not _concerns(e, column, events)))
        ]
        if told:
            kinds = list(dict.fromkeys(e.kind for e in told))
            words = " and ".join(
                _PHRASES[k].format(overflow=fmt.exp_overflow.real, underflow=fmt.exp_underflow.real)
                for k in kinds
            )
            first = told[0].columns
            # A zero is told of the cell itself, an overflow of the first class that has one.
            at = column if column in first and told[0].kind in _VANISHING else first[0]
            return words, at
        if outcome is Outcome.NAN and np.isneginf(logits).any():
            return "-inf - -inf is NaN", int(np.flatnonzero(np.isneginf(logits))[0])
        if tiny:
            return (
                f"the result is below {fmt.smallest_normal:.5g}, where digits go missing one by one",
                column,
            )
    return weakness, column


def _concerns(event: Event, column: int | None, events: list[Event]) -> bool:
    """Exponentials of 0 are harmless, unless it is this cell's or the whole sum's."""
    return column in event.columns or any(e.kind == "sum is 0" for e in events)
