"""The kernels of tests/seeded, and what a check of each must say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stablemax.check import CheckOptions, check_function, check_options
from stablemax.check.target.messages import Target
from stablemax.hazards import shapes
from stablemax.hazards.catalogue import HAZARDS
from stablemax.numerics.formats import FLOAT32, FLOAT64, Format
from stablemax.results import CheckReport, Grade

KERNELS = Path(__file__).parents[1] / "seeded"

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
# A constant that is good enough for float32.
OF_FLOAT64 = {"softmax_log2_e_cut_short", "log_softmax_ln_2_cut_short"}

# What fails at wider shapes alone is tried on all of them, and so is every sound kernel.
OF_WIDE_SHAPES = {"softmax_index_of_16_bits"}
_WIDE = 4_097

_HAZARDS = ("gentle", "two-rows", "large-logits", "uniform-at-negative-offset", "many-equal-classes", "masked-tiles")


def names_in(file: str) -> list[str]:
    return re.findall(r"^def ([a-z]\w*)", (KERNELS / file).read_text(encoding="utf-8"), re.MULTILINE)


def targets_in(file: str) -> list[str]:
    return [f"{KERNELS / file}:{name}" for name in names_in(file)]


def name_of(target: str) -> str:
    return target.rpartition(":")[2]


def report_on(target: str, fmt: Format | None = None, *, all_shapes: bool = False) -> CheckReport:
    """Check a kernel on shapes, all or those that show most bugs, and on a few of the hazards: at shapes these fail."""
    name = name_of(target)
    fmt = fmt or (FLOAT64 if name in OF_FLOAT64 else FLOAT32)
    options = CheckOptions((fmt,), takes=TAKES.get(name, ()), search=False, thorough=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_options, "HAZARDS", {h: HAZARDS[h] for h in _HAZARDS})
        if not (all_shapes or name in OF_WIDE_SHAPES):
            patch.setattr(shapes, "SHAPES", tuple(s for s in shapes.SHAPES if s.classes <= _WIDE))
        return check_function(None, Target(target), options)


def assert_caught_for_the_right_reason(target: str) -> None:
    report, name = report_on(target), name_of(target)
    expected = Grade.UNSTABLE if name in UNSTABLE else Grade.BROKEN if name in BROKEN else Grade.WRONG
    assert report.grade is expected, report.finding


def assert_no_alarm(target: str) -> None:
    report = report_on(target, all_shapes=True)
    assert report.grade in (Grade.ACCURATE, Grade.STABLE, Grade.UNSTABLE), report.finding
    assert [shape.shape for shape in report.shapes if shape.failed] == []
    assert max(shape.classes for shape in report.shapes) == 131_073
    assert max(shape.rows for shape in report.shapes) == 600
