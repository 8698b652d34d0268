"""An explanation in each output format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemax.render import data, figures
from stablemax.render.figures import LOOKS
from stablemax.results import Outcome
from stablemax.vocabulary import OutputFormat

if TYPE_CHECKING:
    from stablemax.results import Explanation


def render(found: Explanation, how: OutputFormat, *, color: str, to_file: bool) -> str:
    """Write an explanation: text for a terminal, Markdown or JSON."""
    if how is OutputFormat.JSON:
        return data.document("explanation", found)
    if how is OutputFormat.MARKDOWN:
        body = [f"# {found.variant}", "", found.summary, ""]
        for title, lines in sections(found):
            body += [f"## {title}", "", *(f"- {line}" if len(lines) > 1 else line for line in lines), ""]
        return "\n".join(body).rstrip() + "\n"
    from rich.padding import Padding
    from rich.text import Text

    from stablemax.render import console

    on = console.surface("never" if how is OutputFormat.PLAIN else color, to_file=to_file)
    parts: list[Text | Padding] = [Text.assemble((found.variant, "bold cyan")), Text(found.summary), Text("")]
    for title, lines in sections(found):
        parts.append(Text(title, style="bold"))
        parts += [Padding(Text(line), (0, 0, 0, 2)) for line in lines]
    return console.printed(list(parts), on)


def sections(found: Explanation) -> list[tuple[str, list[str]]]:
    """Return the titles and lines that have something to say."""
    broken = [f"{name}: {LOOKS[o].word}" for name, o in found.promises.items() if o is not Outcome.OK]
    held = [name for name, o in found.promises.items() if o is Outcome.OK]
    promised = ([f"ok: {', '.join(held)}"] if held else []) + broken
    wrong = [] if found.exact else ["No: it is wrong before any rounding."]
    ran = found.example
    given = [f"logits {_row(row)}" for row in ran.logits]
    if ran.labels:
        given.append(f"labels {', '.join(map(str, ran.labels))}")
    if ran.upstream:
        given.append(f"upstream gradient {_row(ran.upstream)}")
    shown = [
        f"{ran.condition}: {ran.reason}",
        *given,
        *(f"gives {_row(row)}" for row in ran.output),
        *(f"exact {_row(row)}" for row in ran.truth),
        f"outcome {LOOKS[ran.outcome].word}",
    ]
    everything = [
        ("Formula", [found.formula]),
        ("Right in exact arithmetic", wrong),
        ("Why it holds", [found.why_it_holds]),
        ("Where it breaks", [found.where_it_breaks]),
        ("Cure", [found.cure] if found.cure else []),
        ("Error bound", [found.bound] if found.bound else []),
        ("Under each condition, in float32", promised),
        ("Example, in float32", shown),
        ("Sources", list(found.sources)),
    ]
    return [(title, lines) for title, lines in everything if lines]


def _row(values: tuple[float, ...]) -> str:
    return ", ".join(figures.number(v, "float32") for v in values)
