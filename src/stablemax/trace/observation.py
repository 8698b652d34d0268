"""What an operation did to its numbers: range, inf, NaN, lost zeros, errors, and where these come from."""

from __future__ import annotations

import contextlib
import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.results import Origin, TracedOperation
from stablemax.trace import exact_cells as cells
from stablemax.trace.arrangement import Arrangement, place_of
from stablemax.trace.conditions import PRODUCTS, condition_of, products_of

FORWARD, BACKWARD = "forward", "backward"

MAGNIFIED = 16.0
"""An addition that makes its inputs' errors, in ulps, larger by this cancels."""

_ADDITIONS = ("add", "subtract")
_SUMS = ("sum", "add.reduce", "mean", "einsum", "dot", "matmul", "inner", "tensordot")

_ORIGINS = (Origin.NONE, Origin.INHERITED, Origin.ABSORPTION, Origin.CANCELLATION, Origin.MADE_HERE)
"""A record of several runs shows the origin that stands last here."""


class Kind(enum.Enum):
    """The kind of an event in a cell: an overflow, an underflow to zero, a pole or an invalid operation."""

    OVERFLOW = "overflow"
    ZERO = "zero"
    POLE = "pole"
    INVALID = "invalid"


@dataclass(frozen=True)
class PartialSum:
    """The first terms of a sum, taken exactly in their order."""

    terms: int
    of: int
    value: float


@dataclass(frozen=True)
class Event:
    """Cells of an output that overflowed, vanished, met a pole (log 0, 1 / 0) or gave NaN, of finite operands."""

    kind: Kind
    cells: int
    #: Shape of the output, index of the first of them in it, and the operands there.
    shape: tuple[int, ...]
    place: tuple[int, ...]
    operands: tuple[float, ...]
    #: The same operation on these operands exactly, rounded to float64.
    exact: float
    #: For a sum that overflows: where it first leaves the format.
    overflow: PartialSum | None = None


@dataclass(frozen=True)
class Cell:
    """One cell of an output: what went in, what came out, and what should have."""

    place: tuple[int, ...]
    operands: tuple[float, ...]
    value: float
    exact: float
    difference: float
    #: The condition number of the operation on its exact inputs; None where it is small, or not known.
    condition: float | None = None


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
    #: The qualified name of the function that the instruction is of; empty where it is not known.
    function: str = ""


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
    #: Cells for which exact arithmetic has no finite value, though the exact inputs are numbers: log 0, 0 / 0.
    valueless: Event | None = None
    #: Cells for which exact arithmetic has no value, made of infinities: inf - inf, 0 * inf.
    of_infinities: Event | None = None

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
        counts = {n: getattr(self, n) + getattr(other, n) for n in ("cells", "inf", "nan", "lost", "times")}
        return replace(
            self,
            **counts,
            shape=other.shape,
            smallest=float(np.fmin(self.smallest, other.smallest)),
            largest=float(np.fmax(self.largest, other.largest)),
            error_ulp=_larger(self.error_ulp, other.error_ulp),
            local_error_ulp=_larger(self.local_error_ulp, other.local_error_ulp),
            origin=max(self.origin, other.origin, key=_ORIGINS.index),
            events=tuple(events.values()),
            worst=other.worst if (other.error_ulp or 0.0) > (self.error_ulp or 0.0) else self.worst,
            valueless=_together(self.valueless, other.valueless),
            of_infinities=_together(self.of_infinities, other.of_infinities),
        )


def _together(first: Event | None, later: Event | None) -> Event | None:
    """Count the cells of both; the place is that of the first."""
    if first is None or later is None:
        return first or later
    return replace(first, cells=first.cells + later.cells)


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

    def add(self, seen: Observation, run: int | None = None) -> None:
        """Count one more run: the next one, or that of a number."""
        for kind in seen.kinds:
            self.first.setdefault(kind, self.seen.times if run is None else run)
        self.seen = self.seen.merged(seen)

    def skip(self, count: int) -> None:
        """Count runs that were not measured."""
        per_run = self.seen.cells // self.seen.times
        self.seen = replace(self.seen, times=self.seen.times + count, cells=self.seen.cells + count * per_run)

    def place(
        self, event: Event, rows: int, classes: int, arrangement: Arrangement | None = None
    ) -> tuple[int | None, int | None]:
        """Return row and class of the logit that an event comes from, each as far as the shape tells.

        In a loop over the rows an operation has run as often as there are rows, and the number of its run is the row.
        """
        shape, index, times = event.shape, event.place, self.seen.times
        if arrangement is not None:
            return place_of(arrangement, shape, index, (rows, classes)) if times == 1 else (None, None)
        run = self.first.get(event.kind, 0)
        if shape[:2] == (rows, classes) and times == 1:
            return index[0], index[1]
        if shape[:1] == (rows,) and times == 1:
            return index[0], None
        if times == rows:
            return run, index[-1] if shape[-1:] == (classes,) else None
        if times == rows * classes and not shape:
            return divmod(run, classes)
        return None, index[-1] if shape[-1:] == (classes,) else None


