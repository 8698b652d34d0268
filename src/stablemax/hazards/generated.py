"""Logits and labels from a seed, or from one of the notebooks that this program grew from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stablemax.hazards.presets import PRESETS
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


def preset(name: str) -> Problem:
    """Return one of the notebooks' inputs.

    >>> preset("notebook-c").logits.tolist()
    [[1.0, 2.0, 3.0], [1000.0, 1001.0, 1002.0]]
    """
    if name not in PRESETS:
        raise StablemaxError(f"there is no preset {shown(name)!r}", f"one of: {', '.join(PRESETS)}")
    logits, labels = PRESETS[name].make()
    return _problem(logits, labels, f"preset {name}", "the preset's")
