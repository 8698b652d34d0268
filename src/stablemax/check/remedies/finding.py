"""The first remedy that holds where code fails: each is run on that very input, as the code itself was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.remedies.jax_remedies import jax_remedies
from stablemax.check.remedies.numpy_remedies import numpy_remedies
from stablemax.check.remedies.torch_remedies import torch_remedies
from stablemax.check.remedies.writing import Form, heading_of, reason, wider_formats, written
from stablemax.check.target.messages import NoAnswerError

if TYPE_CHECKING:
    from stablemax.check.target.messages import Call, LoadedTarget, Result
    from stablemax.check.trials import Trial, Trials
    from stablemax.operations.operation import Operation

_REMEDIES = {"numpy": numpy_remedies, "torch": torch_remedies, "jax": jax_remedies}
_MOST_INPUTS = 24
_MOST_CELLS = 1 << 16
"""Larger failing inputs are left out."""


@dataclass(frozen=True)
class Instead:
    """Code to write instead, and why it holds."""

    code: str
    why: str
    #: The input on which the code fails and this holds, in words.
    input: str
    #: On how many of the inputs on which the code fails it was run, and on how many it holds.
    inputs: int
    holding: int


class _Substitute:
    """Other code in the place of a target's: called, converted and isolated as the target is."""

    def __init__(self, target: LoadedTarget, code: str, name: str) -> None:
        self.info = target.info
        self._target = target
        self._code = code
        self._name = name

    def call_all(self, calls: Sequence[Call]) -> list[Result]:
        """Call the other code once for each."""
        return self._target.call_instead(self._code, self._name, calls)


def find_instead(
    trials: Trials, failing: Trial, others: Sequence[Trial] = (), *, backward: bool = False
) -> Instead | None:
    """Find code that holds on a failing input, and if there is such, on all the others; None where nothing is known."""
    operation: Operation | None = trials.operation.forward if backward else trials.operation
    info = trials.target.info
    if operation is None or info.is_ours or info.backend not in _REMEDIES:
        return None
    tried = [failing, *(t for t in others if t is not failing and t.case.logits.size <= _MOST_CELLS)][:_MOST_INPUTS]
    best: Instead | None = None
    for code, why in _candidates(trials, failing, operation, backward=backward):
        holding = _holding(_with(trials, code, operation), tried)
        if holding and (best is None or holding > best.holding):
            best = Instead(code, why, f"the input that failed, in {failing.format.name}", len(tried), holding)
        if best is not None and best.holding == len(tried):
            break
    return best


def find_for_masked_rows(trials: Trials, call: Call, others: Trial) -> tuple[str, str] | None:
    """Find code that gives no NaN on rows of nothing but -inf, and holds on other rows; return it, and why it does."""
    if trials.target.info.is_ours or trials.target.info.backend not in _REMEDIES:
        return None
    for code, why in _candidates(trials, others, trials.operation, backward=False, of_masked_rows=True):
        substitute = _with(trials, code, trials.operation)
        (result,) = substitute.results([call])
        has_no_nan = result.output is not None and not np.isnan(result.output.astype(np.float64)).any()
        if has_no_nan and not substitute.trial(others.case, others.format).failed:
            return code, why
    return None


def _with(trials: Trials, code: str, operation: Operation) -> Trials:
    """Return trials of other code in the place of the target's, written for an operation: a loss for its gradient."""
    substitute: Any = _Substitute(trials.target, code, heading_of(trials.target.info, operation).name)
    return replace(trials, target=substitute)


def _candidates(
    trials: Trials, failing: Trial, operation: Operation, *, backward: bool, of_masked_rows: bool = False
) -> Iterator[tuple[str, str]]:
    info, fmt = trials.target.info, failing.format
    heading, call = heading_of(info, operation), trials.call_on(failing.case, fmt)
    output = failing.result.output
    if backward:
        (result,) = trials.target.call_all([replace(call, forward=True)])
        output = result.output
    is_reduced = output is not None and operation.is_reduced(output.shape, failing.case.logits.shape)
    if output is not None and output.ndim == 0:
        is_reduced = operation.reduces
    second = call.second_argument
    form = Form(trials.reduction, is_reduced, fmt, is_soft=second is not None and second.dtype.kind not in "iu")
    for remedy in _REMEDIES[info.backend]():
        is_for_rows = remedy.is_of_masked_rows is of_masked_rows
        if remedy.operation == operation.name and is_for_rows and set(remedy.needs) <= set(heading.names):
            for wide in wider_formats(fmt, info.backend) if remedy.is_wide else ("",):
                yield written(remedy, heading, form, wide), reason(remedy, form, wide)


def _holding(trials: Trials, tried: Sequence[Trial]) -> int:
    """Count the inputs on which code holds; 0 where it fails on the first."""
    holding = 0
    try:
        if trials.trial(tried[0].case, tried[0].format).failed:
            return 0
        holding = 1
        by_format = sorted(tried[1:], key=lambda t: t.format.name)
        for _, group in groupby(by_format, key=lambda t: t.format.name):
            trials_of_format = list(group)
            cases = [t.case for t in trials_of_format]
            holding += sum(not t.failed for t in trials.trial_each(cases, trials_of_format[0].format))
    except NoAnswerError:
        return holding
    return holding
