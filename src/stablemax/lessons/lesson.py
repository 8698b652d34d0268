"""The record of a lesson: everything that tells one lesson from another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from stablemax.lessons.given import Given
from stablemax.lessons.summaries import Summary
from stablemax.text.outcomes import Grade
from stablemax.text.vocabulary import Accumulation


@dataclass(frozen=True)
class Code:
    """A short function of a lesson's own file.

    Parameters
    ----------
    function : callable
        ``f(x)``, ``f(x, y)`` or ``f(x, g)``, of NumPy arrays or of those of another library; its own source is shown.
    name : str
        What the table calls it; the function's name when empty.
    library : str
        The library of its arrays; empty for NumPy.
    """

    function: Callable[..., Any]
    name: str = ""
    library: str = ""

    @property
    def label(self) -> str:
        """What the table calls it."""
        return self.name or self.function.__name__


Run = str | Code
"""A variant or a built-in by its id, or a function of the lesson's file."""


@dataclass(frozen=True)
class Live:
    """What a step computes when it is shown.

    Parameters
    ----------
    operation : str
        What the runs compute, and are judged as.
    given : Given
        The input.
    runs : tuple of Run
        The columns of the table.
    format : str
        Number format.
    on_the_way : mapping of str to callable
        Columns of values that lead to the result, ``f(x, xp)``; nothing is held against them.
    rows, classes : int
        How many of them are shown.
    summaries : tuple of Summary
        Lines beneath the cells.
    hides_logits : bool
        The logits have no column, where there is no room for it.
    reduced : bool
        The mean of the losses is one number, and judged as one.
    accumulation : Accumulation, optional
        How sums are added; what an ordinary kernel of the format does when not given.
    """

    operation: str
    given: Given
    runs: tuple[Run, ...]
    format: str = "float32"
    on_the_way: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=lambda: MappingProxyType({}))
    rows: int = 4
    classes: int = 10
    summaries: tuple[Summary, ...] = ()
    hides_logits: bool = False
    reduced: bool = False
    accumulation: Accumulation | None = None


@dataclass(frozen=True)
class Step:
    """One screen of a lesson.

    Its sentences hold no number: `lessons.sentences` says which fields stand for what was computed.

    Parameters
    ----------
    name, title : str
        What advice refers to, and the heading.
    text : str
        Two sentences about what is going to be computed.
    question : str
        What the reader is to expect.
    live : Live
        What is computed.
    notice : str
        A sentence or two about the output.
    formula : tuple of str
        In lines; that of the first run when empty.
    code : tuple of Run
        Whose source is shown; that of the first run when empty.
    peer_notice : str
        A sentence about the columns of another library; left out where that is not installed.
    """

    name: str
    title: str
    text: str
    question: str
    live: Live
    notice: str
    formula: tuple[str, ...] = ()
    code: tuple[Run, ...] = ()
    peer_notice: str = ""


@dataclass(frozen=True)
class Advice:
    """What to say of a finding of `check`, and the step that explains it."""

    #: Kinds of mistakes, names of hazards, outcomes, laws or grades; the first finding that has an advice is told
    findings: tuple[str, ...]
    sentence: str
    #: Name of a step
    step: str


@dataclass(frozen=True)
class Exercise:
    """What a lesson lets its reader write; `check` grades it."""

    operation: str
    #: What to write, in a sentence or two
    ask: str
    advice: tuple[Advice, ...]
    #: The least grade that passes
    require: Grade = Grade.STABLE
    #: Hazards that the lesson does not speak of, by name
    leaves_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """A subject in a few steps, and an exercise."""

    name: str
    title: str
    #: What the reader learns, as "You learn ..." goes on
    aim: str
    steps: tuple[Step, ...]
    exercise: Exercise
