"""The first screen of a comparison: it fits on 80 x 24."""

from __future__ import annotations

from stablemax.operations import is_built_in
from stablemax.render import document as doc
from stablemax.render import judged_words
from stablemax.render.verdict_cells import verdict_cell, verdict_legend
from stablemax.results import Comparison, Verdict
from stablemax.text.outcomes import Grade, Outcome
from stablemax.text.words import listed

_NAMES = "m: largest logit of the row; x_y: the label's; others: the other exp(x-m); N: rows"


def overview(result: Comparison) -> tuple[doc.Section, doc.Section]:
    """Say what breaks and what becomes of the main formulas; and, apart, what the words mean and what to type next."""
    formats = formats_held(result)
    shown = [v for v in result.verdicts if v.format in formats]
    table = [_table(result, formats)] if formats else []
    first: list[doc.Block] = [doc.Finding(result.finding), doc.Lines(_input(result)), *table]
    return first, [doc.Legend([doc.Span(_NAMES), *verdict_legend(shown)]), _next(shown)]


def formats_held(result: Comparison) -> list[str]:
    """Name the formats that hold the logits of a row at least: the others have nothing to show."""
    return [f for f in result.formats if not _is_beyond(result, f)]


def unfit_words(result: Comparison) -> doc.Line:
    """Say which formats hold none of the logits: no column shows them."""
    unfit = [f for f in result.formats if _is_beyond(result, f)]
    return [doc.Span(f" {listed(unfit)} cannot hold these logits.", sign=Outcome.INPUT_OVERFLOW)] if unfit else []


def libraries_line(result: Comparison) -> str:
    """Say which other libraries took part, and how."""
    device = f" on {result.device}" if result.device else ""
    ours = f"; our variants run on {result.backend} arrays{device}" if result.backend != "numpy" else ""
    theirs = ", whose built-ins add in their own way" if any(is_built_in(v.variant) for v in result.verdicts) else ""
    return f"with {judged_words.library_words(result.libraries)}{theirs}{ours}"


def _is_beyond(result: Comparison, fmt: str) -> bool:
    of_format = [v for v in result.verdicts if v.format == fmt and v.worst is not None]
    return bool(of_format) and all(v.worst is Outcome.INPUT_OVERFLOW for v in of_format)


def _input(result: Comparison) -> list[doc.Line]:
    summary = result.input
    sampled = f" (judged: {summary.judged_rows:,} rows)" if summary.judged_rows != summary.rows else ""
    size = f"{summary.rows:,} x {summary.classes:,} {summary.dtype}{sampled}"
    unfit = unfit_words(result)
    libraries = [[doc.Span(libraries_line(result), "dim")]] if result.libraries else []
    return [[doc.Span(f"{summary.source}; {size}{'; ' if unfit else ''}", "dim"), *unfit], *libraries]


def _table(result: Comparison, formats: list[str]) -> doc.Formulas:
    groups = []
    for report in result.reports:
        cells = {(v.variant, v.format): verdict_cell(v) for v in report.verdicts}
        names = dict.fromkeys(v.variant for v in report.verdicts)
        rows = [
            doc.Formula(
                judged_words.row_label(name),
                result.brief_formulas[name],
                result.formulas[name],
                [cells[name, fmt] for fmt in formats],
            )
            for name in names
        ]
        groups.append((report.operation, rows))
    return doc.Formulas(
        formats, "exp(x) overflows above", [f"{result.exp_overflow[fmt]:.5g}" for fmt in formats], groups
    )


def _next(verdicts: list[Verdict]) -> doc.Block:
    """Say what to type next: why the first formula that breaks does, and how to see all formulas."""
    broken = next((v.variant for v in verdicts if v.grade is Grade.UNSTABLE), None)
    first = broken or next((v.variant for v in verdicts), "softmax/naive")
    return doc.Command(("stablemax", "explain", first), "why" if broken else "next", "or all formulas: add --all")
