"""A word and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stablemax.explaining.kinds import KINDS
from stablemax.explaining.word_kind import WordKind
from stablemax.results.explained import ExplainedWord
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.suggest import suggest


@dataclass(frozen=True)
class Meaning:
    """One thing that a word means."""

    kind: WordKind
    name: str


def meanings_of(word: str) -> tuple[Meaning, ...]:
    """Look a word up among all kinds.

    >>> [(m.kind.name, m.name) for m in meanings_of("Overflow")]
    [('term', 'overflow'), ('outcome', 'overflow')]
    """
    found = tuple(Meaning(kind, name) for kind in KINDS if (name := kind.find(word)))
    if not found:
        raise StablemaxError(
            f"there is no word {shown(word)!r} to explain",
            suggest(word, all_words(), "stablemax explain, without a word, lists all that there are"),
        )
    return found


def page_type_of(meanings: tuple[Meaning, ...]) -> type:
    """Return what `explained` gives for some meanings: the page of one, or a record of all."""
    return meanings[0].kind.page_type if len(meanings) == 1 else ExplainedWord


def explained(word: str, meanings: tuple[Meaning, ...]) -> Any:
    """Make the page of a word."""
    pages = {m.kind.name: m.kind.page(m.name) for m in meanings}
    return pages[meanings[0].kind.name] if len(meanings) == 1 else ExplainedWord(word, pages)


def all_words() -> tuple[str, ...]:
    """Return every name and every other spelling, each once: for "did you mean" and for completion."""
    return tuple(dict.fromkeys(word for kind in KINDS for word in (*kind.names(), *kind.aliases())))
