"""What `tolerance` returns: the tolerance that is proved, the errors that were found, and what a tolerance is worth."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """|actual - expected| <= atol + rtol |expected|, cell by cell."""

    rtol: float
    atol: float


@dataclass(frozen=True)
class WorstCell:
    """The cell whose error is largest beside what is allowed there."""

    input: str
    row: int
    #: None where a row gives one number
    column: int | None
    output: float
    exact: float
    error: float
    allowed: float


@dataclass(frozen=True)
class SoundRun:
    """Sound code that was run: a variant, and how its sums were added."""

    variant: str
    accumulation: str
    #: Largest error of a cell, and in ulps
    error: float
    error_ulp: float
    #: Largest error over what the proof allows; None where nothing is proved
    over_proved: float | None
    #: Where it is largest beside the tolerance that was asked about, else beside the proved one
    worst: WorstCell
    #: It passes the tolerance that was asked about; None where none was
    passes: bool | None = None


@dataclass(frozen=True)
class BugRun:
    """Code with a seeded bug that was run."""

    name: str
    #: What is wrong with it, as a sentence goes on: "its sum leaves out the last class"
    words: str
    #: Largest error of a cell
    error: float
    #: Its error goes beyond what correct code may need, so that a tolerance can tell it at this scale
    is_told: bool
    #: It passes the tolerance that was asked about; None where none was
    passes: bool | None = None


class ToleranceVerdict(enum.StrEnum):
    """What is wrong with a tolerance; both may be."""

    TOO_TIGHT = "too tight"
    LETS_BUGS_THROUGH = "lets bugs through"
    RIGHT = "right"


@dataclass(frozen=True)
class ToleranceReport:
    """What `tolerance` returns."""

    operation: str
    format: str
    classes: int
    #: The largest size of a logit
    scale: float
    #: How sums are added, in words; empty where there are none
    sums: str
    #: Rounded up to two digits; None where no tolerance is proved, and why
    proved: Tolerance | None
    proved_ulp: float | None
    no_proof: str
    #: The formula that the proof is about, and what it assumes
    formula: str
    assumes: tuple[str, ...]
    #: The least multiple of the proved tolerance that covers what was found; None where nothing is proved
    found: Tolerance | None
    found_error: float
    found_ulp: float
    #: What was run, and how many rows in all
    sound: tuple[SoundRun, ...]
    bugs: tuple[BugRun, ...]
    rows: int
    #: The tolerance that was asked about, and what is wrong with it
    asked: Tolerance | None
    verdicts: tuple[ToleranceVerdict, ...]
    #: Lines to paste, by library
    lines: dict[str, str]
    finding: str
    command: tuple[str, ...] = ()

    @property
    def is_right(self) -> bool:
        """True where nothing is wrong with the tolerance that was asked about, or none was."""
        return not self.verdicts or self.verdicts == (ToleranceVerdict.RIGHT,)
