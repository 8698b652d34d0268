"""Code to write instead: with the user's name and parameters, run on the very input that failed, and held to it."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemax.check import CheckOptions, check
from stablemax.check.laws import easy_case
from stablemax.check.remedies import finding
from stablemax.check.remedies.finding import Instead, find_for_masked_rows, find_instead
from stablemax.check.remedies.jax_remedies import jax_remedies
from stablemax.check.remedies.numpy_remedies import numpy_remedies
from stablemax.check.remedies.remedy import Remedy
from stablemax.check.remedies.torch_remedies import torch_remedies
from stablemax.check.remedies.writing import Form, heading_of, wider_formats, written
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import FurtherArgument, Target, TargetInfo
from stablemax.check.trials import Trials
from stablemax.hazards.cases import HazardCase
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.operations import get_operation
from stablemax.results import CheckReport, Contract, Grade
from stablemax.text.vocabulary import IGNORED, Reduction

NEEDS = {
    name: pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"needs {name}")
    for name in ("torch", "jax")
}
REMEDIES = {"numpy": numpy_remedies, "torch": torch_remedies, "jax": jax_remedies}
FAILING = Path(__file__).parents[1] / "cases" / "failing.py"
FAILING_TORCH = Path(__file__).parents[1] / "cases" / "failing_torch.py"
INF = float("inf")


def of_every_library() -> list[Any]:
    return [
        pytest.param(remedy, marks=NEEDS.get(backend, ()), id=f"{backend} {remedy.operation}: {remedy.why[:40]}")
        for backend, remedies in REMEDIES.items()
        for remedy in remedies()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("remedy", of_every_library())
@pytest.mark.parametrize("is_reduced", [True, False])
def test_every_remedy_is_right_on_easy_logits_under_the_name_and_parameters_of_the_code(
    remedy: Remedy, is_reduced: bool
) -> None:
    operation = get_operation(remedy.operation)
    signature = "scores, other, axis=-1" if operation.second.value != "none" else "scores, axis=-1"
    info = TargetInfo("mine.py:mine", operation, remedy.backend, expression="Mine().mine", signature=signature)
    easy = easy_case()
    soft = easy.cell_targets / easy.cell_targets.sum(axis=-1, keepdims=True)  # type: ignore[union-attr]
    ignored = np.where(np.arange(len(easy.labels)) == 1, IGNORED, easy.labels)
    trials = []
    for labels in (easy.labels, soft, ignored):
        form = Form(Reduction.MEAN, is_reduced and operation.reduces, FLOAT32, is_soft=labels.ndim == 2)
        (wide, *_) = wider_formats(FLOAT32, remedy.backend) if remedy.is_wide else ("",)
        code = written(remedy, heading_of(info, operation), form, wide)
        assert f"def mine({signature}):" in code
        names: dict[str, Any] = {}
        exec(compile(code, "instead.py", "exec"), names)
        target = load_local(Target("mine.py:mine", operation, remedy.backend), names["mine"])
        trials.append(Trials(target, Contract(None, (), (), ())).trial(replace(easy, labels=labels), FLOAT32))
    # It takes class numbers, or rows of targets, or takes ignored rows out.
    assert not all(trial.failed for trial in trials), (code, [trial.trouble for trial in trials])
    assert operation.needs_targets or not any(trial.failed for trial in trials)


def instead_of(file: Path, name: str, case: HazardCase, fmt: Format) -> Instead | None:
    contract = Contract(None, (), (), (), require=Grade.ACCURATE)
    trials = Trials(load_local(Target(f"{file}:{name}")), contract)
    failing = trials.trial(case, fmt)
    assert failing.failed, "the code holds"
    instead = find_instead(trials, failing)
    if instead is not None:
        names: dict[str, Any] = {}
        exec(compile(instead.code, "instead.py", "exec"), names)
        held = Trials(load_local(Target(f"{file}:{name}"), names[name]), contract)
        assert not held.trial(case, fmt).failed
        source = file.read_text(encoding="utf-8")
        assert instead.code.partition("def ")[2].partition("\n")[2] not in source, "the formula that failed"
    return instead


def case_of(logits: Any, labels: Any = None, **more: Any) -> HazardCase:
    x = np.array(logits, dtype=np.float64)
    y = np.zeros(len(x), dtype=np.int64) if labels is None else np.array(labels)
    return HazardCase(x, y, np.ones(x.shape), **more)


CASES = [
    ("overflow_softmax", case_of([[1000.0, 1.0]]), FLOAT32, "- x.max(axis=-1, keepdims=True)"),
    ("underflow_cross_entropy", case_of([[0.0, -200.0]], [1]), FLOAT32, "logp"),
    ("cancelling_cross_entropy", case_of([[1e8, 1e8, 1e8]]), FLOAT32, "z = logits - logits.max"),
    ("sum_softmax", case_of(np.zeros((1, 4096))), FLOAT16, "e.sum"),
    ("eps_cross_entropy", case_of([[0.0, -50.0]], [1]), FLOAT64, "logp"),
    ("running_softmax", case_of([[-INF, 1.0]]), FLOAT32, "x.max"),
    ("soft_cross_entropy", case_of([[0.0, -INF]], [[1.0, 0.0]]), FLOAT32, "np.where(targets == 0, 0,"),
    ("onehot_cross_entropy_grad", case_of([[20.0, 0.0]]), FLOAT32, "e[rows, labels] = -e.sum(axis=-1)"),
    ("mean16_cross_entropy", case_of(np.tile([0.0, 20.0], (4096, 1)), reduced=True), FLOAT16, ".mean()"),
    ("lost_cross_entropy", case_of([[40.0, 0.0]]), FLOAT32, "np.log1p"),
    ("masked_cross_entropy", case_of([[2.0, 1.0], [-INF, -INF]], [0, IGNORED]), FLOAT32, "keep = labels != -100"),
    ("naive_binary_cross_entropy", case_of([[-200.0]], cell_targets=np.array([[1.0]])), FLOAT32, "np.log1p"),
    ("naive_entropy", case_of([[0.0, -200.0]]), FLOAT32, "np.where(p == 0, 0,"),
]


@pytest.mark.parametrize(("name", "case", "fmt", "line"), CASES, ids=[c[0] for c in CASES])
def test_code_that_fails_gets_code_that_holds_on_the_same_input(
    name: str, case: HazardCase, fmt: Format, line: str
) -> None:
    instead = instead_of(FAILING, name, case, fmt)
    assert instead is not None
    assert line in instead.code
    assert instead.why


@NEEDS["torch"]
@pytest.mark.parametrize(
    ("name", "case", "fmt", "line"),
    [
        ("naive_softmax", case_of([[1000.0, 1.0]]), FLOAT32, "torch.softmax(x, dim=-1)"),
        ("naive_softmax", case_of(np.zeros((1, 4096))), BFLOAT16, "torch.softmax(x, dim=-1)"),
        ("log_of_softmax_cross_entropy", case_of([[0.0, -200.0]], [1]), FLOAT32, "F.cross_entropy(logits, target"),
        ("onehot_cross_entropy_grad", case_of([[20.0, 0.0]]), FLOAT32, "-others.sum(dim=-1, keepdim=True)"),
    ],
)
def test_of_pytorch_code_too(name: str, case: HazardCase, fmt: Format, line: str) -> None:
    instead = instead_of(FAILING_TORCH, name, case, fmt)
    assert instead is not None
    assert line in instead.code


@pytest.mark.slow
def test_where_nothing_is_known_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(finding._REMEDIES, "numpy", lambda: iter(()))
    assert instead_of(FAILING, "overflow_softmax", case_of([[1000.0, 1.0]]), FLOAT32) is None
    report = report_on("overflow_softmax", "large-logits")
    assert (report.instead, report.instead_why) == ("", "")
    assert any("no code is known here that holds" in note for note in report.notes)


def report_on(name: str, *only: str) -> CheckReport:
    return check(Target(f"{FAILING}:{name}"), CheckOptions((FLOAT16, FLOAT32), only=only), timeout_s=300.0)


@pytest.mark.slow
def test_a_check_says_what_to_write_and_on_what_it_was_run() -> None:
    report = report_on("overflow_softmax", "large-logits", "far-below-zero")
    assert "e = np.exp(x - x.max(axis=-1, keepdims=True))" in report.instead
    assert "Run on the input that failed, in float32, it holds, and on 4 of 4 other inputs" in report.instead_why
    assert "Use softmax/" not in report.finding


OF_A_CLASS = """
import torch

