"""Numbers of a format as decimals."""

from __future__ import annotations

import math

from stablemax.numerics.formats import Format


def shortest(value: float, fmt: Format) -> str:
    """Write a number of a format as the shortest decimal that its format reads back the same.

    >>> from stablemax.numerics.formats import BFLOAT16, FLOAT32
    >>> shortest(FLOAT32.exp_overflow.first_bad, FLOAT32), shortest(FLOAT32.max, FLOAT32), shortest(448.0, BFLOAT16)
    ('88.72284', '3.4028235e+38', '448')
    """
    if not math.isfinite(value):
        return f"{value:g}"
    if value.is_integer() and abs(value) < 2**24:
        # The fewest digits would do, but 4.5e+02 looks like a number cut short.
        return f"{value:.0f}"
    # Every number of a format is a float64; the fewest digits that round to it there are enough.
    texts = (f"{value:.{digits}g}" for digits in range(1, 18))
    return next((text for text in texts if float(fmt.round(float(text))) == value), repr(value))
