"""SciPy's softmax and sigmoid, their logarithms, entropy and divergence."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import numpy as np
import scipy.special

from stablemax.libraries.declaration import built_in
from stablemax.libraries.timed import Timing
from stablemax.numerics.formats import Array
from stablemax.operations import get_operation
from stablemax.results import Outcome
from stablemax.text.errors import StablemaxError, shown


class ScipyArrays:
    """SciPy works on NumPy arrays."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Nothing has to be set up."""
        return contextlib.nullcontext()

    def put(self, array: Array, device: str | None) -> Array:
        """Copy: the caller's array stays as it is."""
        if device not in (None, "cpu"):
            raise StablemaxError(f"scipy has no device {shown(device)!r}", "it runs on the CPU: leave --device out")
        return np.array(array)

    def back(self, array: Any) -> Array:
        """Return it as it is."""
        return np.asarray(array)


ARRAYS = ScipyArrays()
# logsumexp turns ml_dtypes' bfloat16 into float64.
# The terms of float16 come back in another format.
_NO_FLOAT16 = ("float32", "float64")
_declared = functools.partial(built_in, "scipy", ARRAYS, supports=("float16", "float32", "float64"))


@_declared(
    get_operation("softmax"),
    formula="scipy.special.softmax(x, axis=-1)",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("blanchard-2021",),
)
def softmax(x: Array) -> Array:
    """SciPy's softmax.

    Why it holds: the row maximum is subtracted first.

    Where it breaks: a row of all -inf or with a +inf is NaN; x - m rounds.
    """
    return np.asarray(scipy.special.softmax(x, axis=-1))


@_declared(
    get_operation("log_softmax"),
    formula="scipy.special.log_softmax(x, axis=-1)",
    promises={
        Outcome.INACCURATE: "wide-spread",
        Outcome.LOST: "nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("blanchard-2021", "scipy-19521"),
)
def log_softmax(x: Array) -> Array:
    """SciPy's log-softmax.

    Why it holds: it subtracts the maximum and then the logarithm of the sum, each with its own digits.

    Where it breaks: the entry of a nearly certain class is log(1 + q) with a tiny q, and 1 + q rounds to 1.
    """
    return np.asarray(scipy.special.log_softmax(x, axis=-1))


@_declared(
    get_operation("logsumexp"),
    formula="scipy.special.logsumexp(x, axis=-1)",
    promises={Outcome.UNDEFINED: "row-all-neg-inf positive-infinity"},
    cites=("blanchard-2021", "scipy-21597"),
)
def logsumexp(x: Array) -> Array:
    """SciPy's log-sum-exp.

    Why it holds: the maximum leaves the sum, and log1p takes the rest.

    Where it breaks: where m + log1p(q) is near 0 the addition cancels.
    """
    return np.asarray(scipy.special.logsumexp(x, axis=-1))


@_declared(
    get_operation("sigmoid"),
    formula="scipy.special.expit(x)",
    promises={Outcome.LOST: "logits-beyond-exp-overflow"},
    cites=("goodfellow-2016",),
    supports=_NO_FLOAT16,
)
def sigmoid(x: Array) -> Array:
    """SciPy's sigmoid.

    Why it holds: 1 / (1 + exp(-x)): the division by inf gives 0.

    Where it breaks: in float32 it is 0 below -88.72, where subnormal numbers are right.
    """
    return np.asarray(scipy.special.expit(x))


@_declared(
    get_operation("log_sigmoid"),
    formula="scipy.special.log_expit(x)",
    cites=("maechler-2012",),
    supports=_NO_FLOAT16,
)
def log_sigmoid(x: Array) -> Array:
    """SciPy's log-sigmoid.

    Why it holds: x - log1p(exp(x)) for negative x, -log1p(exp(-x)) elsewhere.

    Where it breaks: nowhere, not even at the infinities.
    """
    return np.asarray(scipy.special.log_expit(x))


@_declared(
    get_operation("softplus"),
    formula="scipy.special.softplus(x)",
    cites=("maechler-2012",),
)
def softplus(x: Array) -> Array:
    """SciPy's softplus.

    Why it holds: it is a logaddexp of 0 and x: a maximum plus log1p.

    Where it breaks: nowhere, not even at the infinities.
    """
    return np.asarray(scipy.special.softplus(x))


@_declared(
    get_operation("entropy"),
    formula="sum(scipy.special.entr(scipy.special.softmax(x)), axis=-1)",
    promises={Outcome.INACCURATE: "nearly-certain collapse", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("trl-7221",),
    supports=_NO_FLOAT16,
)
def entropy(x: Array) -> Array:
    """SciPy's terms of an entropy, of its softmax.

    Why it holds: the softmax subtracts the maximum, and a term of probability 0 is 0.

    Where it breaks: the term of a nearly certain class, -p log(p), is lost: [0, -40] keeps 40 parts in 41.
    """
    return np.asarray(np.sum(scipy.special.entr(scipy.special.softmax(x, axis=-1)), axis=-1))


@_declared(
    get_operation("kl_divergence"),
    formula="sum(scipy.special.rel_entr(softmax(x), softmax(y)), axis=-1)",
    promises={
        Outcome.OVERFLOW: "wide-spread probability-underflows-in-the-second-row",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
        Outcome.INACCURATE: "nearly-equal-rows",
    },
    cites=("pytorch-80488",),
    supports=_NO_FLOAT16,
)
def kl_divergence(x: Array, y: Array) -> Array:
    """SciPy's terms of a divergence, of two softmaxes.

    Why it holds: a term of probability 0 is 0.

    Where it breaks: a probability of the second row that underflows gives inf; rows that are nearly equal give the
    rounding errors of their probabilities.
    """
    p, q = scipy.special.softmax(x, axis=-1), scipy.special.softmax(y, axis=-1)
    return np.asarray(np.sum(scipy.special.rel_entr(p, q), axis=-1))


TIMING = Timing(lambda array: array, lambda _: ARRAYS.running())
