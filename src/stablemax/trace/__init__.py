"""Code run line by line beside its exact shadow, and the line at which its result was lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.variant import Variant
from stablemax.results import Trace
from stablemax.text.errors import StablemaxError
from stablemax.trace.divergences import of_all
from stablemax.trace.line_values import LineValues
from stablemax.trace.numpy.numpy_run import NumpyCode, run_decided, run_once
from stablemax.trace.numpy.shadow_arithmetic import ShadowArithmetic
from stablemax.trace.numpy.tape import Tape
from stablemax.trace.reading import Expected, case_for
from stablemax.trace.run import Run, with_exact_branches
from stablemax.trace.story import tell
from stablemax.trace.traced_code import code_of, scalar_conversions

if TYPE_CHECKING:
    from stablemax.trace.story import About

MAX_CELLS = 1 << 14
"""A trace of more cells takes minutes; of a larger input some rows are traced."""


def run_in_shadow(function: Callable[..., Any], x: Array, *others: Any) -> Run:
    """Run NumPy code on floats and, beside them, on exact numbers.

    Arrays of a number format are shadowed, labels are handed on. Exact numbers answer the comparisons. Where some value
    could not be followed, no exact result is given.

    >>> import numpy as np
    >>> run = run_in_shadow(lambda x: np.log(np.exp(x).sum(axis=1)), np.float32([[1000.0, 0.0]]))
    >>> float(run.value[0]), float(run.exact[0])
    (inf, 1000.0)
    """
    arguments, code = (x, *others), code_of(function)
    run = with_exact_branches(
        run_decided(function, arguments, code, watch=False),
        lambda: run_decided(function, arguments, code, watch=False, leads=of_all),
    )
    lost = tuple(dict.fromkeys((*run.not_followed, *scalar_conversions(run.functions))))
    return replace(run, exact=None, not_followed=lost) if lost else run


def trace_numpy(
    function: Callable[..., Any],
    logits: Array,
    second: Array | None,
    operation: Operation,
    fmt: Format,
    *,
    code: Callable[..., Any] | None = None,
    max_ulp: float | None = None,
    **about: Unpack[About],
) -> Trace:
    """Trace NumPy code, ``f(x)`` or ``f(x, second)`` on plain arrays, and judge its result.

    `code` is the function whose file counts as the traced code, where `function` only wraps it.

    >>> import numpy as np
    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> trace = trace_numpy(lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True),
    ...     np.array([[1000.0, 1.0]]), None, get_operation("softmax"), FLOAT32)
    >>> trace.outcome.value, trace.blame.sentence.partition(": ")[2].partition(";")[0]
    ('nan', 'exp overflows for 2 of 4 cells (first: row 0, class 0, logit 1000.0)')
    """
    expected = expected_of(operation, logits, second, fmt, max_ulp)
    if expected.has_labels and second is not None:
        outside = (second < 0) | (second >= logits.shape[-1])
        if outside.any():
            raise StablemaxError(
                f"label {int(second[outside][0])} is none of {logits.shape[-1]:,} classes",
                "a trace takes rows that count: leave ignored ones out",
            )
    subject = NumpyCode(expected.logits, expected.second, fmt, function, code_of(code or function))
    return tell(subject, expected, about)


def expected_of(
    operation: Operation, logits: Array, second: Array | None, fmt: Format, max_ulp: float | None = None
) -> Expected:
    """Round an input to a format; labels become int64."""
    if second is not None:
        is_labels = operation.needs_targets and second.dtype.kind in "iu"
        second = second.astype(np.int64) if is_labels else fmt.cast(second)
    return Expected(fmt.cast(logits), second, fmt, operation, max_ulp)


def fails(
    value: Array,
    logits: Array,
    second: Array | None,
    operation: Operation,
    fmt: Format,
    *,
    max_ulp: float | None = None,
) -> bool:
    """Tell whether an output has a bad cell, read as a trace reads it.

    Results below the smallest normal number are left out: processors and compilers may flush them to zero, and that
    shows nothing of the code.

    >>> import numpy as np
    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> fails(np.float32([0.0]), np.array([[0.0, -40.0]]), np.array([0]), get_operation("cross_entropy"), FLOAT32)
    True
    """
    reading = expected_of(operation, logits, second, fmt, max_ulp).reading(Run(value))
    tiny = np.abs(reading.exact.truth.nearest) < fmt.smallest_normal
    return bool((reading.failing(value) & ~tiny).any())


def values_by_line(
    logits: Array, second: Array | None, fmt: Format, function: Callable[..., Any], code: Callable[..., Any]
) -> list[LineValues]:
    """Run NumPy code and keep the exact values of each operation; `code` is the function that `function` wraps."""
    arguments = (fmt.cast(logits),) if second is None else (fmt.cast(logits), second)
    tape = Tape(code_of(code), watch=False, keeps_values=True, leads=of_all)
    run_once(function, arguments, tape)
    return tape.values


def trace_variant(
    variant: Variant,
    logits: Array,
    second: Array | None,
    fmt: Format,
    *,
    max_ulp: float | None = None,
    **about: Unpack[About],
) -> Trace:
    """Trace one of the declared variants; each operation of its arithmetic is one operation of the trace."""
    operation = variant.operation

    def function(x: Any, *others: Any) -> Any:
        arithmetic = ShadowArithmetic(fmt, tape=x.tape)
        divisor = float(operation.loss_count(*x.shape))
        arguments = [case_for(operation, x, o, divisor).second(arithmetic) for o in others]
        result = variant.function(x, *arguments, arithmetic)
        return result[:, 0] if operation.per_row else result

    if variant.max_classes is not None and logits.shape[-1] > variant.max_classes:
        raise StablemaxError(
            f"{variant.id} builds a K x K matrix for each row, and K is {logits.shape[-1]:,}",
            f"it takes at most {variant.max_classes:,} classes; {variant.cure} needs no matrix",
        )
    about["target"] = variant.id
    return trace_numpy(function, logits, second, operation, fmt, code=variant.function, max_ulp=max_ulp, **about)
