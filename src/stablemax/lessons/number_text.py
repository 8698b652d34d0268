"""Numbers as sentences of lessons write them: as the tables beside them do."""

from __future__ import annotations

from stablemax.numerics.decimals import shortest
from stablemax.numerics.formats import FLOAT64, Format


def number_text(value: float, fmt: Format) -> str:
    """Write a number with the fewest digits that its format reads back the same; float64 with twelve.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> number_text(0.09003057330846786, FLOAT32), number_text(1803.6252505010002, FLOAT64)
    ('0.09003057', '1803.6252505')
    """
    return f"{value:.12g}" if fmt == FLOAT64 else shortest(value, fmt)
