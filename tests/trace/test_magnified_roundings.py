"""Operations that are as right as their format allows hand the blame on to the one that magnifies their roundings."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stablemax.numerics.formats import FLOAT16, FLOAT32
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.numpy.numpy_run import NumpyCode
from stablemax.trace.own_truth import trace_any


def distance(x: Any, y: Any) -> Any:
    squares = np.sum(x * x) + np.sum(y * y)
    return np.sqrt(squares - 2 * np.sum(x * y))


def distances(x: Any, y: Any) -> Any:
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :]
    return np.sqrt(squares - 2 * x @ y.T)


def cosine_distance(x: Any, y: Any) -> Any:
    cosine = (x @ y) / np.sqrt((x @ x) * (y @ y))
    return 1 - cosine


@pytest.mark.parametrize(
    ("function", "shape", "operation"),
    [
        (distance, (8,), "subtract cancels"),
        (distances, (2, 8), "subtract cancels"),
        (cosine_distance, (8,), "subtract cancels"),
    ],
)
def test_the_operation_that_magnifies_is_blamed_whichever_of_its_inputs_was_rounded_worst(
    function: Callable[..., Any], shape: tuple[int, ...], operation: str
) -> None:
    blamed = []
    for seed, scale in itertools.product(range(8), (1e-3, 1e-2)):
        random = np.random.default_rng(seed)
        x = random.normal(0, 1, shape)
        y = x + random.normal(0, scale, shape)
        arrays = (x.astype(np.float32), y.astype(np.float32))
        trace = trace_any(NumpyCode(GivenArguments(("x", "y"), arrays), FLOAT32, function))
        blamed += [trace.blame.sentence.partition(": ")[2]] if trace.blame is not None else []
    assert len(blamed) >= 3, "not all of the results are good"
    assert all(sentence.startswith(operation) for sentence in blamed), blamed


def test_an_operation_whose_condition_number_is_infinite_magnifies_too() -> None:
    """Parallel vectors: arccos has no derivative at 1, and one ulp below 1 it is 3e-4."""

    def angle(x: Any, y: Any) -> Any:
        sizes = np.sqrt(x @ x) * np.sqrt(y @ y)
        return np.arccos((x @ y) / sizes)

    x = np.random.default_rng(4).normal(0, 1, 3).astype(np.float32)
    y = (3 * x).astype(np.float32)
    trace = trace_any(NumpyCode(GivenArguments(("x", "y"), (x, y)), FLOAT32, angle))
    assert trace.blame is not None
    assert "arccos magnifies" in trace.blame.sentence


def test_an_operation_that_is_far_off_by_itself_keeps_the_blame() -> None:
    def excess(x: Any) -> Any:
        total = x.sum(axis=0)
        return total - 2000

    x = np.ones((3000, 2), dtype=np.float16)  # from 2048 on, adding 1 changes nothing
    trace = trace_any(NumpyCode(GivenArguments(("x",), (x,)), FLOAT16, excess))
    assert trace.blame is not None
    assert "sum" in trace.blame.sentence
