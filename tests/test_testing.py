"""`stablemax.testing`: one line in anybody's pytest, whose failure message is the report."""

from __future__ import annotations

import builtins
import ctypes
import math
import os
import subprocess
import sys
import types
from os import _exit
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemax.check import CheckOptions, check_function
from stablemax.check.target.forked_process import CAN_FORK
from stablemax.check.target.messages import NoAnswerError, Target
from stablemax.check.target.process_exit import exits_refused
from stablemax.numerics.formats import FLOAT32
from stablemax.operations import get_operation
from stablemax.render import checks
from stablemax.render.terminal import message
from stablemax.testing import assert_accurate, assert_stable, implementation
from stablemax.text.errors import StablemaxError

FORKED = pytest.mark.skipif(not CAN_FORK, reason="functions are called in the test's own process")
QUICK: dict[str, Any] = {"formats": ["float32"], "only": ["gentle", "large-logits"], "search": False}


def shifted(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def naive_softmax(x: Any) -> Any:
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def failure(*arguments: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_stable(*arguments, **{**QUICK, **options})
    return str(caught.value)


def test_a_stable_function_passes_and_gives_its_report() -> None:
    report = assert_stable(shifted, operation="softmax", **QUICK)
    assert report.passed
    assert report.target == "shifted"


@pytest.mark.slow
def test_an_unstable_one_fails_with_the_whole_report_in_plain_text() -> None:
    message = failure(naive_softmax)
    line = naive_softmax.__code__.co_firstlineno + 1
    assert message.startswith("naive_softmax is unstable in float32: its formula is right, its arithmetic is not;")
    assert f"test_testing.py, line {line}: exp overflows" in message.replace("\n", " ")
    assert "large-logits  ✗ NaN" in message
    assert "smallest input that breaks it:" in message
    assert "\x1b" not in message
    assert max(map(len, message.splitlines())) <= 110


def ends_the_process(_: Any) -> Any:
    os._exit(0)


def ends_it_by_a_name_of_its_own(_: Any) -> Any:
    _exit(0)


def replaces_the_process(_: Any) -> Any:
    os.execlp("true", "true")


def ends_it_by_a_module_that_it_imports(_: Any) -> Any:
    module = types.ModuleType("late")
    sys.modules["late"] = module
    exec("from os import _exit", vars(module))
    module._exit(0)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (ends_the_process, "ends its process (os._exit)"),
        (ends_it_by_a_name_of_its_own, "ends its process (os._exit)"),
        (ends_it_by_a_module_that_it_imports, "ends its process (os._exit)"),
        (replaces_the_process, "replaces its process (exec)"),
    ],
)
def test_a_function_that_ends_the_process_fails_a_check_in_this_one(function: Any, words: str) -> None:
    before = os._exit, os.execv, os.execve
    target = Target(function.__name__, get_operation("softmax"))
    report = check_function(function, target, CheckOptions((FLOAT32,), only=("gentle",), search=False))
    assert message(checks.document(report)).startswith(f"{function.__name__} is broken: it {words}.")
    assert (os._exit, os.execv, os.execve) == before
    assert _exit is os._exit
    assert getattr(sys.modules.pop("late", None), "_exit", os._exit) is os._exit


def ends_it_from_c(_: Any) -> Any:
    ctypes.CDLL(None).exit(0)


def takes_all_memory(x: Any) -> Any:
    return np.zeros(len(x) * 10**9) + 1


def never_answers(x: Any) -> Any:
    while True:
        x = np.negative(x)


@FORKED
@pytest.mark.parametrize(
    ("function", "words"),
    [
        (ends_the_process, "ended its process (exit code 0)"),
        (ends_it_by_a_name_of_its_own, "ended its process (exit code 0)"),
        (ends_it_from_c, "ended its process (exit code 0)"),
        (takes_all_memory, "needs more than 2 GB"),
        (never_answers, "gave no answer within 0.5 s"),
    ],
)
def test_a_function_that_does_not_answer_fails_its_test_and_not_the_whole_run(function: Any, words: str) -> None:
    limit = {"timeout_s": 0.5} if function is never_answers else {}
    message = failure(function, operation="softmax", **limit)
    assert message.startswith(f"{function.__name__} is broken: it {words}.")


@FORKED
def test_what_a_function_changes_does_not_reach_the_test() -> None:
    calls = []

    def meddles(x: Any) -> Any:
        calls.append(1)
        os.chdir("/")
        os.environ["MEDDLED"] = "1"
        vars(builtins)["len"] = vars(np)["log"] = None
        np.seterr(all="raise")
        sys.modules.clear()
        return shifted(x)

    before = Path.cwd(), dict(os.environ), len, np.log, np.geterr()
    assert_stable(meddles, operation="softmax", **QUICK)
    assert (Path.cwd(), dict(os.environ), len, np.log, np.geterr()) == before
    assert not calls


