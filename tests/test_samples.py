"""The samples: each file is what it says, and each script does what its head promises."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import stablemax
from stablemax.check import CheckOptions, check_function
from stablemax.check.target.messages import Target
from stablemax.numerics.formats import FLOAT32

SAMPLES = Path(__file__).parents[1] / "samples"
# How the files were made: np.save("logits.npy", np.array(ROWS, np.float32)); np.save("labels.npy", LABELS)
ROWS = [
    [1, 2, 3, 4],
    [1000, 1001, 1002, 1003],
    [-1000, -1001, -1002, -1003],
    [1e8, 1e8, 1e8, 1e8],
    [0, -40, -50, -60],
    [0, 120, 110, -np.inf],
]
LABELS = [3, 0, 0, 1, 0, 0]
MEAN_LOSS = 20.95115147595045

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="its code is that of PyTorch")
needs_bash_and_jq = pytest.mark.skipif(
    os.name == "nt" or shutil.which("bash") is None or shutil.which("jq") is None,
    reason="gate.sh needs a POSIX shell and jq",
)


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(
        arguments,
        cwd=cwd,
        env={**os.environ, "PATH": path, "PYTHONUTF8": "1", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "stablemax", *arguments, cwd=SAMPLES)


def gate(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("bash", str(SAMPLES / "gate.sh"), *arguments, cwd=cwd)


def test_every_sample_is_used_by_a_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    for path in SAMPLES.iterdir():
        if path.name not in ("__pycache__", ".gitattributes"):
            assert source.count(f'"{path.name}"') >= 1, path.name


@pytest.mark.parametrize(
    ("name", "function", "arguments", "code"),
    [
        ("numpy_functions.py", "binary_cross_entropy", ("x=linspace(-200, 200, 5)", "y=uniform(0, 1, 5)"), 1),
        ("numpy_functions.py", "good_binary_cross_entropy", ("x=linspace(-200, 200, 5)", "y=uniform(0, 1, 5)"), 0),
        ("numpy_functions.py", "norm", ("x=linspace(0, 1e20, 5)",), 1),
        pytest.param("torch_energy.py", "energy", ("x=linspace(0, 4, 3)", "--backward"), 1, marks=needs_torch),
        pytest.param("torch_energy.py", "energy", ("x=linspace(1, 4, 3)", "--backward"), 0, marks=needs_torch),
    ],
)
def test_the_samples_that_are_no_operations_are_traced_as_they_say(
    name: str, function: str, arguments: tuple[str, ...], code: int
) -> None:
    options = [word for text in arguments for word in ([text] if text.startswith("--") else ["--arg", text])]
    done = program("trace", f"{name}:{function}", "--operation", "none", *options)
    assert done.returncode == code, done.stdout + done.stderr


@needs_torch
def test_the_loss_of_the_training_becomes_nan() -> None:
    assert run(sys.executable, str(SAMPLES / "torch_training.py"), cwd=SAMPLES).stdout == "the loss is nan\n"


def test_the_npy_files_hold_the_rows_they_were_made_from() -> None:
    logits, labels = np.load(SAMPLES / "logits.npy"), np.load(SAMPLES / "labels.npy")
    assert logits.dtype == np.float32
    assert logits.tolist() == np.array(ROWS, np.float32).tolist()
    assert labels.dtype.kind == "i"
    assert labels.tolist() == LABELS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("logits", "labels"),
    [("logits.npy", "labels.npy"), ("logits.csv", "labels.csv"), ("logits.npy", "labels.csv")],
)
def test_the_npy_and_the_csv_files_have_one_loss(logits: str, labels: str) -> None:
    done = program("loss", logits, labels)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{MEAN_LOSS!r}\n", "")


def test_every_sample_row_but_the_first_breaks_a_usual_loss() -> None:
    """The naive loss and the one by a log-sum-exp go wrong on all but the gentle row."""
    x = np.array(ROWS, np.float32)
    rows = np.arange(len(x))
    with np.errstate(all="ignore"):
        naive = np.log(np.exp(x).sum(axis=1)) - x[rows, LABELS]
        m = x.max(axis=1)
        by_lse = (m + np.log(np.exp(x - m[:, None]).sum(axis=1))) - x[rows, LABELS]
    truth = stablemax.cross_entropy(x, LABELS, reduction="none")
    wrong = (abs(naive - truth) > 1e-3 * truth) | ~np.isfinite(naive) | (abs(by_lse - truth) > 1e-3 * truth)
    assert wrong.tolist() == [False, True, True, True, True, True]


@pytest.mark.slow
def test_the_table_with_a_label_column_is_read_with_its_header_and_index() -> None:
    done = program("loss", "animals.csv", "--label-column", "label")
    assert (done.returncode, done.stdout) == (0, "20.891304554394843\n")
    assert re.findall(r"^note: animals\.csv: (line 2|1 comment|column 1)", done.stderr, flags=re.MULTILINE) == [
        "line 2",
        "1 comment",
        "column 1",
    ]


@pytest.mark.slow
def test_the_python_script_runs_from_any_directory_and_prints_the_loss(tmp_path: Path) -> None:
    done = run(sys.executable, str(SAMPLES / "use_stablemax.py"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "naive:   [nan nan nan nan]"
    assert f"loss: {MEAN_LOSS!r}" in lines
    assert "gradient: float32 (6, 4) finite" in lines
    assert "  cross_entropy/naive: overflow" in lines
    assert "  cross_entropy/compensated: ok" in lines
    assert lines[-1] == "refused: the labels: row 0: label 7 is out of range for 4 classes"


@pytest.mark.slow
@needs_bash_and_jq
def test_the_gate_passes_on_the_samples_from_any_directory(tmp_path: Path) -> None:
    done = gate(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"loss {MEAN_LOSS!r}, at most 25",
        "softmax/wide in bfloat16: ok",
        "softmax/wide in float32: ok",
        "cross_entropy/wide in bfloat16: ok",
        "cross_entropy/wide in float32: ok",
    ]


@pytest.mark.slow
@needs_bash_and_jq
def test_the_gate_fails_where_the_loss_is_above_the_limit(tmp_path: Path) -> None:
    done = gate(tmp_path, str(SAMPLES / "logits.npy"), str(SAMPLES / "labels.npy"), "3")
    assert (done.returncode, done.stdout) == (1, "")
    assert "above --max-loss" in done.stderr


@pytest.mark.slow
@needs_bash_and_jq
def test_the_gate_fails_where_the_loss_is_not_finite(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[0.0, -np.inf]]))
    np.save(tmp_path / "y.npy", np.array([1]))
    done = gate(tmp_path, "x.npy", "y.npy")
    assert done.returncode == 1
    assert "not finite: row 0" in done.stderr


@pytest.mark.slow
@needs_bash_and_jq
def test_the_gate_prints_its_report_and_fails_where_a_format_cannot_hold_the_logits(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[3.0, 1.0], [1e39, 1e39]]))
    np.save(tmp_path / "y.npy", np.array([0, 1]))
    done = gate(tmp_path, "x.npy", "y.npy")
    assert done.returncode == 1
    assert "softmax/wide in float32: input-overflow" in done.stdout
    assert done.stderr.startswith("failed: 4 of 4 results")


@pytest.mark.slow
@needs_bash_and_jq
def test_the_gate_tells_a_mistake_from_a_failed_check(tmp_path: Path) -> None:
    done = gate(tmp_path, "missing.npy", "missing.npy")
    assert done.returncode == 2
    assert done.stderr.startswith("error: missing.npy: no such file")


VERDICT = {"variant": "softmax/wide", "format": "float32", "worst": "ok", "error_ulp": 1.5}
LARGE_ERROR = json.dumps({"reports": [{"verdicts": [VERDICT, {**VERDICT, "error_ulp": None}]}]})


def gate_beside(answer: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the gate with a program whose loss is 1 and whose comparison does as a shell command says."""
    fake = cwd / "bin" / "stablemax"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\ncase $1 in loss) echo 1 ;; *) {answer} ;; esac\n", encoding="utf-8")
    fake.chmod(0o755)
    return run("bash", "-c", f'PATH="{fake.parent}:$PATH" bash "{SAMPLES / "gate.sh"}"', cwd=cwd)


