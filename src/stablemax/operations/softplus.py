"""Softplus: log(1 + exp(x)), the loss of a logit x whose target is 0."""

from __future__ import annotations

import math

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Gives, Operation
from stablemax.operations.scales import of_the_value
from stablemax.operations.shared import BOOKKEEPING, HALF_AN_ULP, VALUE, widened
from stablemax.operations.undefined import nan_logits
from stablemax.operations.variant import variant
from stablemax.results import Outcome

THRESHOLD = 20.0
"""From here on PyTorch's softplus is x itself."""

OPERATION = Operation(
    "softplus",
    Gives.CELL,
    scale=of_the_value,
    undefined=nan_logits,
    limit={-math.inf: 0.0, math.inf: math.inf},
    cellwise=True,
    open_sum=lambda x, _, xp: (xp.maximum(x, xp.number(0.0)), xp.number(0.0), xp.log1p(xp.exp(xp.minimum(x, -x)))),
    laws=("cells-independent", "differs-by-x-at-minus-x", *BOOKKEEPING),
    looks_like=rf"{VALUE}(soft_?plus|log_?1p_?exp)",
    looks_rank=30,
    libraries={
        "torch": "torch.nn.functional.softplus",
        "jax": "jax.nn.softplus",
        "scipy": "scipy.special.softplus",
    },
    computes="The loss of one logit whose target is 0: log(1 + exp(x)).",
    noun="softplus",
    command="softplus",
    timed=False,
    by_default=False,
    main_variants=("naive", "log1p", "compensated"),
    error_u=16.0,
)


@variant(
    OPERATION,
    "naive",
    formula="log(1 + exp(x))",
    promises={
        Outcome.OVERFLOW: "large-logits large-offset-tie wide-spread logits-beyond-exp-overflow",
        Outcome.LOST: "nearly-certain sigmoid-rounds-to-1 confident-and-right",
    },
    cites=("maechler-2012",),
    cure="softplus/compensated",
    weakness="1 + exp(x) rounds to 1 before its log is taken",
)
def naive(x: Array, xp: Namespace) -> Array:
    """The definition, word for word.

    Why it holds: between -8 and 88.72 in float32 it keeps at least half of the digits.

    Where it breaks: exp overflows above 88.72 and the result is inf, where x is right; below -16.64 it is
    0, where exp(x) is right.
    """
    return xp.log(xp.number(1.0) + xp.exp(x))


@variant(
    OPERATION,
    "log1p",
    formula="log1p(exp(x))",
    promises={Outcome.OVERFLOW: "large-logits large-offset-tie wide-spread logits-beyond-exp-overflow"},
    cites=("maechler-2012",),
    cure="softplus/compensated",
)
def log1p(x: Array, xp: Namespace) -> Array:
    """The logarithm of 1 + exp(x), taken as such.

    Why it holds: log1p is accurate for every exponential, however small.

    Where it breaks: exp overflows above 88.72 in float32, and the result is inf where x is right.
    """
    return xp.log1p(xp.exp(x))


@variant(
    OPERATION,
    "threshold",
    formula="x above 20, log1p(exp(x)) elsewhere",
    cites=("tvm-20184",),
    cure="softplus/compensated",
    weakness="log(1 + exp(-x)) is left out above 20",
    exact=False,
)
def threshold(x: Array, xp: Namespace) -> Array:
    """What PyTorch computes: beyond a threshold the softplus is x itself.

    Why it holds: what it leaves out at 20 is 2e-9, less than half an ulp of 20 in float32 and narrower
    formats.

    Where it breaks: in float64 it is off by 580,000 ulp just above 20, and right again above 37.
    """
    limit = xp.number(THRESHOLD)
    return xp.where(x > limit, x, xp.log1p(xp.exp(xp.minimum(x, limit))))


@variant(
    OPERATION,
    "shifted",
    formula="m + log(exp(-m) + exp(x - m)),  m = max(0, x)",
    promises={
        Outcome.LOST: "nearly-certain logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right",
        Outcome.NAN: "positive-infinity infinite-logits",
    },
    cites=("blanchard-2021",),
    cure="softplus/compensated",
    weakness="1 + exp(x) rounds to 1 before its log is taken",
)
def shifted(x: Array, xp: Namespace) -> Array:
    """A log-sum-exp of 0 and x with its maximum taken out.

    Why it holds: nothing overflows.

    Where it breaks: below -17 in float32 the sum is 1 plus a little that is rounded away: 0, where exp(x)
    is right.
    """
    m = xp.maximum(xp.number(0.0), x)
    return m + xp.log(xp.exp(-m) + xp.exp(x - m))


@variant(
    OPERATION,
    "compensated",
    formula="max(x, 0) + log1p(exp(-|x|))",
    cites=("maechler-2012", "blanchard-2021"),
)
def compensated(x: Array, xp: Namespace) -> Array:
    """Two terms that are never negative, each with its own digits.

    Why it holds: |x| is exact, log1p keeps the digits of every exponential, and the addition cannot
    cancel: at most 1.3 ulp measured in every format, subnormal results included.

    Where it breaks: nowhere: -inf gives 0, inf gives inf, NaN gives NaN.
    """
    return xp.maximum(x, xp.number(0.0)) + xp.log1p(xp.exp(xp.minimum(x, -x)))


wide = widened(compensated, holds=HALF_AN_ULP, breaks="nowhere, not even at the infinities")
