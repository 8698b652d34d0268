"""An implementation called on an input and judged: what `check` does a thousand times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.target.messages import Call
from stablemax.hazards.catalogue import HazardCase
from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.results import Contract, Grade, Outcome, Verdict
from stablemax.text.vocabulary import IGNORED, Reduction
from stablemax.truth.case import Setting, Shared, case_of, setting_of
from stablemax.truth.measure import CODES, Judgement, may_be_flushed
from stablemax.truth.reductions import which_reduction
from stablemax.truth.verdicts import verdict_of

if TYPE_CHECKING:
    from stablemax.check.target.messages import LoadedTarget, Result
    from stablemax.hazards.hazard import Hazard

_PRINTED_LIMIT = 4000
_MOST_CELLS_KEPT = 1 << 17
"""The truth about a larger hazard is proved again where it is needed again: to keep it would take 100 MB."""

UNSTABLE = len(CODES)
"""Severities from here on are those of unstable cells; those of cells that are stable and not accurate are smaller."""
NO_ANSWER = 2 * len(CODES)
"""Severity of an input that gave no output."""


def grade_of(severity: int) -> Grade:
    """Return the grade of the worst cell of an output.

    >>> [grade_of(s).value for s in (0, CODES.index(Outcome.LOST), UNSTABLE + CODES.index(Outcome.LOST), NO_ANSWER)]
    ['accurate', 'stable', 'unstable', 'broken']
    """
    if severity >= NO_ANSWER:
        return Grade.BROKEN
    return Grade.UNSTABLE if severity >= UNSTABLE else Grade.STABLE if severity else Grade.ACCURATE


@dataclass(frozen=True)
class Trial:
    """One input in one format: what came out, judged."""

    #: The input, before it was rounded to the format.
    case: HazardCase
    format: Format
    result: Result
    #: The truth.
    setting: Setting
    #: None where there is no output to judge.
    verdict: Verdict | None
    #: Why there is no output to judge: an exception, a wrong shape; empty where there is one.
    trouble: str
    #: True where the contract is broken.
    failed: bool
    #: Of the worst cell: 0 where all are accurate or allowed; see `Trials.severities`.
    severity: int = 0
    #: The worst of the cells that are not accurate; the worst of all where none is.
    worst: Outcome | None = None

    @property
    def grade(self) -> Grade:
        """Accurate, stable or unstable; broken without an answer."""
        return grade_of(self.severity)


@dataclass
class Trials:
    """Calls an implementation and holds its results against the truth and a contract."""

    target: LoadedTarget
    contract: Contract
    #: The mean or the sum of the losses: what a single number is, or what a gradient is taken of; see `reduction_of`.
    reduction: Reduction = Reduction.MEAN
    #: Logits of -inf are tried, as a mask gives them.
    tries_masks: bool = True
    printed: list[str] = field(default_factory=list)
    #: The truths about hazards that were proved: by name, format, whether the output is their mean, and the reduction.
    proved: dict[tuple[str, str, bool, Reduction], Setting] = field(default_factory=dict)

    @property
    def operation(self) -> Operation:
        """What is computed."""
        return self.target.info.operation

    def trial(self, case: HazardCase, fmt: Format) -> Trial:
        """Try one input."""
        return self.trial_each([case], fmt)[0]

    def trial_hazard(self, hazard: Hazard, fmt: Format) -> Trial:
        """Try a hazard, whose truth is proved once for the code and for the variants that may be its cure."""
        case = hazard.case(fmt)
        (result,) = self.results([self.call_on(case, fmt)])

        def prove(*, reduced: bool) -> Setting:
            key = (hazard.name, fmt.name, reduced, self.reduction)
            if key in self.proved:
                return self.proved[key]
            setting = self.setting(case, fmt, reduced=reduced)
            if case.logits.size <= _MOST_CELLS_KEPT:
                self.proved[key] = setting
            return setting

        return self._judged(case, fmt, result, prove)

    def trial_each(self, cases: Sequence[HazardCase], fmt: Format) -> list[Trial]:
        """Try several inputs in one message."""
        results = self.results([self.call_on(case, fmt) for case in cases])
        shared = Shared(fmt)
        return [
            self._judged(case, fmt, result, partial(self.setting, case, fmt, shared))
            for case, result in zip(cases, results, strict=True)
        ]

    def judged(self, case: HazardCase, fmt: Format, result: Result) -> Trial:
        """Judge what came of a call on a case, however the case was passed."""
        return self._judged(case, fmt, result, partial(self.setting, case, fmt))

    def results(self, calls: Sequence[Call]) -> list[Result]:
        """Call the function once for each, and remember what it printed."""
        results = self.target.call_all(calls)
        self.printed += [r.printed for r in results if r.printed and sum(map(len, self.printed)) < _PRINTED_LIMIT]
        return results

    def call_on(self, case: HazardCase, fmt: Format) -> Call:
        """Round a case to a format, and lay it out as the function gets it."""
        call = self._call_on_rows(case, fmt)
        if case.axes is None:
            return call
        second_argument = call.second_argument
        return replace(
            call,
            logits=case.axes.laid_out(call.logits),
            second_argument=None if second_argument is None else case.axes.laid_out(second_argument),
        )

    def _call_on_rows(self, case: HazardCase, fmt: Format) -> Call:
        logits = fmt.cast(case.logits)
        if not self.operation.needs_targets:
            second_argument = case.second(self.operation)
            second_argument = None if second_argument is None else fmt.cast(second_argument)
            return Call(logits, second_argument, layout=case.layout)
        labels = case.labels if case.labels.ndim == 1 else fmt.cast(case.labels)
        options: dict[str, Any] = {}
        if case.weight is not None:
            options["weight"] = fmt.cast(case.weight)
        if case.label_smoothing:
            options["label_smoothing"] = case.label_smoothing
        if case.labels.ndim == 1 and (case.labels == IGNORED).any():
            options["ignore_index"] = IGNORED
        return Call(logits, labels, options, case.layout)

    def severities(self, output: Array, setting: Setting, judged: Judgement | None = None) -> Array:
        """Rank each cell by its grade, then by its outcome: 0 where it is accurate or allowed, see `grade_of`.

        A result below the smallest normal number may be flushed to zero, as processors and compilers
        do: that is no fault of the formula.
        """
        judged = judged or setting.judge(output, max_ulp=self.contract.max_ulp)
        failures = [i for i, o in enumerate(CODES) if o.is_failure and o.value not in self.contract.allow]
        counts = np.isin(judged.codes, failures)
        counts &= ~may_be_flushed(output, setting.exact.truth, setting.xp.format)
        return np.where(counts, judged.codes + np.where(judged.grades > 1, UNSTABLE, 0), 0)

    def fails_from(self, fmt: Format) -> int:
        """Return the least severity that breaks the contract in a format."""
        if self.contract.allows_unstable_in(fmt.name):
            return NO_ANSWER
        return 1 if self.contract.require is Grade.ACCURATE else UNSTABLE

    def setting(self, case: HazardCase, fmt: Format, shared: Shared | None = None, *, reduced: bool = False) -> Setting:
        """Prove the truth about a case; ignored rows have loss and gradient 0."""
        return _setting(case, self.operation, self.reduction, shared or Shared(fmt), reduced=reduced)

    def _judged(self, case: HazardCase, fmt: Format, result: Result, prove: Callable[..., Setting]) -> Trial:
        result = _in_rows(result, case, self.operation)
        output = result.output
        reduced = output is not None and self.operation.is_reduced(output.shape, case.logits.shape)
        setting = prove(reduced=reduced)
        if output is None:
            # Where no value exists, refusing the input is as good an answer as NaN.
            has_no_value = bool(setting.exact.undefined.all() or setting.input_overflow.all())
            # What needs more memory than it may have was not tried.
            failed = not (has_no_value or result.lacks_memory)
            severity = NO_ANSWER if failed else 0
            return Trial(case, fmt, result, setting, None, result.trouble, failed=failed, severity=severity)
        trouble = self._shape_trouble(output, setting)
        if trouble or output.size == 0:  # no rows go in, none come out
            severity, worst = (NO_ANSWER, None) if trouble else (0, Outcome.OK)
            return Trial(
                case, fmt, result, setting, None, trouble, failed=bool(trouble), severity=severity, worst=worst
            )
        output = output.astype(np.float64)
        judged = setting.judge(output, max_ulp=self.contract.max_ulp)
        verdict = verdict_of(output, setting, name=self.target.info.name, judged=judged)
        severity = int(self.severities(output, setting, judged).max(initial=0))
        worst = CODES[severity % UNSTABLE] if severity else verdict.worst
        failed = severity >= self.fails_from(fmt)
        return Trial(case, fmt, result, setting, verdict, "", failed=failed, severity=severity, worst=worst)

    def _shape_trouble(self, output: Array, setting: Setting) -> str:
        """Say what is wrong with an output's shape; empty where nothing is."""
        rows, classes = setting.exact.truth.rounded.shape
        allowed: list[tuple[int, ...]] = [(rows,), (rows, 1)] if self.operation.per_row else [(rows, classes)]
        if setting.case.reduced or (self.operation.per_row and rows == 1):
            allowed.append(())
        return "" if output.shape in allowed else f"returned shape {output.shape} where {allowed[0]} is right"