@needs_bash_and_jq
def test_the_gate_fails_by_its_jq_check_where_an_error_is_above_one_ulp(tmp_path: Path) -> None:
    done = gate_beside(f"echo '{LARGE_ERROR}'", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "failed: an error is above 1 ulp\n"


@needs_bash_and_jq
def test_the_gate_hands_on_a_mistake_of_the_comparison(tmp_path: Path) -> None:
    # Without looking at the report: a half-written one proves nothing.
    done = gate_beside(f"echo '{LARGE_ERROR}'; exit 2", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "loss 1, at most 25\n", "")


# --- implementations --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "function", "code"),
    [
        ("numpy_softmax.py", "good", 0),
        ("numpy_softmax.py", "unstable", 1),
        ("numpy_softmax.py", "wrong", 1),
        ("numpy_loss.py", "good_loss", 0),
        ("numpy_loss.py", "unstable_loss", 1),
        ("numpy_loss.py", "wrong_loss", 1),
        ("numpy_loss.py", "loss_backward", 1),
    ],
)
def test_the_implementations_are_what_their_names_say(file: str, function: str, code: int) -> None:
    only = ("gentle", "two-rows", "large-logits", "nearly-certain", "wide-spread")
    options = CheckOptions((FLOAT32,), only=only, search=False)
    report = check_function(None, Target(f"{SAMPLES / file}:{function}"), options)
    grade = {"good": "accurate", "wrong": "wrong"}.get(function.partition("_")[0], "unstable")
    assert report.grade.value == grade, report.finding
    assert report.passed is (code == 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "function", "code"),
    [
        ("torch_softmax.py", "good", 0),
        ("torch_softmax.py", "unstable", 1),
        ("torch_softmax.py", "wrong", 1),
        ("torch_loss.py", "good_loss", 0),
        ("torch_loss.py", "unstable_loss", 1),
    ],
)
def test_the_torch_implementations_are_what_their_names_say(file: str, function: str, code: int) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    only = ("gentle", "two-rows", "large-logits", "nearly-certain", "wide-spread")
    options = CheckOptions((FLOAT32,), only=only, search=False)
    report = check_function(None, Target(f"{SAMPLES / file}:{function}"), options)
    grade = function.partition("_")[0]
    assert report.grade.value == {"good": "accurate"}.get(grade, grade), report.finding
    assert report.passed is (code == 0)


