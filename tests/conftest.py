"""Hypothesis profiles: the same examples on every machine, and no clock."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=15, print_blob=True)
# For a deliberate hunt: --hypothesis-profile=search
settings.register_profile("search", deadline=None, max_examples=3000)
settings.load_profile("ci")


def pytest_configure() -> None:
    """Give programs under test a clean start, which can be interrupted also from the background of a shell.

    There SIGINT is ignored, which every child inherits, and Python then installs no handler of its own.
    """
    # What this run was asked for is not meant for the runs that tests start.
    os.environ.pop("PYTEST_ADDOPTS", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
