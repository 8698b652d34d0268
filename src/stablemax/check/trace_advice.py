"""What a trace says beyond the line: the mistake in a wrong formula, and code that holds on the traced input."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.laws import easy_case
from stablemax.check.mistakes.recognise import recognise
from stablemax.check.remedies.finding import find_for_masked_rows, find_instead
from stablemax.check.target.messages import NoAnswerError
from stablemax.check.trials import Trials, reduction_of
from stablemax.hazards.cases import HazardCase
from stablemax.numerics.formats import FLOAT64, Array, format_of_array
from stablemax.operations.operation import Second
from stablemax.results import Blame, Contract, Grade, Origin
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED
from stablemax.text.words import counted

if TYPE_CHECKING:
    from stablemax.check.target.messages import Call, LoadedTarget
    from stablemax.operations.operation import Operation
    from stablemax.results import Trace

_MOST_CELLS = 1 << 16


def advised(
    trace: Trace, target: LoadedTarget, call: Call, max_ulp: float | None = None, *, backward: bool = False
) -> Trace:
    """Add the mistake and the code to write instead to a trace of code that failed on an input."""
    fails, logits = trace.formula_is_wrong or trace.outcome.is_failure, call.logits
    if target.info.is_ours or logits.ndim != 2 or not 0 < logits.size <= _MOST_CELLS or logits.dtype.kind in "iu":
        return trace
    masked = np.asarray(np.isneginf(logits).all(axis=-1))
    if not fails and (not masked.any() or backward):
        return trace
    # A trace calls everything bad that is not accurate, and so must what is written instead be.
    fmt, contract = format_of_array(logits), Contract(max_ulp, (), (), (), require=Grade.ACCURATE)
    trials, case = Trials(target, contract), _case(call, target.info.operation)
    try:
        trials.reduction = reduction_of(trials, easy_case(), fmt)
        if not fails:
            return _with_masked_rows(trace, trials, call, masked)
        if trace.formula_is_wrong:
            trace = _with_mistake(trace, trials, case)
        failing = trials.trial(case, fmt)
        instead = find_instead(trials, failing, backward=backward) if failing.failed else None
    except (NoAnswerError, StablemaxError) as error:
        return replace(trace, notes=(*trace.notes, f"what to write instead is not known: trying it {error}"))
    if instead is None:
        unknown = f"no code is known here that holds on this input in {fmt.name}"
        return replace(trace, notes=(*trace.notes, unknown)) if failing.failed else trace
    return replace(trace, instead=instead.code, instead_why=f"{instead.why}. Run on this input in {fmt.name}, it holds")


def _with_masked_rows(trace: Trace, trials: Trials, call: Call, masked: Array) -> Trace:
    """Say what becomes of rows of nothing but -inf, which have no value, and how they get one."""
    (result,) = trials.results([call])
    if result.output is None or len(result.output.reshape(-1)) % len(masked):
        return trace
    is_nan = np.isnan(result.output.astype(np.float64).reshape(len(masked), -1)).any(axis=-1) & masked
    made = [o for line in trace.lines for o in line.operations if o.nan and o.origin is Origin.MADE_HERE]
    if not is_nan.any() or not made:
        return trace
    first = min(made, key=lambda o: o.index)
    count = int(is_nan.sum())
    finding = (
        f"{trace.finding} {count:,} of {counted(len(masked), 'row')} {'holds' if count == 1 else 'hold'} nothing but "
        f"-inf, where {trace.operation} has no value: {first.name} on line {first.line} makes NaN of it."
    )
    found = find_for_masked_rows(trials, call, trials.trial(easy_case(), format_of_array(call.logits)))
    if found is None:
        return replace(trace, finding=finding)
    code, why = found
    return replace(trace, finding=finding, instead=code, instead_why=f"{why}. Run on this input, it gives no NaN")


def _with_mistake(trace: Trace, trials: Trials, case: HazardCase) -> Trace:
    """Name the known mistake that gives the code's numbers, and its line where that is certain."""
    has_ignored = case.labels.ndim == 1 and bool((case.labels == IGNORED).any())
    takes = trials.target.info.takes | ({"ignore-index"} if has_ignored else set())
    mistake = recognise(trials, FLOAT64, takes)
    if mistake is None:
        return trace
    finding = f"{trace.finding} The mistake: {mistake.words}."
    if not mistake.line:
        return replace(trace, mistake=mistake.kind, finding=finding)
    words = f"line {mistake.line}: {mistake.words}"
    lines = tuple(replace(line, blamed=(line.file, line.line) == (mistake.file, mistake.line)) for line in trace.lines)
    return replace(
        trace,
        mistake=mistake.kind,
        finding=f"{trace.finding} {words[0].upper()}{words[1:]}.",
        blame=Blame(mistake.file, mistake.line, -1, words),
        lines=lines,
    )


def _case(call: Call, operation: Operation) -> HazardCase:
    """Take the input of a trace as the input of a check."""
    logits, second = call.logits, call.second_argument
    weight = call.options.get("weight")
    case = HazardCase(
        logits.astype(np.float64),
        np.zeros(len(logits), dtype=np.int64),
        np.ones(logits.shape),
        None if weight is None else np.asarray(weight, dtype=np.float64),
        call.options.get("label_smoothing", 0.0),
    )
    if second is None:
        return case
    values = second.astype(np.int64 if second.dtype.kind in "iu" else np.float64)
    fields = {Second.UPSTREAM: "upstream", Second.CELL_TARGETS: "cell_targets", Second.LOGITS: "other_logits"}
    given: dict[str, Any] = {fields.get(operation.second, "labels"): values}
    return replace(case, **given)
