"""Pages of the quantities that `sweep` moves."""

from __future__ import annotations

from stablemax.explaining.word_kind import WordKind
from stablemax.numerics.format_names import ORDINARY
from stablemax.numerics.formats import get_format
from stablemax.operations import all_operations
from stablemax.results.explained import ExplainedQuantity
from stablemax.sweeping import NAMES


def quantity_page(name: str) -> ExplainedQuantity:
    """Explain a quantity by the input that it makes, and the range in which a sweep shows it.

    >>> quantity_page("offset").meaning
    'three equal logits (c, c, c), label 0; the offset is c'
    """
    # Other pages need no quantity.
    from stablemax.sweeping.quantities import quantity_named

    quantity = quantity_named(name)
    return ExplainedQuantity(
        name=name,
        meaning=quantity.meaning,
        ranges={f: quantity.shown(get_format(f)) for f in ORDINARY},
        operations=tuple(o.name for o in all_operations() if quantity.concerns(o)),
        see=(f"stablemax sweep --over {name}", "stablemax explain quantities"),
    )


QUANTITY = WordKind(
    "quantity",
    "quantities",
    "what `sweep` moves through its range",
    ExplainedQuantity,
    quantity_page,
    names=lambda: NAMES,
)
