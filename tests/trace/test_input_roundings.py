"""Errors that the input explains: `trace` and `check` agree on whose fault they are, the code's or the problem's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stablemax.check.any_function.judged_input import HeldTo, JudgedInput, judged_input
from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64, Array, Format
from stablemax.results import Outcome, Trace
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.input_roundings import errors_of_input
from stablemax.trace.numpy.numpy_run import NumpyCode
from stablemax.trace.own_truth import trace_any

FAR = 1e6 + np.array([0.3, -1.1, 0.7, 1.9, -0.4])
CLOSE_P = np.array([0.12, 0.31, 0.05, 0.52])
CLOSE_Q = CLOSE_P * (1 + 1e-8 * np.array([1.0, -2.0, 0.5, 0.9]))
CLOSE_Q /= CLOSE_Q.sum()


def standardised(x: Any) -> Any:
    return (x - x.mean()) / x.std()


def variance(x: Any) -> Any:
    return ((x - x.mean()) ** 2).mean()


def variance_by_moments(x: Any) -> Any:
    return (x * x).mean() - x.mean() ** 2


def divergence(p: Any, q: Any) -> Any:
    return (p * np.log(p / q)).sum()


def larger_root(b: Any, c: Any) -> Any:
    return -b + np.sqrt(b * b - c)


def distance(a: Any, b: Any) -> Any:
    return np.sqrt((a * a).sum() + (b * b).sum() - 2 * (a * b).sum())


def grown(x: Any) -> Any:
    return np.exp(x) - 1


def square_of_difference(a: Any, b: Any) -> Any:
    return a * a - 2 * a * b + b * b


def totals(x: Any) -> Any:
    return x.sum(axis=0)


def difference_of_squares(a: Any, b: Any) -> Any:
    return a**2 - b**2


def code_of(function: Callable[..., Any], fmt: Format, **arguments: Any) -> NumpyCode:
    arrays = tuple(np.asarray(a).astype(fmt.dtype) for a in arguments.values())
    return NumpyCode(GivenArguments(tuple(arguments), arrays), fmt, function)


def verdicts(function: Callable[..., Any], fmt: Format, **arguments: Any) -> tuple[Trace, JudgedInput]:
    """Return what trace says, and what check says of every number by itself."""
    code = code_of(function, fmt, **arguments)
    return trace_any(code), judged_input(code, HeldTo(by_value=True))


@pytest.mark.parametrize(
    ("function", "fmt", "arguments"),
    [
        (standardised, FLOAT32, {"x": FAR}),
        (variance, FLOAT32, {"x": FAR}),
        (divergence, FLOAT64, {"p": CLOSE_P, "q": CLOSE_Q}),
    ],
)
def test_an_error_that_one_rounding_of_the_input_explains_is_the_problems(
    function: Callable[..., Any], fmt: Format, arguments: dict[str, Array]
) -> None:
    trace, judged = verdicts(function, fmt, **arguments)
    assert (trace.outcome, trace.blame) == (Outcome.OK, None)
    assert "the problem is ill-conditioned there" in trace.finding
    assert not judged.is_broken
    assert judged.is_ill_conditioned


@pytest.mark.parametrize(
    ("function", "fmt", "arguments"),
    [
        (variance_by_moments, FLOAT32, {"x": FAR}),
        (larger_root, FLOAT32, {"b": [1e4], "c": [1.0]}),
        (distance, FLOAT32, {"a": [1.3, -0.4, 2.2], "b": [1.3002, -0.4001, 2.2003]}),
        (square_of_difference, FLOAT32, {"a": [1.00001], "b": [1.0]}),
        (grown, FLOAT16, {"x": np.linspace(0.001, 0.01, 64)}),
        (totals, FLOAT16, {"x": np.ones((3000, 2))}),
    ],
)
def test_an_error_that_is_larger_than_the_input_explains_is_the_codes(
    function: Callable[..., Any], fmt: Format, arguments: dict[str, Any]
) -> None:
    trace, judged = verdicts(function, fmt, **arguments)
    assert trace.outcome.is_failure, trace.finding
    assert trace.blame is not None
    assert judged.is_broken


def test_an_error_that_the_input_explains_is_the_codes_where_better_code_is_known() -> None:
    """Goldberg, section 1.4: of exact numbers (x - y)(x + y) is right, and x^2 - y^2 need not be."""
    arguments = {"a": [3.0000002], "b": [3.0]}
    code = code_of(difference_of_squares, FLOAT32, **arguments)
    size = float(errors_of_input(code, code.observed(), None, by_value=True)[0])
    assert size > 1e-6, "one rounding of the input changes the result by as much as it is"
    trace = trace_any(code, 1.0)
    assert trace.outcome.is_failure
    assert trace.instead
    assert judged_input(code, HeldTo(1.0)).is_ill_conditioned
    asked = judged_input(code, HeldTo(1.0, asks_trace=True))
    assert (asked.is_broken, asked.is_ill_conditioned) == (True, False)


def test_who_is_held_to_few_ulps_is_excused_by_as_few_roundings() -> None:
    def scaled(x: Any) -> Any:
        return np.float32(3.3) * (x * np.float32(3.7)) * x * x

    code = code_of(scaled, FLOAT32, x=[1.1])
    by_ulps = [float(errors_of_input(code, code.observed(), ulps, by_value=True)[0]) for ulps in (0.1, 1, 4, None)]
    assert np.array(by_ulps) / by_ulps[0] == pytest.approx([1, 1, 4, 8])


def test_of_many_numbers_each_excuses_only_what_it_goes_into() -> None:
    """The square of each number alone is as well-conditioned among a thousand as by itself."""
    alone, among = (
        errors_of_input(code, code.observed(), None, by_value=True)[0]
        for code in (code_of(np.square, FLOAT32, x=x) for x in ([1.5], np.full(1000, 1.5)))
    )
    assert alone <= among <= 5 * alone


def test_an_error_that_only_trace_counts_is_said_to_be_small_on_the_scale_of_the_result() -> None:
    def upper_tail(x: Any) -> Any:
        return 1 - np.tanh(x)

    small, alone = (code_of(upper_tail, FLOAT32, x=x) for x in ([8.0, 0.1], [8.0]))
    note = "--require accurate alone"
    assert any(note in n for n in trace_any(small).notes)
    assert not any(note in n for n in trace_any(alone).notes)
    assert (judged_input(small, HeldTo()).loses_small, judged_input(small, HeldTo()).is_broken) == (True, False)
    assert judged_input(small, HeldTo(by_value=True)).is_broken
    assert judged_input(alone, HeldTo()).is_broken


@pytest.mark.parametrize("is_beyond", [lambda s: s > 0.3, lambda s: s == 0.3])
def test_a_branch_that_rounding_decides_is_told_though_a_rounding_of_the_input_decides_it_too(
    is_beyond: Callable[[Any], Any],
) -> None:
    def sides(x: Any) -> Any:
        return x if is_beyond(x.sum()) else -x

    trace, judged = verdicts(sides, FLOAT32, x=[0.1, 0.2])
    assert judged.is_broken
    assert trace.blame is not None
    assert "in float32 and" in trace.blame.sentence
    assert "in exact arithmetic" in trace.blame.sentence
