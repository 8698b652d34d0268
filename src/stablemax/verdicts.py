"""An output judged: one operation on one input in one format, whoever computed it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.causes import BadCell, Event, Witness, describe
from stablemax.exact import Balls, Truth
from stablemax.formats import FLOAT64, Array, Format
from stablemax.inputs.labels import IGNORED
from stablemax.measure import (
    CODES,
    ExactResult,
    Judgement,
    exact_result,
    judge,
    largest,
    largest_sum_error,
    row_error_u,
)
from stablemax.reduction import exact_sum, rounded
from stablemax.registry import Variant, evaluate, matching
from stablemax.results import Outcome, Place, ShownRow, Verdict
from stablemax.target_options import TargetOptions, kept_rows, row_weights, targets_of
from stablemax.targets import LabelTargets, SoftTargets
from stablemax.vocabulary import Accumulation, Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.bounds import Bound
    from stablemax.inputs.hazards import HazardCase
    from stablemax.peers.backend import Backend
    from stablemax.targets import Targets

LIBRARY_SUMS = "library"
"""Stands for the accumulation where a library adds as it likes."""


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
        return SoftTargets(_spread(targets.weights, kept, 0.0), targets.divisor)
    weights = None if targets.weights is None else _spread(targets.weights, kept, 0.0)
    return LabelTargets(labels, weights, targets.divisor)


def _spread(values: Array, kept: Array, fill: float) -> Array:
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
    with np.errstate(invalid="ignore"):
        beyond = np.isfinite(case.logits) & ~np.isfinite(rounded_x)
        # A format without infinities has no -inf either.
        beyond |= ~np.isnan(case.logits) & np.isnan(rounded_x)
        overflow = np.asarray(beyond.any(axis=-1))
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
        truth = Truth(*(_spread(part, kept, 0.0) for part in parts))
        found = ExactResult(truth, _spread(some.undefined, kept, fill=False))
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


def variant_verdict(
    variant: Variant,
    setting: Setting,
    *,
    max_ulp: float | None = None,
    show_values: int = 0,
    backend: Backend | None = None,
    needs: tuple[str, ...] = (),
    may_flush: bool = False,
) -> Verdict:
    """Run a variant in a setting and judge what comes out.

    Parameters
    ----------
    variant : Variant
        Ours, or a built-in. Not run, and the verdict says why, where it refuses the input.
    setting : Setting
        Input and truth.
    max_ulp : float, optional
        Errors above are inaccurate; half of the format's bits when not given.
    show_values : int
        How many rows of the output to keep.
    backend : Backend, optional
        What our variants run on; NumPy when not given.
    needs : tuple of str
        What the input asks of an implementation, from `inputs.hazards.NEEDS`.
    may_flush : bool
        As for `measure.judge`.
    """
    fmt = setting.xp.format
    sums = sums_of(variant, setting.xp, backend)
    why = variant.refusal(fmt.name, setting.case.logits.shape[-1], needs)
    if backend is not None and not variant.library:
        why = why or backend.refusal(fmt)
    if why:
        return not_run(variant.id, fmt, sums, why)
    output, mean = computed(variant, setting, backend)
    return verdict_of(
        np.asarray(mean) if setting.case.reduced else output,
        setting,
        name=variant.id,
        max_ulp=max_ulp,
        show_values=show_values,
        bound=variant.bound,
        why=None if variant.library else functools.partial(_witnessed_cause, variant),
        mean=mean,
        accumulation=sums,
        may_flush=may_flush,
    )


def sums_of(variant: Variant, xp: Arithmetic, backend: Backend | None) -> str:
    """Name how a variant's sums are added: by a policy, or as a library likes."""
    own = variant.library or (backend is not None and xp.accumulation is None)
    return LIBRARY_SUMS if own else xp.policy.value


