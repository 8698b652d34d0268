"""The truth about a traced function's result, in each shape and meaning that it may have."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.exact import Truth
from stablemax.measure import CODES, ExactResult, Judgement, exact_result, judge
from stablemax.operations.targets import LabelTargets
from stablemax.reduction import exact_sum, rounded
from stablemax.results import Outcome
from stablemax.shadow.cells import nearest

if TYPE_CHECKING:
    from stablemax.formats import Array, Format
    from stablemax.operations.operation import Operation

IGNORED = -100
"""A row with this label does not count, as in PyTorch."""

_FAILURES = [CODES.index(o) for o in Outcome if o.is_failure]
# A shadow this near to the truth is the truth: what is left is the width of its ball.
_SAME_ULP = 1e-6


@dataclass(frozen=True)
class Reading:
    """What a result may be, and the truth about that.

    Parameters
    ----------
    exact : ExactResult
        The truth, (N, C), or (1, 1) for a loss of all rows.
    format : Format
        Of the logits.
    max_ulp : float or None
        Errors above are inaccurate; half of the format's bits when None.
    meaning : str
        In words; empty where there is no other.
    """

    exact: ExactResult
    format: Format
    max_ulp: float | None = None
    meaning: str = ""

    def judged(self, values: Array) -> Judgement:
        """Judge a result, float64 numbers in any layout."""
        shaped = values.reshape(self.exact.truth.nearest.shape)
        return judge(shaped, self.exact, self.format, max_ulp=self.max_ulp)

    def failing(self, values: Array) -> Array:
        """Mark the failures of a result, (N, C)."""
        return np.isin(self.judged(values).codes, _FAILURES)

    def wrong_exactly(self, shadow: Array) -> Array:
        """Mark the cells for which exact arithmetic gives another value than it should, (N, C).

        A cell for which it gives no value, as for inf - inf, tells nothing of the formula.
        """
        right = nearest(shadow).reshape(self.exact.truth.nearest.shape)
        same = self.exact.truth.error_ulp(right, self.format) <= _SAME_ULP
        failing = self.failing(np.where(same, self.exact.truth.rounded, self.format.round(right)))
        return np.asarray(failing & ~np.isnan(right))


@dataclass(frozen=True)
class Question:
    """What a function is to compute.

    Parameters
    ----------
    operation : Operation
        What.
    logits : ndarray of float64 (N, K)
        Of what, rounded to the format.
    second : ndarray or None
        Labels (N,) or an upstream gradient (N, K).
    format : Format
        In what numbers.
    max_ulp : float or None
        Errors above are inaccurate; half of the format's bits when None.
    """

    operation: Operation
    logits: Array
    second: Array | None
    format: Format
    max_ulp: float | None = None

    def readings(self, shape: tuple[int, ...], forward: Array | None = None) -> list[Reading]:
        """List what a result of some shape may be, the likeliest first.

        Parameters
        ----------
        shape : tuple of int
            Of the result.
        forward : ndarray of float64, optional
            The loss, or the losses, that autograd took the gradient of: their sum is that of the losses
            or their mean, and so is the gradient's.

        Raises
        ------
        StablemaxError
            If the operation has no result of this shape.
        """
        rows, classes = self.logits.shape
        if self.operation.reduces and math.prod(shape) == 1 and shape != (rows,):
            return [
                self._reading(_reduced(self._by_row, self.format, int(self._kept.sum())), "the mean of the losses"),
                self._reading(_reduced(self._by_row, self.format, 1), "the sum of the losses"),
            ]
        fitting = ((rows,), (rows, 1)) if self.operation.per_row else ((rows, classes),)
        if shape not in fitting:
            raise StablemaxError(
                f"the traced function returns a tensor of shape {shape} for logits of shape {self.logits.shape}",
                f"{self.operation} has shape {fitting[0]}; --operation names what is computed",
            )
        if not self.operation.of_losses:
            return [self._reading(self._by_row)]
        mean = self._reading(self._with_divisor(float(max(1, self._kept.sum()))), "the gradient of the mean loss")
        summed = self._reading(self._by_row, "the gradient of the sum of the losses")
        if forward is None:
            return [mean, summed]
        return [r for r, likely in zip((mean, summed), self._likely(forward), strict=True) if likely]

    def _likely(self, forward: Array) -> tuple[bool, bool]:
        """Tell whether a loss may be the mean of the losses, and whether it may be their sum: the nearer one."""
        by_row = replace(self, operation=self.operation.forward or self.operation)._by_row
        divisors = (int(self._kept.sum()), 1)
        mean, total = (float(_reduced(by_row, self.format, d).truth.nearest[0, 0]) for d in divisors)
        with np.errstate(invalid="ignore"):
            found = float(forward.sum())
        off_mean, off_total = abs(found - mean), abs(found - total)
        if math.isfinite(off_mean) and math.isfinite(off_total):
            return off_mean <= off_total, off_total <= off_mean
        # A loss that is not finite tells nothing; a loss of each row is summed by autograd all the same.
        return forward.size == 1, True

    def _reading(self, exact: ExactResult, meaning: str = "") -> Reading:
        return Reading(exact, self.format, self.max_ulp, meaning if len(self.logits) > 1 else "")

    @functools.cached_property
    def _kept(self) -> Array:
        if not self.operation.needs_targets or self.second is None:
            return np.ones(len(self.logits), dtype=bool)
        return np.asarray(self.second != IGNORED)

    @functools.cached_property
    def _by_row(self) -> ExactResult:
        return self._with_divisor(1.0)

    def _with_divisor(self, divisor: float) -> ExactResult:
        kept = self._kept
        targets: Any = self.second
        if self.operation.needs_targets:
            assert self.second is not None, "a cross-entropy has labels"
            targets = LabelTargets(self.second[kept], None, divisor)
        found = exact_result(self.operation, self.logits[kept], targets, self.format)
        if kept.all():
            return found
        # Ignored rows have loss and gradient 0, whatever is in them.
        undefined = np.zeros(len(kept), dtype=bool)
        undefined[kept] = found.undefined
        truth = found.truth
        return ExactResult(
            Truth(*(_spread(p, kept) for p in (truth.nearest, truth.residual_ulp, truth.rounded))), undefined
        )


def _spread(part: Array, kept: Array) -> Array:
    out = np.zeros((len(kept), part.shape[1]))
    out[kept] = part
    return out


def _reduced(by_row: ExactResult, fmt: Format, divisor: int) -> ExactResult:
    """Sum of exact losses over a number, exact itself."""
    near = by_row.truth.nearest.ravel()
    undefined = np.array([bool(by_row.undefined.any()) or divisor == 0])
    if undefined[0] or not np.isfinite(near).all():
        value = np.full((1, 1), math.nan if undefined[0] else math.inf)
        return ExactResult(Truth(value, np.zeros((1, 1)), value), undefined)
    rest = np.ldexp(by_row.truth.residual_ulp.ravel(), by_row.truth.ulp_exponent(fmt).ravel())
    right = (exact_sum(near) + exact_sum(rest)) / Fraction(divisor)
    value = np.full((1, 1), rounded(right))
    remainder = float((right - exact_sum(value)) / exact_sum(fmt.ulp(value))) if np.isfinite(value).all() else 0.0
    return ExactResult(Truth(value, np.full((1, 1), remainder), fmt.round(value)), undefined)
