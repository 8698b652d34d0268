"""Optax's cross-entropies on JAX arrays, and JAX's gradient of them, compiled as training code does."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import optax

from stablemax.operations.cross_entropy import OPERATION as CROSS_ENTROPY
from stablemax.operations.cross_entropy_grad import OPERATION as CROSS_ENTROPY_GRAD
from stablemax.peers.calling import ALL_FORMATS, Given, built_in
from stablemax.peers.jax import ARRAYS
from stablemax.results import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

_declared = functools.partial(built_in, "optax", ARRAYS, supports=ALL_FORMATS)


def _losses(x: jax.Array, t: Given) -> jax.Array:
    chosen: Callable[..., jax.Array] = (
        optax.softmax_cross_entropy if t.is_soft else optax.softmax_cross_entropy_with_integer_labels
    )
    return chosen(x, t.target)


def _mean(x: jax.Array, t: Given) -> jax.Array:
    losses = _losses(x, t)
    return jnp.mean(losses) if t.divisor is None else jnp.sum(losses) / t.divisor


@jax.jit
def _mean_of_losses(x: jax.Array, t: Given) -> jax.Array:
    return jnp.mean(_losses(x, t))


@_declared(
    CROSS_ENTROPY,
    "cross_entropy",
    formula="optax.softmax_cross_entropy_with_integer_labels(x, y); soft targets: softmax_cross_entropy",
    promises={
        "large-offset-tie": Outcome.LOST,
        "nearly-certain": Outcome.LOST,
        "collapse": Outcome.LOST,
        "row-all-neg-inf": Outcome.NAN,
        "positive-infinity": Outcome.UNDEFINED,
    },
    cites=("optax-1792",),
    cure="cross_entropy/compensated",
    takes=("soft-targets",),
    mean=_mean_of_losses,
)
@jax.jit
def cross_entropy(x: jax.Array, t: Given) -> jax.Array:
    """Optax's cross-entropy.

    Why it holds: nothing overflows.

    Where it breaks: a log-sum-exp minus the label's logit: [1e8, 1e8, 1e8] in float32 gives 0 instead of log 3.
    """
    return _losses(x, t)


@_declared(
    CROSS_ENTROPY_GRAD,
    "cross_entropy_grad",
    formula="jax.grad(mean of optax.softmax_cross_entropy_with_integer_labels)(x)",
    promises={
        "nearly-certain": Outcome.LOST,
        "collapse": Outcome.LOST,
        "row-all-neg-inf": Outcome.NAN,
        "positive-infinity": Outcome.NAN,
    },
    cites=("optax-1792",),
    cure="cross_entropy_grad/compensated",
    takes=("soft-targets",),
)
@jax.jit
def cross_entropy_grad(x: jax.Array, t: Given) -> jax.Array:
    """JAX's gradient of the mean of optax's cross-entropy.

    Why it holds: it is (softmax(x) - onehot) / N.

    Where it breaks: p_y - 1 cancels: at [20, 0] in float32 with label 0 it is 0 instead of -2.06e-9.
    """
    return jax.grad(lambda a: _mean(a, t))(x)
