"""What workflows return and renderers read: frozen, typed, and free of any printing."""

from __future__ import annotations

from stablemax.results.benched import Benchmark, Machine, Rates, TimedCase, Timing
from stablemax.results.checked import (
    CheckReport,
    Contract,
    Counterexample,
    HazardVerdict,
    JudgeReport,
    LawVerdict,
    Standing,
)
from stablemax.results.inspected import Forecast, FormatForecast, Inspection, Quantiles, Sighting
from stablemax.results.judged import (
    SCHEMA,
    Comparison,
    Example,
    Explanation,
    InputSummary,
    LossResult,
    OperationReport,
    Place,
    ShownRow,
    Verdict,
)
from stablemax.results.standouts import League, Standout
from stablemax.results.traced import Blame, Origin, Trace, TracedLine, TracedOperation
from stablemax.text.outcomes import Outcome

__all__ = [
    "SCHEMA",
    "Benchmark",
    "Blame",
    "CheckReport",
    "Comparison",
    "Contract",
    "Counterexample",
    "Example",
    "Explanation",
    "Forecast",
    "FormatForecast",
    "HazardVerdict",
    "InputSummary",
    "Inspection",
    "JudgeReport",
    "LawVerdict",
    "League",
    "LossResult",
    "Machine",
    "OperationReport",
    "Origin",
    "Outcome",
    "Place",
    "Quantiles",
    "Rates",
    "ShownRow",
    "Sighting",
    "Standing",
    "Standout",
    "TimedCase",
    "Timing",
    "Trace",
    "TracedLine",
    "TracedOperation",
    "Verdict",
]
