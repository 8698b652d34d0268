"""The report of `judge`: what was found on all rows, in words."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from stablemax.check.judge_job import JudgeJob, JudgePart
from stablemax.check.judge_options import JudgeOptions
from stablemax.inputs.logits import Stream
from stablemax.inputs.open import ComputedOutput
from stablemax.inputs.printed import PrintedNumbers
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import Format
from stablemax.operations.operation import Given, Operation
from stablemax.results import Contract, Grade, InputSummary, JudgeReport, Outcome, Verdict
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.vocabulary import Reduction
from stablemax.text.words import counted, listed
from stablemax.truth.balls import Truth
from stablemax.truth.intervals import beyond_digits, nearest_printed
from stablemax.truth.measure import CODES, ExactResult, judge
from stablemax.truth.reductions import mean_of, which_reduction
from stablemax.truth.verdict_tally import FirstBad, VerdictTally, severity_of
from stablemax.truth.verdicts import cause_of_mean

_AS_PRINTED = (Outcome.OK, Outcome.UNDEFINED)
"""The worst outcome of an output that may agree to every digit."""


def report_of(
    job: JudgeJob,
    part: JudgePart,
    output: ComputedOutput,
    printed: PrintedNumbers | None,
    stream: Stream,
    command: tuple[str, ...],
) -> JudgeReport:
    """Put what was found on the rows of a stream into a report."""
    options, fmt = job.options, job.options.fmt
    beyond = part.beyond_digits
    if isinstance(output.values, float):
        exact = _exact_mean(part, options)
        tally = _tally_of_mean(output.values, printed, exact, part, job)
        mean, mean_error = None, None
        if printed is not None:
            beyond = beyond_digits(np.full((1, 1), output.values), printed, exact.truth)
    else:
        exact = None
        tally = part.tally
        mean, mean_error = _mean(part, options)
    verdict = tally.verdict(output.name, fmt.name, Arithmetic(fmt).policy.value, mean=mean, mean_error_ulp=mean_error)
    contract = Contract(options.max_ulp, options.allow, (), (fmt.name,), options.require)
    graded = {o: grade for o, grade in verdict.outcome_grades.items() if o.value not in options.allow}
    failing = [o for o, grade in graded.items() if not contract.is_met_by(grade)]
    is_inaccurate = any(grade is not Grade.ACCURATE for grade in graded.values())
    notes = [*stream.notes, *part.noticed.notes(stream), *output.notes]
    notes += _notes(job, part, output, stream, is_inaccurate=is_inaccurate)
    if exact is not None and isinstance(output.values, float) and failing and _is_sum(output.values, exact, part, job):
        notes.append("it looks like the sum of the losses: if it is meant to be, add --reduction sum")
    finding = _finding(verdict, output.name, options.operation, fmt, failing, options.allow)
    if printed is not None and verdict.worst in _AS_PRINTED and beyond is not None:
        exceptions = f", but for the rounding of {counted(beyond, 'number')} before it was printed" if beyond else ""
        finding = f"{output.name} agrees with {options.operation} to every printed digit{exceptions}: {printed.words}."
        # What the digits do not show has no size.
        verdict = replace(verdict, error_ulp=None, error_u=None, error_over_bound=None, mean_error_ulp=None)
    return JudgeReport(
        operation=options.operation.name,
        output=output.name,
        input=_summary(stream, part),
        verdict=verdict,
        bound_of="" if verdict.error_over_bound is None else job.reference.id,
        grade=Grade.worst_of(graded.values()),
        passed=not failing,
        finding=finding,
        contract=contract,
        command=command,
        notes=tuple(notes),
        correctly_rounded_share=part.nearest / part.compared if part.compared else None,
        errors=part.error_bins(),
        faulty_cells=part.faulty,
    )


def _summary(stream: Stream, part: JudgePart) -> InputSummary:
    """Sum up the logits, with the range of those that were judged."""
    ends = (part.smallest, part.largest) if part.smallest <= part.largest else (math.nan, math.nan)
    labels = stream.sources[1].name if len(stream.sources) > 1 else ""
    source, dtype = stream.sources[0].name, stream.logits.dtype.name
    return InputSummary(source, dtype, stream.rows, stream.classes, part.rows, *ends, labels)


def _notes(job: JudgeJob, part: JudgePart, output: ComputedOutput, stream: Stream, *, is_inaccurate: bool) -> list[str]:
    """Say what a reader should know before they believe the verdict."""
    options, fmt, notes = job.options, job.options.fmt, []
    if output.printed is not None and options.max_ulp is not None and output.printed.is_short_of(fmt):
        notes.append(f"{output.name} has {output.printed.words}: against --max-ulp its numbers count as they stand")
    if job.numbers is not None:
        notes.append(f"errors judged on {part.rows:,} of {stream.rows:,} rows")
    logits = options.inputs(stream.logits.dtype)
    if logits.precision > fmt.precision:
        notes.append(
            f"the logits are {logits.name}, the output {fmt.name}: if the program rounded the logits first, "
            f"add --round-logits {fmt.name}"
        )
    if is_inaccurate and part.has_unrounded_second:
        notes.append(
            f"the {options.operation.second.value} are not {logits.name} numbers: if the program rounded them like "
            f"its logits, add --round-logits {logits.name}"
        )
    return notes


def _mean(part: JudgePart, options: JudgeOptions) -> tuple[float | None, float | None]:
    """Return the mean of the losses that were computed, and its distance from the exact one in ulps."""
    losses, fmt = part.losses, options.fmt
    if not options.operation.reduces:
        return None, None
    mean = float(fmt.round(np.float64(losses.computed.mean(losses.divisor))))
    if losses.undefined or losses.beyond or not losses.exact.is_finite or not losses.divisor.units:
        return mean, None
    exact = mean_of(losses.exact, losses.divisor.fraction, fmt, is_undefined=False)
    return mean, exact.truth.error_ulp(np.asarray(mean), fmt).item()


def _exact_mean(part: JudgePart, options: JudgeOptions) -> ExactResult:
    """Return the exact mean of the losses, or their sum where that is asked about."""
    losses = part.losses
    divisor = Fraction(1) if options.reduction is Reduction.SUM else losses.divisor.fraction
    exact = mean_of(losses.exact, divisor, options.fmt, is_undefined=bool(losses.undefined))
    return ExactResult(Truth.known([[math.nan]]), exact.undefined) if losses.beyond else exact


def _tally_of_mean(
    value: float, printed: PrintedNumbers | None, exact: ExactResult, part: JudgePart, job: JudgeJob
) -> VerdictTally:
    """Judge one number as the mean of all losses."""
    operation, losses, truth = job.operation, part.losses, exact.truth
    output = np.full((1, 1), value)
    nearest = output if printed is None else nearest_printed(output, printed, truth)
    judged = judge(
        nearest,
        exact,
        job.options.fmt,
        max_ulp=job.options.max_ulp,
        input_overflow=np.array([losses.beyond > 0]),
        may_flush=True,
        scale=operation.scale(truth.nearest, Given(np.zeros((1, 1)), None)),
        end_of_range=np.array([losses.at_end > 0]),
    )
    severity = severity_of(judged)
    if not severity[1]:
        return VerdictTally.of(judged, None)
    half_unit = 0.0 if printed is None else float(printed.half_units[0, 0])
    count = operation.loss_count(part.rows, job.stream.classes)
    cause = cause_of_mean(CODES[severity[1]], value, float(truth.rounded[0, 0]), count, half_unit)
    return VerdictTally.of(judged, FirstBad(severity, None, cause))


def _is_sum(value: float, exact: ExactResult, part: JudgePart, job: JudgeJob) -> bool:
    """True where a number that is not the mean of several losses is within a hundredth of their sum."""
    if job.options.reduction is Reduction.SUM or job.operation.loss_count(part.rows, job.stream.classes) <= 1:
        return False
    mean = float(exact.truth.nearest[0, 0])
    right = {Reduction.MEAN: mean, Reduction.SUM: mean * float(part.losses.divisor.fraction)}
    return which_reduction(value, right, within=0.01) == (Reduction.SUM,)


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
