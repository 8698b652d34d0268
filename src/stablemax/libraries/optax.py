"""Optax's cross-entropies on JAX arrays, and JAX's gradient of them, compiled as training code does."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from stablemax.libraries.declaration import ALL_FORMATS, Given, built_in
from stablemax.libraries.jax import ARRAYS
from stablemax.operations import get_operation
from stablemax.results import Outcome

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
    get_operation("cross_entropy"),
    formula="optax.softmax_cross_entropy_with_integer_labels(x, y); soft targets: softmax_cross_entropy",
    promises={
        Outcome.LOST: "large-offset-tie nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf",
        Outcome.UNDEFINED: "positive-infinity",
    },
    cites=("optax-1792",),
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
    get_operation("cross_entropy_grad"),
    formula="jax.grad(mean of optax.softmax_cross_entropy_with_integer_labels)(x)",
    promises={Outcome.LOST: "nearly-certain collapse", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("optax-1792",),
    takes=("soft-targets",),
)
@jax.jit
def cross_entropy_grad(x: jax.Array, t: Given) -> jax.Array:
    """JAX's gradient of the mean of optax's cross-entropy.

    Why it holds: it is (softmax(x) - onehot) / N.

    Where it breaks: p_y - 1 cancels: at [20, 0] in float32 with label 0 it is 0 instead of -2.06e-9.
    """
    return jax.grad(lambda a: _mean(a, t))(x)


def _cell_losses(x: jax.Array, t: Given) -> jax.Array:
    losses = optax.sigmoid_binary_cross_entropy(x, t.target)
    return losses if t.weight is None else losses * t.weight


@jax.jit
def _mean_of_cell_losses(x: jax.Array, t: Given) -> jax.Array:
    return jnp.mean(_cell_losses(x, t))


@_declared(
    get_operation("binary_cross_entropy"),
    formula="optax.sigmoid_binary_cross_entropy(x, t)",
    promises={
        Outcome.NAN: "masked-class leading-mask row-all-neg-inf infinite-logits",
        Outcome.LOST: "logits-beyond-exp-overflow",
    },
    cites=("optax-431",),
    mean=_mean_of_cell_losses,
)
@jax.jit
def binary_cross_entropy(x: jax.Array, t: Given) -> jax.Array:
    """Optax's binary cross-entropy.

    Why it holds: both log-probabilities come from the logit: two terms that are never negative.

    Where it breaks: a logit of -inf or inf with a target that agrees gives 0 * inf, NaN; on a CPU, XLA gives 0 for
    results below the smallest normal number.
    """
    return _cell_losses(x, t)


@_declared(
    get_operation("binary_cross_entropy_grad"),
    formula="jax.grad(mean of optax.sigmoid_binary_cross_entropy)(x)",
    promises={Outcome.LOST: "logits-beyond-exp-overflow", Outcome.INACCURATE: "sigmoid-at-a-soft-target"},
    cites=("goodfellow-2016",),
)
@jax.jit
def binary_cross_entropy_grad(x: jax.Array, t: Given) -> jax.Array:
    """JAX's gradient of the mean of optax's binary cross-entropy.

    Why it holds: it is -t sigmoid(-x) + (1 - t) sigmoid(x), each term from a logaddexp.

    Where it breaks: the two terms cancel where the sigmoid is near the target; on a CPU, XLA gives 0 for results
    below the smallest normal number.
    """

    def reduced(a: jax.Array) -> jax.Array:
        losses = _cell_losses(a, t)
        return jnp.mean(losses) if t.divisor is None else jnp.sum(losses) / t.divisor

    return jax.grad(reduced)(x)


@_declared(
    get_operation("kl_divergence"),
    formula="optax.losses.kl_divergence_with_log_targets(log_softmax(y), log_softmax(x))",
    promises={
        Outcome.NAN: "masked-class leading-mask row-all-neg-inf positive-infinity excluded-by-both-rows",
        Outcome.INACCURATE: "nearly-equal-rows",
    },
    cites=("optax-1786",),
)
@jax.jit
def kl_divergence(x: jax.Array, y: jax.Array) -> jax.Array:
    """Optax's divergence of two log-softmaxes, as in distillation.

    Why it holds: nothing overflows, and no probability underflows before its log is taken.

    Where it breaks: rows that are nearly equal give the rounding errors of their log-probabilities, often
    negative; a -inf in the first row gives 0 * -inf, NaN.
    """
    first, second = jax.nn.log_softmax(x, axis=-1), jax.nn.log_softmax(y, axis=-1)
    return jnp.asarray(optax.losses.kl_divergence_with_log_targets(second, first))
