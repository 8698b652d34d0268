"""Every lesson: it fits its screens, says no number that is not computed, and gives a notebook that runs.

Here PyTorch counts as not installed; tests/libraries/test_lessons_torch.py has the steps that need it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import re
import string
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from stablemax.check.laws import LAW_NAMES
from stablemax.check.mistakes.recognise import known_mistakes
from stablemax.hazards.catalogue import HAZARDS
from stablemax.lessons import MODULES, get_lesson, live
from stablemax.lessons.lesson import Lesson, Step
from stablemax.lessons.programs import program_of
from stablemax.lessons.teaching import listed_lessons, teach
from stablemax.operations import NAMES, get_operation
from stablemax.render import figures
from stablemax.render.console import Surface
from stablemax.render.jupyter import written as as_notebook
from stablemax.render.lessons import LESSON, LESSONS, answered, asked, list_document, step_document
from stablemax.render.markdown import written as in_markdown
from stablemax.render.terminal import written
from stablemax.results import Grade, Outcome, TaughtLesson, TaughtStep

if TYPE_CHECKING:
    from collections.abc import Iterator

LESSON_NAMES = list(MODULES)
EACH = pytest.mark.parametrize("name", LESSON_NAMES)
SCREEN_ROWS, SCREEN_COLUMNS = 24, 80
# Names that hold a digit; no other digit stands in a sentence. [1] and the like are a place in a formula's name.
NAMES_WITH_DIGITS = r"\b(?:float16|bfloat16|float32|float64|log1p|expm1|softmax[12]|gradient[12]|base 2)\b"


@pytest.fixture(autouse=True, scope="module")
def without_torch() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "is_installed", lambda name: name == "numpy")
        yield


@functools.cache
def taught(name: str) -> TaughtLesson:
    return teach(get_lesson(name))


def numbers_of(step: TaughtStep) -> set[str]:
    """Every number of a step's table, as it is written."""
    return {figures.number(cell.value, step.table.format) for column in step.table.columns for cell in column.cells}


# --- the records ---------------------------------------------------------------------------------


def sentences_of(lesson: Lesson) -> Iterator[str]:
    yield from (lesson.title, lesson.aim, lesson.exercise.ask)
    yield from (advice.sentence for advice in lesson.exercise.advice)
    for step in lesson.steps:
        yield from (step.title, step.text, step.question, step.notice, step.peer_notice)


def digits_typed_into(sentence: str) -> list[str]:
    """Return digits that are neither of a field nor of a name."""
    literal = "".join(text for text, _, _, _ in string.Formatter().parse(sentence))
    return re.findall(r"\d+", re.sub(NAMES_WITH_DIGITS, "", literal))


def test_the_rule_about_digits_sees_a_typed_number_and_no_name() -> None:
    assert digits_typed_into("exp overflows above 88.72 in float32") == ["88", "72"]
    assert digits_typed_into("{naive[0]} of {naive.cells} in float32, by log1p, in base 2") == []


@EACH
def test_no_number_is_typed_into_a_sentence(name: str) -> None:
    for sentence in sentences_of(get_lesson(name)):
        assert digits_typed_into(sentence) == [], sentence
        assert sentence.isascii(), sentence


@EACH
def test_a_lesson_is_called_as_its_module_says_and_its_advice_leads_to_its_steps(name: str) -> None:
    lesson = get_lesson(name)
    assert lesson.name == name
    names = [step.name for step in lesson.steps]
    assert len(set(names)) == len(names)
    assert {advice.step for advice in lesson.exercise.advice} <= set(names)


@EACH
def test_an_advice_is_about_what_check_may_find(name: str) -> None:
    exercise = get_lesson(name).exercise
    operation = get_operation(exercise.operation)
    hazards = {hazard.name for hazard in HAZARDS.values() if operation in hazard.operations}
    known = {
        *(mistake.kind for mistake in known_mistakes(operation.name)),
        *hazards,
        *(outcome.value for outcome in Outcome),
        *(grade.value for grade in Grade),
        *LAW_NAMES,
    }
    assert {finding for advice in exercise.advice for finding in advice.findings} <= known
    assert set(exercise.leaves_out) <= hazards


def test_every_operation_that_people_write_has_an_exercise() -> None:
    asked_for = {get_lesson(name).exercise.operation for name in LESSON_NAMES}
    assert {"softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_grad", "softmax_vjp"} <= asked_for
    assert asked_for <= set(NAMES)


# --- how it looks --------------------------------------------------------------------------------


