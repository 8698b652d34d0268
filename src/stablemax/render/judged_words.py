"""Words for any judged output: its outcome, its figures, its first bad cell."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from stablemax.operations import is_built_in
from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.forms import Check
from stablemax.results import Contract, HazardVerdict, InputSummary, Place, Standout, Verdict
from stablemax.text.outcomes import OUTCOMES, Grade, Outcome
from stablemax.text.words import counted, listed, percentage

VERDICT_COLUMNS = (
    *("operation", "variant", "format", "accumulation", "grade", "worst"),
    *(outcome.value for outcome in Outcome),
    *("error_ulp", "error_u", "error_over_bound", "sum_error", "mean", "mean_error_ulp"),
    *("first_bad_row", "first_bad_column", "first_bad_logit", "first_bad_output", "first_bad_truth"),
    *("cause", "skipped"),
)
NOT_RUN = doc.Span("not run", "dim")
_LOSSES = {
    Outcome.INACCURATE: ("small values off", "small off"),
    Outcome.LOST: ("small values lost", "small lost"),
    Outcome.OVERFLOW: (doc.RANGE_ENDS, doc.RANGE_ENDS),
    Outcome.NAN: (doc.RANGE_ENDS, doc.RANGE_ENDS),
}
"""What a result that is stable and not accurate loses, in words and in short."""
_ADDED = {
    "library": "as the library adds",
    "code": "as the code adds",
    "sequential": "one by one in their own format",
    "pairwise": "pairwise in their own format",
    "float32": "in float32",
    "float64": "in float64",
}


def added_words(accumulation: Mapping[str, str]) -> str:
    """Say how sums are added in each format.

    >>> added_words({"float16": "float32", "bfloat16": "float32", "float64": "pairwise"})
    'float16 and bfloat16 in float32; float64 pairwise in their own format'
    """
    by_policy: dict[str, list[str]] = {}
    for fmt, policy in accumulation.items():
        by_policy.setdefault(policy, []).append(fmt)
    return "; ".join(f"{listed(names)} {_ADDED[policy]}" for policy, names in by_policy.items())


def limit_of(max_ulp: float | None) -> str:
    """Say from which error on a number is inaccurate."""
    limit = "half of the format's bits" if max_ulp is None else f"{max_ulp:g} ulp"
    return f"Inaccurate: off by more than {limit}"


def contract_words(contract: Contract) -> str:
    """Say what counts as a failure."""
    allowed = f"; allowed: {', '.join(contract.allow)}" if contract.allow else ""
    required = f"; {contract.require} is asked for" if contract.require is Grade.ACCURATE else ""
    return f"{limit_of(contract.max_ulp)}{allowed}{required}"


def size_words(rows: int, classes: int, note: str = "") -> str:
    """Say how large an input is, with a note about its rows."""
    return f"{counted(rows, 'row')}{note} x {counted(classes, 'class')}"


def range_words(smallest: float, largest: float, digits: str = "") -> str:
    """Say from where to where the finite logits are."""
    return "no finite logit" if math.isnan(smallest) else f"from {smallest:{digits}g} to {largest:{digits}g}"


def input_line(summary: InputSummary) -> str:
    """Say what the logits are."""
    sampled = summary.judged_rows != summary.rows
    size = size_words(summary.rows, summary.classes, f" (errors judged on {summary.judged_rows:,})" if sampled else "")
    labels = f"; labels: {summary.labels}" if summary.labels else ""
    return f"input: {summary.source}; {size}, {summary.dtype}, {range_words(summary.smallest, summary.largest)}{labels}"


def library_words(libraries: Mapping[str, str]) -> str:
    """Name libraries with their versions."""
    return listed([f"{name} {version}" for name, version in libraries.items()])


def row_label(variant: str) -> str:
    """Name a variant within its operation's table; a built-in keeps its library.

    >>> row_label("softmax/shifted"), row_label("torch/softmax")
    ('shifted', 'torch/softmax')
    """
    return variant if is_built_in(variant) else variant.partition("/")[2]


def outcome_cell(outcome: Outcome, figure: str, room: int) -> doc.Cell:
    """Return an outcome's word with a figure; narrow, broken between words: "– input" and "overflow 100%"."""
    word, short_figure = OUTCOMES[outcome].word, figure.replace(", ", "\n")
    wide = doc.Span(f" {word} {figure}".rstrip(), sign=outcome)
    if len(wide.text) < room:
        return doc.Cell(wide)
    head, _, tail = word.rpartition(" ")
    narrow = f" {head}\n{tail} {short_figure}" if head else f" {word}\n{short_figure}"
    return doc.Cell(wide, doc.Span(narrow, sign=outcome))


def stable_cell(outcome: Outcome, *, is_short: bool = False) -> doc.Cell:
    """Return what a cell says of a result that is stable and not accurate."""
    words, short = _LOSSES[outcome]
    wide, narrow = (f" {Grade.STABLE}, {short if is_short else words}", f" {Grade.STABLE},\n{short}")
    return doc.Cell(doc.Span(wide, sign=Grade.STABLE), doc.Span(narrow, sign=Grade.STABLE))


