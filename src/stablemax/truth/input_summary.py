"""What a result says of the logits that were judged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from stablemax.results import InputSummary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stablemax.numerics.formats import Array, Format


def input_summary(logits: Array, judged: Array, source: str, labels: str = "") -> InputSummary:
    """Sum up logits (N, K) of which some rows were judged."""
    x = np.asarray(logits[judged], dtype=np.float64)
    rows, classes = logits.shape
    smallest, largest = _range(x)
    return InputSummary(source, logits.dtype.name, rows, classes, len(judged), smallest, largest, labels)


def hazard_summary(source: str, logits: Mapping[Format, Array]) -> InputSummary:
    """Sum up the logits of each format; the widest one has the most rows."""
    widest = logits[max(logits, key=lambda fmt: fmt.precision)]
    rows, classes = widest.shape
    return InputSummary(source, "each format's own", rows, classes, rows, *_range(*logits.values()))


def _range(*arrays: Array) -> tuple[float, float]:
    """Return the smallest and the largest finite number; NaN where there is none."""
    finite = np.concatenate([x[np.isfinite(x)] for x in arrays])
    return (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)
