"""Anybody's implementation, judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stablemax.results.judged import InputSummary, Place, Verdict
from stablemax.text.outcomes import Grade, Outcome

UNSTABLE_IN = "unstable-in="
"""Begins what allows code to be unstable in a format."""


@dataclass(frozen=True)
class Contract:
    """What an implementation is held to."""

    #: Errors above are inaccurate; half of the format's bits when None
    max_ulp: float | None
    #: Outcomes and laws that do not count as failures, and formats in which code may be unstable: unstable-in=float16
    allow: tuple[str, ...]
    #: Globs of hazard names; empty for all
    only: tuple[str, ...]
    #: Number formats that were asked for
    formats: tuple[str, ...]
    #: The least grade that passes: stable or accurate
    require: Grade = Grade.STABLE

    def allows_unstable_in(self, fmt: str) -> bool:
        """True where code may be unstable in a format."""
        return f"{UNSTABLE_IN}{fmt}" in self.allow

    def is_met_by(self, grade: Grade) -> bool:
        """True for a grade that is good enough."""
        return grade.severity <= self.require.severity


@dataclass(frozen=True)
class HazardVerdict:
    """One hazard in one format."""

    #: What it was run on
    hazard: str
    format: str
    #: The worst of all cells of the worst grade; None where there is no output to judge
    worst: Outcome | None
    #: Largest error of a finite cell with a finite truth
    error_ulp: float | None = None
    #: First cell of the worst outcome
    first_bad: Place | None = None
    #: True where the contract is broken
    failed: bool = False
    #: What happened instead of an output: it raised, hung, returned junk; empty when all went well
    trouble: str = ""
    #: Why it was not run; empty when it was
    skipped: str = ""
    #: Accurate, stable or unstable, or wrong like its formula; broken without an output; None where it was not run
    grade: Grade | None = None


@dataclass(frozen=True)
class ShapeVerdict:
    """One shape of input: a size, an order of values and a memory layout."""

    #: In words, and its size
    shape: str
    rows: int
    classes: int
    #: Number format that it was tried in
    format: str
    #: The worst of all cells; None where there is no output to judge
    worst: Outcome | None
    #: Largest error of a finite cell with a finite truth
    error_ulp: float | None = None
    #: True where the contract is broken
    failed: bool = False
    #: What happened instead of an output; empty when all went well
    trouble: str = ""
    #: Accurate, stable or unstable, or wrong like its formula; broken without an output
    grade: Grade = Grade.ACCURATE
    #: How many axes the logits have
    dimensions: int = 2


@dataclass(frozen=True)
class LawVerdict:
    """One law in one format."""

    #: `shift-invariance`, `permutation`, `rows-independent`, `rows-sum-to-1`, `gradient-sums-to-0`, `input-unchanged`,
    #: `dtype-kept`, `shape-kept`
    law: str
    format: str
    #: True where it does not hold and the contract does not allow that
    failed: bool
    #: What was seen where it does not hold; empty where it does
    detail: str = ""


@dataclass(frozen=True)
class Counterexample:
    """The smallest input that was found to break the contract."""

    format: str
    #: Rows of logits
    logits: tuple[tuple[float, ...], ...]
    #: One for each row, for the cross-entropies
    labels: tuple[int, ...]
    #: For the vector-Jacobian product
    upstream: tuple[tuple[float, ...], ...]
    #: The worst of all cells; None where there is no output
    outcome: Outcome | None
    #: What came out, and the exact values rounded to the format
    output: tuple[tuple[float, ...], ...]
    truth: tuple[tuple[float, ...], ...]
    #: Python to paste
    code: str
    #: A pytest test that fails as long as the implementation does
    test: str


@dataclass(frozen=True)
class CheckReport:
    """What `check` returns."""

    #: What was checked, what it is meant to compute, and on which library's arrays
    target: str
    operation: str
    backend: str
    #: The worst grade of the formats that count
    grade: Grade
    finding: str
    #: Formats that the target accepts
    formats: tuple[str, ...]
    #: By hazard, formats within
    hazards: tuple[HazardVerdict, ...]
    #: By law, formats within
    laws: tuple[LawVerdict, ...]
    #: The smallest input that breaks it
    counterexample: Counterexample | None
    #: The line of code to blame, in a sentence; empty where none was found
    blame: str
    blame_file: str
    #: Its line; 0 where none was found
    blame_line: int
    #: The variant to use instead, and its formula
    cure: str
    cure_formula: str
    #: What it was held to
    contract: Contract
    #: What the target printed, bounded
    printed: str = ""
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: Sizes, orders and memory layouts, the smallest first
    shapes: tuple[ShapeVerdict, ...] = ()
    #: The known mistake that explains a wrong formula: its kind in a word or two, and in words; empty where none does
    mistake: str = ""
    mistake_words: str = ""
    #: Python to write instead, with the same name and parameters, that holds on the smallest failing input; and why
    instead: str = ""
    instead_why: str = ""
    #: By number format
    grades: Mapping[str, Grade] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True where the contract holds."""
        return self.contract.is_met_by(self.grade)


@dataclass(frozen=True)
class ErrorBin:
    """How many finite cells have an error in a range."""

    #: In ulps of the format
    above_ulp: float
    up_to_ulp: float
    cells: int


@dataclass(frozen=True)
class FaultyCell(Place):
    """A cell of an output that is wrong."""

    outcome: Outcome
    #: None where the output or the exact value is not finite
    error_ulp: float | None


@dataclass(frozen=True)
class JudgeReport:
    """What `judge` returns."""

    #: What the output is meant to be
    operation: str
    #: Where it came from
    output: str
    #: The logits and labels
    input: InputSummary
    #: The output, judged; its variant is the output's name
    verdict: Verdict
    #: True where the grade meets the contract
    passed: bool
    finding: str
    #: What it was held to
    contract: Contract
    #: The variant whose a-priori bound the verdict's `error_over_bound` is about; empty without one
    bound_of: str = ""
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: Accurate, stable or unstable; outcomes that are allowed do not count
    grade: Grade = Grade.ACCURATE
    #: Share of the cells that hold the number nearest to the exact value, of those that have one; None without such a
    #: cell, and where an output was printed with too few digits to tell
    correctly_rounded_share: float | None = None
    #: The errors of the finite cells, by powers of two; empty ranges are left out
    errors: tuple[ErrorBin, ...] = ()
    #: The first cells that are wrong, in the order of their rows
    faulty_cells: tuple[FaultyCell, ...] = ()
