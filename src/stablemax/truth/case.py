"""One operation's input in a number format, and the truth about it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stablemax.hazards.catalogue import HazardCase
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.exact_sum import exact_sum
from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.operations.operation import Given, Operation
from stablemax.operations.targets import (
    LabelTargets,
    SoftTargets,
    TargetOptions,
    Targets,
    kept_rows,
    row_weights,
    rows_of,
    second_of,
    targets_of,
)
from stablemax.operations.variant import evaluate, get
from stablemax.text.vocabulary import IGNORED, Accumulation
from stablemax.truth.balls import Balls, Truth
from stablemax.truth.measure import ExactResult, Judgement, at_the_end_of_range, exact_result, judge
from stablemax.truth.reductions import reduced


@dataclass(frozen=True)
class Case:
    """One operation's input, in float64 or as stored, before any format rounds it."""

    operation: Operation
    rows: Array  #: where the rows come from in the user's input, int (N,)
    logits: Array  #: (N, K); those of ignored rows too, where an implementation is to see them
    labels: Array | None = None  #: int64 (N,), or float64 (N, K); -100 marks a row whose loss and gradient are 0
    array: Array | None = None  #: upstream gradient, targets of cells or second logits, (N, K)
    divisor: float = 1.0  #: of a gradient: N for that of a mean
    targets: TargetOptions = field(default_factory=TargetOptions)
    reduced: bool = False  #: True where the output is the mean of the losses, one number
    summed: bool = False  #: True where that number is their sum instead

    @functools.cached_property
    def kept(self) -> Array | None:
        """Rows that count, (N,); None where all do."""
        if self.labels is None:
            return None
        kept = kept_rows(self.labels, IGNORED)
        return None if kept.all() else kept

    @property
    def _kept_labels(self) -> Array:
        assert self.labels is not None
        return self.labels if self.kept is None else self.labels[self.kept]

    def second(self, xp: Any) -> Any:
        """Return the operation's second argument, rounded to the arithmetic's format."""
        if self.labels is None:
            return second_of(self.operation, self.array, xp, self.divisor, self.targets)
        targets = targets_of(self._kept_labels, self.logits.shape[-1], self.targets, xp, self.divisor)
        return targets if self.kept is None else _spread_targets(targets, self.labels, self.kept)

    def block(self, rows: slice) -> Case:
        """Return some of the rows."""
        labels, array = (None if part is None else part[rows] for part in (self.labels, self.array))
        return replace(self, rows=self.rows[rows], logits=self.logits[rows], labels=labels, array=array)

    @property
    def is_weighted(self) -> bool:
        """True where the mean divides by the sum of the labels' weights."""
        return self.labels is not None and self.labels.ndim == 1 and self.targets.weight is not None

    @property
    def mean_divisor(self) -> float:
        """What the mean of the losses divides their sum by: the rows that count, or their labels' weights."""
        if self.summed:
            return 1.0
        if self.labels is None:
            return float(self.operation.loss_count(*self.logits.shape))
        weights = row_weights(self._kept_labels, self.targets)
        return float(len(self._kept_labels)) if weights is None else float(exact_sum(weights))


def case_of(hazard: HazardCase, operation: Operation) -> Case:
    """Turn a hazard's input into a case of an operation; a gradient is that of the mean.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.hazards.catalogue import HAZARDS
    >>> from stablemax.operations import get_operation
    >>> case_of(HAZARDS["two-rows"].case(FLOAT32), get_operation("cross_entropy_grad")).divisor
    2.0
    """
    second = hazard.second(operation)
    case = Case(operation, np.arange(len(hazard.logits)), hazard.logits, array=second)
    if operation.needs_targets:
        options = TargetOptions(hazard.weight, hazard.label_smoothing)
        case = replace(case, labels=second, array=None, targets=options)
    case = replace(case, reduced=hazard.reduced and operation.reduces)
    return replace(case, divisor=case.mean_divisor) if operation.of_losses else case


def _spread_targets(targets: Targets, labels: Array, kept: Array) -> Targets:
    """Put ignored rows between the targets of the others, with weight 0."""
    if isinstance(targets, SoftTargets):
        return SoftTargets(spread(targets.weights, kept, 0.0), targets.divisor)
    weights = None if targets.weights is None else spread(targets.weights, kept, 0.0)
    return LabelTargets(labels, weights, targets.divisor)


def spread(values: Array, kept: Array, fill: float) -> Array:
    """Put `values` on the kept rows and `fill` on the others."""
    out = np.full((len(kept), *values.shape[1:]), fill, dtype=values.dtype)
    out[kept] = values
    return out


@dataclass(frozen=True)
class RoundedCase:
    """A case in one format: the rounded input."""

    case: Case
    xp: Arithmetic  #: the format, and how sums are added
    x: Array  #: logits (N, K) in the format's dtype
    second: Any  #: the second argument, rounded too


