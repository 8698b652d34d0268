"""JAX's softmax and sigmoid, and what is made of them, compiled as training code compiles them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from stablemax.libraries.declaration import ALL_FORMATS, built_in
from stablemax.libraries.jax_arrays import JaxArrays
from stablemax.libraries.timed import Timing
from stablemax.operations import get_operation
from stablemax.results import Outcome

ARRAYS = JaxArrays()
_declared = functools.partial(built_in, "jax", ARRAYS, supports=ALL_FORMATS)


@_declared(
    get_operation("softmax"),
    formula="jax.nn.softmax(x)",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("goodfellow-2016",),
)
@jax.jit
def softmax(x: jax.Array) -> jax.Array:
    """JAX's softmax.

    Why it holds: the row maximum is subtracted first.

    Where it breaks: a row of all -inf or with a +inf is NaN; x - m rounds. On a CPU, XLA gives 0 for
    results below the smallest normal number.
    """
    return jax.nn.softmax(x, axis=-1)


@_declared(
    get_operation("log_softmax"),
    formula="jax.nn.log_softmax(x)",
    promises={
        Outcome.INACCURATE: "wide-spread",
        Outcome.LOST: "nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("goodfellow-2016",),
)
@jax.jit
def log_softmax(x: jax.Array) -> jax.Array:
    """JAX's log-softmax.

    Why it holds: it subtracts the maximum and then the logarithm of the sum, each with its own digits.

    Where it breaks: the entry of a nearly certain class is log(1 + q) with a tiny q, and 1 + q rounds to 1.
    """
    return jax.nn.log_softmax(x, axis=-1)


@_declared(
    get_operation("logsumexp"),
    formula="jax.scipy.special.logsumexp(x, axis=-1)",
    promises={Outcome.LOST: "nearly-certain", Outcome.UNDEFINED: "row-all-neg-inf positive-infinity"},
    cites=("blanchard-2021",),
)
@jax.jit
def logsumexp(x: jax.Array) -> jax.Array:
    """JAX's log-sum-exp.

    Why it holds: the row maximum is subtracted first; a maximum of -inf or +inf is the result.

    Where it breaks: [0, -40] gives 0 instead of 4.25e-18: 1 + q rounds to 1 before its log is taken.
    """
    return jax.scipy.special.logsumexp(x, axis=-1)


@_declared(
    get_operation("softmax_vjp"),
    formula="jax.vjp(jax.nn.softmax, x)[1](g)",
    promises={
        Outcome.INACCURATE: "wide-spread constant-upstream",
        Outcome.LOST: "nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("goodfellow-2016",),
)
@jax.jit
def softmax_vjp(x: jax.Array, g: jax.Array) -> jax.Array:
    """JAX's vector-Jacobian product of its softmax.

    Why it holds: it is p (g - sum(p g)), so no matrix is needed.

    Where it breaks: the rounding of sum(p g) may be larger than g - sum(p g).
    """
    return jnp.asarray(jax.vjp(lambda a: jax.nn.softmax(a, axis=-1), x)[1](g)[0])


@_declared(
    get_operation("sigmoid"),
    formula="jax.nn.sigmoid(x)",
    promises={Outcome.LOST: "logits-beyond-exp-overflow"},
    cites=("goodfellow-2016",),
)
@jax.jit
def sigmoid(x: jax.Array) -> jax.Array:
    """JAX's sigmoid.

    Why it holds: 1 / (1 + exp(-x)): the division by inf gives 0.

    Where it breaks: on a CPU, XLA gives 0 for results below the smallest normal number.
    """
    return jax.nn.sigmoid(x)


@_declared(
    get_operation("log_sigmoid"),
    formula="jax.nn.log_sigmoid(x)",
    promises={Outcome.LOST: "logits-beyond-exp-overflow"},
    cites=("maechler-2012",),
)
@jax.jit
def log_sigmoid(x: jax.Array) -> jax.Array:
    """JAX's log-sigmoid, which is minus its softplus of -x.

    Why it holds: it is a logaddexp of 0 and -x: a maximum plus log1p.

    Where it breaks: on a CPU, XLA gives 0 for results below the smallest normal number.
    """
    return jax.nn.log_sigmoid(x)


@_declared(
    get_operation("softplus"),
    formula="jax.nn.softplus(x)",
    promises={Outcome.LOST: "logits-beyond-exp-overflow"},
    cites=("maechler-2012",),
)
@jax.jit
def softplus(x: jax.Array) -> jax.Array:
    """JAX's softplus.

    Why it holds: it is a logaddexp of x and 0: a maximum plus log1p.

    Where it breaks: on a CPU, XLA gives 0 for results below the smallest normal number.
    """
    return jax.nn.softplus(x)


@_declared(
    get_operation("entropy"),
    formula="sum(jax.scipy.special.entr(jax.nn.softmax(x)), axis=-1)",
    promises={Outcome.INACCURATE: "nearly-certain collapse", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("trl-7221",),
)
@jax.jit
def entropy(x: jax.Array) -> jax.Array:
    """JAX's terms of an entropy, of its softmax.

    Why it holds: the softmax subtracts the maximum, and a term of probability 0 is 0.

    Where it breaks: the term of a nearly certain class, -p log(p), is lost: [0, -40] keeps 40 parts in 41.
    """
    return jnp.sum(jax.scipy.special.entr(jax.nn.softmax(x, axis=-1)), axis=-1)


TIMING = Timing(
    lambda array: jax.device_put(array, jax.devices("cpu")[0]),
    lambda _: ARRAYS.running(),
    lambda result: result.block_until_ready(),
    # XLA's pool of threads is made once, for all cores that there are.
    needs_affinity=True,
)
