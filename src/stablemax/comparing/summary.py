"""The result of a comparison or of the league in a sentence or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemax.numerics.formats import get_format
from stablemax.operations import is_built_in
from stablemax.results import Outcome
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.words import counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stablemax.results import OperationReport, Standout, Verdict


def finding(reports: tuple[OperationReport, ...]) -> str:
    """Put the result into a sentence or two: how much breaks, what first, and what holds."""
    verdicts = [v for r in reports for v in r.verdicts if v.worst is not None]
    ran = dict.fromkeys(v.variant for v in verdicts)
    broken = [v for v in verdicts if v.worst is not None and v.worst.is_failure]
    sentences = []
    if broken:
        names = dict.fromkeys(v.variant for v in broken)
        first = max((v for v in broken if v.variant == next(iter(names))), key=lambda v: get_format(v.format).precision)
        assert first.worst is not None
        formats = [v.format for v in broken if v.variant == first.variant and v.worst is first.worst]
        where = ":" if len(formats) == 1 else f"; in {first.format},"
        sentences.append(
            f"{len(names)} of {len(ran)} {_kind(ran)} {'breaks' if len(names) == 1 else 'break'}. "
            f"{first.variant} is {OUTCOMES[first.worst].predicate} in "
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
        sentences.append(f"No {_kind(ran)[:-1]} breaks: the largest error is {worst.error_ulp:.3g} ulp, of {where}.")
    for how, some in (("these logits", False), ("some of these logits", True)):
        shares = {v.format: v.shares.get(Outcome.INPUT_OVERFLOW, 0.0) for v in verdicts}
        full = [name for name, share in shares.items() if share > 0 and (share < 1) is some]
        if full:
            sentences.append(f"{listed(full)} cannot hold {how}.")
    if not verdicts:
        return " ".join(f"{line}." for line in refusals(v for r in reports for v in r.verdicts))
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


def _kind(names: Iterable[str]) -> str:
    """Say what these are: variants, or implementations where other libraries' are among them."""
    return "implementations" if any(is_built_in(name) for name in names) else "variants"


def league_finding(standouts: tuple[Standout, ...]) -> str:
    """Put the league into a few sentences: how many fail, the first of them, and who holds."""
    ran = [s for s in standouts if s.worst is not None]
    if not ran:
        return "Nothing was run."
    sentences = []
    for kind, theirs in (("built-in", True), ("variant", False)):
        group = [s for s in ran if is_built_in(s.implementation) is theirs]
        names = dict.fromkeys(s.implementation for s in group)
        failing = dict.fromkeys(s.implementation for s in group if s.failed)
        if failing:
            verb = "fails" if len(failing) == 1 else "fail"
            sentences.append(f"{len(failing)} of {counted(len(names), kind)} {verb} on a hazard.")
            if theirs or len(sentences) == 1:
                sentences.append(_telling([s for s in group if s.failed]))
        holding = [name for name in names if name not in failing]
        if holding:
            errors = [s.error_ulp for s in group if s.implementation in holding and s.error_ulp is not None]
            most = f": at most {max(errors):.2f} ulp" if errors else ""
            sentences.append(f"{few(holding)} hold{'s' if len(holding) == 1 else ''} on all{most}.")
    return " ".join(sentences)


def refusals(verdicts: Iterable[Verdict]) -> list[str]:
    """Say what was not run, a line for each reason.

    >>> from stablemax.results import Verdict
    >>> why = "takes no bfloat16"
    >>> refusals([Verdict("scipy/softmax", "bfloat16", "library", None, {}, skipped=why)])
    ['scipy/softmax was not run: it takes no bfloat16']
    """
    found: dict[str, dict[str, None]] = {}
    for verdict in verdicts:
        if verdict.skipped:
            found.setdefault(verdict.skipped, {})[verdict.variant] = None
    return [
        f"{few(list(names))} {'was not run: it' if len(names) == 1 else 'were not run: each'} {why}"
        for why, names in found.items()
    ]


def few(names: list[str]) -> str:
    """Join names, of which a long list would hide the sentence.

    >>> few(["a", "b", "c"]), few(["a", "b", "c", "d"])
    ('a, b and c', 'a, b and 2 more')
    """
    return listed(names) if len(names) <= 3 else listed([*names[:2], f"{len(names) - 2} more"])


def _telling(failing: list[Standout]) -> str:
    """Tell of the one that fails on the most hazards in the widest format."""
    widest = max(get_format(s.format).precision for s in failing)
    most = max((s for s in failing if get_format(s.format).precision == widest), key=lambda s: len(s.failed))
    assert most.worst is not None
    return (
        f"{most.implementation} is {OUTCOMES[most.worst].predicate} in {most.format} on {most.worst_hazard}"
        f" and fails on {len(most.failed)} of {most.judged}: {most.cause}."
    )
