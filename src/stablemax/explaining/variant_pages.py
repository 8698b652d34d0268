"""Pages of variants, by their ids and by their short names."""

from __future__ import annotations

from stablemax.comparing import explanation
from stablemax.explaining.word_kind import WordKind
from stablemax.hazards.catalogue import promised_for
from stablemax.libraries import find
from stablemax.operations.variant import Variant, variants
from stablemax.results import Explanation, Outcome
from stablemax.results.explained import ExplainedTechnique, VariantInShort


def variant_page(variant_id: str) -> Explanation:
    """Explain one variant, or one built-in."""
    return explanation.explanation_of(find(variant_id))


def technique_page(name: str) -> ExplainedTechnique:
    """Explain a short name: the variants of all operations that have it.

    >>> [v.variant for v in technique_page("division-free").variants]
    ['softmax/division-free']
    """
    named = [v for v in variants() if v.name == name]
    return ExplainedTechnique(
        name=name,
        variants=tuple(map(in_short, named)),
        see=tuple(f"stablemax explain {v.id}" for v in named),
    )


def in_short(variant: Variant) -> VariantInShort:
    """Say what becomes of a variant under the conditions that it makes promises about."""
    conditions = promised_for(variant.operation)
    without_value = tuple(n for n, hazard in conditions.items() if explanation.has_no_value(variant.operation, hazard))
    outcomes: dict[Outcome, tuple[str, ...]] = {}
    for name, outcome in variant.promises.items():
        if name not in without_value:
            outcomes[outcome] = (*outcomes.get(outcome, ()), name)
    return VariantInShort(variant.id, variant.formula, outcomes, without_value)


def _id_with_slash(word: str) -> str:
    # Whether there is such a variant, and whether its library is installed, the look-up tells better.
    return word if "/" in word else ""


VARIANT = WordKind(
    "variant",
    "variants",
    "formulas, each one way of computing an operation",
    Explanation,
    variant_page,
    names=lambda: tuple(v.id for v in variants()),
    rule=_id_with_slash,
    command="stablemax list variants",
)
TECHNIQUE = WordKind(
    "technique",
    "techniques",
    "short names of formulas, whatever they compute",
    ExplainedTechnique,
    technique_page,
    names=lambda: tuple(dict.fromkeys(v.name for v in variants())),
)
