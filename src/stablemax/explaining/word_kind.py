"""What a kind of words is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


def no_aliases() -> dict[str, str]:
    """Return no other spellings."""
    return {}


def by_no_rule(word: str) -> str:  # noqa: ARG001 - what a rule is called with
    """Recognise nothing beyond names and aliases."""
    return ""


@dataclass(frozen=True)
class WordKind:
    """A kind of words that `explain` knows."""

    #: Singular and plural, as in "a term" and "terms"
    name: str
    plural: str
    #: What its words are, as in "number formats: how computers store numbers"
    about: str
    #: What its page is: a class of `results`
    page_type: type
    #: Makes the page of a name
    page: Callable[[str], Any]
    #: Every name, as `explain` without a word lists them
    names: Callable[[], Iterable[str]]
    #: Other spellings, and the name that each stands for
    aliases: Callable[[], Mapping[str, str]] = no_aliases
    #: From a word that is neither a name nor an alias to a name; empty for no
    rule: Callable[[str], str] = by_no_rule
    #: The command that lists them, where there are too many for one screen
    command: str = ""

    @property
    def article(self) -> str:
        """The name with its article.

        >>> WordKind("operation", "operations", "what is computed", str, str, tuple).article
        'an operation'
        """
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"

    def spellings(self) -> dict[str, str]:
        """Return every name by what may be typed for it."""
        named = {spelled(name): name for name in self.names()}
        return {**{spelled(alias): name for alias, name in self.aliases().items()}, **named}

    def find(self, word: str) -> str:
        """Return the name that a word stands for; empty for none."""
        return self.spellings().get(spelled(word)) or self.rule(word)


def spelled(word: str) -> str:
    """Bring the spellings of a word together.

    >>> spelled("Unit roundoff"), spelled("cross_entropy")
    ('unit-roundoff', 'cross-entropy')
    """
    return "-".join(word.strip().lower().replace("_", "-").split())