AnyRecord = TypeVar("AnyRecord", bound=Record)


def record_of(
    seen: Observation, records: dict[tuple[Any, ...], AnyRecord], kind: type[AnyRecord], run: int | None = None
) -> AnyRecord:
    """Count a run, the next or that of a number, in the record of its operation and line, which the first run makes."""
    if seen.key in records:
        records[seen.key].add(seen, run)
    else:
        records[seen.key] = kind(seen)
    return records[seen.key]


# --- measuring one run ------------------------------------------------------------------------------


def observe(
    name: str, site: Site, index: int, fmt: Format, value: Array, exact: Array, local: Array,
    inputs: Sequence[tuple[Array, Array]], *, label: str = "", output: int = 0,
) -> Observation:  # fmt: skip
    """Measure an operation by its output in a format, beside two arrays of cells of the same shape.

    `exact` is the shadow, and `local` the same operation taken exactly on the inputs' values. The inputs are pairs of
    values and their shadow.
    """
    floats, values = value.astype(np.float64), [v for v, _ in inputs]
    right, here = cells.nearest(exact), cells.nearest(local)
    infinite = np.isinf(floats) & (cells.is_ball(exact) | (np.sign(floats) != np.sign(right)))
    errors = _error_ulp(value, exact, right, fmt)
    error = _largest(errors)
    finite = floats[np.isfinite(floats)]
    seen = Observation(
        index=index,
        name=name,
        label=label or name,
        output=output,
        site=site,
        phase=site.phase,
        file=site.file,
        line=site.line,
        dtype=fmt.name,
        shape=value.shape,
        smallest=float(finite.min()) if finite.size else math.nan,
        largest=float(finite.max()) if finite.size else math.nan,
        cells=value.size,
        inf=int(np.count_nonzero(infinite)),
        nan=int(np.count_nonzero(np.isnan(floats))),
        lost=int(np.count_nonzero((floats == 0) & cells.nonzero(exact))),
        error_ulp=error,
        local_error_ulp=_largest(_error_ulp(value, local, here, fmt)),
        origin=Origin.NONE,
        events=_with_partial_sum(name, _events(floats, local, here, values), values, value.shape, fmt),
        worst=_worst(name, errors, error, value, exact, inputs) if error else None,
        valueless=_valueless(exact, right, [c for _, c in inputs]),
        of_infinities=_of_infinities(exact, [c for _, c in inputs]),
    )
    return replace(seen, origin=_origin(seen, floats, exact, inputs, fmt))


def _worst(
    name: str, errors: Array, error: float | None, value: Array, exact: Array, inputs: Sequence[tuple[Array, Array]]
) -> Cell:
    """Return the first cell with the largest error."""
    place = _first(errors == error)
    operands = _operands([v for v, _ in inputs], value.shape, place)
    off = float(cells.distance(np.asarray(value[place]), cells.as_array(exact[place])))
    right = float(cells.nearest(cells.as_array(exact[place])))
    condition = condition_of(name, _exact_operands(name, [c for _, c in inputs], value.shape, place))
    return Cell(place, operands, float(value[place]), right, off, condition)


def _exact_operands(name: str, inputs: Sequence[Array], shape: tuple[int, ...], place: tuple[int, ...]) -> list[Any]:
    """Return the cells that a cell of the output is made of: its operands, or the terms of its sum."""
    if name in PRODUCTS:
        return products_of(inputs, place)
    try:
        return [np.broadcast_to(c, shape)[place] for c in inputs]
    except ValueError:
        return list(_terms(inputs[0], shape, place)) if len(inputs) == 1 else []


