"""Swept quantities: one record each, known everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from stablemax.numerics.formats import FLOAT16, FLOAT32
from stablemax.operations import get_operation
from stablemax.sweeping import NAMES, PRESETS, quantities
from stablemax.sweeping.quantities import QUANTITIES
from stablemax.sweeping.sweep_options import SweepOptions
from stablemax.sweeping.sweep_presets import SWEEP_PRESETS
from stablemax.sweeping.sweep_run import sweep_variants
from stablemax.sweeping.swept_quantity import SweptQuantity
from stablemax.text.registry import Registry


def test_the_names_that_help_lists_are_those_of_the_records() -> None:
    assert tuple(record.name for record in QUANTITIES.own) == NAMES
    assert tuple(SWEEP_PRESETS) == PRESETS


@pytest.mark.parametrize("name", NAMES)
def test_a_number_makes_rows_with_labels_that_the_format_can_hold(name: str) -> None:
    record = QUANTITIES[name]
    case = record.case([3])
    assert case.logits.shape[0] == len(case.labels) >= 1
    assert 0 <= case.labels[0] < case.logits.shape[1]
    low, high = record.searched(FLOAT16)
    assert not FLOAT16.lacks(record.case([low]).logits).any()
    assert not FLOAT16.lacks(record.case([high]).logits).any()


@pytest.mark.parametrize("name", [name for name in NAMES if QUANTITIES[name].is_stacked])
def test_rows_of_several_numbers_are_the_rows_of_each(name: str) -> None:
    record, values = QUANTITIES[name], [1.0, 2.5, 7.0]
    together = record.case(values).logits
    assert np.array_equal(together, np.vstack([record.case([value]).logits for value in values]))


def test_a_new_quantity_is_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    tail = SweptQuantity(
        "depth",
        "two classes (0, -d), label 0; the number is d",
        "depth",
        logits=lambda d: [[0.0, -d]],
        label=0,
        shown=lambda _: (1.0, 1e3),
        searched=lambda _: (1.0, 1e3),
        limits=(0.0, 1e3),
    )
    monkeypatch.setattr(quantities, "QUANTITIES", Registry(SweptQuantity, (tail,)))
    result = sweep_variants(
        SweepOptions("depth", steps=3, formats=(FLOAT32,), operations=(get_operation("log_softmax"),))
    )
    assert result.meaning == tail.meaning
    assert [line.variant for line in result.lines] == [
        "log_softmax/naive",
        "log_softmax/shifted",
        "log_softmax/compensated",
    ]
    # exp(-d) is 0 from there on, and its logarithm -inf.
    assert result.lines[0].breaks == ()
    assert all(point.holds for point in result.lines[2].points)
