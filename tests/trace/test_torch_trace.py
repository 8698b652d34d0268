"""Traces of PyTorch code: the shadow is right, the values are PyTorch's own, and the line blamed is the guilty one."""

from __future__ import annotations

import functools
import gc
import importlib.util
import math
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stablemax.numerics.formats import BFLOAT16, FLOAT8_E5M2, FLOAT16, FLOAT32, FLOAT64, FORMATS, Format
from stablemax.operations import get_operation
from stablemax.results import Origin, Outcome, Trace, TracedOperation
from stablemax.text.errors import StablemaxError
from stablemax.trace.exact_cells import nearest
from stablemax.trace.observation import Kind

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from stablemax.trace.run import Given  # noqa: E402
from stablemax.trace.torch.aten_names import MOVES  # noqa: E402
from stablemax.trace.torch.dispatch import Replace, Watch  # noqa: E402
from stablemax.trace.torch.exact_ops import BASIC  # noqa: E402
from stablemax.trace.torch.torch_trace import TorchCode, trace_torch  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from stablemax.numerics.formats import Array

SAMPLES = Path(__file__).parents[2] / "samples"
GENTLE_AND_LARGE = np.array([[1.0, 2.0, 3.0], [1000.0, 1001.0, 1002.0]])


def sample(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOFTMAX, LOSS = sample("torch_softmax"), sample("torch_loss")


def shifted(x: Any) -> Any:
    """Softmax in the format of its logits, as most people write it."""
    e = torch.exp(x - x.max(dim=1, keepdim=True).values)
    return e / e.sum(dim=1, keepdim=True)


def line_with(text: str, file: Path) -> int:
    lines = [i for i, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1) if text in line]
    assert lines, text
    return lines[0]


def softmax_trace(function: Callable[..., Any], x: Any, fmt: Format = FLOAT32, **options: Any) -> Trace:
    return trace_torch(function, np.asarray(x), None, get_operation("softmax"), fmt, **options)


def operations(trace: Trace) -> list[TracedOperation]:
    return sorted((o for line in trace.lines for o in line.operations), key=lambda o: o.index)


def followed(function: Callable[..., Any], x: Array, fmt: Format = FLOAT32) -> tuple[Any, Any]:
    return TorchCode(Given(fmt.cast(x), None), fmt, function, function).followed()


# --- the notebooks and the samples ----------------------------------------------------------------


def test_the_naive_softmax_is_right_in_the_gentle_row_and_blamed_at_exp_for_the_other() -> None:
    trace = softmax_trace(SOFTMAX.unstable, GENTLE_AND_LARGE)
    line = line_with("e = torch.exp(x)", SAMPLES / "torch_softmax.py")
    assert trace.outcome is Outcome.NAN
    assert trace.formula_is_wrong is False
    assert trace.blame is not None
    assert trace.blame.line == line
    assert trace.blame.sentence == (
        f"line {line}: exp overflows for 3 of 6 cells (first: row 1, class 0, logit 1000.0); "
        "it overflows above 88.723 in float32"
    )
    assert [row.line for row in trace.lines if row.blamed] == [line]
    assert "3 of 6 cells" in trace.finding


def test_the_overflow_is_counted_over_the_rows_that_a_loop_runs_one_by_one() -> None:
    def by_row(x: Any) -> Any:
        out = torch.empty_like(x)
        for i in range(len(x)):
            e = torch.exp(x[i])
            out[i] = e / e.sum()
        return out

    x = np.linspace(-1, 5e5, 500).reshape(50, 10)
    trace = softmax_trace(by_row, x)
    assert trace.blame is not None
    assert "exp overflows for 499 of 500 cells (first: row 0, class 1, logit 1001.0" in trace.blame.sentence
    exp = next(o for o in operations(trace) if o.name == "aten.exp")
    assert (exp.times, exp.cells, exp.inf, exp.shape) == (50, 500, 499, (10,))


def test_a_sum_over_the_wrong_axis_is_a_wrong_formula_whatever_else_it_does() -> None:
    def bad_softmax(x: Any) -> Any:
        return torch.exp(x) / torch.sum(torch.exp(x), dim=0)

    x = np.random.default_rng(0).random((1, 20)) + 100
    for function, logits in ((bad_softmax, x), (bad_softmax, x - 100), (SOFTMAX.wrong, GENTLE_AND_LARGE)):
        trace = softmax_trace(function, logits)
        assert trace.formula_is_wrong is True
        assert trace.blame is None
        assert "The formula itself is wrong" in trace.finding


def test_the_good_softmax_holds_within_its_bound() -> None:
    # (K + 2 + 2 (xmax - xmin)) u with K = 3 and a spread of 2, and a relative error of u is an ulp at most.
    for function, bound in ((shifted, 9), (SOFTMAX.good, 0.5 + 1e-6)):
        trace = softmax_trace(function, GENTLE_AND_LARGE)
        assert (trace.outcome, trace.blame, trace.formula_is_wrong) == (Outcome.OK, None, False)
        assert trace.error_ulp is not None
        assert trace.error_ulp <= bound
        assert " holds: " in trace.finding


def test_underflow_of_classes_that_do_not_matter_is_noted_but_not_blamed() -> None:
    trace = softmax_trace(shifted, [[0.0, -200.0, 3.0]])
    exp = next(o for o in operations(trace) if o.name == "aten.exp")
    assert (trace.outcome, trace.blame) == (Outcome.OK, None)
    assert exp.lost == 1
    assert exp.note.startswith("exp gives 0 for 1 of 3 cells (first: row 0, class 1, logit -200.0)")


