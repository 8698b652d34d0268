"""What one operation did to its numbers: range, inf, NaN, lost zeros, errors, and where they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.results import Origin
from stablemax.trace import exact_cells as cells
from stablemax.trace.observation import Cell, Event, Kind, Observation, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stablemax.numerics.formats import Array, Format

MAGNIFIED = 16.0
"""An addition that makes its inputs' errors, in ulps, larger by this cancels."""

_ADDITIONS = ("add", "subtract")
_SUMS = ("sum", "add.reduce", "mean", "einsum", "dot", "matmul", "inner", "tensordot")


@dataclass(frozen=True)
class Ran:
    """One operation that ran: what it is called, where it was called, and which output this is."""

    name: str
    site: Site
    index: int
    #: How the listing calls it, where sentences use another name.
    label: str = ""
    output: int = 0


def observe(
    operation: Ran, fmt: Format, value: Array, exact: Array, local: Array, inputs: Sequence[tuple[Array, Array]]
) -> Observation:
    """Measure an operation by its output in a format, beside two arrays of cells of the same shape.

    `exact` is the shadow, and `local` the same operation taken exactly on the inputs' values. The inputs are pairs of
    values and their shadow.
    """
    wide = value.astype(np.float64)
    right = cells.nearest(exact)
    infinite = np.isinf(wide) & (_is_ball(exact) | (np.sign(wide) != np.sign(right)))
    nan = np.isnan(wide)
    lost = (wide == 0) & cells.nonzero(exact)
    here = cells.nearest(local)
    values = [v for v, _ in inputs]
    errors = _error_ulp(value, exact, right, fmt)
    errors_made = _error_ulp(value, local, here, fmt)
    measured = _Measured(
        operation.name,
        wide,
        inputs,
        events=_events(wide, local, here, values),
        error=_largest(errors),
        made=_largest(errors_made),
        is_bad=bool(infinite.any() or nan.any() or lost.any()),
        has_no_value=bool(cells.has_no_value(exact).any()),
    )
    finite = wide[np.isfinite(wide)]
    return Observation(
        index=operation.index,
        name=operation.name,
        label=operation.label or operation.name,
        output=operation.output,
        site=operation.site,
        phase=operation.site.phase,
        file=operation.site.file,
        line=operation.site.line,
        dtype=fmt.name,
        shape=value.shape,
        smallest=float(finite.min()) if finite.size else math.nan,
        largest=float(finite.max()) if finite.size else math.nan,
        cells=value.size,
        inf=int(np.count_nonzero(infinite)),
        nan=int(np.count_nonzero(nan)),
        lost=int(np.count_nonzero(lost)),
        error_ulp=measured.error,
        local_error_ulp=measured.made,
        origin=_origin(measured, fmt),
        events=measured.events,
        worst=_worst(errors, measured.error, value, exact, values) if measured.error else None,
    )


@dataclass(frozen=True)
class _Measured:
    """What tells where an operation's error comes from."""

    name: str
    wide: Array
    inputs: Sequence[tuple[Array, Array]]
    events: tuple[Event, ...]
    #: Largest error in ulps beside the shadow, and beside the same operation taken exactly on the inputs' values.
    error: float | None
    made: float | None
    #: Some cell is infinite, NaN or lost; and for some cell exact arithmetic has no value either.
    is_bad: bool
    has_no_value: bool


def _worst(errors: Array, error: float | None, value: Array, exact: Array, inputs: Sequence[Array]) -> Cell:
    """Return the first cell with the largest error."""
    place = _first(errors == error)
    off = float(cells.distance(np.asarray(value[place]), cells.as_array(exact[place])))
    right = float(cells.nearest(cells.as_array(exact[place])))
    return Cell(place, _operands(inputs, value.shape, place), float(value[place]), right, off)


def _error_ulp(value: Array, exact: Array, right: Array, fmt: Format) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.abs(np.ldexp(cells.distance(value, exact), -fmt.ulp_exponent(right))))


