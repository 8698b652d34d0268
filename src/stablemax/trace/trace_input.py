"""The input of a trace: rows of a problem, a hazard, or the first hazard on which the code fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stablemax.hazards.catalogue import HAZARDS, NEEDS, Hazard
from stablemax.hazards.operation_input import case_of_hazard, refuse_needs
from stablemax.inputs.logits import Problem
from stablemax.inputs.second_array import second_array
from stablemax.numerics.formats import FLOAT32, Array, Format, format_of
from stablemax.operations.operation import Operation
from stablemax.operations.targets import kept_rows
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Upstream
from stablemax.trace import MAX_CELLS, expected_of, fails
from stablemax.truth.sampling import judged_rows


@dataclass(frozen=True, eq=False)
class TraceInput:
    """The rows on which the code runs, in the traced number format, and the words about them."""

    logits: Array
    #: What the operation takes beside them.
    second: Array | None
    source: str
    notes: tuple[str, ...] = ()
    #: Numbers of the rows in the user's input, where they are some of many.
    row_numbers: Array | None = None
    #: The name of the hazard that it is.
    hazard: str = ""


def of_problem(
    problem: Problem,
    operation: Operation,
    fmt: Format | None = None,
    *,
    ignore_index: int | None = None,
    upstream: Upstream = Upstream.NORMAL,
) -> TraceInput:
    """Take the rows of a problem that count, at most as many as a trace can hold; by default in its own format."""
    labels = problem.labels
    rows, classes = problem.logits.shape
    if rows == 0 or classes == 0:
        raise StablemaxError("there are no logits to trace", "give at least one row and one class")
    traced = judged_rows(problem.logits, max(1, MAX_CELLS // classes))
    if operation.needs_targets:
        if labels is None:
            raise StablemaxError(
                f"{operation} needs labels", "give a file of labels, or name a column with --label-column"
            )
        traced = traced[kept_rows(labels, ignore_index)[traced]]
        if not traced.size:
            raise StablemaxError("every traced row is ignored", "give other labels, or another --ignore-index")
    second = second_array(operation, problem.logits, labels, upstream)
    is_part = traced.size < rows
    notes = (f"traced on {traced.size:,} of {rows:,} rows",) if is_part else ()
    rounded = expected_of(
        operation,
        np.ascontiguousarray(problem.logits[traced]),
        None if second is None else second[traced],
        fmt or format_of(problem.logits.dtype.newbyteorder("=")),
    )
    numbers = traced if is_part else None
    return TraceInput(rounded.logits, rounded.second, problem.sources[0].name, (*problem.notes, *notes), numbers)


def of_hazard(hazard: Hazard, operation: Operation, fmt: Format | None = None) -> TraceInput:
    """Take a hazard of the catalogue, by default in float32."""
    refuse_needs(hazard, () if operation.needs_targets else NEEDS, "a trace")
    case = case_of_hazard(hazard, operation, fmt or FLOAT32)
    rounded = expected_of(operation, case.logits, case.second(operation), fmt or FLOAT32)
    source = f"hazard {hazard.name}: {hazard.reason}"
    return TraceInput(rounded.logits, rounded.second, source, hazard=hazard.name)


def first_failing(
    operation: Operation,
    output_of: Callable[[TraceInput], Array | None],
    fmt: Format | None = None,
    *,
    max_ulp: float | None = None,
) -> tuple[TraceInput | None, int]:
    """Find the first hazard on which code fails, or which it answers with nothing, and how many it holds on."""
    count = 0
    for hazard in HAZARDS.values():
        if operation not in hazard.operations or (hazard.needs and operation.needs_targets):
            continue
        if not 0 < hazard.case(FLOAT32).logits.size <= MAX_CELLS:
            continue
        case = of_hazard(hazard, operation, fmt)
        output = output_of(case)
        # Code that raises is traced up to there.
        if output is None or fails(output, case.logits, case.second, operation, fmt or FLOAT32, max_ulp=max_ulp):
            return case, count
        count += 1
    return None, count
