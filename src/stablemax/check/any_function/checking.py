"""`check` of any function: its formats searched, the smallest input traced, and the report written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from stablemax.check.any_function.function_report import (
    breaking_input,
    evidence_notes,
    function_report,
    notes_without_evidence,
    worst_found,
)
from stablemax.check.any_function.function_search import (
    FormatSearch,
    Found,
    FunctionOptions,
    refuse_without_evidence,
    shrunk,
)
from stablemax.check.any_function.judged_input import HeldTo
from stablemax.check.any_function.pasted_test import BreakingCall
from stablemax.check.check_options import FAILURES
from stablemax.check.target.messages import Target, TraceOptions
from stablemax.results import BreakingInput, FunctionCheck, Grade, Outcome, Trace
from stablemax.text.ranges import check_timeout

if TYPE_CHECKING:
    from stablemax.check.any_function.candidates import Inputs
    from stablemax.check.any_function.proofs import AnyFunction
    from stablemax.check.any_function.written_target import WrittenTarget


def check_any(
    target: Target,
    options: FunctionOptions,
    *,
    timeout_s: float = 10.0,
    memory_bytes: int | None = None,
    command: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> FunctionCheck:
    """Search the ranges of a function for the smallest input that breaks it, in a process of its own.

    Raise `StablemaxError` where nothing can be told of it: no input is answered, followed or has a value.
    """
    from stablemax.check.target.subprocess_target import SubprocessTarget

    check_timeout(timeout_s)
    with SubprocessTarget(target, timeout_s, memory_bytes) as loaded:
        return checked(loaded, target, options, progress, command=command, notes=notes)


def checked(
    function: AnyFunction,
    target: Target,
    options: FunctionOptions,
    progress: Callable[[int, int, str], None] | None = None,
    *,
    command: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> FunctionCheck:
    """Search a function that is loaded; the rest is as for `check_any`."""
    written = function.written()
    ranged = {one.name for one in options.ranges}
    files = {name: array for name, array in written.arrays.items() if name not in ranged}
    allowed = tuple(name for name in options.allow if name in FAILURES)
    held_to = HeldTo(options.max_ulp, allowed, by_value=options.require is Grade.ACCURATE)
    found: list[Found] = []
    for i, fmt in enumerate(options.formats):
        report = None if progress is None else partial(progress, i, len(options.formats))
        found.append(FormatSearch(function, options, held_to, fmt, files, target.backward, report).found())
    refuse_without_evidence(target.name, found)
    without = [one for one in found if not one.has_evidence]
    found = [one for one in found if one.has_evidence]
    worst = worst_found(found)
    if worst is not None and options.search:
        if progress is not None:
            progress(len(found), len(found), f"shrinking the input in {worst.tried.format}")
        worst = shrunk(worst, options.ranges)
    undefined = next((one for one in found if one.undefined is not None), None)
    reason = "" if undefined is None else _why_undefined(function, undefined)
    return function_report(
        target.name,
        options,
        found,
        None if worst is None else _example(written, target, options, worst),
        None if worst is None else _trace_of(function, options, worst),
        is_gradient=target.backward,
        backend=written.backend,
        source=_source(options, written, files),
        command=command,
        notes=(*notes, *notes_without_evidence(without), *evidence_notes(found, reason)),
    )


def _example(written: WrittenTarget, target: Target, options: FunctionOptions, worst: Found) -> BreakingInput:
    """Write the smallest breaking input down, and a test that it fails."""
    assert worst.breaking is not None, "an input breaks it"
    inputs, judged = worst.breaking
    whole = worst.proofs.whole(inputs)
    floats = tuple(name for name in written.arrays if whole[name].dtype.kind not in "biuOSU")
    gradient_of = floats if target.backward else ()
    call = BreakingCall(written, target.name, whole, judged, gradient_of, target.pick, options.max_ulp)
    return breaking_input(worst, call.pasted())


def _trace_of(function: AnyFunction, options: FunctionOptions, worst: Found) -> Trace | None:
    """Trace the smallest breaking input; None where the trace is about another failure."""
    assert worst.breaking is not None, "an input breaks it"
    inputs, judged = worst.breaking
    trace = function.trace_any(TraceOptions(max_ulp=options.max_ulp), worst.proofs.whole(inputs))
    # Of an infinity of the code's own a trace says that nothing is right, and why.
    is_own = trace.outcome is Outcome.UNDEFINED and np.isnan(judged.truth.ravel()[judged.cell])
    return trace if is_own or trace.outcome is judged.outcome else None


def _why_undefined(function: AnyFunction, found: Found) -> str:
    """Say why the first input without a value has none; empty where nothing is known of it."""
    if found.undefined is None:
        return ""
    trace = function.trace_any(TraceOptions(), found.proofs.whole(found.undefined))
    return trace.blame.sentence if trace.blame is not None and trace.outcome is Outcome.UNDEFINED else ""


def _source(options: FunctionOptions, written: WrittenTarget, files: Inputs) -> str:
    """Name the ranges, the files and the constants that the function gets."""
    parts = [f"{one.name} = {one.text}" for one in options.ranges]
    parts += [f"{name} {array.dtype} {array.shape}" for name, array in files.items()]
    return ", ".join([*parts, *(f"{name} = {text}" for name, text in written.constants.items())])
