"""Cures of a part of a run, judged given what came into that part: where errors from before hide them."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from stablemax.trace.cures.matching import Match, Matcher
from stablemax.trace.cures.recognising import patterns_at
from stablemax.trace.cures.searching import bad_nodes, grouped, keys_of, outputs_of

if TYPE_CHECKING:
    from stablemax.trace.cures.flow import Flow, FlowNode
    from stablemax.trace.cures.searching import Finding
    from stablemax.trace.run import Subject

_MOST_RUNS = 8
"""So many times is the run repeated with a shadow that starts in its middle, and no more."""


def findings_of_parts(subject: Subject, blamed: Hashable, bits: int) -> Iterator[tuple[list[Finding], Flow]]:
    """Yield findings, those of one expression together, whose code is right for what its operations really got.

    The operations themselves are wrong for that: what came in is not to blame. Those with the blamed operation in them
    come first.
    """
    _, flow = subject.recorded(bits)
    groups = grouped(_findings(subject, flow, bits))
    places = {node.key: place for place, node in enumerate(flow.nodes)}
    groups.sort(key=lambda group: (blamed not in keys_of(group[0].match), -places[group[0].match.root.key]))
    for group in groups:
        yield group, flow


def _findings(subject: Subject, flow: Flow, bits: int) -> Iterator[Finding]:
    matcher = Matcher(flow)
    places = {id(node): place for place, node in enumerate(flow.nodes)}
    slices: dict[Hashable, Flow] = {}
    for node in reversed(list(bad_nodes(flow.nodes))):
        for pattern, match in patterns_at(matcher, node, subject.backend):
            first = min(match.nodes, key=lambda n: places[id(n)])
            if first.key not in slices:
                if len(slices) == _MOST_RUNS:
                    return
                slices[first.key] = subject.recorded_from(first.key, bits)
            given = _given_what_came_in(match, slices[first.key])
            if given is not None and any(bad_nodes([given.root])):
                yield from outputs_of(pattern, given, flow, subject.backend, beside_1=True)


def _given_what_came_in(match: Match, part: Flow) -> Match | None:
    """Return a match whose root has the exact cells that follow from what its operations got."""
    same: FlowNode | None = next((node for node in part.nodes if node.key == match.root.key), None)
    if same is None or same.shape != match.root.shape:
        return None
    return dataclasses.replace(match, root=dataclasses.replace(match.root, cells=same.cells))
