"""Inputs on which a wrong formula shows its kind: of several sizes and scales, so that no two mistakes agree on all."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import numpy as np

from stablemax.hazards.cases import HazardCase
from stablemax.text.vocabulary import IGNORED

_GENTLE = ((4, 5), (3, 7), (5, 4), (2, 6))
_WIDE = ((4, 6, 6.0, -8.0), (3, 5, 4.0, 3.0), (3, 4, 12.0, -20.0), (4, 5, 10.0, 0.0), (6, 4, 25.0, 0.0))
"""Rows, classes, deviation and mean: probabilities and sums that an epsilon or a clip changes."""
_LONG = ((2, 40), (2, 50), (2, 130), (2, 300), (2, 1100))
_MANY_ROWS = ((40, 3), (50, 3), (130, 3))
_IGNORED = ((5, 4), (7, 3))


def probes(takes: Set[str]) -> list[HazardCase]:
    """Return inputs; `takes` names what the code takes beyond logits and labels, from `hazards.hazard.NEEDS`."""
    cases = [_drawn(rows, classes, 1.5, 0.0) for rows, classes in _GENTLE]
    cases += [
        replace(_drawn(rows, classes, 1.0, 0.0), logits=_positive(rows, classes)) for rows, classes in _GENTLE[:2]
    ]
    cases += [_drawn(*size_and_scale) for size_and_scale in _WIDE]
    if "ignore-index" in takes:
        cases += [_with_ignored_rows(_drawn(rows, classes, 1.5, 0.0)) for rows, classes in _IGNORED]
    if "weights" in takes:
        cases += [_weighted(_drawn(rows, classes, 1.5, 0.0)) for rows, classes in _GENTLE[:2]]
    if "soft-targets" in takes:
        cases += [_soft(_drawn(rows, classes, 1.5, 0.0)) for rows, classes in _GENTLE[:2]]
        cases += [replace(_drawn(rows, classes, 1.5, 0.0), label_smoothing=0.1) for rows, classes in _GENTLE[:2]]
    cases += [_drawn(rows, classes, 1.5, 0.0) for rows, classes in (*_MANY_ROWS, *_LONG)]
    return cases


def _drawn(rows: int, classes: int, deviation: float, mean: float) -> HazardCase:
    draw = np.random.default_rng([rows, classes, int(deviation * 2)])
    normal = draw.standard_normal
    return HazardCase(
        normal((rows, classes)) * deviation + mean,
        draw.integers(0, classes, rows),
        normal((rows, classes)),
        cell_targets=draw.uniform(0.1, 0.9, (rows, classes)),
        other_logits=normal((rows, classes)),
    )


def _positive(rows: int, classes: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Draw numbers that code may take for probabilities."""
    return np.random.default_rng([classes, rows]).uniform(0.1, 0.9, (rows, classes))


def _with_ignored_rows(case: HazardCase) -> HazardCase:
    labels = case.labels.copy()
    labels[1::3] = IGNORED
    return replace(case, labels=labels)


def _weighted(case: HazardCase) -> HazardCase:
    return replace(case, weight=np.linspace(0.5, 2.0, case.logits.shape[-1]))


def _soft(case: HazardCase) -> HazardCase:
    assert case.cell_targets is not None
    return replace(case, labels=case.cell_targets / case.cell_targets.sum(axis=-1, keepdims=True))
