"""One operation's input in a number format, and the truth about it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.exact import Balls, Truth
from stablemax.formats import FLOAT64, Array, Format
from stablemax.inputs.labels import IGNORED
from stablemax.measure import ExactResult, exact_result
from stablemax.reduction import exact_sum, rounded
from stablemax.registry import Variant, evaluate, matching
from stablemax.target_options import TargetOptions, kept_rows, row_weights, targets_of
from stablemax.targets import LabelTargets, SoftTargets
from stablemax.vocabulary import Accumulation, Operation

if TYPE_CHECKING:
    from stablemax.inputs.hazards import HazardCase
    from stablemax.targets import Targets


@dataclass(frozen=True)
class Case:
    """One operation's input, in float64 or as stored, before any format rounds it.

    Parameters
    ----------
    operation : Operation
        What is computed.
    rows : ndarray of int (N,)
        Where the rows come from in the user's input.
    logits : ndarray (N, K)
        Those of ignored rows too, where an implementation is to see them.
    labels : ndarray of int64 (N,) or float64 (N, K), optional
        Of a cross-entropy; -100 marks an ignored row, whose loss and gradient are 0.
    upstream : ndarray (N, K), optional
        Of a vector-Jacobian product.
    divisor : float
        What a gradient is divided by: N for that of a mean.
    targets : TargetOptions
        Class weights and label smoothing.
    reduced : bool
        True where the output is the mean of the losses, one number.
    summed : bool
        True where that number is their sum instead.
    """

    operation: Operation
    rows: Array
    logits: Array
    labels: Array | None = None
    upstream: Array | None = None
    divisor: float = 1.0
    targets: TargetOptions = field(default_factory=TargetOptions)
    reduced: bool = False
    summed: bool = False

    @functools.cached_property
    def kept(self) -> Array | None:
        """Rows that count, (N,); None where all do."""
        if self.labels is None:
            return None
        kept = kept_rows(self.labels, IGNORED)
        return None if kept.all() else kept

    def second(self, xp: Any) -> Targets | Array | None:
        """Return the operation's second argument, rounded to the arithmetic's format."""
        if self.labels is None:
            return None if self.upstream is None else xp.array(self.upstream)
        kept = self.labels if self.kept is None else self.labels[self.kept]
        targets = targets_of(kept, self.logits.shape[-1], self.targets, xp, self.divisor)
        return targets if self.kept is None else _spread_targets(targets, self.labels, self.kept)

    @property
    def is_weighted(self) -> bool:
        """True where the mean divides by the sum of the labels' weights."""
        return self.labels is not None and self.labels.ndim == 1 and self.targets.weight is not None

    @property
    def mean_divisor(self) -> float:
        """What the mean of the losses divides their sum by: the rows that count, or their labels' weights."""
        if self.summed:
            return 1.0
        assert self.labels is not None
        labels = self.labels if self.kept is None else self.labels[self.kept]
        weights = row_weights(labels, self.targets)
        return float(len(labels)) if weights is None else float(exact_sum(weights))


def case_of(hazard: HazardCase, operation: Operation) -> Case:
    """Turn a hazard's input into a case of an operation; a gradient is that of the mean.

    Parameters
    ----------
    hazard : HazardCase
        Logits, labels and upstream gradient for one format.
    operation : Operation
        What is computed.

    Examples
    --------
    >>> from stablemax.formats import FLOAT32
    >>> from stablemax.inputs.hazards import HAZARDS
    >>> case_of(HAZARDS["two-rows"].case(FLOAT32), Operation.CROSS_ENTROPY_GRAD).divisor
    2.0
    """
    case = Case(operation, np.arange(len(hazard.logits)), hazard.logits)
    if operation.needs_upstream:
        return replace(case, upstream=hazard.upstream)
    if not operation.needs_targets:
        return case
    options = TargetOptions(hazard.weight, hazard.label_smoothing)
    reduced = hazard.reduced and operation is Operation.CROSS_ENTROPY
    case = replace(case, labels=hazard.labels, targets=options, reduced=reduced)
    return replace(case, divisor=case.mean_divisor) if operation is Operation.CROSS_ENTROPY_GRAD else case


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
class Setting:
    """A case in one format: the rounded input and the truth about it.

    Parameters
    ----------
    case : Case
        The input.
    xp : Arithmetic
        The format, and how sums are added.
    x : ndarray (N, K)
        Logits in the format's dtype.
    second : Targets or ndarray or None
        Targets or upstream gradient, rounded too.
    exact : ExactResult
        The truth about the rows, or about their mean for a reduced case.
    input_overflow : ndarray of bool (N,) or (1,)
        Rows with a logit that the format cannot hold.
    lse : ndarray (N, 1), optional
        Log-sum-exps, for the bounds.
    mean : Truth, optional
        Exact mean of the losses.
    """

    case: Case
    xp: Arithmetic
    x: Array
    second: Targets | Array | None
    exact: ExactResult
    input_overflow: Array
    lse: Array | None = None
    mean: Truth | None = None


