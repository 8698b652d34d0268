"""What a proof of a tolerance is: a bound of the error of correct code, and what code it covers."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from stablemax.results import Tolerance
from stablemax.tolerances.rounding_model import NoBoundError, RoundingModel

_DIGITS = 50


@dataclass(frozen=True)
class ErrorBound:
    """A bound of the error of every cell: |error| <= rtol |exact| + atol."""

    rtol: Decimal
    atol: Decimal
    #: The absolute part comes from subnormal numbers alone, so that a number of ulps is enough, too.
    is_relative: bool = False

    def ulps(self, model: RoundingModel) -> Decimal | None:
        """Return how many ulps are enough; None where near 0 no number of them is.

        An ulp is at least u of its number, and at least the smallest subnormal number.
        """
        return self.rtol / model.u + self.atol / model.tiny if self.is_relative else None

    @property
    def tolerance(self) -> Tolerance:
        """The bound in float64, not rounded down."""
        return Tolerance(*(math.nextafter(float(number), math.inf) for number in (self.rtol, self.atol)))


@dataclass(frozen=True)
class ToleranceProof:
    """A proof for one operation."""

    operation: str
    #: Code that is covered, in a line.
    formula: str
    #: Our variants whose code that is; `wide`, rounded once, keeps every bound.
    covers: tuple[str, ...]
    bound: Callable[[RoundingModel], ErrorBound]
    #: What is assumed of the second argument.
    assumes: str = ""


def bound_of(proof: ToleranceProof, model: RoundingModel) -> ErrorBound | str:
    """Return the bound, or say why there is none."""
    with decimal.localcontext(prec=_DIGITS):
        try:
            bound = proof.bound(model)
        except NoBoundError as error:
            return str(error)
        except decimal.Overflow:
            bound = ErrorBound(Decimal("inf"), Decimal("inf"))
    if math.isfinite(bound.tolerance.rtol) and math.isfinite(bound.tolerance.atol):
        return bound
    return f"2 S u = {float(model.spread * model.u):.2g} is so large that rounding may change a result by any factor"
