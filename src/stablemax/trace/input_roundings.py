"""What a few roundings of the inputs change of an exact result: no code on these numbers can be held to more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import FORMATS, Array, Format
from stablemax.text.errors import StablemaxError
from stablemax.trace.exact_cells import is_ball, nearest
from stablemax.trace.given_arguments import GivenArguments

if TYPE_CHECKING:
    from stablemax.trace.run import Run, Subject

_ROUNDINGS = 8.0
"""Sound code is off by no more than so many roundings of each number of its input change; the rest is its own.

Of many numbers it may be twice the square root of how many there are: rounding errors of a sum grow like that.
"""
_FEW_NUMBERS = 8
"""So many numbers are moved one at a time."""
_TRIES = 6


def errors_of_input(subject: Subject, run: Run, max_ulp: float | None, *, by_value: bool) -> Array:
    """Return for each number of a result, flattened, the error that a few roundings of each input number explain.

    Code that is held to `max_ulp` may be off by as many roundings, and by one in any case. Each number of the input is
    moved by the spacing at the largest of its array, or `by_value` by its own. Of few numbers the changes of the exact
    result add up; of many the sum is estimated by moving all of them, or half.
    """
    assert isinstance(subject.given, GivenArguments), "any function gets named arguments"
    numbers = sum(array.size for array in subject.given.arguments if _format_of(array) is not None)

    if run.divergences:
        # A branch that rounding decides is told, though another input may well lie on the other side.
        return np.zeros(run.value.size)

    def changes(patterns: Sequence[Array]) -> Array:
        found = [_change(subject, run, steps, by_value=by_value) for steps in patterns]
        return np.array([np.nan_to_num(change) for change in found if change is not None] or [np.zeros(run.value.size)])

    if numbers <= _FEW_NUMBERS:
        return np.asarray(_roundings(numbers, max_ulp) * changes([*np.eye(numbers)]).sum(axis=0))
    together = changes(_signs(numbers)).max(axis=0)
    half = changes(_halves(numbers))
    # What half of the numbers leave as it is depends on few: these add up to little more than one of them does.
    count = np.where((half == 0).any(axis=0), min(numbers, _FEW_NUMBERS), numbers)
    return np.asarray(_roundings(count, max_ulp) * np.fmax(together, np.sqrt(2 * count * np.mean(half**2, axis=0))))


def _roundings(numbers: Array | int, max_ulp: float | None) -> Array:
    """Return how many roundings of its numbers explain an error."""
    allowed = np.maximum(_ROUNDINGS, 2 * np.sqrt(numbers))
    return np.asarray(allowed if max_ulp is None else np.minimum(np.maximum(1.0, max_ulp), allowed))


def _change(subject: Subject, run: Run, steps: Array, *, by_value: bool) -> Array | None:
    """Return by how much the exact result changes with the input; None where the code cannot be run there."""
    assert isinstance(subject.given, GivenArguments), "any function gets named arguments"
    assert run.exact is not None, "an error is known by its exact value"
    arrays = subject.given.arguments
    arguments = _nudged(arrays, steps, by_value=by_value)
    if all(np.array_equal(a, b, equal_nan=a.dtype.kind not in "OSU") for a, b in zip(arguments, arrays, strict=True)):
        return np.zeros(run.value.size)
    try:
        exact = _exact_of(replace(subject, given=replace(subject.given, arguments=arguments)))
    except StablemaxError:
        return None
    if exact is None or exact.shape != run.exact.shape:
        return None
    return _distance(exact.ravel(), run.exact.ravel())


def _exact_of(other: Subject) -> Array | None:
    """Return what exact arithmetic gives for a neighbour of an input, by the cheapest run that tells it."""
    cheap = other.plain().exact
    return other.observed().exact if cheap is None else cheap


def _signs(numbers: int) -> list[Array]:
    """Return directions in which all numbers of an input are moved: alike, and against each other.

    >>> [pattern.tolist() for pattern in _signs(2)]
    [[1.0, 1.0], [1.0, -1.0]]
    """
    return [np.ones(numbers), 1.0 - 2 * (np.arange(numbers) % 2)]


def _halves(numbers: int) -> list[Array]:
    """Return directions in which half of the numbers, chosen at random, are moved."""
    random = np.random.default_rng(0)
    return [random.choice([-1.0, 0.0, 0.0, 1.0], size=numbers) for _ in range(_TRIES)]


def _distance(cells: Array, others: Array) -> Array:
    """Return how far exact cells lie from others; NaN where one of two has no value."""
    both = is_ball(cells) & is_ball(others)
    distances = np.full(cells.shape, np.nan)
    if both.any():
        distances[both] = np.abs(nearest(cells[both] - others[both]))
    return distances


def _nudged(arrays: Sequence[Array], steps: Array, *, by_value: bool) -> tuple[Array, ...]:
    """Move each number of a format by the spacing at the largest of its array, or by its own."""
    moved: list[Array] = []
    for array in arrays:
        fmt = _format_of(array)
        if fmt is None:
            moved.append(array)
            continue
        wide = array.astype(np.float64)
        own, steps = steps[: array.size].reshape(array.shape), steps[array.size :]
        largest_size = np.max(np.abs(wide), where=np.isfinite(wide), initial=0.0)
        sizes = np.abs(wide) if by_value else np.full(wide.shape, largest_size)
        with np.errstate(invalid="ignore", over="ignore"):
            beside = wide + own * np.where(sizes == 0, 0.0, fmt.ulp(sizes))
        moved.append(fmt.cast(np.where(np.isfinite(beside), beside, wide)))
    return tuple(moved)


def _format_of(array: Array) -> Format | None:
    return FORMATS.get(array.dtype.name) if array.dtype.kind not in "biuOSU" else None
