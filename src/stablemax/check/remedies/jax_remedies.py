"""Remedies in JAX: its built-ins."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from stablemax.check.remedies.remedy import Remedy

_jax = partial(
    Remedy,
    backend="jax",
    why="JAX's own function subtracts the maximum of the row first, and takes no logarithm of a probability",
)


def jax_remedies() -> Iterator[Remedy]:
    """Yield the remedies, one for an operation."""
    yield _jax("softmax", body="return jax.nn.softmax({x}, axis={axis})")
    yield _jax("log_softmax", body="return jax.nn.log_softmax({x}, axis={axis})")
    yield _jax("logsumexp", body="return jax.nn.logsumexp({x}, axis={axis})")
    logp = "logp = jax.nn.log_softmax({x}, axis=-1)\n"
    yield _jax(
        "cross_entropy", body=f"{logp}return -jnp.take_along_axis(logp, {{y}}[:, None], axis=-1)[:, 0]{{reduce}}"
    )
    yield _jax("cross_entropy", body=f"{logp}return -jnp.where({{y}} == 0, 0, {{y}} * logp).sum(-1){{reduce}}")
    one_hot = "jax.nn.one_hot({y}, {x}.shape[-1], dtype={x}.dtype)"
    yield _jax("cross_entropy_grad", body=f"return (jax.nn.softmax({{x}}, axis=-1) - {one_hot}){{over_rows}}")
    product = "p = jax.nn.softmax({x}, axis=-1)\nreturn p * ({y} - (p * {y}).sum(-1, keepdims=True))"
    yield _jax("softmax_vjp", body=product)
    yield _jax("sigmoid", body="return jax.nn.sigmoid({x})")
    yield _jax("log_sigmoid", body="return jax.nn.log_sigmoid({x})")
    yield _jax("softplus", body="return jax.nn.softplus({x})")
