"""An output that any program computed, held against the truth about its input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stablemax.check.check_options import FAILURES, refuse_unknown
from stablemax.inputs.printed import PrintedNumbers
from stablemax.numerics.formats import FLOAT64, Array, Format, format_of
from stablemax.operations.operation import Operation, Second
from stablemax.operations.targets import TargetOptions, cell_targets, check_options, kept_rows
from stablemax.operations.variant import get
from stablemax.results import Contract, Grade, InputSummary, JudgeReport, Outcome, Verdict
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.ranges import check_judge, check_max_ulp
from stablemax.text.vocabulary import IGNORED, Reduction
from stablemax.text.words import counted, listed
from stablemax.truth.case import Case, Setting, Shared, setting_of
from stablemax.truth.intervals import beyond_digits
from stablemax.truth.reductions import which_reduction
from stablemax.truth.sampling import input_summary, judged_rows
from stablemax.truth.verdicts import verdict_of

_AS_PRINTED = (Outcome.OK, Outcome.UNDEFINED)
"""The worst outcome of an output that may agree to every digit."""


class WrongShapeError(StablemaxError):
    """The output has another shape than the operation's."""


@dataclass(frozen=True)
class JudgeOptions:
    """What an output is meant to be, and what it is held to."""

    #: What was computed.
    operation: Operation
    #: The number format it was computed in; errors are told in its ulps.
    fmt: Format
    #: Errors above are inaccurate; half of the format's bits when not given.
    max_ulp: float | None = None
    #: Outcomes that do not count.
    allow: tuple[str, ...] = ()
    #: What a single loss is, or what a gradient is taken of: the mean of the losses, their sum, or (none) each loss.
    reduction: Reduction = Reduction.MEAN
    #: Rows with this label do not count; their output is not looked at.
    ignore_index: int | None = IGNORED
    #: How many rows to judge; None for as many as 2**18 cells hold.
    judge: int | None = None
    #: Class weights and label smoothing.
    targets: TargetOptions | None = None
    #: The format that the program rounded logits and second argument to first; as they are stored when not given.
    round_logits: Format | None = None
    #: The least grade that passes: stable or accurate.
    require: Grade = Grade.STABLE

    def __post_init__(self) -> None:
        check_max_ulp(self.max_ulp)
        check_judge(self.judge)
        refuse_unknown(self.allow, FAILURES, "--allow: there is no outcome", "one or more of")

    def inputs(self, logits: Array) -> Format:
        """Return the format that the program saw its logits in: as they are stored, or rounded first."""
        return self.round_logits or format_of(logits.dtype)


def judge_output(
    output: Array,
    logits: Array,
    labels: Array | None,
    upstream: Array | None,
    options: JudgeOptions,
    *,
    names: tuple[str, str, str] = ("the logits", "the output", ""),
    command: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    printed: PrintedNumbers | None = None,
) -> JudgeReport:
    """Judge an output (N, K), (N,) or (N, 1), or the one number that is the mean of all losses.

    Targets of cells come as labels, a second array of logits as the upstream gradient. `names` are those of logits,
    output and labels. `printed` tells the digits of an output that was read from text.
    """
    operation, (rows, classes) = options.operation, logits.shape
    array = _second_array(operation, logits, labels, upstream)
    labels = labels if operation.needs_targets else None
    if labels is not None and options.targets is not None:
        check_options(options.targets, classes)
    reduced = operation.is_reduced(output.shape, logits.shape)
    if not reduced:
        _check_shape(output, operation, logits.shape, names[1])
    kept = np.ones(rows, dtype=bool) if labels is None else kept_rows(labels, options.ignore_index)
    chosen = np.arange(rows) if reduced else judged_rows(logits, options.judge)
    chosen = chosen[kept[chosen]]
    if labels is not None and not chosen.size:
        raise StablemaxError(f"every row is ignored (label {options.ignore_index})", "nothing is left to judge")
    count = operation.loss_count(int(kept.sum()), classes)
    case = Case(
        operation,
        chosen,
        np.ascontiguousarray(logits[chosen]),
        labels=None if labels is None else labels[chosen],
        array=None if array is None else array[chosen],
        divisor=float(count) if options.reduction is Reduction.MEAN else 1.0,
        targets=options.targets or TargetOptions(),
        reduced=reduced,
        summed=options.reduction is Reduction.SUM,
    )

    def judged(array: Array) -> Array:
        return array.astype(np.float64).reshape(()) if reduced else array.astype(np.float64).reshape(rows, -1)[chosen]

    if printed is not None and options.max_ulp is not None and printed.is_short_of(options.fmt):
        notes = (*notes, f"{names[1]} has {printed.words}: against --max-ulp its numbers count as they stand")
    printed = _intervals(printed, options)
    if printed is not None:
        printed = printed.shaped(judged)
    # Targets, weights and gradients count as they are stored: those in float64 beside bfloat16 logits are not rounded.
    setting = setting_of(case, Shared(options.fmt, options.inputs(logits), options.round_logits or FLOAT64))
    if kept.sum() > chosen.size:
        notes = (*notes, f"errors judged on {chosen.size:,} of {rows:,} rows")
    summary = input_summary(logits, chosen, names[0], names[2])
    return _report(judged(output), printed, setting, options, names[1], summary, command, notes)


