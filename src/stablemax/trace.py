"""Run NumPy code with its exact shadow and name the line at which the result was lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.measure import CODES, largest
from stablemax.results import Blame, Outcome, Trace, TracedLine, TracedOperation
from stablemax.shadow.arithmetic import ShadowArithmetic
from stablemax.shadow.findings import good, unstable, wrong_formula
from stablemax.shadow.observe import Kind
from stablemax.shadow.reading import Case, targets_for
from stablemax.shadow.running import ShadowRun, run_decided
from stablemax.shadow.source import display_name, listing, scalar_conversions
from stablemax.shadow.tape import Tape
from stablemax.shadow.traced_code import Code, code_of
from stablemax.shadow.wording import cell_words, event_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.operations.variant import Variant
    from stablemax.shadow.reading import Reading
    from stablemax.shadow.tape import Record

MAX_CELLS = 1 << 14
"""A trace of more cells takes longer than anybody waits; rows are sampled above."""


def run_in_shadow(function: Callable[..., Any], x: Array, *others: Any) -> ShadowRun:
    """Run NumPy code on floats and, beside them, on exact numbers.

    Parameters
    ----------
    function : callable
        Takes the arrays by position.
    x : ndarray
        Shadowed.
    *others
        Further arguments: arrays of a number format are shadowed too, labels are handed on.

    Returns
    -------
    ShadowRun
        `value` is the output bit for bit; `exact` what exact arithmetic gives for the same code, an
        object array of ``flint.arb`` or `shadow.cells.Special`, or None where some value could not
        be followed.

    Raises
    ------
    StablemaxError
        If the function raises, or returns no real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> found = run_in_shadow(lambda x: np.log(np.exp(x).sum(axis=1)), np.float32([[1000.0, 0.0]]))
    >>> float(found.value[0]), float(found.exact[0])
    (inf, 1000.0)
    """
    found = run_decided(function, (x, *others), code_of(function).tape(watch=False))
    lost = _lost(found)
    return replace(found, exact=None, not_followed=lost) if lost else found


def _lost(found: ShadowRun) -> tuple[str, ...]:
    """What a claim about the exact result has to be afraid of."""
    return tuple(dict.fromkeys((*found.not_followed, *scalar_conversions(found.tape.codes))))


def trace_numpy(
    function: Callable[..., Any],
    logits: Array,
    second: Array | None,
    operation: Operation,
    fmt: Format,
    *,
    target: str = "",
    source: str = "",
    backend: str = "numpy",
    max_ulp: float | None = None,
    command: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    code: Callable[..., Any] | None = None,
    numbers: Array | None = None,
) -> Trace:
    """Trace NumPy code and judge its result.

    Parameters
    ----------
    function : callable
        ``f(x)`` or ``f(x, second)`` on plain arrays.
    logits : ndarray (N, K)
        Rounded to the format first.
    second : ndarray or None
        Labels (N,) of int64 or soft targets (N, K) of the cross-entropies; upstream gradient (N, K).
    operation : Operation
        What the code is meant to compute.
    fmt : Format
        Of the logits.
    target, source : str
        What is traced, and where the input came from.
    max_ulp : float, optional
        Errors above are inaccurate; half of the format's bits when not given.
    command, notes : tuple of str
        For the result.
    code : callable, optional
        The function whose file counts as the traced code, where `function` only wraps it.
    numbers : ndarray of int (N,), optional
        What the rows are called, where they are some of many.

    Raises
    ------
    StablemaxError
        If the code raises, or its output does not fit the operation.

    Examples
    --------
    >>> import numpy as np
    >>> from stablemax.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> trace = trace_numpy(lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True),
    ...     np.array([[1000.0, 1.0]]), None, get_operation("softmax"), FLOAT32)
    >>> trace.outcome.value, trace.blame.sentence.partition(": ")[2].partition(";")[0]
    ('nan', 'exp overflows for 2 of 4 cells (first: row 0, class 0, logit 1000.0)')
    """
    if operation.needs_targets and second is not None and second.ndim == 1:
        outside = (second < 0) | (second >= logits.shape[-1])
        if outside.any():
            raise StablemaxError(
                f"label {int(second[outside][0])} is none of {logits.shape[-1]:,} classes",
                "a trace takes rows that count: leave ignored ones out",
            )
    x = fmt.cast(logits)
    other = second if second is None or second.dtype.kind in "iu" else fmt.cast(second)
    case = Case(function, x, other, operation, fmt, code_of(code or function), max_ulp, numbers)
    found = run_decided(function, case.arguments, case.code.tape())
    reading = case.reading(found)
    return _told(case, found, reading, target, source, backend, command, notes)


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

    Results below the smallest normal number are left out: they may be flushed to zero, as processors
    and compilers do, and show nothing of the code.

    Parameters
    ----------
    value : ndarray
        What came out.
    logits, second, operation, fmt, max_ulp
        As in `trace_numpy`.

    Examples
    --------
    >>> import numpy as np
    >>> from stablemax.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> fails(np.float32([0.0]), np.array([[0.0, -40.0]]), np.array([0]), get_operation("cross_entropy"), FLOAT32)
    True
    """
    other = second if second is None or second.dtype.kind in "iu" else fmt.cast(second)
    case = Case(fails, fmt.cast(logits), other, operation, fmt, Code(), max_ulp)
    reading = case.reading(ShadowRun(value, None, (), Tape()))
    tiny = np.abs(reading.exact.truth.nearest) < fmt.smallest_normal
    return bool((reading.failing & ~tiny).any())


