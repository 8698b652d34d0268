"""The inputs that are tried within the ranges of the arguments: simple and extreme ones, and draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stablemax.check.any_function.input_ranges import RangedArgument, edges_of
from stablemax.numerics.formats import Array, Format

Inputs = dict[str, Array]
"""Arrays of the arguments, by their names."""

_MOST_PROVED, _MOST_DRAWN, _MOST_SUSPECTS = 120, 300, 40
_WORK = 30_000
"""Numbers that all inputs which are proved hold together: of large inputs fewer are tried."""
_ORDINARY = (0.0, 1.0, -1.0, 0.5, 2.0, 10.0, -10.0, 30.0, -30.0, 100.0, -100.0, 1000.0, -1000.0)
_BINADES = 40.0
"""Draws of any size reach down from the end of a range by a factor of two to this power."""


@dataclass(frozen=True)
class Effort:
    """How many inputs are tried in a format."""

    proved: int
    drawn: int
    #: Draws that are proved: those that look worst.
    suspects: int

    @classmethod
    def for_numbers(cls, count: int, factor: float = 1.0) -> Effort:
        """Return the effort for inputs of so many numbers, times a factor.

        >>> Effort.for_numbers(4), Effort.for_numbers(10_000, factor=8)
        (Effort(proved=120, drawn=300, suspects=40), Effort(proved=96, drawn=240, suspects=64))
        """
        share = min(1.0, _WORK / (_MOST_PROVED * max(1, count)))
        most = ((_MOST_PROVED, 12), (_MOST_DRAWN, 30), (_MOST_SUSPECTS, 8))
        return cls(*(int(factor * max(least, share * number)) for number, least in most))


def structured(ranges: Sequence[RangedArgument], fmt: Format, seed: int, most: int) -> list[Inputs]:
    """Return the first draw, and inputs that a person would try: equal numbers, the ends, one large among small.

    >>> from stablemax.check.any_function.input_ranges import Range
    >>> from stablemax.numerics.formats import FLOAT32
    >>> x = RangedArgument("x", Range("uniform", (0.0, 2.0), (2,)), 0)
    >>> [inputs["x"].tolist() for inputs in structured([x], FLOAT32, 0, 100)[1:4]]
    [[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]]
    """
    first = {one.name: one.drawn(fmt, seed) for one in ranges}
    simple = itertools.chain([first], _alike(ranges, fmt), _one_at_a_time(ranges, fmt))
    mixed = itertools.islice(_mixed(ranges, fmt, seed), most)
    return _once(itertools.chain(simple, mixed))[:most]


def draws(ranges: Sequence[RangedArgument], fmt: Format, seed: int, count: int) -> list[Inputs]:
    """Draw inputs from the ranges, and numbers of any size within their ends."""
    random = np.random.default_rng([seed, count])
    drawn: list[Inputs] = []
    for i in range(1, count + 1):
        of_any_size = i % 3 == 0
        drawn.append({
            one.name: _of_any_size(one, fmt, random) if of_any_size else one.drawn(fmt, seed, i) for one in ranges
        })  # fmt: skip
    return _once(drawn)


def within(values: Array, one: RangedArgument, fmt: Format) -> bool:
    """Tell whether numbers lie between the ends of a range."""
    low, high = one.range.ends(fmt)
    wide = values.astype(np.float64)
    return bool(((low <= wide) & (wide <= high)).all())


def _values(one: RangedArgument, fmt: Format) -> list[float]:
    """Return the numbers worth trying in a range, simple ones first."""
    low, high = one.range.ends(fmt)
    tried = fmt.round(np.array([*_ORDINARY, low, high, (low + high) / 2, *edges_of(fmt)]))
    # What is many binades smaller than the range itself, people do not mean by it: edges have it.
    least = 0.0 if one.range.name == "edge" else max(abs(low), abs(high)) * 2.0**-_BINADES
    return list(dict.fromkeys(float(v) for v in tried if low <= v <= high and (v == 0 or abs(v) >= least)))


def _alike(ranges: Sequence[RangedArgument], fmt: Format) -> Iterator[Inputs]:
    """Give all arguments one number, as far as their ranges have it, in each arrangement."""
    values = dict.fromkeys(v for one in ranges for v in _values(one, fmt))
    for arrange in _ARRANGEMENTS:
        for value in values:
            yield {one.name: _arranged(one, _clipped(value, one, fmt), arrange, fmt) for one in ranges}


def _one_at_a_time(ranges: Sequence[RangedArgument], fmt: Format) -> Iterator[Inputs]:
    """Let one argument have each number, while the others are ones, or the middle of their ranges."""
    plain = {one.name: _arranged(one, _clipped(1.0, one, fmt), "equal", fmt) for one in ranges}
    for one in ranges if len(ranges) > 1 else ():
        for value in _values(one, fmt):
            yield {**plain, one.name: _arranged(one, value, "equal", fmt)}


def _mixed(ranges: Sequence[RangedArgument], fmt: Format, seed: int) -> Iterator[Inputs]:
    """Choose for each argument a number and an arrangement at random, and for its cells numbers at random."""
    random = np.random.default_rng([seed, 1])
    for i in itertools.count():
        inputs = {}
        for one in ranges:
            values = np.array(_values(one, fmt))
            if i % 2:
                inputs[one.name] = fmt.cast(random.choice(values, size=_shape(one, fmt)))
            else:
                inputs[one.name] = _arranged(one, float(random.choice(values)), str(random.choice(_ARRANGEMENTS)), fmt)
        yield inputs


_ARRANGEMENTS = ("equal", "one large", "opposite", "neighbours", "close")


def _arranged(one: RangedArgument, value: float, arrangement: str, fmt: Format) -> Array:
    """Fill an array of a range: with equal numbers, one among zeros, opposite ones, or such as differ by little."""
    shape = _shape(one, fmt)
    low, high = one.range.ends(fmt)
    cells = np.full(math.prod(shape), value)
    if arrangement == "one large":
        cells[1:] = _clipped(0.0, one, fmt)
    elif arrangement == "opposite":
        cells[1::2] *= -1
    elif arrangement == "neighbours":
        # The neighbours of 0 are no numbers that people mean.
        cells[1::2] += np.where(cells == 0, 0.0, fmt.ulp(cells))[1::2]
    elif arrangement == "close":
        cells *= 1 + np.arange(len(cells)) * 2.0 ** (-fmt.precision // 2)
    return fmt.cast(np.clip(cells, low, high).reshape(shape))


def _of_any_size(one: RangedArgument, fmt: Format, random: np.random.Generator) -> Array:
    """Draw numbers whose sizes are spread evenly over the binades."""
    low, high = one.range.ends(fmt)
    shape = _shape(one, fmt)
    sizes = max(abs(low), abs(high)) * 2.0 ** -(_BINADES * random.random(shape))
    signs = random.choice([-1.0, 1.0], size=shape)
    return fmt.cast(np.clip(sizes * signs, low, high))


def _shape(one: RangedArgument, fmt: Format) -> tuple[int, ...]:
    shape = one.range.shape
    return (len(edges_of(fmt)),) if shape is None else shape


def _clipped(value: float, one: RangedArgument, fmt: Format) -> float:
    low, high = one.range.ends(fmt)
    return min(max(value, low), high)


def _once(inputs: Iterable[Inputs]) -> list[Inputs]:
    """Return each input once."""
    return list({tuple((n, a.shape, a.tobytes()) for n, a in one.items()): one for one in inputs}.values())
