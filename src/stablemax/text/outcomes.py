"""The one table of outcomes: what each is called, and how it looks."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Outcome(enum.StrEnum):
    """What became of an output cell, from harmless to worst."""

    OK = "ok"
    UNDEFINED = "undefined"
    INPUT_OVERFLOW = "input-overflow"
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


@dataclass(frozen=True)
class OutcomeWords:
    """How an outcome is called and shown."""

    word: str
    #: The word where there is little room
    short: str
    glyph: str
    ascii_glyph: str
    #: Colour and weight, of the 8 colours that every terminal has
    style: str
    #: What a legend says of it
    sentence: str
    #: The end of "softmax/naive is ..."
    predicate: str
    #: The end of "3% of the cells are ..." and of "every cell is ..."
    of_cells: str


# The worse a failure, the stronger its colour: yellow, bold yellow, red, bold red.
OUTCOMES: Mapping[Outcome, OutcomeWords] = {
    Outcome.OK: OutcomeWords("ok", "ok", "✓", "+", "green", "right", "ok", "right"),
    Outcome.UNDEFINED: OutcomeWords(
        "undefined", "no value", "○", "o", "dim", "the formula has no value there", "undefined", "undefined"
    ),
    Outcome.INPUT_OVERFLOW: OutcomeWords(
        "input overflow", "beyond", "–", "-", "magenta",
        "the format cannot hold the logits", "input-overflow", "beyond the range of the format",
    ),
    Outcome.INACCURATE: OutcomeWords(
        "inaccurate", "wrong", "≈", "~", "yellow", "finite and wrong", "inaccurate", "finite and wrong"
    ),
    Outcome.LOST: OutcomeWords(
        "lost", "lost", "∅", "0", "bold yellow",
        "0 where the truth is not", "0 where it should not be", "0 and should not be",
    ),
    Outcome.OVERFLOW: OutcomeWords(
        "overflow", "overflow", "▲", "^", "red",
        "infinite where the truth is not", "infinite", "infinite and should not be",
    ),
    Outcome.NAN: OutcomeWords(
        "NaN", "NaN", "✗", "x", "bold red",
        "not a number where there is one", "NaN", "NaN where there is a value",
    ),
}  # fmt: skip
