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
    gaps = [
        _Gap(formula, below, above)
        for formula, points in enumerate(scanned)
        for below, above in itertools.pairwise(points)
        if _state(below) != _state(above)
    ]
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
    return [sorted(changes, key=lambda change: change.below.value) for changes in found]


def _state(point: SweptPoint) -> tuple[Outcome | None, Grade | None]:
    return point.outcome, point.grade


def _between(gap: _Gap, numbers: OrderedNumbers, most: int) -> list[float]:
    """Return numbers that lie evenly between the two of a gap; none between neighbours."""
    low, high = numbers.rank(gap.below.value), numbers.rank(gap.above.value)
    parts = min(most + 1, high - low)
    return [numbers.number(low + (high - low) * i // parts) for i in range(1, parts)]
