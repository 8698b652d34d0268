"""Kernels with one seeded bug each are caught for the right reason, and sound ones raise no alarm."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from stablemax.check import CheckOptions, check
from stablemax.check.target.messages import Target
from stablemax.numerics.formats import FLOAT32, FLOAT64
from stablemax.results import CheckReport, Grade

KERNELS = Path(__file__).parents[1] / "seeded"
NEEDS_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")

# Right in exact arithmetic: the maximum, the padding or the accumulator is what fails. All others are wrong, and so is
# a narrow accumulator in code that is not followed exactly: its error stays in float64.
UNSTABLE = {
    "softmax_maximum_of_a_prefix",
    "softmax_tail_maximum_with_zero",
    "softmax_rescaled_by_the_last_tile",
    "softmax_first_tile_masked",
    "softmax_maximum_of_a_row_block",
    "softmax_half_accumulator",
    "log_softmax_half_accumulator",
    "logsumexp_tiles_added_unshifted",
    "logsumexp_maximum_of_a_prefix",
    "logsumexp_last_tile_wins",
}
# A call that raises on a read-only array, or that changes from run to run, can be judged no further.
BROKEN = {"softmax_into_its_input", "softmax_race"}
# What keeps the dtype of its input is sound code of floats: it is held to integers where that is asked for.
TAKES = {"softmax_of_the_dtype_of_its_input": ("integers",)}


def names_in(file: str) -> list[str]:
    return re.findall(r"^def ([a-z]\w*)", (KERNELS / file).read_text(encoding="utf-8"), re.MULTILINE)


def params(kind: str) -> list[Any]:
    files: dict[str, Any] = {f"{kind}_numpy.py": (), f"{kind}_torch.py": NEEDS_TORCH}
    return [
        pytest.param(f"{KERNELS / file}:{name}", marks=marks, id=f"{file}:{name}")
        for file, marks in files.items()
        for name in names_in(file)
    ]


def report_on(target: str) -> CheckReport:
    takes = TAKES.get(target.rpartition(":")[2], ())
    options = CheckOptions((FLOAT32, FLOAT64), takes=takes, search=False, thorough=True)
    return check(Target(target), options, timeout_s=300.0)


def test_there_are_forty_seeded_bugs_and_twenty_sound_kernels() -> None:
    assert len(params("broken")) >= 40
    assert len(params("sound")) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("target", params("broken"))
def test_a_seeded_bug_is_caught_for_the_right_reason(target: str) -> None:
    name = target.rpartition(":")[2]
    report = report_on(target)
    expected = Grade.UNSTABLE if name in UNSTABLE else Grade.BROKEN if name in BROKEN else Grade.WRONG
    assert report.grade is expected, report.finding


@pytest.mark.slow
@pytest.mark.parametrize("target", params("sound"))
def test_a_sound_kernel_fails_at_no_shape_and_is_never_called_wrong(target: str) -> None:
    report = report_on(target)
    assert report.grade in (Grade.ACCURATE, Grade.STABLE, Grade.UNSTABLE), report.finding
    assert [shape.shape for shape in report.shapes if shape.failed] == []
    assert max(shape.classes for shape in report.shapes) == 131_073
    assert max(shape.rows for shape in report.shapes) == 600
