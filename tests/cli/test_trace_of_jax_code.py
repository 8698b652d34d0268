"""``stablemax trace`` and ``check`` of code written in JAX."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

pytest.importorskip("jax", reason="code of JAX is traced")

from .running import assert_refused, run

CODE = """
    import jax
    import jax.numpy as jnp


    @jax.jit
    def softmax(x):
        e = jnp.exp(x)
        return e / e.sum(axis=1, keepdims=True)


    @jax.jit
    def weighted(x, w):
        p = jax.nn.sigmoid(x)
        q = 1 - p
        return (w * jnp.log(q)).sum()


    def root(x):
        return jnp.sqrt(x).sum()


    def picky(x):
        if x[0] > 0:
            return jnp.exp(x)
        return -x


    compiled = jax.jit(picky)
"""


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with code."""
    (tmp_path / "my_jax.py").write_text(textwrap.dedent(CODE).lstrip())
    monkeypatch.chdir(tmp_path)


def test_a_trace_names_the_line_and_what_to_write_instead() -> None:
    done = run("trace", "my_jax.py:softmax", "--hazard", "large-logits")
    assert done.code == 1
    assert "Line 7: exp overflows for 3 of 3 cells" in done.out
    assert "return jax.nn.softmax(x, axis=-1)" in done.out
    assert "Run on this input in float32, it holds" in " ".join(done.out.split())


def test_a_check_names_the_line() -> None:
    done = run("check", "my_jax.py:softmax", "--format", "float32", "--only", "large-logits", "--no-search")
    assert "Line 7: exp overflows" in " ".join(done.out.split())
    assert "no line is named" not in done.err


def test_any_function_is_traced_on_its_arguments_and_through_its_gradient() -> None:
    forward = run("trace", "my_jax.py:weighted", "--arg", "x=linspace(-5, 30, 4)", "--arg", "w=1.0")
    assert forward.code == 1
    assert "Line 14: subtract cancels" in forward.out
    backward = run("trace", "my_jax.py:root", "--arg", "x=linspace(0, 4, 3)", "--backward")
    assert backward.code == 1
    assert "Line 19, backward: divide 0.5 / 0 is infinite" in backward.out


def test_code_that_decides_by_a_number_in_python_is_followed() -> None:
    done = run("trace", "my_jax.py:picky", "--arg", "x=linspace(1, 100, 3)")
    assert done.code == 1
    assert "Line 24: exp overflows" in done.out


def test_compiled_code_that_needs_a_number_in_python_is_refused_with_a_way_out() -> None:
    done = run("trace", "my_jax.py:compiled", "--arg", "x=linspace(1, 4, 3)")
    assert_refused(done, "my_jax.py:23: it needs a number in Python", "jnp.where or jax.lax.cond")
