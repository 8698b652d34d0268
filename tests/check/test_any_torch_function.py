"""Any function of PyTorch, searched for the smallest input that breaks it: modules, gradients, the pasted test."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from stablemax.check.any_function import judged_input  # noqa: E402
from stablemax.check.any_function.checking import checked  # noqa: E402
from stablemax.check.any_function.function_search import FunctionOptions  # noqa: E402
from stablemax.check.any_function.input_ranges import RangedArgument  # noqa: E402
from stablemax.check.target.any_target import AnyTarget  # noqa: E402
from stablemax.check.target.load import Code  # noqa: E402
from stablemax.check.target.messages import FurtherArgument, Target  # noqa: E402
from stablemax.cli.argument_ranges import range_of  # noqa: E402
from stablemax.numerics.formats import BFLOAT16, FLOAT32, Format  # noqa: E402
from stablemax.results import FunctionCheck, Grade, Outcome  # noqa: E402
from stablemax.trace.own_truth import trace_any  # noqa: E402


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    """Give a module that a pasted test imports the function from."""
    made = types.ModuleType("their_torch_code")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def check(function: Any, name: str, fmt: Format = FLOAT32, *, backward: bool = False, **typed: str) -> FunctionCheck:
    """Search a function of ranges as they are typed."""
    ranges = []
    for place, (argument, text) in enumerate(typed.items()):
        found = range_of(argument, text)
        assert found is not None
        ranges.append(RangedArgument(argument, found, place, text))
    further = tuple(FurtherArgument(one.name, one.drawn(fmt, 0), one.text) for one in ranges)
    target = Target(f"their_torch_code:{name}", backend="torch", further=further, backward=backward, is_any=True)
    return checked(AnyTarget(target, Code(function, name)), target, FunctionOptions(tuple(ranges), (fmt,), effort=0.25))


def run_pasted(report: FunctionCheck, module: types.ModuleType, function: Any) -> None:
    setattr(module, report.target.partition(":")[2], function)
    assert report.counterexample is not None
    names: dict[str, Any] = {}
    exec(report.counterexample.test, names)
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    test()


def positive_part(x: Any) -> Any:
    return torch.log(1 + torch.exp(x))


def weighed(x: Any, weight: Any) -> Any:
    return (positive_part(x) * weight).sum(dim=-1)


class Scores(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A module whose parameter makes its results infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.logs = torch.nn.Parameter(torch.tensor([1.0, 200.0]))

    def forward(self, x: Any) -> Any:
        return torch.log(x * torch.exp(self.logs))


def test_the_pasted_test_fails_on_the_code_and_passes_on_sound_code(module: types.ModuleType) -> None:
    report = check(positive_part, "positive_part", x="normal(0, 30, 2x3)")
    assert report.counterexample is not None
    assert (report.counterexample.outcome, report.counterexample.arguments[0].values) == (Outcome.OVERFLOW, (100.0,))
    with pytest.raises(AssertionError):
        run_pasted(report, module, positive_part)
    run_pasted(report, module, torch.nn.functional.softplus)


def test_a_gradient_that_breaks_is_written_as_autograd_takes_it(module: types.ModuleType) -> None:
    report = check(positive_part, "positive_part", backward=True, x="normal(0, 50, 2)")
    assert report.grade is Grade.UNSTABLE
    assert report.counterexample is not None
    assert "torch.autograd.grad(positive_part(x=x).sum(), x)" in report.counterexample.test
    with pytest.raises(AssertionError):
        run_pasted(report, module, positive_part)
    run_pasted(report, module, torch.nn.functional.softplus)


def test_a_parameter_of_a_module_is_followed_and_named() -> None:
    report = check(Scores(), "Scores()", x="uniform(1, 2, 2)")
    assert report.grade is Grade.UNSTABLE
    assert "first: its parameter logs[1] = 200.0" in report.blame


def test_bfloat16_is_searched_in_its_own_numbers(module: types.ModuleType) -> None:
    report = check(weighed, "weighed", BFLOAT16, x="normal(0, 60, 2x3)", weight="uniform(1, 2, 3)")
    assert report.counterexample is not None
    assert {a.dtype for a in report.counterexample.arguments} == {"bfloat16"}
    with pytest.raises(AssertionError):
        run_pasted(report, module, weighed)


@pytest.mark.parametrize("backward", [False, True])
def test_sound_code_gets_no_alarm(backward: bool) -> None:
    def sound(x: Any) -> Any:
        return torch.logsumexp(x, dim=-1)

    assert check(sound, "sound", backward=backward, x="normal(0, 50, 2x3)").passed


def test_a_gradient_without_an_exact_value_is_broken_where_its_trace_knows_a_derivative(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(x: Any) -> Any:
        return torch.where(x > 0, torch.sqrt(x), torch.zeros_like(x))

    def traced(subject: Any, max_ulp: float | None = None, **about: Any) -> Any:
        return replace(trace_any(subject, max_ulp, **about), outcome=Outcome.NAN)

    monkeypatch.setattr(judged_input, "trace_any", traced)
    report = check(chosen, "chosen", backward=True, x="uniform(-4, 4, 3)")
    assert (report.grade, report.formats[0].worst) == (Grade.UNSTABLE, Outcome.NAN)
    assert "where there is a derivative" in report.finding
    with pytest.raises(AssertionError):
        run_pasted(report, module, chosen)
    run_pasted(report, module, lambda x: torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, 1.0)), 0.0))


class Layer(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A module whose weights are drawn when it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 3)

    def forward(self, x: Any) -> Any:
        return torch.log(torch.softmax(self.linear(x) * 100, -1)).sum()


class MendedLayer(Layer):
    def forward(self, x: Any) -> Any:
        return torch.log_softmax(self.linear(x) * 100, -1).sum()


def test_a_pasted_test_makes_a_module_with_the_weights_that_were_checked(module: types.ModuleType) -> None:
    module.Layer = Layer  # type: ignore[attr-defined]
    ranged = range_of("x", "normal(0, 3, 4x2)")
    assert ranged is not None
    ranges = (RangedArgument("x", ranged, 0, "normal(0, 3, 4x2)"),)
    further = (FurtherArgument("x", ranges[0].drawn(FLOAT32, 0), ranges[0].text),)
    target = Target("their_torch_code:Layer", seed=7, backend="torch", further=further, is_any=True)
    report = checked(AnyTarget(target), target, FunctionOptions(ranges, (FLOAT32,), effort=0.25))
    assert report.counterexample is not None, report.finding
    assert "torch.manual_seed(7)" in report.counterexample.test
    with pytest.raises(AssertionError):
        run_pasted(report, module, Layer)
    torch.manual_seed(1)
    run_pasted(report, module, MendedLayer)
