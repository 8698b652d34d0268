"""What a report is made of: the results of other workflows, each whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stablemax.results.checked import CheckReport
from stablemax.results.judged import Comparison, Explanation
from stablemax.results.swept import Sweep
from stablemax.results.traced import Trace


@dataclass(frozen=True)
class Report:
    """What `report` returns."""

    #: All formulas on the input
    comparison: Comparison
    #: The main formulas along one quantity
    sweep: Sweep
    #: One for each formula of the comparison, in its order
    explanations: tuple[Explanation, ...]
    #: Of the code that was named; None without any
    check: CheckReport | None
    trace: Trace | None
    #: Of Python, stablemax and the libraries that it computes with
    versions: Mapping[str, str]
    command: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[str, ...]:
        """The finding of each part, code that was named first."""
        named = [part.finding for part in (self.check, self.trace) if part is not None]
        return (*named, self.comparison.finding, self.sweep.finding)
