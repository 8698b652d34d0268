"""What became of the cells of some rows: counts that merge, and the verdict that they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.results import Outcome, Place, Verdict
from stablemax.truth.measure import CODES, GRADES_OF_CELLS, Judgement, largest


@dataclass(frozen=True)
class FirstBad:
    """The first cell of the worst outcome among some rows."""

    severity: tuple[int, int]  #: positions of its grade in `GRADES_OF_CELLS`, and of its outcome in `CODES`
    place: Place | None  #: None for the mean of all losses
    cause: str


def severity_of(judged: Judgement) -> tuple[int, int]:
    """Return the worst grade and the worst outcome of its cells: a NaN at the end of the range is no worse than a 0."""
    grade = int(judged.grades.max())
    return grade, int(judged.codes[judged.grades == grade].max())


@dataclass(frozen=True, eq=False)
class VerdictTally:
    """The cells of some rows, counted; the counts of rows that follow each other merge with ``+``."""

    cells: Array  #: int64 (outcomes, grades), in the orders of `CODES` and `GRADES_OF_CELLS`
    rows_with: Array  #: int64 (outcomes,): rows that have such a cell
    rows: int
    #: The largest, as in `Verdict`; None where there is none.
    error_ulp: float | None = None
    error_u: float | None = None
    error_over_bound: float | None = None
    sum_error: float | None = None
    first_bad: FirstBad | None = None

    @classmethod
    def of_nothing(cls) -> VerdictTally:
        """Count no cells."""
        return cls(np.zeros((len(CODES), len(GRADES_OF_CELLS)), np.int64), np.zeros(len(CODES), np.int64), 0)

    @classmethod
    def of(
        cls,
        judged: Judgement,
        first_bad: FirstBad | None,
        *,
        error_over_bound: float | None = None,
        sum_error: float | None = None,
    ) -> VerdictTally:
        """Count the cells of rows that were judged."""
        codes, grades = len(CODES), len(GRADES_OF_CELLS)
        both = judged.codes.astype(np.int64) * grades + judged.grades
        cells = np.bincount(both.ravel(), minlength=codes * grades).reshape(codes, grades)
        occurring = np.flatnonzero(cells.any(axis=1))
        rows_with = np.zeros(codes, np.int64)
        # Most outputs have one outcome, and every row has a cell of it.
        rows_with[occurring] = (
            len(judged.codes)
            if len(occurring) == 1
            else [np.count_nonzero((judged.codes == code).any(axis=-1)) for code in occurring]
        )
        errors = largest(judged.error_ulp), largest(judged.error_u)
        return cls(cells, rows_with, len(judged.codes), *errors, error_over_bound, sum_error, first_bad)

    def __add__(self, other: VerdictTally) -> VerdictTally:
        """Merge with the counts of rows that follow."""
        firsts = [first for first in (self.first_bad, other.first_bad) if first is not None]
        return VerdictTally(
            self.cells + other.cells,
            self.rows_with + other.rows_with,
            self.rows + other.rows,
            _larger(self.error_ulp, other.error_ulp),
            _larger(self.error_u, other.error_u),
            _larger(self.error_over_bound, other.error_over_bound),
            _larger(self.sum_error, other.sum_error),
            # Of equals, max takes the first.
            max(firsts, key=lambda first: first.severity, default=None),
        )

    @property
    def worst(self) -> Outcome:
        """The worst outcome of the cells of the worst grade."""
        return CODES[int(np.flatnonzero(self.cells[:, self._worst_grade])[-1])]

    @property
    def _worst_grade(self) -> int:
        return int(np.flatnonzero(self.cells.any(axis=0))[-1])

    def verdict(self, name: str, number_format: str, accumulation: str, **known: Any) -> Verdict:
        """Sum up at least one cell; `known` is what a verdict holds beside the counts."""
        total = int(self.cells.sum())
        counts = {CODES[i]: int(n) for i, n in enumerate(self.cells.sum(axis=1)) if n}
        grades = {CODES[i]: int(np.flatnonzero(row)[-1]) for i, row in enumerate(self.cells) if row.any()}
        rows = {outcome: int(self.rows_with[CODES.index(outcome)]) for outcome in counts}
        return Verdict(
            name,
            number_format,
            accumulation,
            worst=self.worst,
            grade=GRADES_OF_CELLS[self._worst_grade],
            shares={outcome: n / total for outcome, n in counts.items()},
            row_shares={} if self.rows == 1 else {outcome: n / self.rows for outcome, n in rows.items()},
            outcome_grades={outcome: GRADES_OF_CELLS[grade] for outcome, grade in grades.items()},
            error_ulp=self.error_ulp,
            error_u=self.error_u,
            error_over_bound=self.error_over_bound,
            sum_error=self.sum_error,
            first_bad=self.first_bad.place if self.first_bad else None,
            cause=self.first_bad.cause if self.first_bad else "",
            **known,
        )


def _larger(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)
