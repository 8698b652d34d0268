"""What is swept, from where to where, for which formulas, and how they are judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stablemax.libraries import version
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.operations import all_operations
from stablemax.operations.operation import Operation
from stablemax.operations.variant import Variant, matches, matching
from stablemax.sweeping.quantities import quantity_named
from stablemax.sweeping.swept_quantity import Range, SweptQuantity
from stablemax.text.errors import StablemaxError
from stablemax.text.ranges import check_max_ulp, check_range
from stablemax.text.vocabulary import Accumulation

DEFAULT_FORMATS = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)
MOST_STEPS = 10_000


@dataclass(frozen=True)
class SweepOptions:
    """A swept quantity, its range, the formulas and the formats."""

    over: str = "scale"
    #: The ends of the range; those of the quantity's record when not given.
    start: float | None = None
    stop: float | None = None
    #: How many values the picture has; as the record says when not given.
    steps: int | None = None
    #: Whether they grow by a factor or by a step; as the record says when not given.
    is_log: bool | None = None
    #: Values instead of a range, in the order in which they are shown.
    values: tuple[float, ...] = ()
    formats: tuple[Format, ...] = ()
    #: Empty for those of the first screen of `compare`, or those that a pattern names.
    operations: tuple[Operation, ...] = ()
    #: Globs of variant names or ids; empty for the naive, the usual and the most accurate formula.
    patterns: tuple[str, ...] = ()
    #: Of other libraries; added to ours, and chosen among where a pattern names one of them.
    built_ins: tuple[Variant, ...] = ()
    #: How sums are added; each format's ordinary kernel when not given.
    accumulation: Accumulation | None = None
    #: Errors above are inaccurate; half of the format's bits when not given.
    max_ulp: float | None = None
    #: Keep every output.
    keeps_values: bool = False

    def __post_init__(self) -> None:
        check_max_ulp(self.max_ulp)
        check_range("--steps", self.steps, 2, MOST_STEPS, "2 or more")
        self._check_ends()

    @property
    def quantity(self) -> SweptQuantity:
        """The record of what is swept."""
        return quantity_named(self.over)

    @property
    def by_factor(self) -> bool:
        """True where the values of the picture grow by a factor."""
        return self.quantity.is_log if self.is_log is None else self.is_log

    @property
    def step_count(self) -> int:
        """How many values the picture has."""
        return self.quantity.steps if self.steps is None else self.steps

    @property
    def to_the_end(self) -> bool:
        """True where nothing ends the search before the format does."""
        return not self.values and self.start is None and self.stop is None

    def shown(self, fmt: Format) -> Range:
        """Return the range of the picture in a format."""
        low, high = self.quantity.shown(fmt)
        return (low if self.start is None else self.start, high if self.stop is None else self.stop)

    def searched(self, fmt: Format) -> Range:
        """Return the range that is searched for breaking points in a format."""
        if self.values:
            return min(self.values), max(self.values)
        low, high = self.quantity.searched(fmt)
        return (low if self.start is None else self.start, high if self.stop is None else self.stop)

    def _check_ends(self) -> None:
        quantity = self.quantity
        low, high = quantity.limits
        for name, value in (("--from", self.start), ("--to", self.stop)):
            if low == 0:
                check_range(name, value, math.nextafter(0.0, 1.0), high, f"the {quantity.name} is above 0")
            check_range(name, value, low, high, f"the {quantity.name} is {low:g} or more")
            if value is not None and quantity.is_whole and not float(value).is_integer():
                raise StablemaxError(f"{name} {value} is not a whole number", f"such as {name} {round(value)}")
        for fmt in () if self.values else self.formats or DEFAULT_FORMATS:
            start, stop = self.shown(fmt)
            if start >= stop:
                raise StablemaxError(f"--from {start:g} is not below --to {stop:g}", _ordered(start, stop))
            if self.by_factor and start <= 0:
                raise StablemaxError(
                    f"--log needs values above 0, and they begin at {start:g}", "add --from 1, or take --linear"
                )

    @property
    def asked_operations(self) -> tuple[Operation, ...]:
        """The operations that are asked for; without any, those that a pattern names or those of the first screen."""
        if self.operations:
            return self._concerned(self.operations, is_asked=True)
        prefixes = {pattern.partition("/")[0] for pattern in self.patterns if "/" in pattern}
        named = tuple(o for o in all_operations() if o.name in prefixes)
        return self._concerned(named or tuple(o for o in all_operations() if o.in_overview), is_asked=bool(named))

    def _concerned(self, operations: tuple[Operation, ...], *, is_asked: bool) -> tuple[Operation, ...]:
        kept = tuple(o for o in operations if self.quantity.concerns(o))
        if not kept or (is_asked and len(kept) < len(operations)):
            known = [o.name for o in all_operations() if self.quantity.concerns(o)]
            other = next(o for o in operations if o not in kept)
            raise StablemaxError(f"{other} is not swept over {self.over}", f"take --operation {' or '.join(known)}")
        return kept

    def chosen(self, operation: Operation) -> tuple[Variant, ...]:
        """Return what to run of an operation: the libraries' built-ins after our variants."""
        named = [b for b in self.built_ins if matches(b.id, self.patterns)]
        theirs = tuple(b for b in named or self.built_ins if b.operation is operation)
        if self.patterns:
            return (*matching(operation, self.patterns), *theirs)
        # Where the mean is what breaks, every formula's losses are alike.
        ours = usual_variants(operation)
        return (*(ours[-1:] if self.quantity.of_mean else ours), *theirs)

    def plan(self) -> dict[Operation, tuple[Variant, ...]]:
        """Return what to run, by operation."""
        plan = {o: chosen for o in self.asked_operations if (chosen := self.chosen(o))}
        every = [v for chosen in plan.values() for v in chosen]
        if self.patterns and not any(matches(v.id, self.patterns) or matches(v.name, self.patterns) for v in every):
            raise StablemaxError(
                f"no variant of {', '.join(map(str, self.asked_operations))} matches {', '.join(self.patterns)}",
                "stablemax list variants",
            )
        return plan

    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that take part."""
        return {b.library: version(b.library) for b in self.built_ins}


def _ordered(start: float, stop: float) -> str:
    """Name two ends in their order."""
    if start == stop:
        return f"give both, the smaller first: --from {start:g} --to {2 * abs(start) + 1:g}"
    return f"give both, the smaller first: --from {stop:g} --to {start:g}"


def usual_variants(operation: Operation) -> tuple[Variant, ...]:
    """Return the naive, the usual stable and the most accurate formula of an operation.

    >>> from stablemax.operations import get_operation
    >>> [v.name for v in usual_variants(get_operation("cross_entropy"))]
    ['naive', 'shifted', 'compensated']
    """
    return matching(operation, operation.main_variants)
