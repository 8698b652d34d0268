"""Probabilities, log-probabilities, log-sum-exps and gradients of a problem, in the layout of its logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.errors import StablemaxError
from stablemax.inputs.problem import Problem, restore
from stablemax.loss import (
    TargetOptions,
    check_options,
    default_variant,
    format_of_problem,
    kept_rows,
    row_weights,
    targets_of,
)
from stablemax.reduction import exact_sum, rounded
from stablemax.registry import Variant, evaluate
from stablemax.vocabulary import Accumulation, Operation, Reduction

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.formats import Array, Format


@dataclass(frozen=True)
class How:
    """How to compute, where not in the default way.

    Parameters
    ----------
    variant : Variant, optional
        By default `wide`, in float64 the accurate variant.
    format : Format, optional
        By default the input's own, float64 for integers.
    accumulation : Accumulation, optional
        By default what an ordinary kernel of the format does.
    """

    variant: Variant | None = None
    format: Format | None = None
    accumulation: Accumulation | None = None

    def arithmetic(self, problem: Problem) -> Arithmetic:
        """Return the arithmetic for a problem."""
        return Arithmetic(self.format or format_of_problem(problem), self.accumulation)

    def formula(self, operation: Operation, fmt: Format) -> Variant:
        """Return the variant for an operation."""
        return self.variant or default_variant(operation, fmt)


def array_of(
    operation: Operation,
    problem: Problem,
    how: How | None = None,
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> Array:
    """Compute softmax, log-softmax or log-sum-exp of a problem, in the layout of its logits."""
    how = how or How()
    xp = how.arithmetic(problem)
    x = xp.array(problem.logits)
    return restore(evaluate(how.formula(operation, xp.format), x, xp, progress=progress), problem)


def gradient_of(
    problem: Problem,
    how: How | None = None,
    *,
    reduction: Reduction = Reduction.MEAN,
    options: TargetOptions | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Array:
    """Compute the gradient of the cross-entropy with respect to the logits, in their layout.

    The rows that are ignored have gradient 0. With ``reduction="none"`` each row holds the gradient
    of its own loss.
    """
    how, options = how or How(), options or TargetOptions()
    if problem.labels is None:
        raise StablemaxError("a gradient needs labels", "give a file of labels, or name a column with --label-column")
    classes = problem.logits.shape[1]
    check_options(options, classes)
    xp = how.arithmetic(problem)
    keep = kept_rows(problem.labels, options.ignore_index)
    labels = problem.labels[keep]
    divisor = 1.0
    if reduction is Reduction.MEAN and keep.any():
        weights = row_weights(labels, options)
        divisor = float(keep.sum()) if weights is None else rounded(exact_sum(weights))
    out = np.zeros(problem.logits.shape, dtype=xp.format.dtype)
    if keep.any():
        targets = targets_of(labels, classes, options, xp, divisor)
        formula = how.formula(Operation.CROSS_ENTROPY_GRAD, xp.format)
        out[keep] = evaluate(formula, xp.array(problem.logits[keep]), xp, targets, progress)
    return restore(out, problem)
