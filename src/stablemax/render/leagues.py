"""The league: its document, rows and checks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from stablemax.operations import is_built_in
from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.forms import Check, Checks, ResultKind, Rows
from stablemax.render.judged_words import limit_of, outcome_check
from stablemax.text.outcomes import OUTCOMES, Outcome
from stablemax.text.words import counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.results import League, Standout

COLUMNS = (
    *("operation", "implementation", "format", "worst", "worst_hazard", "error_ulp", "error_hazard", "failed"),
    *("judged", "cause", "skipped"),
)
ByImplementation = dict[str, dict[str, "Standout"]]


def document(result: League, *, details: bool = False) -> doc.Document:
    """Say how many fail, then show a table for each operation with its hazards, then what the cells say."""
    sections: list[doc.Section] = [(doc.Finding(result.finding),), (doc.Facts(tuple(facts(result))),)]
    for operation, implementations in _by_operation(result).items():
        keys = _keys(implementations)
        section: doc.Section = (_matrix(operation, implementations, result.formats, keys),)
        if keys:
            entries = tuple(doc.Span(f"{key} {name}") for name, key in keys.items())
            section += (doc.Legend(entries, keeps_entries=True),)
        if details:
            every = (s for row in implementations.values() for s in row.values())
            section += (doc.words(*(line for s in every for line in _details(s))),)
        sections.append(section)
    end: doc.Section = (doc.Legend(_legend({s.worst for s in result.standouts})),)
    return (*sections, doc.reproduced(end, result.command))


def facts(result: League) -> list[str]:
    """Say what took part, and how it was judged."""
    used = [f"{name} {version}" for name, version in result.libraries.items()]
    lines = [
        f"{counted(len(result.hazards), 'hazard')}: stablemax list hazards. {limit_of(result.max_ulp)}. "
        "A 0 below the smallest normal number is no failure"
    ]
    if used:
        device = f" on {result.device}" if result.device else ""
        ours = f"; our variants run on {result.backend}" if result.backend != "numpy" else ""
        lines.append(f"with {listed(used)}{device}{ours}")
    return lines


def _by_operation(result: League) -> dict[str, ByImplementation]:
    """Standouts by operation, implementation and format."""
    by_operation: dict[str, ByImplementation] = {}
    for s in result.standouts:
        by_operation.setdefault(s.operation, {}).setdefault(s.implementation, {})[s.format] = s
    return by_operation


def _matrix(
    operation: str, implementations: ByImplementation, formats: tuple[str, ...], keys: dict[str, str]
) -> doc.Matrix:
    return doc.Matrix(
        operation,
        tuple(map(doc.Column, formats)),
        tuple(doc.Span(_label(next(iter(row.values())))) for row in implementations.values()),
        tuple(tuple(doc.Cell(_words(row[fmt], keys)) for fmt in formats) for row in implementations.values()),
        title_above=True,
    )


def _label(standout: Standout) -> str:
    """Name an implementation within its operation's table: ``torch``, ``shifted``."""
    home, _, name = standout.implementation.partition("/")
    if not is_built_in(standout.implementation):
        return name
    return home if name == standout.operation else standout.implementation


def _words(standout: Standout, keys: dict[str, str]) -> doc.Span:
    """Write a cell: the largest error where all holds, else the outcome, how many hazards, and a key to the worst."""
    worst = standout.worst
    if worst is None:
        return doc.Span("not run", "dim")
    if worst is Outcome.OK:
        return doc.Span(f" {figures.short_error(standout.error_ulp)}".rstrip(), sign=worst)
    key = keys[standout.worst_hazard]
    if worst is Outcome.INACCURATE:
        return doc.Span(f" {figures.short_error(standout.error_ulp)} {key}", sign=worst)
    return doc.Span(f" {OUTCOMES[worst].word} {len(standout.failed)} {key}", sign=worst)


def _keys(implementations: ByImplementation) -> dict[str, str]:
    """Give each worst hazard of a table a letter, in the order of reading."""
    names = dict.fromkeys(s.worst_hazard for row in implementations.values() for s in row.values() if s.worst_hazard)
    return {name: _letters(i) for i, name in enumerate(names)}


def _letters(index: int) -> str:
    """Count in letters: a to z, aa, ab.

    >>> _letters(0), _letters(25), _letters(26)
    ('a', 'z', 'aa')
    """
    head, last = divmod(index, 26)
    return (_letters(head - 1) if head else "") + chr(ord("a") + last)


def _legend(seen: set[Outcome | None]) -> tuple[doc.Span, ...]:
    """Explain what a cell says."""
    entries = [doc.Span("worst outcome over all hazards")]
    if Outcome.OK in seen:
        entries.append(doc.Span(" ok: the largest error, nothing fails", sign=Outcome.OK))
    entries += doc.outcome_legend({o for o in seen if o is not None and o.is_failure})
    if any(o is not None and o.is_failure for o in seen):
        entries.append(doc.Span("a number: on how many hazards it fails; a letter: the one that the outcome is of"))
    return tuple(entries)


def _details(standout: Standout) -> list[str]:
    """All that is known of an implementation in a format, in words."""
    title = f"{standout.implementation} in {standout.format}"
    if standout.worst is None:
        return [f"{title}: not run: it {standout.skipped}"]
    lines = [f"{title}: {len(standout.failed)} of {counted(standout.judged, 'hazard')} failed"]
    if standout.error_ulp is not None:
        lines.append(f"  largest error {figures.error(standout.error_ulp)}, on {standout.error_hazard}")
    if standout.cause:
        lines.append(f"  {OUTCOMES[standout.worst].word} on {standout.worst_hazard}: {standout.cause}")
    failing = {o: names for o, names in standout.outcomes.items() if o.is_failure}
    return lines + [f"  {OUTCOMES[o].word}: {', '.join(names)}" for o, names in failing.items()]


def records(result: League) -> Iterator[dict[str, Any]]:
    """Give a record for each implementation in each format."""
    return ({"kind": "standout", **dataclasses.asdict(s)} for s in result.standouts)


def checks(result: League, failures: frozenset[Outcome]) -> Checks:
    """Give a check for each implementation in each format."""
    every = (_check(s, failures) for s in result.standouts)
    return Checks("stablemax compare --hazards", result.finding, tuple(every))


def _check(standout: Standout, failures: frozenset[Outcome]) -> Check:
    check = outcome_check(f"stablemax.comparing.league.{standout.operation}", standout.implementation, standout)
    hits = failures & standout.outcomes.keys()
    if not hits:
        return check
    kind = max(hits, key=lambda o: o.severity)
    names = standout.outcomes[kind]
    failure = f"{check.name}: {OUTCOMES[kind].word} under {counted(len(names), 'hazard')}, first {names[0]}"
    return dataclasses.replace(check, failure=failure, kind=kind.value, details=f"hazards: {listed(names)}")


LEAGUE = ResultKind(
    "a league",
    "league",
    document=document,
    records=records,
    rows=lambda league: Rows(COLUMNS, records(league)),
    checks=checks,
)
