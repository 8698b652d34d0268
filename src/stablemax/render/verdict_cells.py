"""What a table of a comparison says of a verdict, on one line, and the legend of its signs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stablemax.render import document as doc
from stablemax.render import figures, judged_words
from stablemax.results import Verdict
from stablemax.text.outcomes import OUTCOMES, Grade, Outcome
from stablemax.text.words import percentage, short_number

_OK = " right, to so many ulp (1 ulp: the gap between neighbouring numbers)"
_STABLE = f" {Grade.STABLE}: right on the scale of the result, small values are not"


def verdict_cell(verdict: Verdict) -> doc.Cell:
    """Show the worst outcome with the largest error where all is finite, else with its share; or that it is stable."""
    worst = verdict.worst
    if worst is None:
        return doc.Cell(judged_words.NOT_RUN)
    if verdict.grade is Grade.STABLE:
        return doc.Cell(judged_words.stable_cell(worst).wide, doc.Span(f" {Grade.STABLE}", sign=Grade.STABLE))
    words = OUTCOMES[worst]
    if worst is Outcome.OK or judged_words.has_error(verdict):
        wide = f" {words.short} {figures.short_error(verdict.error_ulp)}".rstrip()
        number = words.short if verdict.error_ulp is None else short_number(verdict.error_ulp)
        return doc.Cell(doc.Span(wide, sign=worst), doc.Span(f" {number}", sign=worst))
    share = "" if verdict.shares[worst] == 1 else f" {percentage(verdict.shares[worst])}"
    wide = f" {words.short} {judged_words.share_words(verdict, worst)}"
    return doc.Cell(doc.Span(wide, sign=worst), doc.Span(f" {words.short}{share}", sign=worst))


def verdict_legend(verdicts: Sequence[Verdict], others: Iterable[Outcome] = ()) -> list[doc.Span]:
    """Explain the signs in the cells, and other outcomes that are shown, from harmless to worst."""
    seen = {v.worst for v in verdicts if v.worst is not None and v.grade is not Grade.STABLE} | set(others)
    spans = [doc.Span(_STABLE, sign=Grade.STABLE)] if any(v.grade is Grade.STABLE for v in verdicts) else []
    for outcome in sorted(seen, key=lambda o: o.severity):
        words = OUTCOMES[outcome]
        text = _OK if outcome is Outcome.OK else f" {words.short}: {words.sentence}"
        spans.append(doc.Span(text, sign=outcome))
    return spans
