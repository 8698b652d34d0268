"""One operation as it was observed, and all of its runs on one line taken together."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stablemax.results import Origin, TracedOperation

FORWARD, BACKWARD = "forward", "backward"

_ORIGINS = (Origin.NONE, Origin.INHERITED, Origin.ABSORPTION, Origin.CANCELLATION, Origin.MADE_HERE)
"""Of several runs the record shows the origin that stands last here."""


class Kind(enum.Enum):
    """What happened to a cell."""

    OVERFLOW = "overflow"
    ZERO = "zero"
    POLE = "pole"
    INVALID = "invalid"


@dataclass(frozen=True)
class Event:
    """Cells of an output that overflowed, vanished, met a pole (log 0, 1 / 0) or gave NaN, of finite operands."""

    kind: Kind
    cells: int
    #: Index of the first of them in the output, and the operands there.
    place: tuple[int, ...]
    operands: tuple[float, ...]
    #: The same operation on these operands exactly, rounded to float64.
    exact: float


@dataclass(frozen=True)
class Cell:
    """One cell of an output: what went in, what came out, and what should have."""

    place: tuple[int, ...]
    operands: tuple[float, ...]
    value: float
    exact: float
    difference: float


@dataclass(frozen=True)
class Site:
    """Where an operation was called: no file, and line 0, where no line of Python called it."""

    file: str = ""
    line: int = 0
    phase: str = FORWARD
    #: The autograd node that called it, ``LogBackward0``; empty in code that calls it itself.
    node: str = ""
    #: Tells apart two calls on one line.
    instruction: int = 0


@dataclass(frozen=True, kw_only=True)
class Observation(TracedOperation):
    """One run of one operation: the figures that the listing shows, and what blaming asks for besides."""

    site: Site
    #: How the listing calls it, ``aten.sub``, where sentences say ``subtract``.
    label: str
    #: Which of its outputs this is.
    output: int = 0
    events: tuple[Event, ...] = ()
    #: The cell with the largest error.
    worst: Cell | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What the runs of one operation on one line have in common."""
        return self.site, self.label, self.output, self.dtype

    @property
    def kinds(self) -> set[Kind]:
        """What happened to cells of its output."""
        return {e.kind for e in self.events}

    def merged(self, other: Observation) -> Observation:
        """Take a later run of the same operation into the figures: sums, ranges and the worst of errors."""
        events = {e.kind: e for e in self.events}
        for event in other.events:
            old = events.get(event.kind)
            events[event.kind] = event if old is None else replace(old, cells=old.cells + event.cells)
        return replace(
            self,
            shape=other.shape,
            smallest=float(np.fmin(self.smallest, other.smallest)),
            largest=float(np.fmax(self.largest, other.largest)),
            cells=self.cells + other.cells,
            inf=self.inf + other.inf,
            nan=self.nan + other.nan,
            lost=self.lost + other.lost,
            error_ulp=_larger(self.error_ulp, other.error_ulp),
            local_error_ulp=_larger(self.local_error_ulp, other.local_error_ulp),
            origin=max(self.origin, other.origin, key=_ORIGINS.index),
            times=self.times + other.times,
            events=tuple(events.values()),
            worst=other.worst if (other.error_ulp or 0.0) > (self.error_ulp or 0.0) else self.worst,
        )


def _larger(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)


@dataclass
class Record:
    """One operation on one line; the runs of a loop are one record."""

    seen: Observation
    #: For each kind of event, which run (from 0) had it first.
    first: dict[Kind, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.first = dict.fromkeys(self.seen.kinds, 0)

    def add(self, seen: Observation) -> None:
        """Count one more run."""
        for kind in seen.kinds:
            self.first.setdefault(kind, self.seen.times)
        self.seen = self.seen.merged(seen)

    def place(self, event: Event, rows: int, classes: int) -> tuple[int | None, int | None]:
        """Return row and class of the logit that an event comes from, each as far as the shape tells.

        In a loop over the rows an operation has run as often as there are rows, and the number of its run is the row.
        """
        shape, at, times = self.seen.shape, event.place, self.seen.times
        run = self.first.get(event.kind, 0)
        if shape[:2] == (rows, classes) and times == 1:
            return at[0], at[1]
        if shape[:1] == (rows,) and times == 1:
            return at[0], None
        if times == rows:
            return run, at[-1] if shape[-1:] == (classes,) else None
        if times == rows * classes and not shape:
            return divmod(run, classes)
        return None, at[-1] if shape[-1:] == (classes,) else None
