"""What a cross-entropy is taken against: class labels or a weight for every class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from stablemax.arithmetic import Namespace
    from stablemax.formats import Array


@dataclass(frozen=True)
class LabelTargets:
    """One class per row.

    Parameters
    ----------
    labels : ndarray of int64 (N,)
        Classes from 0 to K - 1.
    weights : ndarray (N, 1), optional
        Weight of each row's loss, in the dtype of the arithmetic it is used in.
    divisor : float
        What the gradient is divided by: the number of rows for a mean.
    """

    labels: Array
    weights: Array | None = None
    divisor: float = 1.0

    def pick(self, values: Array, xp: Namespace) -> Array:
        """Return the values at the labels, (N, 1)."""
        return xp.take(values, self.labels)

    def below(self, m: Array, x: Array, xp: Namespace) -> Array:
        """Return how far the labels' logits are below the column m, (N, 1)."""
        return m - self.pick(x, xp)

    def total(self, xp: Namespace) -> Any:
        """Return what the weights of a row sum to: 1."""
        return xp.number(1.0)

    def weigh(self, loss: Array) -> Array:
        """Multiply per-row losses (N, 1) by the rows' weights."""
        return loss if self.weights is None else loss * self.weights

    def matrix(self, classes: int, xp: Namespace) -> Array:
        """Return the one-hot matrix, (N, K)."""
        hot = np.arange(classes) == self.labels[:, None]
        return xp.where(hot, xp.number(1.0), xp.number(0.0))

    def gradient(self, e: Array, x: Array, xp: Namespace) -> Array:  # noqa: ARG002 - as SoftTargets
        """Return (p - onehot) / divisor for p = e / sum(e), without cancellation.

        At the label, p_y - 1 is minus the sum of the other probabilities: at [20, 0] in float32 it
        is -2.06e-9, where the subtraction gives 0.
        """
        hot = np.arange(e.shape[-1]) == self.labels[:, None]
        others = xp.compensated_sum(xp.where(hot, xp.number(0.0), e))
        numerator = xp.where(hot, -others, e)
        if self.weights is not None:
            numerator = numerator * self.weights
        return xp.over_sum(numerator, e, self.divisor)

    def scaled(self, gradient: Array, xp: Namespace) -> Array:
        """Multiply a gradient (N, K) by the rows' weights, then divide it by the divisor."""
        return _scaled(gradient, self.weights, self.divisor, xp)

    def rows(self, index: Any) -> LabelTargets:
        """Return the targets of some rows."""
        weights = None if self.weights is None else self.weights[index]
        return LabelTargets(self.labels[index], weights, self.divisor)

    def to(self, xp: Any) -> LabelTargets:
        """Return the targets with their weights as arrays of that arithmetic."""
        weights = None if self.weights is None else xp.array(self.weights)
        return LabelTargets(self.labels, weights, self.divisor)


@dataclass(frozen=True)
class SoftTargets:
    """A weight for every class of every row: soft labels, smoothed labels, class weights.

    Parameters
    ----------
    weights : ndarray (N, K)
        Non-negative, in the dtype of the arithmetic it is used in.
    divisor : float
        What the gradient is divided by.
    """

    weights: Array
    divisor: float = 1.0

    def pick(self, values: Array, xp: Namespace) -> Array:
        """Return the weighted sum of each row, (N, 1); a weight of 0 ignores even an infinite value."""
        # 0 * inf is NaN: a masked class with soft label 0 must not poison the row (optax 896).
        zero = xp.number(0.0)
        return xp.sum(xp.where(self.weights == zero, zero, self.weights * values))

    def below(self, m: Array, x: Array, xp: Namespace) -> Array:
        """Return the weighted sum of how far each logit is below the column m, (N, 1)."""
        return self.pick(m - x, xp)

    def total(self, xp: Namespace) -> Array:
        """Return what the weights of each row sum to, (N, 1)."""
        return xp.sum(self.weights)

    def weigh(self, loss: Array) -> Array:
        """Return the losses as they are: the weights are inside."""
        return loss

    def matrix(self, classes: int, xp: Namespace) -> Array:  # noqa: ARG002 - the matrix is at hand
        """Return the weights themselves, (N, K)."""
        return self.weights

    def gradient(self, e: Array, x: Array, xp: Namespace) -> Array:
        """Return (total p - t) / divisor for p = e / sum(e), where t are the weights.

        It is p (total - t) - t (1 - p), and both differences are taken as sums of the others.
        """
        s, t, one = xp.compensated_sum(e), self.weights, xp.number(1.0)
        p = e / s
        p_others = xp.where(xp.first_max(x), _sum_of_others(e, x, xp) / s, one - p)
        t_others = xp.where(xp.first_max(t), _sum_of_others(t, t, xp), xp.compensated_sum(t) - t)
        return self.scaled(p * t_others - t * p_others, xp)

    def scaled(self, gradient: Array, xp: Namespace) -> Array:
        """Divide a gradient (N, K) by the divisor."""
        return _scaled(gradient, None, self.divisor, xp)

    def rows(self, index: Any) -> SoftTargets:
        """Return the targets of some rows."""
        return SoftTargets(self.weights[index], self.divisor)

    def to(self, xp: Any) -> SoftTargets:
        """Return the targets with their weights as an array of that arithmetic."""
        return SoftTargets(xp.array(self.weights), self.divisor)


Targets = LabelTargets | SoftTargets


def _sum_of_others(values: Array, x: Array, xp: Namespace) -> Array:
    return xp.compensated_sum(xp.where(xp.first_max(x), xp.number(0.0), values))


def _scaled(gradient: Array, weights: Array | None, divisor: float, xp: Namespace) -> Array:
    if weights is not None:
        gradient = gradient * weights
    return gradient if divisor == 1.0 else xp.divided(gradient, divisor)
