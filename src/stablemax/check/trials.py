"""An implementation asked about an input and judged: what `check` does a thousand times."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stablemax.check.target.messages import Answer, Question
from stablemax.inputs.labels import IGNORED
from stablemax.measure import CODES, default_max_ulp, judge
from stablemax.results import Outcome
from stablemax.settings import Setting, Shared, case_of, setting_of
from stablemax.verdicts import verdict_of
from stablemax.vocabulary import Operation, Reduction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.check.target.messages import Described
    from stablemax.formats import Array, Format
    from stablemax.inputs.hazards import HazardCase
    from stablemax.results import Contract, Verdict


class Runner(Protocol):
    """What answers: a function in this process or in one of its own."""

    @property
    def described(self) -> Described:
        """What was loaded."""

    def many(self, questions: list[Question]) -> list[Answer]:
        """Call the function once for each question."""


@dataclass(frozen=True)
class Trial:
    """One input in one format: what came out, judged.

    Parameters
    ----------
    case : HazardCase
        The input, before it was rounded to the format.
    format : Format
        The number format.
    answer : Answer
        What came of the call.
    setting : Setting
        The truth.
    verdict : Verdict or None
        None where there is no output to judge.
    trouble : str
        Why there is none: an exception, a wrong shape; empty otherwise.
    failed : bool
        True where the contract is broken.
    worst : Outcome or None
        The worst of the cells that break it; the worst of all where none does.
    """

    case: HazardCase
    format: Format
    answer: Answer
    setting: Setting
    verdict: Verdict | None
    trouble: str
    failed: bool
    worst: Outcome | None = None


@dataclass
class Asker:
    """Asks an implementation and holds its answers against the truth and a contract.

    Parameters
    ----------
    runner : Runner
        What answers.
    contract : Contract
        What counts as a failure.
    reading : dict of str to Reduction
        By format: what a single number, or a gradient, is the reduction of; see `find_reading`.
    """

    runner: Runner
    contract: Contract
    reading: Reduction = Reduction.MEAN
    printed: list[str] = field(default_factory=list)

    @property
    def operation(self) -> Operation:
        """What is computed."""
        return self.runner.described.operation

    def trial(self, case: HazardCase, fmt: Format) -> Trial:
        """Ask about one input."""
        return self.trials([case], fmt)[0]

    def trials(self, cases: Sequence[HazardCase], fmt: Format) -> list[Trial]:
        """Ask about several inputs in one message."""
        answers = self.answers([self.question(case, fmt) for case in cases])
        shared = Shared(fmt)
        return [self._judged(case, fmt, answer, shared) for case, answer in zip(cases, answers, strict=True)]

    def answers(self, questions: list[Question]) -> list[Answer]:
        """Ask, and keep what was printed."""
        answers = self.runner.many(questions)
        self.printed += [a.printed for a in answers if a.printed and sum(map(len, self.printed)) < 4000]
        return answers

    def question(self, case: HazardCase, fmt: Format) -> Question:
        """Round a case to a format, as the function gets it."""
        x = fmt.cast(case.logits)
        if self.operation.needs_upstream:
            return Question(x, fmt.cast(case.upstream))
        if not self.operation.needs_targets:
            return Question(x)
        labels = case.labels if case.labels.ndim == 1 else fmt.cast(case.labels)
        options: dict[str, Any] = {}
        if case.weight is not None:
            options["weight"] = fmt.cast(case.weight)
        if case.label_smoothing:
            options["label_smoothing"] = case.label_smoothing
        if case.labels.ndim == 1 and (case.labels == IGNORED).any():
            options["ignore_index"] = IGNORED
        return Question(x, labels, options)

    def _judged(self, case: HazardCase, fmt: Format, answer: Answer, shared: Shared) -> Trial:
        reduced = answer.output is not None and self._is_reduced(answer.output, case)
        setting = self.setting(case, fmt, shared, reduced=reduced)
        if answer.output is None:
            # Where no value exists, refusing the input is as good an answer as NaN.
            nothing_to_give = bool(setting.exact.undefined.all() or setting.input_overflow.all())
            return Trial(case, fmt, answer, setting, None, answer.trouble, failed=not nothing_to_give)
        trouble = self._misshapen(answer.output, setting)
        if trouble:
            return Trial(case, fmt, answer, setting, None, trouble, failed=True)
        output = answer.output.astype(np.float64)
        if output.size == 0:  # no rows go in, none come out
            return Trial(case, fmt, answer, setting, None, "", failed=False, worst=Outcome.OK)
        verdict = verdict_of(output, setting, name=self.runner.described.name, max_ulp=self.contract.max_ulp)
        severity = int(self.severities(output, setting).max(initial=0))
        worst = CODES[severity] if severity else verdict.worst
        return Trial(case, fmt, answer, setting, verdict, "", failed=severity > 0, worst=worst)

    def severities(self, output: Array, setting: Setting) -> Array:
        """Rank each cell: its position in `CODES` where it breaks the contract, else 0.

        A result below the smallest normal number may be flushed to zero, as processors and compilers
        do: nobody's formula is to blame for that.
        """
        judged = judge(
            output,
            setting.exact,
            setting.xp.format,
            max_ulp=self.contract.max_ulp,
            input_overflow=setting.input_overflow,
            may_flush=True,
        )
        bad = [i for i, o in enumerate(CODES) if o.is_failure and o.value not in self.contract.allow]
        broken = np.isin(judged.codes, bad)
        if self.operation is Operation.SOFTMAX_VJP:
            broken &= ~self._near_for_its_row(output, setting)
        return np.where(broken, judged.codes, 0)

    def _near_for_its_row(self, output: Array, setting: Setting) -> Array:
        """Mark the cells that are right beside the largest of their row.

        A cell p_j (g_j - sum(p g)) whose g_j is near the mean of g is ill-conditioned: no arithmetic of
        fixed precision gets each such cell right, but the row as a whole can be.
        """
        fmt, right = setting.xp.format, setting.exact.truth.nearest
        limit = default_max_ulp(fmt) if self.contract.max_ulp is None else self.contract.max_ulp
        with np.errstate(invalid="ignore"):
            distance = np.abs(output.astype(np.float64).reshape(right.shape) - right)
            return np.asarray(distance <= limit * fmt.ulp(np.abs(right).max(axis=-1, keepdims=True)))

    def setting(self, case: HazardCase, fmt: Format, shared: Shared | None = None, *, reduced: bool = False) -> Setting:
        """Prove the truth about a case; ignored rows have loss and gradient 0."""
        found = replace(case_of(case, self.operation), reduced=reduced)
        if self.reading is Reduction.SUM:
            found = replace(found, divisor=1.0, summed=True)
        return setting_of(found, shared or Shared(fmt))

    def _is_reduced(self, output: Array, case: HazardCase) -> bool:
        return (
            self.operation is Operation.CROSS_ENTROPY
            and output.size == 1
            and (output.ndim == 0 or len(case.logits) > 1)
        )

    def _misshapen(self, output: Array, setting: Setting) -> str:
        """Say what is wrong with an output's shape; empty where nothing is."""
        rows, classes = setting.exact.truth.rounded.shape
        allowed: list[tuple[int, ...]] = [(rows, 1), (rows,)] if self.operation.per_row else [(rows, classes)]
        if self.operation.per_row and rows == 1:
            allowed.append(())
        if output.shape in allowed:
            return ""
        right = (rows,) if self.operation.per_row else (rows, classes)
        return f"returned shape {_shape(output.shape)} where {_shape(right)} is right"


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def find_reading(asker: Asker, case: HazardCase, fmt: Format, forward: Answer | None = None) -> Reduction:
    """Find out which reduction a single number is, or a gradient the gradient of: the mean, or the sum.

    Parameters
    ----------
    asker : Asker
        Its reading is not looked at.
    case : HazardCase
        An easy input of two rows or more.
    fmt : Format
        The number format.
    forward : Answer, optional
        What a loss itself gave, where the gradient that autograd takes of it is judged: the loss says
        which it is, so that a gradient that is N times too large is one.

    Returns
    -------
    Reduction
        SUM where the output is closer to that of the sum; MEAN otherwise.
    """
    if not asker.operation.needs_targets:
        return Reduction.MEAN
    answer = forward or asker.answers([asker.question(case, fmt)])[0]
    if answer.output is None:
        return Reduction.MEAN
    operation = asker.operation if forward is None else Operation.CROSS_ENTROPY
    distance = {}
    for reading in (Reduction.MEAN, Reduction.SUM):
        found = replace(case_of(case, operation), reduced=operation is Operation.CROSS_ENTROPY)
        if reading is Reduction.SUM:
            found = replace(found, divisor=1.0, summed=True)
        right = setting_of(found, Shared(fmt)).exact.truth.nearest
        if answer.output.size != right.size:
            # Each row has its own loss, of which autograd takes the sum; or the shape is wrong.
            return Reduction.MEAN if forward is None else Reduction.SUM
        distance[reading] = float(np.abs(answer.output.astype(np.float64).reshape(right.shape) - right).max())
    return min(distance, key=lambda r: distance[r])
