"""Judged outputs: verdicts, comparisons, the league, losses, explanations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stablemax.text.outcomes import Grade, Outcome

SCHEMA = "stablemax/2"
"""Identifies the layout of the JSON output; a change that breaks readers gets a new number."""


@dataclass(frozen=True)
class InputSummary:
    """Where the logits came from and what they are."""

    #: File name, or what generated them
    source: str
    #: As stored or generated
    dtype: str
    #: N and K, after the class axis was put last
    rows: int
    classes: int
    #: Rows that were compared with the truth
    judged_rows: int
    #: Range of the finite logits that were judged; NaN if there are none
    smallest: float
    largest: float
    #: Where the labels came from; empty without labels
    labels: str = ""


@dataclass(frozen=True)
class Place:
    """One cell of an output."""

    #: Row of the input, counted from 0
    row: int
    #: Class, counted from 0: of the cell, or the label's for an operation with one number per row
    column: int
    #: The input there, in the format
    logit: float
    #: What came out and what should have: the exact value, correctly rounded to the format
    output: float
    truth: float


@dataclass(frozen=True)
class Verdict:
    """One variant in one format, judged."""

    #: What ran, and in what arithmetic
    variant: str
    format: str
    accumulation: str
    #: The worst of all cells of its grade; None where the variant was not run
    worst: Outcome | None
    #: Share of the judged cells, from 0 to 1; outcomes that do not occur are left out
    shares: Mapping[Outcome, float]
    #: Largest error of a finite cell with a finite truth, in ulps of the format, and relative to the truth in units of
    #: u. None without such a cell.
    error_ulp: float | None = None
    error_u: float | None = None
    #: Largest ratio of a row's error to its a-priori bound. None without a bound or such a row.
    error_over_bound: float | None = None
    #: Largest |sum p - 1| over the rows, for probabilities
    sum_error: float | None = None
    #: Mean of the losses, and its error, for a cross-entropy without undefined rows
    mean: float | None = None
    mean_error_ulp: float | None = None
    #: First cell that is worse than ok
    first_bad: Place | None = None
    #: Why, in words; empty when all is well
    cause: str = ""
    #: Why it was not run; empty when it was
    skipped: str = ""
    #: Accurate, stable or unstable on this input; None where the variant was not run
    grade: Grade | None = None
    #: Share of the judged rows with such a cell, from 0 to 1; empty where there is one row only
    row_shares: Mapping[Outcome, float] = field(default_factory=dict)
    #: The worst grade of the cells of each outcome
    outcome_grades: Mapping[Outcome, Grade] = field(default_factory=dict)
    #: The first rows of the output, where they were asked for
    values: tuple[ShownRow, ...] = ()


@dataclass(frozen=True)
class ShownRow:
    """A row of a variant's output, for `--show-values`."""

    #: Row of the input
    row: int
    #: The output; one number for an operation that gives one per row
    values: tuple[float, ...]
    #: What became of each
    outcomes: tuple[Outcome, ...]
    #: The exact values, rounded once to the format
    truth: tuple[float, ...] = ()


@dataclass(frozen=True)
class OperationReport:
    """All variants of one operation."""

    operation: str
    #: Variants in the order of their declaration, formats within
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns."""

    #: What was compared on
    input: InputSummary
    #: In the order of the columns
    formats: tuple[str, ...]
    #: How sums were added, by format
    accumulation: Mapping[str, str]
    #: The limit above which an error is inaccurate; None for half of each format's bits
    max_ulp: float | None
    #: `mean` or `sum`: what the gradients are gradients of
    reduction: str
    #: One for each operation
    reports: tuple[OperationReport, ...]
    finding: str
    command: tuple[str, ...]
    #: What a reader should know: sampled rows, skipped operations
    notes: tuple[str, ...] = ()
    #: On whose arrays our variants ran, and where; an empty device is the library's own choice
    backend: str = "numpy"
    device: str = ""
    #: Versions of the other libraries that took part
    libraries: Mapping[str, str] = field(default_factory=dict)
    #: The formula of each variant, whole and in a few characters
    formulas: Mapping[str, str] = field(default_factory=dict)
    brief_formulas: Mapping[str, str] = field(default_factory=dict)
    #: The logit above which exp overflows, by format
    exp_overflow: Mapping[str, float] = field(default_factory=dict)
    #: The main formulas of the main operations alone were run
    is_overview: bool = False

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts, operation by operation."""
        return tuple(v for report in self.reports for v in report.verdicts)


