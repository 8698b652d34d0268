"""The expected result of an operation, and an output read as its mean, its sum or row by row, and judged."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions
from stablemax.results import Outcome
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Reduction
from stablemax.trace.exact_cells import nearest
from stablemax.truth.case import Case, Shared, setting_of
from stablemax.truth.measure import CODES, ExactResult, Judgement, default_max_ulp, judge
from stablemax.truth.reductions import reduced, which_reduction

if TYPE_CHECKING:
    from stablemax.trace.observation import Event, Observation, Record
    from stablemax.trace.run import Inputs, Run

_FAILURES = [CODES.index(o) for o in Outcome if o.is_failure]
_OK = CODES.index(Outcome.OK)
_LACK_DIGITS = [CODES.index(o) for o in (Outcome.INACCURATE, Outcome.LOST)]

_SAME_ULP = 1e-6
"""A shadow this close to the truth equals it: the rest is the width of its ball."""

_GRADIENTS = {
    Reduction.MEAN: "the gradient of the mean loss",
    Reduction.SUM: "the gradient of the sum of the losses",
}


@dataclass(frozen=True)
class Reading:
    """An output read as one reduction of the losses, or as none, with the truth about it."""

    exact: ExactResult
    format: Format
    max_ulp: float | None = None
    #: Which reduction it is, in words; empty where there is only one.
    meaning: str = ""
    #: True for one loss of several rows.
    is_reduced: bool = False
    #: Results below the smallest normal number may be flushed to 0.
    may_flush: bool = False
    #: For each cell the size up to which a number is as good as an exact 0; NaN for other cells.
    as_good_as_zero: Array | None = None
    #: For each cell the error that its input explains: no code can be held to less.
    excused: Array | None = None

    def judged(self, value: Array) -> Judgement:
        """Judge an output in any layout."""
        shaped = value.reshape(self.exact.truth.nearest.shape)
        judgement = judge(shaped, self.exact, self.format, max_ulp=self.max_ulp, may_flush=self.may_flush)
        if self.as_good_as_zero is not None:
            is_good = np.abs(shaped.astype(np.float64)) <= self.as_good_as_zero
            codes = np.where(is_good, _OK, judgement.codes)
            judgement = replace(judgement, codes=codes, error_ulp=np.where(is_good, np.nan, judgement.error_ulp))
        if self.excused is not None:
            is_excused = np.isin(judgement.codes, _LACK_DIGITS) & (self.distances(value) <= self.excused)
            judgement = replace(judgement, codes=np.where(is_excused, _OK, judgement.codes))
        return judgement

    def lacking_digits(self, value: Array) -> Array:
        """Mark the cells, (N, C), that are finite and have too few digits, those that are excused too."""
        return np.isin(replace(self, excused=None).judged(value).codes, _LACK_DIGITS)

    def excused_cells(self, value: Array) -> Array:
        """Mark the cells, (N, C), that lack digits because of their input."""
        return self.lacking_digits(value) & ~np.isin(self.judged(value).codes, _LACK_DIGITS)

    def distances(self, value: Array) -> Array:
        """Return how far numbers are from what is right, (N, C)."""
        right = self.exact.truth.nearest
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(value.astype(np.float64).reshape(right.shape) - right))

    def small_on_scale(self, value: Array) -> Array:
        """Mark the cells, (N, C), whose error is small beside the largest number of the result, of several."""
        right = self.exact.truth.nearest
        if right.size < 2:
            return np.zeros(right.shape, dtype=bool)
        limit = default_max_ulp(self.format) if self.max_ulp is None else self.max_ulp
        scale = np.max(np.abs(right), where=np.isfinite(right), initial=0.0)
        return np.asarray(self.distances(value) <= limit * self.format.ulp(scale))

    def failing(self, value: Array) -> Array:
        """Mark the cells that are bad, (N, C): all of them where the output has another size."""
        if value.size != self.exact.truth.nearest.size:
            return np.ones(self.exact.truth.nearest.shape, dtype=bool)
        return np.isin(self.judged(value).codes, _FAILURES)

    def wrong_exactly(self, run: Run) -> Array | None:
        """Mark the cells for which exact arithmetic gives another value than it should; None without a shadow.

        A cell for which it gives no value, as for inf - inf, tells nothing of the formula.
        """
        if run.exact is None:
            return None
        truth = self.exact.truth
        if run.exact.size != truth.nearest.size:
            return np.ones(truth.nearest.shape, dtype=bool)
        shadow = nearest(run.exact).reshape(truth.nearest.shape)
        is_same = truth.error_ulp(shadow, self.format) <= _SAME_ULP
        failing = self.failing(np.where(is_same, truth.rounded, self.format.round(shadow)))
        return np.asarray(failing & ~np.isnan(shadow))


class Expectation(Protocol):
    """What code is held to, and the words for it."""

    @property
    def name(self) -> str:
        """What the code is meant to compute."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and classes, as a trace counts them."""

    @property
    def rows_alone(self) -> int:
        """How many rows there are, each of which the code could be tried on alone."""

    @property
    def unit(self) -> str:
        """What one number of the result is called."""

    @property
    def left_out(self) -> str:
        """Say what is not judged, where something has no value."""

    def reading(self, run: Run) -> Reading:
        """Read an output, and tell what is right for it."""

    def row(self, index: int) -> Self:
        """Return the same on one row."""

    def result_name(self, row: int, column: int) -> str:
        """Name a number of the result."""

    def place_name(self, record: Record, event: Event, otherwise: int, given: Inputs) -> str:
        """Name what the first cell of an event comes from; empty where nothing is known of it."""

    def without_value(self, run: Run) -> str:
        """Say that nothing at all is right."""

    def cause(self, step: Observation) -> str:
        """Say how much the blamed operation, taken exactly, magnifies errors of its inputs; mostly nothing."""

    def undefined_step(self, run: Run, reading: Reading) -> tuple[Observation, str] | None:
        """Return the operation because of which no number is right for a cell, and why; None where it needs none."""


