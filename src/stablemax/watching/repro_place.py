"""The folder for files that show a fault: what it may replace."""

from __future__ import annotations

from pathlib import Path

from stablemax.text.errors import StablemaxError, shown

INPUTS, SCRIPT, TEST = "inputs.npz", "show.py", "test_repro.py"
_OURS = frozenset((INPUTS, SCRIPT, TEST, "__pycache__", ".pytest_cache"))


def check_folder(path: str) -> None:
    """Refuse a place for the files that holds anything else."""
    place = Path(path)
    try:
        names = {p.name for p in place.iterdir()} if place.is_dir() else None
        is_taken = names is None and (place.exists() or place.is_symlink())
    except OSError as error:
        raise StablemaxError(f"{shown(path)}: cannot be read ({error.strerror})", "name another: --repro") from None
    if is_taken or (names and not names <= _OURS):
        raise StablemaxError(
            f"{shown(path)}: exists, and holds other files", "name a folder that is not there with --repro"
        )
    if not place.absolute().parent.is_dir():
        raise StablemaxError(f"{shown(path)}: its parent is no folder", "name one in a folder that exists with --repro")
