"""NumPy kernels with one seeded bug each are caught for the right reason, and sound ones raise no alarm."""

from __future__ import annotations

import pytest

from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT64, Format
from stablemax.results import Grade

from .seeded_kernels import (
    KERNELS,
    assert_caught_for_the_right_reason,
    assert_no_alarm,
    name_of,
    report_on,
    targets_in,
)


def test_there_are_forty_seeded_bugs_and_twenty_sound_kernels() -> None:
    assert len([*targets_in("broken_numpy.py"), *targets_in("broken_torch.py")]) >= 40
    assert len([*targets_in("sound_numpy.py"), *targets_in("sound_torch.py")]) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("target", targets_in("broken_numpy.py"), ids=name_of)
def test_a_seeded_bug_is_caught_for_the_right_reason(target: str) -> None:
    assert_caught_for_the_right_reason(target)


@pytest.mark.slow
@pytest.mark.parametrize("target", targets_in("sound_numpy.py"), ids=name_of)
def test_a_sound_kernel_fails_at_no_shape_and_is_never_called_wrong(target: str) -> None:
    assert_no_alarm(target)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fmt"),
    [
        ("softmax_partial_tile_dropped", FLOAT16),
        # In bfloat16 the first shapes fail for their digits, and the last for the formula.
        ("softmax_index_of_16_bits", BFLOAT16),
        # No shape shows it in bfloat16, where hazards fail for their digits.
        ("cross_entropy_mean_of_means", BFLOAT16),
        ("cross_entropy_grad_label_in_the_tail", FLOAT64),
    ],
    ids=str,
)
def test_a_wrong_formula_is_wrong_whichever_format_is_asked_for(name: str, fmt: Format) -> None:
    report = report_on(f"{KERNELS / 'broken_numpy.py'}:{name}", fmt)
    assert report.grade is Grade.WRONG, report.finding
    assert {shape.format for shape in report.shapes} == {fmt.name}