@EACH
def test_a_step_fits_a_screen_and_shows_every_number_whole(name: str) -> None:
    lesson = taught(name)
    for step in lesson.steps:
        text = written(step_document(lesson, step), Surface(SCREEN_COLUMNS))
        lines = text.splitlines()
        # With --pause a line that waits for a key stands in place of that which names the next step.
        assert len(lines) - bool(step.following) < SCREEN_ROWS, (step.name, text)
        assert max(map(len, lines)) <= SCREEN_COLUMNS, (step.name, text)
        # One table, not several.
        assert sum(line.startswith("──") for line in lines) == 1, (step.name, text)
        assert numbers_of(step) <= set(text.replace("\n", " ").split()), step.name
        assert "…" not in text


@EACH
def test_a_step_reads_as_well_in_ascii_and_in_markdown(name: str) -> None:
    lesson = taught(name)
    for step in lesson.steps:
        plain = written(step_document(lesson, step), Surface(SCREEN_COLUMNS, ascii_only=True))
        assert plain.isascii()
        assert "\\u" not in plain, "a sign without an ASCII spelling"
        assert numbers_of(step) <= set(plain.replace("|", " ").split())
        cells = in_markdown(step_document(lesson, step), Surface()).replace("|", " ").split()
        assert numbers_of(step) <= set(cells)


def test_the_answer_stands_behind_the_question() -> None:
    lesson = taught("overflow")
    for step in lesson.steps:
        before = written(asked(lesson, step), Surface(SCREEN_COLUMNS))
        after = written(answered(step), Surface(SCREEN_COLUMNS))
        assert "What do you expect" in before
        assert "exact" in after
        assert "──" not in before
        assert before + "\n" + after == written(step_document(lesson, step), Surface(SCREEN_COLUMNS))


def test_the_list_of_lessons_fits_a_screen() -> None:
    text = written(list_document(listed_lessons()), Surface(SCREEN_COLUMNS))
    assert len(text.splitlines()) < SCREEN_ROWS
    assert [line.split()[0] for line in text.splitlines()[3:-2]] == LESSON_NAMES
    assert LESSONS.kind == "lessons"


def test_ulp_is_explained_where_a_lesson_first_has_one_and_nowhere_else() -> None:
    for name in LESSON_NAMES:
        has_ulp = [
            any("ulp" in words for column in step.table.columns for words in column.summaries) or "ulp" in step.notice
            for step in taught(name).steps
        ]
        explained = [step.table.explains_ulp for step in taught(name).steps]
        first = has_ulp.index(True) if True in has_ulp else None
        assert [i for i, is_explained in enumerate(explained) if is_explained] == ([] if first is None else [first])


def test_what_needs_pytorch_says_what_to_install() -> None:
    for name in ("notebook-a", "notebook-c", "notebook-d", "notebook-e"):
        text = written(LESSON.document(taught(name)), Surface(SCREEN_COLUMNS))
        assert "not run: " in text
        # Whole, so that it can be copied.
        assert '  torch is not installed: pip install "stablemax[torch]"\n' in text


# --- the numbers ---------------------------------------------------------------------------------


def step_of(lesson: str, step: str) -> TaughtStep:
    return next(s for s in taught(lesson).steps if s.name == step)


def column(lesson: str, step: str, name: str) -> list[float]:
    return next([cell.value for cell in c.cells] for c in step_of(lesson, step).table.columns if c.name == name)


def as_printed(value: float, printed: str) -> bool:
    like = Decimal(printed)
    if not like.is_finite():
        return str(value) == printed
    return Decimal(value).quantize(like) == like


ZEROS = ("0.00000000",) * 9
PROBABILITIES = ("0.09003057", "0.24472847", "0.66524096")
LOG_PROBABILITIES = ("-2.40760596", "-1.40760596", "-0.40760596")
# What the notebooks print, by lesson, step and column: ../shared/NOTEBOOKS.md has them.
PRINTED = [
    ("notebook-b", "large", "softmax1", ("0.0", *["nan"] * 9)),
    ("notebook-b", "large", "softmax2", (*ZEROS, "1.0")),
    ("notebook-b", "large-losses", "loss1", ("inf",) * 3),
    ("notebook-b", "large-losses", "loss2", ("inf",) * 3),
    ("notebook-b", "large-losses", "loss3", ("1803.6252505", "1603.22244489", "1402.81963928")),
    ("notebook-b", "gradients", "gradient1", ("-0.02", *ZEROS[:3], *["nan"] * 6)),
    (
        "notebook-b", "gradients", "gradient2",
        ("-0.02", *ZEROS[:5], "1.58318655e-263", "1.71145201e-176", "1.85010919e-089", "0.02"),
    ),
    ("notebook-c", "softmax", "softmax", (*PROBABILITIES, *["nan"] * 3)),
    ("notebook-c", "softmax", "stable_softmax", PROBABILITIES * 2),
    ("notebook-c", "log-softmax", "log_softmax", LOG_PROBABILITIES * 2),
    ("notebook-c", "whole-array", "whole_array", (*ZEROS[:3], *["nan"] * 3)),
    ("notebook-d", "curve", "two_classes", ("1.3133", "1.3118", "1.3103", "1.3089")),
    ("notebook-e", "wrong", "bad_softmax", ("1",) * 3),
]  # fmt: skip