def _valueless(exact: Array, right: Array, inputs: Sequence[Array]) -> Event | None:
    """Find the cells without a finite exact value whose exact inputs have one."""
    without = cells.marked(exact, lambda c: isinstance(c, cells.Special) and c is not cells.UNDECIDED)
    if not without.any():
        return None
    aligned = None
    with contextlib.suppress(ValueError):
        aligned = [np.broadcast_to(c, exact.shape) for c in inputs]
    balls = [cells.is_ball(c) for c in (inputs if aligned is None else aligned)]
    whole = all(b.all() for b in balls) if aligned is None else np.logical_and.reduce([*balls, without])
    made = without & whole
    if not inputs or not made.any():
        return None
    place = _first(made)
    kind = Kind.INVALID if exact[place] is cells.NO_VALUE else Kind.POLE
    operands = () if aligned is None else tuple(float(a[place]) for a in aligned)
    return Event(kind, int(np.count_nonzero(made)), exact.shape, place, operands, float(right[place]))


def _of_infinities(exact: Array, inputs: Sequence[Array]) -> Event | None:
    """Find the cells without an exact value that were made of infinities, none of whose inputs lacks a value."""
    without = cells.has_no_value(exact)
    if not without.any():
        return None
    try:
        aligned = [np.broadcast_to(c, exact.shape) for c in inputs]
    except ValueError:
        return None
    kept = np.logical_or.reduce([_is_open(c) for c in aligned], initial=False)
    infinite = np.logical_or.reduce([cells.marked(c, _is_infinite) for c in aligned], initial=False)
    made = without & infinite & ~kept
    if not made.any():
        return None
    place = _first(made)
    operands = tuple(float(a[place]) for a in aligned)
    return Event(Kind.INVALID, int(np.count_nonzero(made)), exact.shape, place, operands, math.nan)


def _is_infinite(cell: Any) -> bool:
    return isinstance(cell, cells.Special) and cell.sign != 0


def _is_open(values: Array) -> Array:
    return cells.marked(values, lambda c: isinstance(c, cells.Special) and c.sign == 0)


def _error_ulp(value: Array, exact: Array, right: Array, fmt: Format) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.abs(np.ldexp(cells.distance(value, exact), -fmt.ulp_exponent(right))))


def _largest(error: Array) -> float | None:
    known = error[~np.isnan(error)]
    return float(known.max()) if known.size else None


def _events(floats: Array, local: Array, here: Array, inputs: Sequence[Array]) -> tuple[Event, ...]:
    """Find the cells that overflowed, vanished, met a pole or gave NaN in this operation, given its actual inputs."""
    ball = cells.is_ball(local)
    bounded = ball & ~np.isnan(here)
    are_finite = ~_any_input(inputs, floats.shape, lambda v: ~np.isfinite(v))
    marks = {
        Kind.OVERFLOW: ~np.isfinite(floats) & bounded,
        Kind.POLE: np.isinf(floats) & np.isinf(here) & ~ball & are_finite,
        Kind.INVALID: np.isnan(floats) & ~bounded & ~_any_input(inputs, floats.shape, np.isnan),
        Kind.ZERO: (floats == 0) & cells.nonzero(local),
    }
    return tuple(
        Event(kind, int(np.count_nonzero(where)), floats.shape, place, operands, float(here[place]))
        for kind, where in marks.items()
        if where.any()
        for place in [_first(where)]
        for operands in [_operands(inputs, floats.shape, place)]
    )


def _with_partial_sum(
    name: str, events: tuple[Event, ...], inputs: Sequence[Array], shape: tuple[int, ...], fmt: Format
) -> tuple[Event, ...]:
    """Tell of a sum that overflows after how many terms it left the format: no single one of them is to blame."""
    if name not in _SUMS or len(inputs) != 1:
        return events
    return tuple(
        replace(e, overflow=_partial_sum(_terms(inputs[0], shape, e.place), fmt)) if e.kind is Kind.OVERFLOW else e
        for e in events
    )


def _terms(array: Array, shape: tuple[int, ...], place: tuple[int, ...]) -> Array:
    """Return the numbers that were added up for a cell; none where the shapes do not tell."""
    if all(n == 1 for n in shape):
        return array.ravel()
    for axis in range(array.ndim - 1, -1, -1):
        kept = (*array.shape[:axis], 1, *array.shape[axis + 1 :])
        if shape in (kept, kept[:axis] + kept[axis + 1 :]):
            index = place if len(shape) == array.ndim else (*place[:axis], 0, *place[axis:])
            return np.asarray(np.moveaxis(array, axis, -1)[index[:axis] + index[axis + 1 :]])
    return array[:0].ravel()


