"""Round numbers along an axis."""

from __future__ import annotations

import math

_MOST_TICKS = 7


def axis_ticks(low: float, high: float, *, is_log: bool) -> list[float]:
    """Return round numbers of a range; its ends where there are fewer than two.

    >>> axis_ticks(1.0, 1e5, is_log=True), axis_ticks(-110.0, 95.0, is_log=False)
    ([1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0], [-100.0, -50.0, 0.0, 50.0])
    """
    if low == high:
        return [low]
    ticks = _powers_of_ten(low, high) if is_log else _multiples(low, high)
    return ticks if len(ticks) > 1 else [low, high]


def _powers_of_ten(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / _MOST_TICKS))
    return [10.0**exponent for exponent in range(first, last + 1, every)]


def _multiples(low: float, high: float) -> list[float]:
    rough = (high - low) / (_MOST_TICKS - 2)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def place_of(value: float, low: float, high: float, *, is_log: bool) -> float:
    """Return the place of a value along an axis, from 0 to 1.

    >>> place_of(10.0, 1.0, 100.0, is_log=True)
    0.5
    """
    if low == high:
        return 0.0
    if is_log:
        value, low, high = (math.log(x) for x in (value, low, high))
    return (value - low) / (high - low)
