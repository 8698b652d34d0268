"""The kinds of words, each with the room that makes its pages."""

from __future__ import annotations

from collections.abc import Iterable

from stablemax.explaining import (
    format_pages,
    hazard_pages,
    law_pages,
    operation_pages,
    outcome_pages,
    preset_pages,
    quantity_pages,
    term_pages,
    variant_pages,
)
from stablemax.explaining.word_kind import WordKind
from stablemax.results.explained import Words

_KINDS: tuple[WordKind, ...] = (
    term_pages.TERM,
    operation_pages.OPERATION_WORD,
    variant_pages.TECHNIQUE,
    outcome_pages.OUTCOME,
    outcome_pages.GRADE,
    format_pages.NUMBER_FORMAT,
    quantity_pages.QUANTITY,
    law_pages.LAW,
    preset_pages.PRESET,
    hazard_pages.HAZARD,
    variant_pages.VARIANT,
)


def words_of(kinds: Iterable[WordKind], *, whole: bool) -> Words:
    """List the words of some kinds; `whole` has long lists in full."""
    kinds = tuple(kinds)
    return Words(
        {kind.plural: tuple(kind.names()) for kind in kinds},
        {kind.plural: kind.about for kind in kinds},
        {} if whole else {kind.plural: kind.command for kind in kinds if kind.command},
    )


KIND = WordKind(
    "kind of words",
    "kinds of words",
    "what `explain` knows",
    Words,
    lambda plural: words_of((kind for kind in _KINDS if kind.plural == plural), whole=True),
    names=lambda: tuple(kind.plural for kind in _KINDS),
    aliases=lambda: {kind.name: kind.plural for kind in _KINDS},
)
KINDS = (*_KINDS, KIND)
"""In the order in which a word that means several things is explained."""
