"""The words of verdicts, and the means that they tell."""

from __future__ import annotations

from stablemax.results import Outcome
from stablemax.truth.verdicts import cause_of_mean, distinguishing_digits


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
