"""Numbers that leave NumPy's protocols and come back: code that they go through is never called exact."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stablemax.check.any_function.judged_input import HeldTo, judged_input
from stablemax.numerics.formats import FLOAT32, FLOAT64
from stablemax.results import Outcome
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.numpy.numpy_run import NumpyCode
from stablemax.trace.own_truth import trace_any

NODES, WEIGHTS = np.polynomial.legendre.leggauss(3)
LARGE = np.linspace(0.5, 1.0, 5000)


def code_of(function: Callable[..., Any], x: list[float]) -> NumpyCode:
    return NumpyCode(GivenArguments(("x",), (np.array(x),)), FLOAT64, function)


def by_nditer(x: Any) -> Any:
    out = np.empty_like(x)
    for i, v in enumerate(np.nditer(x)):
        out[i] = np.exp(v)
    return out


def by_ndenumerate(x: Any) -> Any:
    out = np.empty_like(x)
    for i, v in np.ndenumerate(x):
        out[i] = np.exp(v)
    return out


def by_fromiter(x: Any) -> Any:
    return np.fromiter((math.exp(v) for v in x), dtype=np.float64)


def by_memory(x: Any) -> Any:
    return np.array(memoryview(np.exp(x)))


def by_matrix(x: Any) -> Any:
    return np.asarray(np.exp(np.matrix(x)))[0]


def by_masked_array(x: Any) -> Any:
    return np.asarray(np.exp(np.ma.masked_array(x)))


def by_vectorize(x: Any) -> Any:
    return np.vectorize(math.exp)(x)


def by_frompyfunc(x: Any) -> Any:
    return np.frompyfunc(math.exp, 1, 1)(x).astype(float)


def by_bytes(x: Any) -> Any:
    y = np.exp(x)
    return np.array(struct.unpack(f"{len(y)}d", y.tobytes()))


@pytest.mark.parametrize(
    "exponential",
    [
        by_nditer, by_ndenumerate, by_fromiter, by_memory, by_matrix, by_masked_array, by_vectorize, by_frompyfunc,
        by_bytes,
    ],
)  # fmt: skip
def test_broken_code_does_not_hold_because_its_numbers_left_the_trace(exponential: Callable[[Any], Any]) -> None:
    def grown(x: Any) -> Any:
        return (exponential(x) - 1) / x  # of 1e-9, half of the digits are lost

    code = code_of(grown, [1e-9, 2e-9])
    trace = trace_any(code)
    assert trace.outcome is not Outcome.OK, trace.finding
    assert "holds" not in trace.finding
    assert trace.not_followed
    judged = judged_input(code, HeldTo())
    assert judged.is_broken or not judged.is_proved


def upper_tail(x: Any) -> Any:
    return 1 - np.array(memoryview(np.tanh(x)))


def growth(x: Any) -> Any:
    return np.array(memoryview(np.exp(x))) - 1


@pytest.mark.parametrize(("function", "x"), [(upper_tail, [20.0, 25.0]), (growth, [1e-18, 2e-18])])
def test_a_leak_is_seen_where_the_function_is_saturated(function: Callable[..., Any], x: list[float]) -> None:
    trace = trace_any(code_of(function, x))
    assert trace.outcome is not Outcome.OK, trace.finding
    assert "memoryview" in trace.not_followed[0]


def test_an_array_that_is_made_of_traced_numbers_is_not_taken_for_exact() -> None:
    def steps(x: Any) -> Any:
        return np.linspace(1.0, np.exp(x[0]), 3) - 1

    trace = trace_any(code_of(steps, [1e-9]))
    assert "holds" not in trace.finding
    assert "np.linspace" in trace.not_followed[0]


def test_code_of_another_library_that_reads_the_memory_is_not_taken_for_exact() -> None:
    linalg = pytest.importorskip("scipy.linalg")

    def solved(x: Any) -> Any:
        matrix = np.array([[1.0, 1.0], [1.0, 1.0]]) + np.array([[0.0, 0.0], [0.0, 1.0]]) * x[0]
        return linalg.inv(matrix) @ np.array([1.0, 0.0])

    trace = trace_any(code_of(solved, [1e-9]))
    assert "holds" not in trace.finding
    assert "linalg.inv(matrix)" in trace.not_followed[0]


def quadrature(x: Any) -> Any:
    return (WEIGHTS * np.exp(NODES * x)).sum()


def with_spacing(x: Any) -> Any:
    return np.log(x + np.finfo(x.dtype).eps)


def with_many_kept(x: Any) -> Any:
    return (LARGE * x).sum()


def with_draws(x: Any) -> Any:
    return x * np.random.default_rng(3).normal(size=x.shape)


def with_other_draws(x: Any) -> Any:
    return x * np.random.default_rng().uniform(1, 2, size=x.shape)


def with_counted_terms(x: Any) -> Any:
    total, k = 0 * x, 0
    while k < 1 + 8 * x[0]:
        k += 1
        total = total + x * (1.0 / k)
    return total


@pytest.mark.parametrize(
    "function", [quadrature, with_spacing, with_many_kept, with_draws, with_other_draws, with_counted_terms]
)
def test_what_does_not_depend_on_the_input_is_a_constant(function: Callable[..., Any]) -> None:
    trace = trace_any(code_of(function, [0.7]))
    assert (trace.outcome, trace.not_followed) == (Outcome.OK, ()), trace.finding


# --- PyTorch ------------------------------------------------------------------------------------------


def by_dlpack(y: Any, torch: Any) -> Any:
    return torch.from_dlpack(np.from_dlpack(y))


def by_storage(y: Any, torch: Any) -> Any:
    return torch.frombuffer(bytearray(bytes(y.untyped_storage())), dtype=y.dtype)


def by_numpy(y: Any, torch: Any) -> Any:
    return torch.from_numpy(y.numpy())


def by_list(y: Any, torch: Any) -> Any:
    return torch.tensor(y.tolist())


@pytest.mark.parametrize("way", [by_dlpack, by_storage, by_numpy, by_list])
def test_of_pytorch_code_too(way: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch")
    from stablemax.trace.torch.torch_trace import TorchCode

    def grown(x: Any) -> Any:
        return way(torch.exp(x), torch) - 1

    x = np.array([1e-9, 2e-9], dtype=np.float32)
    trace = trace_any(TorchCode(GivenArguments(("x",), (x,)), FLOAT32, grown, grown))
    assert "holds" not in trace.finding
    assert trace.not_followed


def test_constant_tensors_of_pytorch_code_are_exact() -> None:
    torch = pytest.importorskip("torch")
    from stablemax.trace.torch.torch_trace import TorchCode

    layer, kept = torch.nn.Linear(2, 3), torch.linspace(0, 1, 2)

    def scores(x: Any) -> Any:
        nodes = torch.from_numpy(NODES[:2].astype(np.float32))
        return layer(x * kept + nodes * torch.tensor([0.5, 2.0])).detach()

    x = np.array([0.3, 0.7], dtype=np.float32)
    trace = trace_any(TorchCode(GivenArguments(("x",), (x,)), FLOAT32, scores, scores))
    assert (trace.outcome, trace.not_followed) == (Outcome.OK, ()), trace.finding
