"""Log-softmax: log-probabilities from logits."""

from __future__ import annotations

import math

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations import softmax as _softmax
from stablemax.operations.operation import Gives, Operation
from stablemax.operations.scales import of_the_value
from stablemax.operations.shared import BOOKKEEPING, widened
from stablemax.operations.undefined import rows_without_distribution
from stablemax.operations.variant import variant
from stablemax.results import Outcome

OPERATION = Operation(
    "log_softmax",
    Gives.CELL,
    scale=of_the_value,
    undefined=rows_without_distribution,
    limit={-math.inf: -math.inf},
    open_sum=lambda x, _, xp: (x, xp.max(x), -xp.log1p(xp.odds(x))),
    laws=("shift-invariance", "permutation", "rows-independent", *BOOKKEEPING),
    looks_like=r"log_?soft_?max",
    kernel="log_softmax",
    libraries={"torch": "torch.log_softmax", "jax": "jax.nn.log_softmax", "scipy": "scipy.special.log_softmax"},
    computes="The log-probabilities of the classes: x_j minus the log-sum-exp of the row.",
    noun="log-softmax",
    command="log-softmax",
)


@variant(
    OPERATION,
    "naive",
    formula="x - log(sum(exp(x)))",
    promises={
        Outcome.OVERFLOW: "large-logits far-below-zero large-offset-tie wide-spread",
        Outcome.LOST: "nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("blanchard-2021",),
    cure="log_softmax/compensated",
    weakness="the subtraction cancels where a class is nearly certain",
)
def naive(x: Array, xp: Namespace) -> Array:
    """The definition, word for word.

    Why it holds: log(exp(x) / s) = x - log s.

    Where it breaks: exp overflows above the log of the largest number, and x - inf is -inf; a row far
    below 0 has sum 0, and x - log 0 is +inf.
    """
    return x - xp.log(xp.sum(xp.exp(x)))


@variant(
    OPERATION,
    "log-of-softmax",
    formula="log(softmax(x)),  softmax shifted",
    promises={
        Outcome.OVERFLOW: "wide-spread",
        Outcome.LOST: "nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("goodfellow-2016",),
    cure="log_softmax/compensated",
    weakness="p is rounded before its log is taken: log p loses everything where p is near 1",
)
def log_of_softmax(x: Array, xp: Namespace) -> Array:
    """The logarithm of a stable softmax: a hidden instability.

    Why it holds: it is what the name says, and right while no probability underflows.

    Where it breaks: a probability below the smallest number is 0, and log 0 is -inf: 104 below the
    maximum in float32, 18 in float16.
    """
    return xp.log(_softmax.shifted.function(x, xp))


@variant(
    OPERATION,
    "lse-minus",
    formula="x - (m + log(sum(exp(x - m)))),  m = max(x)",
    promises={
        Outcome.LOST: "large-offset-tie nearly-certain collapse",
        Outcome.INACCURATE: "wide-spread",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("blanchard-2021", "pytorch-11752", "optax-1792"),
    cure="log_softmax/compensated",
    weakness="x - lse cancels: the digits of log s below those of m are gone",
)
def lse_minus(x: Array, xp: Namespace) -> Array:
    """The logits minus a stable log-sum-exp.

    Why it holds: nothing overflows.

    Where it breaks: m + log s is rounded to the digits of m, and the subtraction of x then leaves only
    that rounding error: [1e8, 1e8, 1e8] in float32 gives 0 instead of -log 3.
    """
    m = xp.max(x)
    return x - (m + xp.log(xp.sum(xp.exp(x - m))))


@variant(
    OPERATION,
    "shifted",
    formula="(x - m) - log(sum(exp(x - m))),  m = max(x)",
    promises={
        Outcome.INACCURATE: "wide-spread",
        Outcome.LOST: "nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("blanchard-2021", "scipy-19521"),
    cure="log_softmax/compensated",
    weakness="log of a sum that is 1 plus a little: the little is lost where a class is nearly certain",
)
def shifted(x: Array, xp: Namespace) -> Array:
    """What the frameworks compute.

    Why it holds: both terms are at most 0 and keep their own digits, so nothing cancels.

    Where it breaks: the entry of a nearly certain class is -log(1 + q) with a tiny q, and 1 + q rounds
    to 1: [0, -40] gives 0 instead of -4.25e-18.
    """
    d = x - xp.max(x)
    return d - xp.log(xp.sum(xp.exp(d)))


@variant(
    OPERATION,
    "compensated",
    formula="(x - m) - log1p(q),  q = sum of the other exp(x - m)",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("blanchard-2021", "rump-2008", "scipy-19521"),
)
def compensated(x: Array, xp: Namespace) -> Array:
    """`shifted` with the maximum left out of the sum.

    Why it holds: at the maximum x - m is 0 and the entry is -log1p(q), accurate for every q; elsewhere
    two terms of one sign are added. q keeps the rounding errors of x - m and of its sum.

    Where it breaks: a row of all -inf, or with a +inf or NaN.
    """
    return (x - xp.max(x)) - xp.log1p(xp.odds(x))


wide = widened(compensated, breaks="where log-softmax has no value")