@dataclass(frozen=True)
class Standout:
    """One implementation of one operation in one format, over all hazards."""

    #: What ran; the implementation is a variant id, or a peer's such as `torch/softmax`
    operation: str
    implementation: str
    format: str
    #: The worst of all cells of all hazards, leaving out what the input is to blame for; None where it was not run
    worst: Outcome | None
    #: The hazard that did it; empty when all is well
    worst_hazard: str = ""
    #: Largest error of a finite cell with a finite truth
    error_ulp: float | None = None
    #: The hazard of that error
    error_hazard: str = ""
    #: Hazards on which it is unstable
    failed: tuple[str, ...] = ()
    #: The hazards under which each outcome occurred
    outcomes: Mapping[Outcome, tuple[str, ...]] = field(default_factory=dict)
    #: How many hazards were run
    judged: int = 0
    #: Of the worst, in words
    cause: str = ""
    #: Why it was not run; empty when it was
    skipped: str = ""
    #: The worst grade of all hazards; None where it was not run
    grade: Grade | None = None
    #: Hazards on which it is stable and not accurate: small values lose their digits
    stable: tuple[str, ...] = ()


@dataclass(frozen=True)
class League:
    """What `compare --hazards` returns."""

    #: Columns of the tables, and what was run
    formats: tuple[str, ...]
    hazards: tuple[str, ...]
    #: The limit above which an error is inaccurate; None for half of each format's bits
    max_ulp: float | None
    #: By operation, implementation, format
    standouts: tuple[Standout, ...]
    #: Versions of the peers that took part
    libraries: Mapping[str, str]
    finding: str
    command: tuple[str, ...]
    notes: tuple[str, ...] = ()
    #: On whose arrays our variants ran, and where; an empty device is the library's own choice
    backend: str = "numpy"
    device: str = ""


@dataclass(frozen=True)
class LossResult:
    """What `loss` returns."""

    #: The reduced loss; NaN with `reduction="none"`
    value: float
    #: Every row's loss for `reduction="none"`, 0 for ignored rows
    rows: Any
    #: How it was computed
    variant: str
    format: str
    #: Rows that count, and all
    kept_rows: int
    total_rows: int
    #: First row whose loss is not finite, and why in words
    first_bad: tuple[int, str] | None
    #: What was noticed in the numbers, a sentence each
    notes: tuple[str, ...] = ()
    #: Whether every loss was proved, and the value is the nearest number to their exact mean or sum
    exact: bool = False


@dataclass(frozen=True)
class Example:
    """A variant on a small input in float32."""

    #: The condition's name, and why it matters
    condition: str
    reason: str
    logits: tuple[tuple[float, ...], ...]
    #: One for each row, for the cross-entropies
    labels: tuple[int, ...]
    #: For the vector-Jacobian product
    upstream: tuple[float, ...]
    #: Targets of cells, or second logits, and what they are called; empty for other operations
    second: tuple[tuple[float, ...], ...]
    second_name: str
    #: What comes out, and the exact values rounded to float32
    output: tuple[tuple[float, ...], ...]
    truth: tuple[tuple[float, ...], ...]
    #: The worst of all cells
    outcome: Outcome


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns: a variant's declaration in words, with a live example."""

    #: From the declaration
    variant: str
    summary: str
    formula: str
    why_it_holds: str
    where_it_breaks: str
    #: False for a formula that is wrong in exact arithmetic too
    exact: bool
    #: Id of the variant to use instead; empty without one
    cure: str
    #: A-priori error bound with its theorem; empty without one
    bound: str
    #: Papers and issues
    sources: tuple[str, ...]
    #: What it promises under each condition, in float32
    promises: Mapping[str, Outcome]
    #: What was measured now under each condition; promises that hold say the same
    measured: Mapping[str, Outcome]
    #: The conditions under which no value exists: NaN is no failure there
    without_value: tuple[str, ...]
    #: Computed when asked for
    example: Example
    #: Commands that show more
    see: tuple[str, ...]
