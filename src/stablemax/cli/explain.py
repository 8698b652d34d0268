"""``stablemax explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import io
from stablemax.cli.options import PrintOptions, format_option
from stablemax.cli.panels import CommandPanel, Example, help_entry
from stablemax.render.explanations import EXPLANATION


def _words(incomplete: str) -> list[str]:
    """Complete a word."""
    from stablemax.explaining.word_explained import all_words

    return [word for word in all_words() if word.startswith(incomplete)]


@help_entry(
    CommandPanel.LEARN,
    Example("What is an ulp?", "stablemax explain ulp"),
    Example("Why the shifted softmax holds, and where it ends", "stablemax explain softmax/shifted"),
)
def explain(
    printing: PrintOptions,
    word: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            show_default=False,
            autocompletion=_words,
            help="A term (ulp), an operation, a variant (softmax/shifted) or its short name, a peer (torch/softmax), "
            "a hazard, an outcome, a grade or a number format. Without it, all words.",
        ),
    ] = None,
    output_format: Annotated[str | None, format_option(EXPLANATION)] = None,
) -> int:
    """Explain a word, with figures that are computed now: what it means, what it does to a softmax, what cures it."""
    from stablemax.explaining.kinds import KINDS, words_of
    from stablemax.explaining.word_explained import explained, meanings_of, page_type_of
    from stablemax.render.word_pages import PAGES
    from stablemax.results.explained import Words

    if not word:
        io.output_of(PAGES[Words], output_format, printing).write(words_of(KINDS[:-1], whole=False))
        return 0
    text = " ".join(word)
    meanings = meanings_of(text)
    output = io.output_of(PAGES[page_type_of(meanings)], output_format, printing)
    with io.progress(printing, f"explaining {text}"):
        page = explained(text, meanings)
    output.write(page)
    return 0
