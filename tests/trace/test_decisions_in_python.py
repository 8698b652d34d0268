"""Numbers that leave the arrays for Python, which decides by them: exact arithmetic may decide otherwise."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
import pytest

from stablemax.check.any_function.judged_input import HeldTo, judged_input
from stablemax.numerics.formats import FLOAT32
from stablemax.results import Outcome, Trace
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.numpy.numpy_run import NumpyCode
from stablemax.trace.own_truth import trace_any
from stablemax.trace.run import Subject

ONE_TO_THREE = np.array([1.0, 2.0, 3.0], dtype=np.float32)


def absorbed(x: Any) -> Any:
    return x + 1e8 - 1e8  # 0 in float32, and x exactly


def by_float(x: Any) -> Any:
    return x if float(absorbed(x).sum()) > 1 else 5 + x


def by_item(x: Any) -> Any:
    return x if absorbed(x).sum().item() > 1 else 5 + x


def by_int(x: Any) -> Any:
    return x if int(absorbed(x).sum()) > 1 else 5 + x


def by_rounding(x: Any) -> Any:
    return x if round(float(absorbed(x).sum())) == 6 else 5 + x


def by_isclose(x: Any) -> Any:
    return x if math.isclose(absorbed(x).sum(), 6, rel_tol=0.1) else 5 + x


def by_max(x: Any) -> Any:
    return x * max(float(absorbed(x)[0]), 0.5)


def by_isinf(x: Any) -> Any:
    return x if math.isfinite(float(np.exp(100 * x)[0])) else 5 + x


def by_argmax(x: Any) -> Any:
    return x + x[np.argmax(absorbed(x))]


def by_argsort(x: Any) -> Any:
    return x[np.argsort(-absorbed(x))]


def by_searchsorted(x: Any) -> Any:
    return x + np.searchsorted(np.array([0.5, 1.5]), absorbed(x)[1:])[0]


def judged(code: Subject) -> Trace:
    """Trace code; check has to agree."""
    trace = trace_any(code)
    of_check = judged_input(code, HeldTo())
    assert of_check.outcome is trace.outcome
    return trace


def code_of(function: Callable[..., Any]) -> NumpyCode:
    return NumpyCode(GivenArguments(("x",), (ONE_TO_THREE,)), FLOAT32, function)


@pytest.mark.parametrize(
    "function",
    [
        by_float, by_item, by_int, by_rounding, by_isclose, by_max, by_isinf, by_argmax, by_argsort, by_searchsorted,
    ],
)  # fmt: skip
def test_a_number_by_which_python_decides_otherwise_than_exactly_is_to_blame(function: Callable[..., Any]) -> None:
    trace = judged(code_of(function))
    assert trace.outcome is Outcome.INACCURATE, trace.finding
    assert trace.blame is not None
    assert trace.blame.line == inspect.getsourcelines(function)[1] + 1
    assert "leads the code another way in float32 than in exact arithmetic" in trace.blame.sentence


def scaled_by_size(x: Any) -> Any:
    return x / 2 if float(np.exp(x).sum()) > 10 else x


def largest_first(x: Any) -> Any:
    return x[np.argsort(-np.exp(x))]


def whole_part(x: Any) -> Any:
    return x - int(np.exp(x)[0])


def beyond_float64(x: Any) -> Any:
    return x + int(np.exp(x * 100)[0] < 1)


def places_written(x: Any) -> Any:
    places = np.zeros(3, dtype=np.intp)
    np.argmax(np.exp(x) * np.eye(3), axis=0, out=places)
    return x[places]


def last_loss(x: Any) -> Any:
    return float(np.log(np.exp(x).sum()))


@pytest.mark.parametrize(
    "function",
    [scaled_by_size, largest_first, whole_part, last_loss, beyond_float64, places_written],
)
def test_a_number_by_which_exact_arithmetic_decides_alike_leaves_the_verdict(function: Callable[..., Any]) -> None:
    trace = judged(code_of(function))
    assert (trace.outcome, trace.blame) == (Outcome.OK, None), trace.finding


def test_a_cure_is_told_where_the_code_decides_alike() -> None:
    def logistic(x: Any) -> Any:
        return np.log(1 + np.exp(-30 * x)) if float(x.sum() / 3) > 0 else x

    trace = judged(code_of(logistic))
    assert trace.pattern == "log-of-one-plus-exp"


@pytest.mark.parametrize("function", [by_float, by_item, by_int, by_argmax, scaled_by_size])
def test_of_pytorch_code_too(function: FunctionType) -> None:
    torch = pytest.importorskip("torch")
    from stablemax.trace.torch.torch_trace import TorchCode

    def on_tensors(x: Any) -> Any:
        return FunctionType(function.__code__, {"np": torch, "absorbed": absorbed})(x)

    given = GivenArguments(("x",), (ONE_TO_THREE,))
    trace = trace_any(TorchCode(given, FLOAT32, on_tensors, on_tensors))
    if function is scaled_by_size:
        assert (trace.outcome, trace.blame) == (Outcome.OK, None), trace.finding
    else:
        assert trace.outcome is Outcome.INACCURATE, trace.finding
        assert trace.blame is not None
        assert "leads the code another way" in trace.blame.sentence
