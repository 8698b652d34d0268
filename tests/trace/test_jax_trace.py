"""Operations written in JAX under trace: the same verdicts and lines as in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="code of JAX is traced")
import jax.numpy as jnp  # noqa: E402

from stablemax.numerics.formats import FLOAT32, FLOAT64, Format  # noqa: E402
from stablemax.operations import get_operation  # noqa: E402
from stablemax.results import Outcome, Trace  # noqa: E402
from stablemax.trace import trace_numpy  # noqa: E402
from stablemax.trace.jax.jax_code import JaxCode  # noqa: E402
from stablemax.trace.jax.jax_trace import trace_jax  # noqa: E402
from stablemax.trace.run import Given  # noqa: E402

Made = Callable[[ModuleType], Callable[..., Any]]
LABELS = np.arange(4) % 3


# The formulas of the notebooks: one source, on arrays of either library.


def softmax(xp: ModuleType) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        e = xp.exp(x)
        return e / e.sum(axis=1, keepdims=True)

    return function


def shifted_softmax(xp: ModuleType) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
        return e / xp.sum(e, axis=1, keepdims=True)

    return function


def softmax_of_all(xp: ModuleType) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        e = xp.exp(x)
        return e / e.sum()

    return function


def softmax_along_rows(xp: ModuleType) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        return xp.exp(x) / xp.sum(xp.exp(x), axis=0)

    return function


def log_of_softmax(xp: ModuleType) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
        p = e / xp.sum(e, axis=1, keepdims=True)
        return xp.log(p)

    return function


def naive_loss(xp: ModuleType) -> Callable[..., Any]:
    def function(x: Any, y: Any) -> Any:
        picked = xp.take_along_axis(x, y[:, None], axis=1)[:, 0]
        s = xp.exp(x).sum(axis=1)
        return -picked + xp.log(s)

    return function


def loss_of_softmax(xp: ModuleType) -> Callable[..., Any]:
    def function(x: Any, y: Any) -> Any:
        e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
        p = e / xp.sum(e, axis=1, keepdims=True)
        return -xp.log(xp.take_along_axis(p, y[:, None], axis=1)[:, 0])

    return function


def shifted_loss(xp: ModuleType) -> Callable[..., Any]:
    def function(x: Any, y: Any) -> Any:
        x = x - xp.max(x, axis=1, keepdims=True)
        picked = xp.take_along_axis(x, y[:, None], axis=1)[:, 0]
        return (-picked + xp.log(xp.exp(x).sum(axis=1))).mean()

    return function


def gradient(xp: ModuleType) -> Callable[..., Any]:
    def function(x: Any, y: Any) -> Any:
        e = xp.exp(x)
        p = e / e.sum(axis=1, keepdims=True)
        return (p - xp.eye(x.shape[1], dtype=x.dtype)[y]) / x.shape[0]

    return function


def blamed_text(trace: Trace) -> str:
    """Return the source of the line to blame; empty where there is none."""
    return next((line.text.strip() for line in trace.lines if line.blamed), "")


def ramp(top: float) -> np.ndarray[Any, Any]:
    return np.linspace(-1, top, 12).reshape(4, 3)


@pytest.mark.parametrize(
    ("make", "operation", "top", "fmt", "outcome", "line"),
    [
        (softmax, "softmax", 500, FLOAT64, Outcome.OK, ""),
        (softmax, "softmax", 5e5, FLOAT64, Outcome.NAN, "e = xp.exp(x)"),
        (shifted_softmax, "softmax", 5e5, FLOAT64, Outcome.OK, ""),
        (log_of_softmax, "log_softmax", 5000, FLOAT64, Outcome.OVERFLOW, "return xp.log(p)"),
        (naive_loss, "cross_entropy", 1e5, FLOAT64, Outcome.OVERFLOW, "s = xp.exp(x).sum(axis=1)"),
        (
            *(loss_of_softmax, "cross_entropy", 1e5, FLOAT64, Outcome.OVERFLOW),
            "return -xp.log(xp.take_along_axis(p, y[:, None], axis=1)[:, 0])",
        ),
        (shifted_loss, "cross_entropy", 1e5, FLOAT64, Outcome.OK, ""),
        (gradient, "cross_entropy_grad", 1e5, FLOAT64, Outcome.NAN, "e = xp.exp(x)"),
    ],
)
def test_a_formula_gets_the_same_verdict_and_line_in_jax_as_in_numpy(
    make: Made, operation: str, top: float, fmt: Format, outcome: Outcome, line: str
) -> None:
    record = get_operation(operation)
    labels = LABELS if record.needs_targets else None
    given = (ramp(top), labels, record, fmt)
    in_numpy = trace_numpy(make(np), *given)
    in_jax = trace_jax(jax.jit(make(jnp)), *given)
    assert (in_jax.outcome, blamed_text(in_jax), in_jax.formula_is_wrong) == (outcome, line, in_numpy.formula_is_wrong)
    assert (in_numpy.outcome, blamed_text(in_numpy)) == (outcome, line)
    if outcome.is_failure:
        assert in_jax.blame is not None
        assert in_numpy.blame is not None
        assert in_jax.blame.sentence == in_numpy.blame.sentence


@pytest.mark.parametrize("make", [softmax_of_all, softmax_along_rows])
def test_a_wrong_formula_is_called_wrong(make: Made) -> None:
    trace = trace_jax(jax.jit(make(jnp)), np.array([[1.0, 2.0], [3.0, 1.0]]), None, get_operation("softmax"), FLOAT32)
    assert trace.formula_is_wrong
    assert "The formula itself is wrong" in trace.finding


def mean_loss(x: Any, y: Any) -> Any:
    p = jax.nn.softmax(x, axis=1)
    logp = jnp.log(p)
    return -jnp.take_along_axis(logp, y[:, None], axis=1).mean()


def library_loss(x: Any, y: Any) -> Any:
    logp = jax.nn.log_softmax(x, axis=1)
    return -jnp.take_along_axis(logp, y[:, None], axis=1).mean()


# XLA makes 0 of exp(-100), a number below the smallest normal one.
@pytest.mark.parametrize("gap", [100.0, 200.0])
def test_a_gradient_is_blamed_on_the_line_of_its_forward_operation(gap: float) -> None:
    given = (np.array([[0.0, gap]]), np.array([0]), get_operation("cross_entropy_grad"), FLOAT32)
    trace = trace_jax(mean_loss, *given, backward=True)
    assert (trace.outcome, blamed_text(trace)) == (Outcome.NAN, "logp = jnp.log(p)")
    assert trace.blame is not None
    assert "backward: divide -1 / 0 is infinite" in trace.blame.sentence
    assert "the 0 comes from exp on line" in trace.blame.sentence
    phases = {(o.phase, o.name) for line in trace.lines for o in line.operations}
    assert {("forward", "lax.log"), ("backward", "lax.div")} <= phases


def with_unread_shift(x: Any, y: Any) -> Any:
    x - x.max(axis=1, keepdims=True)
    return library_loss(x, y)


def test_what_neither_the_result_nor_its_gradient_needs_is_no_part_of_the_backward_pass() -> None:
    given = (np.array([[0.0, 2.0]]), np.array([0]), get_operation("cross_entropy_grad"), FLOAT32)
    trace = trace_jax(with_unread_shift, *given, backward=True)
    line = with_unread_shift.__code__.co_firstlineno + 1
    assert {o.phase for shown in trace.lines if shown.line == line for o in shown.operations} == {"forward"}


def test_a_gradient_of_sound_code_holds() -> None:
    given = (np.array([[0.0, 200.0], [1.0, 2.0]]), np.array([0, 1]), get_operation("cross_entropy_grad"), FLOAT32)
    trace = trace_jax(jax.jit(library_loss), *given, backward=True)
    assert (trace.outcome, trace.formula_is_wrong, blamed_text(trace)) == (Outcome.OK, False, "")


def test_a_result_below_the_smallest_normal_number_may_be_0() -> None:
    function = jax.jit(lambda x: jax.nn.softmax(x, axis=-1))
    trace = trace_jax(function, np.array([[0.0, -90.0]]), None, get_operation("softmax"), FLOAT32)
    assert (trace.outcome, blamed_text(trace)) == (Outcome.OK, "")


def test_the_gradient_gets_its_own_upstream() -> None:
    upstream = np.array([[1.0, -2.0, 0.5]])
    given = (np.array([[0.0, 1.0, 2.0]]), upstream, get_operation("softmax_vjp"), FLOAT32)
    trace = trace_jax(lambda x: jax.nn.softmax(x, axis=-1), *given, backward=True)
    assert (trace.outcome, trace.formula_is_wrong) == (Outcome.OK, False)


def test_every_line_has_its_exact_values() -> None:
    given = Given(np.array([[0.0, 1.0]], np.float32), None)
    values = JaxCode(given, FLOAT32, softmax(jnp), softmax(jnp)).values_by_line()
    by_line = {v.line: v.values.tolist() for v in values}
    start = softmax(jnp).__code__.co_firstlineno
    assert sum(by_line[start + 2]) == pytest.approx(1.0)