def _in_rows(result: Result, case: HazardCase, operation: Operation) -> Result:
    """Take the output on an array of other than two dimensions back to rows; one of another shape is none."""
    if result.output is None or case.axes is None:
        return result
    classes = case.logits.shape[-1]
    rows = case.axes.rows_of(result.output, classes)
    right = case.axes.others if operation.per_row else case.axes.shape(classes)
    trouble = f"returned shape {result.output.shape} where {right} is right" if rows is None else ""
    return replace(result, output=rows, trouble=result.trouble or trouble)


def _setting(case: HazardCase, operation: Operation, reduction: Reduction, shared: Shared, *, reduced: bool) -> Setting:
    settled = replace(case_of(case, operation), reduced=reduced)
    if reduction is Reduction.SUM:
        settled = replace(settled, divisor=1.0, summed=True)
    return setting_of(settled, shared)


def reduction_of(trials: Trials, case: HazardCase, fmt: Format, loss: Result | None = None) -> Reduction:
    """Find out whether a single number is the mean or the sum of the losses, or a gradient that of the mean or the sum.

    `case` is an easy input of two rows or more. `loss` is what the loss itself gave, where the gradient
    that autograd takes of it is judged: it shows the reduction even where the gradient is N times too large.
    """
    operation = trials.operation
    if not (operation.reduces or operation.of_losses):
        return Reduction.MEAN
    output = (loss or trials.results([trials.call_on(case, fmt)])[0]).output
    if output is None:
        return Reduction.MEAN
    if loss is not None and operation.forward is not None:
        operation = operation.forward
    right: dict[Reduction, Array] = {}
    for reduction in (Reduction.MEAN, Reduction.SUM):
        setting = _setting(case, operation, reduction, Shared(fmt), reduced=operation.reduces)
        right[reduction] = setting.exact.truth.nearest
        if output.size != right[reduction].size:
            # Each row has its own loss, of which autograd takes the sum; or the shape is wrong.
            return Reduction.MEAN if loss is None else Reduction.SUM
    return which_reduction(output, right)[0]


