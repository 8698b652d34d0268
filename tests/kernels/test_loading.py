"""Numba is loaded where it is worth the second that it takes, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

LOSS = """
import atexit, sys
from stablemax.kernels import passes
passes.WORTH_IMPORT_ONCE = int(sys.argv.pop(1))
atexit.register(lambda: print({name for name in ("numba", "llvmlite") if sys.modules.get(name)}))
from stablemax.cli.main import main
main()
"""


def loaded_by_a_loss(worth: int, folder: Path) -> str:
    """What is in memory after the loss of 16 x 64 logits, where Numba is worth it from so many logits on."""
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", rng.standard_normal((16, 64)))
    np.save(folder / "y.npy", rng.integers(0, 64, 16))
    done = subprocess.run(
        [sys.executable, "-c", LOSS, str(worth), "loss", str(folder / "x.npy"), str(folder / "y.npy")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()[-1]


def test_the_loss_of_a_small_file_does_not_load_numba(tmp_path: Path) -> None:
    from stablemax.kernels import passes

    assert loaded_by_a_loss(passes.WORTH_IMPORT_ONCE, tmp_path) == "set()"


@pytest.mark.slow
def test_a_loss_that_is_worth_it_loads_numba(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="it is what is loaded")
    assert "numba" in loaded_by_a_loss(1024, tmp_path)
