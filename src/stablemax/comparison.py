"""Run variants over an input in several formats and judge every one against the truth."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.causes import BadCell, Event, Witness, describe
from stablemax.errors import StablemaxError, shown
from stablemax.exact import Balls, Truth
from stablemax.finding import finding
from stablemax.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array, Format
from stablemax.loss import TargetOptions, kept_rows, targets_of
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
from stablemax.results import Comparison, InputSummary, OperationReport, Outcome, Place, ShownRow, Verdict
from stablemax.sampling import judged_rows
from stablemax.vocabulary import Accumulation, Operation, Reduction, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.inputs.problem import Problem
    from stablemax.targets import Targets

DEFAULT_FORMATS = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)


@dataclass(frozen=True)
class CompareOptions:
    """What to run and how to judge it.

    Parameters
    ----------
    formats : tuple of Format
        Columns of the tables.
    operations : tuple of Operation
        Empty for all that the input allows.
    patterns : tuple of str
        Globs of variant names or ids; empty for all.
    accumulation : Accumulation, optional
        How sums are added; each format's ordinary kernel when not given.
    max_ulp : float, optional
        Errors above are inaccurate; half of the format's bits when not given.
    judge : int, optional
        How many rows to judge; None for as many as 2**18 cells hold, `rows` or more for all.
    reduction : Reduction
        Mean or sum: what the gradient is the gradient of.
    show_values : int
        How many rows of each output to keep.
    ignore_index : int or None
        Rows with this label are left out of the cross-entropies.
    upstream : Upstream
        Upstream gradient of the vector-Jacobian product.
    upstream_seed : int
        Of a normal upstream gradient.
    """

    formats: tuple[Format, ...] = DEFAULT_FORMATS
    operations: tuple[Operation, ...] = ()
    patterns: tuple[str, ...] = ()
    accumulation: Accumulation | None = None
    max_ulp: float | None = None
    judge: int | None = None
    reduction: Reduction = Reduction.MEAN
    show_values: int = 0
    ignore_index: int | None = -100
    upstream: Upstream = Upstream.NORMAL
    upstream_seed: int = 0

    def __post_init__(self) -> None:
        if not self.formats:
            raise StablemaxError("no number format is given", f"one or more of: {', '.join(FORMATS)}")
        if self.max_ulp is not None and not self.max_ulp >= 0:
            raise StablemaxError(f"--max-ulp {shown(self.max_ulp)} is out of range", "a number, 0 or more")
        if self.judge is not None and self.judge < 1:
            raise StablemaxError(f"--judge {shown(self.judge)} is out of range", "--judge all, or --judge 500")
        if self.reduction is Reduction.NONE:
            raise StablemaxError("--reduction none has no one gradient", "use mean or sum")
        if self.show_values < 0:
            raise StablemaxError(f"--show-values {shown(self.show_values)} is out of range", "0 or more")


@dataclass(frozen=True)
class _Case:
    """One operation's input, in float64 or as stored, before any format rounds it."""

    operation: Operation
    rows: Array
    logits: Array
    labels: Array | None = None
    upstream: Array | None = None
    divisor: float = 1.0

    def second(self, xp: Arithmetic) -> Targets | Array | None:
        if self.labels is not None:
            return targets_of(self.labels, self.logits.shape[-1], TargetOptions(), xp, self.divisor)
        return None if self.upstream is None else xp.array(self.upstream)


@dataclass(frozen=True)
class _Setting:
    """One operation in one format: the rounded input and the truth about it."""

    case: _Case
    xp: Arithmetic
    x: Array
    second: Targets | Array | None
    exact: ExactResult
    input_overflow: Array
    lse: Array | None = None
    mean: Truth | None = None


