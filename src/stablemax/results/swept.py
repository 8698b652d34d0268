"""What a sweep returns: every formula along one quantity, and the exact values between which it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stablemax.text.outcomes import Grade, Outcome

_INFINITE = (Outcome.NAN, Outcome.OVERFLOW)
"""What a picture shows as it is, although it is called stable at the end of the range."""


@dataclass(frozen=True)
class SweptPoint:
    """One formula at one value of the swept quantity, judged."""

    #: A number of the format, or an integer; as it was asked for where the format cannot hold it
    value: float
    #: The worst of the cells of the worst grade; None where there is no output to judge
    outcome: Outcome | None
    #: Accurate, stable or unstable; broken where code gives no answer; None where it was not run
    grade: Grade | None
    #: Largest error of a finite cell, in ulps of the format
    error_ulp: float | None = None
    #: Largest error relative to the largest value of its row, in units of u, and what the formula's theorem allows
    error_u: float | None = None
    bound_u: float | None = None
    #: A logit lies beyond a quarter of the format's largest number: no failure there makes code unstable
    at_range_end: bool = False
    #: The output, where it was asked for
    values: tuple[float, ...] = ()

    @property
    def fails(self) -> bool:
        """True where the formula is to blame: it is unstable, gives no answer, or is wrong at the end of the range."""
        if self.at_range_end and self.outcome is not None and self.outcome.is_failure:
            return True
        return self.grade in (Grade.UNSTABLE, Grade.BROKEN)

    @property
    def holds(self) -> bool:
        """True where the result is right, or loses no more than stable code may lose."""
        return self.outcome is not None and not self.fails and (self.outcome is Outcome.OK or self.outcome.is_failure)

    @property
    def sign(self) -> Outcome | Grade | None:
        """What a picture shows; None where the formula was not run."""
        if self.outcome is None:
            return self.grade
        return Grade.STABLE if self.grade is Grade.STABLE and self.outcome not in _INFINITE else self.outcome


@dataclass(frozen=True)
class Change:
    """Two neighbouring numbers, nothing between them, with different outcomes or grades."""

    below: SweptPoint
    above: SweptPoint

    @property
    def is_break(self) -> bool:
        """True where the formula holds on one side, and on the other is unstable or gives no answer."""
        if not (self.right.holds and self.broken.fails):
            return False
        return self.broken.grade in (Grade.UNSTABLE, Grade.BROKEN)

    @property
    def right(self) -> SweptPoint:
        """The side that holds, of a break."""
        return self.below if self.below.holds else self.above

    @property
    def broken(self) -> SweptPoint:
        """The side that fails, of a break."""
        return self.above if self.below.holds else self.below


@dataclass(frozen=True)
class SweptLine:
    """One formula in one format along the swept quantity."""

    operation: str
    #: A variant, a library's built-in, or somebody's code
    variant: str
    format: str
    #: How its sums are added
    accumulation: str
    #: The values of the picture, in its order
    points: tuple[SweptPoint, ...]
    #: Breaking points: where right results end or begin
    breaks: tuple[Change, ...] = ()
    #: Every change of outcome or grade that was found, breaks among them
    changes: tuple[Change, ...] = ()
    #: From where to where breaks were looked for
    searched: tuple[float, float] = (0.0, 0.0)
    #: How many values were tried: between two neighbours of them with one outcome nothing was looked at
    scanned: int = 0
    #: How the mean of the losses is taken, where that is what is judged; else empty
    mean: str = ""
    #: Why it was not run; empty when it was
    skipped: str = ""

    @property
    def always_fails(self) -> bool:
        """True where it is right at no value."""
        return any(point.fails for point in self.points) and not any(point.holds for point in self.points)

    @property
    def label(self) -> str:
        """The variant, and how it takes the mean."""
        return f"{self.variant}: {self.mean}" if self.mean else self.variant


@dataclass(frozen=True)
class SumStall:
    """Where a sum of ones, added one by one, stops growing."""

    format: str
    #: The first count of ones to which one more adds nothing, and what they add up to
    terms: int
    total: float


@dataclass(frozen=True)
class Sweep:
    """What `sweep` returns."""

    #: The swept quantity, what its values mean, and its noun in sentences
    over: str
    meaning: str
    noun: str
    #: Values of the picture grow by a factor, not by a step; they are whole numbers
    is_log: bool
    is_whole: bool
    formats: tuple[str, ...]
    #: By format, then in the order of operations and variants
    lines: tuple[SweptLine, ...]
    #: The limit above which an error is inaccurate; None for half of each format's bits
    max_ulp: float | None
    finding: str
    command: tuple[str, ...] = ()
    #: True where no --from and --to ended the search before the format does
    to_the_end: bool = True
    stalls: tuple[SumStall, ...] = ()
    notes: tuple[str, ...] = ()
    #: Versions of the other libraries that took part
    libraries: Mapping[str, str] = field(default_factory=dict)
