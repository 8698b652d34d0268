"""Every term by its name."""

from __future__ import annotations

from stablemax.glossary import range_terms, rounding_terms, softmax_terms, sum_terms
from stablemax.glossary.term import Term
from stablemax.text.registry import Registry

TERMS: Registry[Term] = Registry(
    Term, (*rounding_terms.TERMS, *range_terms.TERMS, *sum_terms.TERMS, *softmax_terms.TERMS)
)
"""Ours in the order in which they build on one another, then those of plugins."""
