"""The smallest failing input as code to paste, and as a pytest test: both are run, in processes of their own."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stablemax.check import CheckOptions, check, check_function
from stablemax.check.target.messages import Target
from stablemax.numerics.formats import get_format
from stablemax.results import CheckReport, Grade

from ..records import CROSS_ENTROPY, LOG_SOFTMAX, SOFTMAX

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation

ROOT = Path(__file__).parents[2]
SAMPLES = "samples"
WAYS = "tests/check/callable_in_many_ways.py"


@dataclass(frozen=True)
class FailingTarget:
    """A target that fails, and how it is asked for."""

    name: str
    operation: Operation | None = None
    format: str = "float32"
    only: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    max_ulp: float | None = None
    allow: tuple[str, ...] = ()
    search: bool = True
    backward: bool = False
    needs: str = "numpy"
    require: Grade = Grade.ACCURATE


TARGETS = (
    FailingTarget(f"{SAMPLES}/numpy_softmax.py:unstable"),
    FailingTarget(f"{SAMPLES}/numpy_softmax.py:unstable", require=Grade.STABLE),
    FailingTarget(f"{SAMPLES}/numpy_softmax.py:wrong"),
    FailingTarget(f"{SAMPLES}/numpy_softmax.py:unstable", format="bfloat16"),
    FailingTarget(f"{SAMPLES}/numpy_loss.py:unstable_loss"),
    FailingTarget(f"{SAMPLES}/numpy_loss.py:wrong_loss", format="float64"),
    FailingTarget(f"{SAMPLES}/numpy_loss.py:loss_backward"),
    FailingTarget(f"{WAYS}:NaiveSoftmax", SOFTMAX),
    FailingTarget(f"{WAYS}:naive_of_one_row", SOFTMAX),
    FailingTarget(f"{WAYS}:with_axis", SOFTMAX, max_ulp=0.0),
    FailingTarget(f"{WAYS}:with_axis", SOFTMAX, max_ulp=0.5, allow=("lost", "dtype-kept")),
    FailingTarget(f"{WAYS}:weightless_loss", CROSS_ENTROPY, only=("weights-*",), search=False),
    FailingTarget(f"{WAYS}:softmax", LOG_SOFTMAX, only=("many-equal-classes",), search=False),
    FailingTarget("numpy:exp", SOFTMAX),
    FailingTarget("softmax/naive"),
    FailingTarget("cross_entropy/epsilon", format="float16"),
    FailingTarget("softmax_vjp/closed-form"),
    FailingTarget("torch.nn:CrossEntropyLoss", needs="torch"),
    FailingTarget("torch:logsumexp", needs="torch", format="bfloat16"),
    FailingTarget("torch/log_softmax", needs="torch"),
    FailingTarget("torch.nn.functional:cross_entropy", needs="torch", backward=True),
    FailingTarget("torch:softmax", needs="torch", backward=True),
    FailingTarget("jax.nn:log_softmax", needs="jax", only=("nearly-certain",), search=False),
)  # fmt: skip
INSTALLED = [t for t in TARGETS if find_spec(t.needs)]


def report_on(target: FailingTarget) -> CheckReport:
    options = CheckOptions(
        (get_format(target.format),),
        max_ulp=target.max_ulp,
        allow=target.allow,
        only=target.only,
        takes=target.takes,
        search=target.search,
        require=target.require,
    )
    return check_function(None, Target(target.name, target.operation, backward=target.backward), options)


@pytest.fixture(scope="module")
def reports() -> list[CheckReport]:
    before, path = Path.cwd(), list(sys.path)
    os.chdir(ROOT)
    try:
        return [report_on(t) for t in INSTALLED]
    finally:
        os.chdir(before)
        sys.path[:] = path


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


RUN_ALL = """
import contextlib, io, json, sys, traceback, warnings
warnings.simplefilter("ignore")
printed = []
for code in json.load(open(sys.argv[1])):
    out, path = io.StringIO(), list(sys.path)
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(code, "pasted.py", "exec"), {"__name__": "__main__"})
        printed.append(out.getvalue())
    except Exception:
        printed.append(traceback.format_exc())
    sys.path[:] = path
