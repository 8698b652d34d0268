"""Pages of `explain`: one document for each kind of word."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.explanations import EXPLANATION, as_text, example_lines, outcome_line, see
from stablemax.render.forms import ResultKind
from stablemax.results import Explanation, Outcome
from stablemax.results import explained as pages
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.words import counted, listed

_ADDED = {"float32": "in float32, as hardware does", "pairwise": "pairwise in the format itself"}
_NAMED, _INPUTS = 3, 8
"""Names and inputs of a long list that a page shows; JSON has all."""


def title(name: str, kind: str) -> doc.Section:
    """Begin a page: a word may mean several things, so its kind is said."""
    return [doc.Heading(f"{name} ({kind})", level=1)]


def paragraph(*sentences: str) -> doc.Block:
    """Set sentences one after another."""
    return doc.Finding(" ".join(sentences), style="")


def section(heading: str, lines: Sequence[str]) -> list[doc.Section]:
    """Set lines beneath a heading; nothing without lines."""
    return [[doc.Heading(heading, level=2), doc.Items(lines)]] if lines else []


def computed(cell: pages.Computed) -> str:
    """Write a number of a figure: what a format gives, a number of a format whole, an exact value to twelve digits."""
    if cell.outcome is not None:
        return figures.number(cell.value, cell.format)
    if not cell.format:
        is_count = math.isfinite(cell.value) and cell.value.is_integer() and abs(cell.value) < 2**63
        return f"{cell.value:.0f}" if is_count else figures.number(cell.value)
    from stablemax.numerics.decimals import shortest
    from stablemax.numerics.formats import get_format

    return shortest(cell.value, get_format(cell.format))


def figure(shown: pages.Figure) -> list[doc.Block]:
    """Lay a figure out as a matrix, whose cells never wrap, and explain the signs in it."""
    matrix = doc.Matrix(
        shown.title,
        [doc.Column(name) for name in shown.columns],
        [doc.Span(row.label) for row in shown.rows],
        [[doc.Cell(_cell(cell)) for cell in row.cells] for row in shown.rows],
        title_above=True,
    )
    legend = doc.legend_of((cell.outcome, None) for row in shown.rows for cell in row.cells)
    return [matrix, *([doc.Legend(legend)] if legend else [])]


def _cell(cell: pages.Computed) -> doc.Span:
    if cell.outcome in (None, Outcome.OK):
        return doc.Span(computed(cell))
    return doc.Span(f" {computed(cell)}", sign=cell.outcome)


def figure_sections(shown: Iterable[pages.Figure]) -> list[doc.Section]:
    """Lay figures out, each in a section of its own."""
    return [figure(one) for one in shown]


def few(names: Sequence[str]) -> str:
    """Name the first of many."""
    shown = list(names) if len(names) <= _NAMED + 1 else [*names[:_NAMED], f"{len(names) - _NAMED} more"]
    return listed(shown)


def term(result: pages.ExplainedTerm) -> doc.Document:
    """Give the definition, more sentences, the figures and where to go on."""
    also = [doc.Facts([f"also called: {', '.join(result.aliases)}"])] if result.aliases else []
    return [
        [*title(result.name, "term"), doc.Finding(result.definition), paragraph(*result.text), *also],
        *figure_sections(result.figures),
        *section("Sources", result.sources),
        *see(result.see),
    ]


def technique(result: pages.ExplainedTechnique) -> doc.Document:
    """Give each variant's formula, and what becomes of it."""
    sections: list[doc.Section] = []
    for one in result.variants:
        lines: list[doc.Line] = [[doc.Span(one.formula)]]
        lines += [outcome_line(outcome, ", ".join(names)) for outcome, names in one.outcomes.items()]
        if not one.outcomes:
            lines.append([doc.Span(f" {OUTCOMES[Outcome.OK].word} wherever there is a value", sign=Outcome.OK)])
        sections.append([doc.Heading(one.variant, level=2), doc.Lines(lines, indent=2)])
    lead = f"{counted(len(result.variants), 'formula', 'formulas')} of this name. What becomes of each, in float32:"
    return [[*title(result.name, "technique"), doc.Finding(lead)], *sections, *see(result.see)]