def test_nothing_left_on_both_sides_of_a_fraction_is_the_fault_of_exp() -> None:
    trace = softmax_trace(SOFTMAX.unstable, [[-1000.0, -1001.0, -1002.0]])
    assert trace.blame is not None
    assert "exp gives 0 for 3 of 3 cells" in trace.blame.sentence


def test_the_logarithm_of_a_softmax_is_blamed_on_the_line_of_the_logarithm() -> None:
    x = np.array([[0.0, 1.0, 200.0], [1.0, 2.0, 3.0]])
    trace = trace_torch(LOSS.unstable_loss, x, np.array([0, 1]), get_operation("cross_entropy"), FLOAT32)
    log = line_with("torch.log(p[", SAMPLES / "torch_loss.py")
    softmax = line_with("p = torch.softmax(", SAMPLES / "torch_loss.py")
    assert trace.outcome is Outcome.OVERFLOW
    assert trace.blame is not None
    assert trace.blame.line == log
    assert f"line {log}: log of 0 is infinite for 1 of 2 cells (first: row 0, class 0, logit 0.0)" in (
        trace.blame.sentence
    )
    assert f"the 0 comes from _softmax on line {softmax}" in trace.blame.sentence


def test_its_gradient_is_blamed_on_the_backward_pass_of_the_logarithm() -> None:
    x = np.array([[0.0, 1.0, 200.0], [1.0, 2.0, 3.0]])
    trace = trace_torch(LOSS.unstable_loss, x, np.array([0, 1]), get_operation("cross_entropy_grad"), FLOAT32)
    log = line_with("torch.log(p[", SAMPLES / "torch_loss.py")
    assert trace.outcome is Outcome.NAN
    assert trace.blame is not None
    assert trace.blame.line == log
    assert trace.blame.sentence.startswith(f"line {log}, backward of Log: divide -0.5 / 0 is infinite for 1 of 2 cells")
    blamed = next(o for o in operations(trace) if o.index == trace.blame.operation)
    assert (blamed.name, blamed.phase) == ("aten.div", "backward")


def test_cross_entropy_of_the_notebook_holds_forward_and_backward() -> None:
    x, labels = np.array([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]]), np.array([0, 2])
    losses: tuple[Callable[..., Any], ...] = (torch.nn.CrossEntropyLoss(), LOSS.good_loss, LOSS.unstable_loss)
    for function in losses:
        forward = trace_torch(function, x, labels, get_operation("cross_entropy"), FLOAT32)
        back = trace_torch(function, x, labels, get_operation("cross_entropy_grad"), FLOAT32)
        assert forward.outcome is back.outcome is Outcome.OK
        assert "the output is read as the mean of the losses" in forward.notes
        assert "the output is read as the gradient of the mean loss" in back.notes
        assert {o.phase for o in operations(forward)} == {"forward"}
        assert {o.phase for o in operations(back)} == {"forward", "backward"}


def test_an_autograd_function_is_judged_in_the_lines_of_its_own_backward() -> None:
    random = np.random.default_rng(0)
    x, labels = random.standard_normal((8, 300)), random.integers(0, 300, 8)
    trace = trace_torch(LOSS.loss_by_hand, x, labels, get_operation("cross_entropy_grad"), FLOAT32)
    assert (trace.outcome, trace.formula_is_wrong) == (Outcome.OK, False)
    file = SAMPLES / "torch_loss.py"
    lines = {o.line for o in operations(trace) if o.phase == "backward"}
    assert lines == {
        line_with(t, file) for t in ("p = torch.exp(log_p)", "labels] -= 1", "return grads[0] * p / len(labels)")
    }


def test_the_hand_written_gradient_cancels_where_the_label_is_nearly_certain() -> None:
    trace = trace_torch(
        LOSS.loss_by_hand,
        np.array([[20.0, 0.0], [1.0, 0.0]]),
        np.array([0, 0]),
        get_operation("cross_entropy_grad"),
        FLOAT32,
    )
    line = line_with("labels] -= 1", SAMPLES / "torch_loss.py")
    assert trace.outcome is Outcome.LOST
    assert trace.blame is not None
    assert trace.blame.line == line
    assert trace.blame.sentence.startswith(f"line {line}, backward: subtract cancels: 1 - 1 gives 0")
    blamed = next(o for o in operations(trace) if o.index == trace.blame.operation)
    assert (blamed.phase, blamed.origin) == ("backward", Origin.CANCELLATION)


def test_the_jacobian_row_by_row_agrees_with_autograd() -> None:
    def by_jacobian(x: Any, g: Any) -> Any:
        p = torch.softmax(x, dim=1)
        rows = []
        for i in range(len(x)):
            jacobian = torch.diag(p[i]) - torch.outer(p[i], p[i])
            rows.append(jacobian @ g[i])
        return torch.stack(rows)

    random = np.random.default_rng(1)
    x, g = random.random((4, 20)), random.standard_normal((4, 20))
    by_hand = trace_torch(by_jacobian, x, g, get_operation("softmax_vjp"), FLOAT32)
    by_autograd = trace_torch(
        functools.partial(torch.softmax, dim=1), x, g, get_operation("softmax_vjp"), FLOAT32, backward=True
    )
    for trace in (by_hand, by_autograd):
        assert (trace.outcome, trace.formula_is_wrong, trace.not_followed) == (Outcome.OK, False, ())


