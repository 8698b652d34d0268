"""Ranges of arguments: what is drawn from them, and what lies within."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from stablemax.numerics.formats import Array, Format

_DEVIATIONS = 5.0
"""Of a normal distribution, what lies further from its mean than so many deviations is not searched."""
_END_OF_RANGE = 0.25
"""Share of a format's largest number beyond which sums and products of any code overflow."""

_Drawn = Callable[[np.random.Generator, float, float, tuple[int, ...]], Array]


class _Form(NamedTuple):
    """A kind of range: how its numbers are drawn, and between which two they lie."""

    drawn: _Drawn
    ends: Callable[[float, float], tuple[float, float]]


def _sorted(first: float, second: float) -> tuple[float, float]:
    return min(first, second), max(first, second)


_FORMS: Mapping[str, _Form] = MappingProxyType({
    "normal": _Form(
        lambda rng, mean, deviation, shape: mean + deviation * rng.standard_normal(shape),
        lambda mean, deviation: (mean - _DEVIATIONS * abs(deviation), mean + _DEVIATIONS * abs(deviation)),
    ),
    "uniform": _Form(lambda rng, low, high, shape: low + (high - low) * rng.random(shape), _sorted),
    "linspace": _Form(
        lambda _rng, low, high, shape: np.linspace(low, high, math.prod(shape)).reshape(shape), _sorted
    ),
})  # fmt: skip
NAMES = tuple(_FORMS)
"""The ranges that are given by two numbers and a shape."""


@dataclass(frozen=True)
class Range:
    """A range, read: it is drawn in a number format."""

    name: str
    #: Mean and deviation, or the two ends; none for the edges of the format.
    numbers: tuple[float, ...]
    #: None for as many numbers as there are edges.
    shape: tuple[int, ...] | None

    def drawn(self, fmt: Format, seed: tuple[int, ...]) -> Array:
        """Draw the numbers, rounded to the format."""
        if self.name == "edge":
            edges = edges_of(fmt)
            return fmt.cast(edges if self.shape is None else np.resize(edges, self.shape))
        assert self.shape is not None, "only edges know their number"
        first, second = self.numbers
        return fmt.cast(_FORMS[self.name].drawn(np.random.default_rng(seed), first, second, self.shape))

    def ends(self, fmt: Format) -> tuple[float, float]:
        """Return the numbers of the format between which inputs are searched.

        What lies beyond a quarter of the largest number of the format is left out: there sums of any code overflow.

        >>> from stablemax.numerics.formats import FLOAT16
        >>> Range("normal", (0.0, 10.0), (4,)).ends(FLOAT16), Range("edge", (), None).ends(FLOAT16)
        ((-50.0, 50.0), (-16376.0, 16376.0))
        """
        most = _END_OF_RANGE * fmt.max
        low, high = (-most, most) if self.name == "edge" else _FORMS[self.name].ends(*self.numbers)
        first, last = fmt.round(np.clip([low, high], -most, most))
        return float(first), float(last)


@dataclass(frozen=True)
class RangedArgument:
    """An argument that is given by a range."""

    name: str
    range: Range
    #: Its place among all arguments, which is part of the seed of its numbers.
    place: int
    #: As it was typed: ``normal(0, 10, 4x3)``.
    text: str = ""

    def drawn(self, fmt: Format, seed: int, count: int = 0) -> Array:
        """Draw its numbers: with a count of 0 those that a trace with this seed gets."""
        return self.range.drawn(fmt, (seed, self.place, *([count] if count else [])))


def edges_of(fmt: Format) -> Array:
    """Return the numbers at which a format or a function of it changes its behaviour, and their negatives.

    >>> from stablemax.numerics.formats import FLOAT16
    >>> edges_of(FLOAT16).tolist()[:8]
    [0.0, 5.960464477539063e-08, 6.103515625e-05, 0.99951171875, 1.0, 1.0009765625, 11.0859375, 11.09375]
    """
    exp = fmt.exp_overflow
    near_one = (1 - fmt.u, 1.0, 1 + 2 * fmt.u)
    positive = (
        *(fmt.smallest_subnormal, fmt.smallest_normal, *near_one),
        *(exp.last_good, exp.first_bad, math.sqrt(fmt.max), fmt.max),
    )
    return np.array([0.0, *positive, *(-number for number in positive)])