def with_rows(case: HazardCase, rows: Array | list[int] | slice) -> HazardCase:
    """Keep some rows of a case."""
    arrays = {name: array[rows] for name, array in _second_arrays(case).items()}
    return replace(case, logits=case.logits[rows], labels=case.labels[rows], axes=None, **arrays)


def with_classes(case: HazardCase, classes: Array | list[int]) -> HazardCase:
    """Keep some classes of a case, in any order; labels count the classes that are left."""
    arrays = {name: array[:, classes] for name, array in _second_arrays(case).items()}
    if case.labels.ndim == 2:
        labels = case.labels[:, classes]
    else:
        new_labels = {int(c): i for i, c in enumerate(classes)}
        labels = np.array([new_labels.get(label, label) for label in case.labels.tolist()])
    weight = None if case.weight is None else case.weight[classes]
    return replace(case, logits=case.logits[:, classes], labels=labels, weight=weight, axes=None, **arrays)


def arrays_of_cells(case: HazardCase) -> dict[str, Any]:
    """Return the logits of a case and the other arrays (N, K), by field."""
    return {"logits": case.logits, **_second_arrays(case)}


def _second_arrays(case: HazardCase) -> dict[str, Any]:
    """Return the arrays (N, K) of a case beside the logits, by field."""
    names = ("upstream", "cell_targets", "other_logits")
    return {name: array for name in names if (array := getattr(case, name)) is not None}
