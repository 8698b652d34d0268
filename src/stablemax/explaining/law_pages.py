"""Pages of the laws that implementations are held to."""

from __future__ import annotations

import inspect

from stablemax.explaining.word_kind import WordKind
from stablemax.operations import all_operations
from stablemax.operations.variant import variants
from stablemax.results.explained import ExplainedLaw


def law_page(name: str) -> ExplainedLaw:
    """Explain a law, and say which operations obey it.

    >>> law_page("rows-sum-to-1").operations
    ('softmax',)
    """
    operations = tuple(o for o in all_operations() if name in o.laws)
    return ExplainedLaw(
        name=name,
        sentence=sentence_of(name),
        operations=tuple(o.name for o in operations),
        see=(
            f"stablemax check {variants(operations[0])[0].id}",
            f"stablemax explain {operations[0]}",
            "stablemax explain laws",
        ),
    )


def sentence_of(law: str) -> str:
    """Return what a law says."""
    # Checks load much that no other page needs.
    from stablemax.check.laws import LAWS

    return (inspect.getdoc(LAWS[law]) or "").partition("\n")[0]


LAW = WordKind(
    "law",
    "laws",
    "what every implementation of an operation obeys",
    ExplainedLaw,
    law_page,
    # Those of the records: their order is that of the first operation that names them.
    names=lambda: tuple(dict.fromkeys(law for o in all_operations() for law in o.laws)),
)
