"""An explanation: its document, and its text."""

from __future__ import annotations

from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.forms import Page, ResultKind
from stablemax.results import Example, Explanation
from stablemax.text.outcomes import OUTCOMES, Outcome


def document(result: Explanation) -> doc.Document:
    """Give the declaration in words, a computed example, and the promises to paste."""
    from stablemax.comparing.explanation import promises_code

    parts: list[doc.Block] = []
    for title, lines in _parts(result):
        if lines:
            parts += [doc.Heading(title, level=2), doc.Items(lines)]
    parts.append(doc.Code("Promises as measured, to paste", promises_code(result.measured)))
    return [doc.Heading(result.variant, level=1), doc.Finding(result.summary, style="")], parts


def _parts(result: Explanation) -> list[tuple[str, list[str]]]:
    return [
        ("Formula", [result.formula]),
        ("Right in exact arithmetic", [] if result.exact else ["No: it is wrong before any rounding."]),
        ("Why it holds", [result.why_it_holds]),
        ("Where it breaks", [result.where_it_breaks]),
        ("Cure", [result.cure] if result.cure else []),
        ("Error bound", [result.bound] if result.bound else []),
        ("Under each condition, in float32", _promises(result)),
        ("Example, in float32", _example(result.example)),
        ("Sources", list(result.sources)),
    ]


def _promises(result: Explanation) -> list[str]:
    holds = [name for name, outcome in result.promises.items() if outcome is Outcome.OK]
    broken = [
        f"{name}: {OUTCOMES[outcome].word}" for name, outcome in result.promises.items() if outcome is not Outcome.OK
    ]
    return [f"ok: {', '.join(holds)}", *broken] if holds else broken


def _example(example: Example) -> list[str]:
    return [
        f"{example.condition}: {example.reason}",
        *(f"logits {_row(row)}" for row in example.logits),
        *([f"labels {', '.join(map(str, example.labels))}"] if example.labels else []),
        *([f"upstream gradient {_row(example.upstream)}"] if example.upstream else []),
        *(f"{example.second_name} {_row(row)}" for row in example.second),
        *(f"gives {_row(row)}" for row in example.output),
        *(f"exact {_row(row)}" for row in example.truth),
        f"outcome {OUTCOMES[example.outcome].word}",
    ]


def _row(values: tuple[float, ...]) -> str:
    return ", ".join(figures.number(v, "float32") for v in values)


def lines(result: Explanation, page: Page) -> list[str]:
    """Give the text as a terminal without colours shows it."""
    from stablemax.render.console import surface
    from stablemax.render.terminal import written

    return [written(document(result), surface("never", to_file=page.to_file))]


EXPLANATION = ResultKind("an explanation", "explanation", document=document, lines=lines)
