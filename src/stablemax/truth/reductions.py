"""The mean and the sum of exact losses, and which of the two a result is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from stablemax.numerics.exact_sum import ExactSum, exact_sum, rounded
from stablemax.numerics.formats import Array, Format
from stablemax.text.vocabulary import Reduction
from stablemax.truth.balls import Truth
from stablemax.truth.measure import ExactResult


def reduced(losses: ExactResult, fmt: Format, divisor: float) -> ExactResult:
    """Divide the sum of exact losses by a number and round once: by 1 for the sum, by the number of rows for the mean.

    The result is (1, 1). It has no value where a loss has none, nor where the divisor is 0: the mean of no rows is
    0 / 0. One infinite loss makes it infinite.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> losses = ExactResult(Truth.known([[0.5], [1.0]]), np.array([False, False]))
    >>> [reduced(losses, FLOAT32, d).truth.nearest.item() for d in (2, 1, 0)]
    [0.75, 1.5, nan]
    """
    truth = losses.truth
    if truth.nearest.size == 1 and divisor == 1:
        return ExactResult(truth.mapped(lambda part: part.reshape(1, 1)), losses.undefined.reshape(1))
    total = sum_of(losses, fmt)
    return mean_of(total, Fraction(divisor), fmt, is_undefined=bool(losses.undefined.any()))


def sum_of(losses: ExactResult, fmt: Format) -> ExactSum:
    """Add exact losses, each as the number that is nearest to it and what this rounding took off."""
    near, finite = losses.truth.nearest, np.isfinite(losses.truth.nearest)
    rests = np.ldexp(losses.truth.residual_ulp[finite], losses.truth.ulp_exponent(fmt)[finite])
    return ExactSum.of(near) + replace(ExactSum.of(rests), count=0)


def mean_of(total: ExactSum, divisor: Fraction, fmt: Format, *, is_undefined: bool) -> ExactResult:
    """Divide a sum of exact losses, and round once; see `reduced`."""
    undefined = np.array([is_undefined or divisor == 0])
    if undefined[0]:
        return ExactResult(Truth.known([[math.nan]]), undefined)
    if not total.is_finite:
        return ExactResult(Truth.known([[math.inf]]), undefined)
    right = total.fraction / divisor
    near = np.full((1, 1), rounded(right))
    remainder = (right - exact_sum(near)) / exact_sum(fmt.ulp(near)) if np.isfinite(near).all() else 0
    return ExactResult(Truth(near, np.full((1, 1), float(remainder)), fmt.round(near)), undefined)


def which_reduction(
    value: Array | float, right: Mapping[Reduction, Array | float], *, within: float = math.inf
) -> tuple[Reduction, ...]:
    """Tell which reductions a loss, or a gradient, may be: those that most of its cells are nearest to.

    `right` gives what each reduction would be. A cell that is not finite, or equally near to all, tells nothing; where
    no cell tells anything (one row, no rows, an overflow) the result may be any. A cell that is off by more than
    `within` times the right value counts for none.

    >>> from stablemax.text.vocabulary import Reduction
    >>> right = {Reduction.MEAN: 2.0, Reduction.SUM: 4.0}
    >>> which_reduction(3.9, right), which_reduction(1e9, right), which_reduction(1e9, right, within=0.01)
    ((<Reduction.SUM: 'sum'>,), (<Reduction.SUM: 'sum'>,), (<Reduction.MEAN: 'mean'>, <Reduction.SUM: 'sum'>))
    >>> which_reduction(math.nan, right)
    (<Reduction.MEAN: 'mean'>, <Reduction.SUM: 'sum'>)
    """
    cells = np.asarray(value, dtype=np.float64).ravel()
    distances = np.stack([_distance(cells, np.asarray(r, dtype=np.float64).ravel(), within) for r in right.values()])
    least = distances.min(axis=0)
    nearest = (distances == least) & np.isfinite(least)
    votes = nearest.sum(axis=1)
    return tuple(reduction for reduction, count in zip(right, votes, strict=True) if count == votes.max())


def _distance(cells: Array, right: Array, within: float) -> Array:
    """Distances from what is right; infinite where they are too large or tell nothing."""
    limit = within * np.abs(right) if math.isfinite(within) else math.inf
    with np.errstate(invalid="ignore"):
        distance = np.where(cells == right, 0.0, np.abs(cells - right))
        return np.where(distance <= limit, distance, math.inf)