class Shared:
    """What the operations have in common in one format: the rounded logits and their balls."""

    def __init__(self, fmt: Format, inputs: Format | None = None) -> None:
        self.format = fmt
        # An output may be narrower than what it was computed from: a kernel's own rounding comes last.
        self.inputs = inputs or fmt
        self.balls = Balls()
        self._rounded: dict[int, tuple[Array, Array]] = {}

    def rounded(self, logits: Array) -> Array:
        """Return the logits rounded to the inputs' format, in float64; the same array for the same logits."""
        if id(logits) not in self._rounded:
            self._rounded[id(logits)] = (logits, self.inputs.cast(logits).astype(np.float64))
        return self._rounded[id(logits)][1]


def setting_of(case: Case, shared: Shared, accumulation: Accumulation | None = None) -> Setting:
    """Round a case to a format and prove the truth about it.

    Parameters
    ----------
    case : Case
        The input.
    shared : Shared
        The format; one for all operations on the same logits saves their balls.
    accumulation : Accumulation, optional
        How sums are added; the format's ordinary kernel when not given.
    """
    fmt = shared.format
    xp = Arithmetic(fmt, accumulation)
    rounded_x = shared.rounded(case.logits)
    given = xp if shared.inputs is fmt else Arithmetic(shared.inputs)
    x = given.array(rounded_x)
    second = case.second(given)
    overflow = np.asarray(shared.inputs.lacks(case.logits).any(axis=-1))
    exact = _exact_with_ignored(case, rounded_x, second, fmt, shared)
    if case.kept is not None:
        overflow &= case.kept
    if case.reduced:
        return _reduced(Setting(case, xp, x, second, exact, overflow))
    lse = None
    if case.operation in (Operation.SOFTMAX, Operation.LOGSUMEXP):
        lse = exact.truth.nearest
        if case.operation is Operation.SOFTMAX:
            # Only the size of y enters a bound: float64 is plenty.
            lse = evaluate(_LSE(), rounded_x, Arithmetic(FLOAT64))[:, None]
    mean = None
    if case.operation is Operation.CROSS_ENTROPY and case.mean_divisor and not _has_no_mean(exact, overflow):
        mean = _exact_mean(exact, fmt, case.mean_divisor)
    return Setting(case, xp, x, second, exact, overflow, lse, mean)


def _exact_with_ignored(
    case: Case, x: Array, second: Targets | Array | None, fmt: Format, shared: Shared
) -> ExactResult:
    """Prove the truth about the rows that count; the others have loss and gradient 0, whatever is in them."""
    kept = case.kept
    if kept is None:
        found = exact_result(case.operation, x, second, fmt, shared.balls)
    else:
        assert isinstance(second, (LabelTargets, SoftTargets))
        some = exact_result(case.operation, x[kept], second.rows(kept), fmt)
        parts = (some.truth.nearest, some.truth.residual_ulp, some.truth.rounded)
        truth = Truth(*(spread(part, kept, 0.0) for part in parts))
        found = ExactResult(truth, spread(some.undefined, kept, fill=False))
    if case.operation is Operation.CROSS_ENTROPY_GRAD and case.divisor == 0:
        # The mean of no rows is 0/0, and so is its gradient.
        return ExactResult(found.truth, np.ones_like(found.undefined))
    return found


def _reduced(setting: Setting) -> Setting:
    """Put the mean of the losses in the place of the losses."""
    exact, overflow = setting.exact, setting.input_overflow
    undefined = np.array([bool(exact.undefined.any()) or setting.case.mean_divisor == 0])
    if undefined[0] or overflow.any():
        nothing = Truth(*(np.full((1, 1), np.nan) for _ in range(3)))
        return replace(setting, exact=ExactResult(nothing, undefined), input_overflow=np.array([overflow.any()]))
    mean = Truth(*(np.full((1, 1), np.inf), np.zeros((1, 1)), np.full((1, 1), np.inf)))
    if np.isfinite(exact.truth.nearest).all():
        mean = _exact_mean(exact, setting.xp.format, setting.case.mean_divisor)
        mean = Truth(*(np.reshape(part, (1, 1)) for part in (mean.nearest, mean.residual_ulp, mean.rounded)))
    return replace(setting, exact=ExactResult(mean, undefined), input_overflow=np.array([False]))


@functools.cache
def _LSE() -> Variant:  # noqa: N802 - stands for a constant that must not be looked up at import
    return matching(Operation.LOGSUMEXP, ("compensated",))[0]


def _has_no_mean(exact: ExactResult, input_overflow: Array) -> bool:
    """True where a row has no loss or an infinite one."""
    finite = bool(np.isfinite(exact.truth.nearest).all()) and exact.truth.nearest.size > 0
    return bool(exact.undefined.any() or input_overflow.any()) or not finite


def _exact_mean(exact: ExactResult, fmt: Format, divisor: float) -> Truth:
    """Exact mean of the exact losses, all of them finite; ignored rows are 0 and do not count."""
    nearest = exact.truth.nearest.ravel()
    rest = np.ldexp(exact.truth.residual_ulp.ravel(), exact.truth.ulp_exponent(fmt).ravel())
    right = (exact_sum(nearest) + exact_sum(rest)) / Fraction(divisor)
    near = np.asarray(rounded(right))
    remainder = float((right - exact_sum(near)) / exact_sum(fmt.ulp(near))) if math.isfinite(near) else 0.0
    return Truth(near, np.asarray(remainder), fmt.round(near))