def gate_implementations(cwd: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    return run("bash", str(SAMPLES / "gate_implementations.sh"), *targets, cwd=cwd)


@pytest.mark.slow
@needs_bash_and_jq
def test_the_gate_of_implementations_passes_on_the_samples_from_any_directory(tmp_path: Path) -> None:
    assert os.access(SAMPLES / "gate_implementations.sh", os.X_OK)
    done = gate_implementations(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "numpy_softmax.py:good: accurate",
        "numpy_loss.py:good_loss: accurate",
        "numpy_softmax.py:unstable: unstable",
        "numpy_softmax.py:wrong: wrong",
        "dumped softmax: ok, true",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needs_bash_and_jq
def test_the_gate_of_implementations_fails_with_the_report_where_one_is_not_good(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "import numpy as np\n\ndef softmax(x):\n    return np.exp(x) / np.exp(x).sum()\n"
    )
    done = gate_implementations(tmp_path, "model.py:softmax")
    assert (done.returncode, done.stdout) == (1, "model.py:softmax: wrong\n")
    assert done.stderr.startswith("failed: model.py:softmax is wrong, not accurate\n")
    assert "smallest input that breaks it:" in done.stderr


@pytest.mark.slow
@needs_bash_and_jq
def test_the_gate_of_implementations_tells_a_mistake_from_a_failure(tmp_path: Path) -> None:
    done = gate_implementations(tmp_path, "absent.py:softmax")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: absent.py: there is no such file\n")
