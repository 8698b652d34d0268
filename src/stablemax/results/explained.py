"""What `explain` returns for a word that is no variant: one record for each kind of word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stablemax.results.judged import Example
from stablemax.text.outcomes import Grade, Outcome


@dataclass(frozen=True)
class Computed:
    """A number of a figure, and the format whose number it is."""

    value: float
    #: Empty for a count, and for an exact value
    format: str
    #: What became of it; None where it is not held against an exact value
    outcome: Outcome | None = None


@dataclass(frozen=True)
class FigureRow:
    """A row of a figure."""

    #: What was computed, or in which format
    label: str
    #: One for each column
    cells: tuple[Computed, ...]


@dataclass(frozen=True)
class Figure:
    """A small table of numbers, computed when it is asked for."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[FigureRow, ...]


@dataclass(frozen=True)
class ExplainedTerm:
    """A term of the subject."""

    name: str
    #: Other names for it
    aliases: tuple[str, ...]
    #: One sentence that needs no other term
    definition: str
    #: More sentences
    text: tuple[str, ...]
    figures: tuple[Figure, ...]
    #: Papers and issues
    sources: tuple[str, ...]
    #: Commands that show more
    see: tuple[str, ...]


@dataclass(frozen=True)
class VariantInShort:
    """A variant in three lines."""

    variant: str
    formula: str
    #: Conditions by what becomes of it there, in float32; where it is right they are not named
    outcomes: Mapping[Outcome, tuple[str, ...]]
    #: Conditions under which its operation has no value
    without_value: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedTechnique:
    """The short name of variants of several operations."""

    name: str
    variants: tuple[VariantInShort, ...]
    see: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedOperation:
    """An operation."""

    name: str
    #: What it computes, in a sentence
    computes: str
    #: What an error is small against in stable code; in words
    scale: str
    #: Hazards on which it has no value
    without_value: tuple[str, ...]
    #: What every implementation obeys, in a sentence each
    laws: Mapping[str, str]
    #: Formulas by the ids of its variants
    variants: Mapping[str, str]
    #: The variant that is right to a few ulps
    best: str
    #: What other libraries call it
    libraries: Mapping[str, str]
    see: tuple[str, ...]


@dataclass(frozen=True)
class VariantGrade:
    """What became of a variant in float32."""

    variant: str
    operation: str
    grade: Grade
    worst: Outcome
    #: Why, in words; empty when all is well
    cause: str


@dataclass(frozen=True)
class ExplainedHazard:
    """A hazard."""

    name: str
    reason: str
    #: Where it was seen
    sources: tuple[str, ...]
    #: Operations that it concerns
    operations: tuple[str, ...]
    #: N and K of its logits
    shape: tuple[int, ...]
    #: The first logits of its first rows, in float32
    logits: tuple[tuple[float, ...], ...]
    #: All variants that were run on it
    variants: tuple[VariantGrade, ...]
    see: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedOutcome:
    """An outcome of a cell."""

    name: Outcome
    #: What a legend says of it
    sentence: str
    #: More sentences
    text: str
    #: True where the formula is to blame, not the input
    is_failure: bool
    #: A variant that promises this outcome, at work; empty where none does
    at_work: Mapping[str, Example]
    #: Variants that have it under a condition, by the condition
    seen: Mapping[str, tuple[str, ...]]
    see: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedGrade:
    """A grade of code."""

    name: Grade
    sentence: str
    #: More sentences
    text: str
    #: Errors at which half of the digits are gone, in ulps, by number format; empty for grades that rest on no digits
    limits_ulp: Mapping[str, float]
    #: The hazard on which variants were graded, and those that got the grade
    hazard: str
    variants: tuple[VariantGrade, ...]
    see: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedFormat:
    """A number format."""

    name: str
    aliases: tuple[str, ...]
    bits: int
    #: p, and 2**-p
    precision: int
    u: float
    #: Exponents of the smallest normal number and of the largest binade
    emin: int
    emax: int
    max: float
    smallest_normal: float
    smallest_subnormal: float
    #: What a number beyond the range becomes
    overflow: float
    #: How an ordinary kernel of the format adds
    accumulation: str
    #: True where NumPy and ml_dtypes have no dtype for it
    is_emulated: bool
    #: Largest error of stable code, in ulps
    limit_ulp: float
    figures: tuple[Figure, ...]
    see: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedLaw:
    """A law that implementations are held to."""

    name: str
    sentence: str
    #: Operations that obey it
    operations: tuple[str, ...]
    see: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedQuantity:
    """A quantity that is swept."""

    name: str
    #: The input that it makes
    meaning: str
    #: From where to where a sweep shows it, by number format
    ranges: Mapping[str, tuple[float, float]]
    #: Operations that can be swept over it
    operations: tuple[str, ...]
    see: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedPreset:
    """An input of a notebook."""

    name: str
    #: What it shows
    about: str
    dtype: str
    #: N and K of its logits, and their range
    shape: tuple[int, ...]
    smallest: float
    largest: float
    #: The first logits of its first rows
    logits: tuple[tuple[float, ...], ...]
    see: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedWord:
    """A word that means several things: a page for each."""

    word: str
    #: By the kind of each
    meanings: Mapping[str, object]


@dataclass(frozen=True)
class Words:
    """Words that `explain` knows, by kind: all of them, or those of one kind."""

    words: Mapping[str, tuple[str, ...]]
    #: What the words of each kind are
    about: Mapping[str, str]
    #: The commands that list the kinds of which there are many
    commands: Mapping[str, str]
