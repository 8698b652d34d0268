"""What the exponential leaves beyond its linear part, accurate near 0."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_COEFFICIENTS = tuple(1 / math.factorial(n) for n in range(19, 1, -1))
"""Of the Taylor series, the highest power first: what is left out within (-1, 1) is below 2**-55 of the result."""


def exp_remainder(x: Any, expm1: Callable[[Any], Any], where: Callable[..., Any]) -> Any:
    """Return ``exp(x) - 1 - x`` of any library's float64 array, by its own `expm1` and `where`.

    >>> import numpy as np
    >>> f"{exp_remainder(np.array([1e-9]), np.expm1, np.where)[0]:.6g}"
    '5e-19'
    """
    highest, next_highest, *others = _COEFFICIENTS
    series = highest * x + next_highest
    for coefficient in others:
        series = series * x + coefficient
    return where(abs(x) < 1.0, x * x * series, expm1(x) - x)
