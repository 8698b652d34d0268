"""Any function of PyTorch under trace, forwards and through autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="code of PyTorch is traced")

from stablemax.libraries.torch_arrays import to_numpy, to_torch  # noqa: E402
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, Format  # noqa: E402
from stablemax.results import Outcome, Trace  # noqa: E402
from stablemax.trace.exact_truth import is_good  # noqa: E402
from stablemax.trace.given_arguments import GivenArguments  # noqa: E402
from stablemax.trace.own_truth import trace_any  # noqa: E402
from stablemax.trace.torch.torch_trace import TorchCode  # noqa: E402

Function = Callable[..., Any]


class Fault(NamedTuple):
    """A program, its input, and what is right to say of it."""

    function: Function
    arguments: dict[str, Any]
    outcome: Outcome
    #: Part of the line to blame, and of what is said of it.
    line: str
    words: str
    #: The patterns whose code is told as the cure.
    pattern: str
    fmt: Format = FLOAT32


OVERFLOW, LOST, NAN = Outcome.OVERFLOW, Outcome.LOST, Outcome.NAN


def subject(function: Function, arguments: dict[str, Any], fmt: Format, *, backward: bool = False) -> TorchCode:
    """Put a function of PyTorch and tensors of a format together."""
    given = GivenArguments(tuple(arguments), tuple(fmt.cast(np.asarray(a)) for a in arguments.values()))
    return TorchCode(given, fmt, function, function, "cpu", backward)


def traced(function: Function, arguments: dict[str, Any], fmt: Format = FLOAT32, *, backward: bool = False) -> Trace:
    """Trace a function of PyTorch on tensors of a format."""
    return trace_any(subject(function, arguments, fmt, backward=backward), target=function.__name__)


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


# --- programs after public reports ---------------------------------------------------------------------


def adversarial_loss(real: Any, fake: Any) -> Any:
    loss = torch.log(torch.sigmoid(real)) + torch.log(1 - torch.sigmoid(fake))
    return -loss.mean()


def binary_cross_entropy(x: Any, y: Any) -> Any:
    p = torch.sigmoid(x)
    loss = y * torch.log(p) + (1 - y) * torch.log(1 - p)
    return -loss.mean()


def loss_of_library(x: Any, y: Any) -> Any:
    p = torch.sigmoid(x)
    return torch.nn.functional.binary_cross_entropy(p, y)


def losses_of_library(x: Any, y: Any) -> Any:
    p = torch.sigmoid(x)
    return torch.nn.functional.binary_cross_entropy(p, y, reduction="none")


def focal_loss(x: Any) -> Any:
    p = torch.sigmoid(x)
    rest = 1 - p
    return (-(p**2) * torch.log(rest)).sum()


def cross_entropy(logits: Any) -> Any:
    e = torch.exp(logits)
    p = e / e.sum(dim=1, keepdim=True)
    labels = torch.tensor([0, 1])
    return -torch.log(p[torch.arange(2), labels]).mean()


def log_of_share_with_eps(x: Any) -> Any:
    e = torch.exp(x)
    return torch.log(e / e.sum() + 1e-30)


def gathered(logits: Any) -> Any:
    p = torch.softmax(logits, dim=-1)
    picked = p.gather(1, torch.tensor([[0], [1]]))
    return -picked.log()


def entropy(logits: Any) -> Any:
    p = torch.softmax(logits, dim=-1)
    logs = torch.log(p)
    return -(p * logs).sum(dim=-1)


def evidence_of_samples(logs: Any) -> Any:
    return torch.log(torch.exp(logs).mean(dim=0))


def divergence(mu: Any, logvar: Any, other: Any) -> Any:
    var, wide = torch.exp(logvar), torch.exp(other)
    ratio = torch.log(wide / var)
    return 0.5 * (ratio + (var + mu**2) / wide - 1).sum()


def whitened(x: Any, logvar: Any) -> Any:
    deviation = torch.sqrt(torch.exp(logvar))
    return x / deviation


def squashed_policy(u: Any) -> Any:
    action = torch.tanh(u)
    return torch.log(1 - action.pow(2)).sum()


def layer_mean(x: Any) -> Any:
    total = x.sum(dim=-1, keepdim=True)
    return total / x.shape[-1]


def root_mean_square(x: Any) -> Any:
    squares = x.pow(2)
    return x / squares.mean(-1, keepdim=True).sqrt()


def cosine(a: Any, b: Any) -> Any:
    dot = (a * b).sum(-1)
    return dot / (torch.sqrt((a * a).sum(-1)) * torch.sqrt((b * b).sum(-1)))


def likelihood(p: Any) -> Any:
    product = torch.prod(p, dim=0)
    return torch.log(product)


def transmittance(alpha: Any) -> Any:
    through = torch.cumprod(alpha, dim=0)
    return torch.log(through)


def inverse_root(x: Any) -> Any:
    product = x * x
    return product.rsqrt()


def growth(x: Any) -> Any:
    return (torch.exp(x) - 1) / x


def log_cosh(error: Any) -> Any:
    return torch.log(torch.cosh(error)).mean()


def root_mean_square_norm(x: Any, w: Any) -> Any:
    variance = x.pow(2).mean(-1, keepdim=True)
    return w * (x * torch.rsqrt(variance + 1e-6))


def layer_norm(x: Any) -> Any:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def mixture(x: Any, w: Any) -> Any:
    densities = torch.exp(-0.5 * x**2) / 2.5
    return torch.log(0.5 * densities + 0.5 * w * torch.exp(-x))


def difference_of_distributions(x: Any, y: Any) -> Any:
    return torch.log(torch.exp(x) - torch.exp(y))


FAULTS = (
    Fault(
        *(root_mean_square_norm, {"x": [[300.0, 400.0], [1.0, 2.0]], "w": [1.0, 0.5]}, LOST, "x.pow(2)", "overflows"),
        *("inverse-rms-with-eps", FLOAT16),
    ),
    Fault(layer_norm, {"x": [[300.0, -400.0]]}, LOST, "x.var(", "overflows", "in-a-wider-format", FLOAT16),
    Fault(
        *(mixture, {"x": [200.0], "w": [0.5]}, OVERFLOW, "torch.log(0.5", "the 0 comes from exp"),
        "log-of-factors-and-terms",
    ),
    Fault(
        *(difference_of_distributions, {"x": [200.0], "y": [199.0]}, NAN, "torch.exp(x) -", "exp overflows"),
        "log-of-difference-of-exp",
    ),
    Fault(
        *(log_of_one_minus_sigmoid, {"x": [1.0, 20.0], "w": [1.0, 1.0]}, OVERFLOW, "q = 1 - p"),
        *("condition number", "log-of-one-minus-sigmoid"),
    ),
    Fault(squares, {"x": [[1e20, 1e19]]}, LOST, "(x * x)", "first: x[0, 0] = 1e+20", "norm-by-squares"),
    Fault(squares, {"x": [300.0, 300.0]}, LOST, "(x * x)", "multiply overflows", "norm-by-squares", FLOAT16),
    Fault(contrast, {"z": 0.99 + 0.01 * np.eye(3)}, NAN, "e = torch.exp(", "exp overflows", "log-of-softmax"),
    Fault(
        *(variance, {"x": [10000.0, 10001.0]}, LOST, "mean * mean", "of 24 bits it leaves none"),
        "variance-by-moments",
    ),
    Fault(softmax_then_log, {"x": [[0.0, 200.0]]}, OVERFLOW, "torch.log(p)", "softmax", "log-of-softmax"),
    Fault(back_from_tanh, {"x": [12.0]}, OVERFLOW, "torch.atanh", "tanh(12)", "arctanh-of-tanh"),
    Fault(
        *(adversarial_loss, {"real": [-120.0], "fake": [20.0]}, OVERFLOW, "loss =", "subtract cancels"),
        "log-of-one-minus-sigmoid, log-of-sigmoid",
    ),
    Fault(
        *(binary_cross_entropy, {"x": [-120.0, 20.0], "y": [0.5, 0.5]}, OVERFLOW, "loss =", "subtract cancels"),
        "mean-cross-entropy-of-sigmoid",
    ),
    Fault(
        *(loss_of_library, {"x": [20.0, 25.0], "y": [0.0, 0.5]}, Outcome.INACCURATE, "binary_cross_entropy(", ""),
        "mean-cross-entropy-of-sigmoid",
    ),
    Fault(
        *(losses_of_library, {"x": [20.0, 1.0], "y": [0.0, 0.5]}, Outcome.INACCURATE, "binary_cross_entropy(", ""),
        "cross-entropy-of-sigmoid",
    ),
    Fault(focal_loss, {"x": [30.0, 1.0]}, OVERFLOW, "rest = 1 - p", "subtract", "log-of-one-minus-sigmoid"),
    Fault(cross_entropy, {"logits": [[200.0, 0.0], [0.0, 3.0]]}, NAN, "e = torch.exp(", "exp", "log-of-softmax"),
    Fault(gathered, {"logits": [[0.0, 200.0], [0.0, 3.0]]}, OVERFLOW, "picked.log()", "softmax", "log-of-softmax"),
    Fault(entropy, {"logits": [[0.0, 200.0], [0.0, 3.0]]}, NAN, "torch.log(p)", "softmax", "log-of-softmax"),
    Fault(evidence_of_samples, {"logs": [[200.0], [1.0]]}, OVERFLOW, "torch.exp", "exp", "log-of-mean-of-exp"),
    Fault(
        *(divergence, {"mu": [0.0], "logvar": [-120.0], "other": [0.0]}, OVERFLOW, "ratio =", "exp"),
        "log-of-ratio-of-exp",
    ),
    Fault(whitened, {"x": [1e20], "logvar": [100.0]}, LOST, "torch.exp(", "exp overflows", "root-of-exp"),
    Fault(squashed_policy, {"u": [12.0, 0.5]}, OVERFLOW, "action.pow", "tanh", "log-of-one-minus-tanh-squared"),
    Fault(layer_mean, {"x": [[60000.0] * 8]}, OVERFLOW, "x.sum(", "add up to", "mean-in-half", FLOAT16),
    Fault(
        *(root_mean_square, {"x": [[300.0, 400.0]]}, LOST, "x.pow(2)", "overflows", "root-of-mean-of-squares"),
        FLOAT16,
    ),
    Fault(cosine, {"a": [[3e20, 4e20]], "b": [[1.0, 2.0]]}, LOST, "(a * a)", "overflows", "cosine-by-norms"),
    Fault(likelihood, {"p": [0.01] * 30}, OVERFLOW, "torch.log(", "prod", "log-of-product"),
    Fault(transmittance, {"alpha": [0.01] * 30}, OVERFLOW, "torch.log(", "cumprod", "log-of-running-product"),
    Fault(inverse_root, {"x": [1e-30]}, OVERFLOW, "product.rsqrt()", "multiply", "inverse-root-of-square"),
    Fault(growth, {"x": [1e-9]}, LOST, "torch.exp(x) - 1", "subtract", "exp-minus-one"),
    Fault(log_cosh, {"error": [100.0]}, OVERFLOW, "torch.cosh", "cosh", "log-of-cosh"),
    Fault(
        *(evidence, {"mu": [0.0, 1.0], "logvar": [0.0, 100.0]}, Outcome.UNDEFINED, "logvar.exp()"),
        *("first: logvar[1] = 100.0", "exp-beyond-range"),
    ),
    Fault(root_of_zero, {"x": [-1.0]}, Outcome.UNDEFINED, "torch.sqrt", "the input is to blame", "", BFLOAT16),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.function.__name__)
def test_the_line_at_fault_is_blamed_and_the_cure_cures(fault: Fault) -> None:
    trace = traced(fault.function, fault.arguments, fault.fmt)
    assert trace.blame is not None, trace.finding
    assert (trace.outcome, fault.line in blamed_text(trace)) == (fault.outcome, True), trace.finding
    assert fault.words in trace.blame.sentence
    assert trace.pattern == fault.pattern, trace.instead
    assert not fault.pattern or holds(trace.instead, fault), trace.instead


def holds(text: str, fault: Fault) -> bool:
    """Tell whether the code that a trace tells, run by itself, gives what exact arithmetic does for the fault's."""
    code = subject(fault.function, fault.arguments, fault.fmt)
    names: dict[str, Any] = {}
    exec(text, names)
    value = to_numpy(names[fault.function.__name__](*map(to_torch, code.given.arguments)))
    if fault.outcome is Outcome.UNDEFINED:
        return bool(np.isfinite(value).all())
    run, _ = code.recorded()
    assert run.exact is not None
    return value.dtype == fault.fmt.dtype and is_good(value, run.exact, fault.fmt)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (torch.nn.functional.softplus, {"x": [-100.0, 0.0, 200.0]}),
        (lambda x: torch.log_softmax(x, -1), {"x": [[0.0, 200.0]]}),
        (torch.hypot, {"a": [1e30], "b": [1e30]}),
        (lambda x: torch.logsumexp(x, 0), {"x": [1000.0, 1001.0]}),
        (lambda x: (x - x.mean()).sum(), {"x": [0.1, 0.2, 0.4]}),
        (lambda x: torch.log(x / 3 * (3 / x)), {"x": [0.1, 0.7, 1.4]}),
        (lambda x: torch.nn.functional.layer_norm(x, (4,)), {"x": [[1.0, 2.0, 3.0, 5.0]]}),
    ],
)
def test_a_sound_program_gets_no_alarm(function: Function, arguments: dict[str, Any]) -> None:
    trace = traced(function, arguments)
    assert (trace.outcome, trace.blame) == (Outcome.OK, None), trace.finding


