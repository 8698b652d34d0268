"""Whether a fault is one of a run that diverges: what grew, held against the last operations on weights as before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stablemax.results.watched import WatchedStep
from stablemax.watching.growth import WINDOW, Evidence, Growth, growths_of, step_words
from stablemax.watching.torch.replay import Replay
from stablemax.watching.torch.weight_sizes import SizeHistory, SizeTrial, tried_at_sizes


@dataclass(frozen=True)
class Divergence:
    """Growth that made a fault."""

    growth: Growth
    #: The last operations give numbers with the weights at their sizes of before.
    is_tried: bool

    @property
    def words(self) -> str:
        """It in words."""
        if not self.is_tried:
            return self.growth.words
        return (
            f"{self.growth.words} (with weights as large as {step_words(self.growth.weights_step)} the same "
            "operations give numbers)"
        )


def divergence_of(
    replays: Sequence[Replay],
    steps: Sequence[WatchedStep],
    sizes: SizeHistory,
    name_of: Callable[[int], str],
    *,
    is_curable: bool,
) -> Divergence | None:
    """Find the growth that made a fault; None where nothing grew, or the fault is there without that, too.

    `replays` are the last operations, as far as they go; the fault is curable where code is known that does without.
    """
    series = sizes.series(steps[-1].step - WINDOW) if steps else {}
    for growth in growths_of(steps, series, lambda address: name_of(address) or "a parameter"):
        if is_curable and growth.needs is not Evidence.NONE:
            continue
        trials = (tried_at_sizes(replay, sizes, growth.weights_step) for replay in replays)
        trial = next((t for t in trials if t is not SizeTrial.UNKNOWN), SizeTrial.UNKNOWN)
        if trial is SizeTrial.NUMBERS or (trial is SizeTrial.UNKNOWN and growth.needs is not Evidence.TRIAL):
            return Divergence(growth, is_tried=trial is SizeTrial.NUMBERS)
    return None