def _intervals(printed: PrintedNumbers | None, options: JudgeOptions) -> PrintedNumbers | None:
    """Return the digits of printed numbers where they leave something open, and nobody named a limit in ulps.

    Six digits cannot show that an error is below 2 ulp: against such a limit a number counts as it stands.
    """
    return printed if printed and options.max_ulp is None and printed.is_short_of(options.fmt) else None


def _report(
    values: Array,
    printed: PrintedNumbers | None,
    setting: Setting,
    options: JudgeOptions,
    name: str,
    summary: InputSummary,
    command: tuple[str, ...],
    notes: tuple[str, ...],
) -> JudgeReport:
    """Judge the values of the chosen rows."""
    operation, is_reduced = options.operation, setting.case.reduced
    reference = get(f"{operation}/{operation.reference or operation.best}")
    bound = None if is_reduced else reference.bound
    verdict = verdict_of(
        values, setting, name=name, max_ulp=options.max_ulp, may_flush=True, bound=bound, printed=printed
    )
    contract = Contract(options.max_ulp, options.allow, (), (options.fmt.name,), options.require)
    graded = {o: grade for o, grade in verdict.outcome_grades.items() if o.value not in options.allow}
    failing = [o for o, grade in graded.items() if not contract.is_met_by(grade)]
    logits = options.inputs(setting.case.logits)
    if logits.precision > options.fmt.precision:
        notes = (
            *notes,
            f"the logits are {logits.name}, the output {options.fmt.name}: if the program rounded the "
            f"logits first, add --round-logits {options.fmt.name}",
        )
    is_inaccurate = any(grade is not Grade.ACCURATE for grade in graded.values())
    if is_inaccurate and options.round_logits is None and _is_rounded_by(logits, setting.case):
        notes = (
            *notes,
            f"the {operation.second.value} are not {logits.name} numbers: if the program rounded them like its logits, "
            f"add --round-logits {logits.name}",
        )
    if is_reduced and failing and _is_sum(float(values), setting):
        notes = (*notes, "it looks like the sum of the losses: if it is meant to be, add --reduction sum")
    finding = _finding(verdict, name, operation, options.fmt, failing, options.allow)
    beyond = None if printed is None else beyond_digits(values, printed, setting.exact.truth)
    if printed is not None and verdict.worst in _AS_PRINTED and beyond is not None:
        exceptions = f", but for the rounding of {counted(beyond, 'number')} before it was printed" if beyond else ""
        finding = f"{name} agrees with {operation} to every printed digit{exceptions}: {printed.words}."
        # What the digits do not show has no size.
        verdict = replace(verdict, error_ulp=None, error_u=None, error_over_bound=None, mean_error_ulp=None)
    return JudgeReport(
        operation=operation.name,
        output=name,
        input=summary,
        verdict=verdict,
        bound_of="" if verdict.error_over_bound is None else reference.id,
        grade=Grade.worst_of(graded.values()),
        passed=not failing,
        finding=finding,
        contract=contract,
        command=command,
        notes=notes,
    )


