"""What workflows return and renderers read: frozen, typed, and free of any printing."""

from __future__ import annotations

from stablemax.results.checked import (
    CheckReport,
    Contract,
    Counterexample,
    HazardVerdict,
    JudgeReport,
    LawVerdict,
    Standing,
)
from stablemax.results.judged import (
    SCHEMA,
    Comparison,
    Example,
    Explanation,
    InputSummary,
    LossResult,
    OperationReport,
    Outcome,
    Place,
    ShownRow,
    Verdict,
)
from stablemax.results.league import League, Standout
from stablemax.results.traced import Blame, Origin, Trace, TracedLine, TracedOperation

__all__ = [
    "SCHEMA",
    "Blame",
    "CheckReport",
    "Comparison",
    "Contract",
    "Counterexample",
    "Example",
    "Explanation",
    "HazardVerdict",
    "InputSummary",
    "JudgeReport",
    "LawVerdict",
    "League",
    "LossResult",
    "OperationReport",
    "Origin",
    "Outcome",
    "Place",
    "ShownRow",
    "Standing",
    "Standout",
    "Trace",
    "TracedLine",
    "TracedOperation",
    "Verdict",
]