def computed(variant: Variant, setting: Setting, backend: Backend | None = None) -> tuple[Array, float | None]:
    """Run a variant, or a built-in, on a setting's input.

    Returns
    -------
    output : ndarray (N,) or (N, K)
        In the format's dtype, 0 on ignored rows.
    mean : float or None
        Mean of the losses as the arithmetic, or the library, takes it; None for other operations.
    """
    case, xp = setting.case, setting.xp
    of_losses = case.operation is Operation.CROSS_ENTROPY
    if variant.library:
        output = evaluate(variant, setting.x, xp, setting.second)
        mean = float(variant.mean(setting.x, setting.second, xp)) if of_losses and variant.mean else None
        return output, mean
    x, second = setting.x, setting.second
    if case.kept is not None:
        assert isinstance(second, (LabelTargets, SoftTargets))
        x, second = x[case.kept], second.rows(case.kept)
    if backend is not None and len(x):
        output, mean = backend.run(variant, x, second, xp.format, xp.accumulation)
    else:
        output = evaluate(variant, x, xp, second)
        with np.errstate(all="ignore"):
            mean = float(xp.mean(output)) if of_losses else None
    if mean is not None and case.is_weighted:
        # A weighted mean is the plain one times N over the sum of the weights.
        with np.errstate(all="ignore"):
            mean = float(xp.array(np.float64(mean) * len(x) / np.float64(case.mean_divisor)))
    return (output if case.kept is None else _spread(output, case.kept, 0.0)), mean


def not_run(name: str, fmt: Format, accumulation: str, why: str) -> Verdict:
    """Return the verdict on something that was not run."""
    return Verdict(name, fmt.name, accumulation, worst=None, shares={}, skipped=why)


def verdict_of(
    output: Array,
    setting: Setting,
    *,
    name: str,
    max_ulp: float | None = None,
    show_values: int = 0,
    bound: Bound | None = None,
    why: Callable[[Setting, Outcome, int, int], tuple[str, int]] | None = None,
    mean: float | None = None,
    accumulation: str = "",
    may_flush: bool = False,
) -> Verdict:
    """Judge an output that anybody computed.

    Parameters
    ----------
    output : ndarray (N,) or (N, K), or one number for a reduced case
        In the setting's format, or float64.
    setting : Setting
        Input and truth.
    name : str
        Who computed it.
    max_ulp, show_values
        As for `variant_verdict`.
    bound : Bound, optional
        A-priori error bound of the formula.
    why : callable, optional
        Gets the setting, the worst outcome and its first row and cell; returns the cause in words and
        the class at which it happened. Without it the verdict tells what came out and what is right.
    mean : float, optional
        Mean of the losses as whoever computed them takes it; the arithmetic's when not given.
    accumulation : str, optional
        How the sums were added; the arithmetic's policy when not given.
    may_flush : bool
        As for `measure.judge`: results below the smallest normal number may be flushed to 0.
    """
    fmt, case = setting.xp.format, setting.case
    judged = judge(
        output, setting.exact, fmt, max_ulp=max_ulp, input_overflow=setting.input_overflow, may_flush=may_flush
    )
    counts = np.bincount(judged.codes.ravel(), minlength=len(CODES))
    worst = CODES[int(np.flatnonzero(counts)[-1])]
    mean, mean_error = _mean(output, setting, mean)
    place, cause = _first_bad(why or _outside_cause, setting, judged, output)
    return Verdict(
        name,
        fmt.name,
        accumulation or setting.xp.policy.value,
        worst=worst,
        shares={CODES[i]: float(n) / judged.codes.size for i, n in enumerate(counts) if n},
        error_ulp=largest(judged.error_ulp),
        error_u=largest(judged.error_u),
        error_over_bound=_over_bound(bound, setting, judged, output),
        sum_error=largest_sum_error(output) if case.operation is Operation.SOFTMAX else None,
        mean=mean,
        mean_error_ulp=mean_error,
        first_bad=place,
        cause=cause,
        values=_shown(output, judged, case, show_values),
    )


def _over_bound(bound: Bound | None, setting: Setting, judged: Judgement, output: Array) -> float | None:
    """Largest ratio of error to bound over the rows that the theorems speak of: no over- or underflow."""
    if bound is None or setting.lse is None:
        return None
    x = setting.x.astype(np.float64)
    finite = (Outcome.OK, Outcome.INACCURATE)
    usable = np.isin(judged.codes, [CODES.index(o) for o in finite]).all(axis=-1)
    if not usable.any():
        return None
    error = row_error_u(output, setting.exact, setting.xp.format)[usable]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return largest(error / bound.in_u(x[usable], setting.lse[usable]))


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


def _mean(output: Array, setting: Setting, mean: float | None) -> tuple[float | None, float | None]:
    """Mean of the losses as it was taken, and its distance from the exact one."""
    if setting.case.operation is not Operation.CROSS_ENTROPY or setting.case.reduced:
        return None, None
    if mean is None:
        with np.errstate(all="ignore"):
            mean = float(setting.xp.mean(output))
    if setting.mean is None:
        return mean, None
    return mean, float(setting.mean.error_ulp(np.asarray(mean), setting.xp.format))


