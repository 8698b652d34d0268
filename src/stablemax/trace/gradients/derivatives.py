"""Derivatives of the forward code alone: exact difference quotients on both sides of a number, without autograd."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import flint

from stablemax.numerics.formats import Format
from stablemax.trace.exact_cells import Special, as_cell

if TYPE_CHECKING:
    from stablemax.trace.gradients.differentiable import Differentiable

_SPARE = 40
"""Bits between the steps that are taken and the smallest number of a format."""
_SAME = 2.0**-30
_VANISHES = 2.0**-10


class Derivative(enum.Enum):
    """What a function has for a derivative at a number."""

    FINITE = "a derivative"
    KINK = "one-sided derivatives that differ"
    INFINITE = "an infinite derivative"
    NO_VALUE = "no value"
    UNKNOWN = "a derivative that was not found"


@dataclass(frozen=True)
class Slope:
    """The derivative of the sum of a function's results by one number of its input."""

    kind: Derivative
    #: The one-sided derivatives, as exact cells: both the same where there is a derivative.
    left: Any = None
    right: Any = None

    def admits(self, gradient: float) -> bool:
        """Tell whether a gradient lies between the one-sided derivatives: of a convex function it is a subgradient."""
        low, high = sorted((float(self.left), float(self.right)))
        return low <= gradient <= high


def slope_at(code: Differentiable, number: int, fmt: Format) -> Slope:
    """Take the difference quotients at a number of the input, by steps far below the smallest number of a format.

    Steps of two sizes tell a derivative from a quotient that grows without a bound. Comparisons keep the answers that
    the floats give: as for autograd, the branch that is taken is the function.
    """
    depth = fmt.precision - fmt.emin + _SPARE
    bits = 10 * depth
    with flint.ctx.workprec(bits):
        here = _sum_at(code, {}, bits)
        if here is None or isinstance(here, Special):
            return Slope(Derivative.UNKNOWN if here is None else Derivative.NO_VALUE)
        sides = [_one_sided(code, number, sign, depth, here) for sign in (-1, 1)]
        return _slope_of(sides)


def _slope_of(sides: Sequence[Any]) -> Slope:
    known = [side for side in sides if side is not None]
    if not known:
        return Slope(Derivative.UNKNOWN)
    if _GROWS in known:
        return Slope(Derivative.INFINITE)
    if any(isinstance(side, str) for side in known):
        return Slope(Derivative.UNKNOWN)
    left, right = known[0], known[-1]
    return Slope(Derivative.FINITE if _is_same(left, right) else Derivative.KINK, left, right)


_GROWS, _VARIES = "grows", "varies"


def _one_sided(code: Differentiable, number: int, sign: int, depth: int, here: Any) -> Any:
    """Return the derivative on one side; None where the function has no value there."""
    quotients = []
    for times in (1, 2):
        step = as_cell(sign) * as_cell(2) ** (-depth * times)
        there = _sum_at(code, {number: step}, 10 * depth)
        if there is None or isinstance(there, Special):
            return None
        quotient = (there - here) / step
        # Where a constant was not exact its rounding is all that is left of it.
        quotients.append(as_cell(0) if quotient.contains(0) else quotient.mid())
    wide, narrow = quotients
    if _is_same(wide, narrow):
        return narrow
    sizes = [abs(float(quotient)) for quotient in quotients]
    if sizes[1] < sizes[0] * _VANISHES:
        return as_cell(0)
    return _GROWS if sizes[1] > sizes[0] else _VARIES


def _is_same(a: Any, b: Any) -> bool:
    return bool(abs(a - b) <= _SAME * abs(b)) or bool(a == b)


def _sum_at(code: Differentiable, nudges: dict[int, Any], bits: int) -> Any:
    """Return the exact sum of the results of the forward code; None where they are not known."""
    cells = code.nudged_losses(nudges, bits)
    return None if cells is None else sum(cells.ravel().tolist(), as_cell(0))