def test_a_check_in_this_process_puts_directory_and_environment_back() -> None:
    def meddles(x: Any) -> Any:
        os.chdir("/")
        os.environ["MEDDLED"] = "1"
        return shifted(x)

    before = Path.cwd(), dict(os.environ)
    target = Target("meddles", get_operation("softmax"))
    assert check_function(meddles, target, CheckOptions((FLOAT32,), only=("gentle",), search=False)).passed
    assert (Path.cwd(), dict(os.environ)) == before


FORKS = """
import os
from stablemax.check.target.process_exit import exits_refused
with exits_refused():
    child = os.fork()
    if child == 0:
        os._exit(7)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_function_may_end_the_processes_that_it_forks() -> None:
    # In a process of its own: JAX, which other tests load, warns of every fork.
    assert subprocess.run([sys.executable, "-c", FORKS], check=False, timeout=300).returncode == 7


def test_the_way_to_end_a_process_is_as_before_after_a_check_in_a_check() -> None:
    before = os._exit
    with exits_refused():
        with exits_refused(), pytest.raises(NoAnswerError, match="ends its process"):
            os._exit(0)
        with pytest.raises(NoAnswerError, match="ends its process"):
            os._exit(0)
    assert os._exit is before


@pytest.mark.slow
def test_the_code_in_the_message_imports_the_function_where_that_can_be_done() -> None:
    assert "    import numpy as np\n    from numpy import exp\n" in failure(
        np.exp, operation="softmax", only=["gentle"]
    )
    local = failure(lambda x: x, operation="softmax", only=["gentle"])
    assert "# function stands for" in local
    assert "implementation(" not in local


@pytest.mark.slow
def test_the_contract_is_that_of_the_command() -> None:
    assert failure(shifted, operation="softmax", max_ulp=0.0).startswith("shifted is")
    assert_stable(naive_softmax, allow=["nan"], **QUICK)
    assert_stable(naive_softmax, **{**QUICK, "only": ["gentle"]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operation": "sofmax"}, "there is no operation 'sofmax'"),
        ({"formats": ["float31"]}, "float31"),
        ({"allow": ["everything"]}, "there is no outcome or law 'everything'"),
        ({"only": ["nothing"]}, "no hazard matches 'nothing'"),
        ({"takes": ["anything"]}, "nothing is called 'anything'"),
        ({"max_ulp": -1}, "out of range"),
    ],
)
def test_a_name_that_nobody_knows_is_an_error_and_not_a_failure(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StablemaxError, match=message):
        assert_stable(naive_softmax, **{**QUICK, **options})


def test_a_lambda_needs_its_operation() -> None:
    with pytest.raises(StablemaxError, match="its name does not say what it computes"):
        assert_stable(lambda x: x)


@pytest.mark.slow
def test_a_module_of_torch_and_its_gradient_are_asserted_on() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    assert_stable(torch.nn.Softmax(dim=-1), operation="softmax", **QUICK)
    assert_stable(torch.nn.CrossEntropyLoss(), operation="cross_entropy", backward=True, **QUICK)


@pytest.mark.parametrize(
    ("output", "operation", "given"),
    [
        ([[0.5, 0.5]], "softmax", {"logits": [[1000.0, 1000.0]]}),
        (
            np.array([[0.0, -40.0]], np.float32) - np.array([[4.248354e-18, 0.0]], np.float32),
            "log_softmax",
            {"logits": [[0.0, -40.0]]},
        ),
        (float(np.log(2)), "cross_entropy", {"logits": [[1.0, 1.0], [2.0, 2.0]], "labels": [0, 1]}),
        (np.log([2.0, 2.0]), "cross_entropy", {"logits": [[1.0, 1.0], [2.0, 2.0]], "labels": [0, 1]}),
        ([[-0.25, 0.25], [0.25, -0.25]], "cross_entropy_grad", {"logits": [[0.0, 0.0]] * 2, "labels": [0, 1]}),
        ([[-0.5, 0.5]] * 2, "cross_entropy_grad", {"logits": [[0.0, 0.0]] * 2, "labels": [0, 0], "reduction": "sum"}),
        ([[-0.25, 0.25]], "softmax_vjp", {"logits": [[0.0, 0.0]], "upstream": [[0.0, 1.0]]}),
        ([0.0], "kl_divergence", {"logits": [[0.0, 1.0]], "second_logits": [[1.0, 2.0]]}),
        ([0.0], "kl_divergence", {"logits": [[0.0, 1.0]], "upstream": [[1.0, 2.0]]}),
        (float(np.log(2)), "bce", {"logits": [[0.0, 0.0]], "labels": [[0.0, 1.0]]}),
        (2 * np.log(2), "cross_entropy", {"logits": [[0.0, 0.0, -np.inf]], "labels": [0], "max_ulp": 1e30}),
        (float(np.log(2)), "cross_entropy", {"logits": [[0, 0.0], [9, 0]], "labels": [0, -1], "ignore_index": -1}),
        (float(np.log(2)), "cross_entropy", {"logits": [[0, 0.0], [0, 0]], "labels": [0, 1], "weight": [1, 8]}),
        (float(np.log(2)), "cross_entropy", {"logits": [[0.0, 0.0]], "labels": [0], "label_smoothing": 0.5}),
    ],
)
def test_a_right_output_passes(output: Any, operation: str, given: dict[str, Any]) -> None:
    assert assert_accurate(output, operation=operation, **given).passed


def test_a_wrong_output_fails_with_what_is_right() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_accurate([[0.5, 0.25]], operation="softmax", logits=[[0.0, 0.0]])
    message = str(caught.value)
    assert message.startswith("the output is not right: 50% of the cells are finite and wrong")
    assert "gives 0.25 where 0.5 is right" in message
    assert_accurate([[0.5, 0.25]], operation="softmax", logits=[[0.0, 0.0]], allow=["inaccurate"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"operation": "sofmax", "logits": [[0.0, 0.0]]}, "there is no operation"),
        ({"operation": "softmax", "logits": [[0.0, 0.0]], "allow": ["shift-invariance"]}, "there is no outcome"),
        ({"operation": "cross_entropy", "logits": [[0.0, 0.0]]}, "cross_entropy needs labels"),
        ({"operation": "softmax_vjp", "logits": [[0.0, 0.0]]}, "softmax_vjp needs its upstream gradient"),
        ({"operation": "kl_divergence", "logits": [[0.0, 0.0]]}, "kl_divergence needs its second logits"),
        ({"operation": "bce", "logits": [[0.0, 0.0]], "labels": [[np.nan, 0.0]]}, "the target nan is not in"),
        ({"operation": "softmax", "logits": [[0.0, 0.0]], "reduction": "median"}, "there is no reduction 'median'"),
        ({"operation": "softmax", "logits": [[[0.0, 0.0]]]}, "the logits: have shape"),
        (
            {"operation": "cross_entropy", "logits": [[0.0, 0.0]], "labels": [0], "weight": [1.0]},
            "does not fit 2 classes",
        ),
        ({"operation": "cross_entropy", "logits": [[0.0, 0.0]], "labels": [2]}, "label 2 is out of range"),
        ({"operation": "cross_entropy", "logits": [[0.0, 0.0]], "labels": [0.5]}, "the labels"),
        ({"operation": "softmax_vjp", "logits": [[0.0, 0.0]], "upstream": [[1.0]]}, "upstream"),
    ],
)
def test_what_does_not_fit_is_an_error_and_not_a_failure(given: dict[str, Any], message: str) -> None:
    with pytest.raises(StablemaxError, match=message):
        assert_accurate([[0.5, 0.5]], **given)


def test_an_implementation_of_ours_is_a_function_of_arrays() -> None:
    assert implementation("softmax/wide")(np.array([[0.0, 0.0]], np.float32)).tolist() == [[0.5, 0.5]]
    losses = implementation("cross_entropy/wide")(np.array([[0.0, -40.0]], np.float64), np.array([0]))
    assert losses.tolist() == [4.248354255291589e-18]
    with pytest.raises(StablemaxError, match="there is no variant 'softmax/nobody'"):
        implementation("softmax/nobody")


SUITE = """
import numpy as np
from stablemax.testing import assert_accurate, assert_stable