def _second_array(operation: Operation, logits: Array, labels: Array | None, upstream: Array | None) -> Array | None:
    """Return what the operation takes beside logits and labels, or refuse to go on without it."""
    if operation.needs_targets and labels is None:
        raise StablemaxError(f"{operation} needs labels", "name a file of labels after the output")
    if operation.second in (Second.NONE, Second.LABELS):
        return None
    array = upstream
    if operation.second is Second.CELL_TARGETS:
        array = None if labels is None else cell_targets(labels, logits.shape[-1])
    noun = operation.second.value
    if array is None:
        hints = {
            Second.CELL_TARGETS: "name a file of targets after the output",
            Second.UPSTREAM: "give it with --upstream FILE",
            Second.LOGITS: "name a file of them after the output, or give it with --second-logits FILE",
        }
        raise StablemaxError(f"{operation} needs its {noun}", hints[operation.second])
    if array.shape != logits.shape:
        raise StablemaxError(
            f"the {noun}: has shape {shown(array.shape)}, and the logits have {logits.shape}",
            "one number for each logit",
        )
    return array


def _is_rounded_by(fmt: Format, case: Case) -> bool:
    """True where a format cannot hold the second argument of a case."""
    array = case.labels if case.array is None else case.array
    if array is None or array.dtype.kind in "iu":
        return False
    return bool((fmt.round(array) != array).any())


def _is_sum(value: float, setting: Setting) -> bool:
    """True where a number that is not the mean of several losses is within a hundredth of their sum."""
    case, mean = setting.case, float(setting.exact.truth.nearest[0, 0])
    if case.summed or case.operation.loss_count(*case.logits.shape) <= 1:
        return False
    right = {Reduction.MEAN: mean, Reduction.SUM: mean * case.mean_divisor}
    return which_reduction(value, right, within=0.01) == (Reduction.SUM,)


def _check_shape(output: Array, operation: Operation, logits_shape: tuple[int, int], name: str) -> None:
    rows, _ = logits_shape
    allowed = [(rows,), (rows, 1)] if operation.per_row else [logits_shape]
    if output.shape not in allowed:
        raise WrongShapeError(
            f"{name}: has shape {shown(output.shape)}, and {operation} of these logits has {allowed[0]}",
            "classes on the last axis; or name the operation that it is",
        )


def _finding(
    verdict: Verdict, name: str, operation: Operation, fmt: Format, failing: list[Outcome], allow: tuple[str, ...]
) -> str:
    if failing:
        worst = max(failing, key=lambda o: (verdict.outcome_grades[o].severity, o.severity))
        return f"{name} is not right: {_share(verdict, worst)} {OUTCOMES[worst].of_cells}{_cause(verdict, worst)}."
    allowed = [o for o in verdict.shares if o.is_failure and o.value in allow]
    if allowed:
        cells = f"{100 * sum(verdict.shares[o] for o in allowed):.3g}% of the cells"
        return f"{name} keeps its contract: {cells} are {listed([o.value for o in allowed])}, which is allowed."
    small = [o for o, grade in verdict.outcome_grades.items() if grade is Grade.STABLE]
    if small:
        worst = max(small, key=lambda o: o.severity)
        losses = f"{_share(verdict, worst)} {OUTCOMES[worst].of_cells}, by little on the scale of the result"
        return f"{name} is {operation} as stable code gives it: {losses}{_cause(verdict, worst)}."
    error = "" if verdict.error_ulp is None else f": the largest error is {verdict.error_ulp:.3g} ulp of {fmt.name}"
    return f"{name} is {operation} as it should be{error}."


def _share(verdict: Verdict, outcome: Outcome) -> str:
    """Say how many cells have an outcome, and how many rows have such a cell where that is far more."""
    percent = 100 * verdict.shares[outcome]
    of_rows = 100 * verdict.row_shares.get(outcome, verdict.shares[outcome])
    rows = f", in {of_rows:.3g}% of the rows," if of_rows >= 2 * percent else ""
    return f"{percent:.3g}% of the cells{rows} are" if percent < 100 else "every cell is"


def _cause(verdict: Verdict, outcome: Outcome) -> str:
    return f": {verdict.cause}" if verdict.cause and verdict.worst is outcome else ""
