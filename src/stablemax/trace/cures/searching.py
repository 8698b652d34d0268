"""The cures of a run: patterns found in its data flow, each run in the place of what the code has, and judged."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.trace.cures.applying import output_of
from stablemax.trace.cures.matching import Match, Matcher
from stablemax.trace.cures.recognising import patterns_at
from stablemax.trace.exact_cells import format_or_none
from stablemax.trace.exact_truth import is_good

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array, Format
    from stablemax.trace.cures.flow import Flow, FlowNode
    from stablemax.trace.cures.pattern import Pattern
    from stablemax.trace.run import Run, Subject

_MOST_TRIED = 24
_MOST_CELLS_TRIED = 1 << 17
"""So many cells of operations are computed in search of a cure, and no more: a second's work."""


@dataclass(frozen=True)
class Finding:
    """A pattern found at an operation, with one of its expressions, and what that gives there."""

    pattern: Pattern
    #: Expression of the pattern, with its leaves in braces.
    code: str
    match: Match
    #: In the place of the output of the root.
    output: Array


def findings(
    flow: Flow,
    backend: str,
    nodes: Sequence[FlowNode] | None = None,
    *,
    extending: bool = False,
    beside_1: bool = False,
) -> Iterator[Finding]:
    """Find the patterns in recorded operations whose code makes a bad output good, root by root.

    An output is held to the exact cells that its operation was recorded with. With `nodes` only those are taken for
    roots. A flow may hold any slice of a run. With `extending` it is the patterns for formulas without a number of the
    format, and their outputs are finite. With `beside_1` logarithms of probabilities are judged beside 1.
    """
    matcher = Matcher(flow)
    for node in bad_nodes(flow.nodes if nodes is None else nodes, extending=extending):
        for pattern, match in patterns_at(matcher, node, backend, extending=extending):
            yield from outputs_of(pattern, match, flow, backend, beside_1=beside_1)


def bad_nodes(nodes: Iterable[FlowNode], *, extending: bool = False) -> Iterator[FlowNode]:
    """Yield the operations whose outputs are not as good as their exact cells; with `extending` those not finite."""
    for node in nodes:
        fmt = format_or_none(node.values.dtype)
        if node.name == "argument" or fmt is None:
            continue
        if np.isfinite(node.values.astype(np.float64)).all() if extending else is_good(node.values, node.cells, fmt):
            continue
        yield node


def outputs_of(pattern: Pattern, match: Match, flow: Flow, backend: str, *, beside_1: bool) -> Iterator[Finding]:
    """Yield the expressions of a pattern whose output is as good as the exact cells of the root."""
    beside_1 = beside_1 and pattern.is_beside_1
    fmt = _narrowest(match)
    for code in _codes(pattern, match, backend):
        output = output_of(code, match, flow, backend)
        if output is None or fmt is None:
            continue
        before = match.root.values.astype(np.float64)
        is_finite = np.isfinite(output.astype(np.float64)).all()
        if is_finite if pattern.extends else is_good(output, match.root.cells, fmt, before, beside_1=beside_1):
            yield Finding(pattern, code, match, output)


def _narrowest(match: Match) -> Format | None:
    """Return the format with the fewest digits among the root's and its leaves': that is what a result is good in."""
    arrays = [match.root.values, *(match.leaf(name).values for name in match.leaves)]
    formats = [fmt for fmt in (format_or_none(a.dtype) for a in arrays if a.ndim or a is arrays[0]) if fmt is not None]
    return min(formats, key=lambda fmt: fmt.precision, default=None)


def _codes(pattern: Pattern, match: Match, backend: str) -> Iterator[str]:
    """Yield the expressions of a pattern; in float64, too, where the code came to that by a constant of NumPy's."""
    code = pattern.code(backend)
    yield from code
    leaves = [match.leaf(name).values for name in match.leaves]
    is_wide = match.root.values.dtype == np.float64 and all(a.dtype != np.float64 for a in leaves if a.ndim)
    if is_wide and backend == "numpy":
        yield from map("np.float64({})".format, code)


def keys_of(match: Match) -> set[Hashable]:
    """Return the keys of the operations that a match is made of."""
    return {node.key for node in match.nodes}


@dataclass(frozen=True)
class Cure:
    """Findings that together make the result of a run good, and what that result is then."""

    findings: tuple[Finding, ...]
    run: Run


def cures_of(
    subject: Subject,
    is_good: Callable[[Run], bool],
    blamed: Hashable,
    bits: int,
    *,
    extending: bool = False,
    beside_1: bool = False,
) -> Iterator[tuple[Cure, Flow]]:
    """Yield what makes the result good, when its findings stand in the place of operations of a second run.

    First come single expressions, those with the blamed operation in them before others, then several together.
    """
    run, flow = subject.recorded(bits)
    groups = grouped(findings(flow, subject.backend, extending=extending, beside_1=beside_1))
    # What computes more of the result anew is tried before its parts.
    places = {node.key: place for place, node in enumerate(flow.nodes)}
    groups.sort(
        key=lambda group: (
            group[0].pattern.is_last_resort,
            blamed not in keys_of(group[0].match),
            -places[group[0].match.root.key],
        )
    )
    most = max(2, min(_MOST_TRIED, _MOST_CELLS_TRIED // sum(node.values.size for node in flow.nodes)))
    for group in groups[:most]:
        if subject.is_gradient:
            yield Cure(tuple(group), run), flow
            continue
        replaced = _run_with(subject, group)
        if is_good(replaced):
            yield Cure(tuple(group), replaced), flow
    if subject.is_gradient:
        # What autograd saved stays as it was when another output is put in its place: only other code is tried.
        return
    together = _together(subject, groups, is_good, most)
    if together is not None:
        yield together, flow


def grouped(found: Iterable[Finding]) -> list[list[Finding]]:
    """Put what a loop finds again and again on one expression together."""
    groups: dict[Any, list[Finding]] = {}
    for finding in found:
        root = finding.match.root
        groups.setdefault((finding.pattern.id, finding.code, root.source or root.key), []).append(finding)
    return list(groups.values())


def _together(
    subject: Subject, groups: Sequence[list[Finding]], is_good: Callable[[Run], bool], most: int
) -> Cure | None:
    """Apply the first finding at every root, the last root first, until the result is good; then leave out what may."""
    at_roots: dict[Hashable, list[Finding]] = {}
    for group in groups:
        at_roots.setdefault(group[-1].match.root.key, group)
    chosen: list[list[Finding]] = []
    for group in list(at_roots.values())[:most]:
        chosen.append(group)
        if len(chosen) > 1 and is_good(_run_with(subject, itertools.chain(*chosen))):
            break
    else:
        return None
    for group in chosen[::-1]:
        fewer = [other for other in chosen if other is not group]
        if fewer and is_good(_run_with(subject, itertools.chain(*fewer))):
            chosen = fewer
    every = tuple(itertools.chain(*chosen))
    return Cure(every, _run_with(subject, every))


def _run_with(subject: Subject, group: Iterable[Finding]) -> Run:
    return subject.with_outputs({finding.match.root.key: finding.output for finding in group})
