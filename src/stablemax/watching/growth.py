"""Whether a run diverges: its weights or losses grew over the steps before, by far and to the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stablemax.results.watched import WatchedStep

BY_FAR = 100.0
STILL = 10.0
FEWEST = 3
"""Steps that tell of growth: with fewer, one step may be an accident."""


@dataclass(frozen=True)
class Growth:
    """A quantity that grew."""

    #: As in `the loss`, `the largest weight`
    noun: str
    first_step: int
    last_step: int
    first: float
    last: float

    @property
    def is_of_loss(self) -> bool:
        """True where it is the loss, which an operation alone may make large."""
        return self.noun == _LOSS

    @property
    def words(self) -> str:
        """It in words."""
        return (
            f"{self.noun} grew from {self.first:.3g} at step {self.first_step} to {self.last:.3g} "
            f"at step {self.last_step}"
        )


def grew(values: Sequence[float]) -> bool:
    """Tell whether a quantity grew: its last value is 100 times those of the first third, that before it 10 times.

    >>> grew([2.0, 1.5, 1.8, 1.2]), grew([2.0, 90.0, 7e4, 1e9]), grew([2.0, 2.0, 1e9])
    (False, True, False)
    """
    sizes = [abs(v) for v in values if math.isfinite(v)]
    if len(sizes) < FEWEST:
        return False
    first = sorted(sizes[: max(1, len(sizes) // 3)])
    usual = first[len(first) // 2]
    before, last = sizes[-2], sizes[-1]
    return last >= BY_FAR * usual and before >= STILL * usual and last >= before and last > 0 and before > usual


_LOSS = "the loss"
_SERIES = (("the largest weight", "largest_weight"), (_LOSS, "loss"))


def growth_of(history: Sequence[WatchedStep]) -> Growth | None:
    """Find the first of weights and losses that grew; a gradient alone may grow where an operation makes it."""
    for noun, name in _SERIES:
        known = [(s.step, float(v)) for s in history for v in [getattr(s, name)] if v is not None and math.isfinite(v)]
        if grew([v for _, v in known]):
            (first_step, first), (last_step, last) = known[0], known[-1]
            return Growth(noun, first_step, last_step, abs(first), abs(last))
    return None
