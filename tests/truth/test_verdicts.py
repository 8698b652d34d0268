"""The words of verdicts, and the means that they tell."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stablemax.inputs.printed import PrintedNumbers
from stablemax.numerics.formats import FLOAT32
from stablemax.results import Outcome
from stablemax.truth.case import Case, Shared, setting_of
from stablemax.truth.measure import CODES, GRADES_OF_CELLS, Judgement
from stablemax.truth.verdict_tally import FirstBad, VerdictTally, severity_of
from stablemax.truth.verdicts import cause_of_mean, distinguishing_digits, verdict_of

from ..records import SOFTMAX

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array


def test_a_mean_that_failed_says_what_came_out_and_one_without_a_value_says_so() -> None:
    assert cause_of_mean(Outcome.INACCURATE, 2.5, 3.0, 1000) == "the mean of 1,000 losses gives 2.5 where 3 is right"
    for outcome in (Outcome.UNDEFINED, Outcome.INPUT_OVERFLOW):
        assert cause_of_mean(outcome, 2.5, 3.0, 1000) == "the losses of this input have no mean"


def test_two_numbers_are_written_with_the_fewest_usual_digits_that_tell_them_apart() -> None:
    for digits in (6, 9, 12, 17):
        a, b = 1.0, 1.0 + 2.0 * 10.0 ** (1 - digits)
        shown = distinguishing_digits(a, b)
        assert shown == (f"{a:.{digits}g}", f"{b:.{digits}g}")
        assert len(shown[1]) in (digits + 1, digits + 2)
    assert distinguishing_digits(0.5, 0.5) == ("0.5", "0.5")


def test_of_a_number_that_was_not_printed_no_digit_is_said_to_be_wrong() -> None:
    setting = setting_of(Case(SOFTMAX, np.arange(1), np.array([[0.0, 1.0]])), Shared(FLOAT32))
    output = np.array([[0.25, 0.7310586]], np.float32)
    assert verdict_of(output, setting, name="f").cause.startswith("gives 0.25 where 0.268941 is right; first at")
    printed = PrintedNumbers(np.array([[0.005, 5e-8]]), 7)
    assert "wrong from digit 2 of 2 on" in verdict_of(output, setting, name="f", printed=printed).cause


# --- tallies --------------------------------------------------------------------------------------


def judgements() -> st.SearchStrategy[Judgement]:
    """Cells of a few rows with any outcomes, grades and errors."""
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=5)

    def cells(shape: tuple[int, ...]) -> st.SearchStrategy[Judgement]:
        codes = st.one_of(st.integers(0, len(CODES) - 1), st.sampled_from([0, 3]))
        errors = st.floats(0, 100) | st.just(np.nan)
        return st.builds(
            Judgement,
            hnp.arrays(np.int8, shape, elements=codes),
            hnp.arrays(np.int8, shape, elements=st.integers(0, len(GRADES_OF_CELLS) - 1)),
            hnp.arrays(np.float64, shape, elements=errors),
            hnp.arrays(np.float64, shape, elements=errors),
        )

    return shapes.flatmap(cells)


def tally_of(judged: Judgement, rows: slice, row: int) -> VerdictTally:
    """The tally of some rows, of which the first is told as the first that is bad."""
    some = Judgement(*(part[rows] for part in vars(judged).values()))
    size = float(some.codes.sum())
    return VerdictTally.of(some, FirstBad(severity_of(some), None, str(row)), error_over_bound=size, sum_error=size)


@given(judgements())
def test_a_tally_counts_cells_and_rows_and_keeps_the_largest_errors(judged: Judgement) -> None:
    tally, codes = tally_of(judged, slice(None), 0), judged.codes.tolist()
    verdict = tally.verdict("f", "float32", "pairwise")
    count = judged.codes.size
    for code, outcome in enumerate(CODES):
        cells = sum(row.count(code) for row in codes)
        rows = sum(code in row for row in codes)
        assert verdict.shares.get(outcome, 0.0) == cells / count
        if len(codes) > 1:
            assert verdict.row_shares.get(outcome, 0.0) == rows / len(codes)
        if cells:
            grade = max(judged.grades[judged.codes == code])
            assert verdict.outcome_grades[outcome] is GRADES_OF_CELLS[grade]
    assert verdict.row_shares or len(codes) == 1
    worst = max(zip(judged.grades.ravel().tolist(), judged.codes.ravel().tolist(), strict=True))
    assert severity_of(judged) == worst
    assert (verdict.grade, verdict.worst) == (GRADES_OF_CELLS[worst[0]], CODES[worst[1]])
    for told, errors in ((verdict.error_ulp, judged.error_ulp), (verdict.error_u, judged.error_u)):
        assert told == max((e for e in errors.ravel().tolist() if not math.isnan(e)), default=None)


@given(judgements(), st.data())
def test_tallies_of_rows_that_follow_each_other_merge_to_that_of_all(judged: Judgement, data: st.DataObject) -> None:
    rows = len(judged.codes)
    cuts = sorted({0, rows, *data.draw(st.lists(st.integers(0, rows), max_size=3))})
    pieces = [(first, tally_of(judged, slice(first, last), first)) for first, last in itertools.pairwise(cuts)]
    merged = sum((tally for _, tally in pieces), VerdictTally.of_nothing())
    whole = tally_of(judged, slice(None), 0)
    counts: tuple[tuple[Array, Array], ...] = ((merged.cells, whole.cells), (merged.rows_with, whole.rows_with))
    for mine, right in counts:
        np.testing.assert_array_equal(mine, right)
    assert (merged.rows, merged.error_ulp, merged.error_u) == (whole.rows, whole.error_ulp, whole.error_u)
    assert merged.worst is whole.worst
    assert merged.sum_error == merged.error_over_bound == max(tally.sum_error or 0.0 for _, tally in pieces)
    # The first of the worst.
    severities = [tally.first_bad.severity for _, tally in pieces if tally.first_bad]
    assert merged.first_bad is not None
    assert merged.first_bad.cause == str(pieces[severities.index(max(severities))][0])
