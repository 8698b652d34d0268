"""Rows of a large input that show its fault: a cure is looked for on them, and then run on all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.text.errors import StablemaxError
from stablemax.trace.given_arguments import GivenArguments

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array
    from stablemax.trace.run import Run, Subject

_OTHERS = 2
"""Rows that are good, taken beside those that fail."""


def of_some_rows(subject: Subject, run: Run, failing: Array, cells: int) -> tuple[Subject, int, int] | None:
    """Return the code on rows that show the fault of a run, how many they are, and of how many; None without such.

    Rows are those of the first axis of the first argument; arrays with as many go along. `cells` is how many numbers
    the operations of the whole run give, and those of the rows give 1 << 13 at most.
    """
    given = subject.given
    if not isinstance(given, GivenArguments) or not given.arguments[0].ndim:
        return None
    count = given.arguments[0].shape[0]
    most = max(1, count * (1 << 13) // cells)
    if most >= count:
        return None
    if run.value.ndim and run.value.shape[0] == count:
        is_bad = failing.reshape(count, -1).any(axis=1)
        others = np.flatnonzero(~is_bad)[: min(_OTHERS, most - 1)]
        bad = np.flatnonzero(is_bad)[: max(1, most - len(others))]
        rows = np.sort(np.concatenate([bad, others]))
    else:
        first, last = _halved(subject, given, most)
        rows = np.arange(first, last)
    return replace(subject, given=_rows_of(given, rows)), len(rows), count


def _halved(subject: Subject, given: GivenArguments, most: int) -> tuple[int, int]:
    """Return the first and the last of some rows whose result is infinite or NaN, if such are found by halves."""
    first, last = 0, given.arguments[0].shape[0]
    while last - first > most:
        middle = (first + last) // 2
        first, last = (middle, last) if _breaks(subject, given, middle, last) else (first, middle)
    return first, last


def _breaks(subject: Subject, given: GivenArguments, first: int, last: int) -> bool:
    try:
        run = replace(subject, given=_rows_of(given, np.arange(first, last))).plain()
    except StablemaxError:
        return False
    return not np.isfinite(run.value.astype(np.float64)).all()


def _rows_of(given: GivenArguments, rows: Array) -> GivenArguments:
    count = given.arguments[0].shape[0]
    return replace(given, arguments=tuple(a[rows] if a.ndim and a.shape[0] == count else a for a in given.arguments))
