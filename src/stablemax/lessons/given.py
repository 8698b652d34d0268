"""Inputs of lessons: typed, a preset's, a hazard's, or what depends on the number format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stablemax.hazards.cases import HazardCase, rows
from stablemax.numerics.formats import Format


@dataclass(frozen=True)
class Given:
    """An input: how it is made for a number format, and the Python that makes it."""

    make: Callable[[Format], HazardCase]
    #: Lines that set x, and y, t or g as the operation takes one; None: the numbers themselves, written out
    code: str | None = None


def typed(
    logits: Sequence[Sequence[float]],
    labels: Sequence[int] | None = None,
    *,
    upstream: Sequence[float] | None = None,
    targets: Sequence[Sequence[float]] | None = None,
) -> Given:
    """Return rows of logits; the label of each is 0 where none is given."""
    chosen = [0] * len(logits) if labels is None else labels
    return Given(lambda _: rows(logits, chosen, upstream=upstream, cell_targets=targets))


def made_for(make: Callable[[Format], Sequence[Sequence[float]]], labels: Sequence[int] = (0,)) -> Given:
    """Return logits that depend on the number format."""
    return Given(lambda fmt: rows(make(fmt), labels))


def of_preset(name: str, *, upstream: Sequence[float] | None = None) -> Given:
    """Return the input of a notebook."""

    def make(_: Format) -> HazardCase:
        from stablemax.hazards.generated import preset

        problem = preset(name)
        labels = np.zeros(len(problem.logits), np.int64) if problem.labels is None else problem.labels
        return rows(problem.logits, labels, upstream=upstream)

    return Given(make, f'problem = preset("{name}")\nx, y = problem.logits, problem.labels')
