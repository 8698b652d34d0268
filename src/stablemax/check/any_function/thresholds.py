"""From which number on a function breaks: a bisection between two neighbouring numbers of the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.check.any_function.input_ranges import RangedArgument
from stablemax.numerics.ordered_numbers import FormatNumbers
from stablemax.results import BreakingPoint
from stablemax.trace.given_arguments import indexed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.check.any_function.candidates import Inputs
    from stablemax.check.any_function.judged_input import JudgedInput
    from stablemax.check.any_function.proofs import Proofs

_BETWEEN = 16
"""Numbers between the breaking point and the end that are tried, too."""


@dataclass(frozen=True, eq=False)
class _Moved:
    """One number of a breaking input, moved while all others stay."""

    proofs: Proofs
    inputs: Inputs
    argument: RangedArgument
    place: tuple[int, ...]

    @property
    def number(self) -> float:
        """What it is in the breaking input."""
        return float(self.inputs[self.argument.name][self.place])

    def at(self, number: float) -> Inputs:
        """Return the input with another number."""
        changed = self.inputs[self.argument.name].copy()
        changed[self.place] = self.proofs.format.cast(np.array(number))
        return {**self.inputs, self.argument.name: changed}

    def breaks(self, number: float, model: JudgedInput) -> bool:
        """Tell whether a number breaks the function as the input did that was found."""
        return self.proofs.first_like([self.at(number)], model) is not None

    def holds(self, number: float) -> bool:
        """Tell whether the function is right with a number."""
        (judged,) = self.proofs.of([self.at(number)])
        return judged.is_proved and not judged.is_undefined and not judged.outcome.is_failure


def breaking_point(
    proofs: Proofs, ranges: Sequence[RangedArgument], inputs: Inputs, model: JudgedInput
) -> BreakingPoint | None:
    """Find the number from which on an input breaks; None where several numbers make it break.

    The search goes from a number that holds, 0 or 1 or the end of the range that is nearest to them, to the breaking
    one: small numbers break code from some number down.
    """
    places = _places(ranges, inputs)
    if len(places) != 1:
        return None
    moved, numbers = _Moved(proofs, inputs, *places[0]), FormatNumbers(proofs.format)
    low, high = moved.argument.range.ends(proofs.format)
    bad = moved.number
    starts = (1.0, 0.0) if abs(bad) < 1 else (0.0, 1.0)
    start = next((s for n in starts if (s := min(max(n, low), high)) != bad and moved.holds(s)), None)
    if start is None:
        return None
    good_rank, bad_rank = numbers.rank(start), numbers.rank(bad)
    while abs(bad_rank - good_rank) > 1:
        middle = (good_rank + bad_rank) // 2
        if moved.breaks(numbers.number(middle), model):
            bad_rank = middle
        else:
            good_rank = middle
    holds, first_bad = numbers.number(good_rank), numbers.number(bad_rank)
    if not moved.holds(holds):
        return None  # it breaks there, too, in another way
    # Towards 0 exact values end that are ordinary numbers: as far as the input that was found.
    last = (high if bad > start else low) if abs(bad) > abs(start) else bad
    way = numbers.rank(last) - bad_rank
    between = {bad_rank + way * i // _BETWEEN for i in range(1, _BETWEEN + 1)}
    is_known = all(moved.breaks(numbers.number(rank), model) for rank in between)
    return BreakingPoint(indexed(moved.argument.name, moved.place), holds, first_bad, last if is_known else None)


def _places(ranges: Sequence[RangedArgument], inputs: Inputs) -> list[tuple[RangedArgument, tuple[int, ...]]]:
    """Return where numbers stand that are neither 0 nor 1; the only number of an input is that anyway."""
    places = [(one, place) for one in ranges for place in np.ndindex(inputs[one.name].shape)]
    if len(places) < 2:
        return places
    return [(one, place) for one, place in places if float(inputs[one.name][place]) not in (0.0, 1.0)]
