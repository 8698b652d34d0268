"""The kind of a wrong formula: the known mistake whose results are those that the code gave, and its line."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.check.mistakes.example import RIGHT, Example, example_of, right_probabilities
from stablemax.check.mistakes.factors import mistakes_of_factors
from stablemax.check.mistakes.mistake import Mistake
from stablemax.check.mistakes.of_probabilities import mistakes_of_probabilities
from stablemax.check.mistakes.of_results import mistakes_of_results
from stablemax.check.mistakes.probes import probes
from stablemax.hazards.cases import HazardCase
from stablemax.numerics.formats import FLOAT32, Array, Format

if TYPE_CHECKING:
    from collections.abc import Set

    from stablemax.check.target.messages import Call
    from stablemax.check.trials import Trials
    from stablemax.trace.line_values import LineValues

FEWEST_INPUTS = 2
"""A mistake that explains the output on fewer inputs may do so by chance."""
_MOST_NAMED = 2


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from what a mistake gives: of each number, and of the largest."""

    of_cell: float
    of_largest: float


STRICT, LOOSE = Tolerance(1e-7, 1e-12), Tolerance(3e-5, 3e-7)
"""Code may compute in float32 whatever it gets."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What the code gave on one input."""

    case: HazardCase
    example: Example
    output: Array


@dataclass(frozen=True)
class Recognised:
    """The mistake that explains what the code gives."""

    kind: str
    words: str
    #: How many inputs it explains, on which the right formula gives something else.
    inputs: int
    #: The line that makes it; 0 where that is not certain.
    file: str = ""
    line: int = 0


@functools.cache
def known_mistakes(operation: str) -> tuple[Mistake, ...]:
    """Return the known mistakes of an operation."""
    every = (*mistakes_of_probabilities(), *mistakes_of_results(), *mistakes_of_factors())
    return tuple(mistake for mistake in every if mistake.operation == operation)


def recognise(
    trials: Trials, fmt: Format, takes: Set[str], *, bound: str = "", is_strict: bool = False
) -> Recognised | None:
    """Find the mistake that gives what the code gives, on every input that it answers, and its line.

    `bound` names a global that holds the logits meanwhile. A strict search takes no code that computes in fewer digits
    than it is given.
    """
    operation = trials.operation
    if operation.name not in RIGHT:
        return None
    cases = probes(takes)
    calls = [replace(trials.call_on(case, fmt), bound=bound) for case in cases]
    answers = [
        Answer(case, example_of(case, operation, trials.reduction, reduced=is_reduced), output)
        for case, result in zip(cases, trials.results(calls), strict=True)
        if (output := _numbers(result.output)) is not None
        for is_reduced in [operation.is_reduced(output.shape, case.logits.shape)]
    ]
    tolerances = (STRICT, LOOSE) if fmt.precision >= FLOAT32.precision else (_coarse(fmt),)
    for tolerance in tolerances[:1] if is_strict else tolerances:
        explained = explanation(operation.name, answers, tolerance)
        if explained is not None:
            mistakes, wrong = explained
            recognised = Recognised(mistakes[0].kind, words_of(mistakes), len(wrong))
            place = _place(trials, fmt, mistakes[0], wrong, tolerance, bound)
            return recognised if place is None else replace(recognised, file=place.file, line=place.line)
    return None


def words_of(mistakes: Sequence[Mistake]) -> str:
    """Name the mistakes that explain an output equally; what one says already, another need not add to."""
    words = list(dict.fromkeys(mistake.words for mistake in mistakes))
    shortest = [w for w in words if not any(w != other and w.startswith(other) for other in words)]
    return " or ".join(shortest[:_MOST_NAMED])


def is_right(trials: Trials, fmt: Format, *, bound: str) -> bool:
    """Tell whether the code is right on every input that it answers while a global holds the logits."""
    operation, cases = trials.operation, probes(frozenset())
    calls = [replace(trials.call_on(case, fmt), bound=bound) for case in cases]
    outputs = [_numbers(result.output) for result in trials.results(calls)]
    checked = [
        agrees(output, RIGHT[operation.name](example_of(case, operation, trials.reduction, reduced=is_reduced)), LOOSE)
        for case, output in zip(cases, outputs, strict=True)
        if output is not None
        for is_reduced in [operation.is_reduced(output.shape, case.logits.shape)]
    ]
    return len(checked) >= FEWEST_INPUTS and all(checked)


def _coarse(fmt: Format) -> Tolerance:
    return Tolerance(64 * fmt.u, 4 * fmt.u)


