"""An output read as what it is meant to be, and judged."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.errors import StablemaxError
from stablemax.exact import Truth
from stablemax.measure import CODES, ExactResult, Judgement, exact_result, judge
from stablemax.operations.targets import LabelTargets, SoftTargets
from stablemax.reduction import exact_sum, rounded
from stablemax.results import Outcome
from stablemax.shadow import cells
from stablemax.shadow.wording import Input

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.operations.targets import Targets
    from stablemax.shadow.running import ShadowRun
    from stablemax.shadow.traced_code import Code

_SAME_ULP = 1e-6
"""A shadow this close to the truth is the truth: rounding it twice must not tell them apart."""


def targets_for(second: Array, divisor: float) -> Targets:
    """Return labels or soft targets as a cross-entropy takes them."""
    return LabelTargets(second, None, divisor) if second.dtype.kind in "iu" else SoftTargets(second, divisor)


@dataclass(frozen=True)
class Reading:
    """One way of reading an output: what it is, and how it does."""

    exact: ExactResult
    judged: Judgement
    note: str = ""
    reduced: bool = False

    @property
    def failing(self) -> Array:
        """Cells that are bad."""
        failures = [CODES.index(o) for o in Outcome if o.is_failure]
        return np.isin(self.judged.codes, failures)


@dataclass(frozen=True)
class Case:
    """What is traced on what."""

    function: Callable[..., Any]
    x: Array
    second: Array | None
    operation: Operation
    fmt: Format
    code: Code
    max_ulp: float | None
    numbers: Array | None = None

    @property
    def input(self) -> Input:
        """The logits, for the wording."""
        return Input(self.x.astype(np.float64), self.numbers)

    @property
    def arguments(self) -> tuple[Array, ...]:
        """What the function is called with."""
        return (self.x,) if self.second is None else (self.x, self.second)

    def row(self, index: int) -> Case:
        """The same on one row."""
        part = slice(index, index + 1)
        return replace(self, x=self.x[part], second=None if self.second is None else self.second[part])

    @functools.cached_property
    def truths(self) -> list[tuple[ExactResult, str, bool]]:
        """The right results, as an output may mean them: the gradient of the mean or of the sum."""
        xp = Arithmetic(self.fmt)
        x = self.x.astype(np.float64)
        if not self.operation.needs_targets:
            second = None if self.second is None else self.second.astype(np.float64)
            return [(exact_result(self.operation, x, second, self.fmt), "", False)]
        assert self.second is not None, "a cross-entropy has labels"
        targets = (
            targets_for(self.second, float(len(self.x))).to(xp)
            if self.second.dtype.kind in "iu"
            else (targets_for(self.second.astype(np.float64), float(len(self.x))))
        )
        found = exact_result(self.operation, x, targets, self.fmt)
        if self.operation.reduces:
            return [(found, "", False)]
        if len(self.x) == 1:
            return [(found, "", False)]
        summed = exact_result(self.operation, x, replace(targets, divisor=1.0), self.fmt)
        return [(found, "", False), (summed, "read as the gradient of the sum of the losses", False)]

    def readings(self, shape: tuple[int, ...]) -> list[tuple[ExactResult, str, bool]]:
        """The right results that fit an output's shape."""
        rows, classes = self.x.shape
        wanted = rows if self.operation.per_row else rows * classes
        if math.prod(shape) == wanted and (not shape or shape[0] in (rows, 1, classes)):
            return self.truths
        if math.prod(shape) == 1 and self.operation.reduces:
            (rowwise, _, _) = self.truths[0]
            return [
                (reduced_result(rowwise, self.fmt, len(self.x)), "read as the mean of the losses", True),
                (reduced_result(rowwise, self.fmt, 1), "read as the sum of the losses", True),
            ]
        raise StablemaxError(
            f"the traced function returns an array of shape {shape} for logits of shape {self.x.shape}",
            f"{self.operation} has shape {(rows,) if self.operation.per_row else (rows, classes)}",
        )

    def judged(self, value: Array, exact: ExactResult) -> Judgement:
        """Judge an output against the truth."""
        return judge(value, exact, self.fmt, max_ulp=self.max_ulp)

    def reading(self, found: ShadowRun) -> Reading:
        """Judge an output as what it most likely is: the shadow tells a mean from a sum."""
        best: Reading | None = None
        fewest = (math.inf, math.inf)
        for exact, note, reduced in self.readings(found.value.shape):
            judged = self.judged(found.value, exact)
            reading = Reading(exact, judged, note, reduced)
            wrong = self.wrong_exactly(found, exact)
            score = (math.inf if wrong is None else int(wrong.sum()), int(reading.failing.sum()))
            if best is None or score < fewest:
                best, fewest = reading, score
        assert best is not None, "there is always a reading"
        return best

    def wrong_exactly(self, found: ShadowRun, exact: ExactResult) -> Array | None:
        """Mark the cells for which exact arithmetic gives another value than it should; None without a shadow."""
        if found.exact is None:
            return None
        shadow = found.exact.reshape(exact.truth.nearest.shape)
        right = cells.nearest(shadow)
        error = exact.truth.error_ulp(right, self.fmt)
        right = np.where(error <= _SAME_ULP, exact.truth.rounded, self.fmt.round(right))
        failing = Reading(exact, self.judged(right, exact)).failing
        return np.asarray(failing & ~np.isnan(cells.nearest(shadow)))


def reduced_result(rowwise: ExactResult, fmt: Format, divisor: int) -> ExactResult:
    """The mean (or sum) of exact losses, exact itself."""
    truth = rowwise.truth
    nearest = truth.nearest.ravel()
    undefined = np.array([bool(rowwise.undefined.any())])
    if undefined[0] or not np.isfinite(nearest).all():
        value = np.full((1, 1), math.nan if undefined[0] else math.inf)
        return ExactResult(Truth(value, np.zeros((1, 1)), value), undefined)
    rest = np.ldexp(truth.residual_ulp.ravel(), truth.ulp_exponent(fmt).ravel())
    right = (exact_sum(nearest) + exact_sum(rest)) / divisor
    near = np.full((1, 1), rounded(right))
    remainder = float((right - exact_sum(near)) / exact_sum(fmt.ulp(near))) if np.isfinite(near).all() else 0.0
    return ExactResult(Truth(near, np.full((1, 1), remainder), fmt.round(near)), undefined)


def first_of(where: Array) -> tuple[int, int]:
    """Return row and column of the first marked cell."""
    row, column = np.unravel_index(int(np.argmax(where)), where.shape)
    return int(row), int(column)
