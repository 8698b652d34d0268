"""The cures of a run: patterns found in its data flow, each run in the place of what the code has, and judged."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.trace.cures.applying import output_of
from stablemax.trace.cures.matching import Match, Matcher
from stablemax.trace.cures.patterns import PATTERNS

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array
    from stablemax.trace.cures.flow import Flow, FlowNode
    from stablemax.trace.cures.pattern import Pattern

_HALF = 2


@dataclass(frozen=True)
class Finding:
    """A pattern found at an operation, with one of its expressions, and what that gives there."""

    pattern: Pattern
    #: Expression of the pattern, with its leaves in braces.
    code: str
    match: Match
    #: In the place of the output of the root.
    output: Array


def findings(flow: Flow, backend: str, nodes: Sequence[FlowNode] | None = None) -> Iterator[Finding]:
    """Find the patterns in recorded operations: those that give another output than the code does, root by root.

    With `nodes` only those are taken for roots. A flow may hold any slice of a run.
    """
    matcher = Matcher(flow)
    for node in flow.nodes if nodes is None else nodes:
        if node.name == "argument":
            continue
        for pattern in PATTERNS:
            if pattern.is_of_half and node.values.dtype.itemsize > _HALF:
                continue
            for tree in pattern.trees:
                match = matcher.at(tree, node)
                if match is not None:
                    yield from _outputs(pattern, match, flow, backend)
                    break


def _outputs(pattern: Pattern, match: Match, flow: Flow, backend: str) -> Iterator[Finding]:
    for code in pattern.code(backend):
        output = output_of(code, match, flow, backend)
        if output is not None and not np.array_equal(output, match.root.values, equal_nan=True):
            yield Finding(pattern, code, match, output)


def keys_of(match: Match) -> set[Hashable]:
    """Return the keys of the operations that a match is made of."""
    return {node.key for node in match.nodes}