@dataclass(frozen=True)
class Expected:
    """The exact result that the code is held to: of an operation, on an input, in a format."""

    #: In the format's own dtype, (N, K).
    logits: Array
    #: Labels, soft targets or an array beside the logits, where there are any.
    second: Array | None
    format: Format
    operation: Operation
    max_ulp: float | None = None
    #: Weights of the classes, and smoothing.
    targets: TargetOptions = field(default_factory=TargetOptions)
    #: Numbers of the rows in the user's input, where they are some of many.
    numbers: Array | None = None
    #: Results below the smallest normal number may be flushed to 0.
    may_flush: bool = False

    left_out = "Rows in which the formula has no value are left out."

    @property
    def name(self) -> str:
        """The operation."""
        return str(self.operation)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and classes of the logits."""
        rows, classes = self.logits.shape
        return rows, classes

    @property
    def rows_alone(self) -> int:
        """The rows of the logits."""
        return len(self.logits)

    @property
    def unit(self) -> str:
        """What one number of the result is called."""
        return "row" if self.operation.per_row else "cell"

    def row(self, index: int) -> Expected:
        """Return the same on one row."""
        rows = slice(index, index + 1)
        return replace(self, logits=self.logits[rows], second=None if self.second is None else self.second[rows])

    def result_name(self, row: int, column: int) -> str:
        """Name a number of the result by its row and, where it has them, its label or class and the logit there."""
        row_name = self._row_name(row)
        if not self.operation.per_row:
            return self._logit_name(row, column)
        if not self.has_labels or self.second is None:
            return row_name
        label = int(self.second[row])
        has_logit = 0 <= label < self.logits.shape[1]
        return f"{row_name}, label {label}" + (f", logit {float(self.logits[row, label])!r}" if has_logit else "")

    def place_name(self, record: Record, event: Event, otherwise: int, given: Inputs) -> str:
        """Name the logit, or the row, of the first cell of an event; the row `otherwise` where neither is known."""
        row, column = record.place(event, *self.size, given.arrangement)
        row = otherwise if row is None else row
        return self._row_name(row) if column is None else self._logit_name(row, column)

    def without_value(self, run: Run) -> str:  # noqa: ARG002 - the input alone tells
        """Say that the operation has no value."""
        return f"{self.operation} has no value on this input: every row holds NaN, +inf or nothing but -inf."

    def cause(self, step: Observation) -> str:  # noqa: ARG002 - the operation is known to be well-conditioned
        """Say nothing."""
        return ""

    def undefined_step(self, run: Run, reading: Reading) -> None:
        """Blame nothing: an operation without a value is no failure of the code."""

    def _row_name(self, index: int) -> str:
        """Name a row by its number in the user's input."""
        return f"row {index if self.numbers is None else int(self.numbers[index])}"

    def _logit_name(self, row: int, column: int) -> str:
        """Name a logit."""
        return f"{self._row_name(row)}, class {column}, logit {float(self.logits[row, column])!r}"

    def reading(self, run: Run) -> Reading:
        """Read an output as what it most likely is: its shape, its shadow or its loss tells a mean from a sum."""
        value = _as_exactly_as_known(run)
        if self.operation.is_reduced(value.shape, self.logits.shape):
            results = self._reduced_losses()
            likely = which_reduction(value, {r: exact.truth.nearest for r, exact in results.items()})[0]
            return self._reading(results[likely], f"the {likely} of the losses", is_reduced=True)
        self._check_shape(value.shape)
        if not self.operation.of_losses:
            return self._reading(self._truth())
        likely = self._reduction_of_gradient(value, run.forward)
        return self._reading(self._truth(self._divisors[likely]), _GRADIENTS[likely])

    @property
    def has_labels(self) -> bool:
        """True where each row has a class of its own."""
        return self.second is not None and self.second.ndim == 1

    @functools.cached_property
    def _case(self) -> Case:
        return replace(case_for(self.operation, self.logits, self.second), targets=self.targets)

    @functools.cached_property
    def _truths(self) -> dict[float, ExactResult]:
        return {}

    def _truth(self, divisor: float = 1.0) -> ExactResult:
        """Prove what is right, once for each divisor of a gradient."""
        if divisor not in self._truths:
            self._truths[divisor] = setting_of(replace(self._case, divisor=divisor), Shared(self.format)).exact
        return self._truths[divisor]

    @property
    def _divisors(self) -> dict[Reduction, float]:
        """What each reduction divides the sum of the losses by; ignored rows do not count."""
        return {Reduction.MEAN: self._case.mean_divisor, Reduction.SUM: 1.0}

    def _reduced_losses(self) -> dict[Reduction, ExactResult]:
        losses = self._truth()
        return {r: reduced(losses, self.format, divisor) for r, divisor in self._divisors.items()}

    def _reading(self, exact: ExactResult, meaning: str = "", *, is_reduced: bool = False) -> Reading:
        several = self.operation.loss_count(*self.logits.shape) > 1
        words = meaning if several else ""
        return Reading(exact, self.format, self.max_ulp, words, is_reduced and several, self.may_flush)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a shape that is not the operation's; axes of length 1 do not matter."""
        right = self.logits.shape[:1] if self.operation.per_row else self.logits.shape
        if [n for n in shape if n != 1] != [n for n in right if n != 1]:
            raise StablemaxError(
                f"the traced function returns shape {shape} for logits of shape {self.logits.shape}",
                f"{self.operation} has shape {right}; --operation names what is computed",
            )

    def _reduction_of_gradient(self, gradient: Array, forward: Array | None) -> Reduction:
        """Tell which loss a gradient is of: the loss itself says so, or else the gradient's own size."""
        if self._divisors[Reduction.MEAN] == 1.0:
            return Reduction.MEAN
        if forward is not None and self.operation.forward is not None:
            results = replace(self, operation=self.operation.forward)._reduced_losses()
            with np.errstate(invalid="ignore"):
                likely = which_reduction(forward.sum(), {r: exact.truth.nearest for r, exact in results.items()})
            if len(likely) == 1:
                return likely[0]
            if forward.size > 1:  # autograd takes the sum of the losses of the rows
                return Reduction.SUM
        total = self._truth().truth.nearest
        with np.errstate(divide="ignore", invalid="ignore"):
            return which_reduction(gradient, {r: total / d for r, d in self._divisors.items()})[0]


def case_for(operation: Operation, logits: Any, second: Any, divisor: float = 1.0) -> Case:
    """Make a case of an operation: its second argument is labels, or an array beside the logits."""
    labels, array = (second, None) if operation.needs_targets else (None, second)
    return Case(operation, np.arange(len(logits)), logits, labels, array, divisor)


def _as_exactly_as_known(run: Run) -> Array:
    """Return the output's exact values, and its own where exact arithmetic has none."""
    value = run.value.astype(np.float64)
    if run.exact is None:
        return value
    exact = nearest(run.exact).reshape(value.shape)
    return np.where(np.isnan(exact), value, exact)


def first_of(where: Array) -> tuple[int, int]:
    """Return row and column of the first marked cell."""
    row, column = np.unravel_index(int(np.argmax(where)), where.shape)
    return int(row), int(column)
