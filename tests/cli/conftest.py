"""Files that commands are run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of small inputs; tests read it and write nothing into it."""
    folder = tmp_path_factory.mktemp("samples")
    rng = np.random.default_rng(1)
    files = {
        "x": rng.normal(size=(6, 4)).astype(np.float32),
        "y": np.array([1, 3, 0, 2, 2, 1]),
        "out-of-range": np.array([0, 1, 2, 3, 4, 0]),
        "ignored": np.full(6, -100),
        "some-ignored": np.array([1, -100, 0, -100, 2, 1]),
        "soft": np.full((6, 4), 0.25),
        "weights": np.array([1.0, 2.0, 0.5, 3.0]),
        "three-weights": np.array([1.0, 2.0, 3.0]),
        "negative-weights": np.array([1.0, 2.0, 3.0, -1.0]),
        "cube": rng.normal(size=(2, 4, 3)),
        "cube-labels": np.array([[0, 1, 2], [3, 2, 1]]),
        "masked": np.array([[0.0, 1.0, -np.inf], [0.0, 1.0, 2.0], [-np.inf, 0.0, 1.0]]),
        "masked-labels": np.array([0, 2, 0]),
        "long": rng.normal(size=(20000, 50)),
    }
    for name, array in files.items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.fixture
def here(samples: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the folder of small inputs."""
    monkeypatch.chdir(samples)
    return samples


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder that may be written to, with one small input."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.arange(12.0).reshape(3, 4))
    np.save("y.npy", np.array([0, 3, 1]))
    return tmp_path
