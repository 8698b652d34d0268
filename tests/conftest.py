"""Hypothesis profiles: the same examples on every machine, and no clock."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=15, print_blob=True)
# For a deliberate hunt: --hypothesis-profile=search
settings.register_profile("search", deadline=None, max_examples=3000)
settings.load_profile("ci")