def test_an_absorbed_logarithm_is_told_where_it_went() -> None:
    def loss(x: Any, labels: Any) -> Any:
        m = x.max(dim=1).values
        lse = m + torch.log(torch.exp(x - m[:, None]).sum(dim=1))
        return lse - x[torch.arange(len(labels)), labels]

    trace = trace_torch(loss, np.full((1, 3), 1e8), np.array([1]), get_operation("cross_entropy"), FLOAT32)
    here = loss.__code__.co_firstlineno
    assert trace.outcome is Outcome.LOST
    assert trace.blame is not None
    assert trace.blame.sentence == (
        f"line {here + 3}: subtract cancels: 1e+08 - 1e+08 gives 0, exactly 1.09861; "
        f"the digits were absorbed on line {here + 2}: 1e+08 + 1.09861 gives 1e+08, off by 1.1, "
        "where the numbers of float32 are 8 apart"
    )


def test_a_fused_operator_is_blamed_by_its_own_name() -> None:
    trace = trace_torch(
        functools.partial(torch.logsumexp, dim=1), np.array([[0.0, -40.0]]), None, get_operation("logsumexp"), FLOAT32
    )
    assert trace.outcome is Outcome.LOST
    assert trace.blame is not None
    assert trace.blame.sentence.startswith("logsumexp gives 0 for 1 of 1 cell (first: row 0)")
    assert [o.name for o in operations(trace)] == ["aten.logsumexp"]


def test_a_softmax_in_half_precision_overflows_at_its_own_threshold() -> None:
    for fmt, logit in ((FLOAT16, 12.0), (BFLOAT16, 89.0), (FLOAT64, 710.0)):
        trace = softmax_trace(SOFTMAX.unstable, [[0.0, logit]], fmt)
        assert trace.blame is not None
        assert f"logit {logit!r}); it overflows above {fmt.exp_overflow.real:.5g} in {fmt.name}" in trace.blame.sentence


# --- the shadow ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64], ids=lambda f: f.name)
def test_the_error_beside_the_shadow_is_the_error_against_the_truth(fmt: Format) -> None:
    """For a right formula the shadow of the result is the truth: two ways to the same ulps."""
    x = np.random.default_rng(2).uniform(-8, 8, (4, 7))
    traces = [
        softmax_trace(shifted, x, fmt),
        softmax_trace(SOFTMAX.unstable, x, fmt),
        trace_torch(LOSS.good_loss, x, np.arange(4), get_operation("cross_entropy"), fmt),
        trace_torch(LOSS.good_loss, x, np.arange(4), get_operation("cross_entropy_grad"), fmt),
    ]
    for trace in traces:
        last = operations(trace)[-1]
        assert trace.error_ulp is not None
        assert last.error_ulp is not None
        assert abs(trace.error_ulp - last.error_ulp) <= 1e-6


def test_a_float64_softmax_is_measured_by_more_than_float64() -> None:
    """DESIGN.md: the subtraction rounds, and exp magnifies that to hundreds of ulps."""
    x = np.random.default_rng(3).uniform(-300, 300, (20, 50))
    trace = softmax_trace(shifted, x, FLOAT64)
    exp = next(o for o in operations(trace) if o.name == "aten.exp")
    assert trace.notes == ()
    assert exp.error_ulp is not None
    assert exp.local_error_ulp is not None
    assert exp.error_ulp > 50
    assert exp.local_error_ulp < 2
    assert exp.origin is Origin.INHERITED


def _with_doubled_column(x: Any) -> Any:
    out = x.clone()
    out.view(-1)[:: x.shape[1]].mul_(2)
    out[:, -1] += 1
    return out


STEPS: dict[str, Callable[[Any], Any]] = {
    "exp of the negative": lambda x: torch.exp(-x),
    "log1p": torch.log1p,
    "scaled": lambda x: 1.5 * x + 0.25,
    "over the row sum": lambda x: x / x.sum(dim=-1, keepdim=True),
    "softmax": lambda x: torch.softmax(x, dim=-1),
    "running sum": lambda x: torch.cumsum(x, dim=1),
    "transposed twice": lambda x: (x.t() * 2).t(),
    "flipped": lambda x: x.flip(1),
    "sorted by a column": lambda x: x[torch.argsort(x[:, 0])],
    "in place": lambda x: x.clone().mul_(x).sqrt_(),
    "a view written to": _with_doubled_column,
    "chosen by size": lambda x: torch.where(x > x.mean(), x, 2 * x),
    "shifted": lambda x: x - x.amin(dim=1, keepdim=True) + 1,
    "stacked by row": lambda x: torch.stack([row * row for row in x]),
}


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6),
    seed=st.integers(0, 2**16),
    fmt=st.sampled_from([FLOAT16, BFLOAT16, FLOAT32, FLOAT64]),
)
def test_followed_values_are_those_of_pytorch_bit_for_bit_and_the_shadow_is_that_of_float64(
    names: list[str], seed: int, fmt: Format
) -> None:
    def chain(x: Any) -> Any:
        for name in names:
            x = STEPS[name](x)
        return x

    x = np.random.default_rng(seed).uniform(0.5, 2, (3, 5))
    run, watch = followed(chain, x, fmt)
    tensor = torch.from_numpy(fmt.round(x)).to(getattr(torch, fmt.name))
    assert run.value.tobytes() == chain(tensor).to(torch.float64).numpy().tobytes()
    assert watch.not_followed == {}
    assert run.exact is not None
    branches = {"sorted by a column", "chosen by size"} & set(names)
    if not branches:  # those follow the rounded values, which float64 need not order alike
        wide = chain(tensor.to(torch.float64)).numpy()
        # Sums of positive numbers and a shift by the least: float64 is right to far less than u of float32.
        assert np.abs(nearest(run.exact) - wide).max() <= FORMATS["float32"].u * np.abs(wide).max()


