"""An input as mistakes are computed on it, in float64, and the right formulas in their pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stablemax.hazards.cases import HazardCase
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation
from stablemax.operations.targets import cell_targets
from stablemax.text.vocabulary import IGNORED, Reduction


@dataclass(frozen=True)
class Example:
    """Logits (N, K) and what stands beside them, in float64."""

    x: Array
    #: Class numbers (N,), 0 for an ignored row, and the target rows (N, K), those of ignored rows 0.
    labels: Array
    targets: Array
    #: Rows that count.
    kept: Array
    upstream: Array
    #: A target in [0, 1] for each cell, and other logits (N, K).
    cells: Array
    others: Array
    #: Of each class.
    weight: Array
    smoothing: float = 0.0
    #: One number for all rows: their mean or, where `summed`, their sum; so with gradients.
    reduced: bool = False
    summed: bool = False

    @property
    def row_weight(self) -> Array:
        """The weight of each row's label; 0 for an ignored row."""
        return self.weight[self.labels] * self.kept

    @property
    def divisor(self) -> float:
        """What the mean divides by."""
        return float(self.row_weight.sum())

    def reduce(self, losses: Array, divisor: float | None = None) -> Array:
        """Return losses of rows as the code gives them: each, their sum or their mean."""
        losses = losses * self.kept
        if not self.reduced:
            return losses
        total = losses.sum()
        return np.asarray(total if self.summed else total / (divisor or self.divisor))

    def spread(self, gradient: Array, divisor: float | None = None) -> Array:
        """Return a gradient of the sum of the losses as that of their mean, where that is meant; 0 in ignored rows."""
        gradient = gradient * self.kept[:, None]
        return gradient if self.summed else gradient / (divisor or self.divisor)

    def over_cells(self, losses: Array) -> Array:
        """Return losses of cells as the code gives them."""
        if not self.reduced:
            return losses
        return np.asarray(losses.sum() if self.summed else losses.mean())


def example_of(case: HazardCase, operation: Operation, reduction: Reduction, *, reduced: bool) -> Example:
    """Take the input of a check as an example."""
    (rows, classes), labels = case.logits.shape, case.labels
    is_class = labels.ndim == 1
    kept = labels != IGNORED if is_class else np.ones(rows, dtype=bool)
    numbers = np.where(kept, labels, 0) if is_class else labels.argmax(axis=-1)
    hard = cell_targets(labels, classes) * kept[:, None]
    soft = (1 - case.label_smoothing) * hard + case.label_smoothing / classes * kept[:, None]
    flipped = case.logits[:, ::-1] if case.other_logits is None else case.other_logits
    weight = np.ones(classes) if case.weight is None else case.weight
    return Example(
        case.logits,
        numbers,
        soft,
        kept,
        case.upstream,
        np.clip(hard, 0, 1) if case.cell_targets is None else case.cell_targets,
        flipped,
        weight,
        case.label_smoothing,
        reduced,
        summed=reduction is Reduction.SUM and (operation.reduces or operation.of_losses),
    )


class Probabilities(NamedTuple):
    """Probabilities and their logarithms (N, K), as code takes them from the logits."""

    p: Array
    log_p: Array


def log_sum(x: Array, axis: int | None = -1) -> Array:
    """Return the log-sum-exp along an axis, kept."""
    m = x.max(axis=axis, keepdims=True)
    return np.asarray(m + np.log(np.exp(x - m).sum(axis=axis, keepdims=True)))


def normalised_by(x: Array, normaliser: Array) -> Probabilities:
    """Return exp(x - L) and x - L."""
    return Probabilities(np.exp(x - normaliser), x - normaliser)


def right_probabilities(e: Example) -> Probabilities:
    """Return the softmax and the log-softmax."""
    return normalised_by(e.x, log_sum(e.x))


def _cross_entropy(e: Example, d: Probabilities) -> Array:
    return e.reduce(-(e.weight * e.targets * d.log_p).sum(axis=-1))


def _cross_entropy_grad(e: Example, d: Probabilities) -> Array:
    t = e.weight * e.targets
    return e.spread(d.p * t.sum(axis=-1, keepdims=True) - t)


class OfProbabilities(NamedTuple):
    """What one operation makes of the probabilities of an example."""

    operation: str
    make: Callable[[Example, Probabilities], Array]

    def of_right_ones(self, e: Example) -> Array:
        """Return the right result."""
        return self.make(e, right_probabilities(e))


OF_PROBABILITIES = (
    OfProbabilities("softmax", lambda _, d: d.p),
    OfProbabilities("log_softmax", lambda _, d: d.log_p),
    OfProbabilities("logsumexp", lambda e, d: (e.x - d.log_p)[:, 0]),
    OfProbabilities("cross_entropy", _cross_entropy),
    OfProbabilities("cross_entropy_grad", _cross_entropy_grad),
    OfProbabilities("softmax_vjp", lambda e, d: d.p * (e.upstream - (d.p * e.upstream).sum(axis=-1, keepdims=True))),
    OfProbabilities("entropy", lambda _, d: -(d.p * d.log_p).sum(axis=-1)),
)
"""What the operations of the softmax family make of probabilities, be they right or not."""


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


def _divergence(e: Example) -> Array:
    p, q = (normalised_by(x, log_sum(x)) for x in (e.x, e.others))
    return e.reduce((p.p * (p.log_p - q.log_p)).sum(axis=-1))


class _Right(NamedTuple):
    """The right result of one operation."""

    operation: str
    result: Callable[[Example], Array]


_ALL_RIGHT = (
    *(_Right(of_one.operation, of_one.of_right_ones) for of_one in OF_PROBABILITIES),
    _Right("sigmoid", lambda e: sigmoid(e.x)),
    _Right("log_sigmoid", lambda e: -np.logaddexp(0.0, -e.x)),
    _Right("softplus", lambda e: np.logaddexp(0.0, e.x)),
    _Right("binary_cross_entropy", lambda e: e.over_cells(np.logaddexp(0.0, e.x) - e.cells * e.x)),
    _Right("binary_cross_entropy_grad", lambda e: (sigmoid(e.x) - e.cells) / (1.0 if e.summed else e.x.size)),
    _Right("kl_divergence", _divergence),
)
RIGHT: dict[str, Callable[[Example], Array]] = dict(_ALL_RIGHT)
"""The right result of each operation, on an example."""
