"""Cross-entropy takes what torch.nn.functional.cross_entropy takes, and gives what it gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import stablemax

# log(1 + e + e^2) - 1, of the logits 0, 1, 2 and the label 1, to more digits than float64 has.
LOSS = 1.40760596444438034
ROW = [0.0, 1.0, 2.0]


def error_ulp(found: Any, right: float) -> float:
    return float(np.max(np.abs(np.asarray(found) - right))) / math.ulp(right)


def test_a_single_row_takes_a_single_label() -> None:
    for label in (1, np.int8(1), np.array(1), [1], 1.0):
        assert error_ulp(stablemax.cross_entropy(ROW, label), LOSS) <= 2
    assert np.ndim(stablemax.cross_entropy(ROW, 1, reduction="none")) == 0
    assert stablemax.cross_entropy_grad(ROW, 1).tolist() == stablemax.cross_entropy_grad([ROW], [1])[0].tolist()
    # A target for each class is soft.
    assert error_ulp(stablemax.cross_entropy(ROW, [0.0, 1.0, 0.0]), LOSS) <= 2


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (3, 3, 3), (2, 4, 4), (2, 3, 3, 2)])
def test_the_classes_are_on_axis_1_wherever_labels_fit_that(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    others = (shape[0], *shape[2:])
    y = np.random.default_rng(1).integers(0, shape[1], others)
    rows = np.moveaxis(x, 1, -1).reshape(-1, shape[1])
    losses = stablemax.cross_entropy(rows, y.ravel(), reduction="none").reshape(others)
    assert stablemax.cross_entropy(x, y, reduction="none").tolist() == losses.tolist()
    soft = np.moveaxis(np.eye(shape[1])[y], -1, 1)
    found = stablemax.cross_entropy(x, soft, reduction="none")
    assert (np.abs(found - losses) <= 4 * np.spacing(losses)).all()
    gradient = stablemax.cross_entropy_grad(x, y, reduction="none")
    assert gradient.tolist() == stablemax.cross_entropy_grad(x, y, axis=1, reduction="none").tolist()


def test_labels_that_fit_the_last_axis_alone_find_it() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    y = np.zeros((2, 4), int)
    assert stablemax.cross_entropy(x, y) == stablemax.cross_entropy(x, y, axis=-1)
    square = np.random.default_rng(0).normal(size=(2, 3, 3))
    assert stablemax.cross_entropy(square, y[:, :3]) != stablemax.cross_entropy(square, y[:, :3], axis=-1)


@pytest.mark.parametrize(("shape", "labels"), [
    ((0, 3), (0,)), ((0, 3), (0, 3)), ((0, 3, 5), (0, 5)), ((2, 3, 0), (2, 0)), ((0, 0), (0,)), ((0, 5, 3), (0, 5)),
])  # fmt: skip
def test_an_empty_batch_has_no_mean_and_the_sum_0(shape: tuple[int, ...], labels: tuple[int, ...]) -> None:
    x, y = np.zeros(shape, np.float32), np.zeros(labels)
    assert math.isnan(stablemax.cross_entropy(x, y))
    assert stablemax.cross_entropy(x, y, reduction="sum") == 0.0
    rows = tuple(n for n in shape if n != 3) if labels == shape else labels
    assert stablemax.cross_entropy(x, y, reduction="none").shape == rows
    gradient = stablemax.cross_entropy_grad(x, y)
    assert gradient.shape == shape
    assert gradient.dtype == np.float32


def test_the_weight_is_the_third_argument() -> None:
    x, y = [ROW, ROW], [1, 1]
    assert stablemax.cross_entropy(x, y, [1.0, 3.0, 5.0], reduction="sum") == pytest.approx(6 * LOSS, rel=2**-50)
    weighted = stablemax.cross_entropy_grad(x, y, [1.0, 3.0, 5.0], reduction="none")
    assert weighted.tolist() == stablemax.cross_entropy_grad(x, y, weight=[1.0, 3.0, 5.0], reduction="none").tolist()


def test_a_column_of_soft_targets_for_one_class_is_no_column_of_labels() -> None:
    # The loss of a certain class is 0 whatever its target.
    assert stablemax.cross_entropy([[1.5], [2.0]], [[1.0], [1.0]], reduction="none").tolist() == [0.0, 0.0]
    assert (stablemax.cross_entropy_grad([[1.5], [2.0]], [[1.0], [1.0]]) == 0).all()
