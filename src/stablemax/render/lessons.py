"""Lessons: their list, one lesson as a document and as the cells of a notebook, and a graded exercise."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.forms import NotebookCell, ResultKind, Rows
from stablemax.results import (
    GradedExercise,
    LessonList,
    TaughtCell,
    TaughtColumn,
    TaughtLesson,
    TaughtStep,
    TaughtTable,
)
from stablemax.text.outcomes import GRADES, OUTCOMES, Grade, Outcome
from stablemax.text.words import counted

_XP = "xp: NumPy in the table's format; its max and sum run along a row's classes."
_STABLE = f" {Grade.STABLE}: off by little on the scale of the results"


def _said(text: str, style: str = "") -> doc.Finding:
    return doc.Finding(text, style)


# --- one lesson --------------------------------------------------------------------------------------


def document(lesson: TaughtLesson) -> doc.Document:
    """Give the aim, the steps, and what comes next."""
    steps = [section for step in lesson.steps for section in step_document(lesson, step)]
    return [*opening(lesson), *steps, *closing(lesson)]


def opening(lesson: TaughtLesson) -> doc.Document:
    """Give the title and the aim."""
    return [[doc.Heading(f"Lesson {lesson.name}: {lesson.title}", 1), _said(f"You learn {lesson.aim}.")]]


def closing(lesson: TaughtLesson) -> doc.Document:
    """Give the exercise, and the lesson to take next."""
    check = f"stablemax lesson {lesson.name} --check my.py:function"
    following = [f"The next lesson: stablemax lesson {lesson.following}"] if lesson.following else []
    return [
        [
            doc.Heading("Exercise", 2),
            _said(lesson.exercise),
            doc.Items([f"To have it graded: {check}", *following]),
        ]
    ]


def step_document(lesson: TaughtLesson, step: TaughtStep) -> doc.Document:
    """Give a whole step."""
    return [*asked(lesson, step), *answered(step)]


def asked(lesson: TaughtLesson, step: TaughtStep, *, program: str = "") -> doc.Document:
    """Give what stands before the answer: sentences, formula, the question, and code that the program has not."""
    number = 1 + lesson.steps.index(step)
    title = doc.Heading(f"Step {number} of {len(lesson.steps)}: {step.title}", 2)
    formula = [doc.Items([f"formula: {line}" for line in step.formula])] if step.formula else []
    code = [doc.Code("", code.source) for code in step.code if code.source not in program]
    explained = [doc.aside(_XP)] if any(code.explains_xp for code in step.code) else []
    return [[title, _said(step.text), *formula, *code, *explained], [_said(step.question, "bold cyan")]]


def answered(step: TaughtStep, *, names_next: bool = True) -> doc.Document:
    """Give the answer: the table, what its signs mean, what to notice and the next step."""
    following = [doc.aside(f"Next: {step.following}")] if step.following and names_next else []
    return [[*_table(step.table), _said(step.notice), *following]]


def _table(table: TaughtTable) -> list[doc.Block]:
    rows = [[_cell(column.cells[i], table.format) for column in table.columns] for i in range(len(table.labels))]
    summaries = [i for i, _ in enumerate(table.summaries) if any(_summary(column, i) for column in table.columns)]
    rows += [[doc.Cell(doc.Span(_summary(column, i))) for column in table.columns] for i in summaries]
    matrix = doc.Matrix(
        table.format,
        [doc.Column(column.name) for column in table.columns],
        [doc.Span(text) for text in (*table.labels, *(table.summaries[i] for i in summaries))],
        rows,
    )
    entries = [*_legend(table), *map(doc.Span, table.notes)]
    if table.explains_ulp:
        step = f"ulp: the step from one {table.format} number to the next"
        entries.append(doc.Span(f"{step}, of which rounding alone costs up to half"))
    legend = [doc.Legend(entries)] if entries else []
    return [matrix, *legend, *([doc.Items(table.install)] if table.install else [])]


def _summary(column: TaughtColumn, index: int) -> str:
    return column.summaries[index] if column.summaries else ""


def _cell(cell: TaughtCell, fmt: str) -> doc.Cell:
    text = figures.number(cell.value, fmt)
    if cell.outcome is None:
        return doc.Cell(doc.Span(text))
    sign = Grade.STABLE if cell.grade is Grade.STABLE else cell.outcome
    return doc.Cell(doc.Span(f" {text}", sign=sign))


def _legend(table: TaughtTable) -> list[doc.Span]:
    cells = [(c.outcome, c.grade) for column in table.columns for c in column.cells if c.outcome is not None]
    right = [doc.Span(f" {OUTCOMES[Outcome.OK].sentence}", sign=Outcome.OK)]
    stable = [doc.Span(_STABLE, sign=Grade.STABLE)]
    return [
        *(right if any(outcome is Outcome.OK for outcome, _ in cells) else []),
        *(stable if any(grade is Grade.STABLE for _, grade in cells) else []),
        *doc.legend_of((outcome, grade) for outcome, grade in cells if grade is not Grade.STABLE),
    ]


def cells(lesson: TaughtLesson) -> Iterator[NotebookCell]:
    """Give the cells of a notebook: what is asked, the program, and what to notice, folded."""
    yield NotebookCell(opening(lesson))
    for step in lesson.steps:
        yield NotebookCell(asked(lesson, step, program=step.program))
        yield NotebookCell(program=step.program)
        yield NotebookCell(answered(step), title="The answer")
    yield NotebookCell(closing(lesson))


LESSON = ResultKind("a lesson", "lesson", document=document, cells=cells)


# --- the list ----------------------------------------------------------------------------------------


def list_document(listed: LessonList) -> doc.Document:
    """Give the lessons in the order in which they are taken."""
    found = f"{counted(len(listed.lessons), 'lesson')}, to be taken in this order. Each computes what it shows."
    table = doc.Table(["lesson", "you learn"], [[entry.name, entry.aim] for entry in listed.lessons])
    return [
        [doc.Finding(found), table],
        [doc.Items([f"begin with: stablemax lesson {listed.lessons[0].name} --pause"])],
    ]


def list_rows(listed: LessonList) -> Rows:
    """Give a row for each lesson."""
    headers = ("lesson", "title", "aim", "steps")
    return Rows(headers, [[entry.name, entry.title, entry.aim, str(entry.steps)] for entry in listed.lessons])


def list_records(listed: LessonList) -> list[dict[str, Any]]:
    """Give a record for each lesson."""
    return [{"kind": "listed_lesson", **dataclasses.asdict(entry)} for entry in listed.lessons]


LESSONS = ResultKind("a list of lessons", "lessons", document=list_document, records=list_records, rows=list_rows)


# --- an exercise -------------------------------------------------------------------------------------


def exercise_document(graded: GradedExercise) -> doc.Document:
    """Give the verdict, what is missing, and which step to read again."""
    report = graded.report
    style = GRADES[report.grade].style if graded.passed else "bold red"
    blocks: list[doc.Block] = [_said(f"Exercise of lesson {graded.lesson}: {graded.exercise}")]
    verdict: list[doc.Block] = [doc.Finding(report.finding, style, report.grade.value)]
    whole = doc.Items([f"stablemax check {report.target} --operation {report.operation}"])
    if graded.passed:
        return [blocks, verdict, [_said("Nothing is missing: the exercise is solved.", "bold")]]
    missing: list[doc.Block] = [doc.Heading("What is missing"), _said(graded.missing)]
    if graded.step_number:
        again = f"Read again: step {graded.step_number} of lesson {graded.lesson}, {graded.step_title}."
        missing.append(_said(again, "bold cyan"))
    return [blocks, verdict, missing, [doc.Heading("The whole report"), whole]]


EXERCISE = ResultKind("a graded exercise", "exercise", document=exercise_document)
