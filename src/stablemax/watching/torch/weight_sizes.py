"""The sizes of the weights of a run over its steps, and its last operations on weights of another size."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass

from stablemax.watching.growth import Series
from stablemax.watching.torch.replay import Replay, ordinary


@dataclass(frozen=True)
class WeightSizes:
    """The largest number of each parameter in a step, by what tells its storage."""

    #: 0 for what was there before the first
    step: int
    by_address: Mapping[int, float]


@dataclass(frozen=True)
class SizeHistory:
    """The sizes before the first step, those of the last steps, and those of the step that runs."""

    steps: tuple[WeightSizes, ...] = ()

    def at(self, step: int) -> WeightSizes:
        """Return the sizes at a step; of one that is not kept the first."""
        return next((s for s in self.steps if s.step == step), self.steps[0])

    def series(self, since: int) -> dict[int, Series]:
        """Return the sizes of each parameter of the step that runs, from a step on."""
        kept = [s for s in self.steps if s.step >= since]
        addresses = self.steps[-1].by_address if self.steps else {}
        return {
            a: [(s.step, s.by_address[a]) for s in kept if math.isfinite(s.by_address.get(a, math.nan))]
            for a in addresses
        }


class SizeTrial(enum.Enum):
    """What operations give on weights of another size."""

    NUMBERS = enum.auto()
    STILL_NONE = enum.auto()
    #: They do not start from the weights, or from what is made of weights, too.
    UNKNOWN = enum.auto()


def tried_at_sizes(replay: Replay, sizes: SizeHistory, step: int) -> SizeTrial:
    """Run the last operations with each weight that has grown since a step at its size of then."""
    if not sizes.steps:
        return SizeTrial.UNKNOWN
    then, now = sizes.at(step).by_address, sizes.steps[-1].by_address
    factors = {
        n: then[a] / now[a]
        for n, a in replay.addresses.items()
        if a in then and a in now and math.isfinite(now[a]) and now[a] > then[a]
    }
    with ordinary():
        leaves = {n: t * factors[n] if n in factors else t.clone() for n, t in replay.leaves.items()}
        is_finite = bool(replay.run(leaves).isfinite().all())
    if is_finite:
        return SizeTrial.NUMBERS if factors else SizeTrial.UNKNOWN
    # What was made of weights, and is none, has the size that it has with those of now.
    is_whole = all(replay.addresses[n] in now for n in replay.of_weights)
    return SizeTrial.STILL_NONE if is_whole else SizeTrial.UNKNOWN
