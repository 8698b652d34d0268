"""Training programs with a fault get the right one of the three, and its line; sound ones get no alarm."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="programs of PyTorch are watched")

from stablemax.results import WatchVerdict  # noqa: E402
from stablemax.watching.torch.watcher import Watcher  # noqa: E402
from stablemax.watching.watch_options import WatchOptions  # noqa: E402

from .programs_run import FAULTY, SOUND, marked, names, run, watched  # noqa: E402


@pytest.mark.parametrize("path", FAULTY, ids=names)
def test_a_faulty_program_gets_the_right_one_of_the_three_and_its_line(path: Path) -> None:
    result = watched(path)
    assert result.error == ""
    assert result.verdict == path.stem.partition("_")[0], result.finding
    assert result.fault is not None
    assert Path(result.fault.file).name == path.name
    if result.verdict is WatchVerdict.DATA:
        data = result.incoming or result.outlier
        assert data is not None
        assert (Path(data.file).name, data.line) == (path.name, marked(path, "seen first"))
    if result.verdict is WatchVerdict.OPERATION:
        assert result.fault.line == marked(path, "fault"), result.finding
        if marked(path, "cause"):
            assert result.cause is not None, result.notes
            assert (Path(result.cause.file).name, result.cause.line) == (path.name, marked(path, "cause"))


@pytest.mark.parametrize("path", SOUND, ids=names)
def test_a_sound_program_gets_no_alarm_and_the_bits_that_it_has_unwatched(path: Path) -> None:
    watcher = Watcher(WatchOptions(repro=""))
    with watcher.watching():
        bits = left_by(run(path))
    result = watcher.result
    assert (result.verdict, result.error) == (None, ""), result.finding
    assert result.operations > 100
    assert left_by(run(path)) == bits


def left_by(variables: dict[str, Any]) -> tuple[list[float], list[list[float]]]:
    """What the generator gives next, and all parameters that a program has left."""
    modules = [v for v in variables.values() if isinstance(v, torch.nn.Module)]
    parameters = [p for m in modules for p in m.parameters()]
    parameters += [v for v in variables.values() if isinstance(v, torch.nn.Parameter)]
    assert parameters
    return torch.rand(3).tolist(), [p.detach().flatten().tolist() for p in parameters]


@pytest.mark.parametrize("path", FAULTY, ids=names)
def test_the_script_shows_each_fault_and_the_test_fails(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = watched(path, repro=str(tmp_path / "repro"))
    assert result.repro, result.notes
    runpy.run_path(str(tmp_path / "repro" / "show.py"), run_name="__main__")
    assert not capsys.readouterr().out.splitlines()[-1].startswith("0 of ")
    with pytest.raises(AssertionError, match="cells are inf or NaN"):
        runpy.run_path(str(tmp_path / "repro" / "test_repro.py"))[
            "test_the_last_operations_give_the_numbers_that_they_should"
        ]()


CURED = {
    "entropy_of_a_policy": ("log-of-softmax", "torch.log(p)"),
    "log_of_softmax": ("log-of-softmax", "torch.log(p)"),
    "log_of_softmax_of_a_large_batch": ("log-of-softmax", "torch.log(p)"),
    "log_of_softmax_in_the_backward_pass": ("log-of-softmax", "torch.log(p[torch.arange(2), torch.tensor([1, 0])])"),
    "logsumexp_of_large_logits": ("log-of-sum-of-exp", "torch.log(torch.exp(logits).sum(1))"),
    "naive_softplus_without_an_optimizer": ("log-of-one-plus-exp", "torch.log(1 + torch.exp(x @ (weight + 1)))"),
    "norm_of_one_zero_row_among_512": ("norm-at-zero", "torch.sqrt((h * h).sum(1))"),
    "sqrt_at_zero": ("norm-at-zero", "torch.sqrt(squares)"),
    "sqrt_at_zero_of_scaled_gradients_autocast": ("norm-at-zero", "torch.sqrt(hidden.float().square().sum(1))"),
    "untaken_branch": ("untaken-branch", "torch.log(weight)"),
}
"""The pattern that is told, and the expression in whose place its code is written, behind which an index stays."""


@pytest.mark.parametrize("name", CURED)
def test_a_program_with_the_code_that_is_told_gets_no_alarm(name: str, tmp_path: Path) -> None:
    path = next(p for p in FAULTY if p.stem == f"operation_{name}")
    pattern, place = CURED[name]
    result = watched(path)
    assert (result.pattern, result.error) == (pattern, ""), result.finding
    assert "what the last operations got" in result.instead_why
    *imports, said, code = result.instead.splitlines()
    assert said.startswith("# ")
    assert f"{path.name}:{result.fault.line}" in said  # type: ignore[union-attr]
    cured = tmp_path / path.name
    source = path.read_text(encoding="utf-8")
    assert source.count(place) == 1
    index = "[torch.arange(2), torch.tensor([1, 0])]" if "[" in place else ""
    text = source.replace(place, f"({code}){index}")
    cured.write_text("\n".join([*imports, text]), encoding="utf-8")
    again = watched(cured)
    assert (again.verdict, again.error) == (None, ""), again.finding


def test_patterns_of_half_precision_and_of_several_places_are_told() -> None:
    by_name = {p.stem: p for p in FAULTY}
    half = watched(by_name["operation_variance_in_float16_autocast"])
    assert half.pattern == "mean-of-squares-in-half"
    assert "(x.float() ** 2).mean(-1, keepdim=True).to(x.dtype)" in half.instead
    both = watched(by_name["operation_naive_sigmoid_loss_float64"])
    assert both.pattern == "log-of-one-minus-sigmoid, log-of-sigmoid"
    assert "F.logsigmoid(" in both.instead


def test_no_cure_is_told_where_none_was_run() -> None:
    for name in ("operation_adam_without_epsilon", "operation_label_of_a_masked_class", "divergence_of_sgd"):
        result = watched(next(p for p in FAULTY if p.stem == name))
        assert (result.pattern, result.instead, result.instead_why) == ("", "", "")


def test_an_infinity_that_is_right_where_it_is_made_is_not_called_the_fault_of_the_input() -> None:
    result = watched(next(p for p in FAULTY if p.stem == "operation_log_of_softmax_in_the_backward_pass"))
    assert result.fault is not None
    assert result.cause is not None
    assert (result.fault.phase, result.fault.operation, result.fault.step) == ("backward", "aten.div", 2)
    assert "the input is to blame" not in result.cause.sentence
    assert result.retrace is not None
    assert result.retrace.outcome.is_failure


def test_a_cause_is_not_the_operation_that_shows_it() -> None:
    result = watched(next(p for p in FAULTY if p.stem == "operation_log_of_softmax"))
    assert result.fault is not None
    assert result.cause is not None
    assert (result.fault.operation, result.fault.module) == ("aten.log", "Net")
    assert (result.cause.operation, result.cause.is_fault_itself) == ("aten._softmax", False)
    assert result.cause.truth == "exact arithmetic"
    assert result.retrace is not None


def test_results_too_many_for_exact_arithmetic_are_traced_in_part() -> None:
    result = watched(next(p for p in FAULTY if "too_large" in p.stem))
    assert result.cause is not None
    assert (result.cause.operation, result.cause.truth) == ("aten.exp", "exact arithmetic")
    assert result.retrace is not None
    assert any("a part that shows the fault: sample 0 of the 256" in note for note in result.notes), result.notes
    assert result.pattern == "log-of-softmax"


def test_what_came_in_is_named_with_its_first_index_and_its_step() -> None:
    by_name = {p.stem: p for p in FAULTY}
    batch = watched(by_name["data_nan_in_a_batch"]).incoming
    assert batch is not None
    assert (batch.name, batch.shape, batch.place, batch.value, batch.step) == ("", (8, 6), (1, 4), "nan", 4)
    infinite = watched(by_name["data_inf_in_a_batch_autocast"]).incoming
    assert infinite is not None
    assert (infinite.shape, infinite.place, infinite.value, infinite.step) == ((4, 5), (3, 1), "inf", 2)
    checkpoint = watched(by_name["data_nan_in_a_checkpoint"]).incoming
    assert checkpoint is not None
    assert (checkpoint.name, checkpoint.place) == ("head.bias", (2,))


def test_a_number_far_from_the_others_is_named_with_its_index_and_how_far_it_is() -> None:
    by_name = {p.stem: p for p in FAULTY}
    number = watched(by_name["data_outlier_in_a_batch"])
    assert number.outlier is not None
    assert (number.outlier.shape, number.outlier.place) == ((16, 6), (3, 2))
    assert 1 < number.outlier.others < 5
    assert "holds 1e+30 at [3, 2], " in number.finding
    assert "e+29 times as large as the other 15 samples, of up to " in number.finding
    assert "with that sample replaced by another the same operations give numbers" in number.finding
    column = watched(by_name["data_column_of_another_unit_autocast"]).outlier
    assert column is not None
    assert (column.part, column.parts, column.place[1]) == ("column", 1, 4)
    label = watched(by_name["data_label_below_zero"])
    assert label.outlier is not None
    assert (label.outlier.dtype, label.outlier.place, label.outlier.value) == ("int64", (5,), -1.0)
    assert "holds -1 at [5], below 0, unlike the other 11 samples, of up to 2" in label.finding


def exponential(out: Any) -> Any:
    return torch.exp(out.abs() + 100).mean()


def log_of_softmax(out: Any) -> Any:
    return -torch.log(torch.softmax(torch.cat([out, -out], 1), 1)).mean()


def squares(out: Any) -> Any:
    return out.square().mean()


@pytest.mark.parametrize(
    ("loss_of", "rows", "size"), [(exponential, [3], 1e6), (log_of_softmax, [3], 1e6), (squares, range(16), 1e25)]
)
def test_a_fault_that_other_samples_make_too_or_that_a_cure_is_known_for_is_no_fault_of_the_data(
    loss_of: Any, rows: Any, size: float
) -> None:
    watcher = Watcher(WatchOptions(repro=""))
    with watcher.watching():
        torch.manual_seed(0)
        layer, x = torch.nn.Linear(6, 1), torch.randn(16, 6)
        x[list(rows)] *= size
        loss_of(layer(x)).backward()
    assert watcher.result.verdict is WatchVerdict.OPERATION, watcher.result.finding
    assert (watcher.result.outlier, watcher.result.error) == (None, "")


def test_the_size_of_an_index_tells_nothing_of_it() -> None:
    watcher = Watcher(WatchOptions(repro=""))
    with watcher.watching():
        torch.manual_seed(0)
        table = torch.nn.Embedding(10_000, 2)
        with torch.no_grad():
            table.weight[9_000] = 100.0
        torch.exp(table(torch.tensor([1, 2, 9_000, 3]))).mean().backward()
    assert watcher.result.verdict is WatchVerdict.OPERATION, watcher.result.finding
    assert watcher.result.outlier is None


def test_a_divergence_has_a_table_in_which_the_loss_grows() -> None:
    result = watched(next(p for p in FAULTY if p.stem == "divergence_of_sgd"))
    losses = [s.loss for s in result.history if s.loss is not None]
    assert losses == sorted(losses)
    assert len(losses) >= 5
    assert losses[-1] > 1e9 * losses[0]
    assert all(s.largest_weight for s in result.history)


def test_a_backward_operation_stands_on_its_forward_line() -> None:
    result = watched(next(p for p in FAULTY if p.stem == "operation_sqrt_at_zero"))
    assert result.fault is not None
    assert (result.fault.phase, result.fault.step, result.fault.operation) == ("backward", 3, "aten.div")


def test_overflows_that_gradscaler_expects_are_counted() -> None:
    result = watched(next(p for p in SOUND if p.stem == "autocast_with_scaler"))
    assert result.scaled_overflows == result.skipped_steps
    assert 0 < result.skipped_steps < 16
    assert result.steps == 16


def test_infinities_that_are_taken_out_again_are_noted() -> None:
    result = watched(next(p for p in SOUND if p.stem == "infinities_taken_out"))
    assert any("that went no further (first: div at" in note for note in result.notes)


def test_in_steps_that_are_not_watched_nothing_is_checked_and_what_they_made_is_called_unseen(tmp_path: Path) -> None:
    path = next(p for p in FAULTY if p.stem == "operation_sqrt_at_zero")
    unwatched = watched(path, from_step=100)
    assert (unwatched.verdict, unwatched.operations) == (None, 0)
    assert unwatched.finding == "Nothing was watched: no operation ran in a step that is watched, of 4 steps."
    assert watched(path, from_step=3).verdict is WatchVerdict.OPERATION
    later = watched(path, from_step=4)
    assert later.verdict is WatchVerdict.UNSEEN
    assert later.incoming is not None
    assert later.incoming.name == "weight"
    assert watched(path, every=2).verdict is WatchVerdict.OPERATION  # steps 1 and 3
    assert watched(next(p for p in SOUND if p.stem == "sgd"), every=3).operations < 400


def test_a_number_that_becomes_0_is_found_where_that_is_asked_for(tmp_path: Path) -> None:
    program = tmp_path / "underflow.py"
    program.write_text(
        "import torch\nw = torch.nn.Parameter(torch.tensor([1e-30, 1.0]))\n"
        "kept = torch.relu(w - 1)\nsmall = w * w\n(small.sum() + kept.sum()).backward()\n"
    )
    assert watched(program).verdict is None
    result = watched(program, on=("lost",))
    assert result.fault is not None
    assert (result.fault.kind, result.fault.line, result.fault.place) == ("lost", 4, (0,))


def test_code_that_loses_the_same_number_is_no_cure(tmp_path: Path) -> None:
    program = tmp_path / "underflow.py"
    program.write_text(
        "import torch\nw = torch.nn.Parameter(torch.tensor([0.0, 200.0]))\n"
        "p = torch.softmax(w, 0)\n(p * w).sum().backward()\n"
    )
    result = watched(program, on=("lost",))
    assert result.fault is not None
    assert (result.fault.line, result.fault.kind) == (3, "lost")
    assert (result.pattern, result.instead) == ("", ""), result.instead


def test_only_what_is_asked_for_is_reported() -> None:
    path = next(p for p in FAULTY if p.stem == "operation_variance_in_float16_autocast")
    assert watched(path, on=("overflow",)).fault.kind == "overflow"  # type: ignore[union-attr]
    of_nan = watched(path, on=("nan",))
    assert of_nan.fault is None or of_nan.fault.kind == "nan"


@pytest.mark.parametrize("path", [p for p in FAULTY if p.stem.startswith("operation")][::4], ids=names)
def test_sums_that_are_looked_at_later_give_the_same_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a GPU, where to look at a number waits for the device.
    monkeypatch.setattr("stablemax.watching.torch.finite_check.AT_ONCE", frozenset())
    result = watched(path, every=1)
    assert (result.verdict, result.error) == ("operation", "")
    assert result.fault is not None
    assert result.fault.line == marked(path, "fault"), result.finding
