"""One quantity moved through its range: where each formula breaks, to the last bit. Importable without NumPy."""

from __future__ import annotations

NAMES = ("scale", "offset", "gap", "classes", "temperature", "rows")
"""What can be swept: the names of the records in `quantities`."""
PRESETS = ("notebook-d-gap",)
"""Sweeps that a notebook makes: the names of the records in `sweep_presets`."""
