"""Anybody's code along a swept quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import stablemax
from stablemax.numerics.formats import FLOAT32
from stablemax.results import Grade, Outcome
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array


def softmax(x: Any) -> Any:
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


def softmax_that_raises(x: Any) -> Any:
    if x.max() > 50:
        raise ValueError("too large")
    return softmax(x)


def cross_entropy(logits: Any, labels: Array) -> Any:
    total = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return total.sum(dtype=logits.dtype) / logits.dtype.type(len(labels))


def test_code_breaks_where_the_formula_that_it_is_breaks() -> None:
    result = stablemax.sweep("scale", softmax, formats=["float32"], steps=2, stop=1000.0)
    (line,) = result.lines
    (change,) = line.breaks
    # NumPy's own exp of float32 may be off by an ulp or two, the format's edge is where it should be for all that.
    assert change.below.value == pytest.approx(FLOAT32.exp_overflow.last_good, rel=1e-6)
    assert change.above.outcome is Outcome.NAN
    assert change.above.value == np.nextafter(np.float32(change.below.value), np.float32(np.inf))


def test_code_that_raises_gives_no_answer_and_breaks_there() -> None:
    (line,) = stablemax.sweep("scale", softmax_that_raises, formats=["float32"], steps=2, stop=80.0).lines
    (change,) = line.breaks
    assert (change.below.value, change.above.grade, change.above.outcome) == (50.0, Grade.BROKEN, None)


def test_code_takes_its_mean_itself() -> None:
    result = stablemax.sweep("rows", cross_entropy, formats=["float16"], start=9_000, stop=10_000, steps=2)
    (change,) = result.lines[0].breaks
    assert 9_000 < change.below.value < 10_000
    assert change.above.outcome is Outcome.OVERFLOW


def test_variants_that_are_asked_for_stand_beside_the_code() -> None:
    result = stablemax.sweep("gap", softmax, variants=["shifted"], formats=["float32"], steps=2, start=0.0, stop=100.0)
    assert [line.variant for line in result.lines] == ["softmax", "softmax/shifted"]
    assert [len(line.breaks) for line in result.lines] == [1, 0]


def test_the_id_of_a_variant_is_swept_alone() -> None:
    result = stablemax.sweep("scale", "softmax/naive", formats=["float16"], steps=2)
    assert [line.label for line in result.lines] == ["softmax/naive"]


def test_code_of_another_operation_than_the_quantity_concerns_is_refused() -> None:
    with pytest.raises(StablemaxError, match="computes softmax, which is not swept over rows"):
        stablemax.sweep("rows", softmax, formats=["float32"])