def operation(result: pages.ExplainedOperation) -> doc.Document:
    """Give what it computes, what it is judged by, and its formulas."""
    libraries = [f"{library}: {name}" for library, name in result.libraries.items()]
    return [
        [*title(result.name, "operation"), doc.Finding(result.computes)],
        *section("The errors of stable code are small beside", [result.scale]),
        *section("It has no value on", [few(result.without_value)] if result.without_value else []),
        *section("Laws that every implementation obeys", [f"{law}: {text}" for law, text in result.laws.items()]),
        [doc.Table(("variant", "formula"), list(result.variants.items()))],
        *section("Right to a few ulps", [result.best]),
        *section("In other libraries", libraries),
        *see(result.see),
    ]


def hazard(result: pages.ExplainedHazard) -> doc.Document:
    """Give the input, who was hit by it, and which formulas fail on it."""
    return [
        [*title(result.name, "hazard"), doc.Finding(result.reason)],
        *first_logits(result.shape, result.logits, "float32"),
        *section("Seen in", [", ".join(result.sources)] if result.sources else []),
        *section("Operations that it concerns", [", ".join(result.operations)]),
        *graded(result.variants, "Our formulas on it, in float32"),
        *see(result.see),
    ]


def first_logits(shape: tuple[int, ...], logits: Sequence[Sequence[float]], dtype: str) -> list[doc.Section]:
    """Show the first logits of an input, with its size."""
    rows, classes = shape
    shown = [", ".join(figures.number(v, dtype) for v in row) for row in logits]
    more = ["and so on"] if rows > len(shown) or classes > len(next(iter(logits), ())) else []
    heading = f"Logits in {dtype}, {counted(rows, 'row')} x {counted(classes, 'class')}"
    return section(heading, [*shown, *more]) if shown else []


def law(result: pages.ExplainedLaw) -> doc.Document:
    """Give what the law says, and whose it is."""
    return [
        [*title(result.name, "law"), doc.Finding(result.sentence)],
        *section("Operations that obey it", [", ".join(result.operations)]),
        *see(result.see),
    ]


def quantity(result: pages.ExplainedQuantity) -> doc.Document:
    """Give the input that the quantity makes, and the range of a sweep."""
    ranges = [f"{fmt}: {figures.number(low)} to {figures.number(high)}" for fmt, (low, high) in result.ranges.items()]
    return [
        [*title(result.name, "quantity"), doc.Finding(result.meaning)],
        *section("A sweep shows it from where to where", ranges),
        *section("Operations that can be swept over it", [", ".join(result.operations)]),
        *see(result.see),
    ]


def preset(result: pages.ExplainedPreset) -> doc.Document:
    """Give what the preset shows, and its first logits."""
    span = f"from {figures.number(result.smallest, result.dtype)} to {figures.number(result.largest, result.dtype)}"
    return [
        [*title(result.name, "preset"), doc.Finding(result.about), doc.Items([f"all logits: {span}"])],
        *first_logits(result.shape, result.logits, result.dtype),
        *see(result.see),
    ]


def graded(variants: Sequence[pages.VariantGrade], heading: str) -> list[doc.Section]:
    """Name the variants that fail, with what became of them and why, the worst first; count the others."""
    every = counted(len(variants), "formula", "formulas")
    valued = [v for v in variants if v.worst is not Outcome.UNDEFINED]
    lines: list[doc.Line] = []
    for grade in sorted({v.grade for v in valued}, key=lambda g: -g.severity):
        of_grade = [v for v in valued if v.grade is grade]
        if grade.is_sound:
            texts = [f"{len(of_grade)} of {every}"]
        else:
            texts = [f"{v.variant}: {OUTCOMES[v.worst].word}; {v.cause}" for v in of_grade]
        lines += [[doc.Span(f" {grade}: ", sign=grade), doc.Span(text)] for text in texts]
    if len(valued) < len(variants):
        lines.append(
            outcome_line(Outcome.UNDEFINED, f"{len(variants) - len(valued)} of {every}, where no value exists")
        )
    return [[doc.Heading(heading, level=2), doc.Lines(lines, indent=2)]] if lines else []


def outcome(result: pages.ExplainedOutcome) -> doc.Document:
    """Give the sign, what it means, a formula at work, and where it occurs."""
    words = OUTCOMES[result.name]
    blame = "The formula is to blame." if result.is_failure else "No formula is to blame."
    sign = doc.Lines([[doc.Span(f" {words.word}: {result.sentence}", sign=result.name)]])
    at_work: list[doc.Section] = [
        [doc.Heading(f"{name} at work, in float32", level=2), doc.Lines(example_lines(example), indent=2)]
        for name, example in result.at_work.items()
    ]
    seen = [f"{condition}: {few(names)}" for condition, names in result.seen.items()]
    more = [f"and {counted(len(seen) - _INPUTS, 'more input')}"] if len(seen) > _INPUTS else []
    return [
        [*title(result.name, "outcome"), sign, paragraph(result.text, *([] if result.name is Outcome.OK else [blame]))],
        *at_work,
        *section("Formulas that give it, by the input", [*seen[:_INPUTS], *more]),
        *see(result.see),
    ]