def naive_softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)

def good_softmax(x):
    e = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype(x.dtype)

def test_good():
    assert_stable(good_softmax, formats=["float32"])

def test_naive():
    assert_stable(naive_softmax, formats=["float32"])

def test_output():
    assert_accurate([[0.5, 0.25]], operation="softmax", logits=[[0.0, 0.0]])
"""


@pytest.mark.slow
def test_in_a_real_run_the_failure_shows_the_report_and_no_frame_of_ours(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert "2 failed, 1 passed" in done.stdout
    assert "AssertionError: naive_softmax is unstable" in done.stdout
    assert "AssertionError: the output is not right" in done.stdout
    frames = [
        line for line in done.stdout.splitlines() if "stablemax/testing.py:" in line or "stablemax/check.py:" in line
    ]
    assert frames == [], done.stdout
    assert "from test_theirs import naive_softmax" in done.stdout


def test_an_output_of_another_shape_fails_the_test_and_is_no_mistake_of_it() -> None:
    with pytest.raises(AssertionError, match=r"has shape \(2, 1\), and softmax of these logits has \(1, 2\)"):
        assert_accurate(np.zeros((2, 1)), operation="softmax", logits=np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("operation", "output", "labels"),
    [("softmax", [0.5, 0.5], None), ("logsumexp", math.log(2), None), ("cross_entropy", math.log(2), 1)],
)
def test_one_row_may_be_given_as_a_vector(operation: str, output: Any, labels: int | None) -> None:
    assert assert_accurate(output, operation=operation, logits=[0.0, 0.0], labels=labels).passed
