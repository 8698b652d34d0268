"""Pages of the glossary's terms."""

from __future__ import annotations

from stablemax.explaining.word_kind import WordKind
from stablemax.glossary.terms import TERMS
from stablemax.operations.citations import CITATIONS
from stablemax.results.explained import ExplainedTerm


def term_page(name: str) -> ExplainedTerm:
    """Explain a term; its figures are computed now.

    >>> term_page("ulp").figures[0].rows[0].label
    'from 1'
    """
    term = TERMS[name]
    return ExplainedTerm(
        name=term.name,
        aliases=term.aliases,
        definition=term.definition,
        text=term.text,
        figures=term.figures(),
        sources=tuple(str(CITATIONS[key]) for key in term.cites),
        see=tuple(f"stablemax {command}" for command in term.see),
    )


TERM = WordKind(
    "term",
    "terms",
    "what people say of numbers and of softmax",
    ExplainedTerm,
    term_page,
    names=lambda: tuple(TERMS),
    aliases=lambda: {alias: term.name for term in TERMS.values() for alias in term.aliases},
)
