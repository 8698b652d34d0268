"""From which number on a function breaks: a bisection between two neighbouring numbers of the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.check.any_function.ranges import RangedArgument
from stablemax.numerics.ordered_numbers import FormatNumbers
from stablemax.results import BreakingPoint
from stablemax.trace.given_arguments import indexed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.check.any_function.candidates import Inputs
    from stablemax.check.any_function.judged_input import JudgedInput
    from stablemax.check.any_function.proofs import Proofs

_BEYOND = 16
"""Numbers between the breaking point and the end of the range that are tried, too."""


@dataclass(frozen=True)
class _Moved:
    """The one number of an input that is neither 0 nor 1."""

    argument: RangedArgument
    place: tuple[int, ...]


def breaking_point(
    proofs: Proofs, ranges: Sequence[RangedArgument], inputs: Inputs, model: JudgedInput
) -> BreakingPoint | None:
    """Find the number from which on an input breaks; None where several numbers make it break, or nearer ones, too."""
    moved = _moved(ranges, inputs)
    if moved is None:
        return None
    name, place, numbers = moved.argument.name, moved.place, FormatNumbers(proofs.format)
    low, high = moved.argument.range.ends(proofs.format)
    bad = float(inputs[name][place])

    def with_number(number: float) -> Inputs:
        changed = inputs[name].copy()
        changed[place] = proofs.format.cast(np.array(number))
        return {**inputs, name: changed}

    def breaks(number: float) -> bool:
        return proofs.first_like([with_number(number)], model) is not None

    start = min(max(0.0, low), high)
    (at_start,) = proofs.of([with_number(start)])
    if start == bad or not at_start.is_proved or at_start.is_undefined or at_start.outcome.is_failure:
        return None
    good_rank, bad_rank = numbers.rank(start), numbers.rank(bad)
    while abs(bad_rank - good_rank) > 1:
        middle = (good_rank + bad_rank) // 2
        if breaks(numbers.number(middle)):
            bad_rank = middle
        else:
            good_rank = middle
    holds, first_bad = numbers.number(good_rank), numbers.number(bad_rank)
    (beside,) = proofs.of([with_number(holds)])
    if not beside.is_proved or beside.is_undefined or beside.outcome.is_failure:
        return None  # it breaks there, too, in another way
    last_rank = numbers.rank(high if bad > start else low)
    between = (bad_rank + (last_rank - bad_rank) * i // _BEYOND for i in range(1, _BEYOND + 1))
    onwards = all(breaks(numbers.number(rank)) for rank in (*between, numbers.rank(bad)))
    return BreakingPoint(indexed(name, place), holds, first_bad, onwards)


def _moved(ranges: Sequence[RangedArgument], inputs: Inputs) -> _Moved | None:
    """Return the one number that is neither 0 nor 1; the only number of an input is that anyway."""
    places = [(one, place) for one in ranges for place in np.ndindex(inputs[one.name].shape)]
    if len(places) > 1:
        places = [(one, place) for one, place in places if float(inputs[one.name][place]) not in (0.0, 1.0)]
    return _Moved(*places[0]) if len(places) == 1 else None
