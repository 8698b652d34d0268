"""A comparison's result in a sentence or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemax.formats import FORMATS
from stablemax.results import Outcome
from stablemax.wording import listed

if TYPE_CHECKING:
    from stablemax.results import OperationReport


def finding(reports: tuple[OperationReport, ...]) -> str:
    """Put the result into a sentence or two: how much breaks, what first, and what holds.

    Parameters
    ----------
    reports : tuple of OperationReport
        All verdicts.
    """
    verdicts = [v for r in reports for v in r.verdicts if v.worst is not None]
    ran = dict.fromkeys(v.variant for v in verdicts)
    broken = [v for v in verdicts if v.worst is not None and v.worst.is_failure]
    sentences = []
    if broken:
        names = dict.fromkeys(v.variant for v in broken)
        first = max((v for v in broken if v.variant == next(iter(names))), key=lambda v: FORMATS[v.format].precision)
        assert first.worst is not None
        formats = [v.format for v in broken if v.variant == first.variant and v.worst is first.worst]
        where = ":" if len(formats) == 1 else f"; in {first.format},"
        sentences.append(
            f"{len(names)} of {len(ran)} variants {'breaks' if len(names) == 1 else 'break'}. "
            f"{first.variant} is {_word(first.worst)} in "
            f"{listed(formats)}{where} {first.cause}."
        )
    failing = {v.variant for v in broken}
    safe = [name for name in ran if name not in failing]
    if broken and safe:
        who, chosen = _holding(safe, list(ran))
        errors = [v.error_ulp for v in verdicts if v.variant in chosen and v.error_ulp is not None]
        if errors:
            sentences.append(f"{who}: at most {max(errors):.2f} ulp.")
    compared = [v for v in verdicts if v.error_ulp is not None]
    if compared and not broken:
        worst = max(compared, key=lambda v: v.error_ulp or 0.0)
        where = f"{worst.variant} in {worst.format}"
        sentences.append(f"No variant breaks: the largest error is {worst.error_ulp:.3g} ulp, of {where}.")
    for how, some in (("these logits", False), ("some of these logits", True)):
        shares = {v.format: v.shares.get(Outcome.INPUT_OVERFLOW, 0.0) for v in verdicts}
        full = [name for name, share in shares.items() if share > 0 and (share < 1) is some]
        if full:
            sentences.append(f"{listed(full)} cannot hold {how}.")
    if not verdicts:
        skipped = {v.variant: v.skipped for r in reports for v in r.verdicts}
        return " ".join(f"{name} was not run: it {why}." for name, why in skipped.items())
    if sentences and any(Outcome.UNDEFINED in v.shares for v in verdicts):
        sentences.append("Rows in which the formula has no value are left out.")
    if not sentences:
        sentences.append("No row of this input has a value to compare: each holds NaN, +inf or nothing but -inf.")
    return " ".join(sentences)


def _holding(safe: list[str], ran: list[str]) -> tuple[str, list[str]]:
    """Name the variants to turn to: the compensated ones, or else the first that hold."""
    compensated = [name for name in ran if name.endswith("/compensated")]
    if len(compensated) > 1 and set(compensated) <= set(safe):
        return "The compensated variants hold", compensated
    chosen = [name for name in compensated if name in safe] or safe[:3]
    return f"{listed(chosen)} hold{'s' if len(chosen) == 1 else ''}", chosen


def _word(outcome: Outcome) -> str:
    return {Outcome.NAN: "NaN", Outcome.OVERFLOW: "infinite", Outcome.LOST: "0 where it should not be"}.get(
        outcome, outcome.value
    )
