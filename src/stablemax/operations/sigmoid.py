"""Sigmoid: the probability of one logit."""

from __future__ import annotations

import math

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Gives, Operation
from stablemax.operations.scales import larger_of_two
from stablemax.operations.shared import BOOKKEEPING, HALF_AN_ULP, VALUE, widened
from stablemax.operations.undefined import nan_logits
from stablemax.operations.variant import variant
from stablemax.results import Outcome

OPERATION = Operation(
    "sigmoid",
    Gives.CELL,
    scale=larger_of_two,
    undefined=nan_logits,
    limit={-math.inf: 0.0, math.inf: 1.0},
    cellwise=True,
    laws=("cells-independent", "complement-at-minus-x", *BOOKKEEPING),
    looks_like=rf"{VALUE}(sigmoid|expit|logistic)",
    looks_rank=70,
    libraries={"torch": "torch.sigmoid", "jax": "jax.nn.sigmoid", "scipy": "scipy.special.expit"},
    computes="The probability of one logit: 1 / (1 + exp(-x)).",
    noun="sigmoid",
    command="sigmoid",
    timed=False,
    by_default=False,
    main_variants=("naive", "by-sign", "compensated"),
    error_u=16.0,
)


@variant(
    OPERATION,
    "naive",
    formula="1 / (1 + exp(-x))",
    promises={Outcome.LOST: "logits-beyond-exp-overflow"},
    cites=("goodfellow-2016",),
    cure="sigmoid/by-sign",
    weakness="1 + exp(-x) rounds to 1",
)
def naive(x: Array, xp: Namespace) -> Array:
    """The definition, word for word.

    Why it holds: the division by inf gives 0, so nothing is ever NaN.

    Where it breaks: exp(-x) overflows below -88.72 in float32, and 1 / inf is 0 where subnormal numbers
    down to -103.97 are right. Above 16.64 it is exactly 1: that is the nearest number but one, but
    1 - p is 0 from there on, and log(1 - p) is -inf.
    """
    one = xp.number(1.0)
    return one / (one + xp.exp(-x))


@variant(
    OPERATION,
    "exp-ratio",
    formula="exp(x) / (1 + exp(x))",
    promises={
        Outcome.NAN: (
            "large-logits large-offset-tie wide-spread positive-infinity logits-beyond-exp-overflow infinite-logits"
        ),
    },
    cites=("dynet-1525",),
    cure="sigmoid/by-sign",
    weakness="1 + exp(x) rounds to exp(x)",
)
def exp_ratio(x: Array, xp: Namespace) -> Array:
    """The same probability written with exp(x).

    Why it holds: for negative x it is right, subnormal numbers included.

    Where it breaks: exp(x) overflows above 88.72 in float32, and inf / inf is NaN.
    """
    e = xp.exp(x)
    return e / (xp.number(1.0) + e)


@variant(
    OPERATION,
    "tanh",
    formula="(1 + tanh(x / 2)) / 2",
    promises={
        Outcome.LOST: "nearly-certain logits-beyond-exp-overflow confident-and-right",
        Outcome.INACCURATE: "sigmoid-rounds-to-1",
    },
    cure="sigmoid/by-sign",
    weakness="1 + tanh(x / 2) cancels for negative x",
)
def tanh(x: Array, xp: Namespace) -> Array:
    """The sigmoid as a hyperbolic tangent, which processors and accelerators have.

    Why it holds: tanh never overflows.

    Where it breaks: for negative x, 1 + tanh(x / 2) cancels: below -18.03 in float32 it is 0 where 1.5e-8
    is right.
    """
    half = xp.number(0.5)
    return (xp.number(1.0) + xp.tanh(x * half)) * half


@variant(
    OPERATION,
    "by-sign",
    formula="1 / (1 + e) for x >= 0, e / (1 + e) for x < 0,  e = exp(-|x|)",
    cites=("goodfellow-2016",),
    cure="sigmoid/compensated",
    weakness="1 + e rounds to 1",
)
def by_sign(x: Array, xp: Namespace) -> Array:
    """The one of the two formulas whose exponential cannot overflow.

    Why it holds: e lies in (0, 1], and each of its roundings enters once: at most 3 ulp, subnormal
    results included.

    Where it breaks: nowhere; just below 1 it is an ulp too large.
    """
    e, one = xp.exp(xp.minimum(x, -x)), xp.number(1.0)
    return xp.where(x < xp.number(0.0), e, one) / (one + e)


@variant(
    OPERATION,
    "compensated",
    formula="q for x < 0, 1 - q for x >= 0,  q = e / (1 + e),  e = exp(-|x|)",
    cites=("goodfellow-2016",),
)
def compensated(x: Array, xp: Namespace) -> Array:
    """The smaller of the two probabilities, and the other one as its complement.

    Why it holds: q is at most 1/2 and right to 2.5 u, so that 1 - q is rounded once and little more: at
    most 1.7 ulp measured in every format, subnormal results included, and the nearest number where q is
    small.

    Where it breaks: nowhere: -inf gives 0, inf gives 1, NaN gives NaN.
    """
    e, one = xp.exp(xp.minimum(x, -x)), xp.number(1.0)
    q = e / (one + e)
    return xp.where(x < xp.number(0.0), q, one - q)


wide = widened(compensated, holds=HALF_AN_ULP, breaks="nowhere, not even at the infinities")
