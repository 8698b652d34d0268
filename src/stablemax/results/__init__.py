"""What workflows return and renderers read: frozen, typed, and free of any printing."""

from __future__ import annotations

from stablemax.results.benched import Benchmark as Benchmark
from stablemax.results.benched import Machine as Machine
from stablemax.results.benched import Rates as Rates
from stablemax.results.benched import TimedCase as TimedCase
from stablemax.results.benched import Timing as Timing
from stablemax.results.checked import CheckReport as CheckReport
from stablemax.results.checked import Contract as Contract
from stablemax.results.checked import Counterexample as Counterexample
from stablemax.results.checked import HazardVerdict as HazardVerdict
from stablemax.results.checked import JudgeReport as JudgeReport
from stablemax.results.checked import LawVerdict as LawVerdict
from stablemax.results.checked import ShapeVerdict as ShapeVerdict
from stablemax.results.inspected import Forecast as Forecast
from stablemax.results.inspected import FormatForecast as FormatForecast
from stablemax.results.inspected import Inspection as Inspection
from stablemax.results.inspected import Quantiles as Quantiles
from stablemax.results.inspected import Sighting as Sighting
from stablemax.results.judged import SCHEMA as SCHEMA
from stablemax.results.judged import Comparison as Comparison
from stablemax.results.judged import Example as Example
from stablemax.results.judged import Explanation as Explanation
from stablemax.results.judged import InputSummary as InputSummary
from stablemax.results.judged import League as League
from stablemax.results.judged import LossResult as LossResult
from stablemax.results.judged import OperationReport as OperationReport
from stablemax.results.judged import Place as Place
from stablemax.results.judged import ShownRow as ShownRow
from stablemax.results.judged import Standout as Standout
from stablemax.results.judged import Verdict as Verdict
from stablemax.results.reported import Report as Report
from stablemax.results.swept import Change as Change
from stablemax.results.swept import SumStall as SumStall
from stablemax.results.swept import Sweep as Sweep
from stablemax.results.swept import SweptLine as SweptLine
from stablemax.results.swept import SweptPoint as SweptPoint
from stablemax.results.traced import Blame as Blame
from stablemax.results.traced import Origin as Origin
from stablemax.results.traced import Trace as Trace
from stablemax.results.traced import TracedLine as TracedLine
from stablemax.results.traced import TracedOperation as TracedOperation
from stablemax.text.outcomes import Grade as Grade
from stablemax.text.outcomes import Outcome as Outcome
