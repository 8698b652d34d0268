"""Somebody's code, judged at values of the swept quantity as `check` judges it on its inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from stablemax.check.check_options import CheckOptions
from stablemax.check.steps import CheckRun, accept_formats, find_reduction, note_call_style, note_refused_formats
from stablemax.check.target.messages import LoadedTarget
from stablemax.check.trials import Trial
from stablemax.numerics.formats import Format
from stablemax.operations.operation import Operation
from stablemax.results import Grade, Outcome, SweptPoint
from stablemax.sweeping.panel import MOST_SHOWN, Panel
from stablemax.sweeping.swept_quantity import SweptQuantity
from stablemax.truth.measure import largest, row_error_u

_CELLS_IN_A_MESSAGE = 1 << 18
_CALLS_IN_A_MESSAGE = 128
_OWN_SUMS = "code"
"""In place of an accumulation policy: the code adds as it does."""


def prepared(target: LoadedTarget, formats: Sequence[Format], max_ulp: float | None) -> CheckRun:
    """Find out how code wants to be called, in which formats it answers, and what its number is."""
    run = CheckRun(target, CheckOptions(formats=tuple(formats), max_ulp=max_ulp))
    for step in (accept_formats, note_call_style, find_reduction, note_refused_formats):
        step(run)
    return run


class TargetPanel(Panel):
    """One function of somebody's in one format; it takes its mean as it does."""

    def __init__(self, quantity: SweptQuantity, run: CheckRun, fmt: Format, *, keeps_values: bool) -> None:
        self.operation: Operation = run.target.info.operation
        self.format = fmt
        self.names = (run.target.info.name,)
        self.accumulations, self.means = (_OWN_SUMS,), ("",)
        self.probes = 1
        self._quantity, self._run, self._keeps_values = quantity, run, keeps_values

    def judged(self, values: Sequence[float], formulas: Collection[int]) -> dict[int, list[SweptPoint]]:  # noqa: ARG002
        """Call the function at every value, many to a message."""
        points: list[SweptPoint] = []
        for some in _messages(values, lambda value: self._quantity.case([value]).logits.size):
            trials = self._run.trials.trial_each([self._quantity.case([value]) for value in some], self.format)
            points += [self._point(trial, value) for trial, value in zip(trials, some, strict=True)]
        return {0: points}

    def _point(self, trial: Trial, value: float) -> SweptPoint:
        output = trial.result.output
        if trial.verdict is None or output is None:
            if trial.failed:
                return SweptPoint(value, None, Grade.BROKEN)
            beyond = bool(trial.setting.input_overflow.any())
            return SweptPoint(value, Outcome.INPUT_OVERFLOW if beyond else Outcome.UNDEFINED, trial.grade)
        shown = output.astype(np.float64).ravel() if self._keeps_values and output.size <= MOST_SHOWN else ()
        return SweptPoint(
            value,
            # What a check lets pass, such as a result that is flushed to 0, is no failure here either.
            trial.worst,
            trial.grade,
            trial.verdict.error_ulp,
            largest(row_error_u(output, trial.setting.exact, self.format)),
            at_range_end=bool(trial.setting.end_of_range.any()),
            values=tuple(map(float, shown)),
        )


def _messages(values: Sequence[float], size_of: Callable[[float], int]) -> Iterator[list[float]]:
    """Split values so that no message holds too many calls or cells."""
    some: list[float] = []
    cells = 0
    for value in values:
        size = size_of(value)
        if some and (cells + size > _CELLS_IN_A_MESSAGE or len(some) == _CALLS_IN_A_MESSAGE):
            yield some
            some, cells = [], 0
        some.append(value)
        cells += size
    if some:
        yield some
