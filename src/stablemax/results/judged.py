"""Judged outputs: outcomes, verdicts, comparisons."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Outcome(enum.StrEnum):
    """What became of an output cell, from harmless to worst."""

    OK = "ok"
    UNDEFINED = "undefined"
    INPUT_OVERFLOW = "input-overflow"
    INACCURATE = "inaccurate"
    LOST = "lost"
    OVERFLOW = "overflow"
    NAN = "nan"

    @property
    def severity(self) -> int:
        """Rank for choosing the worst: 0 for ok."""
        return list(Outcome).index(self)

    @property
    def is_failure(self) -> bool:
        """True where the formula, not the input, is to blame."""
        return self not in (Outcome.OK, Outcome.UNDEFINED, Outcome.INPUT_OVERFLOW)


SCHEMA = "stablemax/1"
"""Identifies the layout of the JSON output; a change that breaks readers gets a new number."""


@dataclass(frozen=True)
class InputSummary:
    """Where the logits came from and what they are.

    Parameters
    ----------
    source : str
        File name, or what generated them.
    dtype : str
        As stored or generated.
    rows, classes : int
        N and K, after the class axis was put last.
    judged_rows : int
        Rows that were compared with the truth.
    smallest, largest : float
        Range of the finite logits that were judged; NaN if there are none.
    labels : str
        Where the labels came from; empty without labels.
    """

    source: str
    dtype: str
    rows: int
    classes: int
    judged_rows: int
    smallest: float
    largest: float
    labels: str = ""


@dataclass(frozen=True)
class Place:
    """One cell of an output.

    Parameters
    ----------
    row : int
        Row of the input, counted from 0.
    column : int
        Class, counted from 0: of the cell, or the label's for an operation with one number per row.
    logit : float
        The input there, in the format.
    output, truth : float
        What came out and what should have: the exact value, correctly rounded to the format.
    """

    row: int
    column: int
    logit: float
    output: float
    truth: float


@dataclass(frozen=True)
class Verdict:
    """One variant in one format, judged.

    Parameters
    ----------
    variant, format, accumulation : str
        What ran, and in what arithmetic.
    worst : Outcome or None
        The worst of all cells; None where the variant was not run.
    shares : mapping of Outcome to float
        Share of the judged cells, from 0 to 1; outcomes that do not occur are left out.
    error_ulp, error_u : float or None
        Largest error of a finite cell with a finite truth, in ulps of the format, and relative to
        the truth in units of u. None without such a cell.
    error_over_bound : float or None
        Largest ratio of a row's error to its a-priori bound. None without a bound or such a row.
    sum_error : float or None
        Largest |sum p - 1| over the rows, for probabilities.
    mean, mean_error_ulp : float or None
        Mean of the losses, and its error, for a cross-entropy without undefined rows.
    first_bad : Place or None
        First cell that is worse than ok.
    cause : str
        Why, in words; empty when all is well.
    skipped : str
        Why it was not run; empty when it was.
    values : tuple of ShownRow
        The first rows of the output, where they were asked for.
    """

    variant: str
    format: str
    accumulation: str
    worst: Outcome | None
    shares: Mapping[Outcome, float]
    error_ulp: float | None = None
    error_u: float | None = None
    error_over_bound: float | None = None
    sum_error: float | None = None
    mean: float | None = None
    mean_error_ulp: float | None = None
    first_bad: Place | None = None
    cause: str = ""
    skipped: str = ""
    values: tuple[ShownRow, ...] = ()


@dataclass(frozen=True)
class ShownRow:
    """A row of a variant's output, for `--show-values`.

    Parameters
    ----------
    row : int
        Row of the input.
    values : tuple of float
        The output; one number for an operation that gives one per row.
    outcomes : tuple of Outcome
        What became of each.
    """

    row: int
    values: tuple[float, ...]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class OperationReport:
    """All variants of one operation.

    Parameters
    ----------
    operation : str
        What they compute.
    verdicts : tuple of Verdict
        Variants in the order of their declaration, formats within.
    """

    operation: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns.

    Parameters
    ----------
    input : InputSummary
        What was compared on.
    formats : tuple of str
        In the order of the columns.
    accumulation : mapping of str to str
        How sums were added, by format.
    max_ulp : float or None
        The limit above which an error is inaccurate; None for half of each format's bits.
    reduction : str
        ``mean`` or ``sum``: what the gradients are gradients of.
    reports : tuple of OperationReport
        One for each operation.
    finding : str
        The result in a sentence.
    command : tuple of str
        The command that reproduces it.
    notes : tuple of str
        What a reader should know: sampled rows, skipped operations.
    backend, device : str
        On whose arrays our variants ran, and where; an empty device is the library's own choice.
    libraries : mapping of str to str
        Versions of the other libraries that took part.
    """

    input: InputSummary
    formats: tuple[str, ...]
    accumulation: Mapping[str, str]
    max_ulp: float | None
    reduction: str
    reports: tuple[OperationReport, ...]
    finding: str
    command: tuple[str, ...]
    notes: tuple[str, ...] = ()
    backend: str = "numpy"
    device: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts, operation by operation."""
        return tuple(v for report in self.reports for v in report.verdicts)


@dataclass(frozen=True)
class LossResult:
    """What `loss` returns.

    Parameters
    ----------
    value : float
        The reduced loss; NaN with `reduction="none"`.
    rows : ndarray of float64 (N,) or None
        Every row's loss for `reduction="none"`, 0 for ignored rows.
    variant, format : str
        How it was computed.
    kept_rows, total_rows : int
        Rows that count, and all.
    first_bad : (int, str) or None
        First row whose loss is not finite, and why in words.
    notes : tuple of str
        What was noticed in the numbers, a sentence each.
    """

    value: float
    rows: Any
    variant: str
    format: str
    kept_rows: int
    total_rows: int
    first_bad: tuple[int, str] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """A variant on a small input in float32.

    Parameters
    ----------
    condition, reason : str
        The condition's name, and why it matters.
    logits : tuple of tuple of float
        The input.
    labels : tuple of int
        One for each row, for the cross-entropies.
    upstream : tuple of float
        For the vector-Jacobian product.
    output, truth : tuple of tuple of float
        What comes out, and the exact values rounded to float32.
    outcome : Outcome
        The worst of all cells.
    """

    condition: str
    reason: str
    logits: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]
    upstream: tuple[float, ...]
    output: tuple[tuple[float, ...], ...]
    truth: tuple[tuple[float, ...], ...]
    outcome: Outcome


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns: a variant's declaration in words, with a live example.

    Parameters
    ----------
    variant, summary, formula, why_it_holds, where_it_breaks : str
        From the declaration.
    exact : bool
        False for a formula that is wrong in exact arithmetic too.
    cure : str
        Id of the variant to use instead; empty without one.
    bound : str
        A-priori error bound with its theorem; empty without one.
    sources : tuple of str
        Papers and issues.
    promises : mapping of str to Outcome
        What becomes of it under each condition, in float32.
    example : Example
        Computed when asked for.
    """

    variant: str
    summary: str
    formula: str
    why_it_holds: str
    where_it_breaks: str
    exact: bool
    cure: str
    bound: str
    sources: tuple[str, ...]
    promises: Mapping[str, Outcome]
    example: Example
