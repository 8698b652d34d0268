"""A trace's result in a sentence or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stablemax.measure import largest
from stablemax.results import Blame, Outcome
from stablemax.trace import exact_cells as cells
from stablemax.trace.bad_cell import bad_cell, culprit_of, record_of
from stablemax.trace.reading import first_of
from stablemax.trace.sentences import sentence
from stablemax.wording import counted

if TYPE_CHECKING:
    from stablemax.formats import Array
    from stablemax.trace.numpy.numpy_run import ShadowRun
    from stablemax.trace.reading import Case, Reading

WORDS = {
    Outcome.NAN: "NaN",
    Outcome.OVERFLOW: "infinite",
    Outcome.LOST: "0 where it should not be",
    Outcome.INACCURATE: "inaccurate",
}


def _count(case: Case, reading: Reading) -> str:
    """Say how many cells are bad."""
    failing = reading.failing
    if reading.reduced:
        return "the loss"
    return f"{int(failing.sum()):,} of {counted(failing.size, 'row' if case.operation.per_row else 'cell')}"


def _place(case: Case, row: int, column: int) -> str:
    if case.operation.per_row and case.second is not None and case.second.ndim == 1:
        column = int(case.second[row])
        return f"{case.input.row(row)}, label {column}, logit {float(case.x[row, column])!r}"
    if case.operation.per_row:
        return case.input.row(row)
    return f"{case.input.row(row)}, class {column}, logit {float(case.x[row, column])!r}"


def _figure(value: float) -> str:
    return f"{value:.6g}"


def wrong_formula(case: Case, found: ShadowRun, reading: Reading, wrong: Array, what: str) -> str:
    """Say that the code is not what it is meant to be, with the first cell that shows it."""
    row, column = first_of(wrong)
    assert found.exact is not None, "a wrong formula was seen in its shadow"
    shadow = cells.nearest(found.exact.reshape(wrong.shape))
    right = reading.exact.truth.nearest
    where = reading.note.removeprefix("read as ") if reading.reduced else _place(case, row, column)
    steps = found.tape.steps
    last = f" Its last operation is on line {steps[-1].site.line}." if steps and steps[-1].site.line else ""
    return (
        f"{what} is not {case.operation}: in exact arithmetic it gives {_figure(float(shadow[row, column]))} "
        f"where {_figure(float(right[row, column]))} is right ({where}). The formula itself is wrong.{last}"
    )


def good(case: Case, found: ShadowRun, reading: Reading, worst: Outcome, what: str) -> str:
    """Say that the result holds, how well, and where its error is largest."""
    if reading.exact.undefined.all():
        return f"{case.operation} has no value on this input: every row holds NaN, +inf or nothing but -inf."
    error = largest(reading.judged.error_ulp)
    size = "" if error is None else f": the largest error is {error:.3g} ulp"
    left = " Rows in which the formula has no value are left out." if worst is Outcome.UNDEFINED else ""
    records = [r for r in found.tape.records.values() if r.seen.error_ulp]
    if not records or not error:
        return f"{what} holds{size}.{left}"
    most = max(records, key=lambda r: r.seen.error_ulp or 0.0)
    return (
        f"{what} holds{size}. Its least accurate operation is {most.name} on line {most.site.line} "
        f"({most.seen.error_ulp:.3g} ulp).{left}"
    )


def unstable(case: Case, found: ShadowRun, reading: Reading, worst: Outcome, what: str) -> tuple[str, Blame | None]:
    """Name the operation that made a bad result of a right formula, and the line to blame."""
    bad = bad_cell(case, reading, worst)
    row, column = (bad.row, bad.column)
    gives = found.value.astype(np.float64).reshape(reading.failing.shape)
    at = (0, 0) if reading.reduced else (row, column)
    where = "" if reading.reduced else _place(case, row, column)
    result = (
        f"{what} is {WORDS[worst]} for {_count(case, reading)} in {case.fmt.name}: it gives "
        f"{_figure(float(gives[at]))} where {_figure(float(reading.exact.truth.rounded[at]))} is right ({where})."
        if not reading.reduced
        else f"{what} is {WORDS[worst]} in {case.fmt.name}: it gives {_figure(float(gives[at]))} where "
        f"{_figure(float(reading.exact.truth.rounded[at]))} is right."
    )
    steps, guilty = culprit_of(bad)
    if guilty is None:
        return f"{result} No operation could be blamed.", None
    step, root = steps[guilty.at], steps[guilty.root]
    record = record_of(found, step)
    words = sentence(record, step, case.input, bad.row, root if guilty.root < guilty.at else None)
    return f"{words[0].upper()}{words[1:]}. {result}", Blame(step.site.file, step.site.line, record.index, words)
