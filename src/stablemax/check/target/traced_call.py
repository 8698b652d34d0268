"""A call as a trace takes it: what the code gets, and what its result is judged by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.target.calling import first_rows, second_rows
from stablemax.numerics.formats import FLOAT16, FLOAT32, Array, Format, format_of, format_of_array
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions, kept_rows
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED
from stablemax.text.words import counted
from stablemax.trace.arrangement import AsStored, shifted_labels
from stablemax.trace.run import Given

if TYPE_CHECKING:
    from stablemax.check.target.call_style import CallStyle
    from stablemax.check.target.messages import Call, TargetInfo


@dataclass(frozen=True)
class TracedCall:
    """What the traced code gets, and what its result is judged by."""

    call: Call
    given: Given
    #: Logits, the second argument, the operation, the number format.
    expected: tuple[Array, Array | None, Operation, Format]
    targets: TargetOptions
    notes: tuple[str, ...] = ()
    #: Numbers of the rows, where some are left out.
    numbers: Array | None = None

    @classmethod
    def of(cls, call: Call, info: TargetInfo, style: CallStyle, *, shift: bool) -> TracedCall:
        """Take a call apart into what the code gets and what is right for it."""
        call = _as_sequence(call) if shift else call
        notes: tuple[str, ...] = ()
        numbers = None
        if style.rows_of_targets and call.arrangement is None:
            call, numbers = without_ignored(call)
            if numbers is not None:
                notes = ("ignored rows are left out: code that takes one-hot rows cannot be told of them",)
        elif count := int((~_kept(call)).sum()):
            which = f"labelled {_ignored(call)}, which {'does' if count == 1 else 'do'} not count"
            notes = (f"the code gets {counted(count, 'row')} {which}",)
        weight = call.options.get("weight")
        targets = TargetOptions(
            None if weight is None else np.asarray(weight, dtype=np.float64), call.options.get("label_smoothing", 0.0)
        )
        judged = _judged_labels(call, info.operation, shift=shift)
        fmt = _format_of(call, info.backend)
        softmax_of = call.logits if style.of_output else None
        given = Given(first_rows(style, call), second_rows(style, call), call.arrangement, softmax_of)
        return cls(call, given, (call.logits, judged, info.operation, fmt), targets, notes, numbers)


def _format_of(call: Call, backend: str) -> Format:
    """Return the format in which code computes: that of the logits, or what its library makes of integers."""
    if call.logits.dtype.kind not in "iu":
        return traceable_format(call)
    return FLOAT32 if backend == "torch" else format_of(np.result_type(call.logits.dtype, FLOAT16.dtype))


def traceable_format(call: Call) -> Format:
    """Return the format of a call's arrays; refuse one that is emulated."""
    fmt = format_of_array(call.logits)
    refuse_emulated(fmt)
    return fmt


def refuse_emulated(fmt: Format) -> None:
    """Raise `StablemaxError` for a format that NumPy and PyTorch lack."""
    if fmt.is_emulated:
        raise StablemaxError(
            f"code is not traced in {fmt.name}: NumPy and PyTorch lack that format, which stablemax emulates",
            "--format float16, bfloat16, float32 or float64",
        )


def _judged_labels(call: Call, operation: Operation, *, shift: bool) -> Array | None:
    """Return the second argument that the result is judged by: -100 marks the rows that do not count."""
    labels = call.second_argument
    if labels is None or labels.ndim != 1 or not operation.needs_targets:
        return labels
    labels = np.where(kept_rows(labels, _ignored(call)), labels, IGNORED).astype(np.int64)
    if not shift:
        return labels
    assert isinstance(call.arrangement, AsStored)
    return shifted_labels(labels, call.arrangement.others, IGNORED)


def _ignored(call: Call) -> int:
    return int(call.options.get("ignore_index", IGNORED))


def _as_sequence(call: Call) -> Call:
    """Return a call on sequences; rows without a shape become one, with a position that predicts nothing."""
    if call.second_argument is None or call.second_argument.ndim != 1:
        raise StablemaxError("--shift needs labels, one for each position", "give class numbers, in the shape (B, T)")
    if isinstance(call.arrangement, AsStored):
        if call.arrangement.class_axis != -1 or not call.arrangement.others:
            shape = call.arrangement.words
            raise StablemaxError(f"--shift: logits of shape {shape} are no sequence", "give the shape (B, T, V)")
        return call
    rows, classes = call.logits.shape
    logits = np.concatenate([call.logits, np.zeros((1, classes), call.logits.dtype)])
    labels: Any = np.concatenate([np.zeros(1, call.second_argument.dtype), call.second_argument])
    return replace(call, logits=logits, second_argument=labels, arrangement=AsStored((1, rows + 1, classes), 2))


def without_ignored(call: Call) -> tuple[Call, Array | None]:
    """Leave out ignored rows, and return the numbers of the others; None where all rows count."""
    kept = _kept(call)
    if kept.all():
        return call, None
    assert call.second_argument is not None
    kept_call = replace(call, logits=call.logits[kept], second_argument=call.second_argument[kept])
    return kept_call, np.flatnonzero(kept)


def _kept(call: Call) -> Array:
    """Mark the rows that count."""
    labels = call.second_argument
    if labels is None or labels.ndim != 1:
        return np.ones(len(call.logits), dtype=bool)
    return kept_rows(labels, _ignored(call))
