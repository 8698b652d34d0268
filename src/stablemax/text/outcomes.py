"""The one table of outcomes and of grades: what each is called, and how it looks."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stablemax.text.errors import StablemaxError, shown


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


class Grade(enum.StrEnum):
    """What code, or one output, is by the words of numerical analysis, from best to worst."""

    ACCURATE = "accurate"
    STABLE = "stable"
    UNSTABLE = "unstable"
    WRONG = "wrong"
    BROKEN = "broken"

    @property
    def severity(self) -> int:
        """Rank for choosing the worst: 0 for accurate."""
        return list(Grade).index(self)

    @property
    def is_sound(self) -> bool:
        """True where more than half of the digits are kept, on the scale of the result at least."""
        return self in (Grade.ACCURATE, Grade.STABLE)

    @staticmethod
    def worst_of(grades: Iterable[Grade]) -> Grade:
        """Return the worst of some grades; accurate without any."""
        return max(grades, key=lambda grade: grade.severity, default=Grade.ACCURATE)


def required_grade(name: str) -> Grade:
    """Return the least grade that passes by its name; raise `StablemaxError` unless it is stable or accurate."""
    sound = [grade.value for grade in Grade if grade.is_sound]
    if name not in sound:
        raise StablemaxError(f"--require: there is no grade {shown(name)!r} to ask for", " or ".join(sound))
    return Grade(name)


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
    #: More about it, for `explain`
    about: str


# The worse a failure, the stronger its colour: yellow, bold yellow, red, bold red.
OUTCOMES: Mapping[Outcome, OutcomeWords] = {
    Outcome.OK: OutcomeWords("ok", "ok", "✓", "+", "green", "right", "ok", "right",
        "The result has kept more than half of the digits that its format has. --max-ulp sets another limit.",
    ),
    Outcome.UNDEFINED: OutcomeWords(
        "undefined", "none", "○", "o", "dim", "the formula has no value there", "undefined", "undefined",
        "A row of which every class is masked has no softmax, nor has one with a NaN or an infinite logit in it. "
        "Whatever comes out there, NaN as a rule, counts neither for the formula nor against it.",
    ),
    Outcome.INPUT_OVERFLOW: OutcomeWords(
        "input overflow", "out", "–", "-", "magenta",
        "the format cannot hold the logits", "input-overflow", "beyond the range of the format",
        "A logit is larger than the largest number of the format, so that the input is lost before any formula runs. "
        "The cure is another format, or smaller logits.",
    ),
    Outcome.INACCURATE: OutcomeWords(
        "inaccurate", "off", "≈", "~", "yellow", "finite and wrong", "inaccurate", "finite and wrong",
        "The result has lost more than half of its digits, or all of them. Nothing warns of it: there is neither a "
        "NaN nor an infinity to be seen, and training goes on with it.",
    ),
    Outcome.LOST: OutcomeWords(
        "lost", "lost", "∅", "0", "bold yellow",
        "0 where the truth is not", "0 where it should not be", "0 and should not be",
        "The exact value is a number that the format has, and 0 came out. In a sum that may do no harm; its logarithm "
        "is minus infinity, and a gradient of 0 stops the learning.",
    ),
    Outcome.OVERFLOW: OutcomeWords(
        "overflow", "inf", "▲", "^", "red",
        "infinite where the truth is not", "infinite", "infinite and should not be",
        "The exact value is a number that the format has, and an infinity came out. One step later it is a NaN.",
    ),
    Outcome.NAN: OutcomeWords(
        "NaN", "NaN", "✗", "x", "bold red",
        "not a number where there is one", "NaN", "NaN where there is a value",
        "A value exists, and the formula has none. A NaN spreads: what is computed with it is NaN, too.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class GradeWords:
    """How a grade is shown, and what it means."""

    glyph: str
    ascii_glyph: str
    #: Colour and weight, of the 8 colours that every terminal has
    style: str
    #: What a legend says of it
    sentence: str
    #: More about it, for `explain`
    about: str


GRADES: Mapping[Grade, GradeWords] = {
    Grade.ACCURATE: GradeWords(
        "✓", "+", "bold green", "keeps more than half of the digits of every value",
        "Small values count as much as large ones: a tiny probability has its digits, too. `check --require accurate` "
        "asks for this grade.",
    ),
    Grade.STABLE: GradeWords(
        "◐", "/", "bold cyan",
        "keeps more than half of the digits on the scale of the result; values far below that scale may lose theirs",
        "The scale of a softmax is the largest probability of the row, that of a loss 1 or the loss itself, if that is "
        "larger. So a tiny loss may come out as 0, and one of ordinary size keeps its digits. The textbook's shifted "
        "formulas are stable, and a check passes on them.",
    ),
    Grade.UNSTABLE: GradeWords(
        "▲", "^", "bold yellow",
        "right in exact arithmetic; NaN, infinite or without half of its digits in this format",
        "The formula is right on paper, and rounding or the range of the format breaks it. Another formula of the same "
        "operation is the cure, or a wider format.",
    ),
    Grade.WRONG: GradeWords(
        "✗", "x", "bold red", "not the operation, in exact arithmetic either",
        "More digits do not help: the axis, a factor or a sign is another, or something was added or clipped. `check` "
        "names the line, and the mistake where it knows it.",
    ),
    Grade.BROKEN: GradeWords(
        "✗", "x", "bold red", "raises, hangs or answers with something else",
        "There are no numbers to judge. None of the formulas of this program is broken; somebody's code may be.",
    ),
}  # fmt: skip


def sign_words(sign: Outcome | Grade) -> OutcomeWords | GradeWords:
    """Return the glyph and the colour of what a piece of text is about."""
    return GRADES[sign] if isinstance(sign, Grade) else OUTCOMES[sign]