def grade(result: pages.ExplainedGrade) -> doc.Document:
    """Give what the grade says, its limits, and the formulas that get it on one input."""
    sign = doc.Lines([[doc.Span(f" {result.name}: {result.sentence}", sign=result.name)]])
    limits = [f"{fmt}: {figures.error(limit)}" for fmt, limit in result.limits_ulp.items()]
    names = ", ".join(v.variant for v in result.variants)
    return [
        [*title(result.name, "grade"), sign, paragraph(result.text)],
        *section("Half of the digits, as an error in ulps (gaps between neighbouring numbers)", limits),
        *section(f"Our formulas with this grade on {result.hazard}, in float32", [names] if names else []),
        *see(result.see),
    ]


def _whole(value: float) -> str:
    return figures.exact(value).removesuffix(".0")


def number_format(result: pages.ExplainedFormat) -> doc.Document:
    """Give the numbers that make the format, and figures."""
    beyond = {math.inf: "infinity", result.max: f"{_whole(result.max)}, the largest"}.get(result.overflow, "NaN")
    facts = [
        f"bits: {result.bits}",
        f"significant bits p: {result.precision}",
        f"unit roundoff u: 2^-{result.precision} = {_whole(result.u)}",
        f"exponents: {result.emin} to {result.emax}",
        f"largest number: {_whole(result.max)}",
        f"smallest normal number: {_whole(result.smallest_normal)}",
        f"smallest number of all: {_whole(result.smallest_subnormal)}",
        f"what is larger than the largest becomes: {beyond}",
        f"sums are added {_ADDED[result.accumulation]}",
        f"half of its digits are gone: from an error of {figures.error(result.limit_ulp)} on",
        *(["computed in float64 and rounded after every operation"] if result.is_emulated else []),
    ]
    also = [doc.Facts([f"also called: {', '.join(result.aliases)}"])] if result.aliases else []
    return [
        [*title(result.name, "number format"), *also, doc.Items(facts)],
        *figure_sections(result.figures),
        *see(result.see),
    ]


def words(result: pages.Words) -> doc.Document:
    """List the words by kind; of a long kind only how many there are, and what lists them."""
    sections: list[doc.Section] = [[doc.Finding("stablemax explain WORD explains each of these words:", style="")]]
    for kind, names in result.words.items():
        command = result.commands.get(kind)
        text = f"{len(names)} of them: {command}" if command else ", ".join(names)
        sections.append([doc.Heading(f"{kind}: {result.about[kind]}", level=2), doc.Items([text])])
    return sections


def several(result: pages.ExplainedWord) -> doc.Document:
    """Put the pages of a word one after another."""
    kinds = listed([f"as {'an' if kind[0] in 'aeiou' else 'a'} {kind}" for kind in result.meanings])
    whole = [s for page in result.meanings.values() for s in PAGES[type(page)].document(page)]
    return [[doc.Finding(f"{result.word} is explained {kinds}.")], *whole]


def _meanings(result: pages.ExplainedWord) -> dict[str, Any]:
    return {
        "word": result.word,
        "pages": [{"kind": PAGES[type(page)].kind, **vars(page)} for page in result.meanings.values()],
    }


def _page(kind: str, write: Callable[[Any], doc.Document], **more: Any) -> ResultKind:
    return ResultKind("an explanation", kind, document=write, lines=as_text(write), **more)


PAGES: Mapping[type, ResultKind] = {
    Explanation: EXPLANATION,
    pages.ExplainedTerm: _page("term", term),
    pages.ExplainedTechnique: _page("technique", technique),
    pages.ExplainedOperation: _page("operation", operation),
    pages.ExplainedHazard: _page("hazard", hazard),
    pages.ExplainedOutcome: _page("outcome", outcome),
    pages.ExplainedGrade: _page("grade", grade),
    pages.ExplainedFormat: _page("number_format", number_format),
    pages.ExplainedLaw: _page("law", law),
    pages.ExplainedPreset: _page("preset", preset),
    pages.ExplainedQuantity: _page("quantity", quantity),
    pages.ExplainedWord: _page("meanings", several, content=_meanings),
    pages.Words: _page("words", words),
}
"""How each kind of page is written, by its class."""
