"""What one operation did to its numbers: range, inf, NaN, lost zeros, errors, and where they come from."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.results import Origin
from stablemax.trace import exact_cells as cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.formats import Array, Format

MAGNIFIED = 16.0
"""An addition that makes its inputs' errors, in ulps, larger by this cancels."""

_ADDITIONS = ("add", "subtract")
_SUMS = ("sum", "add.reduce", "mean", "einsum", "dot", "matmul", "inner", "tensordot")


class Kind(enum.Enum):
    """What happened to a cell."""

    OVERFLOW = "overflow"
    ZERO = "zero"
    POLE = "pole"
    INVALID = "invalid"


@dataclass(frozen=True)
class Event:
    """One thing that happened to cells of an output.

    Parameters
    ----------
    kind : Kind
        Finite numbers overflowed, vanished, met a pole (log 0, 1 / 0), or gave NaN.
    cells : int
        How many.
    place : tuple of int
        Index of the first in the output.
    operands : tuple of float
        The inputs there.
    exact : float
        The same operation on them exactly, rounded to float64.
    """

    kind: Kind
    cells: int
    place: tuple[int, ...]
    operands: tuple[float, ...]
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
class Observation:
    """The figures of one operation; the fields are those of `results.TracedOperation`."""

    shape: tuple[int, ...]
    smallest: float
    largest: float
    cells: int
    inf: int
    nan: int
    lost: int
    error_ulp: float | None
    local_error_ulp: float | None
    origin: Origin
    events: tuple[Event, ...]
    worst: Cell | None = None


def observe(
    name: str,
    fmt: Format,
    value: Array,
    exact: Array,
    local: Array,
    inputs: Sequence[tuple[Array, Array]],
) -> Observation:
    """Measure an operation.

    Parameters
    ----------
    name : str
        What it is called.
    fmt : Format
        Of the output.
    value : ndarray
        The output.
    exact, local : object ndarray
        Cells of the output's shape: the shadow, and the same operation exactly on the inputs' values.
    inputs : sequence of (values, cells)
        What went in, and its shadow.
    """
    wide = value.astype(np.float64)
    finite = np.isfinite(wide)
    right, here = cells.nearest(exact), cells.nearest(local)
    infinite = np.isinf(wide) & (_is_ball(exact) | (np.sign(wide) != np.sign(right)))
    nan = np.isnan(wide)
    lost = (wide == 0) & cells.nonzero(exact)
    errors = _error_ulp(value, exact, right, fmt)
    error = _largest(errors)
    worst = None
    if error:
        place = _first(errors == error)
        operands = _operands([v for v, _ in inputs], value.shape, place)
        off = float(cells.distance(np.asarray(value[place]), cells.as_array(exact[place])))
        worst = Cell(place, operands, float(wide[place]), float(right[place]), off)
    made = _largest(_error_ulp(value, local, here, fmt))
    events = _events(wide, local, here, [v for v, _ in inputs])
    return Observation(
        shape=value.shape,
        smallest=float(np.min(wide, where=finite, initial=math.inf)) if finite.any() else math.nan,
        largest=float(np.max(wide, where=finite, initial=-math.inf)) if finite.any() else math.nan,
        cells=value.size,
        inf=int(np.count_nonzero(infinite)),
        nan=int(np.count_nonzero(nan)),
        lost=int(np.count_nonzero(lost)),
        error_ulp=error,
        local_error_ulp=made,
        origin=_origin(
            name,
            fmt,
            events,
            error,
            made,
            wide,
            inputs,
            bad=bool(infinite.any() or nan.any() or lost.any()),
            valueless=bool(cells.has_no_value(exact).any()),
        ),
        events=events,
        worst=worst,
    )


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
    found = {
        Kind.OVERFLOW: ~np.isfinite(wide) & bounded,
        Kind.POLE: np.isinf(wide) & np.isinf(here) & ~ball & _all_finite(inputs, wide.shape),
        Kind.INVALID: np.isnan(wide) & ~bounded & ~_any_nan(inputs, wide.shape),
        Kind.ZERO: (wide == 0) & cells.nonzero(local),
    }
    return tuple(
        Event(kind, int(np.count_nonzero(where)), place, _operands(inputs, wide.shape, place), float(here[place]))
        for kind, where in found.items()
        if where.any()
        for place in [_first(where)]
    )


def _first(where: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(where)), where.shape))


def _is_ball(local: Array) -> Array:
    found = [not isinstance(c, cells.Special) for c in local.ravel().tolist()]
    return np.array(found, dtype=bool).reshape(local.shape)


def _aligned(values: Array, shape: tuple[int, ...]) -> Array | None:
    """Return the input cell by cell of the output, or None where an output cell is made of many."""
    try:
        return np.broadcast_to(values.astype(np.float64), shape)
    except ValueError:
        return None


def _per_cell(inputs: Sequence[Array], shape: tuple[int, ...]) -> list[Array] | None:
    aligned = [_aligned(v, shape) for v in inputs]
    return None if any(a is None for a in aligned) else [a for a in aligned if a is not None]


def _all_finite(inputs: Sequence[Array], shape: tuple[int, ...]) -> Array:
    aligned = _per_cell(inputs, shape)
    if aligned is None:
        return np.full(shape, all(bool(np.isfinite(v.astype(np.float64)).all()) for v in inputs))
    return np.logical_and.reduce([np.isfinite(a) for a in aligned])


def _any_nan(inputs: Sequence[Array], shape: tuple[int, ...]) -> Array:
    aligned = _per_cell(inputs, shape)
    if aligned is None:
        return np.full(shape, any(bool(np.isnan(v.astype(np.float64)).any()) for v in inputs))
    return np.logical_or.reduce([np.isnan(a) for a in aligned])


def _operands(inputs: Sequence[Array], shape: tuple[int, ...], place: tuple[int, ...]) -> tuple[float, ...]:
    aligned = _per_cell(inputs, shape)
    return () if aligned is None else tuple(float(a[place]) for a in aligned)


def _origin(
    name: str,
    fmt: Format,
    events: tuple[Event, ...],
    error: float | None,
    made: float | None,
    wide: Array,
    inputs: Sequence[tuple[Array, Array]],
    *,
    bad: bool,
    valueless: bool,
) -> Origin:
    kinds = {e.kind for e in events}
    # -inf - -inf has no exact value either: nothing was wrong with what came in.
    if kinds & {Kind.OVERFLOW, Kind.ZERO} or (Kind.INVALID in kinds and valueless):
        return Origin.MADE_HERE
    error, made = error or 0.0, made or 0.0
    if (name in _ADDITIONS or name in _SUMS) and (error > 0 or bad):
        if _absorbs(name, wide, [v for v, _ in inputs]) and made > 0:
            return Origin.ABSORPTION
        if error > MAGNIFIED * max(1.0, made) and error > MAGNIFIED * _input_error(inputs, fmt):
            return Origin.CANCELLATION
    if bad:
        return Origin.CAME_IN
    if error <= 1.0:
        return Origin.NONE
    return Origin.MADE_HERE if made >= error / 2 else Origin.CAME_IN


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
            found = _largest(_error_ulp(values, exact, cells.nearest(exact), own))
            worst = max(worst, math.ldexp(found or 0.0, max(fmt.precision - own.precision, 0)))
    return worst
