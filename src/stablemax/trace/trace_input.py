"""The input of a trace: a user's rows as they are stored, a hazard, or the first hazard on which the code fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stablemax.hazards.cases import HazardCase
from stablemax.hazards.catalogue import HAZARDS, Hazard
from stablemax.hazards.operation_input import case_of_hazard
from stablemax.inputs.logits import Problem
from stablemax.inputs.second_array import second_array
from stablemax.numerics.formats import FLOAT32, Array, Format, format_of
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions, check_options, kept_rows
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED, Upstream
from stablemax.trace import MAX_CELLS, expected_of, fails
from stablemax.trace.arrangement import AsStored
from stablemax.truth.sampling import judged_rows


@dataclass(frozen=True, eq=False)
class TraceInput:
    """The rows on which the code runs, as it is to get them, and the words about them."""

    #: (N, K), in the dtype that the code gets.
    logits: Array
    #: What the operation takes beside them.
    second: Array | None
    source: str
    notes: tuple[str, ...] = ()
    #: Numbers of the rows in the user's input, where they are some of many.
    row_numbers: Array | None = None
    #: The name of the hazard that it is.
    hazard: str = ""
    #: ``weight``, ``label_smoothing``, ``ignore_index``, where they are to be passed.
    options: dict[str, Any] = field(default_factory=dict)
    #: How the rows lie in the array that the code gets; None for (N, K).
    arrangement: AsStored | None = None


def of_problem(
    problem: Problem,
    operation: Operation,
    fmt: Format | None = None,
    *,
    targets: TargetOptions | None = None,
    upstream: Upstream = Upstream.NORMAL,
) -> TraceInput:
    """Take as many rows of a problem as a trace can hold, as they are stored, or rounded to a format."""
    rows, classes = problem.logits.shape
    if rows == 0 or classes == 0:
        raise StablemaxError("there are no logits to trace", "give at least one row and one class")
    targets = targets or TargetOptions()
    check_options(targets, classes)
    traced, shape = _traced(problem)
    own = format_of(problem.logits.dtype.newbyteorder("="))
    second = second_array(operation, problem.logits, problem.labels, upstream)
    if operation.needs_targets:
        second = _labels(second, problem, traced, targets.ignore_index, operation)
    elif second is not None:
        second = (fmt or own).cast(second[traced])
    notes: tuple[str, ...] = ()
    if second is not None and second.ndim == 2:
        stored = problem.sources[-1].dtype if len(problem.sources) > 1 else own.name
        if fmt is None and stored.startswith("float") and stored != own.name:
            notes = (f"the second array, of {stored}, is passed as {own.name}, as the logits are",)
        second = (fmt or own).cast(second)
    logits = np.ascontiguousarray(problem.logits[traced])
    logits = logits.astype(logits.dtype.newbyteorder("=")) if fmt is None else fmt.cast(logits)
    is_part = traced.size < rows
    in_shape = f", in an array of shape {shape.shape}" if shape is not None else ""
    if is_part:
        notes += (f"traced on {traced.size:,} of {rows:,} rows{in_shape}",)
    return TraceInput(
        logits,
        second,
        problem.sources[0].name,
        (*problem.notes, *notes),
        traced if is_part else None,
        options=_options(targets, second, fmt or own),
        arrangement=shape,
    )


def _traced(problem: Problem) -> tuple[Array, AsStored | None]:
    """Choose the rows that a trace can hold, and the shape in which the code gets them; None for (N, K)."""
    rows, classes = problem.logits.shape
    most = max(1, MAX_CELLS // classes)
    shape, axis = problem.shape, problem.axis
    if len(shape) == 2:
        traced = judged_rows(problem.logits, most)
        return traced, None if axis == 1 else AsStored((classes, traced.size), axis)
    others = (*shape[:axis], *shape[axis + 1 :])
    if rows <= most:
        return np.arange(rows), AsStored(shape, axis)
    # The first items of the first axis: what lies within one stays together.
    size = math.prod(others[1:])
    kept = (max(1, most // size), *others[1:]) if size <= most else (*(1 for _ in others[1:]), most)
    traced = np.arange(math.prod(kept))
    return traced, AsStored((*kept[:axis], classes, *kept[axis:]), axis)


def _labels(
    labels: Array | None, problem: Problem, traced: Array, ignore_index: int | None, operation: Operation
) -> Array:
    """Return the labels of the traced rows, ignored ones among them, in the integers that they are stored in."""
    if labels is None:
        raise StablemaxError(f"{operation} needs labels", "give a file of labels, or name a column with --label-column")
    chosen = labels[traced]
    if not kept_rows(chosen, ignore_index).any():
        raise StablemaxError("every traced row is ignored", "give other labels, or another --ignore-index")
    stored = np.dtype(problem.sources[-1].dtype) if len(problem.sources) > 1 else labels.dtype
    return chosen.astype(stored) if stored.kind in "iu" and labels.ndim == 1 else chosen


def _options(targets: TargetOptions, second: Array | None, fmt: Format) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if targets.weight is not None:
        options["weight"] = fmt.cast(targets.weight)
    if targets.label_smoothing:
        options["label_smoothing"] = targets.label_smoothing
    if second is not None and second.ndim == 1 and not kept_rows(second, targets.ignore_index).all():
        options["ignore_index"] = targets.ignore_index
    return options


def with_labels_of_int64(given: TraceInput) -> TraceInput:
    """Give class numbers the integers in which the libraries but NumPy have them, and say so."""
    labels = given.second
    if labels is None or labels.dtype.kind not in "iu" or labels.dtype == np.int64:
        return given
    note = f"labels of {labels.dtype} are passed as int64"
    return replace(given, second=labels.astype(np.int64), notes=(*given.notes, note))


def of_hazard(
    hazard: Hazard, operation: Operation, fmt: Format | None = None, takes: Collection[str] = ()
) -> TraceInput:
    """Take a hazard of the catalogue, by default in float32; refuse one that needs what the code does not take."""
    if operation.needs_targets and "weights" in hazard.needs and "weights" not in takes:
        raise StablemaxError(
            f"--hazard {hazard.name} needs weights, and the code has no parameter 'weight'", "give it one"
        )
    fmt = fmt or FLOAT32
    case = case_of_hazard(hazard, operation, fmt)
    total, classes = case.logits.shape
    rows = min(total, max(1, MAX_CELLS // classes))
    second = case.second(operation)
    rounded = expected_of(operation, case.logits[:rows], None if second is None else second[:rows], fmt)
    of_all = ": a mean of all of them is not seen (stablemax check shows it on few rows)" if case.reduced else ""
    notes = (f"traced on {rows:,} of {total:,} rows{of_all}",) if rows < total else ()
    source = f"hazard {hazard.name}: {hazard.reason}"
    options = _options(targets_of_case(case), rounded.second, fmt) if operation.needs_targets else {}
    return TraceInput(rounded.logits, rounded.second, source, notes, hazard=hazard.name, options=options)


def targets_of_case(case: HazardCase) -> TargetOptions:
    """Return the weights and the smoothing of a hazard."""
    return TargetOptions(case.weight, case.label_smoothing, IGNORED)


def first_failing(
    operation: Operation,
    output_of: Callable[[TraceInput], Array | None],
    fmt: Format | None = None,
    *,
    max_ulp: float | None = None,
    takes: Collection[str] = (),
) -> tuple[TraceInput | None, int]:
    """Find the first hazard on which code fails, or which it answers with nothing, and how many it holds on."""
    count = 0
    for hazard in HAZARDS.values():
        if operation not in hazard.operations or (operation.needs_targets and set(hazard.needs) - set(takes)):
            continue
        case = hazard.case(fmt or FLOAT32)
        if not 0 < case.logits.size <= MAX_CELLS:
            continue
        tried = of_hazard(hazard, operation, fmt, takes)
        output = output_of(tried)
        # Code that raises is traced up to there.
        if output is None or fails(
            output,
            tried.logits,
            tried.second,
            operation,
            fmt or FLOAT32,
            max_ulp=max_ulp,
            targets=targets_of_case(case),
        ):
            return tried, count
        count += 1
    return None, count
