"""A number of a format as text: the fewest digits that say which number it is."""

from __future__ import annotations

import math

from stablemax.numerics.formats import FLOAT64, Format


def shortest_decimal(value: float, fmt: Format) -> str:
    """Write a number with the fewest digits that its format reads back the same; float64 with twelve.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> shortest_decimal(0.09003057330846786, FLOAT32), shortest_decimal(1803.6252505010002, FLOAT64)
    ('0.09003057', '1803.6252505')
    """
    if fmt is FLOAT64 or not math.isfinite(value):
        return f"{value:.12g}"
    if value.is_integer() and abs(value) < 2**24:
        # The fewest digits would do, but 4.5e+02 looks like a number cut short.
        return f"{value:.0f}"
    # Every number of a format is a float64; the fewest digits that round to it there are enough.
    texts = (f"{value:.{digits}g}" for digits in range(1, 18))
    return next((text for text in texts if float(fmt.round(float(text))) == value), repr(value))