ONE = 1.0


def literal_first(x: Any) -> Any:
    return torch.log(1 + x)


def literal_before_an_expression(x: Any) -> Any:
    return torch.log(1.0 + 2 * x)


def constant_first(x: Any) -> Any:
    return torch.log(ONE + x)


@pytest.mark.parametrize("function", [literal_first, literal_before_an_expression, constant_first])
def test_a_number_that_the_source_has_first_and_pytorch_last_is_the_sources(function: Function) -> None:
    trace = traced(function, {"x": [1e-9, 3e-8]})
    assert (trace.pattern, "torch.log1p(" in trace.instead) == ("log-near-one", True)


def test_the_logarithm_of_a_softmax_and_a_small_number_is_cured_beside_1() -> None:
    fault = Fault(log_of_share_with_eps, {"x": np.linspace(-90, 100, 4)}, NAN, "", "", "log-of-softmax-with-eps")
    trace = traced(fault.function, fault.arguments)
    assert (trace.outcome, trace.pattern) == (fault.outcome, fault.pattern)
    assert "it holds beside 1" in trace.instead_why
    names: dict[str, Any] = {}
    exec(trace.instead, names)
    value = names["log_of_share_with_eps"](torch.linspace(-90, 100, 4, dtype=torch.float32))
    np.testing.assert_allclose(value.numpy(), np.log([1e-30, 1e-30, 3.1e-28 + 1e-30, 1.0]), rtol=1e-2)


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


