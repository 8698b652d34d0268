"""The second argument of an operation: labels, soft targets, targets of cells, or a plain array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation, Second
from stablemax.text.errors import StablemaxError
from stablemax.text.ranges import check_range
from stablemax.text.vocabulary import IGNORED
from stablemax.text.words import counted


@dataclass(frozen=True)
class LabelTargets:
    """One class per row."""

    labels: Array  #: int64 (N,), from 0 to K - 1
    weights: Array | None = None  #: (N, 1), of each row's loss, in the dtype of the arithmetic it is used in
    divisor: float = 1.0  #: of the gradient: the number of rows for that of a mean

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
    """A weight for every class of every row: soft labels, smoothed labels, class weights."""

    weights: Array  #: (N, K), non-negative, in the dtype of the arithmetic it is used in
    divisor: float = 1.0  #: of the gradient

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


@dataclass(frozen=True)
class CellTargets:
    """A target in [0, 1] for each cell, as of a binary cross-entropy."""

    values: Array  #: (N, K), in the dtype of the arithmetic it is used in
    weight: Array | None = None  #: of each cell's loss, (N, K)
    pos_weight: Array | None = None  #: of the positive part of each class's losses, (1, K)
    divisor: float = 1.0  #: of the gradient: the number of cells for that of a mean

    @property
    def positive(self) -> Array:
        """What log(sigmoid(x)) weighs: the target, times the weight of positive targets."""
        return self.values if self.pos_weight is None else self.values * self.pos_weight

    def negative(self, xp: Namespace) -> Array:
        """Return what log(sigmoid(-x)) weighs: 1 minus the target."""
        return xp.number(1.0) - self.values

    def weigh(self, losses: Array, xp: Namespace) -> Array:
        """Multiply losses (N, K) by the weights of their cells."""
        return losses if self.weight is None else times(self.weight, losses, xp)

    def scaled(self, gradient: Array, xp: Namespace) -> Array:
        """Multiply a gradient (N, K) by the weights of its cells, then divide it by the divisor."""
        return _scaled(gradient, self.weight, self.divisor, xp)

    def rows(self, index: Any) -> CellTargets:
        """Return the targets of some rows."""
        weight = None if self.weight is None else self.weight[index]
        return CellTargets(self.values[index], weight, self.pos_weight, self.divisor)

    def columns(self, index: Any) -> CellTargets:
        """Return the targets of some classes."""
        weight, pos_weight = (None if a is None else a[:, index] for a in (self.weight, self.pos_weight))
        return CellTargets(self.values[:, index], weight, pos_weight, self.divisor)

    def cells(self, rows: Array, columns: Array) -> CellTargets:
        """Return the targets of some cells, as a column."""
        weight = None if self.weight is None else self.weight[rows, columns][:, None]
        pos_weight = None if self.pos_weight is None else self.pos_weight[0, columns][:, None]
        return CellTargets(self.values[rows, columns][:, None], weight, pos_weight, self.divisor)

    def finite(self) -> CellTargets:
        """Return the targets in float64, with 0 for what is not finite, of cells that have no value."""
        weight, pos_weight = (None if a is None else _finite(a) for a in (self.weight, self.pos_weight))
        return CellTargets(_finite(self.values), weight, pos_weight, self.divisor)

    def to(self, xp: Any) -> CellTargets:
        """Return the targets as arrays of that arithmetic."""
        weight, pos_weight = (None if a is None else xp.array(a) for a in (self.weight, self.pos_weight))
        return CellTargets(xp.array(self.values), weight, pos_weight, self.divisor)


TARGETS = (LabelTargets, SoftTargets, CellTargets)


def second_of(
    operation: Operation, array: Array | None, xp: Any, divisor: float = 1.0, options: TargetOptions | None = None
) -> Any:
    """Turn the array that an operation takes beside the logits, if it is no labels, into its second argument."""
    if array is None:
        return None
    if operation.second is not Second.CELL_TARGETS:
        return xp.array(array)
    # A NaN is outside, too.
    outside = ~((array >= 0) & (array <= 1))
    if outside.any():
        raise StablemaxError(
            f"the target {float(array[outside][0]):g} is not in [0, 1]", "a target of a cell is a probability"
        )
    weight, pos_weight = (None, None) if options is None else (options.weight, options.pos_weight)
    return CellTargets(
        xp.array(array),
        None if weight is None else xp.array(np.broadcast_to(weight, array.shape)),
        None if pos_weight is None else xp.array(pos_weight[None, :]),
        divisor,
    )


def cell_targets(labels: Array, classes: int) -> Array:
    """Return the targets of cells (N, K): soft targets as they are, of labels (N,) those of a single class."""
    return labels if labels.ndim == 2 else np.asarray(np.arange(classes) == labels[:, None], dtype=np.float64)


def rows_of(second: Any, index: Any) -> Any:
    """Return some rows of a second argument: of targets, or of any library's array."""
    if second is None:
        return None
    return second.rows(index) if isinstance(second, TARGETS) else second[index]


