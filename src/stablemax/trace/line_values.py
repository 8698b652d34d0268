"""The exact values of each operation of a run, by the line that called it."""

from __future__ import annotations

from dataclasses import dataclass

from stablemax.numerics.formats import Array


@dataclass(frozen=True, eq=False)
class LineValues:
    """What one operation on a line gives in exact arithmetic, rounded to float64."""

    #: As the user would name it.
    file: str
    line: int
    values: Array
