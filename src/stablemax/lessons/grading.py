"""An exercise, graded: `check` judges the code, and the lesson says what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stablemax.check import CheckOptions, check
from stablemax.check.target.messages import Target
from stablemax.lessons.lesson import Advice, Lesson
from stablemax.operations import get_operation
from stablemax.results import CheckReport, Grade, GradedExercise, Outcome

COMMON = (
    Advice(("axis", "whole array"), "The sum has to run over the classes of one row: the last axis, kept as one.", ""),
    Advice(("softmax twice",), "The input are logits: softmax has to be applied once.", ""),
    Advice(
        ("epsilon", "clip"), "A number that is added, or a clip, changes the formula itself: work on the logits.", ""
    ),
    Advice((Grade.WRONG.value,), "Also in exact arithmetic it is another formula than the lesson's.", ""),
    Advice((Grade.BROKEN.value,), "It has to answer with numbers before they can be judged.", ""),
    Advice((Outcome.NAN.value,), "Find the first value on the way that is NaN or infinite.", ""),
    Advice((Outcome.OVERFLOW.value,), "Find the first value on the way that is infinite.", ""),
    Advice((Outcome.LOST.value,), "Find the first value on the way that is rounded to zero.", ""),
    Advice((Outcome.INACCURATE.value,), "Find the subtraction that cancels.", ""),
)
"""What is said where a lesson says nothing of its own."""


def grade(
    lesson: Lesson,
    target: str,
    *,
    command: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> GradedExercise:
    """Judge a function as the exercise of a lesson."""
    exercise, operation = lesson.exercise, get_operation(lesson.exercise.operation)
    every = (hazard.name for hazard in CheckOptions().hazards_of(operation))
    asked = tuple(name for name in every if name not in exercise.leaves_out) if exercise.leaves_out else ()
    options = CheckOptions(only=asked, require=exercise.require)
    report = check(Target(target, operation), options, command=command, progress=progress)
    advice = None if report.passed else advice_for(lesson, report)
    names = [step.name for step in lesson.steps]
    number = names.index(advice.step) + 1 if advice is not None and advice.step else 0
    return GradedExercise(
        lesson=lesson.name,
        exercise=exercise.ask,
        passed=report.passed,
        missing="" if advice is None else advice.sentence,
        step="" if advice is None else advice.step,
        step_number=number,
        step_title=lesson.steps[number - 1].title if number else "",
        report=report,
    )


def advice_for(lesson: Lesson, report: CheckReport) -> Advice:
    """Return what to say of the first finding that the lesson, or else every lesson, has an advice for."""
    findings = list(findings_of(report))
    for known in (lesson.exercise.advice, COMMON):
        for finding in findings:
            for advice in known:
                if finding in advice.findings:
                    return advice
    return Advice((), report.finding, "")


def findings_of(report: CheckReport) -> Iterator[str]:
    """Name what a check found, the most telling first: a mistake, then hazards, their outcomes, laws, the grade."""
    if report.mistake:
        yield report.mistake
    if report.grade in (Grade.WRONG, Grade.BROKEN):
        # What its failures look like says nothing about another formula.
        yield report.grade.value
        return
    failed = [hazard for hazard in report.hazards if hazard.failed or not report.contract.is_met_by(_of(hazard.grade))]
    yield from (hazard.hazard for hazard in failed)
    outcomes = {hazard.worst for hazard in failed if hazard.worst is not None}
    yield from (outcome.value for outcome in sorted(outcomes, key=lambda o: -o.severity))
    yield from (law.law for law in report.laws if law.failed)
    yield report.grade.value


def _of(grade: Grade | None) -> Grade:
    return Grade.ACCURATE if grade is None else grade
