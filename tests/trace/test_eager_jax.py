"""JAX code that decides by numbers in Python: run operation by operation, and followed like compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="code of JAX is traced")

import jax.numpy as jnp  # noqa: E402

from stablemax.numerics.formats import FLOAT32  # noqa: E402
from stablemax.results import Outcome, Trace  # noqa: E402
from stablemax.text.errors import StablemaxError  # noqa: E402
from stablemax.trace.exact_cells import nearest  # noqa: E402
from stablemax.trace.given_arguments import GivenArguments  # noqa: E402
from stablemax.trace.jax.jax_code import JaxCode  # noqa: E402
from stablemax.trace.own_truth import trace_any  # noqa: E402

Function = Callable[..., Any]


def code_on(function: Function, x: list[float], *, backward: bool = False) -> JaxCode:
    return JaxCode(
        GivenArguments(("x",), (np.array(x, dtype=np.float32),)), FLOAT32, function, function, None, backward
    )


def traced(function: Function, x: list[float], *, backward: bool = False) -> Trace:
    return trace_any(code_on(function, x, backward=backward), target="function")


def blamed_text(trace: Trace) -> str:
    return next((line.text.strip() for line in trace.lines if line.blamed), "")


def branching(x: Any) -> Any:
    if x[0] <= 0:
        return jnp.tanh(x)
    y = jnp.exp(x)
    return jnp.log(y)


def newton(x: Any) -> Any:
    y = x
    while jnp.abs(y * y - x).max() > 1e-3:
        y = (y + x / y) / 2
    return y


def scanned(x: Any) -> Any:
    carry, rows = jax.lax.scan(lambda c, v: (c + jnp.exp(v), c), x[0] * 0, x)
    return jnp.log(rows + 1) if carry > 0 else rows


def compiled_inside(x: Any) -> Any:
    y = jax.jit(lambda v: jnp.where(v > 1, jnp.sqrt(v), v))(x)
    return y if y.sum() > 0 else -y


def derived_inside(x: Any) -> Any:
    g = jax.grad(lambda v: jnp.sqrt(v).sum())(x)
    return x if jnp.isnan(g).any() else g


def mapped(x: Any) -> Any:
    return jax.vmap(lambda v: jnp.where(v > 0, jnp.log(v), 0.0))(x) if x[0] > 0 else x


def picked(x: Any) -> Any:
    return jnp.log(x[x > 0.6])


@pytest.mark.parametrize("function", [branching, newton, scanned, compiled_inside, derived_inside, mapped, picked])
@pytest.mark.parametrize("backward", [False, True])
def test_code_that_asks_for_numbers_is_followed_exactly(function: Function, *, backward: bool) -> None:
    x = [0.75, 1.5, 2.25]
    run = code_on(function, x, backward=backward).followed()
    with jax.enable_x64(True):
        wide = jnp.asarray(np.array(x))
        right = function(wide) if not backward else jax.grad(lambda v: function(v).sum())(wide)
    assert run.not_followed == ()
    assert run.exact is not None
    np.testing.assert_allclose(nearest(run.exact), np.asarray(right).reshape(run.exact.shape), rtol=1e-7)


def test_an_overflow_in_a_branch_is_found_on_its_line() -> None:
    trace = traced(branching, [100.0, 1.0])
    assert (trace.outcome, blamed_text(trace)) == (Outcome.OVERFLOW, "y = jnp.exp(x)")


def root_of_positive(x: Any) -> Any:
    if x[0] > 0:
        x = x * 2
    return jnp.where(x > 1, jnp.sqrt(x - 1), 0.0).sum()


def test_a_gradient_through_a_branch_is_told_from_the_forward_pass() -> None:
    trace = traced(root_of_positive, [0.5, 2.0], backward=True)
    assert trace.outcome is Outcome.NAN
    assert "backward" in trace.finding
    assert blamed_text(trace) == "return jnp.where(x > 1, jnp.sqrt(x - 1), 0.0).sum()"


def cancelled(x: Any) -> Any:
    y = (x + 1.0) - 1.0
    if y[0] == 0:
        return jnp.zeros_like(x)
    return y / x


def test_exact_numbers_take_the_other_branch() -> None:
    trace = traced(cancelled, [1e-9])
    assert blamed_text(trace) == "if y[0] == 0:"
    assert trace.finding.partition(": ")[2].startswith("y[0] == 0 is true in float32 and false in exact arithmetic")


@pytest.mark.parametrize(
    ("way", "leave"),
    [
        ("float()", lambda x: x * float(jnp.exp(x[0]))),
        ("conversion to a NumPy array", lambda x: jnp.asarray(np.exp(x))),
        (".tolist()", lambda x: x * jnp.exp(x).tolist()[0]),
        (".item()", lambda x: x * jnp.exp(x)[0].item()),
    ],
)
def test_a_way_out_of_jax_is_named_with_its_line(way: str, leave: Function) -> None:
    trace = traced(leave, [0.5, 0.25])
    assert trace.not_followed == (f"{way} at test_eager_jax.py:{leave.__code__.co_firstlineno}",)
    assert not trace.formula_is_wrong


def test_an_integer_that_the_exact_number_is_cut_to_as_well_is_followed() -> None:
    assert traced(lambda x: x * int(x.sum()), [0.75, 0.5]).not_followed == ()


def picky(x: Any) -> Any:
    return x if x[0] > 0 else -x


def test_compiled_code_that_asks_for_a_number_is_refused_with_its_line() -> None:
    with pytest.raises(StablemaxError, match=r"test_eager_jax.py:\d+: it needs a number in Python") as caught:
        traced(jax.jit(picky), [1.0])
    assert "jnp.where" in str(caught.value.hint)


def test_a_constant_is_exact_in_its_own_format_as_in_compiled_code() -> None:
    def scaled(x: Any) -> Any:
        return x * 0.1 if x[0] > 0 else x

    run = code_on(scaled, [3.0]).followed()
    assert run.exact is not None
    assert nearest(run.exact).tolist() == [3.0 * float(np.float32(0.1))]