def graded(outcome: Outcome, grade: Grade | None) -> str:
    """Say what came out in words, its grade in front where it is a failure.

    >>> graded(Outcome.LOST, Grade.STABLE), graded(Outcome.NAN, Grade.UNSTABLE), graded(Outcome.OK, Grade.ACCURATE)
    ('stable, small values lost', 'unstable, NaN', 'ok')
    """
    if grade is Grade.STABLE:
        return f"{grade}, {_LOSSES[outcome][0]}"
    return f"{grade}, {OUTCOMES[outcome].word}" if grade is Grade.UNSTABLE else OUTCOMES[outcome].word


def share_words(verdict: Verdict, outcome: Outcome) -> str:
    """Say how many cells there are of an outcome, and how many rows have one where that is far more."""
    cells = verdict.shares[outcome]
    rows = verdict.row_shares.get(outcome, cells)
    return (
        percentage(cells)
        if not outcome.is_failure or rows < 2 * cells
        else f"{percentage(cells)}, {percentage(rows)} of rows"
    )


def detail_lines(verdict: Verdict, bound: str = "its bound") -> list[str]:
    """All the figures of a verdict, in words."""
    measured = {
        "largest error": figures.error(verdict.error_ulp),
        "relative": figures.error(verdict.error_u, "u"),
        f"over {bound}": "" if verdict.error_over_bound is None else f"{verdict.error_over_bound:.3g}",
        "largest |sum p - 1|": "" if verdict.sum_error is None else f"{verdict.sum_error:.3g}",
        "mean loss": "" if verdict.mean is None else figures.number(verdict.mean, verdict.format),
        "off by": figures.error(verdict.mean_error_ulp),
    }
    lines = ["; ".join(f"{name} {value}" for name, value in measured.items() if value)]
    if verdict.first_bad is not None and verdict.worst is not None and verdict.worst.is_failure:
        bad, fmt = verdict.first_bad, verdict.format
        lines.append(f"gives {figures.number(bad.output, fmt)}, should give {figures.number(bad.truth, fmt)}")
    if verdict.cause:
        lines.append(f"cause: {verdict.cause}")
    return [line for line in lines if line]


def verdict_row(operation: str, verdict: Verdict) -> dict[str, Any]:
    """Flatten a verdict to the cells of `VERDICT_COLUMNS`."""
    place = {} if verdict.first_bad is None else dataclasses.asdict(verdict.first_bad)
    return {
        "operation": operation,
        **{f.name: getattr(verdict, f.name) for f in dataclasses.fields(verdict)},
        **{outcome.value: share for outcome, share in verdict.shares.items()},
        **{f"first_bad_{name}": value for name, value in place.items()},
    }


def outcome_check(group: str, subject: str, verdict: Verdict | Standout | HazardVerdict) -> Check:
    """Return a check that names the outcome, with the largest error where all is finite, or why nothing was run."""
    worst, error_ulp = verdict.worst, verdict.error_ulp
    if worst is None:
        return Check(group, subject, verdict.format, skipped=verdict.skipped or "not run")
    words = f", largest error {figures.error(error_ulp)}" if has_error(verdict) else ""
    return Check(group, subject, verdict.format, f"{graded(worst, verdict.grade)}{words}")


def has_error(verdict: Verdict | Standout | HazardVerdict) -> bool:
    """Tell whether the largest error says how bad the worst outcome is: not where an infinite value came out finite."""
    if verdict.error_ulp is None or verdict.worst not in (Outcome.OK, Outcome.INACCURATE):
        return False
    place = getattr(verdict, "first_bad", None)
    return verdict.worst is Outcome.OK or place is None or math.isfinite(place.truth)


def failing_outcome(
    judged: Verdict | Standout, occurred: Iterable[Outcome], failures: frozenset[Outcome | Grade]
) -> Outcome | None:
    """Return the worst outcome that counts as a failure, by itself or because of the grade; None without any."""
    if judged.grade in failures:
        return judged.worst
    return max((o for o in occurred if o in failures), key=lambda o: o.severity, default=None)


def place_words(place: Place | None, fmt: str) -> str:
    """Say where the first bad cell is, and what it should be."""
    if place is None:
        return ""
    cell_name = f"first at row {place.row}, class {place.column}, logit {figures.exact(place.logit)}"
    return f"{cell_name}: {gives(place, fmt)}"


def gives(place: Place | None, fmt: str) -> str:
    """Say what a cell gives and what is right."""
    if place is None:
        return ""
    return f"gives {figures.number(place.output, fmt)} where {figures.number(place.truth, fmt)} is right"


_MEANINGS = (
    (r"\d ulp\b", "1 ulp: the distance between two neighbouring numbers of the format"),
    (r"\d u\b", "1 u: the largest relative error of a single rounding"),
    (r"over (its|the) bound", "over a bound: the largest error divided by the largest that theory allows"),
    (r"\|sum p - 1\|", "|sum p - 1|: how far the probabilities of a row are from adding up to 1"),
)
"""What a figure or a unit means, wherever it is shown."""


def meanings(texts: Iterable[str]) -> list[doc.Span]:
    """Explain the units and the figures that occur in some texts, each once.

    >>> [span.text for span in meanings(["largest error 0.5 ulp", "ok"])]
    ['1 ulp: the distance between two neighbouring numbers of the format']
    """
    text = "\n".join(texts)
    return [doc.Span(meaning) for pattern, meaning in _MEANINGS if re.search(pattern, text)]
