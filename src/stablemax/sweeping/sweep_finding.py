"""A sweep in two or three sentences: what breaks, where, and what holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
    failing = _by_formats(line for line in ran if not line.breaks and line.always_fails)
    beyond = _by_formats(line for line in ran if not any(point.holds or point.fails for point in line.points))
    unsound = {*breaking, *(label for each in (failing, beyond) for names in each.values() for label in names)}
    holding = [label for label in labels if label not in unsound]
    sentences = []
    if breaking:
        broken = [line for line in ran if line.label == breaking[0] and line.breaks]
        places = "; ".join(f"{_nearest_break(line)} in {line.format}" for line in broken)
        sentences.append(f"As the {noun} changes, {breaking[0]} breaks: {places}.")
    if breaking[1:]:
        sentences.append(f"{_named(breaking[1:])} {'breaks' if len(breaking) == 2 else 'break'}, too.")
    for formats, names in failing.items():
        sentences.append(f"{_named(names)} {'is' if len(names) == 1 else 'are'} right nowhere in {formats}.")
    if holding:
        end = "to the end of each format" if to_the_end else "in the whole range"
        only = "" if sentences else "Nothing breaks: "
        sentences.append(f"{only}{_named(holding)} {'holds' if len(holding) == 1 else 'hold'} {end}.")
    sentences += [f"The range lies beyond what {formats} can hold." for formats in beyond]
    if stalls:
        places = listed([f"{stall.total:.0f} in {stall.format}" for stall in stalls])
        sentences.append(f"A sum of ones, added one by one, stops growing at {places}.")
    return " ".join(sentences) or "Nothing was run."


def _by_formats(lines: Iterable[SweptLine]) -> dict[str, list[str]]:
    """Gather the formulas of some lines by the formats that they have in common."""
    by_label: dict[str, list[str]] = {}
    for line in lines:
        by_label.setdefault(line.label, []).append(line.format)
    by_formats: dict[str, list[str]] = {}
    for label, formats in by_label.items():
        by_formats.setdefault(listed(formats), []).append(label)
    return by_formats


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
