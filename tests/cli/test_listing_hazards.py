"""``list hazards``: the whole catalogue, readable at every width."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stablemax.hazards.catalogue import HAZARDS
from stablemax.numerics.formats import FLOAT32
from stablemax.operations import all_operations

from .running import assert_refused, run

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_every_hazard_is_listed_whole_at_every_width(columns: int, encoding: str) -> None:
    done = run("list", "hazards", COLUMNS=str(columns), encoding=encoding)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in done.out
    # Words are where they belong, however the lines break.
    words = " ".join(done.out.split())
    for hazard in HAZARDS.values():
        assert hazard.name in words
        if columns == 80:
            assert f"{hazard.name} reason: {hazard.reason} " in words
            assert not hazard.source or f"seen in: {hazard.source} " in words


def test_at_80_columns_a_hazard_is_a_block_and_at_200_a_row() -> None:
    block = run("list", "hazards", COLUMNS="80").out
    assert "collapse\n  reason: the label absorbs the sum\n  seen in: arXiv 2501.04697\n  operations: all\n" in block
    (row,) = (line for line in run("list", "hazards", COLUMNS="200").out.splitlines() if line.startswith("collapse "))
    assert row.split("  ")[0] == "collapse"
    assert row.split()[1:] == ["the", "label", "absorbs", "the", "sum", "arXiv", "2501.04697", "all"]


@pytest.mark.parametrize("operation", all_operations(), ids=str)
def test_the_hazards_of_one_operation_are_listed_by_themselves(operation: Operation) -> None:
    done = run("list", "hazards", operation.name, "--output-format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [r["hazard"] for r in rows] == [h.name for h in HAZARDS.values() if operation in h.operations]
    for row in rows:
        operations = HAZARDS[row["hazard"]].operations
        assert row["operations"] == ("all" if operations == all_operations() else ", ".join(map(str, operations)))


def test_json_holds_the_input_as_float32_has_it_unless_it_is_large() -> None:
    listed = {h["name"]: h for h in run("list", "hazards", "--output-format", "json").json["hazards"]}
    assert list(listed) == list(HAZARDS)
    for name, hazard in HAZARDS.items():
        case, told = hazard.case(FLOAT32), listed[name]["float32"]
        assert told["shape"] == list(case.logits.shape)
        assert listed[name]["sources"] == [s for s in hazard.source.split(", ") if s]
        if told["logits"] is None:
            assert case.logits.size > 64
            continue
        held = np.array([[float(v) for v in row] for row in told["logits"]]).reshape(case.logits.shape)
        np.testing.assert_array_equal(held, case.logits.astype(np.float32).astype(np.float64))
        np.testing.assert_array_equal(np.array(told["labels"]).reshape(case.labels.shape), case.labels)
    assert listed["one-finite-of-100000"]["float32"]["logits"] is None
    assert listed["weights-far-apart"]["float32"]["weight"] == [0.125, 64.0, 1.0]
    assert listed["collapse"]["promised"] is True


def test_formats_and_presets_are_not_listed_by_operation() -> None:
    assert_refused(run("list", "presets", "softmax"), "presets are not listed by operation")
