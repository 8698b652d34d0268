"""PyTorch kernels with one seeded bug each are caught for the right reason, and sound ones raise no alarm."""

from __future__ import annotations

import importlib.util

import pytest

from .seeded_kernels import assert_caught_for_the_right_reason, assert_no_alarm, name_of, targets_in

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")


@pytest.mark.slow
@pytest.mark.parametrize("target", targets_in("broken_torch.py"), ids=name_of)
def test_a_seeded_bug_is_caught_for_the_right_reason(target: str) -> None:
    assert_caught_for_the_right_reason(target)


@pytest.mark.slow
@pytest.mark.parametrize("target", targets_in("sound_torch.py"), ids=name_of)
def test_a_sound_kernel_fails_at_no_shape_and_is_never_called_wrong(target: str) -> None:
    assert_no_alarm(target)
