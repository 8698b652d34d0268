"""A sweep in two or three sentences: what breaks, where, and what holds."""

from __future__ import annotations

from collections.abc import Sequence

from stablemax.numerics.formats import get_format
from stablemax.numerics.ordered_numbers import shortest
from stablemax.results import Change, SumStall, SweptLine, SweptPoint
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.words import counted, listed

_MOST_NAMED = 4


def outcome_words(point: SweptPoint) -> str:
    """Say what a point is, as the end of "it is ... at 88.5".

    >>> from stablemax.results import Grade, Outcome
    >>> outcome_words(SweptPoint(1.0, Outcome.OK, Grade.ACCURATE)), outcome_words(SweptPoint(1.0, None, Grade.BROKEN))
    ('right', 'without an answer')
    """
    if point.outcome is None:
        return "without an answer" if point.fails else "not run"
    return "right" if point.holds else OUTCOMES[point.outcome].predicate


def finding_of(lines: Sequence[SweptLine], noun: str, stalls: Sequence[SumStall], *, to_the_end: bool) -> str:
    """Say which formula breaks between which neighbours, which others break, and which hold."""
    ran = [line for line in lines if not line.skipped]
    labels = list(dict.fromkeys(line.label for line in ran))
    breaking = [label for label in labels if any(line.breaks for line in ran if line.label == label)]
    failing = [
        label
        for label in labels
        if label not in breaking and any(p.fails for line in ran if line.label == label for p in line.points)
    ]
    holding = [label for label in labels if label not in (*breaking, *failing)]
    sentences = []
    if breaking:
        broken = [line for line in ran if line.label == breaking[0] and line.breaks]
        places = "; ".join(f"{_nearest_break(line)} in {line.format}" for line in broken)
        sentences.append(f"As the {noun} changes, {breaking[0]} breaks: {places}.")
    if breaking[1:]:
        sentences.append(f"{_named(breaking[1:])} {'breaks' if len(breaking) == 2 else 'break'}, too.")
    if failing:
        sentences.append(f"{_named(failing)} {'is' if len(failing) == 1 else 'are'} right nowhere.")
    if holding:
        end = "to the end of each format" if to_the_end else "in the whole range"
        only = "" if sentences else "Nothing breaks: "
        sentences.append(f"{only}{_named(holding)} {'holds' if len(holding) == 1 else 'hold'} {end}.")
    if stalls:
        places = listed([f"{stall.total:.0f} in {stall.format}" for stall in stalls])
        sentences.append(f"A sum of ones, added one by one, stops growing at {places}.")
    return " ".join(sentences) or "Nothing was run."


def _nearest_break(line: SweptLine) -> str:
    """Word the break that is nearest to 0."""
    return break_words(min(line.breaks, key=lambda change: abs(change.broken.value)), line.format)


def break_words(change: Change, fmt: str) -> str:
    """Word a break by its two neighbours."""
    record = get_format(fmt)
    right, broken = (shortest(point.value, record) for point in (change.right, change.broken))
    return f"right at {right}, {outcome_words(change.broken)} at {broken}"


def _named(labels: Sequence[str]) -> str:
    """Name a few, or count them."""
    if len(labels) <= _MOST_NAMED:
        return listed(labels)
    return f"{', '.join(labels[: _MOST_NAMED - 1])} and {counted(len(labels) - _MOST_NAMED + 1, 'more formula')}"
