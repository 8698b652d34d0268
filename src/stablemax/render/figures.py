"""Numbers as short words that are never cut."""

from __future__ import annotations

import math

from stablemax.text.words import short_number


def error(value: float | None, unit: str = "ulp") -> str:
    """Write an error to three digits.

    >>> error(0.4987), error(1.6e15), error(1e-190), error(0.0), error(None)
    ('0.499 ulp', '1.6e+15 ulp', '<0.001 ulp', '0 ulp', '')
    """
    if value is None:
        return ""
    if value == math.inf:
        return f">1e308 {unit}"
    if 0 < value < 1e-3:
        return f"<0.001 {unit}"
    if 1000 <= value < 1e4:
        return f"{value:.0f} {unit}"
    return f"{value:.3g} {unit}"


def short_error(value: float | None) -> str:
    """Write an error in ulps to two digits, for a narrow cell.

    >>> short_error(0.4987), short_error(1.6e15), short_error(1e-190), short_error(0.0), short_error(159.3)
    ('0.50 ulp', '1.6e15 ulp', '0.00 ulp', '0 ulp', '159 ulp')
    """
    return "" if value is None else f"{short_number(value)} ulp"


def number(value: float, fmt: str = "float64") -> str:
    """Write an output value: the shortest decimal that its format reads back the same.

    float64 is written to twelve digits, a few more than the notebooks show.

    >>> number(1803.6252505010002), number(0.09003057330846786, "float32"), number(float("nan"))
    ('1803.6252505', '0.09003057', 'nan')
    >>> number(448.0, "float8_e4m3fn")
    '448'
    """
    if fmt == "float64" or not math.isfinite(value):
        return f"{value:.12g}"
    # Loaded here, as help has to do without NumPy.
    from stablemax.numerics.decimals import shortest
    from stablemax.numerics.formats import get_format

    return shortest(value, get_format(fmt))


def exact(value: float) -> str:
    """Write a float64 as its shortest decimal that reads back the same.

    >>> exact(0.1), exact(float("inf"))
    ('0.1', 'inf')
    """
    return repr(float(value)) if math.isfinite(value) else str(value)


def shortest(value: float, fmt: str) -> str:
    """Write a number of a format as the shortest decimal that reads back the same in it, float64 too.

    >>> shortest(88.72283172607422, "float32"), shortest(709.782712893384, "float64")
    ('88.72283', '709.782712893384')
    """
    from stablemax.numerics.formats import get_format
    from stablemax.numerics.ordered_numbers import shortest as shortest_in

    return shortest_in(value, get_format(fmt))
