"""Who makes the passes: chosen by what pays off, and never to be told from the results."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import stablemax
from stablemax.kernels import passes as ways
from stablemax.numerics.formats import FLOAT32
from stablemax.operations.targets import LabelTargets

from ..exactly import truth_of
from ..records import CROSS_ENTROPY_GRAD, LOG_SOFTMAX, LOGSUMEXP, SOFTMAX

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array

LOOPS = "stablemax.kernels.fused_loops"


def results(x: Array, labels: Array) -> list[Array]:
    """What all functions with kernels give."""
    return [
        *(stablemax.softmax(x), stablemax.log_softmax(x), stablemax.logsumexp(x)),
        stablemax.cross_entropy_grad(x, labels),
        np.array(stablemax.cross_entropy(x, labels, reduction="none")),
    ]


@pytest.mark.parametrize("loaded", [False, True])
def test_numba_is_used_where_it_pays_off(loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "has_numba", lambda: True)
    if loaded:
        monkeypatch.setitem(sys.modules, LOOPS, ways)
    else:
        monkeypatch.delitem(sys.modules, LOOPS, raising=False)
    assert not ways.is_worth_loops(1000)
    assert ways.is_worth_loops(1 << 20) == loaded
    assert ways.is_worth_loops(20_000_000)
    assert ways.is_worth_loops(20_000_000, once=True) == loaded
    assert ways.is_worth_loops(300_000_000, once=True)


def test_a_note_tells_what_numba_would_save_where_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "has_numba", lambda: False)
    assert not ways.is_worth_loops(300_000_000)
    assert ways.note_on_speed(1_000_000) == ()
    assert "pip install 'stablemax[fast]'" in ways.note_on_speed(300_000_000)[0]
    monkeypatch.setattr(ways, "has_numba", lambda: True)
    assert ways.note_on_speed(300_000_000) == ()


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="Numba is not installed")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(700, 60), (5, 9000)])
def test_the_functions_give_the_same_bits_with_numba_and_without(
    shape: tuple[int, int], dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=shape) * rng.choice([0.1, 4.0, 60.0], (shape[0], 1))).astype(dtype)
    labels = rng.integers(0, shape[1], shape[0])
    __import__(LOOPS)
    compiled = results(x, labels)
    monkeypatch.setattr(ways, "has_numba", lambda: False)
    for by_numba, by_numpy in zip(compiled, results(x, labels), strict=True):
        assert by_numba.tobytes() == by_numpy.tobytes()


@pytest.mark.parametrize("also_careful", [False, True])
def test_rows_in_doubt_are_computed_with_more_care_until_they_are_proved(
    also_careful: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything(x: Array) -> Array:
        return np.full(len(x), 2.0**40)

    monkeypatch.setattr(ways, "has_numba", lambda: False)
    monkeypatch.setattr(ways, "QUICK", replace(ways.QUICK, tolerance=everything))
    if also_careful:
        monkeypatch.setattr(ways, "PAIRS", replace(ways.PAIRS, tolerance=everything))
    rng = np.random.default_rng(1)
    x, labels = rng.normal(scale=4.0, size=(12, 20)).astype(np.float32), rng.integers(0, 20, 12)
    exact = x.astype(np.float64)
    for operation, found in zip(
        (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, CROSS_ENTROPY_GRAD), results(x, labels), strict=False
    ):
        second = LabelTargets(labels, None, 12.0) if operation is CROSS_ENTROPY_GRAD else None
        right = truth_of(operation, exact, FLOAT32, second).rounded
        np.testing.assert_array_equal(found.astype(np.float64).reshape(right.shape), right)