def _partial_sum(terms: Array, fmt: Format) -> PartialSum | None:
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.add.accumulate(terms.astype(np.float64))
    # 65505 to 65519 are rounded to 65504: of float16 the first sum that overflows is 65520.
    beyond = np.flatnonzero(fmt.lacks(sums) | np.isinf(sums))
    if not beyond.size or not np.isfinite(terms.astype(np.float64)).all():
        return None
    return PartialSum(int(beyond[0]) + 1, terms.size, float(sums[beyond[0]]))


def _first(where: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(where)), where.shape))


def _per_cell(inputs: Sequence[Array], shape: tuple[int, ...]) -> list[Array] | None:
    """Return the inputs cell by cell of the output, or None where an output cell is made of many."""
    try:
        return [np.broadcast_to(v.astype(np.float64), shape) for v in inputs]
    except ValueError:
        return None


def _any_input(inputs: Sequence[Array], shape: tuple[int, ...], test: Callable[[Array], Array]) -> Array:
    """Mark the cells of the output with an input that passes a test; all, where an output cell is made of many."""
    aligned = _per_cell(inputs, shape)
    if aligned is None:
        return np.full(shape, any(bool(test(v.astype(np.float64)).any()) for v in inputs))
    return np.logical_or.reduce([test(a) for a in aligned])


def _operands(inputs: Sequence[Array], shape: tuple[int, ...], place: tuple[int, ...]) -> tuple[float, ...]:
    aligned = _per_cell(inputs, shape)
    return () if aligned is None else tuple(float(a[place]) for a in aligned)


def _origin(
    seen: Observation, floats: Array, exact: Array, inputs: Sequence[tuple[Array, Array]], fmt: Format
) -> Origin:
    """Tell where the error comes from: this operation, its inputs, or digits that it made worse."""
    # -inf - -inf has no exact value either: the inputs had no error.
    is_invalid = Kind.INVALID in seen.kinds and bool(cells.has_no_value(exact).any())
    if is_invalid or seen.kinds & {Kind.OVERFLOW, Kind.ZERO}:
        return Origin.MADE_HERE
    error, made, is_bad = seen.error_ulp or 0.0, seen.local_error_ulp or 0.0, bool(seen.inf or seen.nan or seen.lost)
    if seen.name in (*_ADDITIONS, *_SUMS) and (error > 0 or is_bad):
        if _absorbs(seen.name, floats, [v for v, _ in inputs]) and made > 0:
            return Origin.ABSORPTION
        if error > MAGNIFIED * max(1.0, made) and error > MAGNIFIED * _input_error(inputs, fmt):
            return Origin.CANCELLATION
    if is_bad:
        return Origin.INHERITED
    if error <= 1.0:
        return Origin.NONE
    return Origin.MADE_HERE if made >= error / 2 else Origin.INHERITED


def _absorbs(name: str, floats: Array, inputs: Sequence[Array]) -> bool:
    """Tell whether every smaller term of some sum vanished in its largest."""
    terms = _per_cell(inputs, floats.shape)
    if name in _ADDITIONS:
        if terms is None or len(terms) != 2:
            return False
        signed = -terms[1] if name == "subtract" else terms[1]
        equal = ((floats == terms[0]) & (terms[1] != 0)) | ((floats == signed) & (terms[0] != 0))
        return bool((equal & np.isfinite(floats) & (floats != 0)).any())
    flat = np.concatenate([v.astype(np.float64).ravel() for v in inputs]) if len(inputs) == 1 else np.zeros(0)
    largest = flat[np.argmax(np.abs(flat))] if flat.size else 0.0
    return bool(np.isfinite(largest) and largest != 0 and (floats == largest).any() and np.count_nonzero(flat) > 1)


def _input_error(inputs: Sequence[tuple[Array, Array]], fmt: Format) -> float:
    """Largest error of the inputs, in their own ulps where these are as fine as those of `fmt`."""
    worst = 0.0
    for values, exact in inputs:
        input_format = cells.format_or_none(values.dtype)
        if input_format is not None:
            error = _largest(_error_ulp(values, exact, cells.nearest(exact), input_format))
            worst = max(worst, math.ldexp(error or 0.0, max(fmt.precision - input_format.precision, 0)))
    return worst