def _largest(error: Array) -> float | None:
    known = error[~np.isnan(error)]
    return float(known.max()) if known.size else None


def _events(wide: Array, local: Array, here: Array, inputs: Sequence[Array]) -> tuple[Event, ...]:
    """Find what happened here, to inputs as they were."""
    ball = _is_ball(local)
    bounded = ball & ~np.isnan(here)
    marks = {
        Kind.OVERFLOW: ~np.isfinite(wide) & bounded,
        Kind.POLE: np.isinf(wide) & np.isinf(here) & ~ball & ~_any_input(inputs, wide.shape, lambda v: ~np.isfinite(v)),
        Kind.INVALID: np.isnan(wide) & ~bounded & ~_any_input(inputs, wide.shape, np.isnan),
        Kind.ZERO: (wide == 0) & cells.nonzero(local),
    }
    return tuple(
        Event(kind, int(np.count_nonzero(where)), place, _operands(inputs, wide.shape, place), float(here[place]))
        for kind, where in marks.items()
        if where.any()
        for place in [_first(where)]
    )


def _first(where: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(where)), where.shape))


def _is_ball(local: Array) -> Array:
    are_balls = [not isinstance(c, cells.Special) for c in local.ravel().tolist()]
    return np.array(are_balls, dtype=bool).reshape(local.shape)


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


def _origin(measured: _Measured, fmt: Format) -> Origin:
    """Tell where the error comes from: this operation, its inputs, or digits that it made worse."""
    kinds = {e.kind for e in measured.events}
    # -inf - -inf has no exact value either: the inputs had no error.
    if kinds & {Kind.OVERFLOW, Kind.ZERO} or (Kind.INVALID in kinds and measured.has_no_value):
        return Origin.MADE_HERE
    name, error, made = measured.name, measured.error or 0.0, measured.made or 0.0
    if (name in _ADDITIONS or name in _SUMS) and (error > 0 or measured.is_bad):
        if _absorbs(name, measured.wide, [v for v, _ in measured.inputs]) and made > 0:
            return Origin.ABSORPTION
        if error > MAGNIFIED * max(1.0, made) and error > MAGNIFIED * _input_error(measured.inputs, fmt):
            return Origin.CANCELLATION
    if measured.is_bad:
        return Origin.INHERITED
    if error <= 1.0:
        return Origin.NONE
    return Origin.MADE_HERE if made >= error / 2 else Origin.INHERITED


def _absorbs(name: str, wide: Array, inputs: Sequence[Array]) -> bool:
    """Tell whether every smaller term of some sum vanished in its largest."""
    terms = _per_cell(inputs, wide.shape)
    if name in _ADDITIONS:
        if terms is None or len(terms) != 2:
            return False
        signed = -terms[1] if name == "subtract" else terms[1]
        equal = ((wide == terms[0]) & (terms[1] != 0)) | ((wide == signed) & (terms[0] != 0))
        return bool((equal & np.isfinite(wide) & (wide != 0)).any())
    flat = np.concatenate([v.astype(np.float64).ravel() for v in inputs]) if len(inputs) == 1 else np.zeros(0)
    largest = flat[np.argmax(np.abs(flat))] if flat.size else 0.0
    return bool(np.isfinite(largest) and largest != 0 and (wide == largest).any() and np.count_nonzero(flat) > 1)


def _input_error(inputs: Sequence[tuple[Array, Array]], fmt: Format) -> float:
    """Largest error of the inputs, in their own ulps where these are as fine as those of `fmt`."""
    worst = 0.0
    for values, exact in inputs:
        own = cells.format_or_none(values.dtype)
        if own is not None:
            error = _largest(_error_ulp(values, exact, cells.nearest(exact), own))
            worst = max(worst, math.ldexp(error or 0.0, max(fmt.precision - own.precision, 0)))
    return worst
