"""An explanation of a variant: its document, and its text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.forms import Page, ResultKind
from stablemax.results import Example, Explanation
from stablemax.text.outcomes import OUTCOMES, Outcome


def document(result: Explanation) -> doc.Document:
    """Give the declaration in words, a computed example, and the promises to paste."""
    from stablemax.comparing.explanation import promises_code

    parts: list[doc.Block] = []
    for title, block in _parts(result):
        parts += [doc.Heading(title, level=2), block]
    promises = doc.Code("Promises as measured, to paste", promises_code(result.measured))
    head = [doc.Heading(result.variant, level=1), doc.Finding(result.summary, style="")]
    return [head, parts, *see(result.see), [promises]]


def see(commands: Sequence[str]) -> list[doc.Section]:
    """End a page with commands to paste."""
    return [[doc.Code("To see more", "\n".join(commands), "console")]] if commands else []


def _parts(result: Explanation) -> Iterator[tuple[str, doc.Block]]:
    texts = {
        "Formula": [result.formula],
        "Right in exact arithmetic": [] if result.exact else ["No: it is wrong before any rounding."],
        "Why it holds": [result.why_it_holds],
        "Where it breaks": [result.where_it_breaks],
        "Cure": [result.cure],
        "Error bound": [result.bound],
    }
    for title, lines in texts.items():
        if any(lines):
            yield title, doc.Items(lines)
    yield "Under each condition, in float32", doc.Lines(_promises(result), indent=2)
    yield "Example, in float32", doc.Lines(example_lines(result.example), indent=2)
    if result.sources:
        yield "Sources", doc.Items(list(result.sources))


def _promises(result: Explanation) -> list[doc.Line]:
    """Say what holds, what fails, and where there is nothing to be right about."""
    by_outcome: dict[Outcome, list[str]] = {}
    for name, outcome in result.promises.items():
        if name not in result.without_value:
            by_outcome.setdefault(outcome, []).append(name)
    lines = [outcome_line(o, ", ".join(by_outcome[o])) for o in sorted(by_outcome, key=lambda o: o.severity)]
    gives: dict[Outcome, list[str]] = {}
    for name in result.without_value:
        gives.setdefault(result.measured[name], []).append(name)
    return [*lines, *(undefined_line(", ".join(names), measured) for measured, names in gives.items())]


def outcome_line(outcome: Outcome, names: str) -> doc.Line:
    """Say what becomes of a formula on some inputs."""
    return [doc.Span(f" {OUTCOMES[outcome].word}: ", sign=outcome), doc.Span(names)]


def undefined_line(names: str, measured: Outcome) -> doc.Line:
    """Say that no value exists on some inputs, and what the formula gives there."""
    gives = "NaN, as it should" if measured is Outcome.NAN else "a number all the same"
    return [
        doc.Span(f" {OUTCOMES[Outcome.UNDEFINED].word}: ", sign=Outcome.UNDEFINED),
        doc.Span(f"{names} (no value exists; it gives {gives})"),
    ]


def example_lines(example: Example) -> list[doc.Line]:
    """Show an input, what a formula gives on it, and the exact result."""
    texts = [
        f"{example.condition}: {example.reason}",
        *(f"logits {_row(row)}" for row in example.logits),
        *([f"labels {', '.join(map(str, example.labels))}"] if example.labels else []),
        *([f"upstream gradient {_row(example.upstream)}"] if example.upstream else []),
        *(f"{example.second_name} {_row(row)}" for row in example.second),
        *(f"gives {_row(row)}" for row in example.output),
        *(f"exact {_row(row)}" for row in example.truth),
    ]
    outcome = doc.Span(f" {OUTCOMES[example.outcome].word}", sign=example.outcome)
    return [*([doc.Span(text)] for text in texts), [doc.Span("outcome "), outcome]]


def _row(values: tuple[float, ...]) -> str:
    return ", ".join(figures.number(v, "float32") for v in values)


def as_text(write: Callable[[Any], doc.Document]) -> Callable[[Any, Page], list[str]]:
    """Return what gives a document as a terminal without colours shows it."""

    def lines(result: Any, page: Page) -> list[str]:
        from stablemax.render.console import surface
        from stablemax.render.terminal import written

        return [written(write(result), surface("never", to_file=page.to_file))]

    return lines


EXPLANATION = ResultKind("an explanation", "explanation", document=document, lines=as_text(document))