OPERATORS: dict[str, Callable[[Any], Any]] = {
    "add": lambda x: torch.add(x, x.flip(0), alpha=0.5),
    "sub": lambda x: torch.sub(x, 3 * x, alpha=2),
    "rsub": lambda x: 5 - x,
    "mul": lambda x: x * torch.arange(5),
    "div": lambda x: x / x.flip(0),
    "neg": lambda x: -x,
    "abs": lambda x: torch.abs(-x),
    "reciprocal": torch.reciprocal,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "log10": torch.log10,
    "logaddexp": lambda x: torch.logaddexp(x, x.flip(1)),
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "pow": lambda x: x**3,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": lambda x: torch.tan(x / 2),
    "asin": lambda x: torch.asin(x / 4),
    "acos": lambda x: torch.acos(x / 4),
    "atan": torch.atan,
    "asinh": torch.asinh,
    "acosh": lambda x: torch.acosh(x + 1),
    "atanh": lambda x: torch.atanh(x / 4),
    "sign": lambda x: torch.sign(x - 1),
    "hypot": lambda x: torch.hypot(x, x.flip(1)),
    "silu": torch.nn.functional.silu,
    "linalg_vector_norm": lambda x: torch.linalg.vector_norm(x, dim=1),
    "cumprod": lambda x: x.cumprod(1),
    "relu": lambda x: torch.relu(x - 1),
    "threshold": lambda x: torch.nn.functional.threshold(x, 1.0, 0.5),
    "maximum": lambda x: torch.maximum(x, x.flip(1)),
    "minimum": lambda x: torch.minimum(x, x.flip(1)),
    "clamp": lambda x: x.clamp(0.75, 1.5),
    "clamp_min": lambda x: torch.clamp_min(x, 1.0),
    "clamp_max": lambda x: torch.clamp_max(x, 1.0),
    "addcmul": lambda x: torch.addcmul(x, x, x, value=0.5),
    "addcdiv": lambda x: torch.addcdiv(x, x, x.flip(1), value=0.5),
    "where": lambda x: torch.where(x > 1, x, 0.25),
    "masked_fill": lambda x: x.masked_fill(x > 1, 2.0),
    "fill": lambda x: x.clone().fill_(x[0, 0]),
    "copy": lambda x: torch.empty_like(x).copy_(x[0]),
    "zero": lambda x: x.clone().zero_(),
    "_to_copy": lambda x: x.sub(x).to(torch.float32) + 1.5,
    "clone": torch.clone,
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(dim=(0, 1)),
    "prod": lambda x: x.prod(dim=1),
    "max": lambda x: x.max(dim=0).values,
    "min": lambda x: x.min(),
    "amax": lambda x: x.amax(dim=-1),
    "amin": lambda x: x.amin(),
    "cumsum": lambda x: x.cumsum(0),
    "_softmax": lambda x: x.softmax(0),
    "_log_softmax": lambda x: x.log_softmax(1),
    "logsumexp": lambda x: x.logsumexp(1, keepdim=True),
    "nll_loss_forward": lambda x: torch.nn.functional.nll_loss(
        x, torch.tensor([0, 4, -100]), weight=torch.arange(1.0, 6.0).to(x.dtype)
    ),
    "mm": lambda x: x @ x.t(),
    "bmm": lambda x: torch.bmm(x[None], x.t()[None]),
    "mv": lambda x: x @ x[0],
    "dot": lambda x: torch.dot(x[0], x[1]),
    "addmm": lambda x: torch.addmm(x @ x.t(), x, x.t(), beta=0.5, alpha=2),
    "index_put": lambda x: x.index_put((torch.tensor([0, 0]), torch.tensor([1, 1])), x[0, :2], accumulate=True),
    "scatter": lambda x: x.scatter(1, torch.tensor([[0], [2], [4]]), x[:, 1:2]),
    "scatter_add": lambda x: x.scatter_add(1, torch.tensor([[0, 0], [2, 2], [4, 4]]), x[:, 1:3]),
    "cat": lambda x: torch.cat([x, x * x], dim=1),
    "stack": lambda x: torch.stack([x, x * x], dim=1),
    "index": lambda x: x[:, torch.tensor([4, 0])],
    "gather": lambda x: x.gather(1, torch.tensor([[0], [2], [4]])),
    "index_select": lambda x: x.index_select(1, torch.tensor([4, 0])),
    "take": lambda x: x.take(torch.tensor([3, 14])),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(2, 1),
    "repeat": lambda x: x.repeat(2, 3),
    "tril": torch.tril,
    "triu": lambda x: x.triu(1),
    "diag_embed": torch.diag_embed,
    "masked_select": lambda x: torch.masked_select(x, x > 1),
    "constant_pad_nd": lambda x: torch.nn.functional.pad(x, (1, 2)),
}
BACKWARD: dict[str, Callable[[Any], Any]] = {
    "sigmoid_backward": torch.sigmoid,
    "tanh_backward": torch.tanh,
    "threshold_backward": lambda x: torch.relu(x - 1),
    "_softmax_backward_data": lambda x: x.softmax(1) * torch.arange(5),
    "_log_softmax_backward_data": lambda x: x.log_softmax(1) * torch.arange(5),
    "nll_loss_backward": lambda x: torch.nn.functional.cross_entropy(
        x, torch.tensor([0, 4, -100]), weight=torch.arange(1.0, 6.0).to(x.dtype)
    ),
    "select_backward": lambda x: x[1],
    "slice_backward": lambda x: x[:, 1:3],
    "scatter_add": lambda x: x.gather(1, torch.tensor([[0, 0], [2, 2], [4, 4]])),
    "index_put": lambda x: x[torch.tensor([0, 0, 1])],
    "diagonal_backward": lambda x: x.diagonal(),
    "scatter": lambda x: x.max(dim=1).values,
}


