"""Which rows to judge where somebody asks for some of them, and what a result says of their logits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.results import InputSummary

_CELLS_PER_READ = 1 << 20


def judged_rows(logits: Array, limit: int | None) -> Array:
    """Choose rows evenly, with the first, the last and the extreme ones always in; all where there is no limit.

    >>> judged_rows(np.arange(20.0).reshape(10, 2), 4).tolist()
    [0, 3, 6, 9]
    """
    rows, _ = logits.shape
    if limit is None or rows <= limit:
        return np.arange(rows)
    extreme = _extreme_rows(logits)
    even = np.linspace(0, rows - 1, max(2, limit - len(extreme - {0, rows - 1}))).round().astype(np.int64)
    chosen = np.union1d(even, np.fromiter(extreme, dtype=np.int64))
    return np.asarray(chosen)


def _extreme_rows(logits: Array) -> set[int]:
    """First rows with the largest and smallest logit, the widest spread, a NaN, a +inf and a -inf."""
    rows, classes = logits.shape
    best: dict[str, tuple[float, int]] = {}
    step = max(1, _CELLS_PER_READ // classes)
    for start in range(0, rows, step):
        block = np.asarray(logits[start : start + step], dtype=np.float64)
        finite = np.isfinite(block)
        top = np.max(block, axis=-1, where=finite, initial=-np.inf)
        low = np.min(block, axis=-1, where=finite, initial=np.inf)
        with np.errstate(invalid="ignore", over="ignore"):
            spread = np.where(finite.any(axis=-1), top - low, -np.inf)
        scores = {
            "largest": top,
            "smallest": -low,
            "spread": spread,
            "nan": np.where(np.isnan(block).any(axis=-1), 1.0, -np.inf),
            "+inf": np.where(np.isposinf(block).any(axis=-1), 1.0, -np.inf),
            "-inf": np.where(np.isneginf(block).any(axis=-1), 1.0, -np.inf),
        }
        for name, score in scores.items():
            row = int(np.argmax(score))
            if score[row] > best.get(name, (-np.inf, -1))[0]:
                best[name] = (float(score[row]), start + row)
    return {row for _, row in best.values()} | {0, rows - 1}


def input_summary(logits: Array, judged: Array, source: str, labels: str = "") -> InputSummary:
    """Sum up logits (N, K) of which some rows were judged."""
    rows, classes = logits.shape
    step = max(1, _CELLS_PER_READ // max(1, classes))
    smallest, largest = _range(logits[judged[start : start + step]] for start in range(0, len(judged), step))
    return InputSummary(source, logits.dtype.name, rows, classes, len(judged), smallest, largest, labels)


def hazard_summary(source: str, logits: Mapping[Format, Array]) -> InputSummary:
    """Sum up the logits of each format; the widest one has the most rows."""
    widest = logits[max(logits, key=lambda fmt: fmt.precision)]
    rows, classes = widest.shape
    return InputSummary(source, "each format's own", rows, classes, rows, *_range(logits.values()))


def _range(arrays: Iterable[Array]) -> tuple[float, float]:
    """Return the smallest and the largest finite number; NaN where there is none."""
    finite = (numbers[np.isfinite(numbers)] for numbers in (array.astype(np.float64) for array in arrays))
    with np.errstate(invalid="ignore"):  # of signalling NaN
        ends = [(float(numbers.min()), float(numbers.max())) for numbers in finite if numbers.size]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (math.nan, math.nan)
