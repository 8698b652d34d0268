"""Formulas of one operation in one format, judged at values of the swept quantity."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import rows_of
from stablemax.operations.variant import Variant, evaluate
from stablemax.results import Outcome, SweptPoint
from stablemax.sweeping.swept_quantity import SweptQuantity
from stablemax.text.vocabulary import Accumulation
from stablemax.truth.case import Setting, Shared, case_of, setting_of
from stablemax.truth.measure import CODES, GRADES_OF_CELLS, row_error_u
from stablemax.truth.verdicts import computed, sums_of

MOST_SHOWN = 8
"""Classes of which the outputs are kept where they are asked for."""
_PROBES = 15
SUM_OVER_N, MEAN = "sum / N", "mean"
"""How a program takes the mean of its losses: their sum, rounded to the format, over N; or as a library's mean."""


class Panel(Protocol):
    """Formulas that are judged together; each has a name, and says how it adds and takes a mean."""

    operation: Operation
    format: Format
    names: tuple[str, ...]
    accumulations: tuple[str, ...]
    means: tuple[str, ...]
    #: How many numbers between two are best tried at a time: where rows are judged together, many cost what one costs.
    probes: int

    def judged(self, values: Sequence[float], formulas: Collection[int]) -> dict[int, list[SweptPoint]]:
        """Judge some of the formulas, named by their place, at every value."""


class VariantPanel(Panel):
    """Our variants, and libraries' built-ins, on the same truth."""

    def __init__(
        self,
        quantity: SweptQuantity,
        operation: Operation,
        variants: Sequence[Variant],
        fmt: Format,
        accumulation: Accumulation | None,
        max_ulp: float | None,
        *,
        keeps_values: bool,
    ) -> None:
        self.operation, self.format = operation, fmt
        self._quantity, self._accumulation, self._max_ulp = quantity, accumulation, max_ulp
        self._keeps_values = keeps_values
        self.probes = _PROBES if quantity.is_stacked else 1
        self._runs = [(v, mean) for v in variants for mean in _means_of(v, quantity)]
        self.names = tuple(v.id for v, _ in self._runs)
        self.means = tuple(mean for _, mean in self._runs)
        self.accumulations = tuple(sums_of(v, Arithmetic(fmt, accumulation), None) for v, _ in self._runs)

    def judged(self, values: Sequence[float], formulas: Collection[int]) -> dict[int, list[SweptPoint]]:
        """Judge variants at every value, on one array where the quantity's rows make one."""
        if not values:
            return {i: [] for i in formulas}
        if self._quantity.is_stacked:
            return self._judged_together(values, formulas)
        each = [self._judged_together([value], formulas) for value in values]
        return {i: [points[i][0] for points in each] for i in formulas}

    def _judged_together(self, values: Sequence[float], formulas: Collection[int]) -> dict[int, list[SweptPoint]]:
        setting = self._setting(values)
        return {i: self._of_run(*self._runs[i], setting, values) for i in formulas}

    def _setting(self, values: Sequence[float]) -> Setting:
        case = case_of(self._quantity.case(values), self.operation)
        if self._quantity.is_stacked and self.operation.of_losses:
            # Each row is an input of its own: the mean of its losses divides by one row.
            case = replace(case, divisor=float(self.operation.loss_count(1, case.logits.shape[1])))
        return setting_of(case, Shared(self.format), self._accumulation)

    def _of_run(self, variant: Variant, mean: str, setting: Setting, values: Sequence[float]) -> list[SweptPoint]:
        if variant.refusal(self.format.name, setting.x.shape[1]):
            return [SweptPoint(value, None, None) for value in values]
        return _judged_points(
            _output(variant, mean, setting), setting, values, variant, self._max_ulp, keeps_values=self._keeps_values
        )


def _means_of(variant: Variant, quantity: SweptQuantity) -> tuple[str, ...]:
    """Tell in which ways a variant's mean is taken; none where losses are judged one by one."""
    if not quantity.of_mean:
        return ("",)
    return (MEAN,) if variant.library else (SUM_OVER_N, MEAN)


def _output(variant: Variant, mean: str, setting: Setting) -> Array:
    """Run a variant: on each row alone where it would mix them."""
    if not (variant.rowwise or variant.library):
        rows = (slice(i, i + 1) for i in range(len(setting.x)))
        return np.concatenate([evaluate(variant, setting.x[r], setting.xp, rows_of(setting.second, r)) for r in rows])
    losses, its_mean = computed(variant, setting)
    if mean == SUM_OVER_N:
        with np.errstate(all="ignore"):
            return setting.xp.divided(setting.xp.sum(losses.reshape(1, -1)), float(losses.size)).reshape(1)
    return losses if not mean else np.asarray(its_mean)


def _judged_points(
    output: Array,
    setting: Setting,
    values: Sequence[float],
    variant: Variant,
    max_ulp: float | None,
    *,
    keeps_values: bool,
) -> list[SweptPoint]:
    """Judge each row of an output as an input of its own."""
    judged = setting.judge(output, max_ulp=max_ulp)
    grades = judged.grades.max(axis=-1)
    # The worst of the cells of the worst grade, as the verdict on a whole array has it.
    codes = np.where(judged.grades == grades[:, None], judged.codes, 0).max(axis=-1)
    error_ulp = _largest_of_rows(judged.error_ulp)
    error_u = row_error_u(output, setting.exact, setting.xp.format)
    bound_u = _bounds(variant, setting, codes)
    at_end = np.asarray(setting.end_of_range.reshape(len(codes), -1).any(axis=-1))
    kept = output.reshape(judged.codes.shape).astype(np.float64) if keeps_values else None
    shown = [()] * len(codes) if kept is None or kept.shape[1] > MOST_SHOWN else map(tuple, kept.tolist())
    # Python's own numbers: a search judges a hundred thousand points, and NumPy's take a microsecond each.
    columns = (array.tolist() for array in (codes, grades, error_ulp, error_u, bound_u, at_end))
    return [
        SweptPoint(value, CODES[code], GRADES_OF_CELLS[grade], _number(ulp), _number(u), _number(bound), is_at_end, row)
        for value, code, grade, ulp, u, bound, is_at_end, row in zip(values, *columns, shown, strict=True)
    ]


def _largest_of_rows(errors: Array) -> Array:
    """Return the largest error of each row that is not NaN; NaN without one."""
    has = ~np.isnan(errors)
    return np.where(has.any(axis=-1), np.where(has, errors, -1.0).max(axis=-1), np.nan)


def _bounds(variant: Variant, setting: Setting, codes: Array) -> Array:
    """Return what a variant's theorem allows in each row, in u; NaN where it speaks of none: overflow and underflow."""
    if variant.bound is None or setting.case.reduced:
        return np.full(len(codes), np.nan)
    usable = np.isin(codes, [CODES.index(Outcome.OK), CODES.index(Outcome.INACCURATE)])
    with np.errstate(all="ignore"):
        bound = variant.bound.in_u(setting.x.astype(np.float64), setting.lse)
    return np.where(usable, bound, np.nan)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