@pytest.mark.parametrize(("lesson", "step", "name", "printed"), PRINTED, ids=[" ".join(row[:3]) for row in PRINTED])
def test_a_lesson_gives_the_numbers_that_its_notebook_prints(
    lesson: str, step: str, name: str, printed: tuple[str, ...]
) -> None:
    values = column(lesson, step, name)
    assert len(values) == len(printed)
    assert all(map(as_printed, values, printed)), values


def summary(lesson: str, step: str, name: str) -> str:
    return next(c.summaries[0] for c in step_of(lesson, step).table.columns if c.name == name)


def test_the_totals_and_means_of_the_notebooks_are_theirs() -> None:
    assert summary("notebook-e", "bad", "bad_softmax") == "nan"
    assert summary("notebook-e", "wrong", "bad_softmax") == "20"
    # A total of 20 float32 numbers, each off by an ulp or two.
    assert abs(float(summary("notebook-e", "good", "good_softmax")) - 1) < 1e-6
    # By NumPy, whose exp differs from PyTorch's in the last digit.
    assert abs(float(summary("notebook-c", "loss", "by_hand")) - 1.4185397624969482) < 3e-7
    for version in ("loss_v1", "loss_v2"):
        (ours,), (right,) = column("notebook-a", "losses", version), column("notebook-a", "losses", "exact")
        assert abs(ours - right) <= 1e-5 * right
    assert len({summary("notebook-b", "gentle-losses", name)[:12] for name in ("loss1", "loss2", "loss3")}) == 1


def test_notebook_b_counts_what_it_counts() -> None:
    # Of 50 rows of 10, one cell is the 0 of the first row.
    assert "499 of 500 cells are NaN" in step_of("notebook-b", "large").notice
    assert "agree" in step_of("notebook-b", "moderate").title
    outcomes = {c.outcome for column in step_of("notebook-b", "moderate").table.columns for c in column.cells}
    assert outcomes <= {None, Outcome.OK}


def test_the_gradient_of_the_mean_of_a_softmax_is_zero_up_to_rounding() -> None:
    values = column("notebook-e", "mean", "backward")
    assert max(map(abs, values)) < 20 * 2**-24 / 20
    assert column("notebook-e", "mean", "centred") == [0.0] * 3


def test_the_threshold_of_overflow_lies_between_two_neighbours() -> None:
    exponentials = column("overflow", "threshold", "exp(x)")
    assert exponentials[0] < float("inf") == exponentials[2]
    logits = column("overflow", "threshold", "logit")
    assert logits[2] - logits[0] == 2.0**-17  # the spacing of float32 at 88.7


def test_a_cell_is_judged_as_the_program_judges_it_and_signed_so() -> None:
    naive = next(c for c in step_of("overflow", "range").table.columns if c.name == "naive")
    assert [cell.outcome for cell in naive.cells] == [Outcome.NAN] * 3
    shifted = next(c for c in step_of("gradient", "certain").table.columns if c.name == "p_minus_one")
    assert shifted.cells[0].grade is Grade.STABLE
    text = written(LESSON.document(taught("gradient")), Surface(SCREEN_COLUMNS))
    assert "✗ nan" in text
    assert "◐ 0" in text
    assert "x nan" in written(LESSON.document(taught("gradient")), Surface(SCREEN_COLUMNS, ascii_only=True))


# --- what the sentences claim --------------------------------------------------------------------

