"""The league: its document, rows and checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from stablemax.render import document as doc
from stablemax.render import figures, judged_words
from stablemax.render.forms import Check, Checks, ResultKind, in_columns
from stablemax.results import League, Standout
from stablemax.text.outcomes import OUTCOMES, Grade, Outcome
from stablemax.text.words import counted, listed

COLUMNS = (
    *("operation", "implementation", "format", "grade", "worst", "worst_hazard", "error_ulp", "error_hazard"),
    *("failed", "stable", "judged", "cause", "skipped"),
)
ByImplementation = dict[str, dict[str, "Standout"]]


def document(result: League, *, details: bool = False) -> doc.Document:
    """Say how many fail, then show a table for each operation with its hazards, then what the cells say."""
    sections: list[doc.Section] = []
    by_operation: dict[str, ByImplementation] = {}
    for s in result.standouts:
        by_operation.setdefault(s.operation, {}).setdefault(s.implementation, {})[s.format] = s
    for operation, implementations in by_operation.items():
        standouts = [s for row in implementations.values() for s in row.values()]
        hazards = dict.fromkeys(s.worst_hazard for s in standouts if s.worst_hazard)
        keys = {name: _letters(i) for i, name in enumerate(hazards)}
        section: list[doc.Block] = [_matrix(operation, implementations, result.formats, keys)]
        if keys:
            section.append(doc.Legend([doc.Span(f"{key} {name}") for name, key in keys.items()], keeps_entries=True))
        if details:
            section.append(doc.words(*(line for s in standouts for line in _details(s))))
        sections.append(section)
    units = judged_words.meanings(figures.short_error(s.error_ulp) for s in result.standouts if s.worst is Outcome.OK)
    sections.append([doc.Legend([*_legend([(s.worst, s.grade) for s in result.standouts]), *units])])
    return doc.report(doc.Finding(result.finding), _facts(result), sections, result.command)


def _facts(result: League) -> list[str]:
    """Say what took part, and how it was judged."""
    lines = [
        f"{counted(len(result.hazards), 'hazard')}: stablemax list hazards. {judged_words.limit_of(result.max_ulp)}. "
        "A 0 below the smallest normal number is no failure"
    ]
    if result.libraries:
        device = f" on {result.device}" if result.device else ""
        ours = f"; our variants run on {result.backend}" if result.backend != "numpy" else ""
        lines.append(f"with {judged_words.library_words(result.libraries)}{device}{ours}")
    return lines


def _matrix(
    operation: str, implementations: ByImplementation, formats: tuple[str, ...], keys: dict[str, str]
) -> doc.Matrix:
    return doc.Matrix(
        operation,
        [doc.Column(fmt) for fmt in formats],
        [doc.Span(judged_words.row_label(name).removesuffix(f"/{operation}")) for name in implementations],
        [[doc.Cell(_words(row[fmt], keys)) for fmt in formats] for row in implementations.values()],
        title_above=True,
    )


def _words(standout: Standout, keys: dict[str, str]) -> doc.Span:
    """Write a cell: the largest error where all holds, else the outcome, how many hazards, and a key to the worst."""
    worst, key = standout.worst, keys.get(standout.worst_hazard, "")
    if worst is None:
        return judged_words.NOT_RUN
    if worst is Outcome.OK:
        return doc.Span(f" {figures.short_error(standout.error_ulp)} {key}".rstrip(), sign=worst)
    if standout.grade is Grade.STABLE:
        return doc.Span(f" {Grade.STABLE} {len(standout.stable)} {key}", sign=Grade.STABLE)
    return doc.Span(f" {OUTCOMES[worst].word} {len(standout.failed)} {key}", sign=worst)


def _letters(index: int) -> str:
    """Count in letters: a to z, aa, ab.

    >>> _letters(0), _letters(25), _letters(26)
    ('a', 'z', 'aa')
    """
    head, last = divmod(index, 26)
    return (_letters(head - 1) if head else "") + chr(ord("a") + last)


def _legend(seen: list[tuple[Outcome | None, Grade | None]]) -> list[doc.Span]:
    """Explain what a cell says."""
    failures = doc.legend_of(seen)
    entries = [doc.Span("worst outcome over all hazards")]
    if any(outcome is Outcome.OK for outcome, _ in seen):
        entries.append(doc.Span(" ok: the largest error, all is accurate", sign=Outcome.OK))
    if failures:
        numbers = "a number: on how many hazards it is stable or fails; a letter: the one that the outcome is of"
        entries += [*failures, doc.Span(numbers)]
    return entries


def _details(standout: Standout) -> list[str]:
    """All that is known of an implementation in a format, in words."""
    title = f"{standout.implementation} in {standout.format}"
    if standout.worst is None:
        return [f"{title}: not run: it {standout.skipped}"]
    lines = [f"{title}: {standout.grade}; {len(standout.failed)} of {counted(standout.judged, 'hazard')} failed"]
    if standout.error_ulp is not None:
        lines.append(f"  largest error {figures.error(standout.error_ulp)}, on {standout.error_hazard}")
    if standout.cause:
        words = judged_words.graded(standout.worst, standout.grade)
        lines.append(f"  {words} on {standout.worst_hazard}: {standout.cause}")
    failing = {o: names for o, names in standout.outcomes.items() if o.is_failure}
    return lines + [f"  {OUTCOMES[o].word}: {', '.join(names)}" for o, names in failing.items()]


def records(result: League) -> Iterator[dict[str, Any]]:
    """Give a record for each implementation in each format."""
    return ({"kind": "standout", **dataclasses.asdict(s)} for s in result.standouts)


def checks(result: League, failures: frozenset[Outcome | Grade]) -> Checks:
    """Give a check for each implementation in each format."""
    every = (_check(s, failures) for s in result.standouts)
    return Checks("stablemax compare --hazards", result.finding, tuple(every))


def _check(standout: Standout, failures: frozenset[Outcome | Grade]) -> Check:
    group = f"stablemax.comparing.league.{standout.operation}"
    check = judged_words.outcome_check(group, standout.implementation, standout)
    kind = judged_words.failing_outcome(standout, standout.outcomes, failures)
    if kind is None:
        return check
    names = standout.outcomes[kind]
    failure = f"{check.name}: {OUTCOMES[kind].word} under {counted(len(names), 'hazard')}, first {names[0]}"
    return dataclasses.replace(check, failure=failure, kind=kind.value, details=f"hazards: {listed(names)}")


LEAGUE = ResultKind(
    "a league", "league", document=document, records=records, rows=in_columns(COLUMNS, records), checks=checks
)
