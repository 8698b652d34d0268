"""The pytest fixture ``stablemax_watch``: a test in which an inf or a NaN is made and used fails, with what made it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stablemax.watching.block import WatchedBlock


@pytest.fixture
def stablemax_watch() -> Iterator[WatchedBlock]:
    """Watch the PyTorch operations of a test; it fails where an inf or a NaN is made and used."""
    # Loaded here: pytest loads this module in every run of anybody's tests.
    from stablemax.watching.block import report, watch

    with watch(repro=None, quiet=True) as watched:
        yield watched
    # A watch that has ended by a mistake of its own tells nothing of the test.
    if watched.result.verdict is not None or watched.result.error:
        pytest.fail(report(watched.result), pytrace=False)
