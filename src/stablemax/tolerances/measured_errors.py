"""Outputs held against the exact truth, cell by cell, and against what a tolerance allows there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.results import Tolerance, WorstCell
from stablemax.text.vocabulary import Accumulation
from stablemax.tolerances.tried_inputs import TriedInput
from stablemax.truth.case import Setting, Shared, case_of, setting_of

Runs = Callable[[Setting], Array]


@dataclass(frozen=True)
class MeasuredInput:
    """An input in a format with the truth about it."""

    name: str
    is_drawn: bool
    setting: Setting
    #: Cells that have a finite exact value, and the size of that value.
    counts: Array
    size: Array

    def in_sums(self, accumulation: Accumulation | None) -> Setting:
        """Return the setting with sums added in a way."""
        return replace(self.setting, xp=Arithmetic(self.setting.xp.format, accumulation))


def measured_inputs(tried: Iterable[TriedInput], operation: Operation, fmt: Format) -> list[MeasuredInput]:
    """Round inputs to a format and prove the truth about them; a gradient is that of the sum of the losses."""
    return [_measured(one, operation, fmt) for one in tried]


def _measured(one: TriedInput, operation: Operation, fmt: Format) -> MeasuredInput:
    setting = setting_of(replace(case_of(one.case, operation), divisor=1.0), Shared(fmt))
    nearest, exact = setting.exact.truth.nearest, setting.exact
    overflow = setting.input_overflow if setting.input_overflow.ndim == 2 else setting.input_overflow[:, None]
    counts = np.isfinite(nearest) & ~exact.undefined_cells & ~np.broadcast_to(overflow, nearest.shape)
    return MeasuredInput(one.name, one.is_drawn, setting, counts, np.abs(nearest))


@dataclass(frozen=True)
class CellErrors:
    """The errors of an output on one input: infinite where it is not finite and the truth is."""

    source: MeasuredInput
    output: Array
    error: Array
    error_ulp: Array

    @classmethod
    def of(cls, source: MeasuredInput, output: Array) -> CellErrors:
        """Hold an output against the truth."""
        fmt, truth = source.setting.xp.format, source.setting.exact.truth
        out = np.asarray(output).astype(np.float64).reshape(truth.nearest.shape)
        nearest = np.where(source.counts, truth.nearest, 0.0)
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            ulp = np.where(source.counts, truth.error_ulp(out, fmt), 0.0)
            # Of an exact 0 in float64, 1e-15 is more ulps than float64 holds.
            beyond = np.isinf(ulp) & np.isfinite(out)
            return cls(source, out, np.where(beyond, np.abs(out - nearest), ulp * fmt.ulp(nearest)), ulp)

    def over(self, tolerance: Tolerance) -> Array:
        """Return each error over what is allowed: infinite where nothing is, and there is one."""
        allowed = tolerance.atol + tolerance.rtol * np.where(self.source.counts, self.source.size, 0.0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.where(self.error == 0.0, 0.0, self.error / allowed)


@dataclass(frozen=True)
class OutputErrors:
    """The errors of one implementation on all inputs."""

    name: str
    accumulation: str
    of_inputs: Sequence[CellErrors]

    @property
    def largest(self) -> float:
        """The largest error."""
        return max(float(cells.error.max(initial=0.0)) for cells in self.of_inputs)

    @property
    def largest_ulp(self) -> float:
        """The largest error in ulps."""
        return max(float(cells.error_ulp.max(initial=0.0)) for cells in self.of_inputs)

    def over(self, tolerance: Tolerance) -> float:
        """Return the largest error over what is allowed where it is."""
        return max(float(cells.over(tolerance).max(initial=0.0)) for cells in self.of_inputs)

    def worst(self, tolerance: Tolerance) -> WorstCell:
        """Return the cell whose error is largest beside what is allowed."""
        cells = max(self.of_inputs, key=lambda each: float(each.over(tolerance).max(initial=0.0)))
        row, column = divmod(int(np.argmax(cells.over(tolerance))), cells.error.shape[1])
        exact = float(cells.source.setting.exact.truth.nearest[row, column])
        return WorstCell(
            cells.source.name,
            row,
            None if cells.source.setting.case.operation.per_row else column,
            output=float(cells.output[row, column]),
            exact=exact,
            error=float(cells.error[row, column]),
            allowed=tolerance.atol + tolerance.rtol * abs(exact),
        )


def errors_of(
    name: str, run: Runs, sources: Iterable[MeasuredInput], accumulation: Accumulation | None = None
) -> OutputErrors:
    """Run an implementation on inputs, and measure it."""
    settings: list[tuple[MeasuredInput, Any]] = [(source, source.in_sums(accumulation)) for source in sources]
    with np.errstate(all="ignore"):
        measured = [CellErrors.of(source, run(setting)) for source, setting in settings]
    return OutputErrors(name, settings[0][1].xp.policy.value, measured)


def is_above(one: float, other: float) -> bool:
    """Tell whether an error over what is allowed is above a limit; NaN is."""
    return math.isnan(one) or one > other
