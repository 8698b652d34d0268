"""Inputs of a scale on which errors are looked for: what a test would draw, and rows on which roundings add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stablemax.hazards.cases import HazardCase
from stablemax.numerics.formats import Array, Format

_MOST_CELLS = 20_000
"""Of one input; a row may have more."""
_MOST_ROWS = 64
_DRAWN = 3
"""How many inputs are drawn, each with a seed of its own."""
_LEVELS = 8
"""Rows whose other classes are all at one level: their roundings all have one sign."""


@dataclass(frozen=True)
class TriedInput:
    """Logits of a scale, and what operations take beside them."""

    name: str
    case: HazardCase
    #: As a test would draw it: bugs are run on these alone.
    is_drawn: bool = False


def tried_inputs(fmt: Format, classes: int, scale: float, seed: int) -> list[TriedInput]:
    """Return uniform logits of several seeds, and rows that are built.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> [tried.name for tried in tried_inputs(FLOAT32, 10, 5.0, 0)][:4]
    ['uniform, seed 0', 'uniform, seed 1', 'uniform, seed 2', 'built rows']
    """
    count = max(2, min(_MOST_ROWS, _MOST_CELLS // classes))
    tried = []
    for drawn in range(seed, seed + _DRAWN):
        rng = np.random.default_rng(drawn)
        logits = _uniform(rng, (count, classes)) * scale
        tried.append(TriedInput(f"uniform, seed {drawn}", _with_seconds(logits, scale, rng), is_drawn=True))
    rng = np.random.default_rng(seed)
    built = np.stack([np.clip(row, -scale, scale) for row in _built_rows(fmt, classes, scale, rng)])
    return [*tried, TriedInput("built rows", _with_seconds(built, scale, rng))]


def _built_rows(fmt: Format, classes: int, scale: float, rng: np.random.Generator) -> Iterator[Array]:
    """Yield rows in which all are equal, one dominates, neighbours nearly tie, or all steps are alike."""
    level, first = np.full(classes, scale), np.arange(classes) == 0
    yield level
    yield -level
    yield np.where(first, scale, -scale)
    yield np.where(first[::-1], scale, -scale)
    yield np.where(first, -scale, scale)
    yield np.where(np.arange(classes) % 2 == 0, scale, -scale)
    yield np.linspace(-scale, scale, classes)
    yield np.linspace(scale, -scale, classes)
    yield scale * (1.0 - fmt.u * rng.integers(0, 8, classes))
    for other in rng.uniform(-1.0, 1.0, _LEVELS) * scale:
        yield np.where(first, scale * rng.uniform(0.5, 1.0), other)
    # The largest exponentials beside one that is as large as all of them: half of the probability, near -log 2.
    yield np.where(first, scale, scale - np.log(max(classes - 1, 1)))


def _uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.uniform(-1.0, 1.0, shape))


def _with_seconds(logits: Array, scale: float, rng: np.random.Generator) -> HazardCase:
    """Add labels at the maximum, at the minimum and anywhere; gradients up to 1, targets of cells, and other logits."""
    count, classes = logits.shape
    anywhere = rng.integers(0, classes, count)
    which = np.arange(count) % 3
    labels = np.where(which == 0, logits.argmax(axis=-1), np.where(which == 1, logits.argmin(axis=-1), anywhere))
    upstream = _uniform(rng, logits.shape)
    upstream[::4] = np.sign(upstream[::4])
    upstream[1::4] = 1.0
    targets = np.abs(_uniform(rng, logits.shape))
    hard = rng.random(logits.shape) < 2.0 / 3.0
    targets[hard] = np.round(targets[hard])
    others = _uniform(rng, logits.shape) * scale
    near = others[::2].shape[0]
    others[::2] = np.clip(logits[::2] + rng.uniform(-1e-3, 1e-3, (near, classes)) * scale, -scale, scale)
    return HazardCase(logits, labels, upstream, cell_targets=targets, other_logits=others)