@pytest.mark.parametrize(
    ("name", "function", "backward"),
    [(n, f, False) for n, f in OPERATORS.items()] + [(n, f, True) for n, f in BACKWARD.items()],
    ids=[*OPERATORS, *(f"{n} by autograd" for n in BACKWARD)],
)
def test_an_operator_is_computed_exactly_as_pytorch_means_it(
    name: str, function: Callable[[Any], Any], backward: bool
) -> None:
    x = np.random.default_rng(4).uniform(0.5, 2, (3, 5))
    called = set[str]()

    class Listen(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            called.add(func._schema.name.removeprefix("aten::").removesuffix("_"))
            return func(*args, **(kwargs or {}))

    tensor = torch.from_numpy(x).requires_grad_(backward)
    with Listen():  # type: ignore[no-untyped-call]
        out = function(tensor)
        if backward:
            torch.autograd.grad(out, tensor, torch.ones_like(out))
    assert name in called, "PyTorch calls something else for this"
    run, watch = TorchCode(Given(x, None), FLOAT64, function, function, backward=backward).followed()
    assert (watch.not_followed, watch.in_float64) == ({}, {})
    assert run.exact is not None
    # Five terms at most, and functions that PyTorch computes to a few ulps.
    error = np.abs(nearest(run.exact) - run.value)
    assert (error <= 64 * FLOAT64.u * np.maximum(np.abs(run.value), 1.0)).all()


def test_every_exact_operator_has_such_a_test() -> None:
    # Operators that PyTorch reaches only inside of others, or under a second name.
    inside = {"_index_put_impl", "select_scatter", "slice_scatter", "diagonal_scatter", "expand_copy", "block_diag"}
    inside |= {"unfold_backward", "repeat_interleave"}
    assert (set(BASIC) | MOVES) - set(OPERATORS) - set(BACKWARD) == inside


def test_an_operator_without_an_exact_form_is_compared_with_float64_and_said_so() -> None:
    def softmax(x: Any) -> Any:
        e = torch.exp(x - x.max(dim=1, keepdim=True).values)
        return e / (e.sum(dim=1, keepdim=True) + torch.special.shifted_chebyshev_polynomial_t(e, 2) * 0.0)

    trace = softmax_trace(softmax, [[1.0, 2.0, 3.0]])
    assert (trace.outcome, trace.formula_is_wrong, trace.not_followed) == (Outcome.OK, False, ())
    assert trace.notes == ("compared with float64, not with exact arithmetic: special_shifted_chebyshev_polynomial_t",)


def test_a_shadow_beyond_float64_is_not_taken_for_an_infinity() -> None:
    run, _ = followed(lambda x: torch.log(torch.exp(x)), np.array([[1e4, -1e4]]))
    assert run.value.tolist() == [[math.inf, -math.inf]]
    assert run.exact is not None
    assert nearest(run.exact).tolist() == [[1e4, -1e4]]


def test_masked_logits_are_exact_infinities() -> None:
    trace = softmax_trace(shifted, [[0.0, -math.inf, 1.0], [-math.inf, -math.inf, -math.inf]])
    assert trace.outcome is Outcome.UNDEFINED
    assert (trace.formula_is_wrong, trace.blame) == (False, None)
    exp = next(o for o in operations(trace) if o.name == "aten.exp")
    # The row of -inf has no value, exactly: -inf - -inf. All of it is NaN on both sides.
    assert (exp.inf, exp.lost, exp.smallest, exp.largest) == (0, 0, 0.0, 1.0)


@pytest.mark.slow
def test_shadows_keep_no_tensor_alive_and_do_not_pile_up() -> None:
    kept: list[weakref.ref[Any]] = []

    def many(x: Any) -> Any:
        for _ in range(1000):
            y = torch.exp(-x)
            kept.append(weakref.ref(y))
            del y
        return x * 1

    # As often as in the process that code is traced in: some of what PyTorch makes is freed with cycles alone.
    seldom = gc.get_threshold()
    gc.set_threshold(700)
    try:
        _, watch = followed(many, np.ones((1, 2)))
    finally:
        gc.set_threshold(*seldom)
    assert [r for r in kept if r() is not None] == []
    assert len(watch.shadows._by_address) < 600


# --- what it cannot follow -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "leave"),
    [
        (".numpy()", lambda x: torch.from_numpy(np.exp(x.numpy()))),
        ("conversion to a NumPy array", lambda x: torch.from_numpy(np.exp(np.asarray(x)))),
        (".tolist()", lambda x: torch.exp(torch.tensor(x.tolist()))),
        (".item()", lambda x: torch.tensor([[math.exp(x[i, j].item()) for j in range(3)] for i in range(2)])),
        ("float()", lambda x: torch.tensor([[math.exp(float(v)) for v in row] for row in x])),
        ("complex numbers", lambda x: torch.fft.ifft(torch.fft.fft(torch.exp(x), dim=1), dim=1).real),
        # In float32 a third times 3 is 1, and this number of Python's times 3 is less.
        ("conversion to integers", lambda x: torch.exp((x * 0.3333333333333333 * 3).long().to(x.dtype))),
    ],
)
def test_a_way_out_of_pytorch_is_named_with_its_line(way: str, leave: Callable[[Any], Any]) -> None:
    def softmax(x: Any) -> Any:
        e = leave(x)
        return e / e.sum(dim=1, keepdim=True)

    x = [[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]]
    trace = softmax_trace(softmax, x)
    line = leave.__code__.co_firstlineno
    assert trace.not_followed == (f"{way} at test_torch_trace.py:{line}",)
    assert trace.outcome is Outcome.OK