def test_a_gradient_that_is_exactly_0_is_judged_beside_what_it_is_made_of() -> None:
    def total(x: Any) -> Any:
        return torch.softmax(x, -1).sum()

    trace = traced(total, {"x": [0.3, 1.1, -0.2]}, backward=True)
    assert (trace.outcome, trace.blame) == (Outcome.OK, None), trace.finding


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


def test_whole_numbers_are_followed_where_real_ones_come_of_them() -> None:
    def weighted(x: Any, k: Any) -> Any:
        e = torch.exp(k)
        return x * (e / e.sum())

    given = GivenArguments(("x", "k"), (FLOAT32.cast(np.asarray([1.0, 2.0])), np.array([0, 800])))
    trace = trace_any(TorchCode(given, FLOAT32, weighted, weighted, "cpu", False), target="weighted")
    assert trace.outcome is Outcome.NAN
    assert blamed_text(trace) == "e = torch.exp(k)"


def test_a_mask_made_of_numbers_that_are_0_or_1_is_followed() -> None:
    def masked(x: Any) -> Any:
        keep = torch.ones_like(x).tril(-1).bool()
        return torch.softmax(x.masked_fill(~keep, -math.inf), -1)

    trace = traced(masked, {"x": [[1.0, 2.0], [3.0, 4.0]]})
    assert trace.not_followed == ()
    assert trace.blame is not None
    assert trace.blame.sentence.endswith("the code brings the infinity, the input has none")


def test_a_0_that_is_a_difference_of_equal_numbers_is_not_said_to_underflow() -> None:
    def survival(x: Any) -> Any:
        p = torch.softmax(x, 0)
        return torch.log(1 - p.cumsum(0)[:-1])

    trace = traced(survival, {"x": [-3.0, 0.5, 200.0, 1.0]})
    assert trace.blame is not None
    assert "log of 0 is infinite" in trace.blame.sentence
    assert "underflows" not in trace.blame.sentence


def test_a_cell_of_a_layer_is_not_named_after_its_bias() -> None:
    def loss(x: Any, weight: Any, bias: Any) -> Any:
        return torch.log(torch.softmax(torch.nn.functional.linear(x, weight, bias), -1))

    rows = np.array([[1.0, 100.0], [2.0, 200.0], [3.0, 300.0]])
    trace = traced(loss, {"x": rows, "weight": np.eye(2), "bias": [0.5, 0.25]})
    assert trace.blame is not None
    assert "bias[" not in trace.blame.sentence
