"""Gradients of JAX code that are infinite or NaN: the line, the cause, what is right, and a cure that is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="code of JAX is traced")
import jax.numpy as jnp  # noqa: E402

from stablemax.numerics.formats import FLOAT32  # noqa: E402
from stablemax.results import Outcome, Trace  # noqa: E402
from stablemax.trace.given_arguments import GivenArguments  # noqa: E402
from stablemax.trace.jax.jax_code import JaxCode  # noqa: E402
from stablemax.trace.own_truth import trace_any  # noqa: E402

Function = Callable[..., Any]
NAN, UNDEFINED = Outcome.NAN, Outcome.UNDEFINED


def gradient_trace(function: Function, *arguments: Any) -> Trace:
    """Trace the gradient of a function by all of its arguments."""
    arrays = tuple(np.asarray(a, dtype=np.float32) for a in arguments)
    given = GivenArguments(("x", "y")[: len(arrays)], arrays)
    code = JaxCode(given, FLOAT32, function, function, backward=True, leaves=len(arrays))
    return trace_any(code, target=function.__name__)


def blamed_text(trace: Trace) -> str:
    """Return the source of the line to blame; empty where there is none."""
    return next((line.text.strip() for line in trace.lines if line.blamed), "")


def as_written(trace: Trace) -> Function:
    """Compile the code that a trace says to write instead."""
    names: dict[str, Any] = {"jax": jax, "jnp": jnp}
    exec(trace.instead, names)
    return names[trace.target]


# --- gradients that are infinite or NaN ---------------------------------------------------------------


def masked_root(x: Any) -> Any:
    return jnp.where(x > 0, jnp.sqrt(x), 0.0).sum()


@jax.jit  # type: ignore[untyped-decorator]
def masked_log_of_a_name(x: Any) -> Any:
    is_given = x > 0
    logs = jnp.log(x)
    scaled = 2 * logs
    return jnp.where(is_given, scaled, 0.0).sum()


def product_with_a_mask(x: Any) -> Any:
    mask = (x > 0).astype(x.dtype)
    return (mask * jnp.sqrt(x)).sum()


def root_below_a_limit(x: Any) -> Any:
    return jnp.maximum(jnp.sqrt(x), 0.5).sum()


def negative_power_elsewhere(x: Any) -> Any:
    return jnp.where(x == 0, 0.0, x**-0.5).sum()


def softplus_in_two_parts(x: Any) -> Any:
    return jnp.where(x < 20, jnp.log1p(jnp.exp(x)), x).sum()


def log_of_sigmoid(x: Any) -> Any:
    return jnp.log(jax.nn.sigmoid(x)).sum()


def masked_log_of_the_second(x: Any, y: Any) -> Any:
    return (x * jnp.where(y > 0, jnp.log(y), 0.0)).sum()


def masked_roots(x: Any) -> Any:
    return jax.vmap(lambda v: jnp.where(v > 0, jnp.sqrt(v), 0.0))(x).sum()


@jax.jit  # type: ignore[untyped-decorator]
def compiled_root(x: Any) -> Any:
    return jnp.sqrt(x)


@jax.jit  # type: ignore[untyped-decorator]
def root_of_a_helper(x: Any) -> Any:
    return jnp.where(x > 0, compiled_root(x), 0.0).sum()


def length(x: Any) -> Any:
    return jnp.sqrt((x * x).sum())


def norms(x: Any) -> Any:
    return jnp.linalg.norm(x, axis=1).sum()


def unit_vector(x: Any) -> Any:
    return (x / jnp.linalg.norm(x)).sum()


@pytest.mark.parametrize(
    ("function", "arguments", "outcome", "pattern", "line", "right"),
    [
        (masked_root, ([1.0, 0.0],), NAN, "untaken-branch", "jnp.sqrt(x)", [0.5, 0.0]),
        (masked_log_of_a_name, ([1.0, 0.0],), NAN, "untaken-branch", "logs = jnp.log(x)", [2.0, 0.0]),
        (product_with_a_mask, ([1.0, 0.0],), NAN, "zero-times-infinity", "mask * jnp.sqrt(x)", [0.5, 0.0]),
        (root_below_a_limit, ([1.0, 0.0],), NAN, "masked-out", "jnp.maximum(", [0.5, 0.0]),
        (negative_power_elsewhere, ([1.0, 0.0],), NAN, "untaken-branch", "x**-0.5", [-0.5, 0.0]),
        (softplus_in_two_parts, ([0.0, 200.0],), NAN, "untaken-branch", "jnp.exp(x)", [0.5, 1.0]),
        (log_of_sigmoid, ([0.0, -200.0],), NAN, "log-of-sigmoid", "jnp.log(", [0.5, 1.0]),
        (masked_log_of_the_second, ([2.0, 2.0], [1.0, 0.0]), NAN, "untaken-branch", "jnp.log(y)", [0.0, 0.0, 2.0, 0.0]),
        # Between the one-sided derivatives -1 and 1.
        (length, ([0.0, 0.0],), UNDEFINED, "norm-at-zero", "jnp.sqrt((x * x).sum())", [0.0, 0.0]),
        (norms, ([[0.0, 0.0], [0.0, 1.0]],), UNDEFINED, "norm-at-zero", "jnp.linalg.norm(", [0.0, 0.0, 0.0, 1.0]),
        (unit_vector, ([0.0, 0.0],), UNDEFINED, "division-by-a-norm-of-zero", "x / jnp.linalg.norm(x)", None),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_the_cause_is_named_on_its_line_and_the_cure_gives_what_is_right(
    function: Function, arguments: Any, outcome: Outcome, pattern: str, line: str, right: list[float] | None
) -> None:
    arrays = [jnp.asarray(a, jnp.float32) for a in arguments]
    trace = gradient_trace(function, *arguments)
    assert (trace.outcome, trace.pattern) == (outcome, pattern)
    assert line in blamed_text(trace)
    gradients = jax.grad(as_written(trace), argnums=tuple(range(len(arrays))))(*arrays)
    numbers = np.concatenate([np.asarray(g).ravel() for g in gradients])
    if right is None:
        assert np.isfinite(numbers).all()
        assert "the function has no value there" in trace.instead_why
    else:
        np.testing.assert_array_max_ulp(numbers, np.asarray(right, np.float32), maxulp=2)
    # The user's function is its own again, and JAX keeps nothing of the other code.
    assert not np.isfinite(np.asarray(jax.grad(function, argnums=len(arrays) - 1)(*arrays))).all()


def test_a_gradient_that_should_be_0_is_not_put_down_to_the_input() -> None:
    trace = gradient_trace(masked_root, [1.0, 0.0, -1.0])
    assert "NaN for 2 of 3 numbers in float32: it gives nan where 0 is right" in trace.finding
    assert "so say exact difference quotients of the forward code" in trace.instead_why
    assert "the input is to blame" not in trace.finding


def test_a_lambda_of_a_batch_is_told_from_the_function_on_its_line() -> None:
    trace = gradient_trace(masked_roots, [1.0, 0.0])
    assert trace.pattern == "untaken-branch"
    assert "jax.vmap(lambda v: jnp.where(v > 0, jnp.sqrt(jnp.where(v > 0, v, 1.0)), 0.0))(x)" in trace.instead


def test_a_compiled_function_that_is_called_is_rewritten_where_it_stands() -> None:
    trace = gradient_trace(root_of_a_helper, [1.0, 0.0])
    assert blamed_text(trace) == "return jnp.sqrt(x)"
    assert "def compiled_root(x: Any)" in trace.instead
    assert "the gradient at x[1] = 0.0 is then 0, and 0 is right" in trace.instead_why


def root(x: Any) -> Any:
    return jnp.sqrt(x).sum()


def cusp(x: Any) -> Any:
    return jnp.exp2(jnp.log2(x) * 0.5).sum()


def test_an_infinite_derivative_is_told_from_a_wrong_gradient() -> None:
    assert "where the derivative is infinite" in gradient_trace(root, [0.0]).finding
    assert "where 0 is right" not in gradient_trace(cusp, [0.0]).finding


def shielded(x: Any) -> Any:
    return jnp.sqrt(jax.lax.stop_gradient(x) * x).sum()


@jax.custom_jvp  # type: ignore[untyped-decorator]
def root_by_hand(x: Any) -> Any:
    return jnp.where(x > 0, jnp.sqrt(x), 0.0)


@root_by_hand.defjvp  # type: ignore[untyped-decorator]
def slope_of_root(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return root_by_hand(x), t * jnp.where(x > 0, 0.5, 0.0) / jnp.sqrt(x)


def with_a_rule(x: Any) -> Any:
    return root_by_hand(x).sum()


@pytest.mark.parametrize(("function", "name"), [(shielded, "stop_gradient"), (with_a_rule, "root_by_hand")])
def test_no_derivative_is_taken_of_code_that_hides_its_own(function: Function, name: str) -> None:
    trace = gradient_trace(function, [0.0])
    assert f"the code has {name}, and its gradient need not be the derivative" in " ".join(trace.notes)
    assert not trace.instead


# --- sound gradients ----------------------------------------------------------------------------------


def double_where(x: Any) -> Any:
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0).sum()


def smooth_length(x: Any) -> Any:
    return jnp.sqrt((x * x).sum() + 1e-12)


def loss_of_logits(x: Any) -> Any:
    return jax.nn.logsumexp(x) - x[0]


def rectified(x: Any) -> Any:
    return (jax.nn.relu(x) * abs(x)).sum()


def hypotenuse(x: Any) -> Any:
    return jnp.hypot(x, x).sum()


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (double_where, [1.0, 0.0]),
        (smooth_length, [0.0, 0.0]),
        (loss_of_logits, [0.0, 200.0]),
        (rectified, [0.0, -1.0]),
        (hypotenuse, [0.0, 1.0]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_sound_gradients_raise_no_alarm(function: Function, x: list[float]) -> None:
    trace = gradient_trace(function, x)
    assert (trace.outcome, trace.pattern, blamed_text(trace)) == (Outcome.OK, "", "")
