"""NumPy kernels with one seeded bug each are caught for the right reason, and sound ones raise no alarm."""

from __future__ import annotations

import pytest

from .seeded_kernels import assert_caught_for_the_right_reason, assert_no_alarm, name_of, targets_in


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
