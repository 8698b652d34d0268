"""A report: a comparison, a sweep, an explanation of each formula, and what became of somebody's code."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib import metadata

from stablemax.comparing.explanation import explanation_of
from stablemax.libraries import find
from stablemax.results import CheckReport, Comparison, Report, Sweep, Trace
from stablemax.sweeping.sweep_options import SweepOptions
from stablemax.sweeping.sweep_run import sweep_variants

STEPS = 41
"""Values along the axis: each is a row of the figures on the page."""
# What every result is computed and judged with.
_PACKAGES = ("stablemax", "numpy", "ml_dtypes", "python-flint")


def report_of(
    comparison: Comparison,
    options: SweepOptions,
    *,
    check: CheckReport | None = None,
    trace: Trace | None = None,
    command: tuple[str, ...] = (),
    sweep_command: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> Report:
    """Sweep the main formulas, explain every formula of a comparison, and bring all together."""
    sweep = sweep_variants(options, command=sweep_command, progress=progress)
    names = list(dict.fromkeys(v.variant for v in comparison.verdicts))
    explanations = []
    for done, name in enumerate(names):
        if progress is not None:
            progress(done, len(names), f"explaining {name}")
        explanations.append(explanation_of(find(name)))
    return Report(
        comparison=comparison,
        sweep=sweep,
        explanations=tuple(explanations),
        check=check,
        trace=trace,
        versions=_versions(comparison, sweep, check),
        command=command,
        notes=(*comparison.notes, *sweep.notes),
    )


def _versions(comparison: Comparison, sweep: Sweep, check: CheckReport | None) -> dict[str, str]:
    theirs = {**comparison.libraries, **sweep.libraries}
    if check is not None and check.backend not in (*_PACKAGES, *theirs):
        theirs[check.backend] = metadata.version(check.backend)
    return {"Python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}, **theirs}
