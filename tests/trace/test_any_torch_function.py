"""Any function of PyTorch under trace, forwards and through autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="code of PyTorch is traced")

from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, Format  # noqa: E402
from stablemax.results import Outcome, Trace  # noqa: E402
from stablemax.trace.given_arguments import GivenArguments  # noqa: E402
from stablemax.trace.own_truth import trace_any  # noqa: E402
from stablemax.trace.torch.torch_trace import TorchCode  # noqa: E402

Function = Callable[..., Any]


def traced(function: Function, arguments: dict[str, Any], fmt: Format = FLOAT32, *, backward: bool = False) -> Trace:
    """Trace a function of PyTorch on tensors of a format."""
    given = GivenArguments(tuple(arguments), tuple(fmt.cast(np.asarray(a)) for a in arguments.values()))
    return trace_any(TorchCode(given, fmt, function, function, "cpu", backward), target=function.__name__)


def blamed_text(trace: Trace) -> str:
    """Return the source of the line to blame; empty where there is none."""
    return next((line.text.strip() for line in trace.lines if line.blamed), "")


def log_of_one_minus_sigmoid(x: Any, w: Any) -> Any:
    p = torch.sigmoid(x)
    q = 1 - p
    return (w * torch.log(q)).sum()


def squares(x: Any) -> Any:
    total = (x * x).sum()
    return x / torch.sqrt(total)


def contrast(z: Any) -> Any:
    e = torch.exp(z / 0.01)
    return -torch.log(torch.diagonal(e) / e.sum(1)).mean()


def evidence(mu: Any, logvar: Any) -> Any:
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()


def variance(x: Any) -> Any:
    mean = x.mean()
    return (x * x).mean() - mean * mean


def softmax_then_log(x: Any) -> Any:
    p = torch.softmax(x, -1)
    return torch.log(p)


def back_from_tanh(x: Any) -> Any:
    return torch.atanh(torch.tanh(x))


def root_of_zero(x: Any) -> Any:
    return torch.sqrt(x)


def masked_root(x: Any) -> Any:
    return torch.where(x > 0, torch.sqrt(x), torch.zeros_like(x)).sum()


@pytest.mark.parametrize(
    ("function", "arguments", "outcome", "line", "words", "fmt"),
    [
        (
            *(log_of_one_minus_sigmoid, {"x": [1.0, 20.0], "w": [1.0, 1.0]}),
            *(Outcome.OVERFLOW, "q = 1 - p", "condition number", FLOAT32),
        ),
        (squares, {"x": [[1e20, 1e19]]}, Outcome.LOST, "(x * x)", "first: x[0, 0] = 1e+20", FLOAT32),
        (squares, {"x": [300.0, 300.0]}, Outcome.LOST, "(x * x)", "multiply overflows", FLOAT16),
        (contrast, {"z": np.eye(3)}, Outcome.NAN, "e = torch.exp(", "exp overflows", FLOAT32),
        (
            *(evidence, {"mu": [0.0, 1.0], "logvar": [0.0, 100.0]}),
            *(Outcome.UNDEFINED, "logvar.exp()", "first: logvar[1] = 100.0", FLOAT32),
        ),
        (variance, {"x": [10000.0, 10001.0]}, Outcome.LOST, "mean * mean", "of 24 bits it leaves none", FLOAT32),
        (softmax_then_log, {"x": [[0.0, 200.0]]}, Outcome.OVERFLOW, "torch.log(p)", "softmax", FLOAT32),
        (back_from_tanh, {"x": [12.0]}, Outcome.OVERFLOW, "torch.atanh", "tanh(12)", FLOAT32),
        (root_of_zero, {"x": [-1.0]}, Outcome.UNDEFINED, "torch.sqrt", "the input is to blame", BFLOAT16),
    ],
)
def test_the_line_at_fault_is_blamed(
    function: Function, arguments: dict[str, Any], outcome: Outcome, line: str, words: str, fmt: Format
) -> None:
    trace = traced(function, arguments, fmt)
    assert trace.blame is not None, trace.finding
    assert (trace.outcome, line in blamed_text(trace)) == (outcome, True), trace.finding
    assert words in trace.blame.sentence


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (torch.nn.functional.softplus, {"x": [-100.0, 0.0, 200.0]}),
        (lambda x: torch.log_softmax(x, -1), {"x": [[0.0, 200.0]]}),
        (torch.hypot, {"a": [1e30], "b": [1e30]}),
        (lambda x: torch.logsumexp(x, 0), {"x": [1000.0, 1001.0]}),
        (lambda x: torch.nn.functional.layer_norm(x, (4,)), {"x": [[1.0, 2.0, 3.0, 5.0]]}),
    ],
)
def test_a_sound_program_gets_no_alarm(function: Function, arguments: dict[str, Any]) -> None:
    trace = traced(function, arguments)
    assert (trace.outcome, trace.blame) == (Outcome.OK, None), trace.finding


def test_of_two_operators_without_a_value_that_is_blamed_which_the_result_needs() -> None:
    def harmless_then_harmful(x: Any) -> Any:
        a = torch.where(x > 0, torch.log(x), torch.zeros_like(x))
        b = torch.sqrt(x - 1)
        return a + b

    trace = traced(harmless_then_harmful, {"x": [0.0, 4.0]})
    assert trace.blame is not None
    assert "sqrt(-1)" in trace.blame.sentence


def test_the_gradient_of_a_masked_branch_is_blamed_on_the_backward_pass() -> None:
    trace = traced(masked_root, {"x": [0.0, 4.0]}, backward=True)
    assert trace.blame is not None, trace.finding
    assert "torch.sqrt(x)" in blamed_text(trace)
    assert "backward of Sqrt" in trace.blame.sentence


def test_the_gradient_of_sound_code_holds() -> None:
    trace = traced(torch.nn.functional.softplus, {"x": [-3.0, 1.0, 30.0]}, backward=True)
    assert (trace.outcome, trace.blame) == (Outcome.OK, None), trace.finding


def by_a_factor(x: Any) -> Any:
    return x * (1 - math.cos(x[0].item()))


def made_of_a_list(x: Any) -> Any:
    return torch.tensor([1 - math.cos(v) for v in x.tolist()])


def of_a_spectrum(x: Any) -> Any:
    return torch.log(torch.fft.rfft(x).real)


@pytest.mark.parametrize("function", [by_a_factor, made_of_a_list, of_a_spectrum])
def test_what_came_of_numbers_that_were_not_followed_is_not_taken_for_exact(function: Any) -> None:
    trace = traced(function, {"x": [1e-9, 2e-9]})
    assert trace.outcome is Outcome.UNDEFINED
    assert "nothing exact stands beside the result" in trace.finding


def looked_at(x: Any) -> Any:
    return torch.exp(x) * 0.5 if x.max().item() < 3.0 else x


def test_numbers_that_are_only_looked_at_leave_the_result_as_it_is() -> None:
    assert traced(looked_at, {"x": [1.0, 2.0]}).outcome is Outcome.OK