def test_integers_that_exact_numbers_are_cut_down_to_as_well_are_followed() -> None:
    def softmax(x: Any) -> Any:
        e = torch.exp(x - x.max().long().to(x.dtype))
        return e / e.sum(dim=1, keepdim=True)

    assert softmax_trace(softmax, [[1.5, 2.5], [3.0, -4.0]]).not_followed == ()


def test_a_formula_that_left_pytorch_is_not_called_wrong() -> None:
    def softmax(x: Any) -> Any:
        largest = max(max(row) for row in x.tolist())
        e = torch.exp(x - largest)
        return e / e.sum()

    trace = softmax_trace(softmax, [[1.0, 2.0], [3.0, 4.0]])
    assert trace.outcome is Outcome.INACCURATE
    assert trace.formula_is_wrong is None


def test_control_flow_follows_the_values_and_is_not_a_way_out() -> None:
    def softmax(x: Any) -> Any:
        if (x > 80).any():
            x = x - x.max(dim=1, keepdim=True).values
        return torch.exp(x) / torch.exp(x).sum(dim=1, keepdim=True)

    trace = softmax_trace(softmax, GENTLE_AND_LARGE)
    assert (trace.outcome, trace.not_followed) == (Outcome.OK, ())


@pytest.mark.slow
def test_compiled_code_is_run_uncompiled_and_named() -> None:
    compiled = torch.compile(SOFTMAX.unstable, backend="eager")
    trace = softmax_trace(compiled, GENTLE_AND_LARGE)
    assert trace.not_followed == ("torch.compile (the code was run uncompiled)",)
    assert trace.blame is not None
    assert "exp overflows" in trace.blame.sentence


@pytest.mark.parametrize("mode", [Watch, Replace])
def test_a_trace_does_not_import_the_compiler_of_pytorch(mode: type[TorchDispatchMode]) -> None:
    # PyTorch wraps what the compiler must not see in a function that imports it at the first call.
    assert not hasattr(vars(mode)["__torch_dispatch__"], "__wrapped__")


# --- mistakes --------------------------------------------------------------------------------------


def test_a_format_that_pytorch_does_not_compute_in_is_refused() -> None:
    with pytest.raises(StablemaxError, match="does not compute in float8_e5m2"):
        softmax_trace(SOFTMAX.good, [[1.0]], FLOAT8_E5M2)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(StablemaxError, match="PyTorch has no device 'nonsense' here"):
        softmax_trace(SOFTMAX.good, [[1.0]], device="nonsense")


def test_code_that_raises_is_told_with_its_line() -> None:
    def softmax(x: Any) -> Any:
        return x.reshape(7, 7)

    line = softmax.__code__.co_firstlineno + 1
    with pytest.raises(StablemaxError, match=rf"raises RuntimeError at test_torch_trace\.py:{line}: shape"):
        softmax_trace(softmax, [[1.0, 2.0]])


def test_a_result_of_another_shape_is_refused() -> None:
    with pytest.raises(StablemaxError, match=r"returns shape \(1,\) for logits of shape \(1, 2\)"):
        softmax_trace(lambda x: x.sum(dim=1), [[1.0, 2.0]])


def test_a_result_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(StablemaxError, match="returns str, not a tensor"):
        softmax_trace(str, [[1.0, 2.0]])


def test_a_detached_loss_has_no_backward_pass() -> None:
    with pytest.raises(StablemaxError, match="autograd cannot go back"):
        trace_torch(
            lambda x, y: LOSS.good_loss(x, y).detach(),
            np.ones((2, 2)),
            np.array([0, 1]),
            get_operation("cross_entropy_grad"),
            FLOAT32,
        )


# --- meanings --------------------------------------------------------------------------------------


def test_a_sum_of_losses_is_told_from_their_mean_and_so_are_their_gradients() -> None:
    x, labels = np.array([[1.0, 2.0], [0.0, 3.0]]), np.array([0, 1])
    for reduction, forward, back in (
        ("mean", "the mean of the losses", "the gradient of the mean loss"),
        ("sum", "the sum of the losses", "the gradient of the sum of the losses"),
        ("none", None, "the gradient of the sum of the losses"),
    ):
        loss = torch.nn.CrossEntropyLoss(reduction=reduction)
        first = trace_torch(loss, x, labels, get_operation("cross_entropy"), FLOAT32)
        second = trace_torch(loss, x, labels, get_operation("cross_entropy_grad"), FLOAT32)
        assert first.outcome is second.outcome is Outcome.OK
        assert first.notes == (() if forward is None else (f"the output is read as {forward}",))
        assert second.notes == (f"the output is read as {back}",)


def test_an_ignored_row_counts_for_nothing_even_where_it_is_masked() -> None:
    x = np.array([[1.0, 2.0, 0.0], [-math.inf, -math.inf, -math.inf], [0.0, 3.0, 1.0]])
    loss = torch.nn.CrossEntropyLoss()
    trace = trace_torch(loss, x, np.array([0, -100, 1]), get_operation("cross_entropy"), FLOAT32)
    assert (trace.outcome, trace.formula_is_wrong) == (Outcome.OK, False)


