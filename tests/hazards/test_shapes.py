"""Shapes: each tile, block of rows and memory layout has inputs just before, at and after its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from stablemax.hazards.cases import Layout
from stablemax.hazards.shapes import ARRANGEMENTS, ROW_COUNTS, SHAPES, TILES, Shape
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, Format
from stablemax.text.vocabulary import IGNORED

if TYPE_CHECKING:
    from stablemax.hazards.shapes import Arrangement


@pytest.mark.parametrize("tile", TILES)
def test_rows_end_before_at_and_after_the_end_of_a_tile(tile: int) -> None:
    classes = {shape.classes for shape in SHAPES}
    assert {tile - 1, tile + 1, 2 * tile + 1} <= classes
    assert max(classes) == 2 * max(TILES) + 1 == 131_073


def test_every_number_of_rows_and_every_layout_is_tried() -> None:
    assert set(ROW_COUNTS) <= {shape.rows for shape in SHAPES}
    assert {shape.layout for shape in SHAPES} == set(Layout)


def test_the_smallest_shape_comes_first_and_no_two_share_a_name() -> None:
    sizes = [shape.rows * shape.classes for shape in SHAPES]
    assert sizes == sorted(sizes)
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)


@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT32], ids=lambda f: f.name)
@pytest.mark.parametrize("shape", [s for s in SHAPES if s.classes < 5000], ids=lambda s: s.name)
def test_a_shape_has_logits_that_the_format_holds_and_labels_among_the_classes(shape: Shape, fmt: Format) -> None:
    case = shape.case(fmt)
    assert case.logits.shape == (shape.rows, shape.classes)
    assert not fmt.lacks(case.logits).any()
    counted = case.labels[case.labels != IGNORED]
    assert ((counted >= 0) & (counted < shape.classes)).all()
    assert case.labels[0] == shape.classes - 1


def test_blocks_of_rows_have_labels_and_logits_of_their_own() -> None:
    case = max(SHAPES, key=lambda shape: shape.rows).case(FLOAT32)
    for block in (32, 64, 128):
        assert (case.labels[:block] != case.labels[block : 2 * block]).any()
        assert (case.logits[:block] != case.logits[block : 2 * block]).any()


@pytest.mark.parametrize("need", ["ignore-index", "weights"])
def test_ignored_rows_and_weights_are_in_every_block_of_rows(need: str) -> None:
    shapes = [shape for shape in SHAPES if shape.needs == (need,)]
    assert {shape.rows for shape in shapes} == {33, 65, 129, 257}
    for shape in shapes:
        case = shape.case(FLOAT32)
        blocks = [case.labels[start : start + 32] for start in range(0, shape.rows - 1, 32)]
        if need == "ignore-index":
            ignored = [int((block == IGNORED).sum()) for block in blocks]
            # Blocks differ in how many rows count, or a mean of their means would be right.
            assert all(0 < count < 32 for count in ignored)
            assert len(blocks) == 1 or len(set(ignored)) > 1
        else:
            assert case.weight is not None
            assert len(set(case.weight.tolist())) > 2


@pytest.mark.parametrize("arrangement", ARRANGEMENTS, ids=lambda a: f"{a.last.dimensions}-D")
def test_an_arrangement_lays_rows_out_and_takes_an_output_back(arrangement: Arrangement) -> None:
    for shape in filter(None, (arrangement.last, arrangement.second)):
        case = shape.case(FLOAT32)
        assert case.axes is not None
        laid_out = case.axes.laid_out(case.logits)
        assert laid_out.ndim == shape.dimensions
        assert laid_out.shape[case.axes.class_axis] == shape.classes
        assert len(set(laid_out.shape)) == laid_out.ndim, "code that takes one axis for another must raise, or differ"
        rows = case.axes.rows_of(laid_out, shape.classes)
        assert rows is not None
        assert rows.tolist() == case.logits.tolist()
        labels = case.axes.laid_out(case.labels)
        assert labels.shape == case.axes.others
        sums = case.axes.rows_of(laid_out.sum(axis=case.axes.class_axis, keepdims=True), shape.classes)
        assert sums is not None
        assert sums.reshape(-1).tolist() == case.logits.sum(axis=-1).tolist()
        assert case.axes.rows_of(np.zeros((2, 2)), shape.classes) is None


def test_a_rising_row_overflows_against_the_maximum_of_its_beginning() -> None:
    shape = next(s for s in SHAPES if s.order.startswith("every half"))
    x = shape.case(FLOAT32).logits
    with np.errstate(over="ignore"):
        assert np.isinf(np.exp(np.float32(x[0, -1] - x[0, 0])))