def cells_of(second: Any, rows: Array, columns: Array) -> Any:
    """Return some cells of the second argument of a cell-wise operation, as a column."""
    if second is None:
        return None
    return second.cells(rows, columns) if isinstance(second, CellTargets) else second[rows, columns][:, None]


def columns_of(second: Any, index: Any) -> Any:
    """Return some classes of the second argument of a cell-wise operation: of targets of cells, or of an array."""
    if second is None:
        return None
    return second.columns(index) if isinstance(second, CellTargets) else second[:, index]


def finite_of(second: Any) -> Any:
    """Return the second argument of a cell-wise operation with 0 for what is not finite."""
    return second.finite() if isinstance(second, CellTargets) else second


def in_arithmetic(second: Any, xp: Any) -> Any:
    """Return a second argument as arrays of an arithmetic."""
    if second is None:
        return None
    return second.to(xp) if isinstance(second, TARGETS) else xp.array(second)


def arrays_of(second: Any, count: int) -> list[Array]:
    """Return the arrays of a second argument that have a row for each of `count` rows of logits."""
    if isinstance(second, TARGETS):
        return [v for v in vars(second).values() if isinstance(v, np.ndarray) and len(v) == count]
    return [] if second is None else [second]


def _finite(array: Array) -> Array:
    return np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def times(weights: Array, values: Array, xp: Namespace) -> Array:
    """Multiply values by weights; a weight of 0 ignores even an infinite value."""
    zero = xp.number(0.0)
    return xp.where(weights == zero, zero, weights * values)


def _sum_of_others(values: Array, x: Array, xp: Namespace) -> Array:
    return xp.compensated_sum(xp.where(xp.first_max(x), xp.number(0.0), values))


def _scaled(gradient: Array, weights: Array | None, divisor: float, xp: Namespace) -> Array:
    if weights is not None:
        gradient = gradient * weights
    return gradient if divisor == 1.0 else xp.divided(gradient, divisor)


@dataclass(frozen=True)
class TargetOptions:
    """How labels become targets; as in torch.nn.functional.cross_entropy."""

    weight: Array | None = None  #: of each class, float64 (K,), 0 or more
    label_smoothing: float = 0.0  #: the share of every target that is spread evenly over the classes
    ignore_index: int | None = IGNORED  #: rows with this label do not count
    weight_name: str = "the weights"  #: in messages
    pos_weight: Array | None = None  #: of positive targets of cells, for each class, float64 (K,), 0 or more


def check_options(options: TargetOptions, classes: int) -> None:
    """Refuse a smoothing outside [0, 1], and weights that are not K finite numbers of 0 or more."""
    check_range("--label-smoothing", options.label_smoothing, 0.0, 1.0, "it is a share, from 0 to 1")
    for weight in (options.weight, options.pos_weight):
        if weight is not None:
            _check_weight(weight, classes, options)


def _check_weight(weight: Array, classes: int, options: TargetOptions) -> None:
    if weight.shape != (classes,):
        raise StablemaxError(
            f"{options.weight_name}: shape {weight.shape} does not fit {counted(classes, 'class')}",
            "give one weight for each class",
        )
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if bad.size:
        raise StablemaxError(
            f"{options.weight_name}: weight {weight[bad[0]]!s} of class {bad[0]} is not a finite number of 0 or more",
            "class weights are 0 or more",
        )


def kept_rows(labels: Array, ignore_index: int | None) -> Array:
    """Mark the rows that count: all but those labelled `ignore_index`."""
    if labels.ndim == 2 or ignore_index is None:
        return np.ones(len(labels), dtype=bool)
    return np.asarray(labels != ignore_index)


def row_weights(labels: Array, options: TargetOptions) -> Array | None:
    """Return what the mean divides by the sum of, (N,); None where it divides by the number of rows."""
    if options.weight is None or labels.ndim == 2:
        return None
    return np.asarray(options.weight[labels])


def targets_of(labels: Array, classes: int, options: TargetOptions, xp: Any, divisor: float = 1.0) -> Targets:
    """Turn labels, none of them ignored, into targets in an arithmetic.

    Smoothed: ``(1 - eps) w_y`` at the label plus ``eps / K w_c`` everywhere. Soft targets:
    ``((1 - eps) t + eps / K) w_c``.
    """
    eps, weight = options.label_smoothing, options.weight
    if labels.ndim == 1 and eps == 0.0:
        rows = None if weight is None else xp.array(weight[labels][:, None])
        return LabelTargets(labels, rows, divisor)
    soft = labels if labels.ndim == 2 else np.zeros((len(labels), classes))
    if labels.ndim == 1:
        soft[np.arange(len(labels)), labels] = 1.0
    if eps:
        soft = (1.0 - eps) * soft + eps / classes
    if weight is not None:
        soft = soft * weight
    return SoftTargets(xp.array(soft), divisor)
