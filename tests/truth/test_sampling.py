"""Which rows are judged: evenly chosen, and the extreme ones always."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stablemax.truth import sampling
from stablemax.truth.sampling import input_summary, judged_rows

CELLS = st.one_of(st.floats(-1e300, 1e300), st.sampled_from([np.inf, -np.inf, np.nan]))
LOGITS = hnp.arrays(np.float64, st.tuples(st.integers(1, 60), st.integers(1, 4)), elements=CELLS)


def extremes(x: np.ndarray) -> set[int]:
    """The first rows with the largest and the smallest finite logit, and with each special value."""
    finite = np.isfinite(x)
    wanted = {0, len(x) - 1}
    if finite.any():
        wanted.add(int(np.argmax(np.max(x, axis=1, where=finite, initial=-np.inf))))
        wanted.add(int(np.argmin(np.min(x, axis=1, where=finite, initial=np.inf))))
    for special in (np.isnan(x), np.isposinf(x), np.isneginf(x)):
        if special.any():
            wanted.add(int(np.argmax(special.any(axis=1))))
    return wanted


@given(LOGITS, st.integers(1, 20))
def test_the_first_the_last_and_the_extreme_rows_are_always_judged(x: np.ndarray, limit: int) -> None:
    assert extremes(x) <= set(judged_rows(x, limit).tolist())


@given(LOGITS, st.integers(1, 70))
def test_rows_come_in_ascending_order_once_each_and_not_many_more_than_asked_for(x: np.ndarray, limit: int) -> None:
    rows = judged_rows(x, limit)
    assert (np.diff(rows) > 0).all()
    assert 0 <= rows[0] <= rows[-1] < len(x)
    # First, last, largest, smallest, widest, NaN, +inf, -inf.
    assert len(rows) <= max(limit, 8) + 1
    if limit >= len(x):
        assert len(rows) == len(x)


@given(LOGITS, st.integers(1, 9))
def test_the_size_of_the_pieces_that_are_read_does_not_change_the_choice(x: np.ndarray, limit: int) -> None:
    whole = judged_rows(x, limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_CELLS_PER_READ", 3)
        assert judged_rows(x, limit).tolist() == whole.tolist()


def test_rows_in_between_are_evenly_spaced() -> None:
    rows = judged_rows(np.zeros((1001, 2)), 101)
    assert set(np.diff(rows).tolist()) == {10}


def test_without_a_limit_every_row_is_judged() -> None:
    above = np.broadcast_to(0.0, (1 << 20, 2))
    assert len(judged_rows(above, None)) == len(above)
    assert len(judged_rows(above, len(above))) == len(above)


@given(LOGITS)
def test_a_summary_has_the_range_of_the_finite_logits_of_the_rows_that_are_judged(x: np.ndarray) -> None:
    rows = judged_rows(x, 5)
    finite = x[rows][np.isfinite(x[rows])]
    for cells in (3, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sampling, "_CELLS_PER_READ", cells)
            found = input_summary(x, rows, "x.npy")
        assert (found.rows, found.classes, found.judged_rows) == (*x.shape, len(rows))
        ends = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
        np.testing.assert_equal((found.smallest, found.largest), ends)
