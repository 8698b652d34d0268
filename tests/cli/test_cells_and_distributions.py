"""``sigmoid``, ``log-sigmoid``, ``softplus``, ``entropy``, ``kl-divergence``, ``bce`` and ``bce-grad``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

import stablemax

from .running import assert_refused, run

if TYPE_CHECKING:
    from pathlib import Path

INF = math.inf
X = np.array([[-20.0, -100.0, 0.5], [88.8, -INF, INF]], dtype=np.float32)
Y = np.array([[-20.0, -90.0, 0.6], [1.0, -2.0, 3.0]], dtype=np.float32)
T = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
W, P = np.array([1.0, 2.0, 0.5]), np.array([3.0, 1.0, 1.0])


@pytest.fixture
def cells(desk: Path) -> Path:
    for name, array in {"cells": X, "others": Y, "targets": T, "w": W, "p": P}.items():
        np.save(desk / f"{name}.npy", array)
    return desk


@pytest.mark.parametrize("name", ["sigmoid", "log_sigmoid", "softplus"])
def test_what_is_taken_of_each_logit_is_written_in_its_shape(name: str, cells: Path) -> None:
    done = run(name.replace("_", "-"), "cells.npy", "-o", "out.npy")
    assert (done.code, done.err) == (0, "")
    np.testing.assert_array_equal(np.load(cells / "out.npy"), getattr(stablemax, name)(X))
    text = run(name.replace("_", "-"), "cells.npy").out
    np.testing.assert_array_equal(np.loadtxt(text.splitlines(), delimiter=",", dtype=np.float32), np.load("out.npy"))


def test_the_entropy_and_the_divergence_are_one_number_a_row(cells: Path) -> None:
    assert run("entropy", "others.npy", "-o", "h.npy").code == 0
    np.testing.assert_array_equal(np.load(cells / "h.npy"), stablemax.entropy(Y))
    assert run("kl-divergence", "others.npy", "cells.npy", "-o", "k.npy").code == 0
    found = np.load(cells / "k.npy")
    assert found[0] == stablemax.kl_divergence(Y, X)[0] > 0
    assert math.isnan(found[1]), "the second row of the second file has a +inf"


def test_bce_prints_the_mean_over_all_cells_and_that_of_weights(cells: Path) -> None:
    assert run("bce", "cells.npy", "targets.npy").out == f"{stablemax.binary_cross_entropy(X, T)!r}\n"
    weighted = run(
        "bce", "cells.npy", "targets.npy", "--weight", "w.npy", "--pos-weight", "p.npy", "--reduction", "sum"
    )
    expected = stablemax.binary_cross_entropy(X, T, weight=W, pos_weight=P, reduction="sum")
    assert weighted.out == f"{expected!r}\n"
    assert run("bce", "cells.npy", "targets.npy", "--threads", "1", "--output-format", "json").json["loss"] == (
        stablemax.binary_cross_entropy(X, T)
    )


def test_bce_grad_writes_the_gradient_of_the_mean_or_of_each_cell(cells: Path) -> None:
    for reduction in ("mean", "none"):
        done = run("bce-grad", "cells.npy", "targets.npy", "--reduction", reduction, "-o", "g.npy", "--force")
        assert (done.code, done.err) == (0, "")
        expected = stablemax.binary_cross_entropy_grad(X, T, reduction=reduction)
        np.testing.assert_array_equal(np.load(cells / "g.npy"), expected)


def test_another_formula_shows_what_it_loses_and_which_cell(cells: Path) -> None:
    done = run("bce", "cells.npy", "targets.npy", "--variant", "minus-product")
    assert (done.code, done.out) == (1, "nan\n")
    assert done.err == "not finite: row 1, class 1 has loss nan: its logit is -inf, its target 0\n"
    assert run("bce", "cells.npy", "targets.npy", "--max-loss", "1").code == 1


def test_what_does_not_fit_is_refused_in_a_line(cells: Path) -> None:
    assert_refused(run("bce", "cells.npy", "others.npy"), "the target -20 is not in [0, 1]")
    assert_refused(run("bce", "cells.npy", "targets.npy", "--reduction", "none"), "'none' is not one of 'mean', 'sum'")
    assert "losses of all cells: mean or sum." in " ".join(run("bce", "--help").out.split())
    assert_refused(run("bce", "cells.npy", "targets.npy", "--max-loss", "nan"), "is not a number to compare with")
    assert_refused(run("bce-grad", "cells.npy", "targets.npy", "--weight", "targets.npy"), "is not a vector of weights")


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (("bce",), "cell targets"),
        (("bce-grad",), "cell targets"),
        (("kl-divergence",), "second logits"),
        (("compare", "--operation", "kl_divergence"), "second logits"),
        (("trace", "binary_cross_entropy/naive"), "cell targets"),
    ],
)
def test_a_second_array_of_another_shape_is_refused_with_the_shape_that_is_needed(
    command: tuple[str, ...], what: str, cells: Path
) -> None:
    np.save(cells / "short.npy", T[:, :2])
    done = run(*command, "cells.npy", "short.npy")
    assert_refused(
        done, f"short.npy: {what} of shape (2, 2) do not fit logits of shape (2, 3)", "give the shape (2, 3)"
    )
    np.save(cells / "turned.npy", T.T)
    assert_refused(run(*command, "cells.npy", "turned.npy"), "are they transposed?")


@pytest.mark.parametrize(
    "command",
    [
        ("bce",),
        ("bce-grad",),
        ("compare", "--operation", "binary_cross_entropy"),
        ("trace", "binary_cross_entropy/naive"),
        ("judge", "--operation", "binary_cross_entropy", "cells.npy"),
    ],
)
def test_a_target_that_is_nan_is_refused_by_its_place(command: tuple[str, ...], cells: Path) -> None:
    np.save(cells / "nan.npy", np.where(np.arange(6).reshape(2, 3) == 4, np.nan, T))
    assert_refused(run(*command, "cells.npy", "nan.npy"), "nan.npy: row 1, class 1: the target nan is not in [0, 1]")


@pytest.mark.parametrize(
    ("command", "operation", "second"),
    [("bce", "binary_cross_entropy", "targets"), ("kl-divergence", "kl_divergence", "cells")],
)
def test_an_operation_goes_by_the_name_of_its_command_too(
    command: str, operation: str, second: str, cells: Path
) -> None:
    done = run(
        "compare",
        "others.npy",
        f"{second}.npy",
        "--operation",
        command,
        "--format",
        "float32",
        "--output-format",
        "json",
    )
    assert [report["operation"] for report in done.json["reports"]] == [operation]


@pytest.mark.parametrize(("name", "near"), [("kl", "kl_divergence"), ("bce_grad", "bce-grad"), ("bcee", "bce")])
def test_a_misspelt_operation_is_told_apart_from_none(name: str, near: str, cells: Path) -> None:
    assert_refused(run("compare", "cells.npy", "--operation", name), f"did you mean {near}?")


def test_compare_runs_a_named_operation_or_the_main_ones_or_all_about_rows(cells: Path) -> None:
    named = run("compare", "cells.npy", "--operation", "sigmoid", "--format", "float32", "--output-format", "json").json
    assert [report["operation"] for report in named["reports"]] == ["sigmoid"]
    shares = {v["variant"]: v["worst"] for v in named["reports"][0]["verdicts"]}
    assert shares["sigmoid/compensated"] == "ok"
    assert shares["sigmoid/exp-ratio"] == "nan"
    main = run("compare", "others.npy", "--format", "float32", "--output-format", "json").json
    assert [v["variant"] for report in main["reports"] for v in report["verdicts"]] == [
        "softmax/naive",
        "softmax/shifted",
        "softmax/compensated",
    ]
    every = run("compare", "others.npy", "--format", "float32", "--all", "--output-format", "json").json
    assert [report["operation"] for report in every["reports"]] == [
        "softmax",
        "log_softmax",
        "logsumexp",
        "softmax_vjp",
    ]


def test_judge_takes_targets_as_labels_and_second_logits_after_the_output_or_by_an_option(cells: Path) -> None:
    np.save(cells / "losses.npy", stablemax.binary_cross_entropy(X, T, reduction="none").astype(np.float32))
    assert run("judge", "cells.npy", "losses.npy", "targets.npy", "--operation", "binary_cross_entropy").code == 0
    np.save(cells / "k.npy", stablemax.kl_divergence(Y, Y[:, ::-1]))
    np.save(cells / "reversed.npy", Y[:, ::-1])
    judged = ("judge", "others.npy", "k.npy", "--operation", "kl_divergence")
    assert run(*judged, "reversed.npy").code == 0
    assert run(*judged, "--second-logits", "reversed.npy").code == 0
    assert run(*judged, "--upstream", "reversed.npy").code == 0, "its name of before"
    assert_refused(run(*judged), "needs its second logits", "--second-logits FILE")
    np.save(cells / "short.npy", Y[:, :2])
    short = run(*judged, "--second-logits", "short.npy")
    assert_refused(short, "short.npy: has shape (2, 2), and the logits have (2, 3)", "the second logits: one number")
    foreign = run("judge", "cells.npy", "cells.npy", "--operation", "softmax", "--second-logits", "reversed.npy")
    assert_refused(foreign, "--second-logits is not for softmax")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_check_and_trace_know_a_function_of_cells(kind: str, cells: Path) -> None:
    if kind == "torch":
        pytest.importorskip("torch", reason="PyTorch code is checked")
        code = "import torch\n\ndef log_sigmoid(x):\n    return torch.log(1 / (1 + torch.exp(-x)))\n"
    else:
        code = "import numpy as np\n\ndef log_sigmoid(x):\n    return np.log(1 / (1 + np.exp(-x)))\n"
    (cells / "mine.py").write_text(code)
    report = run("check", "mine.py:log_sigmoid", "--format", "float32", "--output-format", "json").json
    assert report["operation"] == "log_sigmoid"
    assert report["grade"] == "unstable"
    trace = run("trace", "mine.py:log_sigmoid", "--hazard", "logits-beyond-exp-overflow", "--output-format", "json")
    assert trace.code == 1
    assert "exp overflows" in trace.json["finding"]


@pytest.mark.slow
def test_a_correct_sigmoid_is_good_with_its_cells_at_infinity_judged(cells: Path) -> None:
    (cells / "mine.py").write_text(
        "import numpy as np\n\ndef sigmoid(x):\n    e = np.exp(-np.abs(x))\n"
        "    return np.where(x >= 0, 1, e) / (1 + e)\n\n"
        "def sigmoid_of_finite(x):\n    return np.where(np.isinf(x), 0.5, sigmoid(x)).astype(x.dtype)\n"
    )
    good = run("check", "mine.py:sigmoid", "--format", "float32", "--output-format", "json").json
    assert good["grade"] == "accurate"
    bad = run("check", "mine.py:sigmoid_of_finite", "--format", "float32", "--output-format", "json").json
    assert bad["grade"] in ("unstable", "wrong")
    assert "infinite-logits" in {h["hazard"] for h in bad["hazards"] if h["failed"]}
