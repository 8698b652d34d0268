"""Results that are proved: the numbers nearest to the exact ones, whatever operation, format and targets."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import flint
import numpy as np
import pytest

import stablemax
from stablemax.compute.loss import loss_of
from stablemax.compute.proved import accurate
from stablemax.inputs.logits import as_stream
from stablemax.inputs.stored import StoredArray
from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.operations import get_operation
from stablemax.operations.operation import Second
from stablemax.operations.targets import CellTargets, LabelTargets, SoftTargets

from ..cli.running import run
from ..exactly import in_format, truth_of
from ..records import CROSS_ENTROPY

if TYPE_CHECKING:
    from pathlib import Path

    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation

OPERATIONS = [
    get_operation(name)
    for name in (
        *("softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_grad", "softmax_vjp", "entropy"),
        *("kl_divergence", "sigmoid", "log_sigmoid", "softplus", "binary_cross_entropy", "binary_cross_entropy_grad"),
    )
]


def second_for(operation: Operation, x: Array, rng: np.random.Generator) -> Any:
    """What an operation takes beside logits, ill-conditioned more often than not."""
    if operation.second is Second.LABELS:
        probabilities = np.exp(x - x.max(axis=1, keepdims=True))
        # Targets close to the probabilities: p - t cancels.
        return SoftTargets(probabilities / probabilities.sum(axis=1, keepdims=True), 7.0)
    if operation.second is Second.CELL_TARGETS:
        targets: Array = rng.random((x.shape[0], x.shape[1]))
        weight: Array = rng.random((x.shape[0], x.shape[1])) + 0.5
        return CellTargets(targets, weight, rng.uniform(0.5, 2.0, (1, x.shape[1])))
    if operation.second is Second.UPSTREAM:
        return 1000.0 + rng.normal(size=x.shape) * 1e-3
    return x + rng.normal(size=x.shape) * 1e-3 if operation.second is Second.LOGITS else None


@pytest.mark.parametrize("fmt", [FLOAT64, FLOAT32, FLOAT16], ids=str)
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_what_is_accurate_is_the_nearest_number_to_the_exact_result(operation: Operation, fmt: Format) -> None:
    rng = np.random.default_rng(0)
    x = in_format(rng.normal(scale=3.0, size=(25, 9)), fmt).astype(np.float64)
    second = second_for(operation, x, rng)
    found = accurate(operation, x, second, fmt).astype(np.float64)
    right = truth_of(operation, x, fmt, second).rounded
    np.testing.assert_array_equal(found.reshape(right.shape), right)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.error_u is not None], ids=str)
def test_rows_that_the_error_of_a_formula_leaves_in_doubt_are_proved(operation: Operation) -> None:
    rng = np.random.default_rng(1)
    x = in_format(rng.normal(scale=3.0, size=(40, 3)), FLOAT32).astype(np.float64)
    second, doubtful = second_for(operation, x, rng), replace(operation, error_u=2.0**25)
    right = truth_of(operation, x, FLOAT32, second).rounded
    # An error of 2**25 u is a sixteenth of an ulp of float32: it leaves some of the rows in doubt, not all.
    found = accurate(doubtful, x, second, FLOAT32)
    np.testing.assert_array_equal(found.reshape(right.shape), right)


def exact_mean(x: Array, labels: Array) -> Fraction:
    """The mean of cross-entropies to 300 bits."""
    with flint.ctx.workprec(300):
        total = flint.arb(0)
        for row, label in zip(x.tolist(), labels.tolist(), strict=True):
            total += sum((flint.arb(v).exp() for v in row), flint.arb(0)).log() - flint.arb(row[label])
        mean = total / len(labels)
        man, exp = mean.mid().man_exp()
    return Fraction(int(man)) * Fraction(2) ** int(exp)


@pytest.mark.parametrize("seed", range(5))
def test_an_exact_loss_is_the_number_nearest_to_the_mean_of_the_exact_losses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(scale=3.0, size=(40, 12)), rng.integers(0, 12, 40)
    right = exact_mean(x, labels)
    found = stablemax.cross_entropy(x, labels, exact=True)
    assert abs(Fraction(found) - right) <= Fraction(np.spacing(found)) / 2
    # In any blocks, too.
    stream = as_stream(StoredArray.of(x), StoredArray.of(labels))
    from stablemax.compute.block_job import Method
    from stablemax.compute.streaming import Resources

    assert loss_of(CROSS_ENTROPY, stream, Method(exact=True), resources=Resources(threads=2)).value == found


def test_exact_results_differ_from_those_of_1_5_ulp_and_are_the_nearest_ones() -> None:
    x = np.random.default_rng(1).normal(scale=5.0, size=(50, 30))
    labels = np.arange(50) % 30
    for name, arguments in (("softmax", ()), ("log_softmax", ()), ("logsumexp", ()), ("cross_entropy_grad", (labels,))):
        operation = get_operation(name)
        second = LabelTargets(labels, None, 50.0) if arguments else None
        right = truth_of(operation, x, FLOAT64, second).rounded
        exact = getattr(stablemax, name)(x, *arguments, exact=True)
        np.testing.assert_array_equal(exact.reshape(right.shape), right)
        usual = getattr(stablemax, name)(x, *arguments)
        np.testing.assert_array_max_ulp(usual, exact, maxulp=1)
        # A sum of two terms is rounded once, a product of two numbers twice.
        assert (usual != exact).any() == (name in {"softmax", "cross_entropy_grad"})


def test_a_row_without_a_result_is_exactly_what_it_is_without_proof() -> None:
    x = np.array([[0.0, np.nan], [np.inf, 1.0], [-np.inf, -np.inf], [0.0, -np.inf]])
    for name in ("softmax", "log_softmax", "logsumexp"):
        function = getattr(stablemax, name)
        np.testing.assert_array_equal(function(x, exact=True), function(x))
    with np.errstate(all="ignore"):
        losses = [stablemax.cross_entropy(x, [0, 0, 0, 1], reduction="none", exact=exact) for exact in (True, False)]
    np.testing.assert_array_equal(*losses)


def test_the_command_proves_what_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(2).normal(scale=3.0, size=(30, 8))
    np.save("x.npy", x)
    np.save("y.npy", np.zeros(30, dtype=np.int64))
    done = run("loss", "x.npy", "y.npy", "--exact")
    assert done.out == f"{stablemax.cross_entropy(x, np.zeros(30, int), exact=True)}\n"
    for options, exact in (((), False), (("--exact",), True)):
        assert run("loss", "x.npy", "y.npy", *options, "--output-format", "json").json["exact"] == exact
    assert run("softmax", "x.npy", "--exact", "-o", "p.npy").code == 0
    np.testing.assert_array_equal(np.load("p.npy"), stablemax.softmax(x, exact=True))


@pytest.mark.parametrize("option", [("--variant", "naive"), ("--accumulate", "pairwise"), ("--format", "float32")])
def test_a_proof_of_what_has_rounding_errors_is_refused(option: tuple[str, str]) -> None:
    refused = run("loss", "samples/logits.npy", "samples/labels.npy", "--exact", *option)
    assert refused.code == 2
    named = " ".join(option)
    assert refused.err == (
        f"error: --exact proves results, and {named} asks for its rounding errors\nhint: leave out --exact or {named}\n"
    )
