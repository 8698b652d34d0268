"""The steps of a check, and the run that they share: each step reads what the earlier ones found."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.check.check_options import DEFAULT_FORMATS, CheckOptions, usual_formats
from stablemax.check.laws import EasyRun, check_laws, easy_case
from stablemax.check.reproducer import counterexample_of
from stablemax.check.search import fewest_rows, shrunk, smallest_failure
from stablemax.check.target.call_style import CallStyle
from stablemax.check.target.local import FORMATS_OF, load_local
from stablemax.check.target.messages import LoadedTarget, NoAnswerError, Target, TraceOptions
from stablemax.check.trials import Trial, Trials, reduction_of
from stablemax.check.unanswered import MAX_HANGS, no_trace_note, note_what_is_not_run
from stablemax.hazards import shapes
from stablemax.hazards.catalogue import Hazard
from stablemax.numerics.formats import FLOAT32, FLOAT64, FORMATS, Array, Format, get_format, name_of
from stablemax.operations.shared import BOOKKEEPING
from stablemax.operations.variant import Variant, variants
from stablemax.results import Counterexample, Grade, HazardVerdict, LawVerdict, ShapeVerdict, Trace
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Reduction
from stablemax.text.words import counted, listed

if TYPE_CHECKING:
    from stablemax.check.mistakes.recognise import Recognised
    from stablemax.check.remedies.finding import Instead
    from stablemax.check.target.messages import Result

_MAX_FAILURES_RUN_EXACTLY = 8
_SMALL = 64
"""A hazard of at most this many cells is small enough to be the counterexample."""
_CURES = ("shifted", "compensated", "centred", "wide")
"""Names of the variants that may be the cure, the simplest first; then the best one of the operation."""
_LARGEST_EXACT = 1e300
"""Logits beyond this size may have exact results larger than the float64 that they are compared as."""
_MAX_EXACT_CELLS = 4608
_STEPS_BESIDE_HAZARDS = 8
_CALLS_ON_ONE_INPUT = 8
_MAX_SHRUNK = 4096
"""Larger inputs are not made smaller: each try costs what judging them costs."""


@dataclass
class CheckRun:
    """The state of one check: its target and options, and what its steps found so far."""

    target: LoadedTarget
    options: CheckOptions
    #: The gradient that autograd takes of the target is judged.
    backward: bool = False
    report_progress: Callable[[int, int, str], None] | None = None
    #: Formats in which the target answers an easy input at all.
    formats: list[Format] = field(default_factory=list)
    #: What the target does instead in the others, by format.
    refusals: dict[str, str] = field(default_factory=dict)
    style: CallStyle = field(default_factory=CallStyle)
    hazard_verdicts: list[HazardVerdict] = field(default_factory=list)
    shape_verdicts: list[ShapeVerdict] = field(default_factory=list)
    law_verdicts: list[LawVerdict] = field(default_factory=list)
    #: Hazards that need more memory than the target may have.
    beyond_memory: list[HazardVerdict] = field(default_factory=list)
    #: Hazards, and shapes, that break the contract.
    failures: list[Trial] = field(default_factory=list)
    shape_failures: list[Trial] = field(default_factory=list)
    #: The same input gives another output at another call, by more than the contract allows.
    is_random: bool = False
    smallest: Trial | None = None
    #: The failing input that the line to blame is looked for on, and its trace.
    traced: Trial | None = None
    #: Inputs on which it is stable and not accurate: of hazards, then of the search.
    small_losses: list[Trial] = field(default_factory=list)
    trace: Trace | None = None
    is_wrong: bool = False
    #: What a wrong formula is wrong in.
    wrong_in: str = "even in exact arithmetic"
    #: The known mistake that explains a wrong formula.
    mistake: Recognised | None = None
    cure: Variant | None = None
    instead: Instead | None = None
    counterexample: Counterexample | None = None
    notes: list[str] = field(default_factory=list)
    _steps_done: int = 0

    def __post_init__(self) -> None:
        info, takes = self.target.prepare(), self.options.takes
        self.hazards = self.options.hazards_of(info.operation)
        if "weights" in takes and "weights" not in info.takes:
            raise StablemaxError(
                f"--with weights: {info.name} has no parameter 'weight'", "give it one, or leave --with weights out"
            )
        #: What the target takes beyond logits and labels, from `hazards.hazard.NEEDS`.
        self.takes = info.takes | set(takes)
        self.asked_formats = self.options.formats or usual_formats(info)
        self.trials = Trials(self.target, self.options.contract(self.asked_formats))
        self.trials.tries_masks = "soft-targets" in self.takes or not info.takes_rows_of_targets
        self.progress(f"calling {info.name}")

    def progress(self, text: str) -> None:
        """Show what runs now."""
        self._steps_done += 1
        steps = len(self.asked_formats) * (len(self.hazards) + _STEPS_BESIDE_HAZARDS) + len(shapes.SHAPES) + 1
        if self.report_progress is not None:
            self.report_progress(min(self._steps_done, steps), steps, text)

    def easy_results(self, count: int, fmt: Format) -> list[Result]:
        """Call the target on the easy input, `count` times."""
        return self.trials.results([self.trials.call_on(easy_case(), fmt)] * count)

    def lacks(self, hazard: Hazard) -> list[str]:
        """Name what a hazard needs and the target does not take."""
        if not self.trials.operation.needs_targets:
            return []
        # The one-hot row of a class number has a target of 0 at each masked class: 0 * inf.
        is_masked = not self.trials.tries_masks and bool(np.isneginf(hazard.case(FLOAT32).logits).any())
        needs = dict.fromkeys((*hazard.needs, *(["soft-targets"] if is_masked else [])))
        return [need for need in needs if need not in self.takes]

    @property
    def all_failures(self) -> list[Trial]:
        """The trials that break the contract: of hazards, then of shapes."""
        return [*self.failures, *self.shape_failures]

    @property
    def has_failed(self) -> bool:
        """True where an input or a law breaks the contract."""
        return bool(self.all_failures or self.smallest) or any(law.failed for law in self.law_verdicts)

    @property
    def has_hung_too_often(self) -> bool:
        """True where the remaining hazards and shapes are left out."""
        return sum(trial.result.hung for trial in self.all_failures) >= MAX_HANGS

    def grade_in(self, fmt: str) -> Grade:
        """Return the grade in one format: what hazards, laws, shapes and the search showed there."""
        if self.is_wrong and self.has_failed:
            return Grade.WRONG
        grades = {v.grade for v in self.hazard_verdicts if v.format == fmt and v.grade is not None}
        grades |= {v.grade for v in self.shape_verdicts if v.format == fmt}
        searched = [*self.small_losses, *([] if self.smallest is None else [self.smallest])]
        grades |= {trial.grade for trial in searched if trial.format.name == fmt}
        if any(law.failed and law.format == fmt for law in self.law_verdicts):
            grades.add(Grade.BROKEN)
        return _overall(grades)

    @property
    def grade(self) -> Grade:
        """The worst grade of the formats that count."""
        if not self.formats:
            return Grade.WRONG if self.is_wrong else Grade.BROKEN
        if self.is_random:
            return Grade.BROKEN
        grades = {f.name: self.grade_in(f.name) for f in self.formats}
        allowed = {f for f in grades if grades[f] is Grade.UNSTABLE and self.trials.contract.allows_unstable_in(f)}
        return _overall({grade for name, grade in grades.items() if name not in allowed})


def _overall(grades: set[Grade]) -> Grade:
    """Return the worst of some grades; unstable code is called so also where it gives no answer on other inputs."""
    return Grade.UNSTABLE if Grade.UNSTABLE in grades and Grade.WRONG not in grades else Grade.worst_of(grades)


def accept_formats(run: CheckRun) -> None:
    """Find the formats in which the target answers an easy input at all, and what it says in the others."""
    info = run.target.info
    unfit: dict[str, str] = {}
    for fmt in run.asked_formats:
        if info.formats and fmt.name not in info.formats:
            unfit[fmt.name] = "does not take it"
            continue
        if fmt.name not in FORMATS_OF.get(info.backend, (fmt.name,)):
            unfit[fmt.name] = f"takes {info.backend}'s arrays, of which there are none in that format"
            continue
        (result,) = run.easy_results(1, fmt)
        if result.output is None and info.backend == "torch" and _tells_of_no_kernel(result.trouble, fmt):
            reason = result.trouble.partition(": ")[2]
            unfit[fmt.name] = f"needs a kernel that PyTorch does not have for that format ({reason})"
        elif result.output is None:
            run.refusals[fmt.name] = result.trouble
        elif fmt.is_emulated and result.output.ndim and name_of(result.output) != fmt.name:
            unfit[fmt.name] = "leaves the format, which is emulated: numpy.asarray and float() make float64 of it"
        else:
            run.formats.append(fmt)
            run.style = result.style
    if len(unfit) == len(run.asked_formats):
        why = next(iter(unfit.values()))
        raise StablemaxError(
            f"{info.name} cannot be tried in {listed(list(unfit))}: it {why}", f"--format {FLOAT32.name}"
        )
    run.refusals |= unfit


def _tells_of_no_kernel(trouble: str, fmt: Format) -> bool:
    """True where PyTorch raised because it does not compute in a format, for which the code is not to blame."""
    text, torch_name = trouble.lower(), {"float16": "half"}.get(fmt.name, fmt.name)
    return f"not implemented for '{torch_name}'" in text or (
        "promotion for float8 types is not supported" in text and torch_name in text
    )


def repeat_a_call(run: CheckRun) -> None:
    """Find out whether the same input gives another output at another call, within the contract or beyond it."""
    if not run.formats:
        return
    results = run.easy_results(_CALLS_ON_ONE_INPUT, run.formats[-1])
    outputs = [result.output for result in results if result.output is not None]
    changed = [output for output in outputs[1:] if not np.array_equal(outputs[0], output, equal_nan=True)]
    if not changed:
        return
    # Sums in another order differ in their last digits, on GPUs for one: no verdict is lost by that.
    easy = EasyRun(run.trials, run.trials.trial(easy_case(), run.formats[-1]))
    run.is_random = any(easy.difference(outputs[0], output, "at another call") for output in changed)
    if not run.is_random:
        run.notes.append("its output changes from one call to the next on the same input")


def note_call_style(run: CheckRun) -> None:
    """Note how the target is called, where that was found out or guessed."""
    run.notes += run.target.info.notes
    if run.style.by_row:
        run.notes.append(f"called one row at a time, as {run.style.in_words}: on several rows it {run.style.reason}")


def find_reduction(run: CheckRun) -> None:
    """Find out whether a single number, or a gradient, is that of the mean or of the sum of the losses."""
    if not run.formats:
        return
    trials, fmt = run.trials, run.formats[-1]
    loss = None
    if run.backward and trials.operation.of_losses:
        (loss,) = run.target.call_all([replace(trials.call_on(easy_case(), fmt), forward=True)])
    trials.reduction = reduction_of(trials, easy_case(), fmt, loss)
    if trials.reduction is Reduction.SUM:
        run.notes.append(
            "its gradient is taken as that of the sum of the losses, not of their mean"
            if trials.operation.of_losses
            else "its number is taken as the sum of the losses, not their mean"
        )


def note_refused_formats(run: CheckRun) -> None:
    """Note the formats in which the target is not tried."""
    if run.formats:
        run.notes += [f"not tried in {name}: it {reason}" for name, reason in run.refusals.items()]


def try_hazards(run: CheckRun) -> None:
    """Try each hazard in each format."""
    for hazard in run.hazards:
        for fmt in run.formats:
            run.progress(f"{hazard.name} in {fmt.name}")
            run.hazard_verdicts.append(_hazard_verdict(run, hazard, fmt))
    lacking = [run.lacks(hazard) for hazard in run.hazards]
    needs = sorted({need for names in lacking for need in names})
    if needs:
        untried = counted(sum(map(bool, lacking)), "hazard")
        run.notes.append(f"{untried} need {listed(needs)}: --with {' --with '.join(needs)}")
    note_what_is_not_run(run)


def _hazard_verdict(run: CheckRun, hazard: Hazard, fmt: Format) -> HazardVerdict:
    lacking = run.lacks(hazard)
    if lacking:
        return HazardVerdict(hazard.name, fmt.name, None, skipped=f"needs {listed(lacking)}")
    if run.has_hung_too_often:
        return HazardVerdict(hazard.name, fmt.name, None, skipped=f"it hung {MAX_HANGS} times before")
    trial = run.trials.trial_hazard(hazard, fmt)
    if trial.result.lacks_memory:
        run.beyond_memory.append(HazardVerdict(hazard.name, fmt.name, None, skipped=f"it {trial.trouble}"))
        return run.beyond_memory[-1]
    if trial.failed:
        run.failures.append(trial)
    elif trial.grade is Grade.STABLE:
        run.small_losses.append(trial)
    verdict = HazardVerdict(
        hazard.name, fmt.name, trial.worst, failed=trial.failed, trouble=trial.trouble, grade=trial.grade
    )
    if trial.verdict is None:
        return verdict
    return replace(verdict, error_ulp=trial.verdict.error_ulp, first_bad=trial.verdict.first_bad)


def try_laws(run: CheckRun) -> None:
    """Hold the target to the laws of its operation in each format."""
    for fmt in run.formats:
        run.progress(f"laws in {fmt.name}")
        run.law_verdicts += check_laws(run.trials, fmt)


def search_smallest_failure(run: CheckRun) -> None:
    """Find the smallest failing input, in float32 if there is one; else in the widest format that fails."""
    if not run.formats:
        return
    if run.all_failures and all(trial.case.axes is not None for trial in run.all_failures):
        run.smallest = run.all_failures[0]  # rows of classes hold
        return
    hung = next((trial for trial in run.all_failures if trial.result.hung), None)
    judged = [trial for trial in run.all_failures if trial.verdict is not None]
    if hung is not None and (not judged or hung.case.logits.size <= _SMALL):
        # Each further try would take the time limit.
        run.smallest = min(judged or [hung], key=_size)
        return
    formats = sorted(run.formats, key=lambda f: (-_severity_in(run, f), f != FLOAT32, -f.precision))
    for fmt in formats if run.options.search else []:
        wanted = max((t.severity for t in run.all_failures if t.format is fmt and t.worst is not None), default=0)
        case = smallest_failure(run.trials, fmt, wanted=wanted, seed=run.options.seed, progress=run.progress)
        trial = None if case is None else run.trials.trial(case, fmt)
        if trial is None or trial.severity < wanted:
            # No few rows show a mean that goes wrong.
            trial = _many_rows(run, fmt) or trial
        if trial is not None and trial.failed:
            run.smallest = trial
            return
        run.small_losses += [trial] if trial is not None and trial.severity else []
    failures = [trial for trial in run.all_failures if trial.format is formats[0]]
    if failures:
        # Nothing small fails: take the smallest hazard or shape, made smaller while it fails.
        simplest = min(failures, key=_size)
        if simplest.case.logits.size > _MAX_SHRUNK:
            run.smallest = simplest
            return
        run.smallest = run.trials.trial(shrunk(run.trials, simplest.case, simplest.format), simplest.format)


def _many_rows(run: CheckRun, fmt: Format) -> Trial | None:
    """Find how many equal rows break the mean, where a hazard about it fails in a format."""
    is_about_means = any(trial.case.reduced for trial in run.failures if trial.format is fmt)
    return fewest_rows(run.trials, fmt) if is_about_means else None


def _size(trial: Trial) -> int:
    return trial.case.logits.size


def _severity(trial: Trial) -> int:
    return 0 if trial.worst is None else trial.severity


def _severity_in(run: CheckRun, fmt: Format) -> int:
    """Rank the worst that happens in a format; -1 where nothing does."""
    return max((_severity(trial) for trial in run.all_failures if trial.format is fmt), default=-1)


def blame_a_line(run: CheckRun) -> None:
    """Trace the smallest of the worst failures; nothing is blamed where there is no output, or the trace fails."""
    failing = run.traced = _worst_small_failure(run)
    if failing is None or failing.verdict is None or failing.case.axes is not None or run.target.info.is_ours:
        return
    try:
        run.trace = run.target.trace(run.trials.call_on(failing.case, failing.format), TraceOptions())
    except (NoAnswerError, StablemaxError) as error:
        run.notes.append(no_trace_note(error))


def _worst_small_failure(run: CheckRun) -> Trial | None:
    """Return the smallest failing input, or a small one of the hazards that fails in a worse way."""
    smallest = run.smallest
    if smallest is None:
        return None
    small = [trial for trial in run.failures if trial.verdict is not None and _size(trial) <= _MAX_SHRUNK]
    worst = max(small, key=lambda trial: (_severity(trial), trial.format is smallest.format), default=smallest)
    return worst if _severity(worst) > _severity(smallest) else smallest


def run_formula_test(run: CheckRun) -> None:
    """Tell a wrong formula from an unstable one."""
    if run.trace is not None and run.trace.formula_is_wrong:
        run.is_wrong = True
    elif run.formats:
        smallest = [] if run.smallest is None else [run.smallest]
        failures = [*smallest, *_run_exactly_first(run.failures)]
        run.is_wrong = _is_wrong_exactly(run.trials, failures, run.law_verdicts)
    if not (run.is_wrong and run.has_failed):
        _test_small_losses(run)


def _test_small_losses(run: CheckRun) -> None:
    """Find small values that are lost in exact arithmetic, too: by an epsilon, say, and not by rounding."""
    for trial in run.small_losses[:_MAX_FAILURES_RUN_EXACTLY]:
        if fails_exactly(run.trials, trial):
            run.is_wrong, run.smallest = True, trial
            run.hazard_verdicts = [replace(v, failed=v.failed or v.grade is Grade.STABLE) for v in run.hazard_verdicts]
            blame_a_line(run)
            return


def _run_exactly_first(failures: Sequence[Trial]) -> list[Trial]:
    """Return the first failures, and the mildest ones with ignored rows, weights, smoothing and soft targets.

    A loss may be right but for one of these.
    """
    of_options: dict[tuple[bool, ...], Trial] = {}
    for trial in sorted(failures, key=lambda t: 0 if t.worst is None else t.worst.severity):
        of_options.setdefault(trial.case.option_kinds, trial)
    first = failures[:_MAX_FAILURES_RUN_EXACTLY]
    return [*first, *(trial for kinds, trial in of_options.items() if any(kinds))]


def _is_wrong_exactly(trials: Trials, failures: Sequence[Trial], laws: Sequence[LawVerdict]) -> bool:
    """Tell a wrong formula from an unstable one.

    NumPy code runs on exact numbers, where it can be followed; otherwise, and for other libraries, an
    easy input in float64 decides, on which no right formula loses half of its digits.
    """
    easy = trials.trial(easy_case(), FLOAT64)
    if easy.verdict is None and easy.result.output is not None:
        return True  # the output has another shape
    if easy.verdict is not None and exact_output(trials, easy) is None:
        breaks_a_law = any(law.detail for law in laws if law.format == "float64" and law.law not in BOOKKEEPING)
        if easy.severity or breaks_a_law:
            return True
    return any(fails_exactly(trials, trial) for trial in (easy, *failures) if trial.verdict is not None)


def exact_output(trials: Trials, trial: Trial) -> Array | None:
    """Run the target on exact numbers; None where that is not possible."""
    logits = trial.case.logits
    if trials.target.info.backend != "numpy" or logits.size > _MAX_EXACT_CELLS:
        return None
    if np.abs(logits[np.isfinite(logits)]).max(initial=0.0) > _LARGEST_EXACT:
        return None
    with contextlib.suppress(NoAnswerError):
        return trials.target.run_exactly(trials.call_on(trial.case, trial.format))
    return None


def fails_exactly(trials: Trials, trial: Trial) -> bool:
    """Tell whether the target is off by half of the digits on exact numbers; False where it cannot be followed."""
    exact, right = exact_output(trials, trial), trial.setting.exact.truth.rounded
    if exact is None:
        return False
    if exact.size != right.size:
        return True
    rounded = trial.format.round(exact.reshape(right.shape))
    # Where exact arithmetic has no value (inf - inf), the NaN of the floats is not the formula's fault alone.
    return bool((trials.severities(rounded, trial.setting)[~np.isnan(rounded)] > 0).any())


def find_cure(run: CheckRun) -> None:
    """Find the simplest of our variants that keeps the same contract on the same hazards."""
    if run.grade is Grade.BROKEN or not run.has_failed:
        return
    hazards = [hazard for hazard in run.hazards if not hazard.needs]
    formats = run.formats or DEFAULT_FORMATS
    of_operation = {variant.name: variant for variant in variants(run.trials.operation)}
    best = run.trials.operation.best
    for variant in (of_operation[name] for name in (*_CURES, best) if name in of_operation):
        trials = Trials(load_local(Target(variant.id)), run.trials.contract, proved=run.trials.proved)
        if not any(trials.trial_hazard(hazard, fmt).failed for hazard in hazards for fmt in formats):
            run.cure = variant
            return


def write_reproducer(run: CheckRun) -> None:
    """Write the smallest failure as Python and as a test; a broken law where no single output is wrong."""
    broken = next((law for law in reversed(run.law_verdicts) if law.failed and law.format in FORMATS), None)
    if run.smallest is not None:
        run.counterexample = counterexample_of(run.trials, run.smallest, run.style, backward=run.backward)
    elif broken is not None:
        easy = run.trials.trial(easy_case(), get_format(broken.format))
        run.counterexample = counterexample_of(run.trials, easy, run.style, backward=run.backward, broken=broken)
