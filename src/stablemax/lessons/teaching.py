"""A lesson, computed: its record in, a result out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from stablemax.lessons import MODULES, all_lessons
from stablemax.lessons.lesson import Code, Lesson, Run, Step
from stablemax.lessons.live import Computed, Settings, compute
from stablemax.lessons.programs import imports_of, program_of
from stablemax.lessons.sentences import fields_of, filled
from stablemax.lessons.shown_source import shown_source
from stablemax.operations import is_built_in
from stablemax.operations.variant import get
from stablemax.results import LessonEntry, LessonList, ShownCode, TaughtLesson, TaughtStep


def listed_lessons() -> LessonList:
    """List the lessons in the order in which they are taken."""
    return LessonList(
        tuple(LessonEntry(lesson.name, lesson.title, lesson.aim, len(lesson.steps)) for lesson in all_lessons())
    )


def teach(lesson: Lesson, command: tuple[str, ...] = ()) -> TaughtLesson:
    """Compute a lesson."""
    names = list(MODULES)
    later = names[names.index(lesson.name) + 1 :] if lesson.name in names else []
    steps = tuple(taught_steps(lesson))
    first = replace(steps[0], program=f"{imports_of(lesson)}\n\n{steps[0].program}")
    return TaughtLesson(
        name=lesson.name,
        title=lesson.title,
        aim=lesson.aim,
        steps=(first, *steps[1:]),
        exercise=lesson.exercise.ask,
        following=later[0] if later else "",
        command=command,
    )


def taught_steps(lesson: Lesson) -> Iterator[TaughtStep]:
    """Compute the steps of a lesson, each when it is asked for."""
    knows_ulp = knows_xp = False
    settings = Settings()
    titles = [step.title for step in lesson.steps]
    for step, following in zip(lesson.steps, [*titles[1:], ""], strict=True):
        has_ulp = any(summary.in_ulp for summary in step.live.summaries) or ".error}" in step.notice
        computed = compute(step.live, settings, explains_ulp=has_ulp and not knows_ulp)
        taught = _taught(step, computed, following, explains_xp=not knows_xp)
        knows_ulp = knows_ulp or taught.table.explains_ulp
        knows_xp = knows_xp or any(code.explains_xp for code in taught.code)
        yield taught


def _taught(step: Step, computed: Computed, following: str, *, explains_xp: bool) -> TaughtStep:
    fields = fields_of(computed)
    peers = [step.peer_notice] if step.peer_notice and not computed.missing else []
    return TaughtStep(
        name=step.name,
        title=step.title,
        text=filled(step.text, fields),
        formula=step.formula or _formulas(step),
        code=tuple(_shown(step, explains_xp=explains_xp)),
        question=filled(step.question, fields),
        table=computed.table,
        notice=" ".join(filled(template, fields) for template in (step.notice, *peers)),
        following=following,
        program=program_of(step, computed),
    )


def _formulas(step: Step) -> tuple[str, ...]:
    """Return the formula of the first variant that is run."""
    ids = [run for run in step.live.runs if isinstance(run, str) and not is_built_in(run)]
    return (get(ids[0]).formula,) if ids else ()


def _shown(step: Step, *, explains_xp: bool) -> Iterator[ShownCode]:
    for run in step.code or step.live.runs[:1]:
        is_variant = not isinstance(run, Code)
        yield ShownCode(_name(run), shown_source(_function(run)), explains_xp and is_variant)
        explains_xp = explains_xp and not is_variant


def _name(run: Run) -> str:
    return run.function.__name__ if isinstance(run, Code) else run


def _function(run: Run) -> Callable[..., Any]:
    return run.function if isinstance(run, Code) else get(run).function
