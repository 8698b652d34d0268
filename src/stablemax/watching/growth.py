"""Whether a run diverges: its weights, losses or gradients grew over the steps before."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stablemax.results.watched import WatchedStep

BY_FAR = 100.0
STILL = 10.0
IN_ONE_STEP = 1000.0
AT_LEAST = 2.0
"""What weights grow by where they let the loss grow in one step: an exponential needs no more."""
LARGE_WEIGHT = 10.0
"""Smaller weights have not diverged, however small they were: many begin at 0."""
ORDINARY_WEIGHT = 1.0
WINDOW = 8
"""Steps in which weights that grow by far do so too fast for any training."""

Series = Sequence[tuple[int, float]]


class Evidence(enum.Enum):
    """What else it takes to call growth a divergence."""

    #: Nothing: weights that grew by far within a few steps.
    NONE = enum.auto()
    #: No code is known that does without the fault.
    NO_CURE = enum.auto()
    #: The same, and the operations give numbers with the weights at their former sizes.
    TRIAL = enum.auto()


@dataclass(frozen=True)
class Growth:
    """A quantity that grew."""

    #: As in `the loss`, `the largest weight`
    noun: str
    first_step: int
    last_step: int
    first: float
    last: float
    needs: Evidence
    #: The step that made the weights from which it began.
    weights_step: int

    @property
    def words(self) -> str:
        """It in words."""
        since, until = step_words(self.first_step), step_words(self.last_step)
        return f"{self.noun} grew from {self.first:.3g} {since} to {self.last:.3g} {until}"


def step_words(step: int) -> str:
    """Say when: of step 0 that it is before the first."""
    return f"at step {step}" if step else "before the first step"


def grew(values: Sequence[float]) -> bool:
    """Tell whether a quantity grew over some steps: to 100 times that of the first third, and before that to 10 times.

    >>> grew([2.0, 1.5, 1.8, 1.2]), grew([2.0, 90.0, 7e4, 1e9]), grew([2.0, 2.0, 1e9]), grew([0.5, 600.0])
    (False, True, False, False)
    """
    sizes = [abs(v) for v in values if math.isfinite(v) and v]
    if len(sizes) < 3:
        return False
    usual = _usual(sizes[: len(sizes) // 3])
    before, last = sizes[-2], sizes[-1]
    return last >= BY_FAR * usual and STILL * usual <= before <= last


def _usual(sizes: Sequence[float]) -> float:
    return sorted(sizes)[len(sizes) // 2]


def growths_of(
    history: Sequence[WatchedStep], weights: Mapping[int, Series], name_of: Callable[[int], str]
) -> Iterator[Growth]:
    """Iterate over what grew, what tells the most first; in a first step nothing did.

    `weights` are the largest numbers of each parameter in the last steps, and `name_of` names it.
    """
    if not history or history[-1].step < 2:
        return
    largest = _known((s.step, s.largest_weight) for s in history)
    lately = _within(largest, WINDOW)
    loss = _known((s.step, s.loss) for s in history)
    gradient = _known((s.step, s.gradient_norm) for s in history)
    exploded = _risen(lately, BY_FAR, LARGE_WEIGHT)
    if exploded is not None:
        yield _growth("the largest weight", exploded, Evidence.NONE)
    slowly = _risen([*largest[:1], *largest[-1:]], BY_FAR, LARGE_WEIGHT)
    if slowly is not None:
        yield _growth("the largest weight", slowly, Evidence.NO_CURE)
    for noun, series in (("the loss", loss), ("the gradient", gradient)):
        if grew([v for _, v in series]):
            yield _growth(noun, series, Evidence.NO_CURE, made_in_step=True)
    moved = _risen(lately, STILL, ORDINARY_WEIGHT)
    if moved is not None:
        yield _growth("the largest weight", moved, Evidence.TRIAL)
    jump = loss[-2:]
    usual = _usual([v for _, v in loss[:-1]]) if len(jump) == 2 else 0.0
    is_jump = usual > 0 and jump[1][1] >= IN_ONE_STEP * usual
    if is_jump and _risen(lately, AT_LEAST, ORDINARY_WEIGHT) is not None:
        yield _growth("the loss", jump, Evidence.TRIAL, made_in_step=True)
    for number, sizes in weights.items():
        rise = _risen(sizes, BY_FAR, LARGE_WEIGHT)
        if rise is not None:
            yield _growth(f"the largest weight of {name_of(number)}", rise, Evidence.NO_CURE)


def _known(values: Iterator[tuple[int, float | None]]) -> Series:
    return [(step, abs(v)) for step, v in values if v is not None and math.isfinite(v)]


def _within(series: Series, steps: int) -> Series:
    return [(step, v) for step, v in series if step >= series[-1][0] - steps]


def _risen(series: Series, factor: float, least: float) -> Series | None:
    """Return where a quantity rose from and to, if it rose that much to that size."""
    if len(series) < 2:
        return None
    least_yet, last = min(v for _, v in series), series[-1]
    # It rose from where it was last about as small.
    first = next(one for one in reversed(series) if one[1] <= AT_LEAST * least_yet)
    return [first, last] if last[1] >= max(least, factor * first[1]) else None


def _growth(noun: str, series: Series, needs: Evidence, *, made_in_step: bool = False) -> Growth:
    """Describe growth; losses and gradients are made in a step, of weights that the step before has made."""
    (first_step, first), (last_step, last) = series[0], series[-1]
    return Growth(noun, first_step, last_step, first, last, needs, first_step - made_in_step)