@dataclass(frozen=True)
class Setting(RoundedCase):
    """A case in one format: the rounded input and the truth about it."""

    exact: ExactResult  #: the truth about the rows, or about their mean for a reduced case
    input_overflow: Array  #: where the format cannot hold a logit: rows (N,) or (1,), or cells of a cell-wise operation
    mean: Truth | None = None  #: exact mean of the losses

    @functools.cached_property
    def lse(self) -> Array:
        """Log-sum-exps (N, 1), for the bounds: only their size enters, for which float64 is plenty."""
        return evaluate(get("logsumexp/compensated"), self.x.astype(np.float64), Arithmetic(FLOAT64))[:, None]

    @functools.cached_property
    def scale(self) -> Array:
        """What an error must be small against where a result is stable, (N, C) or (N, 1): of the operation's record."""
        given = Given(self.x.astype(np.float64), self.second)
        # The mean of no rows divides by 0, and has no scale either.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self.case.operation.scale(self.exact.truth.nearest, given)

    @functools.cached_property
    def end_of_range(self) -> Array:
        """Rows or cells with a logit beyond a quarter of the format's largest number; the mean of losses has all."""
        is_beyond = at_the_end_of_range(self.x, self.xp.format, by_cell=self.case.operation.cellwise)
        if self.case.kept is not None:
            is_beyond &= self.case.kept if is_beyond.ndim == 1 else self.case.kept[:, None]
        return np.array([is_beyond.any()]) if self.case.reduced else is_beyond

    def judge(self, output: Array, *, max_ulp: float | None = None, may_flush: bool = False) -> Judgement:
        """Judge an output cell by cell; see `measure.judge`."""
        return judge(
            output,
            self.exact,
            self.xp.format,
            max_ulp=max_ulp,
            input_overflow=self.input_overflow,
            may_flush=may_flush,
            scale=self.scale,
            end_of_range=self.end_of_range,
        )


class Shared:
    """What the operations have in common in one format: the rounded logits and their balls.

    `inputs` is the format of the logits where the output has another, `second` that of the second argument.
    """

    def __init__(self, fmt: Format, inputs: Format | None = None, second: Format | None = None) -> None:
        self.format = fmt
        # An output may be narrower than its input: a kernel rounds last.
        self.inputs = inputs or fmt
        self.second = second or self.inputs
        self.balls = Balls()
        self._rounded: dict[int, tuple[Array, Array]] = {}

    def rounded(self, logits: Array) -> Array:
        """Return the logits rounded to the inputs' format, in float64; the same array for the same logits."""
        if id(logits) not in self._rounded:
            with np.errstate(invalid="ignore"):  # of a signalling NaN
                self._rounded[id(logits)] = (logits, self.inputs.cast(logits).astype(np.float64))
        return self._rounded[id(logits)][1]


def rounded_case_of(case: Case, shared: Shared, accumulation: Accumulation | None = None) -> RoundedCase:
    """Round a case to a format; see `setting_of`."""
    xp = Arithmetic(shared.format, accumulation)
    x = shared.inputs.cast(shared.rounded(case.logits))
    return RoundedCase(case, xp, x, case.second(xp if shared.second is shared.format else Arithmetic(shared.second)))


def setting_of(case: Case, shared: Shared, accumulation: Accumulation | None = None) -> Setting:
    """Round a case to a format and prove the truth about it.

    One `shared` for all operations on the same logits saves their balls. Sums are added as the format's
    ordinary kernel does where no accumulation is given.
    """
    fmt, rounded_case = shared.format, rounded_case_of(case, shared, accumulation)
    xp, x, second = rounded_case.xp, rounded_case.x, rounded_case.second
    rounded_x = shared.rounded(case.logits)
    beyond = shared.inputs.lacks(case.logits)
    overflow = beyond if case.operation.cellwise else np.asarray(beyond.any(axis=-1))
    exact = _exact_with_ignored(case, rounded_x, second, fmt, shared)
    if case.kept is not None:
        overflow &= case.kept
    if case.reduced:
        return _reduced(Setting(case, xp, x, second, exact, overflow))
    mean = None
    if case.operation.reduces and case.mean_divisor and not _has_no_mean(exact, overflow):
        mean = reduced(exact, fmt, case.mean_divisor).truth
    return Setting(case, xp, x, second, exact, overflow, mean)


def _exact_with_ignored(case: Case, x: Array, second: Any, fmt: Format, shared: Shared) -> ExactResult:
    """Prove the truth about the rows that count; the others have loss and gradient 0, whatever is in them."""
    kept = case.kept
    if kept is None:
        exact = exact_result(case.operation, x, second, fmt, shared.balls)
    else:
        of_kept = exact_result(case.operation, x[kept], rows_of(second, kept), fmt)
        truth = of_kept.truth.mapped(lambda array: spread(array, kept, 0.0))
        exact = ExactResult(truth, spread(of_kept.undefined, kept, fill=False))
    if case.operation.of_losses and case.divisor == 0:
        # The mean of no rows is 0/0, and so is its gradient.
        return ExactResult(exact.truth, np.ones_like(exact.undefined))
    return exact


def _reduced(setting: Setting) -> Setting:
    """Replace the losses by their mean."""
    exact, overflow = setting.exact, setting.input_overflow.any()
    mean = reduced(exact, setting.xp.format, setting.case.mean_divisor)
    if overflow:
        mean = ExactResult(Truth.known([[np.nan]]), mean.undefined)
    return replace(setting, exact=mean, input_overflow=np.array([overflow]))


def _has_no_mean(exact: ExactResult, input_overflow: Array) -> bool:
    """True where a row has no loss or an infinite one."""
    finite = bool(np.isfinite(exact.truth.nearest).all()) and exact.truth.nearest.size > 0
    return bool(exact.undefined.any() or input_overflow.any()) or not finite