def compare_problem(
    problem: Problem,
    options: CompareOptions | None = None,
    *,
    command: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> Comparison:
    """Judge variants on a problem.

    Parameters
    ----------
    problem : Problem
        Logits, with labels for the cross-entropies.
    options : CompareOptions, optional
        What to run.
    command : tuple of str
        The arguments that name the input, for the line that reproduces the run.
    progress : callable, optional
        Called with (steps done, steps in all, what runs now).

    Raises
    ------
    StablemaxError
        If no variant matches, or an operation needs labels that are not there.
    """
    options = options or CompareOptions()
    rows = judged_rows(problem.logits, options.judge)
    notes = list(problem.notes)
    total = problem.logits.shape[0]
    if rows.size < total:
        notes.append(f"errors judged on {rows.size:,} of {total:,} rows")
    cases, skipped = _cases(problem, rows, options)
    notes += skipped
    plan = [(case, matching(case.operation, options.patterns)) for case in cases]
    plan = [(case, chosen) for case, chosen in plan if chosen]
    if not cases:
        raise StablemaxError("; ".join(skipped), "give other labels, or another --ignore-index")
    if not plan:
        raise StablemaxError(
            f"no variant of {', '.join(c.operation for c in cases)} matches {', '.join(options.patterns)}",
            "stablemax list variants",
        )
    steps = sum(len(chosen) + 2 for _, chosen in plan) * len(options.formats)
    done = 0

    def advance(count: int, text: str) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, steps, text)

    verdicts: dict[tuple[str, str], Verdict] = {}
    for fmt in options.formats:
        shared = _Shared(fmt)
        for case, chosen in plan:
            advance(0, f"{case.operation} in {fmt.name}: the truth")
            setting = _setting(case, shared, options)
            advance(2, f"{case.operation} in {fmt.name}")
            for variant in chosen:
                verdicts[variant.id, fmt.name] = _verdict(variant, setting, options)
                advance(1, f"{variant.id} in {fmt.name}")
    reports = [
        OperationReport(case.operation.value, tuple(verdicts[v.id, f.name] for v in chosen for f in options.formats))
        for case, chosen in plan
    ]
    for name, why in {v.variant: v.skipped for r in reports for v in r.verdicts if v.skipped}.items():
        notes.append(f"{name} was not run: it {why}")
    return Comparison(
        input=_summary(problem, rows),
        formats=tuple(f.name for f in options.formats),
        accumulation={f.name: Arithmetic(f, options.accumulation).policy.value for f in options.formats},
        max_ulp=options.max_ulp,
        reduction=options.reduction.value,
        reports=tuple(reports),
        finding=finding(tuple(reports)),
        command=command,
        notes=tuple(notes),
    )


def _cases(problem: Problem, rows: Array, options: CompareOptions) -> tuple[list[_Case], list[str]]:
    logits = np.ascontiguousarray(problem.logits[rows])
    wanted = options.operations or tuple(Operation)
    cases: list[_Case] = []
    notes: list[str] = []
    for operation in wanted:
        case = _Case(operation, rows, logits)
        if operation.needs_targets:
            if problem.labels is None:
                if options.operations:
                    raise StablemaxError(
                        f"{operation} needs labels",
                        "give a file of labels, or name a column with --label-column",
                    )
                continue
            kept = kept_rows(problem.labels, options.ignore_index)
            here = kept[rows]
            if not here.any():
                notes.append(f"{operation}: not run, every judged row is ignored (label {options.ignore_index})")
                continue
            divisor = float(kept.sum()) if options.reduction is Reduction.MEAN else 1.0
            case = replace(
                case,
                rows=rows[here],
                logits=logits if here.all() else logits[here],
                labels=problem.labels[rows[here]],
                divisor=divisor,
            )
        if operation.needs_upstream:
            case = replace(case, upstream=_upstream(logits, options))
        cases.append(case)
    if problem.labels is None and not options.operations:
        notes.append("no labels: cross_entropy and its gradient are not run")
    return cases, notes


def _upstream(logits: Array, options: CompareOptions) -> Array:
    if options.upstream is Upstream.MEAN:
        return np.full(logits.shape, 1.0 / logits.shape[-1])
    return np.asarray(np.random.default_rng(options.upstream_seed).standard_normal(logits.shape))


