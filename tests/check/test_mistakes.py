"""The kind of a wrong formula, and its line: what code with a known mistake gives is recognised, nothing else is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemax.check import CheckOptions, check
from stablemax.check.laws import easy_case
from stablemax.check.mistakes.example import RIGHT, example_of
from stablemax.check.mistakes.mistake import Mistake
from stablemax.check.mistakes.probes import probes
from stablemax.check.mistakes.recognise import (
    STRICT,
    Answer,
    Recognised,
    explanation,
    known_mistakes,
    recognise,
    words_of,
)
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import Target
from stablemax.check.trials import Trials, reduction_of
from stablemax.numerics.formats import FLOAT32, FLOAT64
from stablemax.operations import get_operation
from stablemax.results import CheckReport, Contract, Grade
from stablemax.text.vocabulary import Reduction

CASES = Path(__file__).parents[1] / "cases"
NUMPY, TORCH, GLOBAL = (CASES / name for name in ("mistaken.py", "mistaken_torch.py", "reads_global.py"))
NEEDS_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
KINDS = {
    "axis_0_softmax": "axis",
    "row_shifted_axis_0_softmax": "axis",
    "whole_array_softmax": "whole array",
    "base_2_softmax": "base 2",
    "plain_softmax": "missing exp",
    "twice_softmax": "softmax twice",
    "negated_softmax": "sign",
    "epsilon_softmax": "epsilon",
    "clipped_softmax": "clip",
    "padded_softmax": "padding",
    "unscaled_softmax": "missing rescale",
    "row_by_row_softmax": "mean for sum",
    "epsilon_log_softmax": "epsilon",
    "base_10_log_softmax": "base 10",
    "unshifted_logsumexp": "missing shift",
    "extra_logsumexp": "an extra 1",
    "signless_cross_entropy": "sign",
    "logless_cross_entropy": "missing log",
    "over_classes_cross_entropy": "factor N/K",
    "twice_cross_entropy": "softmax twice",
    "of_probabilities_cross_entropy": "probabilities for logits",
    "next_label_cross_entropy": "label",
    "mean_of_means_cross_entropy": "mean of means",
    "over_classes_cross_entropy_grad": "factor N/K",
    "negative_cross_entropy_grad": "sign",
    "without_one_hot_cross_entropy_grad": "missing one-hot",
    "added_cross_entropy_grad": "sign",
    "diagonal_softmax_backward": "diagonal",
    "output_softmax_backward": "probabilities for logits",
    "minus_sigmoid": "sign",
    "clipped_binary_cross_entropy": "clip",
}
TORCH_KINDS = {
    "dim_0_softmax": "axis",
    "twice_cross_entropy": "softmax twice",
    "logless_cross_entropy": "missing log",
    "epsilon_cross_entropy": "epsilon",
    "negative_log_softmax": "sign",
}


def trials_of(file: Path, name: str) -> Trials:
    trials = Trials(load_local(Target(f"{file}:{name}")), Contract(None, (), (), ("float64",)))
    trials.reduction = reduction_of(trials, easy_case(), FLOAT64)
    return trials


def marked_line(file: Path, name: str) -> int:
    """Return the line of a function that `# here` marks; 0 for none."""
    lines = file.read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(f"def {name}("))
    body = list(enumerate(lines))[first + 1 :]
    end = next((i for i, line in body if line.startswith("def ")), len(lines))
    return next((i + 1 for i, line in body if i < end and line.endswith("# here")), 0)


def recognised(file: Path, name: str) -> Recognised | None:
    return recognise(trials_of(file, name), FLOAT64, frozenset())


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_mistake_is_recognised_by_its_numbers_and_its_line_by_theirs(name: str) -> None:
    mistake = recognised(NUMPY, name)
    assert mistake is not None
    assert mistake.kind == KINDS[name]
    line = marked_line(NUMPY, name)
    if line:
        assert mistake.line == line, mistake
        assert mistake.file.endswith("mistaken.py")


@pytest.mark.slow
@NEEDS_TORCH
@pytest.mark.parametrize("name", TORCH_KINDS)
def test_of_pytorch_code_too(name: str) -> None:
    mistake = recognised(TORCH, name)
    assert mistake is not None
    assert (mistake.kind, mistake.line) == (TORCH_KINDS[name], marked_line(TORCH, name))


def test_every_function_of_the_files_is_tried() -> None:
    for file, kinds in ((NUMPY, KINDS), (TORCH, TORCH_KINDS)):
        names = re.findall(r"^def (\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(names) - {"softmax", "log_softmax"} == set(kinds)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_right_code_makes_no_mistake(name: str) -> None:
    assert recognised(NUMPY, name) is None


def test_a_mistake_that_is_not_known_is_not_recognised(tmp_path: Path) -> None:
    code = tmp_path / "odd.py"
    code.write_text(
        "import numpy as np\ndef softmax(x):\n    return np.exp(x) / (np.exp(x) ** 1.5).sum(-1, keepdims=True)\n"
    )
    assert recognised(code, "softmax") is None


def answers_of(mistake: Mistake, *, is_reduced: bool) -> list[Answer]:
    operation, answers = get_operation(mistake.operation), []
    with np.errstate(all="ignore"):
        for case in probes({"ignore-index", "weights", "soft-targets"}):
            example = example_of(case, operation, Reduction.MEAN, reduced=is_reduced)
            output = np.asarray(mistake.gives(example))
            if np.isfinite(output).all():
                answers.append(Answer(case, example, output))
    return answers


def one_of_each_kind() -> list[Any]:
    kinds: dict[tuple[str, str], Mistake] = {}
    for name in RIGHT:
        for mistake in known_mistakes(name):
            kinds.setdefault((name, mistake.kind), mistake)
    return [pytest.param(m, id=f"{m.operation}: {m.kind}") for m in kinds.values()]


@pytest.mark.slow
@pytest.mark.parametrize("mistake", one_of_each_kind())
def test_what_a_mistake_gives_is_explained_by_it_and_by_few_others(mistake: Mistake) -> None:
    explained = explanation(
        mistake.operation, answers_of(mistake, is_reduced=get_operation(mistake.operation).reduces), STRICT
    )
    assert explained is not None, "the inputs do not show it"
    mistakes, wrong = explained
    assert mistake in mistakes
    assert len(wrong) >= 2
    assert mistake.words in words_of(mistakes) or any(mistake.words.startswith(m.words) for m in mistakes)
    assert words_of(mistakes).count(" or ") <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_no_mistake_is_taken_for_another(name: str) -> None:
    # A fourth of them: each is tried on every input against all.
    for mistake in list(known_mistakes(name))[::4]:
        explained = explanation(name, answers_of(mistake, is_reduced=False), STRICT)
        # An epsilon far below all that the inputs hold shows nowhere.
        if explained is not None:
            assert mistake in explained[0]
            assert len({m.kind for m in explained[0]}) <= 2, words_of(explained[0])


def report_on(file: Path, name: str, *takes: str) -> CheckReport:
    options = CheckOptions((FLOAT32, FLOAT64), only=("gentle", "two-rows", "*ignored*"), takes=takes, search=False)
    return check(Target(f"{file}:{name}"), options, timeout_s=300.0)


@pytest.mark.slow
def test_a_check_says_the_mistake_and_blames_its_line_alone() -> None:
    report = report_on(NUMPY, "axis_0_softmax")
    assert (report.grade, report.mistake) == (Grade.WRONG, "axis")
    line = marked_line(NUMPY, "axis_0_softmax")
    assert report.blame_line == line
    assert f"Line {line}: its sum runs over axis 0, the rows, instead of the classes." in report.finding


@pytest.mark.slow
def test_a_missing_rescale_is_blamed_where_the_sum_goes_on() -> None:
    report = report_on(CASES / "c25_attention.py", "online_bug_logsumexp")
    assert (report.grade, report.mistake, report.blame_line) == (Grade.WRONG, "missing rescale", 13)


@pytest.mark.slow
def test_ignored_rows_in_the_divisor_make_a_formula_wrong() -> None:
    report = report_on(CASES / "c41_ignored_rows.py", "mean_over_all_cross_entropy", "ignore-index")
    assert (report.grade, report.mistake, report.blame_line) == (Grade.WRONG, "ignored rows", 12)
    assert "ignored rows are counted in the divisor of the mean" in report.finding


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [("bad_softmax", "global, axis"), ("shifted_softmax", "global")])
def test_code_that_reads_a_global_in_place_of_its_argument_is_wrong(name: str, kind: str) -> None:
    report = report_on(GLOBAL, name)
    assert (report.grade, report.mistake) == (Grade.WRONG, kind), report.finding
    assert report.blame_line == marked_line(GLOBAL, name)
    assert "it reads the global `logits`, not its argument alone" in report.finding


@pytest.mark.slow
def test_a_global_array_that_is_no_argument_is_no_mistake() -> None:
    report = report_on(GLOBAL, "softmax_with_table")
    assert (report.grade, report.mistake) == (Grade.WRONG, "axis")
