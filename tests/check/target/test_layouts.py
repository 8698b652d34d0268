"""Memory layouts: the same numbers, lying otherwise, by a function and by the line to paste."""

from __future__ import annotations

import numpy as np
import pytest

from stablemax.check.target.layouts import laid_out, layout_code
from stablemax.hazards.cases import Layout

LAYOUTS = [layout for layout in Layout if layout is not Layout.C]


def matrix() -> np.ndarray:
    return np.arange(12.0, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_array_keeps_its_numbers_and_lies_otherwise(layout: Layout) -> None:
    x = laid_out(matrix(), "numpy", layout)
    assert x.dtype == np.float32
    assert x.tolist() == matrix().tolist()
    lies_otherwise = {
        Layout.FORTRAN: x.flags.f_contiguous and not x.flags.c_contiguous,
        Layout.STRIDED: x.strides == (32, 8),
        Layout.REVERSED: x.strides == (16, -4),
        Layout.READ_ONLY: not x.flags.writeable,
        Layout.OFFSET: x.flags.c_contiguous and x.base is not None,
    }
    assert lies_otherwise[layout]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_line_to_paste_does_the_same(layout: Layout) -> None:
    (line,) = layout_code("numpy", layout)
    names = {"np": np, "x": matrix()}
    exec(line, names)
    pasted, x = names["x"], laid_out(matrix(), "numpy", layout)
    assert isinstance(pasted, np.ndarray)
    assert (pasted.strides, pasted.flags.writeable, pasted.tolist()) == (x.strides, x.flags.writeable, x.tolist())


@pytest.mark.parametrize("layout", [Layout.FORTRAN, Layout.STRIDED, Layout.OFFSET])
def test_a_tensor_keeps_its_numbers_and_lies_otherwise(layout: Layout) -> None:
    torch = pytest.importorskip("torch")
    x = laid_out(torch.from_numpy(matrix()), "torch", layout)
    assert x.tolist() == matrix().tolist()
    assert (x.stride(), x.storage_offset()) != ((4, 1), 0)
    names = {"torch": torch, "x": torch.from_numpy(matrix())}
    exec(layout_code("torch", layout)[0], names)
    assert (names["x"].stride(), names["x"].storage_offset()) == (x.stride(), x.storage_offset())


def test_a_layout_that_a_library_lacks_changes_nothing() -> None:
    x = matrix()
    assert laid_out(x, "torch", Layout.REVERSED) is x
    assert laid_out(x, "numpy", Layout.C) is x
    assert layout_code("jax", Layout.FORTRAN) == []