class _Shared:
    """What the operations have in common in one format: the rounded logits and their balls."""

    def __init__(self, fmt: Format) -> None:
        self.format = fmt
        self.balls = Balls()
        self._rounded: dict[int, tuple[Array, Array]] = {}

    def rounded(self, logits: Array) -> Array:
        """Return the logits rounded to the format, in float64; the same array for the same logits."""
        if id(logits) not in self._rounded:
            self._rounded[id(logits)] = (logits, self.format.cast(logits).astype(np.float64))
        return self._rounded[id(logits)][1]


def _setting(case: _Case, shared: _Shared, options: CompareOptions) -> _Setting:
    fmt = shared.format
    xp = Arithmetic(fmt, options.accumulation)
    rounded_x = shared.rounded(case.logits)
    x = xp.array(rounded_x)
    second = case.second(xp)
    with np.errstate(invalid="ignore"):
        beyond = np.isfinite(case.logits) & ~np.isfinite(rounded_x)
        # A format without infinities has no -inf either.
        beyond |= ~np.isnan(case.logits) & np.isnan(rounded_x)
        overflow = np.asarray(beyond.any(axis=-1))
    exact = exact_result(case.operation, rounded_x, second, fmt, shared.balls)
    lse = None
    if case.operation in (Operation.SOFTMAX, Operation.LOGSUMEXP):
        lse = exact.truth.nearest
        if case.operation is Operation.SOFTMAX:
            # Only the size of y enters a bound: float64 is plenty.
            lse = evaluate(_LSE(), rounded_x, Arithmetic(FLOAT64))[:, None]
    mean = _exact_mean(exact, overflow, fmt) if case.operation is Operation.CROSS_ENTROPY else None
    return _Setting(case, xp, x, second, exact, overflow, lse, mean)


@functools.cache
def _LSE() -> Variant:  # noqa: N802 - stands for a constant that must not be looked up at import
    return matching(Operation.LOGSUMEXP, ("compensated",))[0]


def _verdict(variant: Variant, setting: _Setting, options: CompareOptions) -> Verdict:
    fmt, case = setting.xp.format, setting.case
    named: dict[str, Any] = {
        "variant": variant.id,
        "format": fmt.name,
        "accumulation": setting.xp.policy.value,
    }
    if variant.max_classes is not None and case.logits.shape[-1] > variant.max_classes:
        return Verdict(
            **named,
            worst=None,
            shares={},
            skipped=f"needs a K x K matrix for each row: at most {variant.max_classes:,} classes",
        )
    output = evaluate(variant, setting.x, setting.xp, setting.second)
    judged = judge(output, setting.exact, fmt, max_ulp=options.max_ulp, input_overflow=setting.input_overflow)
    counts = np.bincount(judged.codes.ravel(), minlength=len(CODES))
    worst = CODES[int(np.flatnonzero(counts)[-1])]
    mean, mean_error = _mean(output, setting)
    place, cause = _first_bad(variant, setting, judged, output)
    return Verdict(
        **named,
        worst=worst,
        shares={CODES[i]: float(n) / judged.codes.size for i, n in enumerate(counts) if n},
        error_ulp=largest(judged.error_ulp),
        error_u=largest(judged.error_u),
        error_over_bound=_over_bound(variant, setting, judged, output),
        sum_error=largest_sum_error(output) if case.operation is Operation.SOFTMAX else None,
        mean=mean,
        mean_error_ulp=mean_error,
        first_bad=place,
        cause=cause,
        values=_shown(output, judged, case, options.show_values),
    )


def _over_bound(variant: Variant, setting: _Setting, judged: Judgement, output: Array) -> float | None:
    """Largest ratio of error to bound over the rows that the theorems speak of: no over- or underflow."""
    if variant.bound is None or setting.lse is None:
        return None
    x = setting.x.astype(np.float64)
    finite = (Outcome.OK, Outcome.INACCURATE)
    usable = np.isin(judged.codes, [CODES.index(o) for o in finite]).all(axis=-1)
    if not usable.any():
        return None
    error = row_error_u(output, setting.exact, setting.xp.format)[usable]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return largest(error / variant.bound.in_u(x[usable], setting.lse[usable]))