def test_a_user_that_calls_backward_himself_is_followed_node_by_node() -> None:
    def gradient(x: Any, labels: Any) -> Any:
        x = x.clone().requires_grad_()
        p = torch.exp(x) / torch.exp(x).sum(dim=1, keepdim=True)
        loss = -torch.log(p[torch.arange(len(labels)), labels]).mean()
        loss.backward()
        return x.grad

    trace = trace_torch(gradient, GENTLE_AND_LARGE, np.array([0, 1]), get_operation("cross_entropy_grad"), FLOAT32)
    first = gradient.__code__.co_firstlineno
    assert trace.outcome is Outcome.NAN
    assert trace.blame is not None
    assert trace.blame.line == first + 2
    assert "exp overflows" in trace.blame.sentence
    assert {o.line for o in operations(trace) if o.phase == "backward"} == {first + 2, first + 3}


def test_an_input_is_fresh_in_every_run() -> None:
    def softmax(x: Any) -> Any:
        x -= x.max(dim=1, keepdim=True).values
        return x.exp_().div_(x.sum(dim=1, keepdim=True))

    x = np.array([[1000.0, 1001.0]])
    trace = softmax_trace(softmax, x)
    assert (trace.outcome, trace.formula_is_wrong) == (Outcome.OK, False)
    assert x.tolist() == [[1000.0, 1001.0]]


def test_a_row_that_is_bad_only_beside_others_is_looked_at_beside_them() -> None:
    def softmax(x: Any) -> Any:
        e = torch.exp(x - x.max())
        return e / e.sum(dim=1, keepdim=True)

    trace = softmax_trace(softmax, [[0.0, 1.0], [1000.0, 1001.0]])
    assert trace.outcome is Outcome.NAN
    assert trace.blame is not None
    assert "exp gives 0 for 2 of 4 cells (first: row 0, class 0, logit 0.0)" in trace.blame.sentence


def test_a_cell_knows_the_logit_or_the_row_that_it_comes_from_wherever_it_is_moved() -> None:
    def scattered(x: Any) -> Any:
        e = torch.exp(x.t().flip(0))  # class 2 first
        return torch.log(e.sum(dim=0)) + torch.stack(list(e.unbind(1))).amax(dim=1)

    x = np.array([[0.0, 0.0, 0.0], [0.0, 11.0, 11.0], [0.0, 12.0, 0.0]])
    _, watch = followed(scattered, x, FLOAT16)
    places = {r.seen.label: r.places.get(Kind.OVERFLOW) for r in watch.records.values()}
    row_end = x.shape[1] + 1
    assert places["aten.exp"] == 2 * row_end + 1
    assert places["aten.sum"] == 1 * row_end + x.shape[1]


def test_random_numbers_are_the_same_in_every_run_and_nobody_elses_are_used_up() -> None:
    drawn = []

    def softmax(x: Any) -> Any:
        drawn.append(torch.rand(1).item())
        return SOFTMAX.unstable(x)

    torch.manual_seed(7)
    first = torch.rand(1).item()
    torch.manual_seed(7)
    trace = softmax_trace(softmax, [[1000.0, 2.0]])
    assert torch.rand(1).item() == first
    assert len(drawn) > 1
    assert set(drawn) == {first}
    assert trace.blame is not None


def test_random_operators_are_not_run_twice() -> None:
    def noisy(x: Any) -> Any:
        return x * torch.empty_like(x).bernoulli_(0.5) + torch.rand(6)

    torch.manual_seed(7)
    expected = noisy(torch.ones(1, 6))
    torch.manual_seed(7)
    run, _ = followed(noisy, np.ones((1, 6)))
    assert run.value.tolist() == expected.to(torch.float64).tolist()


def test_a_helper_that_is_compiled_is_named_too() -> None:
    helper = torch.compile(torch.exp, backend="eager")
    run = softmax_trace(lambda x: helper(x) / helper(x).sum(dim=1, keepdim=True), GENTLE_AND_LARGE)
    assert run.not_followed == ("torch.compile (the code was run uncompiled)",)
    assert run.blame is not None


def test_results_written_to_out_are_followed() -> None:
    def softmax(x: Any) -> Any:
        e = torch.empty_like(x)
        torch.sub(x, x.max(dim=1, keepdim=True).values, out=e)
        torch.exp(e, out=e)
        return torch.div(e, torch.sum(e, dim=1, keepdim=True), out=torch.empty_like(e))

    trace = softmax_trace(softmax, GENTLE_AND_LARGE)
    assert (trace.outcome, trace.formula_is_wrong, trace.notes) == (Outcome.OK, False, ())
    assert [o.name for o in operations(trace)] == ["aten.max", "aten.sub", "aten.exp", "aten.sum", "aten.div"]


def test_an_ignored_row_has_loss_and_gradient_zero() -> None:
    x, labels = np.array([[1.0, 2.0], [5.0, 5.0], [0.0, 3.0]]), np.array([0, -100, 1])
    loss = torch.nn.CrossEntropyLoss(reduction="none")
    assert trace_torch(loss, x, labels, get_operation("cross_entropy"), FLOAT32).outcome is Outcome.OK
    assert trace_torch(loss, x, labels, get_operation("cross_entropy_grad"), FLOAT32).outcome is Outcome.OK
    counted = trace_torch(lambda x, _: torch.logsumexp(x, 1), x, labels, get_operation("cross_entropy"), FLOAT32)
    assert counted.formula_is_wrong is True


# --- no value in exact arithmetic ------------------------------------------------------------------