print(json.dumps(printed))
"""


def numbers(text: str) -> list[float]:
    return [float(t) for t in re.findall(r"(?<![\w.])-?(?:nan|inf|\d+\.?\d*(?:e[-+]?\d+)?)(?![\w])", text)]


@pytest.mark.slow
def test_the_pasted_code_prints_what_it_says_that_it_prints(reports: list[CheckReport], tmp_path: Path) -> None:
    codes = [r.counterexample.code for r in reports if r.counterexample is not None]
    assert len(codes) == len(INSTALLED)
    assert all(codes)
    (tmp_path / "codes.json").write_text(json.dumps(codes))
    done = python("-c", RUN_ALL, str(tmp_path / "codes.json"))
    assert done.returncode == 0, done.stderr
    for target, code, printed in zip(INSTALLED, codes, json.loads(done.stdout), strict=True):
        assert "Traceback" not in printed, f"{target}\n{code}\n{printed}"
        said = code.rpartition("# gives ")[2].rpartition("; ")[0]
        if said.endswith("..."):
            continue
        for came, told in zip(numbers(printed.partition("dtype")[0]), numbers(said), strict=True):
            assert came == told or abs(came - told) <= 1e-3 * abs(told) or math.isnan(came), (
                f"{target}\n{code}\n{printed}"
            )


@pytest.mark.slow
def test_each_generated_test_fails_by_its_assertion_and_nothing_else(
    reports: list[CheckReport], tmp_path: Path
) -> None:
    for i, report in enumerate(reports):
        assert report.counterexample is not None
        (tmp_path / f"test_generated_{i}.py").write_text(report.counterexample.test)
    done = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-W", "ignore", "--tb=line",
        str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"^{len(INSTALLED)} failed", done.stdout, flags=re.MULTILINE), done.stdout
    causes = [line for line in done.stdout.splitlines() if line.startswith("E ")]
    assert len(causes) == len(INSTALLED)
    assert all("AssertionError: the output is not right" in line for line in causes), done.stdout


@pytest.mark.slow
def test_a_generated_test_passes_once_the_code_is_mended(tmp_path: Path) -> None:
    model = tmp_path / "model.py"
    model.write_text("import numpy as np\n\ndef softmax(x):\n    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)\n")
    report = check(Target(f"{model}:softmax"), CheckOptions((get_format("float32"),), only=("large-logits",)))
    assert report.grade is Grade.UNSTABLE
    assert report.counterexample is not None
    test = tmp_path / "test_model.py"
    test.write_text(report.counterexample.test)
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-W", "ignore", str(test))
    assert python(*command).returncode == 1
    model.write_text(
        "import numpy as np\n\ndef softmax(x):\n    e = np.exp(x - x.max(-1, keepdims=True))\n"
        "    return e / e.sum(-1, keepdims=True)\n"
    )
    done = python(*command)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_generated_code_is_formatted_as_people_write_it(reports: list[CheckReport]) -> None:
    for report in reports:
        assert report.counterexample is not None
        for code in (report.counterexample.code, report.counterexample.test):
            compile(code, "generated.py", "exec")
            assert code.endswith("\n")
            assert not code.endswith("\n\n")
            assert "\n\n\n\n" not in code
            assert not [line for line in code.splitlines() if line != line.rstrip()]
        assert re.search(r"^def test_[a-z0-9_]+\(\) -> None:$", report.counterexample.test, flags=re.MULTILINE)


@pytest.mark.slow
def test_the_contract_goes_into_the_test_where_it_is_not_the_usual_one(reports: list[CheckReport]) -> None:
    by_target = dict(zip(INSTALLED, reports, strict=True))
    strict = next(r for t, r in by_target.items() if t.allow)
    assert strict.counterexample is not None
    assert 'max_ulp=0.5, allow=["lost"])' in strict.counterexample.test
    plain = by_target[TARGETS[0]]
    assert plain.counterexample is not None
    assert 'assert_accurate(output, operation="softmax", logits=x)' in plain.counterexample.test
    usual = by_target[TARGETS[1]]
    assert usual.counterexample is not None
    assert 'assert_accurate(output, operation="softmax", logits=x, require="stable")' in usual.counterexample.test


@pytest.mark.slow
def test_an_input_of_many_equal_numbers_is_written_as_one() -> None:
    report = check(
        Target(f"{ROOT / WAYS}:softmax", LOG_SOFTMAX),
        CheckOptions((get_format("float32"),), only=("many-equal-classes",), search=False),
    )
    assert report.counterexample is not None
    assert re.search(r"x = np\.(full|array)\(", report.counterexample.code)


@pytest.mark.slow
def test_an_input_too_large_to_spell_out_is_left_out_and_said_by_its_hazard() -> None:
    report = check(
        Target(f"{ROOT / WAYS}:softmax", SOFTMAX),
        CheckOptions((get_format("float32"),), max_ulp=0.0, only=("normals-at-offset",), search=False),
    )
    assert not report.passed
    assert report.counterexample is not None
    if not report.counterexample.code:
        assert report.counterexample.test == ""
