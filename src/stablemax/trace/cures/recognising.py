"""Which patterns an operation is the root of: those that are declared, and those that are made for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stablemax.trace.cures.deriving import Deriver
from stablemax.trace.cures.patterns import PATTERNS

if TYPE_CHECKING:
    from stablemax.trace.cures.flow import FlowNode
    from stablemax.trace.cures.matching import Match, Matcher
    from stablemax.trace.cures.pattern import Pattern

_HALF = 2


def patterns_at(
    matcher: Matcher, root: FlowNode, backend: str, *, extending: bool = False
) -> Iterator[tuple[Pattern, Match]]:
    """Yield the patterns that an operation is the root of, with their matches, the declared ones first.

    With `extending` it is those for formulas without a number of the format.
    """
    declared: set[str] = set()
    for pattern in PATTERNS:
        if bool(pattern.extends) is not extending or (pattern.is_of_half and root.values.dtype.itemsize > _HALF):
            continue
        match = next((m for m in (matcher.at(tree, root) for tree in pattern.trees) if m is not None), None)
        if match is not None:
            declared.add(pattern.id)
            yield pattern, match
    if not extending:
        yield from (made for made in Deriver(matcher, backend).at(root) if made[0].id not in declared)
