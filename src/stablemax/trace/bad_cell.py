"""The first bad cell of a result, shown on as little as it takes, and the operation that made it so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.measure import CODES
from stablemax.trace import exact_cells as cells
from stablemax.trace.blame import Culprit, culprit
from stablemax.trace.numpy.numpy_run import ShadowRun, run, run_decided
from stablemax.trace.numpy.tape import Record, Step
from stablemax.trace.reading import Case, Reading, first_of

if TYPE_CHECKING:
    from stablemax.results import Outcome

_MAX_ROWS_TRIED = 64


@dataclass(frozen=True)
class Bad:
    """A bad cell, and the smallest input that has it."""

    case: Case
    row: int
    column: int
    cell: int


def bad_cell(case: Case, reading: Reading, worst: Outcome) -> Bad:
    """Find the first bad cell, and try to show it on its row alone."""
    code = CODES.index(worst)
    if not reading.reduced:
        row, column = first_of(reading.judged.codes == code)
        alone = case.row(row)
        if len(case.x) > 1 and _fails(alone, column):
            return Bad(alone, row, column, column)
        return Bad(case, row, column, row * reading.judged.codes.shape[1] + column)
    for row in range(min(len(case.x), _MAX_ROWS_TRIED)):
        if _fails(case.row(row), 0):
            return Bad(case.row(row), row, 0, 0)
    return Bad(case, 0, 0, 0)


def _fails(case: Case, cell: int) -> bool:
    """Tell whether a cell is bad on this input."""
    try:
        found = run(case.function, case.arguments, case.code.tape(watch=False))
        return bool(case.reading(found).failing.ravel()[cell])
    except StablemaxError:
        # The function may not take a single row; then all rows are looked at together.
        return False


def culprit_of(bad: Bad) -> tuple[list[Step], Culprit | None]:
    """Repeat the run with some operations exact, and see which of them the cell depends on."""
    case = bad.case
    base = run_decided(case.function, case.arguments, case.code.tape())
    bits = base.bits
    exact = case.reading(base).exact

    def probe(**instructions: Any) -> ShadowRun:
        return run(case.function, case.arguments, case.code.tape(watch=False, **instructions), bits)

    def good_if_rounded(k: int) -> bool:
        found = probe(rounded_to=k)
        return not bool(Reading(exact, case.judged(found.value, exact)).failing.ravel()[bad.cell])

    def bad_if_forgotten(k: int) -> bool:
        found = probe(forgotten_to=k)
        wrong = case.wrong_exactly(found, exact)
        if found.exact is None or wrong is None:
            return False
        none = np.isnan(cells.nearest(found.exact)).ravel()[bad.cell]
        return bool(wrong.ravel()[bad.cell] or none)

    steps = base.tape.steps
    # Where the shadow does not reach the end in good shape, what it says of the end means nothing.
    whole = base.exact is not None and not bad_if_forgotten(0)
    return steps, culprit(steps, good_if_rounded, bad_if_forgotten if whole else None)


def record_of(found: ShadowRun, step: Step) -> Record:
    """Return the record of the whole run that a step of one row belongs to."""
    key = (step.site.file, step.site.line, step.name, step.dtype)
    if key in found.tape.records:
        return found.tape.records[key]
    return Record(0, step.name, step.site, step.dtype, step.seen, first={e.kind: 0 for e in step.seen.events})
