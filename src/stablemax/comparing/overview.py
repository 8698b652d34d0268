"""The finding of the first screen: every figure in it stands in a cell of the table."""

from __future__ import annotations

from collections.abc import Iterable

from stablemax.comparing.summary import refusals
from stablemax.numerics.formats import FLOAT32, get_format
from stablemax.operations import is_built_in
from stablemax.results import Grade, OperationReport, Outcome, Verdict
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.words import listed, percentage, short_number


def overview_finding(reports: tuple[OperationReport, ...]) -> str:
    """Say in two short sentences which formulas break, how the first of them does, and which hold."""
    every = [v for report in reports for v in report.verdicts]
    verdicts = [v for v in every if v.worst is not None]
    judged = [v for v in verdicts if v.worst is not Outcome.INPUT_OVERFLOW]
    if not judged:
        unfit = [f"{listed(list(dict.fromkeys(v.format for v in verdicts)))} cannot hold these logits"]
        return f"{'. '.join(unfit if verdicts else refusals(every))}."
    if all(v.worst is Outcome.UNDEFINED for v in judged):
        return "No row of this input has a value to compare: each holds NaN, +inf or nothing but -inf."
    broken = [v for v in judged if v.grade is Grade.UNSTABLE]
    failing = {v.variant for v in broken}
    held = [v for v in judged if v.variant not in failing]
    return " ".join([*([_breaking(broken, judged)] if broken else []), *_holding(held, is_all=not broken)])


def _breaking(broken: list[Verdict], judged: list[Verdict]) -> str:
    """Say which formulas break, and how the first does: in float32 where it does there, or in the widest format."""
    of_first = [v for v in broken if v.variant == broken[0].variant]
    first = max(of_first, key=lambda v: (v.format == FLOAT32.name, get_format(v.format).precision))
    assert first.worst is not None
    where = f"{first.variant} is {OUTCOMES[first.worst].predicate}"
    if first.worst is Outcome.INACCURATE and first.error_ulp is not None:
        how = f"{where} by {short_number(first.error_ulp)} ulp in {first.format}"
    else:
        how = f"{where} in {percentage(first.shares[first.worst])} of the cells in {first.format}"
    # The logit from which exp overflows stands in the table; what else a cause says may not.
    overflows = first.cause.startswith("exp overflows above")
    why = f", where {first.cause.partition(';')[0]}" if overflows else ""
    names = _names([v.variant for v in broken], [v.variant for v in judged])
    return f"{names} {'break' if _is_plural(names) else 'breaks'}: {how}{why}."


def _holding(held: list[Verdict], *, is_all: bool) -> list[str]:
    """Say that the others hold, by how much they are off, and that some lose small values."""
    if not held:
        return []
    errors = [v.error_ulp for v in held if v.grade is Grade.ACCURATE and v.error_ulp is not None]
    how = [f"off by at most {short_number(max(errors))} ulp"] if errors else []
    loses = ["stable where small values are lost"] if any(v.grade is Grade.STABLE for v in held) else []
    subject = "No formula breaks" if is_all else "The others hold"
    return [f"{': '.join([subject, ' or '.join([*how, *loses])]) if how or loses else subject}."]


def _names(variants: Iterable[str], every: Iterable[str]) -> str:
    """Name formulas by their technique where all of its operations are meant, else by their ids.

    >>> ids = ["softmax/naive", "cross_entropy/naive", "softmax/shifted", "cross_entropy/shifted"]
    >>> _names(ids[:2], ids), _names(ids[:3], ids)
    ('The naive formulas', 'The naive formulas and softmax/shifted')
    """
    chosen, everything = dict.fromkeys(variants), dict.fromkeys(every)
    whole: list[str] = []
    single: list[str] = []
    for technique in dict.fromkeys(v if is_built_in(v) else v.partition("/")[2] for v in chosen):
        ids = [v for v in chosen if v == technique or (not is_built_in(v) and v.partition("/")[2] == technique)]
        all_ids = [v for v in everything if not is_built_in(v) and v.partition("/")[2] == technique]
        if len(ids) > 1 and len(ids) == len(all_ids):
            whole.append(technique)
        else:
            single += ids
    parts = [f"The {listed(whole)} formulas"] if whole else []
    return listed([*parts, *single])


def _is_plural(names: str) -> bool:
    return "formulas" in names or " and " in names
