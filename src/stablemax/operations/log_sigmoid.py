"""Log-sigmoid: the log-probability of one logit."""

from __future__ import annotations

import math

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations import sigmoid as _sigmoid
from stablemax.operations.operation import Gives, Operation
from stablemax.operations.scales import of_the_value
from stablemax.operations.shared import BOOKKEEPING, HALF_AN_ULP, VALUE, widened
from stablemax.operations.undefined import nan_logits
from stablemax.operations.variant import variant
from stablemax.results import Outcome

OPERATION = Operation(
    "log_sigmoid",
    Gives.CELL,
    scale=of_the_value,
    undefined=nan_logits,
    limit={-math.inf: -math.inf, math.inf: 0.0},
    cellwise=True,
    open_sum=lambda x, _, xp: (xp.minimum(x, xp.number(0.0)), xp.number(0.0), -xp.log1p(xp.exp(xp.minimum(x, -x)))),
    laws=("cells-independent", "differs-by-x-at-minus-x", *BOOKKEEPING),
    looks_like=rf"{VALUE}log_?(sigmoid|expit|logistic)",
    looks_rank=30,
    libraries={
        "torch": "torch.nn.functional.logsigmoid",
        "jax": "jax.nn.log_sigmoid",
        "scipy": "scipy.special.log_expit",
    },
    computes="The log-probability of one logit: -log(1 + exp(-x)).",
    noun="log-sigmoid",
    command="log-sigmoid",
    timed=False,
    by_default=False,
    main_variants=("naive", "log1p", "compensated"),
    error_u=16.0,
)


@variant(
    OPERATION,
    "naive",
    formula="log(1 / (1 + exp(-x)))",
    promises={
        Outcome.OVERFLOW: "far-below-zero logits-beyond-exp-overflow",
        Outcome.LOST: "collapse sigmoid-rounds-to-1 confident-and-right",
    },
    cites=("pytorch-1835",),
    cure="log_sigmoid/compensated",
    weakness="the sigmoid is rounded before its log is taken",
)
def naive(x: Array, xp: Namespace) -> Array:
    """The definition, word for word.

    Why it holds: while the sigmoid is neither 0 nor near 1, its log keeps its digits.

    Where it breaks: below -88.72 in float32 the sigmoid is 0 and its log -inf, where x itself is right;
    above 16.64 the sigmoid is 1 and its log 0, where -exp(-x) is right.
    """
    return xp.log(_sigmoid.naive.function(x, xp))


@variant(
    OPERATION,
    "log-of-sigmoid",
    formula="log(sigmoid(x)),  sigmoid by sign",
    promises={
        Outcome.OVERFLOW: "far-below-zero",
        Outcome.LOST: "collapse logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right",
    },
    cites=("goodfellow-2016",),
    cure="log_sigmoid/compensated",
    weakness="the sigmoid is rounded before its log is taken",
)
def log_of_sigmoid(x: Array, xp: Namespace) -> Array:
    """Two steps that look innocent: a stable sigmoid, then a logarithm.

    Why it holds: it is right while the sigmoid neither underflows nor is near 1.

    Where it breaks: below -103.97 in float32 the sigmoid is 0 and its log -inf; above 17.3 it is 1 and its
    log 0; from 8 on half of the digits are gone.
    """
    return xp.log(_sigmoid.by_sign.function(x, xp))


@variant(
    OPERATION,
    "log1p",
    formula="-log1p(exp(-x))",
    promises={Outcome.OVERFLOW: "far-below-zero logits-beyond-exp-overflow"},
    cites=("maechler-2012",),
    cure="log_sigmoid/compensated",
)
def log1p(x: Array, xp: Namespace) -> Array:
    """The logarithm of 1 + exp(-x), taken as such.

    Why it holds: log1p is accurate for every exponential, however small.

    Where it breaks: exp(-x) overflows below -88.72 in float32, and the result is -inf where x is right.
    """
    return -xp.log1p(xp.exp(-x))


@variant(
    OPERATION,
    "shifted",
    formula="-(m + log(exp(-m) + exp(-x - m))),  m = max(0, -x)",
    promises={
        Outcome.LOST: "collapse logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right",
        Outcome.NAN: "masked-class leading-mask row-all-neg-inf infinite-logits",
    },
    cites=("pytorch-2211", "blanchard-2021"),
    cure="log_sigmoid/compensated",
    weakness="1 + exp(-x) rounds to 1 before its log is taken",
)
def shifted(x: Array, xp: Namespace) -> Array:
    """A log-sum-exp of 0 and -x with its maximum taken out: PyTorch's first stable log-sigmoid.

    Why it holds: nothing overflows.

    Where it breaks: for x above 17 in float32 the sum is 1 plus a little that is rounded away: 0, where
    -exp(-x) is right.
    """
    m = xp.maximum(xp.number(0.0), -x)
    return -(m + xp.log(xp.exp(-m) + xp.exp(-x - m)))


@variant(
    OPERATION,
    "compensated",
    formula="min(x, 0) - log1p(exp(-|x|))",
    cites=("maechler-2012", "blanchard-2021"),
)
def compensated(x: Array, xp: Namespace) -> Array:
    """Two terms that are never positive, each with its own digits.

    Why it holds: |x| is exact, log1p keeps the digits of every exponential, and the subtraction cannot
    cancel: at most 1.3 ulp measured in every format, subnormal results included.

    Where it breaks: nowhere: -inf gives -inf, inf gives 0, NaN gives NaN.
    """
    return xp.minimum(x, xp.number(0.0)) - xp.log1p(xp.exp(xp.minimum(x, -x)))


wide = widened(compensated, holds=HALF_AN_ULP, breaks="nowhere, not even at the infinities")
