"""Gradients of PyTorch code that are infinite or NaN: the line, the cause, and a cure that is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="code of PyTorch is traced")

import torch.nn.functional as F  # noqa: E402, N812

from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format  # noqa: E402
from stablemax.results import Outcome, Trace  # noqa: E402
from stablemax.trace.given_arguments import GivenArguments  # noqa: E402
from stablemax.trace.gradients.derivatives import Derivative, slope_at  # noqa: E402
from stablemax.trace.gradients.singular_points import ZEROS_HANDED_BACK  # noqa: E402
from stablemax.trace.own_truth import trace_any  # noqa: E402
from stablemax.trace.torch.gradient_flow import ZEROS  # noqa: E402
from stablemax.trace.torch.torch_trace import TorchCode  # noqa: E402

Function = Callable[..., Any]
Arguments = dict[str, Any]


def gradient_trace(function: Function, arguments: Arguments, fmt: Format = FLOAT32) -> Trace:
    """Trace the gradient of a function by all of its arguments."""
    arrays = tuple(fmt.cast(np.asarray(a)) for a in arguments.values())
    given = GivenArguments(tuple(arguments), arrays)
    code = TorchCode(given, fmt, function, function, "cpu", backward=True, leaves=len(arrays))
    return trace_any(code, target=function.__name__)


def gradients_of(function: Function, arguments: Arguments, fmt: Format = FLOAT32) -> list[Any]:
    """Run the function and autograd."""
    tensors = [torch.tensor(np.asarray(a), dtype=getattr(torch, fmt.name)) for a in arguments.values()]
    for tensor in tensors:
        tensor.requires_grad_()
    function(*tensors).sum().backward()
    return [tensor.grad.tolist() for tensor in tensors]


def blamed_text(trace: Trace) -> str:
    """Return the source of the line to blame; empty where there is none."""
    return next((line.text.strip() for line in trace.lines if line.blamed), "")


def as_written(trace: Trace) -> Function:
    """Compile the code that a trace says to write instead."""
    names: dict[str, Any] = {"torch": torch, "F": F}
    exec(trace.instead, names)
    return names[trace.target]


# --- gradients that are infinite or NaN ---------------------------------------------------------------


def masked_root(x: Any) -> Any:
    return torch.where(x > 0, torch.sqrt(x), torch.zeros_like(x)).sum()


def masked_log_of_a_name(x: Any) -> Any:
    is_given = x > 0
    logs = x.log()
    scaled = 2 * logs
    return torch.where(is_given, scaled, 0.0).sum()


def negative_power_elsewhere(x: Any) -> Any:
    return torch.where(x == 0, 0.0, x**-0.5).sum()


def sinc(x: Any) -> Any:
    return torch.where(x != 0, torch.sin(x) / x, 1.0).sum()


def softplus_in_two_parts(x: Any) -> Any:
    small = torch.log1p(torch.exp(x))
    return torch.where(x < 20, small, x).sum()


def product_with_a_mask(x: Any) -> Any:
    mask = (x > 0).to(x.dtype)
    return (mask * torch.sqrt(x)).sum()


def filled_root(x: Any) -> Any:
    return torch.sqrt(x).masked_fill(x == 0, 0.0).sum()


def masked_inverse(x: Any) -> Any:
    return torch.where(x != 0, 1 / x, 0.0).sum()


def masked_log_gamma(x: Any) -> Any:
    return torch.where(x > 0, torch.lgamma(x), 0.0).sum()


def root_below_a_limit(x: Any) -> Any:
    return torch.maximum(torch.sqrt(x), torch.tensor(0.5)).sum()


def length(x: Any) -> Any:
    return (x * x).sum(-1).sqrt().sum()


def distance(a: Any, b: Any) -> Any:
    difference = a - b
    squares = (difference**2).sum(1)
    return torch.sqrt(squares).mean()


def root(x: Any) -> Any:
    return torch.sqrt(x).sum()


def root_as_power(x: Any) -> Any:
    return (x**0.5).sum()


def power_of_size(x: Any) -> Any:
    return (x.abs() ** 0.3).sum()


def entropy(p: Any) -> Any:
    return -(p * torch.log(p)).sum()


def unit_vector(x: Any) -> Any:
    return (x / x.norm(dim=1, keepdim=True)).sum()


def angle(x: Any) -> Any:
    return torch.acos(x).sum()


def log_of_sigmoid(x: Any) -> Any:
    p = torch.sigmoid(x)
    return torch.log(p).sum()


def leg(a: Any, b: Any) -> Any:
    return torch.hypot(a, b).sum()


def attention_of_nothing(scores: Any, v: Any) -> Any:
    weights = torch.softmax(scores.masked_fill(scores < 0, -torch.inf), dim=-1)
    is_empty = (scores < 0).all(-1, keepdim=True)
    return torch.where(is_empty, 0.0, weights @ v).sum()


def log_of_softmax(x: Any) -> Any:
    return torch.log(F.softmax(x, dim=1)).sum()


def deviation(x: Any) -> Any:
    return x.var(0).sqrt().sum()


CASES = [
    (masked_root, {"x": [0.0, 4.0]}, Outcome.NAN, "torch.sqrt(x)", "untaken-branch", [[0.0, 0.25]]),
    (masked_log_of_a_name, {"x": [0.0, 2.0]}, Outcome.NAN, "logs = x.log()", "untaken-branch", [[0.0, 1.0]]),
    (negative_power_elsewhere, {"x": [0.0, 1.0]}, Outcome.NAN, "x**-0.5", "untaken-branch", [[0.0, -0.5]]),
    (sinc, {"x": [0.0]}, Outcome.NAN, "torch.sin(x) / x", "untaken-branch", [[0.0]]),
    (softplus_in_two_parts, {"x": [0.0, 1000.0]}, Outcome.NAN, "torch.exp(x)", "untaken-branch", [[0.5, 1.0]]),
    (product_with_a_mask, {"x": [0.0, 4.0]}, Outcome.NAN, "torch.sqrt(x)", "zero-times-infinity", [[0.0, 0.25]]),
    (filled_root, {"x": [0.0, 4.0]}, Outcome.NAN, "torch.sqrt(x)", "masked-out", [[0.0, 0.25]]),
    (masked_inverse, {"x": [0.0, 2.0]}, Outcome.NAN, "1 / x", "untaken-branch", [[0.0, -0.25]]),
    (masked_log_gamma, {"x": [0.0, 1.0]}, Outcome.NAN, "torch.lgamma(x)", "untaken-branch", [[0.0, -np.euler_gamma]]),
    (root_below_a_limit, {"x": [0.0, 4.0]}, Outcome.NAN, "torch.sqrt(x)", "masked-out", [[0.0, 0.25]]),
    (length, {"x": [[0.0, 0.0], [3.0, 4.0]]}, Outcome.UNDEFINED, ".sqrt()", "norm-at-zero", [[[0, 0], [0.6, 0.8]]]),
    (
        *(distance, {"a": [[1.0, 1.0], [3.0, 4.0]], "b": [[1.0, 1.0], [0.0, 0.0]]}, Outcome.UNDEFINED),
        *("torch.sqrt(squares)", "norm-at-zero", [[[0, 0], [0.3, 0.4]], [[0, 0], [-0.3, -0.4]]]),
    ),
    (root, {"x": [0.0, 4.0]}, Outcome.UNDEFINED, "torch.sqrt(x)", "sqrt-at-zero", [[0.0, 0.25]]),
    (root_as_power, {"x": [0.0, 1.0]}, Outcome.UNDEFINED, "x**0.5", "power-at-zero", [[0.0, 0.5]]),
    (power_of_size, {"x": [0.0, 1.0]}, Outcome.UNDEFINED, "x.abs() ** 0.3", "power-at-zero", [[0.0, 0.3]]),
    (entropy, {"p": [0.0, 1.0]}, Outcome.UNDEFINED, "torch.log(p)", "zero-times-infinity", [[0.0, -1.0]]),
    (
        *(unit_vector, {"x": [[0.0, 0.0], [3.0, 4.0]]}, Outcome.UNDEFINED, "x / x.norm("),
        *("division-by-a-norm-of-zero", [[[1.0, 1.0], [0.032, -0.024]]]),
    ),
    (angle, {"x": [1.0, 0.0]}, Outcome.UNDEFINED, "torch.acos(x)", "arc-at-one", [[0.0, -1.0]]),
    (log_of_sigmoid, {"x": [-200.0, 0.0]}, Outcome.NAN, "torch.log(p)", "log-of-sigmoid", [[1.0, 0.5]]),
    (
        *(leg, {"a": [0.0, 3.0], "b": [0.0, 4.0]}, Outcome.UNDEFINED, "torch.hypot(a, b)"),
        *("hypot-at-zero", [[0.0, 0.6], [0.0, 0.8]]),
    ),
    (
        *(attention_of_nothing, {"scores": [[-1.0, -1.0], [0.0, 0.0]], "v": [[1.0], [3.0]]}, Outcome.NAN),
        *("torch.softmax(", "softmax-of-nothing", [[[0, 0], [-0.5, 0.5]], [[0.5], [0.5]]]),
    ),
    (log_of_softmax, {"x": [[0.0, 200.0]]}, Outcome.NAN, "torch.log(", "log-of-softmax", [[[1.0, -1.0]]]),
    (deviation, {"x": [[2.0], [2.0]]}, Outcome.UNDEFINED, ".sqrt()", "sqrt-at-zero", [[[0.0], [0.0]]]),
]


@pytest.mark.parametrize(("function", "arguments", "outcome", "line", "pattern", "right"), CASES)
def test_the_forward_line_the_cause_and_a_cure_are_named(
    function: Function, arguments: Arguments, outcome: Outcome, line: str, pattern: str, right: list[Any]
) -> None:
    trace = gradient_trace(function, arguments)
    assert trace.blame is not None, trace.finding
    assert (trace.outcome, trace.pattern) == (outcome, pattern), trace.finding
    assert line in blamed_text(trace), trace.finding
    cured = gradients_of(as_written(trace), arguments)
    for gradient, expected in zip(cured, right, strict=True):
        np.testing.assert_array_max_ulp(np.float32(gradient), np.float32(expected), maxulp=64)


@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT64])
def test_the_cause_is_the_same_in_every_format(fmt: Format) -> None:
    trace = gradient_trace(masked_root, {"x": [0.0, 4.0]}, fmt)
    assert trace.pattern == "untaken-branch"
    assert gradients_of(as_written(trace), {"x": [0.0, 4.0]}, fmt) == [[0.0, 0.25]]


# --- what the sentences say ---------------------------------------------------------------------------


def test_where_the_exact_gradient_is_0_the_sentence_says_so() -> None:
    trace = gradient_trace(masked_root, {"x": [0.0, 4.0]})
    assert "torch.where hands back 0 for the branch that it does not take" in trace.finding
    assert "it gives nan where 0 is right (the gradient at x[0] = 0.0)" in trace.finding


def test_beyond_a_singular_point_the_sentence_is_not_about_the_derivative_there() -> None:
    trace = gradient_trace(masked_root, {"x": [-4.0, 4.0]})
    assert "sqrt(-4)" in trace.finding
    assert "sqrt has no value there, and torch.where hands back 0" in trace.finding
    assert "0 times NaN is NaN" in trace.finding
    assert "derivative of sqrt at 0" not in trace.finding


def test_where_there_is_no_finite_derivative_the_cure_is_called_a_choice() -> None:
    trace = gradient_trace(root, {"x": [0.0, 4.0]})
    assert "it gives inf where the derivative is infinite" in trace.finding
    assert "a choice: the function has no finite derivative there" in trace.instead_why


def test_at_the_kink_of_a_norm_the_cure_is_called_a_subgradient() -> None:
    trace = gradient_trace(length, {"x": [[0.0, 0.0]]})
    assert "a subgradient: the one-sided derivatives are -1 and 1" in trace.instead_why


def test_where_the_function_bends_down_it_is_called_a_supergradient() -> None:
    trace = gradient_trace(lambda x: -torch.sqrt((x * x).sum()), {"x": [0.0, 0.0]})
    assert "a supergradient: the one-sided derivatives are 1 and -1" in trace.instead_why


def test_every_argument_of_floats_has_its_gradient_judged() -> None:
    def of_the_second(a: Any, b: Any) -> Any:
        return (a * torch.where(b > 0, torch.sqrt(b), 0.0)).sum()

    trace = gradient_trace(of_the_second, {"a": [1.0], "b": [0.0]})
    assert "0 / 0 (first: b[0] = 0.0)" in trace.finding
    assert "the gradient at b[0] = 0.0" in trace.finding
    assert trace.pattern == "untaken-branch"


def test_the_line_stands_in_the_function_that_is_called() -> None:
    def of_another(x: Any) -> Any:
        return masked_root(x - 1)

    trace = gradient_trace(of_another, {"x": [1.0, 5.0]})
    assert trace.instead.startswith("def masked_root(x")
    assert trace.pattern == "untaken-branch"


def test_the_functions_are_as_they_were_once_a_cure_was_tried() -> None:
    gradient_trace(masked_root, {"x": [0.0, 4.0]})
    assert np.isnan(gradients_of(masked_root, {"x": [0.0, 4.0]})[0][0])


def test_two_faults_are_cured_together() -> None:
    def twice(x: Any) -> Any:
        roots = torch.where(x > 0, torch.sqrt(x), 0.0)
        logs = torch.where(x > 0, torch.log(x), 0.0)
        return (roots + logs).sum()

    trace = gradient_trace(twice, {"x": [0.0, 1.0]})
    assert trace.instead.count("torch.where(x > 0, x, 1.0)") == 2
    assert gradients_of(as_written(trace), {"x": [0.0, 1.0]}) == [[0.0, 1.5]]


def test_a_similarity_with_a_vector_of_zeros_has_no_value_and_is_given_one() -> None:
    def similarity(a: Any, b: Any) -> Any:
        size = (a * a).sum(1).sqrt() * (b * b).sum(1).sqrt()
        return ((a * b).sum(1) / size).sum()

    arguments = {"a": [[0.0, 0.0]], "b": [[3.0, 4.0]]}
    trace = gradient_trace(similarity, arguments)
    assert "where the function has no value" in trace.finding
    assert np.isfinite(gradients_of(as_written(trace), arguments)).all()


def test_a_fault_without_a_known_cure_still_says_what_is_right() -> None:
    def in_place(x: Any) -> Any:
        roots = 1 * x
        roots.sqrt_()
        return torch.where(x > 0, roots, 0.0).sum()

    trace = gradient_trace(in_place, {"x": [0.0]})
    assert (trace.outcome, trace.instead) == (Outcome.NAN, "")
    assert "roots.sqrt_()" in blamed_text(trace)
    assert "it gives nan where 0 is right" in trace.finding


def test_an_infinity_that_is_hidden_is_no_cure() -> None:
    def in_deviations(mu: Any, logvar: Any) -> Any:
        return ((mu / torch.exp(0.5 * logvar)) ** 2).sum()

    trace = gradient_trace(in_deviations, {"mu": [0.0], "logvar": [-300.0]})
    assert (trace.outcome, trace.instead) == (Outcome.NAN, "")


def test_an_operation_of_several_lines_keeps_its_layout() -> None:
    def spread(x: Any) -> Any:
        return torch.where(
            x > 0,
            torch.sqrt(
                x + 0,
            ),
            0.0,
        ).sum()

    trace = gradient_trace(spread, {"x": [0.0, 4.0]})
    assert trace.pattern == "untaken-branch"
    assert trace.instead.splitlines()[1] == "    operand = x + 0"
    assert gradients_of(as_written(trace), {"x": [0.0, 4.0]}) == [[0.0, 0.25]]


def test_a_function_within_a_function_is_rewritten() -> None:
    def outer(x: Any) -> Any:
        def inner(t: Any) -> Any:
            return torch.where(t > 0, t.sqrt(), 0.0)

        return inner(x).sum()

    trace = gradient_trace(outer, {"x": [0.0, 4.0]})
    assert trace.instead.startswith("def inner(t: Any)")
    assert "torch.where(t > 0, torch.where(t > 0, t, 1.0).sqrt(), 0.0)" in trace.instead


def test_a_product_that_underflows_is_not_called_one_with_0() -> None:
    def tiny(x: Any) -> Any:
        return (torch.sqrt(x) * 1e-30 * 1e-30).sum()

    trace = gradient_trace(tiny, {"x": [0.0]})
    assert trace.pattern == "sqrt-at-zero"


def test_a_rewriting_with_a_finite_gradient_that_is_wrong_is_no_cure() -> None:
    def focal(x: Any) -> Any:
        p = torch.sigmoid(x)
        return (-((1 - p) ** 0.5) * torch.log(p)).sum()

    trace = gradient_trace(focal, {"x": [20.0]})
    assert (trace.outcome, trace.instead) == (Outcome.NAN, "")
    assert "backward of Pow: power 0 ** -0.5 is infinite" in trace.finding


def test_the_code_of_a_method_is_rewritten() -> None:
    class Distances:
        eps = 0.0

        def loss(self, x: Any) -> Any:
            squares = ((x[:, None] - x) ** 2).sum(-1)
            return torch.sqrt(squares + self.eps).sum()

    trace = gradient_trace(Distances().loss, {"x": [[0.0, 0.0], [3.0, 4.0]]})
    assert trace.pattern == "sqrt-at-zero"
    assert "operand = squares + self.eps" in trace.instead


# --- sound code ---------------------------------------------------------------------------------------


def test_a_cure_passes_when_it_is_traced_itself() -> None:
    def double_where(x: Any) -> Any:
        safe = torch.where(x > 0, x, 1.0)
        return torch.where(x > 0, torch.sqrt(safe), 0.0).sum()

    trace = gradient_trace(double_where, {"x": [0.0, 4.0]})
    assert (trace.outcome, trace.blame) == (Outcome.OK, None), trace.finding


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lambda x: F.normalize(x, dim=1).sum(), {"x": [[0.0, 0.0], [3.0, 4.0]]}),
        (lambda x: F.logsigmoid(x).sum(), {"x": [-200.0, 0.0, 200.0]}),
        (lambda x: F.softplus(x).sum(), {"x": [-200.0, 0.0, 200.0]}),
        (lambda a, b: torch.sqrt(a * a + b * b + 1e-6).sum(), {"a": [0.0, 1.0], "b": [0.0, 2.0]}),
        (lambda x: torch.sqrt(x.clamp(min=1e-6)).sum(), {"x": [0.0, 4.0]}),
        (lambda x: x.norm(), {"x": [0.0, 0.0]}),
        (torch.linalg.vector_norm, {"x": [0.0, 3.0]}),
        (lambda x: x.std(), {"x": [2.0, 2.0]}),
        (lambda x: torch.atan2(x, 2 * x).sum(), {"x": [0.0, 1.0]}),
        (lambda x: torch.softmax(x.masked_fill(x < 0, -torch.inf), -1)[:, 1].sum(), {"x": [[-1.0, 0.0, 2.0]]}),
        (lambda x: torch.special.entr(x).sum(), {"x": [0.5, 1.0]}),
        (lambda x: torch.cdist(x, x).sum(), {"x": [[1.0, 1.0], [1.0, 1.0]]}),
        (torch.prod, {"x": [0.0, 2.0, 3.0]}),
    ],
)
def test_the_gradient_of_sound_code_raises_no_alarm(function: Function, arguments: Arguments) -> None:
    trace = gradient_trace(function, arguments)
    assert (trace.outcome, trace.blame) == (Outcome.OK, None), trace.finding


def test_a_gradient_beyond_the_range_of_the_format_is_the_inputs_fault() -> None:
    trace = gradient_trace(lambda x: torch.exp(x).sum(), {"x": [100.0]})
    assert (trace.outcome, trace.pattern) == (Outcome.UNDEFINED, ""), trace.finding
    assert "the input is to blame" in trace.finding


def test_of_code_that_detaches_no_derivative_is_claimed() -> None:
    def half_detached(x: Any) -> Any:
        return (torch.sqrt(x) * x.detach()).sum()

    trace = gradient_trace(half_detached, {"x": [0.0, 4.0]})
    assert (trace.outcome, trace.instead) == (Outcome.UNDEFINED, "")
    assert any("no cause was looked for in the backward pass: the code has detach" in note for note in trace.notes)


def test_a_rewriting_that_changes_other_results_is_no_cure() -> None:
    def used_twice(x: Any) -> Any:
        is_large = x > 1
        roots = torch.sqrt(x)
        return (torch.where(is_large, roots, 0.0) + roots).sum()

    trace = gradient_trace(used_twice, {"x": [0.0, 4.0]})
    assert "is_large, x," not in trace.instead
    assert "x != 0" in trace.instead


# --- derivatives without autograd ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "x", "kind", "sides"),
    [
        (lambda x: x**3, 2.0, Derivative.FINITE, (12.0, 12.0)),
        (lambda x: torch.where(x > 0, torch.sqrt(x), 0.0), 0.0, Derivative.FINITE, (0.0, 0.0)),
        (torch.abs, 0.0, Derivative.KINK, (-1.0, 1.0)),
        (torch.relu, 0.0, Derivative.KINK, (0.0, 1.0)),
        (lambda x: x.abs() ** 1.5, 0.0, Derivative.FINITE, (0.0, 0.0)),
        (torch.sqrt, 0.0, Derivative.INFINITE, (None, None)),
        (lambda x: x.abs() ** 0.5, 0.0, Derivative.INFINITE, (None, None)),
        (lambda x: torch.xlogy(x, x), 0.0, Derivative.INFINITE, (None, None)),
        (lambda x: x / x, 0.0, Derivative.NO_VALUE, (None, None)),
        (lambda x: torch.special.shifted_chebyshev_polynomial_t(x, 2), 1.0, Derivative.UNKNOWN, (None, None)),
    ],
)
@pytest.mark.parametrize("fmt", [FLOAT32, FLOAT64], ids=["float32", "float64"])
def test_difference_quotients_tell_derivatives_from_kinks_and_poles(
    function: Function, x: float, kind: Derivative, sides: tuple[float | None, float | None], fmt: Format
) -> None:
    given = GivenArguments(("x",), (fmt.cast(np.array([x])),))
    slope = slope_at(TorchCode(given, fmt, function, function), 0, fmt)
    found = tuple(None if side is None else float(side) for side in (slope.left, slope.right))
    assert (slope.kind, found) == (kind, sides)


def test_what_hands_back_a_gradient_of_0_is_listed() -> None:
    assert {kind for kind, _ in ZEROS.values()} == set(ZEROS_HANDED_BACK)


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x: torch.where(x > 0, torch.log(x), torch.zeros_like(x)), [0.0, 1.0, 2.0]),
        (lambda x: torch.where(x > 0, torch.sqrt(x), x), [0.0, 4.0]),
    ],
    ids=["log", "sqrt"],
)
def test_a_gradient_that_is_nan_is_not_called_small(function: Function, x: list[float]) -> None:
    trace = gradient_trace(function, {"x": x})
    assert trace.outcome is Outcome.NAN
    assert not [note for note in trace.notes if "small" in note]
