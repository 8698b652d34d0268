"""The workflow: prove a tolerance, look for errors that need it, and judge one that somebody uses."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from stablemax.numerics.formats import Format
from stablemax.operations.operation import Operation
from stablemax.results import BugRun, SoundRun, Tolerance, ToleranceReport, ToleranceVerdict
from stablemax.text.errors import StablemaxError
from stablemax.text.ranges import check_range
from stablemax.text.vocabulary import Accumulation
from stablemax.tolerances.measured_errors import MeasuredInput, OutputErrors, is_above, measured_inputs
from stablemax.tolerances.rounding_model import RoundingModel
from stablemax.tolerances.seeded_code import bug_errors, seeded_bugs
from stablemax.tolerances.sound_code import PROOFS, sound_errors
from stablemax.tolerances.tolerance_finding import assert_lines, assumptions, finding_of
from stablemax.tolerances.tolerance_proof import ErrorBound, bound_of
from stablemax.tolerances.tried_inputs import tried_inputs

MOST_CLASSES = 1 << 17
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ToleranceOptions:
    """An operation on logits of a scale in a format, and the tolerance to judge."""

    operation: Operation
    format: Format
    classes: int = 1000
    scale: float = 10.0
    accumulation: Accumulation | None = None
    rtol: float | None = None
    atol: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("--classes", self.classes, 1, MOST_CLASSES, "1 or more")
        check_range("--seed", self.seed, 0, 2**63 - 1, "a whole number, 0 or more")
        check_range("--scale", self.scale, 0.0, float(np.finfo(np.float64).max), "a finite number, 0 or more")
        for name, value in (("--rtol", self.rtol), ("--atol", self.atol)):
            check_range(name, value, 0.0, float(np.finfo(np.float64).max), "a finite number, 0 or more")
        if self.format.lacks(self.scale).item():
            raise StablemaxError(
                f"--scale {self.scale:g} is beyond {self.format.name}, whose largest number is {self.format.max:g}",
                f"--scale {self.format.max / 8:.2g}, or a wider --format",
            )

    @property
    def asked(self) -> Tolerance | None:
        """The tolerance to judge: one number alone leaves the other at 0."""
        if self.rtol is None and self.atol is None:
            return None
        return Tolerance(self.rtol or 0.0, self.atol or 0.0)

    @property
    def model(self) -> RoundingModel:
        """The rounding errors that may happen; the scale is rounded as its logits are."""
        return RoundingModel(self.format, self.classes, float(self.format.round(self.scale)), self.accumulation)


def rounded_up(value: float | Decimal) -> float:
    """Round to two digits, never down: a tolerance that is cut is no longer proved.

    >>> rounded_up(2.8801e-06), rounded_up(0.25), rounded_up(0.0)
    (2.9e-06, 0.25, 0.0)
    """
    exact = Decimal(value)
    if not exact or not exact.is_finite():
        return float(exact)
    return float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - 1), decimal.ROUND_CEILING))


def run_tolerance(
    options: ToleranceOptions, *, command: tuple[str, ...] = (), progress: Progress | None = None
) -> ToleranceReport:
    """Prove, measure and judge."""
    step = progress or (lambda *_: None)
    operation, fmt, asked = options.operation, options.format, options.asked
    proof, model = PROOFS.get(operation.name), options.model
    bound = bound_of(proof, model) if proof else f"none of {operation} is known"
    step(0, 3, "proving the truth")
    sources = measured_inputs(tried_inputs(fmt, options.classes, options.scale, options.seed), operation, fmt)
    step(1, 3, "running sound code")
    measured = list(sound_errors(operation, fmt, options.accumulation, sources))
    proved = None if isinstance(bound, str) else Tolerance(rounded_up(bound.rtol), rounded_up(bound.atol))
    sound = _sound_runs(measured, bound, asked)
    step(2, 3, "running seeded bugs")
    bugs = _bug_runs(options, sources, max(run.error for run in sound), proved)
    verdicts = _verdicts(asked, sound, bugs)
    over = max((run.over_proved for run in sound if run.over_proved is not None), default=0.0)
    ulps = None if isinstance(bound, str) else bound.ulps(model)
    return ToleranceReport(
        operation.name, fmt.name, options.classes, options.scale,
        sums=_sums_of(options),
        proved=proved,
        proved_ulp=None if ulps is None else rounded_up(ulps),
        no_proof=bound if isinstance(bound, str) else "",
        formula=proof.formula if proof else "",
        assumes=assumptions(proof, model) if proof else (),
        found=None if isinstance(bound, str) else _part_of(bound.tolerance, over),
        found_error=max(run.error for run in sound),
        found_ulp=max(run.error_ulp for run in sound),
        sound=sound,
        bugs=bugs,
        rows=sum(len(source.size) for source in sources),
        asked=asked,
        verdicts=verdicts,
        lines={} if proved is None else assert_lines(asked if asked and ToleranceVerdict.RIGHT in verdicts else proved),
        finding=finding_of(
            operation.name, fmt.name, proved, bound if isinstance(bound, str) else "", asked, verdicts, sound, bugs
        ),
        command=command,
    )  # fmt: skip


def _part_of(tolerance: Tolerance, part: float) -> Tolerance:
    return Tolerance(part * tolerance.rtol, part * tolerance.atol)


def _sums_of(options: ToleranceOptions) -> str:
    """Say how sums are added; nothing where there are none."""
    if options.operation.cellwise:
        return ""
    order = "in any order" if options.accumulation is None else f"as --accumulate {options.accumulation} says"
    return f"{order}, in {options.model.accumulator.name}"


def _sound_runs(
    measured: Sequence[OutputErrors], bound: ErrorBound | str, asked: Tolerance | None
) -> tuple[SoundRun, ...]:
    """Sum up what sound code needs; an error beyond the proof would be a mistake of the proof, and of this program."""
    allowed = None if isinstance(bound, str) else bound.tolerance
    runs = []
    for errors in measured:
        over = None if allowed is None else errors.over(allowed)
        if over is not None and is_above(over, 1.0):
            raise ArithmeticError(f"{errors.name} needs {over:.3g} times the tolerance that is proved for it")
        runs.append(
            SoundRun(
                errors.name,
                errors.accumulation,
                errors.largest,
                errors.largest_ulp,
                over,
                errors.worst(asked or allowed or Tolerance(0.0, 1.0)),
                None if asked is None else not is_above(errors.over(asked), 1.0),
            )
        )
    return tuple(runs)


def _bug_runs(
    options: ToleranceOptions, sources: Sequence[MeasuredInput], largest_sound: float, proved: Tolerance | None
) -> tuple[BugRun, ...]:
    """Run the bugs; without a proof one is told by an error larger than any that sound code has."""
    # Nothing is told from code that overflows.
    told_by = proved or Tolerance(0.0, min(largest_sound, np.finfo(np.float64).max))
    nothing_told = proved is None and math.isinf(largest_sound)
    bugs = list(seeded_bugs(options.operation, options.format, options.classes))
    return tuple(
        BugRun(
            bug.name,
            bug.words,
            errors.largest,
            not nothing_told and is_above(errors.over(told_by), 1.0),
            None if options.asked is None else not is_above(errors.over(options.asked), 1.0),
        )
        for bug, errors in bug_errors(bugs, options.accumulation, sources)
    )


def _verdicts(
    asked: Tolerance | None, sound: Sequence[SoundRun], bugs: Sequence[BugRun]
) -> tuple[ToleranceVerdict, ...]:
    if asked is None:
        return ()
    wrong = []
    if any(run.passes is False for run in sound):
        wrong.append(ToleranceVerdict.TOO_TIGHT)
    if any(bug.passes and bug.is_told for bug in bugs):
        wrong.append(ToleranceVerdict.LETS_BUGS_THROUGH)
    return tuple(wrong) or (ToleranceVerdict.RIGHT,)
