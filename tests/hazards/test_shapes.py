"""Shapes: each tile, block of rows and memory layout has inputs just before, at and after its end."""

from __future__ import annotations

import numpy as np
import pytest

from stablemax.hazards.cases import Layout
from stablemax.hazards.shapes import ROW_COUNTS, SHAPES, TILES, Shape
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, Format


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
    assert ((case.labels >= 0) & (case.labels < shape.classes)).all()
    assert case.labels[0] == shape.classes - 1


def test_blocks_of_rows_have_labels_and_logits_of_their_own() -> None:
    case = max(SHAPES, key=lambda shape: shape.rows).case(FLOAT32)
    for block in (32, 64, 128):
        assert (case.labels[:block] != case.labels[block : 2 * block]).any()
        assert (case.logits[:block] != case.logits[block : 2 * block]).any()


def test_a_rising_row_overflows_against_the_maximum_of_its_beginning() -> None:
    shape = next(s for s in SHAPES if s.order.startswith("every half"))
    x = shape.case(FLOAT32).logits
    with np.errstate(over="ignore"):
        assert np.isinf(np.exp(np.float32(x[0, -1] - x[0, 0])))