def _numbers(output: Array | None) -> Array | None:
    """Return an output that can be compared; None where there is none, or NaN and infinities in it."""
    if output is None:
        return None
    numbers = np.asarray(output, dtype=np.float64)
    return numbers if numbers.size and np.isfinite(numbers).all() else None


def agrees(output: Array, expected: Array, tolerance: Tolerance) -> bool:
    """Tell whether an output is what a formula gives."""
    if output.size != expected.size or not np.isfinite(expected).all():
        return False
    right = expected.reshape(output.shape)
    allowed = tolerance.of_cell * np.abs(right) + tolerance.of_largest * np.abs(right).max(initial=0.0)
    return bool((np.abs(output - right) <= allowed).all())


def explanation(
    operation: str, answers: Sequence[Answer], tolerance: Tolerance
) -> tuple[list[Mistake], list[Answer]] | None:
    """Return the mistakes that explain every answer, and the answers that the right formula does not explain."""
    with np.errstate(all="ignore"):
        wrong = [a for a in answers if not agrees(a.output, RIGHT[operation](a.example), tolerance)]
        if len(wrong) < FEWEST_INPUTS:
            return None
        # The answers that are wrong refute most mistakes at once.
        order = [*wrong, *(a for a in answers if a not in wrong)]
        mistakes = [
            mistake
            for mistake in known_mistakes(operation)
            if all(agrees(a.output, mistake.gives(a.example), tolerance) for a in order)
        ]
    return (mistakes, wrong) if mistakes else None


# --- the line ---------------------------------------------------------------------------------------


def _place(
    trials: Trials, fmt: Format, mistake: Mistake, wrong: Sequence[Answer], tolerance: Tolerance, bound: str
) -> LineValues | None:
    """Return the first line whose numbers are those of the mistake; None where that is not certain."""
    smallest = min(wrong, key=lambda a: a.example.x.size)
    call: Call = replace(trials.call_on(smallest.case, fmt), bound=bound)
    lines = _by_line(trials.target.values_of(call))
    with np.errstate(all="ignore"):
        signs = [a for a in mistake.shows(smallest.example) if not _is_known(a, smallest.example, tolerance)]
        for line in lines:
            if any(_holds(line, array, tolerance) for array in signs):
                return line
        # A line may give the result without any of these: then the numbers before it must be right ones.
        right = _right_steps(smallest.example)
        for i, line in enumerate(lines):
            if _holds(line, smallest.output, tolerance):
                is_certain = any(_holds(before, array, tolerance) for before in lines[: i + 1] for array in right)
                return line if is_certain else None
    return None


def _by_line(values: Sequence[LineValues]) -> list[LineValues]:
    """Join the numbers of each line, in the order in which the lines first ran."""
    joined: dict[tuple[str, int], list[Array]] = {}
    for line in values:
        joined.setdefault((line.file, line.line), []).append(line.values)
    first = {(v.file, v.line): v for v in reversed(values)}
    return [replace(first[key], values=np.concatenate(arrays)) for key, arrays in joined.items()]


def _holds(line: LineValues, array: Array, tolerance: Tolerance) -> bool:
    """Tell whether every number of an array is among those of a line."""
    wanted = np.unique(array[np.isfinite(array)])
    if not wanted.size or wanted.size < np.unique(array).size or not line.values.size:
        return False
    seen = np.sort(line.values[np.isfinite(line.values)])
    if not seen.size:
        return False
    places = np.clip(np.searchsorted(seen, wanted), 1, max(len(seen) - 1, 1))
    around = [seen[np.clip(places + d, 0, len(seen) - 1)] for d in (-1, 0)]
    distance = np.minimum(*(np.abs(a - wanted) for a in around))
    return bool((distance <= tolerance.of_cell * np.abs(wanted) + tolerance.of_largest).all())


def _is_known(array: Array, e: Example, tolerance: Tolerance) -> bool:
    """Tell whether an array is a step of the right formula, too."""
    return any(agrees(array, step, tolerance) for step in (*right_probabilities(e), e.x))


def _right_steps(e: Example) -> list[Array]:
    """Return steps of right formulas: exponentials, probabilities, their logarithms."""
    p, log_p = right_probabilities(e)
    shifted: list[Callable[[], Array]] = [
        lambda: np.exp(e.x),
        lambda: np.exp(e.x - e.x.max(axis=-1, keepdims=True)),
        lambda: np.exp(-e.x),
        lambda: np.exp(-np.abs(e.x)),
    ]
    return [p, log_p, *(make() for make in shifted)]
