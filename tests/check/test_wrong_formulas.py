"""A wrong formula told from an unstable one: by exact numbers, or by an easy input where they cannot be followed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.check import steps
from stablemax.check.laws import easy_case
from stablemax.check.steps import _is_wrong_exactly, exact_output, fails_exactly
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import Target
from stablemax.check.trials import Trial, Trials
from stablemax.hazards.cases import rows
from stablemax.numerics.formats import FLOAT32, FLOAT64
from stablemax.operations import get_operation
from stablemax.operations.shared import BOOKKEEPING
from stablemax.results import Contract, LawVerdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.numerics.formats import Array


def naive(x: Array) -> Array:
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


def clipped(x: Array) -> Array:
    return naive(np.maximum(x, -20.0))


def doubled(x: Array) -> Array:
    return naive(x * 2)


def unseen(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The same by Python's own floats, which nothing follows."""

    def by_numbers(x: Array) -> Array:
        given = np.array([[math.fsum([value]) for value in row] for row in x.tolist()], dtype=np.float64)
        return np.array(function(given).tolist(), dtype=x.dtype)

    return by_numbers


def trials_of(function: Callable[[Array], Any]) -> Trials:
    return Trials(load_local(Target("f", get_operation("softmax")), function), Contract(None, (), (), ()))


def is_wrong(function: Callable[[Array], Any], *logits: list[float], laws: tuple[LawVerdict, ...] = ()) -> bool:
    trials = trials_of(function)
    failures = [trials.trial(rows([row], [0]), FLOAT32) for row in logits]
    assert all(trial.failed for trial in failures)
    return _is_wrong_exactly(trials, failures, laws)


def test_the_code_that_is_meant_not_to_be_followed_is_not() -> None:
    for function, is_followed in ((naive, True), (unseen(naive), False)):
        trials = trials_of(function)
        assert (exact_output(trials, trials.trial(easy_case(), FLOAT64)) is not None) is is_followed


@pytest.mark.parametrize("function", [naive, unseen(naive)])
def test_a_right_formula_that_fails_in_floats_is_not_wrong(function: Any) -> None:
    assert not is_wrong(function)
    assert not is_wrong(function, [1000.0, 0.0], [2000.0, -3.0])


@pytest.mark.parametrize("function", [doubled, unseen(doubled)])
def test_a_formula_that_is_wrong_on_an_easy_input_is_wrong_without_any_failure(function: Any) -> None:
    assert is_wrong(function)


def test_a_formula_that_is_wrong_on_a_single_failure_is_wrong() -> None:
    # On the easy input, down to -3, nothing is clipped.
    assert not is_wrong(clipped, [1000.0, 0.0])
    assert is_wrong(clipped, [1000.0, 0.0], [-25.0, -25.5])
    assert is_wrong(clipped, [-25.0, -25.5], [1000.0, 0.0])


def test_a_failure_without_an_answer_tells_nothing_of_a_formula() -> None:
    def gives_up(x: Array) -> Array:
        if x[0, 0] > 20:
            raise ValueError
        return naive(x)

    assert not is_wrong(gives_up, [30.0, 0.0])


def test_code_that_never_answers_is_not_called_wrong() -> None:
    def raises(x: Array) -> Array:
        raise ValueError

    assert not is_wrong(raises)
    assert not is_wrong(raises, [1.0, 2.0])


def exactly(function: Callable[[Array], Any], row: list[float]) -> tuple[Trials, Trial]:
    trials = trials_of(function)
    return trials, trials.trial(rows([row], [0]), FLOAT64)


def test_only_small_inputs_of_logits_of_a_usual_size_are_run_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_MAX_EXACT_CELLS", 3)
    monkeypatch.setattr(steps, "_LARGEST_EXACT", 50.0)
    for row, is_run in (
        ([1.0, 2.0], True),
        ([1.0, 2.0, 3.0], True),
        ([1.0, 2.0, 3.0, 4.0], False),
        ([50.0, 1.0], True),
        ([51.0, 1.0], False),
        ([1.0, -51.0], False),
        ([-np.inf, 1.0], True),
        ([-np.inf, 51.0], False),
        ([-np.inf, -np.inf], True),
    ):
        assert (exact_output(*exactly(naive, row)) is not None) is is_run, row


def test_a_single_cell_that_is_off_in_exact_arithmetic_fails_and_a_nan_alone_does_not() -> None:
    def one_cell_off(x: Array) -> Array:
        return naive(x) * np.array([1.0, 1.0, 2.0])

    assert fails_exactly(*exactly(one_cell_off, [1.0, 2.0, 3.0])) is True
    assert fails_exactly(*exactly(naive, [1.0, 2.0, 3.0])) is False
    assert fails_exactly(*exactly(unseen(one_cell_off), [1.0, 2.0, 3.0])) is False
    assert fails_exactly(*exactly(lambda x: naive(x)[:, :2], [1.0, 2.0, 3.0])) is True
    assert fails_exactly(*exactly(lambda x: naive(x) + 0 * (x - x), [-np.inf, 2.0, 3.0])) is False


@pytest.mark.parametrize("cut", [lambda x: naive(x)[:, :-1], lambda x: naive(x).ravel()[:3]])
def test_an_output_of_another_shape_is_wrong(cut: Any) -> None:
    assert is_wrong(cut)
    assert is_wrong(unseen(cut))


def law(name: str, number_format: str, detail: str) -> LawVerdict:
    # One that is allowed has not failed, and tells the same of the formula.
    return LawVerdict(name, number_format, failed=False, detail=detail)


@pytest.mark.parametrize(
    ("broken", "tells"),
    [
        (law("permutation", "float64", "seen"), True),
        (law("permutation", "float64", ""), False),
        (law("permutation", "float32", "seen"), False),
        *((law(name, "float64", "seen"), False) for name in BOOKKEEPING),
    ],
)
def test_a_law_of_numbers_that_breaks_in_float64_tells_of_code_that_cannot_be_followed(
    broken: LawVerdict, tells: bool
) -> None:
    held = law("rows-independent", "float64", "")
    assert is_wrong(unseen(naive), laws=(held, broken)) is tells
    # Of code that runs on exact numbers these tell more.
    assert not is_wrong(naive, laws=(held, broken))
