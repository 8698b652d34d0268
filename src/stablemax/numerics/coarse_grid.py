"""The grid on which the subtraction of a row's maximum leaves no rounding error unknown."""

from __future__ import annotations

import math

from stablemax.numerics.formats import FLOAT32, Format


def coarse_grid(fmt: Format) -> tuple[float, float, float] | None:
    """Offset, reach and lift of the grid that `Arithmetic.shift` cuts its constant to.

    None for a format of fewer bits or less range than float32, which has too few for such a grid.

    >>> coarse_grid(FLOAT32)
    (1536.0, 512.0, 17.0)
    """
    if fmt.precision < FLOAT32.precision or fmt.emax < FLOAT32.emax:
        return None
    lift = math.ceil(fmt.precision * math.log(2))
    reach = 2.0 ** math.ceil(math.log2(3 * (lift - fmt.exp_underflow.real)))
    return 3 * reach, reach, float(lift)


def room_of(fmt: Format) -> float:
    """Return how far a difference from a mean, times the lifted exponentials, may exceed the numbers, as 2**n.

    >>> from stablemax.numerics.formats import BFLOAT16
    >>> room_of(BFLOAT16), room_of(FLOAT32) == 2.0**28
    (8.0, True)
    """
    lift = 0 if coarse_grid(fmt) is None else fmt.precision + 1
    return 2.0 ** (lift + 3)