# The worst outcome of each column, by lesson and step; "small" for what is lost or off on its own scale alone.
CLAIMS = {
    "overflow": [
        ("definition", "naive ok"), ("range", "naive nan"), ("threshold", "naive nan"),
        ("narrower", "naive nan, shifted ok"),
    ],
    "underflow": [
        ("zero", "naive nan"), ("gradual", "naive overflow"), ("log-zero", "log_of_softmax overflow, shifted ok"),
        ("patches", "with_epsilon inaccurate, clipped inaccurate, shifted ok"),
    ],
    "shift": [("constant", "naive nan, shifted ok"), ("maximum", "mean_first nan, maximum_first ok")],
    "logsumexp": [
        ("definition", "naive ok"), ("trick", "naive overflow, shifted ok"),
        ("log-softmax", "lse-minus lost, shifted ok"),
        ("log1p", "shifted small, log1p ok"),
    ],
    "cross-entropy": [
        ("two-steps", "log_of_softmax overflow, shifted ok"), ("from-logits", "forward ok"),
        ("offset", "lse_minus lost, shifted ok"),
    ],
    "gradient": [
        ("formula", "by hand ok"), ("overflow", "unshifted nan, p_minus_one ok"),
        ("certain", "p_minus_one small, minus_others ok"),
    ],
    "jacobian": [("closed-form", "by_matrix ok, by_sums ok"), ("cancellation", "by_sums small, centred ok")],
    "cancellation": [
        ("log1p", "shifted small, log1p ok"), ("large", "lse_minus lost, shifted ok"),
        ("scale", "shifted small, with_log1p ok"),
    ],
    "half-precision": [
        ("digits", "naive ok, shifted ok"), ("range", "naive ok, shifted ok"), ("accumulation", "shifted inaccurate"),
        ("wide", "shifted ok, wide ok"),
    ],
    "masks": [
        ("minus-infinity", "naive ok, shifted ok"), ("leading", "one_pass nan, tiled ok"),
        ("nothing-left", "shifted undefined"), ("zero-times", "with_times nan, with_where ok"),
    ],
    "softmax-collapse": [
        ("absorption", "shifted small, with_log1p ok"), ("gradient", "p_minus_one small, minus_others ok"),
        ("cure", "p_minus_one small, minus_others ok"),
    ],
    "sigmoid": [
        ("definition", "naive small, exp-ratio nan"), ("by-sign", "by-sign ok"),
        ("log-of-one", "of_p nan, of_logit ok"),
    ],
    "online": [
        ("one-pass", "one_pass ok, online ok"), ("rescale", "not_rescaled inaccurate"),
        ("tiles", "in_tiles ok, tiled ok"),
    ],
    "notebook-b": [
        ("moderate", "softmax1 ok, softmax2 ok"), ("gentle-losses", "loss1 ok, loss2 ok, loss3 ok"),
        ("large-losses", "loss1 overflow, loss2 overflow, loss3 ok"),
    ],
    "notebook-e": [
        ("wrong", "bad_softmax inaccurate, good_softmax ok"),
        ("log-softmax", "log-of-softmax overflow, shifted ok"),
    ],
}  # fmt: skip


def outcomes_of(step: TaughtStep) -> str:
    """Write the worst outcome of each column."""
    words = []
    for shown in step.table.columns:
        judged = [cell for cell in shown.cells if cell.outcome is not None and cell.grade is not None]
        if judged:
            worst = max(judged, key=lambda cell: (cell.grade.severity, cell.outcome.severity))  # type: ignore[union-attr]
            words.append(f"{shown.name} {'small' if worst.grade is Grade.STABLE else worst.outcome}")
    return ", ".join(words)


@pytest.mark.parametrize("name", CLAIMS)
def test_what_comes_out_is_what_the_sentences_of_a_step_claim(name: str) -> None:
    assert [(step, outcomes_of(step_of(name, step))) for step, _ in CLAIMS[name]] == CLAIMS[name]


# --- notebooks -----------------------------------------------------------------------------------


@EACH
def test_a_notebook_is_one_by_the_rules_of_its_format(name: str) -> None:
    notebook = json.loads(as_notebook(LESSON.cells(taught(name))))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(set(names)) == len(names)
    for cell in notebook["cells"]:
        assert re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", cell["id"])
        assert all(isinstance(line, str) for line in cell["source"])
        own = {"code": {"execution_count", "outputs"}, "markdown": set[str]()}[cell["cell_type"]]
        assert set(cell) == {"id", "cell_type", "metadata", "source"} | own
        if own:
            assert (cell["execution_count"], cell["outputs"]) == (None, [])


def run_cells(lesson: TaughtLesson) -> str:
    """Run the code of a notebook, cell by cell, in one namespace; return what it prints."""
    notebook = json.loads(as_notebook(LESSON.cells(lesson)))
    namespace: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), namespace)
    return printed.getvalue()


@EACH
def test_a_notebook_runs_with_numpy_and_stablemax_alone(name: str) -> None:
    printed = run_cells(taught(name))
    assert "torch" not in printed
    assert printed.count("\n") >= 2 * len(taught(name).steps)


def test_a_notebook_computes_what_the_lesson_shows() -> None:
    printed = run_cells(taught("notebook-b"))
    assert "loss1: [inf inf inf" in printed
    assert "gradient1: [[-0.02" in printed
    printed = run_cells(taught("overflow"))
    assert "softmax/naive: [[nan nan nan]]" in printed


def test_a_program_is_that_of_its_step() -> None:
    step: Step = get_lesson("gradient").steps[1]
    changed = dataclasses.replace(step, code=())
    computed = live.compute(changed.live)
    assert "def by_differences(x, y, h=1e-05):" in program_of(changed, computed)
