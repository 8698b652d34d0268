"""Judge anybody's implementation: every hazard, the laws, a search, and what cures it."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.formula_test import is_wrong_exactly
from stablemax.check.laws import LAW_NAMES, check_laws, easy_case
from stablemax.check.pasted_code import OURS
from stablemax.check.reproducer import counterexample
from stablemax.check.search import shrunk, smallest_failure
from stablemax.check.target.call_style import Convention
from stablemax.check.target.local import Host
from stablemax.check.target.messages import Answer, Described, Order
from stablemax.check.target.subprocess_target import HUNG, NoAnswerError, Remote
from stablemax.check.trials import Asker, Runner, Trial, find_reading
from stablemax.errors import StablemaxError, shown
from stablemax.finding import check_finding
from stablemax.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format, get_format
from stablemax.inputs.hazards import HAZARDS, NEEDS, Hazard
from stablemax.limits import check_max_ulp, check_timeout
from stablemax.registry import Variant, variants
from stablemax.results import (
    CheckReport,
    Contract,
    HazardVerdict,
    LawVerdict,
    Outcome,
    Standing,
)
from stablemax.vocabulary import Operation, Reduction
from stablemax.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.results import Trace

_TRIALS_RUN_EXACTLY = 8
_SMALL = 64
_MAX_HANGS = 3
"""Hazards are not run any more once so many have hung: each takes the whole time limit."""

DEFAULT_FORMATS = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)


@dataclass(frozen=True)
class CheckOptions:
    """What an implementation is held to, and how hard it is tried.

    Parameters
    ----------
    formats : tuple of Format
        In which it is tried, as far as it accepts them; empty for the usual ones: `usual_formats`.
    max_ulp : float, optional
        Errors above are inaccurate; half of the format's bits when not given.
    allow : tuple of str
        Outcomes and laws that do not count.
    only : tuple of str
        Globs of hazard names; empty for all.
    takes : tuple of str
        From `hazards.NEEDS`: what it takes beyond what its signature shows.
    search : bool
        Look for the smallest input that breaks it.
    seed : int
        Of that search.

    Raises
    ------
    StablemaxError
        If a name is not known or a number is out of range.
    """

    formats: tuple[Format, ...] = ()
    max_ulp: float | None = None
    allow: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    search: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_max_ulp(self.max_ulp)
        known = (*(o.value for o in Outcome if o.is_failure), *LAW_NAMES)
        for name in self.allow:
            if name not in known:
                raise StablemaxError(
                    f"--allow: there is no outcome or law {shown(name)!r}", f"one or more of: {', '.join(known)}"
                )
        for name in self.takes:
            if name not in NEEDS:
                raise StablemaxError(f"--with: nothing is called {shown(name)!r}", f"one of: {', '.join(NEEDS)}")
        for pattern in self.only:
            if not fnmatch.filter(HAZARDS, pattern):
                raise StablemaxError(f"--only: no hazard matches {shown(pattern)!r}", "stablemax list hazards")

    def contract(self, formats: tuple[Format, ...]) -> Contract:
        """Return the contract, as it is reported."""
        return Contract(self.max_ulp, self.allow, self.only, tuple(f.name for f in formats))


def usual_formats(described: Described) -> tuple[Format, ...]:
    """Return the formats in which an implementation is tried when none is named.

    bfloat16 is no format of NumPy's: with ml_dtypes a bare ``1.0`` in the code makes float32 of it, and
    sums are added one by one, for which the code is not to blame.
    """
    own_code = described.backend == "numpy" and described.place != OURS
    return tuple(f for f in DEFAULT_FORMATS if not (own_code and f is BFLOAT16))


@dataclass
class _Progress:
    """Counts steps for the terminal."""

    tell: Callable[[int, int, str], None] | None
    total: int
    done: int = 0

    def __call__(self, text: str) -> None:
        self.done += 1
        if self.tell is not None:
            self.tell(min(self.done, self.total), self.total, text)


@dataclass
class _Findings:
    """What a check gathers on its way."""

    hazards: list[HazardVerdict] = field(default_factory=list)
    laws: list[LawVerdict] = field(default_factory=list)
    failures: list[tuple[Hazard, Trial]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hangs: int = 0


def check(
    order: Order,
    options: CheckOptions | None = None,
    *,
    timeout_s: float = 10.0,
    command: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> CheckReport:
    """Judge an implementation in a process of its own: it may raise, hang, print or crash.

    Parameters
    ----------
    order : Order
        What to load, and how it is meant.
    options : CheckOptions, optional
        What it is held to.
    timeout_s : float
        How long one call may take.
    command : tuple of str
        The command that reproduces it.
    progress : callable, optional
        Called with (steps done, steps in all, what runs now).

    Raises
    ------
    StablemaxError
        If the target cannot be loaded, or no hazard concerns it.
    """
    check_timeout(timeout_s)
    with Remote(order, timeout_s) as remote:
        return _checked(remote, order, options or CheckOptions(), command, progress, remote.ask)


def check_function(
    function: Callable[..., Any] | None, order: Order, options: CheckOptions | None = None
) -> CheckReport:
    """Judge a function that is at hand, or what an order names, in this process.

    Parameters
    ----------
    function : callable or None
        Any function, a lambda or a method too; None to load what the order names.
    order : Order
        Its name, its operation, its backend.
    options : CheckOptions, optional
        What it is held to.

    Raises
    ------
    StablemaxError
        If its operation is not known, or no hazard concerns it.
    """
    host = Host(order, function)
    return _checked(host, order, options or CheckOptions(), (), None, lambda name, *a: getattr(host, name)(*a))


def _checked(
    runner: Runner,
    order: Order,
    options: CheckOptions,
    command: tuple[str, ...],
    tell: Callable[[int, int, str], None] | None,
    ask: Callable[..., Any],
) -> CheckReport:
    described = runner.described
    hazards = _concerning(described.operation, options)
    if "weights" in options.takes and "weights" not in described.takes:
        raise StablemaxError(
            f"--with weights: {described.name} has no parameter 'weight'", "give it one, or leave --with weights out"
        )
    formats = options.formats or usual_formats(described)
    options = replace(options, formats=formats)
    asker = Asker(runner, options.contract(formats))
    found = _Findings()
    progress = _Progress(tell, len(options.formats) * (len(hazards) + 8) + 1)
    progress(f"calling {described.name}")
    accepted, refusals = _accepted(asker, options)
    way, why = Convention(), ""
    if accepted:
        forward = _forward(asker, ask, accepted[-1]) if order.backward else None
        asker.reading = find_reading(asker, easy_case(), accepted[-1], forward)
        way, why = _way(ask)
        found.notes += _repeated(asker, accepted[-1])
    if way.by_row:
        found.notes.append(f"called one row at a time, as {way.in_words}: on several rows it {why}")
    if asker.reading is Reduction.SUM:
        of_gradient = described.operation is Operation.CROSS_ENTROPY_GRAD
        taken = "its gradient is taken as that of the sum" if of_gradient else "its number is taken as the sum"
        found.notes.append(f"{taken} of the losses, not {'of ' if of_gradient else ''}their mean")
    found.notes += [f"not tried in {name}: it {why}" for name, why in refusals.items() if accepted]
    takes = described.takes | set(options.takes)
    for hazard in hazards:
        for fmt in accepted:
            progress(f"{hazard.name} in {fmt.name}")
            _try(asker, hazard, fmt, takes, found)
    left_out = sorted({need for h in hazards for need in h.needs if need not in takes})
    if left_out and described.operation.needs_targets:
        missing = sum(bool(set(h.needs) - takes) for h in hazards)
        found.notes.append(f"{counted(missing, 'hazard')} need {listed(left_out)}: --with {' --with '.join(left_out)}")
    if found.hangs >= _MAX_HANGS:
        found.notes.append(f"it hung {_MAX_HANGS} times: the other hazards are not run (--timeout)")
    for fmt in accepted:
        progress(f"laws in {fmt.name}")
        found.laws += check_laws(asker, fmt)
    smallest = _smallest(asker, options, accepted, found, progress) if accepted else None
    trace = _traced(asker, ask, smallest)
    trials = [t for t in (smallest, *(t for _, t in found.failures[:_TRIALS_RUN_EXACTLY])) if t is not None]
    wrong = bool(trace and trace.formula_is_wrong) or (
        bool(accepted) and is_wrong_exactly(asker, trials, found.laws, ask)
    )
    standing = _standing(accepted, found, smallest, wrong=wrong)
    blame = None if trace is None else trace.blame
    curable = standing in (Standing.UNSTABLE, Standing.WRONG)
    cure = _cure(described.operation, options, accepted) if curable else None
    example = None if smallest is None else counterexample(asker, smallest, way, backward=order.backward)
    broken = next((law for law in reversed(found.laws) if law.failed), None)
    if smallest is None and broken is not None:
        easy = asker.trial(easy_case(), get_format(broken.format))
        example = counterexample(asker, easy, way, backward=order.backward, broken=broken)
    report = CheckReport(
        target=described.name,
        operation=described.operation.value,
        backend=described.backend,
        standing=standing,
        finding="",
        formats=tuple(f.name for f in accepted),
        hazards=tuple(found.hazards),
        laws=tuple(found.laws),
        counterexample=example,
        blame=blame.sentence if blame else "",
        blame_file=blame.file if blame else "",
        blame_line=blame.line if blame else 0,
        cure=cure.id if cure else "",
        cure_formula=cure.formula if cure else "",
        contract=asker.contract,
        printed="".join(asker.printed)[:2000],
        command=command,
        notes=tuple(found.notes),
    )
    return replace(report, finding=check_finding(report, refusals))


def _forward(asker: Asker, ask: Callable[..., Any], fmt: Format) -> Answer | None:
    """Ask for the loss itself, where the gradient that autograd takes of it is judged."""
    try:
        return ask("forward", asker.question(easy_case(), fmt)) if asker.operation.needs_targets else None
    except NoAnswerError:
        return None


def _way(ask: Callable[..., Any]) -> tuple[Convention, str]:
    """Ask how the target turned out to be called, and why one row at a time where it is."""
    try:
        way, why = ask("way")
    except NoAnswerError:
        return Convention(), ""
    return way, why


def _repeated(asker: Asker, fmt: Format) -> list[str]:
    """Note where the same input gives another output the second time: no verdict on such code can be repeated."""
    once, again = asker.answers([asker.question(easy_case(), fmt)] * 2)
    if once.output is None or again.output is None or np.array_equal(once.output, again.output, equal_nan=True):
        return []
    return ["its output changes from one call to the next on the same input"]


def _concerning(operation: Operation, options: CheckOptions) -> list[Hazard]:
    chosen = [
        h
        for h in HAZARDS.values()
        if operation in h.operations and (not options.only or any(fnmatch.fnmatchcase(h.name, p) for p in options.only))
    ]
    if not chosen:
        raise StablemaxError(f"no hazard of {operation} matches {', '.join(options.only)}", "stablemax list hazards")
    return chosen


def _accepted(asker: Asker, options: CheckOptions) -> tuple[list[Format], dict[str, str]]:
    """Formats in which the target answers an easy input at all, and what it says in the others."""
    limits = asker.runner.described.formats
    accepted: list[Format] = []
    refusals: dict[str, str] = {}
    for fmt in options.formats:
        if limits and fmt.name not in limits:
            refusals[fmt.name] = "does not take it"
            continue
        answer = asker.answers([asker.question(easy_case(), fmt)])[0]
        if answer.output is None:
            refusals[fmt.name] = answer.trouble
        else:
            accepted.append(fmt)
    return accepted, refusals


def _try(asker: Asker, hazard: Hazard, fmt: Format, takes: frozenset[str] | set[str], found: _Findings) -> None:
    lacking = [need for need in hazard.needs if need not in takes]
    if lacking and asker.operation.needs_targets:
        found.hazards.append(HazardVerdict(hazard.name, fmt.name, None, skipped=f"needs {listed(lacking)}"))
        return
    if found.hangs >= _MAX_HANGS:
        found.hazards.append(HazardVerdict(hazard.name, fmt.name, None, skipped=f"it hung {_MAX_HANGS} times before"))
        return
    trial = asker.trial(hazard.case(fmt), fmt)
    verdict = trial.verdict
    found.hangs += trial.trouble.startswith(HUNG)
    found.hazards.append(
        HazardVerdict(
            hazard.name,
            fmt.name,
            trial.worst,
            None if verdict is None else verdict.error_ulp,
            None if verdict is None else verdict.first_bad,
            failed=trial.failed,
            trouble=trial.trouble,
        )
    )
    if trial.failed:
        found.failures.append((hazard, trial))


def _smallest(
    asker: Asker, options: CheckOptions, accepted: list[Format], found: _Findings, progress: _Progress
) -> Trial | None:
    """Find the smallest failing input, in float32 if there is one; else in the widest format that fails."""
    failing = {t.format.name for _, t in found.failures}
    hung = next((t for _, t in found.failures if t.trouble.startswith(HUNG)), None)
    numeric = [t for _, t in found.failures if t.verdict is not None]
    if hung is not None and (not numeric or hung.case.logits.size <= _SMALL):
        # Each further try would take the time limit.
        return min(numeric or [hung], key=lambda t: t.case.logits.size)
    order = sorted(accepted, key=lambda f: (f.name not in failing, f is not FLOAT32, -f.precision))
    for fmt in order if options.search else []:
        known = [t.worst for _, t in found.failures if t.format is fmt and t.worst is not None]
        wanted = max(known, key=lambda o: o.severity, default=None)
        case = smallest_failure(asker, fmt, wanted=wanted, seed=options.seed, progress=progress)
        if case is not None:
            return asker.trial(case, fmt)
    own = [t for _, t in found.failures if t.format is order[0]] if found.failures else []
    if not own:
        return None
    # Nothing small fails: take the smallest hazard, made smaller while it fails.
    simplest = min(own, key=lambda t: t.case.logits.size)
    return asker.trial(shrunk(asker, simplest.case, simplest.format), simplest.format)


def _standing(accepted: list[Format], found: _Findings, smallest: Trial | None, *, wrong: bool) -> Standing:
    if not accepted:
        return Standing.BROKEN
    failed = found.failures or smallest is not None or any(law.failed for law in found.laws)
    if not failed:
        return Standing.GOOD
    if wrong:
        return Standing.WRONG
    numeric = any(t.verdict is not None for _, t in found.failures) or (
        smallest is not None and smallest.verdict is not None
    )
    return Standing.UNSTABLE if numeric else Standing.BROKEN


def _traced(asker: Asker, ask: Callable[..., Any], smallest: Trial | None) -> Trace | None:
    """Trace the smallest failing input; None where there is no output, or the code cannot be traced."""
    if smallest is None or smallest.verdict is None or asker.runner.described.place == OURS:
        return None
    try:
        return ask("traced", asker.question(smallest.case, smallest.format))
    except (NoAnswerError, StablemaxError):
        return None


def _cure(operation: Operation, options: CheckOptions, accepted: list[Format]) -> Variant | None:
    """Find the simplest of our variants that keeps the same contract on the same hazards."""
    names = ("shifted", "compensated", "centred", "wide")
    for variant in (v for name in names for v in variants(operation) if v.name == name):
        asker = Asker(Host(Order(variant.id)), options.contract(options.formats))
        cases = [(h, f) for h in _concerning(operation, options) if not h.needs for f in accepted or DEFAULT_FORMATS]
        if not any(asker.trial(h.case(f), f).failed for h, f in cases):
            return variant
    return None
