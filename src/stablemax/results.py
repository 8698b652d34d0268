"""What workflows return and renderers read: frozen, typed, and free of any printing."""

from __future__ import annotations

import enum


class Outcome(enum.StrEnum):
    """What became of an output cell, from harmless to worst."""

    OK = "ok"
    UNDEFINED = "undefined"
    INPUT_OVERFLOW = "input overflow"
    INACCURATE = "inaccurate"
    LOST = "lost"
    OVERFLOW = "overflow"
    NAN = "nan"

    @property
    def severity(self) -> int:
        """Rank for choosing the worst: 0 for ok."""
        return list(Outcome).index(self)

    @property
    def is_failure(self) -> bool:
        """True where the formula, not the input, is to blame."""
        return self not in (Outcome.OK, Outcome.UNDEFINED, Outcome.INPUT_OVERFLOW)
