"""Divergence and an operation: pairs of runs on both sides of the border between the two."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="programs of PyTorch are watched")

from stablemax.results import Watched, WatchedStep, WatchVerdict  # noqa: E402
from stablemax.watching.block import report  # noqa: E402
from stablemax.watching.growth import Evidence, growths_of  # noqa: E402
from stablemax.watching.torch.watcher import Watcher  # noqa: E402
from stablemax.watching.watch_options import WatchOptions  # noqa: E402

DIVERGENCE, OPERATION = WatchVerdict.DIVERGENCE, WatchVerdict.OPERATION
FORMATS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
OPTIMIZERS = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}


class Training:
    """A small network that is trained, with an optimizer, in a format."""

    def __init__(self, optimizer: str, fmt: str) -> None:
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
        self.optimizer = OPTIMIZERS[optimizer](self.net.parameters(), lr=1e-3)
        self.format = FORMATS[fmt]
        self.noise = torch.Generator().manual_seed(1)

    def steps(self, count: int, loss_of: Callable[[Any], Any], *, rate: float = 1e-3, size: float = 1.0) -> None:
        self.optimizer.param_groups[0]["lr"] = rate
        for _ in range(count):
            x = size * torch.randn(32, 4, generator=self.noise)
            with torch.autocast("cpu", dtype=self.format or torch.bfloat16, enabled=self.format is not None):
                out = self.net(x)
            loss = loss_of(out.float())
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1e9)
            self.optimizer.step()


def poisson(out: Any) -> Any:
    return (torch.exp(out) - 3 * out).mean()


def beyond_range(out: Any) -> Any:
    return torch.exp(out.abs() + 100).mean()


def squares(out: Any) -> Any:
    return (out - 1).square().mean()


def log_of_softmax(out: Any) -> Any:
    return -torch.log(torch.softmax(torch.cat([out, -out], 1), 1))[:, 0].mean()


def watched(run: Callable[[], None]) -> Watched:
    watcher = Watcher(WatchOptions(repro=""))
    with warnings.catch_warnings(), watcher.watching():
        warnings.simplefilter("ignore")
        run()
    assert watcher.result.error == ""
    return watcher.result


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_exponential_overflows_by_divergence_where_one_step_moved_the_weights_and_else_by_itself(
    optimizer: str, fmt: str
) -> None:
    def at_a_rate_too_large() -> None:
        training = Training(optimizer, fmt)
        training.steps(6, poisson)
        training.steps(2, poisson, rate=10.0)

    def at_ordinary_weights() -> None:
        training = Training(optimizer, fmt)
        training.steps(6, poisson)
        training.steps(1, beyond_range)

    diverged = watched(at_a_rate_too_large)
    assert diverged.verdict is DIVERGENCE, diverged.finding
    assert diverged.fault is not None
    assert diverged.fault.step == 8
    assert re.match(
        r"Divergence: the largest weight grew from 0\.\d+ at step 6 to \d\d[.\d]* at step 8", diverged.finding
    )
    assert "with weights as large as at step 6 the same operations give numbers" in diverged.finding
    *_, before, moved, last = diverged.history
    assert moved.largest_weight is not None
    assert before.largest_weight is not None
    assert moved.largest_weight > 10 * before.largest_weight
    # No backward pass has run in that step: the gradient is none of that step.
    assert (last.loss, last.gradient_norm) == (None, None)
    assert re.search(r"\n  step 7: loss 0\.\d+, largest \|weight\| \d\d[.\d]*, gradient \d", report(diverged))
    ordinary = watched(at_ordinary_weights)
    assert ordinary.verdict is OPERATION, ordinary.finding
    assert ordinary.fault is not None
    assert ordinary.fault.operation == "aten.exp"


def blows_up_at_once(training: Training) -> None:
    training.steps(3, squares, rate=1e6)


def blows_up_at_once_with_a_curable_operation(training: Training) -> None:
    training.steps(3, log_of_softmax, rate=1e6)


def overflows_in_the_first_step(training: Training) -> None:
    training.steps(3, beyond_range, rate=1e6)


def gets_a_batch_of_another_size(training: Training) -> None:
    training.steps(4, lambda out: torch.exp(out).mean())
    training.steps(2, lambda out: torch.exp(out).mean(), size=1000.0)


def gets_logits_of_another_size(training: Training) -> None:
    training.steps(4, log_of_softmax)
    training.steps(1, log_of_softmax, size=1000.0)


def has_weights_that_explode_beside_it(training: Training) -> None:
    aside = torch.nn.Parameter(torch.ones(3))
    training.optimizer.add_param_group({"params": [aside], "lr": 1e3})
    for loss_of in (poisson, poisson, beyond_range):
        training.steps(1, loss_of)
        with torch.no_grad():
            aside.mul_(1e3)


@pytest.mark.parametrize(
    ("run", "optimizer", "fmt", "verdict"),
    [
        (blows_up_at_once, "SGD", "float32", DIVERGENCE),
        (blows_up_at_once, "SGD", "float16", DIVERGENCE),
        (blows_up_at_once, "Adam", "float16", DIVERGENCE),
        (blows_up_at_once_with_a_curable_operation, "SGD", "float32", DIVERGENCE),
        (blows_up_at_once_with_a_curable_operation, "Adam", "bfloat16", DIVERGENCE),
        (overflows_in_the_first_step, "SGD", "float32", OPERATION),
        (overflows_in_the_first_step, "Adam", "float16", OPERATION),
        (gets_a_batch_of_another_size, "SGD", "float32", OPERATION),
        (gets_a_batch_of_another_size, "Adam", "bfloat16", OPERATION),
        (gets_logits_of_another_size, "SGD", "float32", OPERATION),
        (gets_logits_of_another_size, "Adam", "bfloat16", OPERATION),
        (has_weights_that_explode_beside_it, "SGD", "float32", OPERATION),
        (has_weights_that_explode_beside_it, "Adam", "bfloat16", OPERATION),
    ],
)
def test_weights_that_grew_are_the_reason_only_where_the_fault_comes_of_them(
    run: Callable[[Training], None], optimizer: str, fmt: str, verdict: WatchVerdict
) -> None:
    result = watched(lambda: run(Training(optimizer, fmt)))
    assert result.verdict is verdict, result.finding


def test_weights_without_an_optimizer_are_those_of_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> None:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 1)
        for _ in range(4):
            torch.exp(layer(torch.ones(2, 3))).mean().backward()
            with torch.no_grad():
                for p in layer.parameters():
                    p.add_(30 * p.grad)
                    p.grad = None

    monkeypatch.setattr(gc, "get_objects", list)  # optimizers of other tests may live
    result = watched(run)
    assert result.verdict is DIVERGENCE, result.finding
    assert "the largest weight grew from 0." in result.finding


def test_a_parameter_that_explodes_beside_larger_ones_is_named() -> None:
    def run() -> None:
        net = torch.nn.ModuleDict({"scale": torch.nn.Linear(1, 1, bias=False)})
        with torch.no_grad():
            net["scale"].weight.fill_(0.1)
        large = torch.nn.Parameter(torch.full((2,), 50.0))
        optimizer = torch.optim.SGD([*net.parameters(), large], lr=1.0)
        for _ in range(4):
            rate = torch.exp(net["scale"](torch.ones(1, 1))).sum()
            loss = rate - rate.detach() + 0 * large.sum()
            optimizer.zero_grad()
            loss.backward()
            net["scale"].weight.grad.fill_(-33.3)
            optimizer.step()

    result = watched(run)
    assert result.verdict is DIVERGENCE, result.finding
    assert "the largest weight of weight grew from 0.1 before the first step to 100 at step 4" in result.finding


def step(number: int, loss: float | None = None, weight: float | None = 0.5, gradient: float | None = 1.0) -> Any:
    return WatchedStep(number, loss, weight, gradient)


def test_what_grew_needs_no_more_evidence_where_weights_grew_by_far_in_few_steps() -> None:
    calm = [step(n, 2.0 - 0.1 * n) for n in range(1, 5)]
    assert list(growths_of(calm, {}, str)) == []
    (exploded,) = [g for g in growths_of([*calm, step(5, 2.0, 1e3)], {}, str) if g.needs is Evidence.NONE]
    assert (exploded.first_step, exploded.last_step, exploded.noun) == (4, 5, "the largest weight")
    slowly = [step(n, 1.0, 0.5 + n) for n in range(100)]
    assert [g.needs for g in growths_of(slowly, {}, str)] == [Evidence.NO_CURE]
    gradients = [step(n, 1.0, gradient=10.0**n) for n in range(1, 7)]
    assert [(g.noun, g.needs) for g in growths_of(gradients, {}, str)] == [("the gradient", Evidence.NO_CURE)]
    jump = [*calm, step(5, 1e9)]
    assert list(growths_of(jump, {}, str)) == []  # of weights as before a loss jumps by the batch
    assert [g.needs for g in growths_of([*calm, step(5, 1e9, 1.5)], {}, str)] == [Evidence.TRIAL]
    assert list(growths_of([step(0), step(1, 1e9, 1e9)], {}, str)) == []