def _exact_mean(exact: ExactResult, input_overflow: Array, fmt: Format) -> Truth | None:
    """Exact mean of the exact losses; None where a row has none or an infinite one."""
    if exact.undefined.any() or input_overflow.any() or not np.isfinite(exact.truth.nearest).all():
        return None
    nearest = exact.truth.nearest.ravel()
    rest = np.ldexp(exact.truth.residual_ulp.ravel(), exact.truth.ulp_exponent(fmt).ravel())
    right = (exact_sum(nearest) + exact_sum(rest)) / nearest.size
    near = np.asarray(rounded(right))
    remainder = float((right - exact_sum(near)) / exact_sum(fmt.ulp(near))) if math.isfinite(near) else 0.0
    return Truth(near, np.asarray(remainder), fmt.round(near))


def _mean(output: Array, setting: _Setting) -> tuple[float | None, float | None]:
    """Mean of the losses as the arithmetic takes it, and its distance from the exact one."""
    if setting.case.operation is not Operation.CROSS_ENTROPY:
        return None, None
    with np.errstate(all="ignore"):
        mean = float(setting.xp.mean(output))
    if setting.mean is None:
        return mean, None
    return mean, float(setting.mean.error_ulp(np.asarray(mean), setting.xp.format))


def _first_bad(variant: Variant, setting: _Setting, judged: Judgement, output: Array) -> tuple[Place | None, str]:
    """Find the first cell of the worst outcome, and why it came out so."""
    worst = int(judged.codes.max())
    if worst == 0:
        return None, ""
    case, fmt = setting.case, setting.xp.format
    row, cell = (int(i) for i in np.argwhere(judged.codes == worst)[0])
    label = int(case.labels[row]) if case.labels is not None and case.labels.ndim == 1 else None
    columns = (label,) if case.operation.per_row else (cell, label)
    nearest = float(setting.exact.truth.nearest[row, cell])
    logits = case.logits[row].astype(np.float64)
    bad = BadCell(
        outcome=CODES[worst],
        events=_witnessed(variant, setting, row) if CODES[worst].is_failure else (),
        format=fmt,
        columns=tuple(c for c in columns if c is not None),
        logits=logits,
        weakness=variant.weakness,
        tiny=abs(nearest) < fmt.smallest_normal,
    )
    words, at = describe(bad)
    place = Place(
        row=int(case.rows[row]),
        column=at,
        logit=float(logits[at]),
        output=float(output.reshape(judged.codes.shape)[row, cell].astype(np.float64)),
        truth=float(setting.exact.truth.rounded[row, cell]),
    )
    return place, f"{words}; first at row {place.row}, class {place.column}, logit {place.logit:.6g}"


def _witnessed(variant: Variant, setting: _Setting, row: int) -> tuple[Event, ...]:
    """Run the variant once more on one row, watched; on all rows if it mixes them."""
    witness = Witness(setting.xp.format, setting.xp.accumulation)
    where = slice(row, row + 1) if variant.rowwise else slice(None)
    second = setting.second
    if second is not None:
        second = second[where] if isinstance(second, np.ndarray) else second.rows(where)
    evaluate(variant, setting.x[where], witness, second)
    return tuple(witness.events)


def _shown(output: Array, judged: Judgement, case: _Case, count: int) -> tuple[ShownRow, ...]:
    values = output.reshape(judged.codes.shape).astype(np.float64)
    return tuple(
        ShownRow(int(case.rows[i]), tuple(values[i].tolist()), tuple(CODES[c] for c in judged.codes[i].tolist()))
        for i in range(min(count, len(values)))
    )


def _summary(problem: Problem, rows: Array) -> InputSummary:
    judged = np.asarray(problem.logits[rows], dtype=np.float64)
    finite = judged[np.isfinite(judged)]
    sources = problem.sources
    return InputSummary(
        source=sources[0].name,
        dtype=problem.logits.dtype.name,
        rows=problem.logits.shape[0],
        classes=problem.logits.shape[1],
        judged_rows=int(rows.size),
        smallest=float(finite.min()) if finite.size else math.nan,
        largest=float(finite.max()) if finite.size else math.nan,
        labels=sources[1].name if len(sources) > 1 else "",
    )
