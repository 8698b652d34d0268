"""Code run line by line beside its exact shadow, and the line at which its result was lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions
from stablemax.operations.variant import Variant
from stablemax.results import Trace
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED
from stablemax.trace.divergences import of_all
from stablemax.trace.exact_cells import cells_of, softmax_cells
from stablemax.trace.line_values import LineValues
from stablemax.trace.numpy.numpy_run import NumpyCode, run_decided, run_once
from stablemax.trace.numpy.shadow_arithmetic import ShadowArithmetic
from stablemax.trace.numpy.tape import Tape
from stablemax.trace.reading import Expected, case_for
from stablemax.trace.run import Given, Run, with_exact_branches
from stablemax.trace.story import tell
from stablemax.trace.traced_code import code_of, scalar_conversions

if TYPE_CHECKING:
    from stablemax.trace.arrangement import Arrangement
    from stablemax.trace.story import About

MAX_CELLS = 1 << 14
"""A trace of more cells takes minutes; of a larger input some rows are traced."""


def run_in_shadow(
    function: Callable[..., Any],
    x: Array,
    *others: Any,
    arrangement: Arrangement | None = None,
    softmax_of: Array | None = None,
) -> Run:
    """Run NumPy code on floats and, beside them, on exact numbers.

    Arrays of a number format are shadowed, labels are handed on. Exact numbers answer the comparisons. Where some value
    could not be followed, no exact result is given. With an `arrangement` the function gets the rows as they lie in an
    array of another shape; `softmax_of` are the logits whose softmax x is, rounded.

    >>> import numpy as np
    >>> run = run_in_shadow(lambda x: np.log(np.exp(x).sum(axis=1)), np.float32([[1000.0, 0.0]]))
    >>> float(run.value[0]), float(run.exact[0])
    (inf, 1000.0)
    """
    arrays = (x, *others) if arrangement is None else tuple(arrangement.given(a) for a in (x, *others))

    def exactly() -> Array:
        exact = cells_of(x) if softmax_of is None else softmax_cells(softmax_of)
        return exact if arrangement is None else arrangement.given(exact)

    code = code_of(function)
    run = with_exact_branches(
        run_decided(function, arrays, code, watch=False, exactly=exactly),
        lambda: run_decided(function, arrays, code, watch=False, leads=of_all, exactly=exactly),
    )
    if arrangement is not None and run.exact is not None:
        run = replace(run, value=arrangement.rows(run.value), exact=arrangement.rows(run.exact))
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
    given: Given | None = None,
    targets: TargetOptions | None = None,
    **about: Unpack[About],
) -> Trace:
    """Trace NumPy code, ``f(x)`` or ``f(x, second)`` on plain arrays, and judge its result.

    `code` is the function whose file counts as the traced code, where `function` only wraps it. `given` is what the
    function gets, where that is not the rows rounded to the format; a label of -100 marks a row that does not count.

    >>> import numpy as np
    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> trace = trace_numpy(lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True),
    ...     np.array([[1000.0, 1.0]]), None, get_operation("softmax"), FLOAT32)
    >>> trace.outcome.value, trace.blame.sentence.partition(": ")[2].partition(";")[0]
    ('nan', 'exp overflows for 2 of 4 cells (first: row 0, class 0, logit 1000.0)')
    """
    expected = replace(expected_of(operation, logits, second, fmt, max_ulp, targets), numbers=about.get("numbers"))
    if expected.has_labels and second is not None:
        outside = ((second < 0) | (second >= logits.shape[-1])) & (second != IGNORED)
        if outside.any():
            raise StablemaxError(
                f"label {int(second[outside][0])} is none of {logits.shape[-1]:,} classes",
                f"a row that does not count has the label {IGNORED}, or another: --ignore-index",
            )
    given = given or Given(expected.logits, expected.second)
    return tell(NumpyCode(given, fmt, function, code_of(code or function)), expected, about)


def expected_of(
    operation: Operation,
    logits: Array,
    second: Array | None,
    fmt: Format,
    max_ulp: float | None = None,
    targets: TargetOptions | None = None,
) -> Expected:
    """Round an input to a format; labels become int64."""
    if second is not None:
        is_labels = operation.needs_targets and second.dtype.kind in "iu"
        second = second.astype(np.int64) if is_labels else fmt.cast(second)
    return Expected(fmt.cast(logits), second, fmt, operation, max_ulp, targets or TargetOptions())


def fails(
    value: Array,
    logits: Array,
    second: Array | None,
    operation: Operation,
    fmt: Format,
    *,
    max_ulp: float | None = None,
    targets: TargetOptions | None = None,
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
    reading = expected_of(operation, logits, second, fmt, max_ulp, targets).reading(Run(value))
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
    targets: TargetOptions | None = None,
    **about: Unpack[About],
) -> Trace:
    """Trace one of the declared variants; each operation of its arithmetic is one operation of the trace."""
    operation = variant.operation
    options = targets or TargetOptions()

    def function(x: Any, *others: Any) -> Any:
        arithmetic = ShadowArithmetic(fmt, tape=x.tape)
        divisor = float(operation.loss_count(*x.shape))
        arguments = [replace(case_for(operation, x, o, divisor), targets=options).second(arithmetic) for o in others]
        result = variant.function(x, *arguments, arithmetic)
        return result[:, 0] if operation.per_row else result

    if variant.max_classes is not None and logits.shape[-1] > variant.max_classes:
        raise StablemaxError(
            f"{variant.id} builds a K x K matrix for each row, and K is {logits.shape[-1]:,}",
            f"it takes at most {variant.max_classes:,} classes; {variant.cure} needs no matrix",
        )
    about["target"] = variant.id
    return trace_numpy(
        *(function, logits, second, operation, fmt), code=variant.function, max_ulp=max_ulp, targets=targets, **about
    )
