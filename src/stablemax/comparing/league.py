"""The league: implementations over all hazards, the worst of each in every format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from stablemax.comparing.comparison import CompareOptions, hazard_case, verdicts_on
from stablemax.comparing.summary import few, league_finding, refusals
from stablemax.hazards.catalogue import HAZARDS, Hazard
from stablemax.operations import default_operations
from stablemax.operations.operation import Operation
from stablemax.operations.variant import Variant
from stablemax.results import Grade, League, Outcome, Standout, Verdict

OWN = ("naive", "shifted", "closed-form", "compensated", "centred", "wide")
"""Our variants that take part unless others are named: two for scale, and the accurate ones."""


def league(
    options: CompareOptions | None = None,
    hazards: Iterable[Hazard] | None = None,
    *,
    command: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> League:
    """Judge implementations on every hazard: without patterns the built-ins, and `OWN` of our variants.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.hazards.catalogue import hazard_named
    >>> options = CompareOptions(formats=(FLOAT32,), patterns=("logsumexp/shifted",))
    >>> result = league(options, [hazard_named("nearly-certain"), hazard_named("gentle")])
    >>> [(s.worst.value, s.worst_hazard, s.judged) for s in result.standouts]
    [('lost', 'nearly-certain', 2)]
    """
    options = options or CompareOptions()
    hazards = tuple(HAZARDS.values()) if hazards is None else tuple(hazards)
    chosen = options if options.patterns else replace(options, patterns=OWN)
    plan = chosen.plan(options.asked_operations)
    concerned = {*default_operations(), *plan}
    hazards = tuple(h for h in hazards if any(map(h.concerns, concerned)))
    verdicts: dict[tuple[str, str], dict[str, Verdict]] = {
        (v.id, f.name): {} for implementations in plan.values() for v in implementations for f in options.formats
    }
    for step, fmt in enumerate(options.formats):
        for index, hazard in enumerate(hazards):
            if progress is not None:
                done = step * len(hazards) + index
                progress(done, len(options.formats) * len(hazards), f"{hazard.name} in {fmt.name}")
            cases = (hazard_case(hazard, o, fmt, options.reduction) for o in plan if hazard.concerns(o))
            # As in `check`, no formula is to blame for a processor that flushes to zero.
            for verdict in verdicts_on(cases, fmt, plan, options, hazard.needs, may_flush=True):
                verdicts[verdict.variant, fmt.name][hazard.name] = verdict
    standouts = tuple(
        standout(operation, variant, fmt.name, verdicts[variant.id, fmt.name])
        for operation, implementations in plan.items()
        for variant in implementations
        for fmt in options.formats
    )
    return League(
        formats=tuple(f.name for f in options.formats),
        hazards=tuple(h.name for h in hazards),
        max_ulp=options.max_ulp,
        standouts=standouts,
        libraries=options.libraries(),
        finding=league_finding(standouts),
        command=command,
        notes=tuple(_refusals(verdicts)),
        backend=options.backend_name,
        device=options.device,
    )


def standout(operation: Operation, variant: Variant, fmt: str, verdicts: Mapping[str, Verdict]) -> Standout:
    """Sum up one implementation in one format: its worst outcome, and where."""
    ran = {hazard: v for hazard, v in verdicts.items() if v.worst is not None}
    if not ran:
        why = next((v.skipped for v in verdicts.values()), "is concerned by none of these hazards")
        return Standout(operation.name, variant.id, fmt, None, skipped=why)
    outcomes = {o: tuple(h for h, v in ran.items() if o in v.shares) for o in Outcome}
    outcomes = {o: names for o, names in outcomes.items() if names}
    grades = {hazard: v.grade for hazard, v in ran.items() if v.grade is not None}
    grade = Grade.worst_of(grades.values())
    of_the_grade = [h for h in ran if grades.get(h) is grade] if grade is not Grade.ACCURATE else []
    errors = {hazard: v.error_ulp for hazard, v in ran.items() if v.error_ulp is not None}
    largest = max(errors, key=lambda h: errors[h], default="")
    worst = max((o for h in of_the_grade if (o := ran[h].worst)), key=lambda o: o.severity, default=Outcome.OK)
    so_bad = [h for h in of_the_grade if ran[h].worst is worst]
    hazard = ""
    if worst is Outcome.INACCURATE:
        hazard = max(so_bad, key=lambda h: errors.get(h, 0.0))
    elif worst is Outcome.LOST:
        hazard = max(so_bad, key=lambda h: _lost(ran[h]))
    elif so_bad:
        hazard = so_bad[0]  # the first of the catalogue is the simplest
    return Standout(
        operation.name,
        variant.id,
        fmt,
        worst,
        worst_hazard=hazard,
        error_ulp=errors.get(largest),
        error_hazard=largest,
        grade=grade,
        failed=tuple(h for h in ran if grades.get(h) is Grade.UNSTABLE),
        stable=tuple(h for h in ran if grades.get(h) is Grade.STABLE),
        outcomes=outcomes,
        judged=len(ran),
        cause=ran[hazard].cause if hazard else "",
    )


def _lost(verdict: Verdict) -> float:
    """Size of the first lost value: losing 4e-18 matters more than losing 1e-310."""
    return abs(verdict.first_bad.truth) if verdict.first_bad is not None else 0.0


def _refusals(verdicts: Mapping[tuple[str, str], Mapping[str, Verdict]]) -> list[str]:
    """Say what was not run at all in a format, and what on some hazards only."""
    everywhere = [next(iter(of.values())) for of in verdicts.values() if of and all(v.skipped for v in of.values())]
    partly: dict[tuple[str, str], dict[str, None]] = {}
    for by_hazard in verdicts.values():
        skipped = {hazard: v for hazard, v in by_hazard.items() if v.skipped}
        for hazard, verdict in skipped.items() if len(skipped) < len(by_hazard) else ():
            partly.setdefault((verdict.variant, verdict.skipped), {})[hazard] = None
    return [
        *refusals(everywhere),
        *(f"{name} was not run on {few(list(hazards))}: it {why}" for (name, why), hazards in partly.items()),
    ]
