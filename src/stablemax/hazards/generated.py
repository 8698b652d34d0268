"""Logits and labels from a seed, or from one of the notebooks that this program grew from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.inputs.logits import Problem, Source
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.ranges import check_range
from stablemax.text.vocabulary import Distribution

MAX_CELLS = 1 << 28
"""Generated inputs hold at most this many logits (2 GiB of float64)."""


_DRAW: dict[Distribution, Callable[[np.random.Generator, float, tuple[int, int]], Array]] = {
    # The half-width is multiplied last: 2 * scale overflows for a scale of 1e308.
    Distribution.UNIFORM: lambda rng, scale, shape: rng.uniform(-1.0, 1.0, shape) * scale,
    Distribution.NORMAL: lambda rng, scale, shape: rng.standard_normal(shape) * scale,
    Distribution.RAMP: lambda _rng, scale, shape: np.linspace(-1.0, 1.0, shape[0] * shape[1]).reshape(shape) * scale,
}


def generate(
    *,
    seed: int = 0,
    scale: float = 1.0,
    rows: int = 16,
    classes: int = 64,
    distribution: Distribution = Distribution.UNIFORM,
    offset: float = 0.0,
) -> Problem:
    """Draw float64 logits and one label per row.

    >>> problem = generate(scale=1e5, rows=2, classes=3)
    >>> problem.logits.shape, problem.labels.shape, bool(abs(problem.logits).max() <= 1e5)
    ((2, 3), (2,), True)
    """
    check_range("--seed", seed, 0, 2**63 - 1, "a whole number, 0 or more")
    check_range("--rows", rows, 1, MAX_CELLS, "at least 1")
    check_range("--classes", classes, 1, MAX_CELLS, "at least 1")
    check_range("--rows times --classes", rows * classes, 1, MAX_CELLS, f"at most {MAX_CELLS:,} logits are generated")
    check_range("--scale", scale, 0.0, np.finfo(np.float64).max, "a finite number, 0 or more")
    largest = float(np.finfo(np.float64).max)
    check_range("--offset", offset, -largest, largest, "a finite number")
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore"):
        logits = _DRAW[distribution](rng, scale, (rows, classes)) + offset
    if not np.isfinite(logits).all():
        raise StablemaxError(
            f"--scale {scale:g} and --offset {offset:g} give logits beyond float64", "use smaller numbers"
        )
    labels = rng.integers(0, classes, rows)
    described = {
        Distribution.UNIFORM: f"uniform on [{-scale:g}, {scale:g}]",
        Distribution.NORMAL: f"normal with deviation {scale:g}",
        Distribution.RAMP: f"a ramp from {-scale:g} to {scale:g}",
    }[distribution]
    if offset:
        described += f", offset {offset:g}"
    return _problem(logits, labels, f"{described}, seed {seed}", "drawn with them")


def _problem(logits: Array, labels: Any, name: str, labels_name: str) -> Problem:
    labels = np.asarray(labels, dtype=np.int64)
    sources = (
        Source(name, logits.dtype.name, logits.shape),
        Source(labels_name, labels.dtype.name, labels.shape),
    )
    return Problem(logits, labels, logits.shape, 1, (), sources)


@dataclass(frozen=True)
class Preset:
    """An input of one of the notebooks."""

    #: For `--preset`.
    name: str
    #: What it shows, in a sentence.
    about: str
    #: Gives logits (N, K) and labels (N,).
    make: Callable[[], tuple[Array, Any]]


def _notebook_a() -> tuple[Array, Any]:
    rng = np.random.default_rng(0)
    return rng.uniform(-50, 50, (16, 64)).astype(np.float32), rng.integers(0, 64, 16)


def _linspace(stop: float) -> Callable[[], tuple[Array, Any]]:
    return lambda: (np.linspace(-1, stop, 500).reshape(50, 10), np.arange(50) % 10)


def _notebook_d() -> tuple[Array, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((8, 3000)).astype(np.float32), rng.integers(0, 3000, 8)


def _notebook_d_gap() -> tuple[Array, Any]:
    gap = 1 - 0.002 * np.arange(1000)
    return np.stack([np.zeros(1000), gap], axis=1), np.zeros(1000)


def _notebook_e(offset: float) -> Callable[[], tuple[Array, Any]]:
    return lambda: (np.random.default_rng(0).random((1, 20), dtype=np.float32) + np.float32(offset), [0])


PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        Preset("notebook-a", "U(-50, 50) in float32, 16 x 64: four losses that agree", _notebook_a),
        Preset("notebook-b-gentle", "linspace(-1, 1), 50 x 10: all formulas agree", _linspace(1)),
        Preset("notebook-b-moderate", "linspace(-1, 500), 50 x 10: the naive softmax still holds", _linspace(500)),
        Preset("notebook-b-loss", "linspace(-1, 1e5), 50 x 10: losses inf, inf and right", _linspace(1e5)),
        Preset("notebook-b", "linspace(-1, 5e5), 50 x 10: the naive softmax is 0 and NaN", _linspace(5e5)),
        Preset(
            "notebook-c",
            "[1, 2, 3] and [1000, 1001, 1002]: the same probabilities, if shifted",
            lambda: (np.array([[1.0, 2.0, 3.0], [1000.0, 1001.0, 1002.0]]), [0, 0]),
        ),
        Preset(
            "notebook-c-loss",
            "two rows of three in float32, labels 0 and 2: the mean loss is 1.4185",
            lambda: (np.array([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]], dtype=np.float32), [0, 2]),
        ),
        Preset("notebook-d", "N(0, 1) in float32, 8 x 3000: a vocabulary", _notebook_d),
        Preset(
            "notebook-d-gap",
            "two classes, the gap falling from 1 in steps of 0.002: the loss curve",
            _notebook_d_gap,
        ),
        Preset("notebook-e", "U(0, 1) + 100 in float32, 1 x 20: exp(100) overflows", _notebook_e(100)),
        Preset("notebook-e-small", "U(0, 1) in float32, 1 x 20: a sum over the wrong axis gives ones", _notebook_e(0)),
    )
}


def preset(name: str) -> Problem:
    """Return one of the notebooks' inputs.

    >>> preset("notebook-c").logits.tolist()
    [[1.0, 2.0, 3.0], [1000.0, 1001.0, 1002.0]]
    """
    if name not in PRESETS:
        raise StablemaxError(f"there is no preset {shown(name)!r}", f"one of: {', '.join(PRESETS)}")
    logits, labels = PRESETS[name].make()
    return _problem(logits, labels, f"preset {name}", "the preset's")
