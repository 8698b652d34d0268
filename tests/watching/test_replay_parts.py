"""Parts of the last operations: a part says the same as the whole, and what is told is true of the whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="operations of PyTorch are watched")

from torch import nn  # noqa: E402

import stablemax  # noqa: E402
from stablemax.watching.torch.finite_check import FiniteCheck  # noqa: E402
from stablemax.watching.torch.replay import Replay, drafts_of  # noqa: E402
from stablemax.watching.torch.replay_axes import Axes, axes_of  # noqa: E402
from stablemax.watching.torch.replay_likeness import cells_at, is_like  # noqa: E402
from stablemax.watching.torch.replay_parts import cut, positions_of, run_of, without_factories  # noqa: E402
from stablemax.watching.torch.smaller_replay import (  # noqa: E402
    MOST_EXACT,
    is_small,
    smaller_replay,
)

from .programs_run import FAULTY, watched  # noqa: E402

BATCH, KEPT = 6, [1, 4]


def recorded(function: Callable[..., Any], *tensors: Any) -> Replay:
    """The operations of a function as a replay."""
    check = FiniteCheck(lambda *_: None)
    with check, torch.no_grad():
        output = function(*tensors)
    replay, *_ = drafts_of(check.ring.all(), output, lambda _: "")
    return without_factories(replay)


def batch_of(replay: Replay, axes: Axes) -> int:
    """The first axis of the first numbers that a replay starts from with so many rows."""
    number = next(n for n, t in replay.leaves.items() if t.is_floating_point() and t.shape[0] == BATCH)
    (axis,) = axes.of(axes.dimensions[number][0])
    return axis


def heads(x: Any, w: Any) -> Any:
    q = (x @ w).view(*x.shape[:2], 2, 4).transpose(1, 2)
    return (torch.softmax(q @ q.transpose(-2, -1), -1) @ q).transpose(1, 2).reshape(*x.shape[:2], 8)


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "layers": (lambda x, w, b: torch.softmax(torch.relu(torch.addmm(b, x, w)), 1), ((BATCH, 5), (5, 3), (3,))),
    "heads": (heads, ((BATCH, 3, 8), (8, 8))),
    "width like the batch": (lambda x, w: torch.tanh(x @ w) @ w, ((BATCH, BATCH), (BATCH, BATCH))),
    "convolution": (lambda x, w: torch.conv2d(x, w, padding=1).flatten(1).mean(1), ((BATCH, 3, 6, 6), (4, 3, 3, 3))),
    "pool": (lambda x: torch.max_pool2d(x, 2).amax((2, 3)), ((BATCH, 2, 4, 4),)),
    "layer norm": (lambda x, w, b: nn.functional.layer_norm(x, (5,), w, b), ((BATCH, 4, 5), (5,), (5,))),
    "range of rows": (lambda x: x[torch.arange(BATCH), torch.tensor([0, 2, 1, 1, 0, 2])].log(), ((BATCH, 3),)),
    "labels": (
        lambda x: nn.functional.nll_loss(x, torch.tensor([0, 2, 1, 1, 0, 2]), reduction="none"), ((BATCH, 3),)
    ),
    "gather": (lambda x: x.gather(1, torch.tensor([0, 2, 1, 1, 0, 2])[:, None]).exp(), ((BATCH, 3),)),
    "pieces": (lambda x: torch.cat([*x.chunk(2, 1)[::-1], 2 * x.unsqueeze(2).squeeze(2)], 1), ((BATCH, 4),)),
    "written in place": (lambda x: (x * 2).add_(1).mul_(x), ((BATCH, 4),)),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_some_rows_of_a_batch_give_what_they_give_among_all(name: str) -> None:
    function, shapes = PROGRAMS[name]
    torch.manual_seed(0)
    replay = recorded(function, *(torch.rand(shape) for shape in shapes))
    whole = run_of(replay)
    axes = axes_of(replay, whole.tensors)
    kept = {batch_of(replay, axes): KEPT}
    assert axes.may_be_cut(*kept)
    part = run_of(cut(replay, axes, kept))
    for number, old in whole.tensors.items():
        places = [positions_of(axes, dimension, kept) for dimension in axes.dimensions[number]]
        assert is_like(cells_at(old, places), part.tensors[number], by_value=True)
    assert part.tensors[replay.result].shape[0] == len(KEPT)


def test_indices_that_are_cut_away_are_no_part() -> None:
    replay = recorded(lambda x: x[torch.tensor([5, 0])] * 2, torch.rand(BATCH, 3))
    axes = axes_of(replay, run_of(replay).tensors)
    axis = batch_of(replay, axes)
    with pytest.raises(ValueError, match="cut away"):
        cut(replay, axes, {axis: KEPT})
    assert run_of(cut(replay, axes, {axis: [0, 2, 5]})).tensors[replay.result].shape == (2, 3)


def test_a_diagonal_keeps_the_same_rows_and_columns() -> None:
    replay = recorded(lambda x: (x @ x.T).diagonal().exp(), torch.rand(BATCH, 3))
    whole = run_of(replay)
    axes = axes_of(replay, whole.tensors)
    part = run_of(cut(replay, axes, {batch_of(replay, axes): KEPT}))
    assert is_like(whole.tensors[replay.result][KEPT], part.tensors[replay.result], by_value=True)


def test_what_normalises_over_the_batch_is_not_cut_along_it() -> None:
    """With other rows the numbers are others, though they may be infinite in the same place."""
    torch.manual_seed(0)
    x = torch.randn(400, 60)
    x[0, 0] = 300.0

    def normalised(x: Any) -> Any:
        return torch.exp(40 * (x - x.mean(0)) / x.var(0))

    replay = recorded(normalised, x)
    part = smaller_replay(replay, replay.operations[-1].number)
    assert part is not None
    assert is_small(part.replay)
    number = replay.operations[-1].inputs[0]
    exponents = run_of(part.replay).tensors[number]
    assert is_like(cells_at(run_of(replay).tensors[number], part.places[number]), exponents, by_value=True)


def test_rows_of_a_batch_that_overflow_by_themselves_are_found_and_named() -> None:
    torch.manual_seed(0)
    x = torch.randn(300, 200)
    x[123, 7] = 500.0
    replay = recorded(lambda x: torch.log(torch.exp(x).sum(1)), x)
    assert sum(o.numbers for o in replay.operations) > MOST_EXACT
    part = smaller_replay(replay, replay.operations[0].number)
    assert part is not None
    assert part.words == "sample 123 of the 300"
    assert part.place(replay.operations[0].outputs[0], (0, 7)) == [123, 7]


TOLD = {
    "sqrt_at_zero_of_scaled_gradients_of_a_large_batch_autocast": (
        "sample 9 of the 256",
        "is infinite for 1 of 256 cells",
        "/ 0",
    ),
    "log_of_softmax_of_a_large_batch": ("sample 37 of the 256", "_softmax gives 0 for 8 of 2,560 cells", "[37, 0]"),
    "attention_over_128_tokens": ("sample 1 of the 4", "exp overflows for", "of 262,144 cells"),
    "norm_of_one_zero_row_among_512": ("sample 100 of the 512", "is infinite for 1 of 512 cells", "its output[100]"),
    "sum_in_float16_of_a_matrix": ("of the last", "sum overflows for 1 of 1 cell", "of 75,000 terms"),
    "probability_of_one_class_of_30000": ("of the 30,000", "_softmax gives 0 for", "of 960,000 cells"),
}
"""Of a program: its part, and two passages about the whole."""
CURES = {
    "sqrt_at_zero_of_scaled_gradients_of_a_large_batch_autocast": "norm-at-zero",
    "log_of_softmax_of_a_large_batch": "log-of-softmax",
    "attention_over_128_tokens": "softmax-by-exp",
    "norm_of_one_zero_row_among_512": "norm-at-zero",
    "sum_in_float16_of_a_matrix": "mean-in-half",
    "probability_of_one_class_of_30000": "log-of-softmax",
}


@pytest.mark.parametrize("name", TOLD)
def test_a_large_program_gets_an_exact_cause_with_the_counts_of_the_whole_and_a_cure(name: str) -> None:
    result = watched(next(p for p in FAULTY if p.stem == f"operation_{name}"))
    part, *passages = TOLD[name]
    assert result.cause is not None
    assert result.cause.truth == "exact arithmetic"
    assert all(passage in result.cause.sentence for passage in passages), result.cause.sentence
    if result.cause.is_fault_itself:
        assert result.fault is not None
        (counted,) = re.findall(r"for [\d,]+ of [\d,]+ cells?|$", result.fault.sentence)[:1]
        assert counted in result.cause.sentence
    assert any("a part that shows the fault" in note and part in note for note in result.notes), result.notes
    assert result.retrace is not None
    assert part in result.retrace.source
    assert result.pattern == CURES[name]
    assert "run on all of it, too: all is finite" in result.instead_why


def test_code_that_cures_a_part_and_not_the_whole_is_not_told() -> None:
    """Held to exp(11), one number fits into float16, and a sum of two does not."""
    for rows, is_told in ((1, True), (4, False)):
        x = torch.full((512, 64), -20.0, dtype=torch.float16)
        x[5 : 5 + rows, 3] = 12.0
        with stablemax.watch(repro=None, quiet=True) as seen:
            (torch.exp(x).sum() * 1).sum()
        assert seen.result.cause is not None
        assert seen.result.cause.operation == "aten.exp"
        assert (seen.result.pattern == "exp-beyond-range") is is_told


def test_code_that_gives_the_same_infinity_is_no_cure() -> None:
    x = torch.tensor([0.5, 1.0, 0.25])
    with stablemax.watch(repro=None, quiet=True) as seen:
        held = torch.log(1 - x)
    assert held.isinf().any()
    assert (seen.result.verdict, seen.result.pattern, seen.result.instead) == ("operation", "", "")


def test_a_sum_that_no_part_shows_stands_beside_float64_and_a_note_says_so() -> None:
    x = torch.full((700, 600), 0.25, dtype=torch.float16)
    with stablemax.watch(repro=None, quiet=True) as seen:
        x.sum().sqrt().sum()
    result = seen.result
    assert result.cause is not None
    assert (result.cause.operation, result.cause.truth) == ("aten.sum", "float64")
    assert any("no part of them shows" in note for note in result.notes), result.notes