def _first_bad(
    why: Callable[[Setting, Outcome, int, int], tuple[str, int]], setting: Setting, judged: Judgement, output: Array
) -> tuple[Place | None, str]:
    """Find the first cell of the worst outcome, and why it came out so."""
    worst = int(judged.codes.max())
    if worst == 0:
        return None, ""
    case = setting.case
    row, cell = (int(i) for i in np.argwhere(judged.codes == worst)[0])
    value = float(output.reshape(judged.codes.shape)[row, cell].astype(np.float64))
    right = float(setting.exact.truth.rounded[row, cell])
    if case.reduced and not CODES[worst].is_failure:
        return None, "the losses of this input have no mean"
    if case.reduced:
        return None, f"the mean of {len(case.rows):,} losses gives {' where '.join(told_apart(value, right))} is right"
    words, at = why(setting, CODES[worst], row, cell)
    if why is _outside_cause and CODES[worst].is_failure:
        words = f"gives {' where '.join(told_apart(value, right))} is right"
    logit = float(case.logits[row, at])
    place = Place(row=int(case.rows[row]), column=at, logit=logit, output=value, truth=right)
    return place, f"{words}; first at row {place.row}, class {place.column}, logit {place.logit:.6g}"


def told_apart(a: float, b: float) -> tuple[str, str]:
    """Write two numbers with as many digits as it takes to see that they are not the same.

    Examples
    --------
    >>> told_apart(0.5, 0.25), told_apart(1.0, 1.00000001)
    (('0.5', '0.25'), ('1', '1.00000001'))
    """
    pairs = ((f"{a:.{digits}g}", f"{b:.{digits}g}") for digits in (6, 9, 12, 17))
    return next((pair for pair in pairs if pair[0] != pair[1]), (repr(a), repr(b)))


def _witnessed_cause(variant: Variant, setting: Setting, worst: Outcome, row: int, cell: int) -> tuple[str, int]:
    """Run the variant once more, watched, and put into words what made the cell bad."""
    events = _witnessed(variant, setting, row) if worst.is_failure else ()
    return describe(_bad_cell(setting, worst, row, cell, events, variant.weakness))


def _outside_cause(setting: Setting, worst: Outcome, row: int, cell: int) -> tuple[str, int]:
    """Name the class of a cell that nobody could watch; only the input's own troubles have a cause."""
    bad = _bad_cell(setting, worst, row, cell, (), "")
    return ("", bad.columns[0]) if worst.is_failure and bad.columns else describe(bad)


def _bad_cell(
    setting: Setting, worst: Outcome, row: int, cell: int, events: tuple[Event, ...], weakness: str
) -> BadCell:
    case, fmt = setting.case, setting.xp.format
    label = int(case.labels[row]) if case.labels is not None and case.labels.ndim == 1 else None
    label = None if label == IGNORED else label
    columns = (label,) if case.operation.per_row else (cell, label)
    return BadCell(
        outcome=worst,
        events=events,
        format=fmt,
        columns=tuple(c for c in columns if c is not None),
        logits=case.logits[row].astype(np.float64),
        weakness=weakness,
        tiny=abs(float(setting.exact.truth.nearest[row, cell])) < fmt.smallest_normal,
    )


def _witnessed(variant: Variant, setting: Setting, row: int) -> tuple[Event, ...]:
    """Run the variant once more on one row, watched; on all rows if it mixes them."""
    witness = Witness(setting.xp.format, setting.xp.accumulation)
    where = slice(row, row + 1) if variant.rowwise else slice(None)
    second = setting.second
    if second is not None:
        second = second[where] if isinstance(second, np.ndarray) else second.rows(where)
    evaluate(variant, setting.x[where], witness, second)
    return tuple(witness.events)


def _shown(output: Array, judged: Judgement, case: Case, count: int) -> tuple[ShownRow, ...]:
    values = output.reshape(judged.codes.shape).astype(np.float64)
    return tuple(
        ShownRow(int(case.rows[i]), tuple(values[i].tolist()), tuple(CODES[c] for c in judged.codes[i].tolist()))
        for i in range(min(count, len(values)))
    )
