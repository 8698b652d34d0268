"""Mistakes by a constant factor: a sign, a mean over the wrong number, a logarithm to another base."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

from stablemax.check.mistakes.example import RIGHT, Example
from stablemax.check.mistakes.mistake import Mistake
from stablemax.numerics.formats import Array

_Factor = Callable[[Example], float]


def _rows(e: Example) -> float:
    return e.divisor


def _classes(e: Example) -> float:
    return float(e.x.shape[-1])


_SIZES: tuple[tuple[str, str, _Factor], ...] = (
    ("factor N", "it is N times too large, for N rows: it is not divided by their number", _rows),
    ("factor 1/N", "it is divided by the number of rows once too often", lambda e: 1.0 / _rows(e)),
    ("factor K", "it is K times too large, for K classes", _classes),
    ("factor 1/K", "it is divided by the number of classes, too", lambda e: 1.0 / _classes(e)),
    ("factor N/K", "it is divided by the number of classes, not by that of the rows", lambda e: _rows(e) / _classes(e)),
    ("factor K/N", "it is divided by the number of rows, not by that of the classes", lambda e: _classes(e) / _rows(e)),
    ("factor N/(N - 1)", "it is divided by N - 1, for N rows, not by N", lambda e: _rows(e) / (_rows(e) - 1.0)),
    ("factor 2", "it is twice the right result", lambda _: 2.0),
    ("factor 1/2", "it is half of the right result", lambda _: 0.5),
    ("base 2", "its logarithm is to base 2, not to base e", lambda _: 1.0 / math.log(2.0)),
    ("base 10", "its logarithm is to base 10, not to base e", lambda _: 1.0 / math.log(10.0)),
)
_WRONG_SIGN = "the sign is wrong: it is minus the right result"


def mistakes_of_factors() -> Iterator[Mistake]:
    """Yield each factor, with either sign, for each operation."""
    for operation, right in RIGHT.items():
        yield Mistake("sign", _WRONG_SIGN, operation, partial(_times, right, lambda _: -1.0))
        for kind, words, factor in _SIZES:
            yield Mistake(kind, words, operation, partial(_times, right, factor))
            negative = partial(_minus, factor)
            yield Mistake(
                f"sign, {kind}", f"the sign is wrong, and {words}", operation, partial(_times, right, negative)
            )


def _minus(factor: _Factor, e: Example) -> float:
    return -factor(e)


def _times(right: Callable[[Example], Array], factor: _Factor, e: Example) -> Array:
    return right(e) * factor(e)
