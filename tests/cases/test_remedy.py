"""What is wrong, at which line, and what to write instead: the cases of public reports, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ..cli.running import Done, run

CASES = Path(__file__).parent


@pytest.fixture(autouse=True)
def among_the_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)


def answered(*words: str) -> tuple[Done, dict[str, Any]]:
    done = run(*words, "--output-format", "json")
    return done, json.loads(done.out)


@pytest.mark.slow
def test_a_guard_against_a_sum_of_0_is_unstable_and_its_comparison_is_to_blame() -> None:
    done, trace = answered("trace", "c28_guards.py:if_guard_softmax", "c28_x.csv")
    assert done.code == 1
    assert trace["formula_is_wrong"] is False
    assert trace["blame"]["line"] == 11
    assert (
        "s == 0 is true in float64 and false in exact arithmetic (0, exactly 6.94e-435)" in trace["blame"]["sentence"]
    )
    assert "the 0 comes from exp on line 9, which underflows" in trace["blame"]["sentence"]
    assert "np.exp(x - x.max(axis=-1, keepdims=True))" in trace["instead"]


@pytest.mark.slow
def test_a_sum_that_is_not_rescaled_is_wrong_on_its_line() -> None:
    done, report = answered("check", "c25_attention.py:online_bug_logsumexp", "--only", "gentle", "--no-search")
    assert (done.code, report["grade"]) == (1, "wrong")
    assert (report["mistake"], report["blame_line"]) == ("missing rescale", 13)
    assert "def online_bug_logsumexp(x):" in report["instead"]


@pytest.mark.slow
def test_ignored_rows_in_the_divisor_are_wrong_on_their_line() -> None:
    target, *rest = "c41_ignored_rows.py:mean_over_all_cross_entropy", "--with", "ignore-index", "--no-search"
    done, report = answered("check", target, *rest, "--only", "*ignored*")
    assert (done.code, report["grade"], report["blame_line"]) == (1, "wrong", 12)
    assert report["mistake"] == "ignored rows"
    done, trace = answered("trace", target, "c10_x.csv", "c10_y.csv")
    assert (done.code, trace["mistake"], trace["blame"]["line"]) == (1, "ignored rows", 12)


@pytest.mark.slow
def test_the_softmax_exercise_of_a_notebook_is_wrong_in_both_ways() -> None:
    done, report = answered("check", "reads_global.py:bad_softmax", "--only", "gentle", "--no-search")
    assert (done.code, report["grade"]) == (1, "wrong")
    assert "it reads the global `logits`, not its argument alone" in report["mistake_words"]
    assert "its sum runs over axis 0, the rows" in report["mistake_words"]


@pytest.mark.slow
def test_a_hazard_of_many_rows_is_traced_on_some_and_says_so() -> None:
    done, trace = answered("trace", "failing.py:mean16_cross_entropy", "--hazard", "many-uniform-rows")
    assert done.code == 0
    assert any(
        note.startswith("traced on 512 of 20,500 rows: a mean of all of them is not seen") for note in trace["notes"]
    )