def trace_variant(
    variant: Variant,
    logits: Array,
    second: Array | None,
    fmt: Format,
    *,
    source: str = "",
    max_ulp: float | None = None,
    command: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    numbers: Array | None = None,
) -> Trace:
    """Trace one of the declared variants, each operation of its arithmetic taken down as one.

    Parameters
    ----------
    variant : Variant
        What to run.
    logits, second, fmt, source, max_ulp, command, notes, numbers
        As in `trace_numpy`.
    """

    def function(x: Any, *others: Any) -> Any:
        arithmetic = ShadowArithmetic(fmt, tape=x.tape)
        given: list[Any] = [targets_for(o, float(len(x))) if variant.operation.needs_targets else o for o in others]
        result = variant.function(x, *given, arithmetic)
        return result[:, 0] if variant.operation.per_row else result

    if variant.max_classes is not None and logits.shape[-1] > variant.max_classes:
        raise StablemaxError(
            f"{variant.id} builds a K x K matrix for each row, and K is {logits.shape[-1]:,}",
            f"it takes at most {variant.max_classes:,} classes; {variant.cure} needs no matrix",
        )
    return trace_numpy(
        function, logits, second, variant.operation, fmt, target=variant.id, source=source, max_ulp=max_ulp,
        command=command, notes=notes, code=variant.function, numbers=numbers,
    )  # fmt: skip


def _told(
    case: Case, found: ShadowRun, reading: Reading, target: str, source: str, backend: str,
    command: tuple[str, ...], notes: tuple[str, ...],
) -> Trace:  # fmt: skip
    codes = reading.judged.codes
    worst = CODES[int(codes.max())] if codes.size else Outcome.OK
    wrong = case.wrong_exactly(found, reading.exact)
    formula = None if wrong is None else bool(wrong.any())
    if formula:
        found = replace(found, not_followed=_lost(found))
        formula = None if found.not_followed else True
    blamed: Blame | None = None
    what = target or "the traced function"
    if formula and wrong is not None:
        finding = wrong_formula(case, found, reading, wrong, what)
    elif worst.is_failure:
        finding, blamed = unstable(case, found, reading, worst, what)
    else:
        finding = good(case, found, reading, worst, what)
    return Trace(
        target=target,
        operation=case.operation.name,
        backend=backend,
        format=case.fmt.name,
        source=source,
        rows=case.x.shape[0],
        classes=case.x.shape[1],
        lines=_lines(case, found, blamed),
        outcome=worst,
        error_ulp=largest(reading.judged.error_ulp),
        formula_is_wrong=formula,
        blame=None if blamed is None else replace(blamed, file=display_name(blamed.file)),
        finding=finding,
        not_followed=found.not_followed,
        command=command,
        notes=(*notes, *((f"the output is {reading.note}",) if reading.note else ())),
    )


# --- the listing ----------------------------------------------------------------------------------


def _lines(case: Case, found: ShadowRun, blamed: Blame | None) -> tuple[TracedLine, ...]:
    by_line: dict[tuple[str, int], list[TracedOperation]] = {}
    ran: dict[str, set[int]] = {}
    for record in found.tape.records.values():
        site = record.site
        if not site.line:
            continue
        by_line.setdefault((site.file, site.line), []).append(_operation(case, record))
        ran.setdefault(site.file, set()).add(site.line)
    return tuple(
        TracedLine(
            file=display_name(s.file),
            line=s.line,
            text=s.text,
            operations=tuple(sorted(by_line.get((s.file, s.line), ()), key=lambda o: o.index)),
            blamed=blamed is not None and (s.file, s.line) == (blamed.file, blamed.line),
        )
        for s in listing(found.tape.codes, ran)
    )


def _operation(case: Case, record: Record) -> TracedOperation:
    seen = record.seen
    return TracedOperation(
        index=record.index,
        name=record.name,
        phase="forward",
        file=display_name(record.site.file),
        line=record.site.line,
        dtype=record.dtype,
        shape=seen.shape,
        smallest=seen.smallest,
        largest=seen.largest,
        cells=seen.cells,
        inf=seen.inf,
        nan=seen.nan,
        lost=seen.lost,
        error_ulp=seen.error_ulp,
        local_error_ulp=seen.local_error_ulp,
        origin=seen.origin,
        note=_note(case, record),
        times=record.times,
    )


def _note(case: Case, record: Record) -> str:
    """Say the first thing that happened in an operation, in words."""
    order = (Kind.OVERFLOW, Kind.POLE, Kind.INVALID, Kind.ZERO)
    given = case.input
    events = sorted(record.seen.events, key=lambda e: order.index(e.kind))
    if events:
        event = events[0]
        return event_words(record.name, record.dtype, event, record.seen.cells, given.place(record, event, 0))
    if record.seen.origin.value in ("cancellation", "absorption"):
        return cell_words(record.name, record.seen.origin, record.seen.worst)
    return ""
