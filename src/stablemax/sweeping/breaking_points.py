"""Where outcomes change: a scan over the range, then a bisection over the numbers of the format between neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stablemax.numerics.formats import Format
from stablemax.numerics.ordered_numbers import OrderedNumbers
from stablemax.results import Change, Grade, Outcome, SweptPoint
from stablemax.sweeping.panel import Panel
from stablemax.sweeping.swept_quantity import Range, SweptQuantity

_MOST_FURTHER = 8
_DENSE = 1023
"""Numbers that are tried between two values with different outcomes, where many cost what one costs."""
_MOST_GAPS = 64
"""Changes of a formula that are all followed; of more, the first in each gap, and the last."""
_CLOSER = 32


def picture_values(shown: Range, count: int, *, by_factor: bool) -> list[float]:
    """Return values of a range at equal distances, or at equal factors.

    >>> picture_values((1.0, 100.0), 3, by_factor=True)
    [1.0, 10.0, 100.0]
    """
    low, high = shown
    values = np.geomspace(low, high, count) if by_factor else np.linspace(low, high, count)
    return [low, *values[1:-1].tolist(), high]


def scanned_values(quantity: SweptQuantity, fmt: Format, searched: Range) -> list[float]:
    """Return the values to try beside those of the picture: ends, powers of two, and where something must happen."""
    low, high = searched
    values = [low, high, 0.0, *quantity.edges(fmt), *_powers_of_two(low, high, fmt, is_whole=quantity.is_whole)]
    return [value for value in values if low <= value <= high]


def _powers_of_two(low: float, high: float, fmt: Format, *, is_whole: bool) -> Iterator[float]:
    """Yield one number of each binade, to both sides of 0; where 0 is in the range, from u on."""
    smallest = 0 if is_whole else int(np.log2(low)) - 1 if low > 0 else -fmt.precision
    for exponent in range(max(smallest, fmt.emin), fmt.emax + 1):
        size = 2.0**exponent
        yield from (size, -size) if low < 0 else (size,)
        if size > max(high, -low):
            return


def in_order(values: Iterable[float], numbers: OrderedNumbers) -> list[float]:
    """Round values to the numbers there are, each once, from the smallest to the largest."""
    by_rank = {numbers.rank(number): number for number in map(numbers.nearest, values)}
    return [by_rank[rank] for rank in sorted(by_rank)]


@dataclass(frozen=True)
class _Gap:
    """Two values of one formula with different outcomes, and numbers between them."""

    formula: int
    below: SweptPoint
    above: SweptPoint
    #: How many further changes may be followed between the two: where a result is all rounding error, each number may
    #: have another outcome than the one before.
    further: int = _MOST_FURTHER

    def narrowed(self, inner: Iterable[SweptPoint]) -> Iterator[_Gap]:
        """Yield the gap before the first point that differs from the lower end, and what is left above that point."""
        before = self.below
        for point in (*inner, self.above):
            if _state(point) != _state(before):
                yield replace(self, below=before, above=point)
                if point is not self.above and _state(point) != _state(self.above) and self.further:
                    yield replace(self, below=point, further=self.further - 1)
                return
            before = point


def changes_of(panel: Panel, numbers: OrderedNumbers, scanned: Sequence[Sequence[SweptPoint]]) -> list[list[Change]]:
    """Find for each formula the neighbouring numbers between which its outcome or grade changes.

    All gaps of all formulas are narrowed together, so that a truth is proved once for all who need it.
    """
    found: list[list[Change]] = [[] for _ in scanned]
    find = _dense_gaps if panel.probes > 1 else _scanned_gaps
    gaps = [gap for formula, points in enumerate(scanned) for gap in find(formula, points, panel, numbers)]
    while gaps:
        probes = [(gap, _between(gap, numbers, panel.probes)) for gap in gaps]
        values = sorted({value for _, between in probes for value in between})
        judged = panel.judged(values, {gap.formula for gap, between in probes if between}) if values else {}
        place = {value: i for i, value in enumerate(values)}
        gaps = []
        for gap, between in probes:
            if not between:
                found[gap.formula].append(Change(gap.below, gap.above))
                continue
            gaps += gap.narrowed(judged[gap.formula][place[value]] for value in between)
    # Two gaps may have led to one change.
    once = [{change.below.value: change for change in changes} for changes in found]
    return [[changes[value] for value in sorted(changes)] for changes in once]


def _scanned_gaps(formula: int, points: Sequence[SweptPoint], *_: object) -> list[_Gap]:
    """Return the pairs of points beside each other with different outcomes."""
    pairs = itertools.pairwise(points)
    return [_Gap(formula, below, above) for below, above in pairs if _state(below) != _state(above)]


def _dense_gaps(formula: int, points: Sequence[SweptPoint], panel: Panel, numbers: OrderedNumbers) -> Iterator[_Gap]:
    """Yield the same after many numbers were tried in each gap; of rounding errors between its neighbours, too."""
    every = []
    for i, gap in enumerate(_Gap(formula, *pair) for pair in itertools.pairwise(points)):
        if _state(gap.below) == _state(gap.above):
            continue
        every.append(_within(gap, panel, numbers))
        if any(map(_has_rounding_error, every[-1])):
            wider = _Gap(formula, points[max(0, i - 1)], points[min(i + 2, len(points) - 1)])
            every.append(_within(wider, panel, numbers))
    is_short = sum(map(len, every)) <= _MOST_GAPS
    for gaps in every:
        yield from gaps if is_short or len(gaps) < _MOST_FURTHER else [*gaps[: _MOST_FURTHER - 1], gaps[-1]]


def _has_rounding_error(gap: _Gap) -> bool:
    return not {gap.below.outcome, gap.above.outcome}.isdisjoint({Outcome.INACCURATE, Outcome.LOST})


def _within(gap: _Gap, panel: Panel, numbers: OrderedNumbers) -> list[_Gap]:
    """Return the changes within a gap, the very first among them.

    Where a result is all rounding error, right and wrong alternate: -log of a probability that is rounded to a
    subnormal number is wrong in sixteen short runs of logits before it is infinite.
    """

    def tried(around: _Gap) -> list[SweptPoint]:
        values = _between(around, numbers, _DENSE)
        return panel.judged(values, {gap.formula})[gap.formula] if values else []

    points = [gap.below, *tried(gap), gap.above]
    while True:
        first = next((i for i, point in enumerate(points) if _state(point) != _state(points[0])), 0)
        if not first:
            return []
        before = max(0, first - _CLOSER)
        # The first run may be shorter than the distance of two points.
        inner = tried(replace(gap, below=points[before], above=points[first - 1])) if before < first - 1 else []
        if all(_state(point) == _state(points[0]) for point in inner):
            break
        points[before + 1 : first - 1] = inner
    return [replace(found, further=0) for found in _scanned_gaps(gap.formula, points)]


def _state(point: SweptPoint) -> tuple[Outcome | None, Grade | None]:
    return point.outcome, point.grade


def _between(gap: _Gap, numbers: OrderedNumbers, most: int) -> list[float]:
    """Return numbers that lie evenly between the two of a gap; none between neighbours."""
    low, high = numbers.rank(gap.below.value), numbers.rank(gap.above.value)
    parts = min(most + 1, high - low)
    return [numbers.number(low + (high - low) * i // parts) for i in range(1, parts)]
