"""What is assumed of correct code: every operation is rounded once, exp and log are right to a few ulps.

Products of factors 1 + delta with |delta| <= u are kept as such, (1 + u)**n - 1, which is below the
gamma_n = nu / (1 - nu) of Higham, Accuracy and Stability of Numerical Algorithms (2002), lemma 3.1, and asks for no
nu < 1. All is computed in decimal numbers of 50 digits: 1 + u is 1 in float64 where u is that of float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from stablemax.numerics.arithmetic import default_accumulation
from stablemax.numerics.formats import FLOAT32, FLOAT64, Format
from stablemax.text.vocabulary import Accumulation

WIDE_ELEMENTARY_ULP = 4
"""Largest error of exp, log and log1p in float32 and wider. NumPy publishes 2.52 ulp for its float32 exp, 3.83 for its
log, and less than 4 for the vectorised float64 functions; CUDA, XLA and SLEEF stay below."""
NARROW_ELEMENTARY_ULP = 1
"""The same in narrower formats, where libraries compute in float32 and round."""
_BLOCK = 128
"""Terms up to which a pairwise sum has no pairs, but eight running sums: NumPy's."""
_WIDER = {Accumulation.FLOAT32: FLOAT32, Accumulation.FLOAT64: FLOAT64}


class NoBoundError(Exception):
    """No tolerance is enough, or none is proved; the text says why."""


def depth(terms: int, accumulation: Accumulation | None) -> int:
    """Return the most additions that a term of a sum takes part in; in any order for None.

    >>> depth(1000, None), depth(1000, Accumulation.PAIRWISE)
    (999, 30)
    """
    if accumulation is not Accumulation.PAIRWISE:
        return terms - 1
    if terms <= _BLOCK:
        # A first term, eight running sums, three additions of these, and up to seven terms that are left.
        return min(terms - 1, terms // 8 + 10)
    # Halves are cut at multiples of eight, so that one of them may need a level more.
    return _BLOCK // 8 + 10 + 1 + math.ceil(math.log2(terms / _BLOCK))


@dataclass(frozen=True)
class RoundingModel:
    """Rows of K logits of a size of at most S in a format, and how their sums are added."""

    format: Format
    classes: int
    #: The largest size of a logit, a number of the format.
    scale: float
    #: None for any order, in the precision of an ordinary kernel of the format.
    accumulation: Accumulation | None = None

    @property
    def u(self) -> Decimal:
        """Unit roundoff of the format."""
        return Decimal(self.format.u)

    @property
    def elementary_ulp(self) -> int:
        """Largest error of exp and log, in ulps."""
        return WIDE_ELEMENTARY_ULP if self.format.precision >= FLOAT32.precision else NARROW_ELEMENTARY_ULP

    @property
    def e(self) -> Decimal:
        """Largest relative error of exp and log of a normal result: one ulp is at most 2 u of a number."""
        return 2 * self.elementary_ulp * self.u

    @property
    def tiny(self) -> Decimal:
        """Largest error of a product, a quotient or a rounding whose result is subnormal."""
        return Decimal(self.format.smallest_subnormal)

    @property
    def eta(self) -> Decimal:
        """Largest error of an exp or log whose result is subnormal."""
        return self.elementary_ulp * self.tiny

    @property
    def spread(self) -> Decimal:
        """Largest difference of two logits, 2 S."""
        return 2 * Decimal(self.scale)

    @property
    def log_classes(self) -> Decimal:
        """Log of K: the largest entropy, and the largest log of a shifted sum."""
        return Decimal(self.classes).ln()

    @property
    def furthest(self) -> Decimal:
        """Largest size of a log-probability, 2 S + log K."""
        return self.spread + self.log_classes

    @property
    def accumulator(self) -> Format:
        """The format in which sums are added."""
        return _WIDER.get(self.accumulation or default_accumulation(self.format), self.format)

    @cached_property
    def _sum_roundings(self) -> tuple[tuple[Decimal, int], ...]:
        """Unit roundoffs in a sum, and how often each occurs: additions, and casts to and from the accumulator."""
        casts = [] if self.accumulator == self.format else [(self.u, 1)]
        if self.accumulator.precision < self.format.precision:
            casts = [(Decimal(self.accumulator.u), 1)]
        return ((Decimal(self.accumulator.u), depth(self.classes, self.accumulation)), *casts)

    @cached_property
    def sum_up(self) -> Decimal:
        """Factor by which rounding may raise a sum of K numbers of one sign."""
        return math.prod(((1 + u) ** n for u, n in self._sum_roundings), start=Decimal(1))

    @cached_property
    def sum_down(self) -> Decimal:
        """Factor by which rounding may lower it."""
        return math.prod(((1 - u) ** n for u, n in self._sum_roundings), start=Decimal(1))

    @property
    def lost_terms(self) -> Decimal:
        """What K exponentials may lose or gain by being subnormal, there or in a narrower accumulator."""
        is_narrower = self.accumulator.precision < self.format.precision
        return self.classes * (self.eta + (Decimal(self.accumulator.smallest_subnormal) if is_narrower else 0))

    @cached_property
    def shift(self) -> Decimal:
        """Factor by which the rounding of x - m changes exp(x - m) at most: |x - m| u is added to an exponent."""
        return (self.spread * self.u).exp()

    @cached_property
    def sum_shift(self) -> Decimal:
        """The same of the sum of exponentials, of which each class has its share.

        Under the exact probabilities the mean of m - x is the entropy minus the log of the sum, at most log K; and
        exp is convex, so that each share is at most its chord from 0 to 2 S.
        """
        if not self.scale:
            return Decimal(0)
        return min(Decimal(1), self.log_classes / self.spread) * (self.shift - 1)

    @cached_property
    def up(self) -> Decimal:
        """Factor between the sum of exp(x - m) as computed and the exact one, at most; both are at least 1."""
        return ((1 + self.sum_shift) * (1 + self.e) + self.lost_terms) * self.sum_up

    @cached_property
    def down(self) -> Decimal:
        """The same factor, at least."""
        shifted = max(1 - self.sum_shift, 1 / self.shift)
        return shifted * (1 - self.e) * self.sum_down - self.lost_terms * self.sum_up

    @property
    def log_error(self) -> Decimal:
        """Error of the log of the sum of exp(x - m) that comes from the sum."""
        return max(self.up.ln(), -self.down.ln())

    def check_range(self) -> None:
        """Refuse what may overflow, and what loses every digit."""
        name, largest = self.format.name, self.format.max
        if not self.format.has_subnormals:
            raise NoBoundError(f"{name} has no subnormal numbers, for which nothing is proved")
        if 2 * self.furthest > Decimal(largest):
            raise NoBoundError(
                f"logits of {self.scale:g} and {-self.scale:g} may leave {name}, whose largest number is {largest:g}"
            )

    def check_sums(self) -> None:
        """Refuse sums of exponentials that may overflow, or come out as nothing."""
        self.check_range()
        name, largest = self.format.name, min(self.format.max, self.accumulator.max)
        if self.classes * (1 + self.e) * self.sum_up > Decimal(largest):
            raise NoBoundError(
                f"{self.classes:,} equal logits have the sum {self.classes:,}, which with its rounding may be beyond "
                f"{largest:g}, the largest number of {name}"
            )
        if self.down <= 0 or self.classes * self.up > Decimal(largest):
            raise NoBoundError(
                f"with u = {float(self.u):g}, rounding the differences of logits of {self.scale:g} may change a sum of "
                f"exponentials by any factor"
            )
