"""Words that agree with their numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence


def counted(count: int, singular: str, plural: str = "") -> str:
    """Write a number with its noun.

    >>> counted(1, "row"), counted(4096, "row"), counted(2, "class"), counted(3, "entry", "entries")
    ('1 row', '4,096 rows', '2 classes', '3 entries')
    """
    regular = f"{singular}es" if singular.endswith("s") else f"{singular}s"
    return f"{count:,} {singular if count == 1 else plural or regular}"


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    >>> listed(["float16"]), listed(["float16", "bfloat16", "float32"])
    ('float16', 'float16, bfloat16 and float32')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def short_number(value: float) -> str:
    """Write a number that is not negative to two digits after the point, or to two digits.

    >>> short_number(0.4987), short_number(1.6e15), short_number(1e-190), short_number(0.0), short_number(159.3)
    ('0.50', '1.6e15', '0.00', '0', '159')
    """
    if value in (0, math.inf):
        return "0" if value == 0 else ">1e308"
    if value < 9.995:
        return f"{value:.2f}"
    if value < 99999.5:
        return f"{value:.0f}"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def percentage(value: float) -> str:
    """Write a share as a percentage that says 0 or 100 only where it is.

    >>> percentage(1.0), percentage(0.524), percentage(0.0001), percentage(0.99999)
    ('100%', '52%', '<1%', '>99%')
    """
    percent = 100 * value
    if 0 < percent < 1:
        return "<1%"
    if 99 < percent < 100:
        return ">99%"
    return f"{percent:.0f}%"


def precise_percentage(value: float) -> str:
    """Write a share with two decimals of a percent; it says 0 or 100 only where it is.

    >>> precise_percentage(1.0), precise_percentage(0.74981), precise_percentage(0.999999), precise_percentage(1e-9)
    ('100%', '74.98%', '>99.99%', '<0.01%')
    """
    percent = 100 * value
    if percent in (0, 100):
        return f"{percent:.0f}%"
    if percent < 0.01 or percent > 99.99:
        return "<0.01%" if percent < 1 else ">99.99%"
    return f"{percent:.2f}%"


def either(words: Sequence[str]) -> str:
    """Join words of which one is chosen.

    >>> either(["mean", "sum", "none"])
    'mean, sum or none'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
