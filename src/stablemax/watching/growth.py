"""Whether a run diverges: its weights or losses grew over the steps before, by far and to the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stablemax.results.watched import WatchedStep

BY_FAR = 100.0
STILL = 10.0
IN_ONE_STEP = 1000.0
LARGE_WEIGHT = 10.0
"""Smaller weights have not diverged, however small they were: many begin at 0."""


@dataclass(frozen=True)
class Growth:
    """A quantity that grew."""

    #: As in `the loss`, `the largest weight`
    noun: str
    first_step: int
    last_step: int
    first: float
    last: float
    #: Over how many known values.
    count: int

    @property
    def is_certain(self) -> bool:
        """True where an operation alone cannot have made it: weights that grew in more than one step."""
        return self.noun == _WEIGHT and self.count > 2

    @property
    def words(self) -> str:
        """It in words."""
        before = "before the first step" if self.first_step == 0 else f"at step {self.first_step}"
        return f"{self.noun} grew from {self.first:.3g} {before} to {self.last:.3g} at step {self.last_step}"


def grew(values: Sequence[float]) -> bool:
    """Tell whether a quantity grew: its last value is 100 times those of the first third, that before it 10 times.

    Of two values, the second is 1,000 times the first.

    >>> grew([2.0, 1.5, 1.8, 1.2]), grew([2.0, 90.0, 7e4, 1e9]), grew([2.0, 2.0, 1e9]), grew([0.5, 600.0])
    (False, True, False, True)
    """
    sizes = [abs(v) for v in values if math.isfinite(v) and v]
    if len(sizes) < 2:
        return False
    if len(sizes) == 2:
        return sizes[1] >= IN_ONE_STEP * sizes[0]
    first = sorted(sizes[: max(1, len(sizes) // 3)])
    usual = first[len(first) // 2]
    before, last = sizes[-2], sizes[-1]
    return last >= BY_FAR * usual and STILL * usual <= before <= last


_WEIGHT, _LOSS = "the largest weight", "the loss"


def growth_of(history: Sequence[WatchedStep]) -> Growth | None:
    """Find the first of weights and losses that grew; a gradient alone may grow where an operation makes it."""
    series = (
        (_WEIGHT, [(s.step, s.largest_weight) for s in history], LARGE_WEIGHT),
        (_LOSS, [(s.step, s.loss) for s in history], 0.0),
    )
    for noun, values, least in series:
        known = [(step, abs(v)) for step, v in values if v is not None and math.isfinite(v)]
        if grew([v for _, v in known]) and known[-1][1] >= least:
            (first_step, first), (last_step, last) = known[0], known[-1]
            return Growth(noun, first_step, last_step, first, last, len(known))
    return None
