"""The notebooks' PyTorch numbers, each out of one command: A, C, D and E."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from stablemax.hazards.generated import preset
from stablemax.numerics.formats import FLOAT32

from ..cli.running import run

torch = pytest.importorskip("torch", reason="these are PyTorch's own numbers")


@functools.cache
def compared(name: str, operation: str, *more: str) -> dict[str, Any]:
    """Verdicts in float32 of one `stablemax compare` with PyTorch's rows, by id."""
    done = run(
        *("compare", "--preset", name, "--operation", operation, "--format", "float32", "--peer", "torch"),
        *("--show-values", "8", "--output-format", "json", "-q", *more),
    )
    assert (done.code, done.err) == (0, "")
    (report,) = done.json["reports"]
    return {v["variant"]: v for v in report["verdicts"]}


def row(verdict: Any, index: int) -> np.ndarray:
    return np.array([float(v) for v in verdict["values"][index]["values"]])


def ulps(a: float, b: float) -> float:
    """Distance of two numbers in ulps of float32 at the second."""
    return float(abs(a - b) / FLOAT32.ulp(b))


def tensors(name: str) -> tuple[Any, Any]:
    problem = preset(name)
    assert problem.labels is not None
    return torch.tensor(problem.logits.astype(np.float32)), torch.tensor(problem.labels)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("version", ["lse-minus", "log-of-softmax"])
def test_a_both_versions_of_the_loss_agree_with_cross_entropy_in_both_libraries(version: str, backend: str) -> None:
    found = compared("notebook-a", "cross_entropy", "--backend", backend)
    right = found["torch/cross_entropy"]
    x, y = tensors("notebook-a")
    assert right["mean"] == float(torch.nn.functional.cross_entropy(x, y))
    # allclose, the notebook's test, takes 1e-5: 84 ulp or more.
    assert ulps(found[f"cross_entropy/{version}"]["mean"], right["mean"]) <= 8


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_softmax_agrees_with_pytorch(backend: str) -> None:
    found = compared("notebook-a", "softmax", "--backend", backend)
    assert {found[v]["worst"] for v in ("softmax/shifted", "torch/softmax")} == {"ok"}
    ours, theirs = (row(found[v], 0) for v in ("softmax/shifted", "torch/softmax"))
    # exp(x - m) rounds x - m, |x - m| <= 100: 100 u, and the rest a few u more.
    assert np.all(np.abs(ours - theirs) <= 2 * 104 * FLOAT32.u * theirs)


def test_c_the_naive_batch_on_tensors_is_right_in_the_first_row_and_nan_in_the_second() -> None:
    found = compared("notebook-c", "softmax", "--backend", "torch")
    naive = found["softmax/naive"]
    assert naive["shares"] == {"ok": 0.5, "nan": 0.5}
    assert [f"{v:.8f}" for v in row(naive, 0)] == ["0.09003057", "0.24472848", "0.66524094"]
    assert np.isnan(row(naive, 1)).all()


@pytest.mark.parametrize("index", [0, 1])
def test_c_pytorchs_softmax_and_log_softmax_are_the_stable_ones(index: int) -> None:
    softmax = row(compared("notebook-c", "softmax")["torch/softmax"], index)
    assert [f"{v:.6f}" for v in softmax] == ["0.090031", "0.244728", "0.665241"]
    logs = row(compared("notebook-c", "log_softmax")["torch/log_softmax"], index)
    assert [f"{v:.6f}" for v in logs] == ["-2.407606", "-1.407606", "-0.407606"]


def test_c_the_loss_is_the_number_that_the_notebook_prints() -> None:
    found = compared("notebook-c-loss", "cross_entropy")["torch/cross_entropy"]
    assert found["mean"] == 1.4185397624969482
    x, y = tensors("notebook-c-loss")
    assert float(torch.nn.CrossEntropyLoss()(x, y)) == 1.4185397624969482


@pytest.mark.parametrize("variant", ["log-of-softmax", "shifted", "compensated"])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_d_forward_agrees_with_pytorchs_loss(variant: str, backend: str) -> None:
    found = compared("notebook-d", "cross_entropy", "--backend", backend)
    theirs = found["torch/cross_entropy"]
    x, y = tensors("notebook-d")
    assert theirs["mean"] == float(torch.nn.CrossEntropyLoss()(x, y))
    # rtol 1e-4 in the notebook: 840 ulp or more.
    assert ulps(found[f"cross_entropy/{variant}"]["mean"], theirs["mean"]) <= 4
    assert (theirs["worst"], theirs["mean_error_ulp"] <= 2) == ("ok", True)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["shifted", "chained", "compensated"])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_d_backward_agrees_with_autograd(variant: str, backend: str) -> None:
    found = compared("notebook-d", "cross_entropy_grad", "--backend", backend)
    theirs = found["torch/cross_entropy_grad"]
    x, y = tensors("notebook-d")
    x.requires_grad_()
    autograd = torch.autograd.grad(torch.nn.CrossEntropyLoss()(x, y), x)[0].numpy().astype(np.float64)
    for index in range(8):
        assert row(theirs, index).tolist() == autograd[index].tolist()
    ours = found[f"cross_entropy_grad/{variant}"]
    assert (ours["worst"], theirs["worst"]) == ("ok", "ok")
    assert max(ours["error_ulp"], theirs["error_ulp"]) <= 16


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_e_the_total_of_the_bad_softmax_is_nan_and_that_of_the_good_one_is_1(backend: str) -> None:
    found = compared("notebook-e", "softmax", "--backend", backend)
    for bad in ("softmax/naive", "softmax/axis-0"):
        assert np.isnan(row(found[bad], 0).sum())
    for good in ("softmax/shifted", "torch/softmax"):
        # 20 probabilities, each off by at most 4 ulp of at most 2**-3 ulps of 1.
        assert found[good]["sum_error"] <= 20 * 4 * FLOAT32.u / 4


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_e_the_backward_pass_by_the_full_jacobian_agrees_with_autograd(backend: str) -> None:
    found = compared("notebook-e", "softmax_vjp", "--backend", backend)
    jacobian, autograd = found["softmax_vjp/jacobian"], found["torch/softmax_vjp"]
    assert (jacobian["worst"], autograd["worst"]) == ("ok", "ok")
    # Both cancel from the size of p g, p about 1/20 and |g| <= 4, in float32.
    assert np.max(np.abs(row(jacobian, 0) - row(autograd, 0))) <= 20 * FLOAT32.u * 4 / 20


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_e_the_gradient_of_the_mean_of_a_softmax_is_zero_up_to_rounding(backend: str) -> None:
    found = compared("notebook-e", "softmax_vjp", "--backend", backend, "--upstream", "mean")
    # The notebook gets 1e-11 from autograd. p (g - sum(p g)) with g = 1/K is p times the rounding of a
    # sum near 1/K: 1.5e-10 for p = 1/K and one rounding.
    assert np.max(np.abs(row(found["torch/softmax_vjp"], 0))) <= 4 * FLOAT32.u / 20 / 20
    assert np.max(np.abs(row(found["softmax_vjp/jacobian"], 0))) <= 20 * FLOAT32.u / 20 / 20