class CrossEntropy(torch.nn.Module):
    def __init__(self, temperature):
        super().__init__()
        self.temperature = temperature

    def forward(self, logits, labels):
        e = torch.exp(logits / self.temperature)
        p = e / e.sum(-1, keepdim=True)
        return -torch.log(p[torch.arange(len(labels)), labels]).mean()
"""


@pytest.mark.slow
@NEEDS["torch"]
def test_a_loss_that_is_no_name_gets_code_for_its_gradient_too(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(OF_A_CLASS, encoding="utf-8")
    further = (FurtherArgument("temperature", 1.0, "1.0"),)
    order = Target(f"{tmp_path / 'model.py'}:CrossEntropy", backward=True, further=further)
    report = check(order, CheckOptions((FLOAT32,), only=("large-logits", "gentle"), search=False), timeout_s=300.0)
    assert (report.grade, report.operation) == (Grade.UNSTABLE, "cross_entropy_grad")
    assert "F.cross_entropy(x, y, reduction='mean')" in report.instead


@pytest.mark.slow
def test_the_headline_is_about_the_worst_failure() -> None:
    report = report_on("overflow_softmax", "large-logits", "far-below-zero")
    assert "The worst is NaN, on large-logits in float32. Line 13: exp overflows" in report.finding


@pytest.mark.slow
def test_a_sum_that_overflows_names_the_limit_and_the_partial_sum() -> None:
    report = report_on("mean16_cross_entropy", "many-uniform-rows")
    assert "The worst is overflow, on many-uniform-rows in float16." in report.finding
    assert (
        "its first 3,276 of 4,096 terms add up to 65520, above 65504, the largest number of float16" in report.finding
    )
    assert "logit" not in report.blame
    assert "losses.mean()" in report.instead


# --- rows of nothing but -inf ---------------------------------------------------------------------

MASKED = case_of([[1.0, 2.0, 3.0], [-INF, -INF, -INF]])


def of_masked_rows(operation: str, backend: str = "numpy", of_ours: str = "") -> tuple[str, str] | None:
    """What is found for code that gives NaN in a row of -inf."""
    order = Target(of_ours or "mine.py:mine", None if of_ours else get_operation(operation), backend)
    trials = Trials(load_local(order, None if of_ours else lambda x: x - x), Contract(None, (), (), ()))
    return find_for_masked_rows(trials, trials.call_on(MASKED, FLOAT32), trials.trial(easy_case(), FLOAT32))


@pytest.mark.parametrize("backend", ["numpy", pytest.param("torch", marks=NEEDS["torch"])])
@pytest.mark.parametrize(("operation", "limit"), [("softmax", 0.0), ("log_softmax", -INF), ("logsumexp", -INF)])
def test_code_for_rows_of_nothing_but_minus_infinity_gives_their_limit_and_other_rows_what_is_right(
    operation: str, limit: float, backend: str
) -> None:
    found = of_masked_rows(operation, backend)
    assert found is not None
    names: dict[str, Any] = {}
    exec(compile(found[0], "instead.py", "exec"), names)
    target = load_local(Target("mine.py:mine", get_operation(operation), backend), names["function"])
    trials = Trials(target, Contract(None, (), (), ()))
    assert not trials.trial(case_of([[1.0, 2.0, 3.0]]), FLOAT32).failed
    (result,) = trials.results([trials.call_on(MASKED, FLOAT32)])
    assert result.output is not None
    np.testing.assert_array_equal(result.output[1], limit)
    assert "nothing but -inf" in found[1]


SOUND = """\
e = np.exp({x} - np.maximum({x}.max(-1, keepdims=True), -1e30))
return e / np.maximum(e.sum(-1, keepdims=True), 1)"""
NOT_OF_MASKED_ROWS = {
    "gives NaN there": "e = np.exp({x} - {x}.max(-1, keepdims=True))\nreturn e / e.sum(-1, keepdims=True)",
    "is wrong elsewhere": "return np.zeros_like({x})",
    "raises": "raise ValueError",
}


@pytest.mark.parametrize("body", NOT_OF_MASKED_ROWS.values(), ids=NOT_OF_MASKED_ROWS)
def test_code_that_gives_nan_or_is_wrong_on_other_rows_is_not_offered_for_rows_of_minus_infinity(
    body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedies = [Remedy("softmax", "numpy", "because", body, is_of_masked_rows=True)]
    monkeypatch.setitem(finding._REMEDIES, "numpy", lambda: iter(remedies))
    assert of_masked_rows("softmax") is None
    remedies.append(Remedy("softmax", "numpy", "it holds", SOUND))
    assert of_masked_rows("softmax") is None, "it is not one for such rows"
    remedies.append(Remedy("softmax", "numpy", "it holds", SOUND, is_of_masked_rows=True))
    found = of_masked_rows("softmax")
    assert found is not None
    assert found[1] == "it holds"


def test_neither_our_own_variants_nor_an_operation_without_such_code_get_any() -> None:
    assert of_masked_rows("softmax", of_ours="softmax/naive") is None
    assert of_masked_rows("entropy") is None
