"""Anybody's implementation, judged."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stablemax.results.judged import InputSummary, Outcome, Place, Verdict


class Standing(enum.StrEnum):
    """What an implementation is, from good to worst."""

    GOOD = "good"
    UNSTABLE = "unstable"
    WRONG = "wrong"
    BROKEN = "broken"


@dataclass(frozen=True)
class Contract:
    """What an implementation is held to.

    Parameters
    ----------
    max_ulp : float or None
        Errors above are inaccurate; half of the format's bits when None.
    allow : tuple of str
        Outcomes and laws that do not count as failures.
    only : tuple of str
        Globs of hazard names; empty for all.
    formats : tuple of str
        Number formats that were asked for.
    """

    max_ulp: float | None
    allow: tuple[str, ...]
    only: tuple[str, ...]
    formats: tuple[str, ...]


@dataclass(frozen=True)
class HazardVerdict:
    """One hazard in one format.

    Parameters
    ----------
    hazard, format : str
        What it was run on.
    worst : Outcome or None
        The worst of all cells; None where there is no output to judge.
    error_ulp : float or None
        Largest error of a finite cell with a finite truth.
    first_bad : Place or None
        First cell of the worst outcome.
    failed : bool
        True where the contract is broken.
    trouble : str
        What happened instead of an output: it raised, hung, returned junk; empty when all went well.
    skipped : str
        Why it was not run; empty when it was.
    """

    hazard: str
    format: str
    worst: Outcome | None
    error_ulp: float | None = None
    first_bad: Place | None = None
    failed: bool = False
    trouble: str = ""
    skipped: str = ""


@dataclass(frozen=True)
class LawVerdict:
    """One law in one format.

    Parameters
    ----------
    law : str
        ``shift-invariance``, ``permutation``, ``rows-independent``, ``rows-sum-to-1``,
        ``gradient-sums-to-0``, ``input-unchanged``, ``dtype-kept``, ``shape-kept``.
    format : str
        The number format.
    failed : bool
        True where it does not hold and the contract does not allow that.
    detail : str
        What was seen where it does not hold; empty where it does.
    """

    law: str
    format: str
    failed: bool
    detail: str = ""


@dataclass(frozen=True)
class Counterexample:
    """The smallest input that was found to break the contract.

    Parameters
    ----------
    format : str
        The number format.
    logits : tuple of tuple of float
        Rows of logits.
    labels : tuple of int
        One for each row, for the cross-entropies.
    upstream : tuple of tuple of float
        For the vector-Jacobian product.
    outcome : Outcome or None
        The worst of all cells; None where there is no output.
    output, truth : tuple of tuple of float
        What came out, and the exact values rounded to the format.
    code : str
        Python to paste.
    test : str
        A pytest test that fails as long as the implementation does.
    """

    format: str
    logits: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]
    upstream: tuple[tuple[float, ...], ...]
    outcome: Outcome | None
    output: tuple[tuple[float, ...], ...]
    truth: tuple[tuple[float, ...], ...]
    code: str
    test: str


@dataclass(frozen=True)
class CheckReport:
    """What `check` returns.

    Parameters
    ----------
    target, operation, backend : str
        What was checked, what it is meant to compute, and on which library's arrays.
    standing : Standing
        Good, unstable, wrong or broken.
    finding : str
        The verdict in a sentence or two.
    formats : tuple of str
        Formats that the target accepts.
    hazards : tuple of HazardVerdict
        By hazard, formats within.
    laws : tuple of LawVerdict
        By law, formats within.
    counterexample : Counterexample or None
        The smallest input that breaks it.
    blame : str
        The line of code to blame, in a sentence; empty where none was found.
    blame_file : str
        Its file.
    blame_line : int
        Its line; 0 where none was found.
    cure, cure_formula : str
        The variant to use instead, and its formula.
    contract : Contract
        What it was held to.
    printed : str
        What the target printed, bounded.
    command : tuple of str
        The command that reproduces it.
    notes : tuple of str
        What a reader should know.
    """

    target: str
    operation: str
    backend: str
    standing: Standing
    finding: str
    formats: tuple[str, ...]
    hazards: tuple[HazardVerdict, ...]
    laws: tuple[LawVerdict, ...]
    counterexample: Counterexample | None
    blame: str
    blame_file: str
    blame_line: int
    cure: str
    cure_formula: str
    contract: Contract
    printed: str = ""
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True where the contract holds."""
        return self.standing is Standing.GOOD


@dataclass(frozen=True)
class JudgeReport:
    """What `judge` returns.

    Parameters
    ----------
    operation : str
        What the output is meant to be.
    output : str
        Where it came from.
    input : InputSummary
        The logits and labels.
    verdict : Verdict
        The output, judged; its variant is the output's name.
    passed : bool
        True where no cell is a failure that the contract does not allow.
    finding : str
        The result in a sentence.
    contract : Contract
        What it was held to.
    bound_of : str
        The variant whose a-priori bound the verdict's `error_over_bound` is about; empty without one.
    command : tuple of str
        The command that reproduces it.
    notes : tuple of str
        What a reader should know.
    """

    operation: str
    output: str
    input: InputSummary
    verdict: Verdict
    passed: bool
    finding: str
    contract: Contract
    bound_of: str = ""
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
