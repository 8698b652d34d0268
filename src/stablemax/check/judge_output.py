"""An output that any program computed, held against the truth about its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import Array, Format, format_of
from stablemax.operations.operation import Second
from stablemax.operations.targets import TargetOptions, cell_targets, check_options, kept_rows
from stablemax.operations.variant import get
from stablemax.results import Contract, JudgeReport, Outcome
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.ranges import check_judge, check_max_ulp
from stablemax.text.vocabulary import IGNORED, Reduction
from stablemax.text.words import listed
from stablemax.truth.case import Case, Setting, Shared, setting_of
from stablemax.truth.input_summary import input_summary
from stablemax.truth.reductions import which_reduction
from stablemax.truth.sampling import judged_rows
from stablemax.truth.verdicts import verdict_of

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation
    from stablemax.results import InputSummary, Verdict


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
    #: What a single loss is, or a gradient the gradient of: the losses' mean, their sum, or (none) each its own.
    reduction: Reduction = Reduction.MEAN
    #: Rows with this label do not count; their output is not looked at.
    ignore_index: int | None = IGNORED
    #: How many rows to judge; None for as many as 2**18 cells hold.
    judge: int | None = None
    #: Class weights and label smoothing.
    targets: TargetOptions | None = None
    #: The format that the program rounded the logits to first; as they are stored when not given.
    round_logits: Format | None = None

    def __post_init__(self) -> None:
        check_max_ulp(self.max_ulp)
        check_judge(self.judge)
        known = tuple(o.value for o in Outcome if o.is_failure)
        for name in self.allow:
            if name not in known:
                raise StablemaxError(
                    f"--allow: there is no outcome {shown(name)!r}", f"one or more of: {', '.join(known)}"
                )

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
) -> JudgeReport:
    """Judge an output (N, K), (N,) or (N, 1), or the one number that is the mean of all losses.

    Targets of cells come as labels, a second array of logits as the upstream gradient. `names` are those of logits,
    output and labels.
    """
    operation, (rows, classes) = options.operation, logits.shape
    array = _second_array(operation, logits, labels, upstream)
    if operation.needs_targets and options.targets is not None:
        check_options(options.targets, classes)
    reduced = operation.is_reduced(output.shape, logits.shape)
    _check_shape(output, operation, rows, classes, names[1], reduced=reduced)
    chosen = np.arange(rows) if reduced else judged_rows(logits, options.judge)
    kept = np.ones(rows, dtype=bool)
    if operation.needs_targets and labels is not None:
        kept = kept_rows(labels, options.ignore_index)
        chosen = chosen[kept[chosen]]
        if not chosen.size:
            raise StablemaxError(f"every row is ignored (label {options.ignore_index})", "nothing is left to judge")
    count = operation.loss_count(int(kept.sum()), classes)
    case = Case(
        operation,
        chosen,
        np.ascontiguousarray(logits[chosen]),
        labels=labels[chosen] if operation.needs_targets and labels is not None else None,
        array=None if array is None else array[chosen],
        divisor=float(count) if options.reduction is Reduction.MEAN else 1.0,
        targets=options.targets or TargetOptions(),
        reduced=reduced,
        summed=options.reduction is Reduction.SUM,
    )
    values = output.astype(np.float64)
    values = values.reshape(()) if reduced else values.reshape(rows, -1)[chosen]
    setting = setting_of(case, Shared(options.fmt, options.inputs(logits)))
    left_out = int(kept.sum()) - chosen.size
    sampled = (f"errors judged on {chosen.size:,} of {rows:,} rows",) if left_out else ()
    summary = input_summary(logits, chosen, names[0], names[2])
    return _report(values, setting, options, names[1], summary, command, (*notes, *sampled))


def _report(
    values: Array,
    setting: Setting,
    options: JudgeOptions,
    name: str,
    summary: InputSummary,
    command: tuple[str, ...],
    notes: tuple[str, ...],
) -> JudgeReport:
    """Judge the values of the chosen rows, and say how they do."""
    case, operation = setting.case, options.operation
    reference = get(f"{operation}/{operation.reference or operation.best}")
    verdict = verdict_of(
        values,
        setting,
        name=name,
        max_ulp=options.max_ulp,
        may_flush=True,
        bound=None if case.reduced else reference.bound,
    )
    failing = [o for o in verdict.shares if o.is_failure and o.value not in options.allow]
    logits = options.inputs(case.logits)
    if logits.precision > options.fmt.precision:
        notes = (
            *notes,
            f"the logits are {logits.name}, the output {options.fmt.name}: if the program rounded the "
            f"logits first, add --round-logits {options.fmt.name}",
        )
    many = operation.loss_count(*case.logits.shape) > 1
    if case.reduced and failing and many and _is_sum(float(values), float(setting.exact.truth.nearest[0, 0]), case):
        notes = (*notes, "it looks like the sum of the losses: if it is meant to be, add --reduction sum")
    return JudgeReport(
        operation=operation.name,
        output=name,
        input=summary,
        verdict=verdict,
        bound_of="" if verdict.error_over_bound is None else reference.id,
        passed=not failing,
        finding=_finding(verdict, name, operation, options.fmt, failing),
        contract=Contract(options.max_ulp, options.allow, (), (options.fmt.name,)),
        command=command,
        notes=notes,
    )


def _second_array(operation: Operation, logits: Array, labels: Array | None, upstream: Array | None) -> Array | None:
    """Return what the operation takes beside logits and labels, or refuse to go on without it."""
    if operation.needs_targets and labels is None:
        raise StablemaxError(f"{operation} needs labels", "name a file of labels after the output")
    if operation.second is Second.CELL_TARGETS:
        upstream = None if labels is None else cell_targets(labels, logits.shape[-1])
    if operation.second in (Second.NONE, Second.LABELS):
        return None
    what = operation.second.value
    if upstream is None:
        hints = {
            Second.CELL_TARGETS: "name a file of targets after the output",
            Second.UPSTREAM: "give it with --upstream FILE",
            Second.LOGITS: "name a file of them after the output, or give it with --second-logits FILE",
        }
        raise StablemaxError(f"{operation} needs its {what}", hints[operation.second])
    if upstream.shape != logits.shape:
        raise StablemaxError(
            f"the {what}: has shape {shown(upstream.shape)}, and the logits have {logits.shape}",
            "one number for each logit",
        )
    return upstream


def _is_sum(value: float, mean: float, case: Case) -> bool:
    """True where a number that is not the mean is within a hundredth of the sum."""
    right = {Reduction.MEAN: mean, Reduction.SUM: mean * case.mean_divisor}
    return not case.summed and which_reduction(value, right, within=0.01) == (Reduction.SUM,)


def _check_shape(output: Array, operation: Operation, rows: int, classes: int, name: str, *, reduced: bool) -> None:
    allowed = [(rows,), (rows, 1)] if operation.per_row else [(rows, classes)]
    if reduced or output.shape in allowed:
        return
    right = f"({rows},)" if operation.per_row else f"({rows}, {classes})"
    raise WrongShapeError(
        f"{name}: has shape {shown(output.shape)}, and {operation} of these logits has {right}",
        "classes on the last axis; or name the operation that it is",
    )


def _finding(verdict: Verdict, name: str, operation: Operation, fmt: Format, failing: list[Outcome]) -> str:
    error = "" if verdict.error_ulp is None else f"the largest error is {verdict.error_ulp:.3g} ulp of {fmt.name}"
    allowed = [o for o in verdict.shares if o.is_failure]
    if not failing and allowed:
        cells = f"{100 * sum(verdict.shares[o] for o in allowed):.3g}% of the cells"
        return f"{name} keeps its contract: {cells} are {listed([o.value for o in allowed])}, which is allowed."
    if not failing:
        return f"{name} is {operation} as it should be{f': {error}' if error else ''}."
    worst = max(failing, key=lambda o: o.severity)
    part = 100 * verdict.shares[worst]
    share = f"{part:.3g}% of the cells are" if part < 100 else "every cell is"
    told = f": {verdict.cause}" if verdict.cause and verdict.worst is worst else ""
    return f"{name} is not right: {share} {OUTCOMES[worst].of_cells}{told}."
