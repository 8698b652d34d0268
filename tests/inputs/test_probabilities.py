"""Probabilities in place of logits: noted, whatever they are stored in, and cheap to tell from logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

from stablemax.inputs.logits import Stream, as_stream
from stablemax.inputs.open import open_files
from stablemax.inputs.probabilities import with_probabilities_noted
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.stored_rows import Rows

if TYPE_CHECKING:
    from pathlib import Path

DRAW = np.random.default_rng(2)


def softmax_of(rows: int, classes: int) -> Any:
    e = np.exp(DRAW.normal(size=(rows, classes)) * 3)
    return e / e.sum(axis=1, keepdims=True)


def is_noted(stream: Stream) -> bool:
    (*_, last) = ("", *with_probabilities_noted(stream).notes)
    return last.endswith("sums to 1: are these probabilities? log(p) gives logits of the same softmax")


def stream_of(array: Any, **options: Any) -> Stream:
    return as_stream(StoredArray.of(array), **options)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 2), (7, 10), (300, 1000), (3, 70_000)])
def test_probabilities_of_every_format_and_size_are_noted(dtype: Any, shape: tuple[int, int]) -> None:
    assert is_noted(stream_of(softmax_of(*shape).astype(dtype)))


@pytest.mark.parametrize("style", ["%.2f", "%.3f", "%.4f", "%.6f", "%.3g", "%.18e"])
@pytest.mark.parametrize("classes", [3, 10, 30])
def test_printed_probabilities_are_noted_however_few_digits_they_have(style: str, classes: int, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "p.csv", softmax_of(20, classes), delimiter=",", fmt=style)
    assert is_noted(open_files([str(tmp_path / "p.csv")]))


def test_the_classes_may_lie_on_any_axis() -> None:
    assert is_noted(stream_of(np.moveaxis(softmax_of(6, 4).reshape(2, 3, 4), -1, 1), axis=1))


@pytest.mark.parametrize(
    "rows",
    [
        np.log(softmax_of(5, 4)),
        softmax_of(5, 4) * 1.15,
        np.concatenate([softmax_of(1000, 4), [[0.5, 0.5, 0.5, 0.5]]]),
        [[0.5, 0.5, np.nan]],
        [[1.5, -0.5]],
        [[0.5, 0.5], [1.5, -0.5]],
        np.ones((5, 1)),
        np.arange(12).reshape(3, 4),
        np.full((2, 4), np.inf),
    ],
    ids=[
        "logarithms",
        "a-factor",
        "last-row",
        "nan",
        "negative",
        "negative-below",
        "one-class",
        "integers",
        "infinite",
    ],
)
def test_a_single_row_that_is_none_keeps_the_input_from_being_noted(rows: Any) -> None:
    assert not is_noted(stream_of(np.asarray(rows)))


def test_logits_are_given_up_after_a_few_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def read(self: Rows, *arguments: Any, **options: Any) -> Any:
        block = original(self, *arguments, **options)
        sizes.append(block.size)
        return block

    original = Rows.read
    monkeypatch.setattr(Rows, "read", read)
    assert not is_noted(stream_of(np.broadcast_to(np.float32(3), (10**6, 10**6))))
    assert sum(sizes) <= 64
    assert is_noted(stream_of(np.broadcast_to(np.float32(0.5), (10**9, 2))))
    assert sum(sizes) <= 2**22 + 128


def test_of_a_long_input_the_note_says_how_many_rows_it_speaks_of() -> None:
    stream = with_probabilities_noted(stream_of(np.broadcast_to(np.float32(0.5), (10**9, 2))))
    assert stream.notes[-1].startswith("the array: each of the first 2,097,152 rows sums to 1: ")