def test_a_shadow_without_a_value_does_not_make_the_formula_wrong() -> None:
    def in_tiles(x: Any) -> Any:
        m, s = torch.full((len(x), 1), -math.inf), torch.zeros((len(x), 1))
        for tile in x.split(2, dim=1):
            new = torch.maximum(m, tile.amax(1, keepdim=True))
            s = s * torch.exp(m - new) + torch.exp(tile - new).sum(1, keepdim=True)
            m = new
        return torch.exp(x - m) / s

    line = in_tiles.__code__.co_firstlineno + 4
    trace = softmax_trace(in_tiles, [[1.0, 2.0, 3.0, 4.0], [-math.inf, -math.inf, 3.0, 4.0]])
    assert (trace.outcome, trace.formula_is_wrong) == (Outcome.NAN, False)
    assert trace.blame is not None
    assert trace.blame.sentence == f"line {line}: subtract gives NaN for 1 of 4 cells: -inf - -inf (first: row 1)"


def test_a_masked_logit_under_a_zero_of_one_hot_is_blamed_at_the_product() -> None:
    functional = torch.nn.functional

    def loss(x: Any, y: Any) -> Any:
        return -(functional.one_hot(y, x.shape[1]) * functional.log_softmax(x, -1)).sum(-1).mean()

    x = np.array([[1.0, 2.0, 3.0], [-math.inf, 1.0, 3.0]])
    trace = trace_torch(loss, x, np.array([1, 2]), get_operation("cross_entropy"), FLOAT32)
    assert (trace.outcome, trace.formula_is_wrong) == (Outcome.NAN, False)
    assert trace.blame is not None
    assert trace.blame.sentence.endswith(
        ": multiply gives NaN for 1 of 6 cells: 0 * -inf (first: row 1, class 0, logit -inf)"
    )


def test_an_overflow_that_goes_nowhere_is_not_blamed_where_exact_arithmetic_has_no_value() -> None:
    def softmax(x: Any) -> Any:
        unused = torch.exp(x)  # overflows, and goes nowhere
        masked = torch.where(x < 0, -math.inf, x)
        e = torch.exp(masked - masked.amax(1, keepdim=True)) + 0 * unused.isnan()
        return e / e.sum(1, keepdim=True)

    trace = softmax_trace(softmax, [[-1000.0, -2.0], [1000.0, 1.0]])
    assert (trace.outcome, trace.formula_is_wrong) == (Outcome.NAN, False)
    assert trace.blame is not None
    assert trace.blame.line == softmax.__code__.co_firstlineno + 3
    assert "-inf - -inf" in trace.blame.sentence


def test_a_wrong_formula_blames_no_line() -> None:
    def softmax(x: Any) -> Any:
        e = torch.exp(x)
        return e / e.sum()

    trace = softmax_trace(softmax, [[1.0, 2.0], [0.0, 1.0]])
    assert trace.formula_is_wrong is True
    assert trace.blame is None
    assert trace.finding.endswith("The formula itself is wrong.")


@pytest.mark.parametrize(("fmt", "far"), [(BFLOAT16, "1024"), (FLOAT32, "1e+08")], ids=str)
def test_operands_of_a_write_in_place_are_told_as_they_were_before_it(fmt: Format, far: str) -> None:
    def softmax(x: Any) -> Any:
        y = x.clone()
        y.add_(float(far)).sub_(float(far)).exp_()
        return y / y.sum(1, keepdim=True)

    trace = softmax_trace(softmax, [[1.0, 2.0, 3.0]], fmt)
    assert trace.blame is not None
    assert f"{far} - {far} gives 0, exactly" in trace.blame.sentence
    assert f" + {far} gives {far}, " in trace.blame.sentence


# --- which reduction a gradient is of --------------------------------------------------------------


@pytest.mark.parametrize(
    ("reduction", "divided", "wrong"), [("mean", True, False), ("mean", False, True), ("sum", False, False),
                                        ("sum", True, True), ("none", False, False)]
)  # fmt: skip
def test_a_backward_pass_is_held_to_the_reduction_of_its_forward_pass(
    reduction: str, *, divided: bool, wrong: bool
) -> None:
    functional = torch.nn.functional

    class Loss(torch.autograd.Function):  # type: ignore[misc,name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.save_for_backward(torch.softmax(x, 1), y)
            return functional.cross_entropy(x, y, reduction=reduction)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            p, y = ctx.saved_tensors
            back = p - functional.one_hot(y, p.shape[1])
            return g.reshape(-1, 1) * (back / len(p) if divided else back), None

    x, labels = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 5.0]]), np.array([0, 1])
    trace = trace_torch(Loss.apply, x, labels, get_operation("cross_entropy_grad"), FLOAT32, backward=True)
    assert trace.formula_is_wrong is wrong
    assert (trace.outcome is Outcome.OK) is not wrong
    meaning = "the gradient of the mean loss" if reduction == "mean" else "the gradient of the sum of the losses"
    assert f"the output is read as {meaning}" in trace.notes


# --- TorchScript -----------------------------------------------------------------------------------


def scripted(function: Callable[..., Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(function, torch.ones((1, 2)))


def test_torchscript_is_refused_in_plain_words() -> None:
    with pytest.raises(StablemaxError, match="is TorchScript, which is not traced"):
        softmax_trace(scripted(shifted), [[1.0, 2.0]])


def test_torchscript_within_traced_code_is_followed_on_the_line_that_calls_it() -> None:
    exp = scripted(torch.exp)

    def softmax(x: Any) -> Any:
        e = exp(x)
        return e / e.sum(1, keepdim=True)

    trace = softmax_trace(softmax, GENTLE_AND_LARGE)
    assert trace.not_followed == ()
    assert trace.blame is not None
    assert trace.blame.line == softmax.__code__.co_firstlineno + 1
