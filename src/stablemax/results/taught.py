"""Lessons as they were computed, and an exercise as it was graded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stablemax.text.outcomes import Grade, Outcome

if TYPE_CHECKING:
    from stablemax.results.checked import CheckReport


@dataclass(frozen=True)
class TaughtCell:
    """A number in the table of a step."""

    value: float
    #: What became of it; None for a number that nothing is held against, such as a logit
    outcome: Outcome | None = None
    grade: Grade | None = None


@dataclass(frozen=True)
class TaughtColumn:
    """What one formula gives; or the logits, a value on the way, or what is right."""

    name: str
    cells: tuple[TaughtCell, ...]
    #: In words, one for each of the table's summaries; empty where there is none
    summaries: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaughtTable:
    """What a step computes: a line for each cell, a column for each formula, what is right beside them."""

    operation: str
    format: str
    #: What each line is about: a class, or a row of logits
    labels: tuple[str, ...]
    columns: tuple[TaughtColumn, ...]
    #: Names of the lines beneath: the largest error, the mean, the total
    summaries: tuple[str, ...] = ()
    #: What is not shown, and what was not run, in words
    notes: tuple[str, ...] = ()
    #: What is not installed, with what to type for it
    install: tuple[str, ...] = ()
    #: The table is the first of its lesson to give errors in ulps
    explains_ulp: bool = False


@dataclass(frozen=True)
class ShownCode:
    """A function's own source."""

    #: The variant's id, or the function's name
    name: str
    source: str
    #: The source computes with `xp`, which the first such one of a lesson explains
    explains_xp: bool = False


@dataclass(frozen=True)
class TaughtStep:
    """A step of a lesson, with what was computed."""

    name: str
    title: str
    text: str
    formula: tuple[str, ...]
    code: tuple[ShownCode, ...]
    question: str
    table: TaughtTable
    notice: str
    #: Title of the next step; empty for the last one
    following: str
    #: Python that computes the same
    program: str


@dataclass(frozen=True)
class TaughtLesson:
    """What `lesson NAME` returns."""

    name: str
    title: str
    aim: str
    steps: tuple[TaughtStep, ...]
    #: What its exercise asks for
    exercise: str
    #: The lesson to take next; empty for the last one
    following: str
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class LessonEntry:
    """A lesson in the list of lessons."""

    name: str
    title: str
    aim: str
    steps: int


@dataclass(frozen=True)
class LessonList:
    """What `lesson` returns, in the order in which the lessons are taken."""

    lessons: tuple[LessonEntry, ...]


@dataclass(frozen=True)
class GradedExercise:
    """What `lesson NAME --check` returns."""

    lesson: str
    #: What was asked for
    exercise: str
    passed: bool
    #: What is missing, in the lesson's words; empty where nothing is
    missing: str
    #: The step to read again, by its name, its number from 1 and its title; empty and 0 without one
    step: str
    step_number: int
    step_title: str
    report: CheckReport
