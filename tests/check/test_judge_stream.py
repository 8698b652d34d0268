"""`judge_stream`: an output of any size, whose every cell is judged, to one report for any threads and memory."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stablemax
from stablemax.check import judge_job
from stablemax.check.judge_job import JudgeJob, JudgePart
from stablemax.check.judge_options import JudgeOptions
from stablemax.check.judge_output import judge_output, judge_stream
from stablemax.compute.streaming import RESERVED, Resources
from stablemax.inputs.blocks import Block
from stablemax.inputs.logits import as_stream
from stablemax.inputs.open import ComputedOutput
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.workspace import Workspace
from stablemax.numerics.formats import FLOAT32, FLOAT64, Array
from stablemax.operations import get_operation
from stablemax.operations.targets import TargetOptions
from stablemax.results import JudgeReport, Outcome
from stablemax.text.vocabulary import Reduction
from stablemax.truth.case import Case, Shared, setting_of

DRAW = np.random.default_rng(7)
X = (DRAW.normal(size=(60, 11)) * 4).astype(np.float32)
X[3, 4] = X[40, 2] = -np.inf
X[50] = -np.inf
X[51, 3] = np.nan
LABELS = DRAW.integers(0, 11, 60)
LABELS[::7] = -100
OTHER = DRAW.normal(size=(60, 11)).astype(np.float32)


def faulty(output: Array) -> Array:
    """Make some cells wrong, by little, by much, and beyond all measure."""
    out = np.array(output, dtype=np.float32)
    flat = out.reshape(len(out), -1)
    flat[5] *= np.float32(1 + 1e-6)
    flat[17, -1] = 0
    flat[20:23, 0] = np.nan
    flat[44, 0] *= 2
    return out


OUTPUTS: dict[str, tuple[Array, dict[str, Any]]] = {
    "softmax": (faulty(stablemax.softmax(X)), {}),
    "logsumexp": (faulty(stablemax.logsumexp(X)), {}),
    "cross_entropy": (
        faulty(stablemax.cross_entropy(X, LABELS, ignore_index=-100, reduction="none")),
        {"labels": LABELS},
    ),
    "cross_entropy_grad": (faulty(stablemax.cross_entropy_grad(X, LABELS, ignore_index=-100)), {"labels": LABELS}),
    "softmax_vjp": (faulty(stablemax.softmax_vjp(X, OTHER)), {"upstream": OTHER}),
    "sigmoid": (faulty(stablemax.sigmoid(X)), {}),
}


def judged(name: str, **resources: Any) -> JudgeReport:
    output, beside = OUTPUTS[name]
    second = next(iter(beside.values()), None)
    stream = as_stream(StoredArray.of(X), () if second is None else StoredArray.of(second), axis=1)
    rows = as_stream(StoredArray.of(output.reshape(len(X), -1)), axis=1)
    options = JudgeOptions(get_operation(name), FLOAT32, ignore_index=-100)
    return judge_stream(
        stream, ComputedOutput(rows, "the output", output.dtype), options, resources=Resources(**resources)
    )


@pytest.mark.parametrize("name", OUTPUTS)
@given(st.integers(1, 5), st.integers(1, 700), st.sampled_from([None, RESERVED + 20_000, RESERVED + 50_000]))
def test_a_report_is_the_same_for_any_threads_memory_and_steps(
    name: str, threads: int, cells: int, memory: int | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge_job, "STEP_CELLS", cells)
        # Few logits are one block, but for a cap that makes them several.
        # As text: a NaN does not equal itself.
        assert repr(judged(name, threads=threads, memory=memory)) == repr(judged(name, threads=1))


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_job_can_be_sent_to_another_process(name: str) -> None:
    output, beside = OUTPUTS[name]
    second = next(iter(beside.values()), None)
    stream = as_stream(StoredArray.of(X), () if second is None else StoredArray.of(second), axis=1)
    rows = as_stream(StoredArray.of(output.reshape(len(X), -1)), axis=1)
    options = JudgeOptions(get_operation(name), FLOAT32, ignore_index=-100)
    job = JudgeJob(stream=stream, output=rows, options=options, divisor=1.0, step=8)
    block = Block(0, 60)
    sent: JudgePart = pickle.loads(pickle.dumps(job))(block, Workspace())
    here = job(block, Workspace())
    assert repr(sent.faulty) == repr(here.faulty)
    assert sent.tally.cells.tolist() == here.tally.cells.tolist()


@pytest.mark.slow
def test_one_wrong_cell_in_any_step_is_found() -> None:
    rows = 2 * judge_job.STEP_CELLS // 64 + 1
    x = DRAW.normal(size=(rows, 64)).astype(np.float32)
    p = stablemax.softmax(x)
    row, column = rows // 3, 17
    p[row, column] = 0
    report = judge_output(p, x, None, None, JudgeOptions(get_operation("softmax"), FLOAT32))
    assert (report.input.judged_rows, report.notes, report.passed) == (rows, (), False)
    (cell,) = report.faulty_cells
    assert (cell.row, cell.column, cell.outcome, cell.output) == (row, column, Outcome.LOST, 0.0)
    assert report.correctly_rounded_share == (p.size - 1) / p.size


def exact_softmax(x: Array) -> Array:
    setting = setting_of(Case(get_operation("softmax"), np.arange(len(x)), x), Shared(FLOAT64))
    return np.asarray(setting.exact.truth.rounded)


def test_the_errors_are_counted_by_powers_of_two_and_the_nearest_numbers_apart() -> None:
    x = DRAW.normal(size=(5, 16))
    p = exact_softmax(x)
    steps = np.zeros(p.shape, dtype=np.int64)
    # An error of n steps lies between n - 1/2 and n + 1/2 ulp.
    for place, count in enumerate((1, 3, 3, 6, 12, 12, 12)):
        steps.flat[place * 11] = count
    moved = (p.view(np.int64) + steps).view(np.float64)
    report = judge_output(moved, x, None, None, JudgeOptions(get_operation("softmax"), FLOAT64))
    found = {(e.above_ulp, e.up_to_ulp): e.cells for e in report.errors}
    assert report.correctly_rounded_share == (p.size - 7) / p.size
    assert found.pop((0.0, 0.5)) == p.size - 7
    assert found.pop((4.0, 8.0)) == 1
    assert found.pop((8.0, 16.0)) == 3
    assert sum(n for (above, _), n in found.items() if above <= 1.0) in (1, 2, 3)
    assert sum(found.values()) == 3
    assert report.faulty_cells == ()


def test_an_error_of_a_power_of_two_is_the_end_of_its_range() -> None:
    bins = judge_job._binned(np.array([0.0, 0.25, 0.5, 0.500001, 1.0, 1.5, 2.0, 2.1, 2.0**80, np.nan]))
    assert bins[:5].tolist() == [3, 2, 2, 1, 0]
    assert (bins[-1], bins.sum()) == (1, 9)


def test_the_first_wrong_cells_are_named_in_the_order_of_their_rows() -> None:
    report = judged("softmax", threads=1)
    assert [(c.row, c.column, c.outcome) for c in report.faulty_cells] == [
        (17, 10, Outcome.LOST),
        (20, 0, Outcome.NAN),
        (21, 0, Outcome.NAN),
        (22, 0, Outcome.NAN),
        (44, 0, Outcome.INACCURATE),
    ]
    assert report.faulty_cells[0].truth > 0
    assert report.faulty_cells[4].error_ulp is not None


def test_cells_without_a_value_are_not_among_the_correctly_rounded() -> None:
    output = np.array(stablemax.softmax(X))
    report = judge_output(output, X, None, None, JudgeOptions(get_operation("softmax"), FLOAT32))
    assert report.correctly_rounded_share == 1.0
    output[50:52] = 0
    without = judge_output(output, X, None, None, JudgeOptions(get_operation("softmax"), FLOAT32))
    assert (without.correctly_rounded_share, without.errors) == (1.0, report.errors)


@pytest.mark.parametrize("reduction", [Reduction.MEAN, Reduction.SUM])
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_the_gradient_of_a_weighted_loss_is_divided_by_the_weights_of_its_labels(
    reduction: Reduction, smoothing: float
) -> None:
    x, y = X[:40], np.where(LABELS[:40] < 0, 0, LABELS[:40])
    weight = np.linspace(0.25, 3.0, 11)
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    logits = torch.tensor(x.astype(np.float64), requires_grad=True)
    torch.nn.functional.cross_entropy(
        logits, torch.tensor(y), torch.tensor(weight), reduction=reduction.value, label_smoothing=smoothing
    ).backward()
    gradient = logits.grad.numpy()
    options = JudgeOptions(
        get_operation("cross_entropy_grad"),
        FLOAT64,
        reduction=reduction,
        targets=TargetOptions(weight, smoothing),
    )
    kept = np.asarray(np.isfinite(x).all(axis=-1))
    right = judge_output(gradient, x.astype(np.float64), y, None, options)
    assert not [c for c in right.faulty_cells if kept[c.row]], right.finding
    # Divided by the number of rows instead, it is another gradient.
    if reduction is Reduction.MEAN:
        other = gradient * weight[y].sum() / len(y)
        assert [c for c in judge_output(other, x.astype(np.float64), y, None, options).faulty_cells if kept[c.row]]
