"""The steps of lessons that need PyTorch: what they show, and the notebooks' PyTorch numbers in them."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from typing import Any

import pytest

from stablemax.lessons import get_lesson
from stablemax.lessons.live import library_of
from stablemax.lessons.teaching import teach
from stablemax.render import figures
from stablemax.render.console import Surface
from stablemax.render.jupyter import written as as_notebook
from stablemax.render.lessons import LESSON, step_document
from stablemax.render.terminal import written
from stablemax.results import Outcome, TaughtLesson, TaughtStep

pytest.importorskip("torch", reason="these are PyTorch's own numbers")

# Those with a step that runs PyTorch.
LESSONS = ["notebook-a", "notebook-c", "notebook-d", "notebook-e"]
EACH = pytest.mark.parametrize("name", LESSONS)


@functools.cache
def taught(name: str) -> TaughtLesson:
    return teach(get_lesson(name))


def step_of(lesson: str, step: str) -> TaughtStep:
    return next(s for s in taught(lesson).steps if s.name == step)


def column(lesson: str, step: str, name: str) -> list[float]:
    return next([cell.value for cell in c.cells] for c in step_of(lesson, step).table.columns if c.name == name)


def summary(lesson: str, step: str, name: str) -> str:
    return next(c.summaries[0] for c in step_of(lesson, step).table.columns if c.name == name)


@EACH
def test_a_step_with_pytorch_fits_a_screen_and_shows_every_number_whole(name: str) -> None:
    lesson = taught(name)
    for step, record in zip(lesson.steps, get_lesson(name).steps, strict=True):
        text = written(step_document(lesson, step), Surface(80))
        assert len(text.splitlines()) - bool(step.following) < 24, text
        assert max(map(len, text.splitlines())) <= 80, text
        assert sum(line.startswith("──") for line in text.splitlines()) == 1, text
        shown = {figures.number(cell.value, step.table.format) for c in step.table.columns for cell in c.cells}
        assert shown <= set(text.split())
        assert "not installed" not in text
        assert len(record.live.runs) <= len(step.table.columns) - 1
        assert bool(record.peer_notice) == any(map(library_of, record.live.runs))


def test_a_both_versions_agree_with_pytorch() -> None:
    (right,) = column("notebook-a", "losses-torch", "torch/cross_entropy")
    for version in ("torch_v1", "torch_v2"):
        (ours,) = column("notebook-a", "losses-torch", version)
        assert abs(ours - right) <= 1e-5 * right  # allclose, the notebook's test
    by_hand, built_in = (column("notebook-a", "softmax-torch", name) for name in ("by hand", "torch/softmax"))
    assert all(abs(a - b) <= 1e-5 * b for a, b in zip(by_hand, built_in, strict=True))


def test_c_the_naive_batch_is_right_in_the_first_row_and_nan_in_the_second() -> None:
    naive = next(c for c in step_of("notebook-c", "torch").table.columns if c.name == "naive")
    assert [f"{cell.value:.6f}" for cell in naive.cells[:3]] == ["0.090031", "0.244728", "0.665241"]
    assert [cell.outcome for cell in naive.cells] == [Outcome.OK] * 3 + [Outcome.NAN] * 3
    for name in ("by hand", "torch/log_softmax"):
        values = column("notebook-c", "torch-log", name)
        assert [f"{v:.6f}" for v in values] == ["-2.407606", "-1.407606", "-0.407606"] * 2


def test_c_the_loss_is_the_number_that_the_notebook_prints() -> None:
    # 1.4185397624969482, as a float32 with the fewest digits.
    assert summary("notebook-c", "loss", "torch/cross_entropy") == figures.number(1.4185397624969482, "float32")


def test_d_forward_and_backward_agree_with_pytorch_at_the_notebooks_tolerance() -> None:
    (right,) = column("notebook-d", "forward-torch", "torch/cross_entropy")
    for name in ("loss", "by hand"):
        (ours,) = column("notebook-d", "forward-torch", name)
        assert abs(ours - right) <= 1e-4 * right + 1e-6
    by_hand, autograd = (column("notebook-d", "backward-torch", name) for name in ("by hand", "autograd"))
    assert all(abs(a - b) <= 1e-4 * abs(b) + 1e-6 for a, b in zip(by_hand, autograd, strict=True))


def test_e_the_total_of_the_bad_softmax_is_nan_and_that_of_the_good_one_is_1() -> None:
    assert summary("notebook-e", "good", "bad") == "nan"
    for name in ("good", "good_softmax", "torch/softmax"):
        assert abs(float(summary("notebook-e", "good", name)) - 1) < 1e-6
    # Both cancel from the size of p g, p about 1/20 and |g| at most 8, in float32.
    jacobian, autograd = (column("notebook-e", "backward", name) for name in ("backward", "torch/softmax_vjp"))
    assert all(abs(a - b) <= 20 * 2**-24 * 8 / 20 for a, b in zip(jacobian, autograd, strict=True))
    assert max(map(abs, column("notebook-e", "mean", "torch/softmax_vjp"))) <= 4 * 2**-24 / 20 / 20


@EACH
def test_the_notebook_runs_with_pytorch(name: str) -> None:
    notebook = json.loads(as_notebook(LESSON.cells(taught(name))))
    namespace: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), namespace)
    assert "torch/" in printed.getvalue()
