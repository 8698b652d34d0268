"""Binary cross-entropy of each logit with its target in [0, 1]; its mean is over all cells, as PyTorch takes it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations import sigmoid as _sigmoid
from stablemax.operations.operation import Gives, Operation, Second
from stablemax.operations.scales import of_the_value
from stablemax.operations.shared import BOOKKEEPING, CELL_LOSS, HALF_AN_ULP, VALUE, widened
from stablemax.operations.targets import CellTargets, times
from stablemax.operations.undefined import cells_without_target
from stablemax.operations.variant import variant
from stablemax.results import Outcome

EPSILON = 1e-9
CLIP = 1e-7
LOWEST_LOG = -100.0
"""Where PyTorch's binary cross-entropy of probabilities clamps its logarithms."""


def _limit(sign: float, t: CellTargets, xp: Any) -> Array:  # noqa: ARG001 - one signature for all limits
    """Return the loss at a logit of sign * inf: 0 where the target agrees with it, infinite elsewhere."""
    values = t.values.astype(np.float64)
    against = values if sign < 0 else 1.0 - values
    for weight in (t.weight, t.pos_weight if sign < 0 else None):
        against = against if weight is None else against * weight.astype(np.float64)
    return np.where(against > 0, np.inf, 0.0)


def _open_sum(x: Array, t: CellTargets, xp: Any) -> tuple[Array, Array, Array]:
    """Return the loss as a difference of products without rounding, plus what may be tiny beside it."""
    one = xp.number(1.0)
    weight = one if t.weight is None else t.weight
    up, down = xp.maximum(x, xp.number(0.0)), xp.maximum(-x, xp.number(0.0))
    tail = weight * (t.positive + t.negative(xp)) * xp.log1p(xp.exp(xp.minimum(x, -x)))
    return weight * up + weight * t.positive * down, weight * t.values * up, tail


OPERATION = Operation(
    "binary_cross_entropy",
    Gives.CELL,
    Second.CELL_TARGETS,
    scale=of_the_value,
    undefined=cells_without_target,
    limit={-math.inf: lambda t, xp: _limit(-1.0, t, xp), math.inf: lambda t, xp: _limit(1.0, t, xp)},
    cellwise=True,
    open_sum=_open_sum,
    reduces=True,
    laws=("cells-independent", "same-at-minus-x", *BOOKKEEPING),
    looks_like=rf"{VALUE}({CELL_LOSS})",
    looks_rank=20,
    libraries={
        "torch": "torch.nn.functional.binary_cross_entropy_with_logits",
        "optax": "optax.sigmoid_binary_cross_entropy",
    },
    computes="The loss of each logit with its target t: -(t log(p) + (1 - t) log(1 - p)), p = sigmoid(x).",
    noun="binary cross-entropy",
    command="bce",
    timed=False,
    by_default=False,
    main_variants=("naive", "minus-product", "compensated"),
    error_u=32.0,
)


def _of_logs(log_p: Array, log_q: Array, t: CellTargets, xp: Namespace) -> Array:
    """Return the definition of the loss, word for word, from the logarithms of p and 1 - p."""
    loss = -(t.positive * log_p + t.negative(xp) * log_q)
    return t.weigh(loss, xp)


@variant(
    OPERATION,
    "naive",
    formula="-(t log(p) + (1 - t) log(1 - p)),  p = 1 / (1 + exp(-x))",
    promises={
        Outcome.NAN: (
            "large-logits far-below-zero large-offset-tie collapse masked-class leading-mask row-all-neg-inf "
            "logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right infinite-logits"
        ),
        Outcome.OVERFLOW: "wide-spread",
        Outcome.LOST: "nearly-certain",
    },
    cites=("goodfellow-2016", "candle-2561"),
    cure="binary_cross_entropy/compensated",
    weakness="1 - p cancels where p is near 1",
)
def naive(x: Array, t: CellTargets, xp: Namespace) -> Array:
    """The definition, word for word.

    Why it holds: while p is neither 0 nor 1 both logarithms are finite.

    Where it breaks: above 16.64 in float32 p is exactly 1 and log(1 - p) is -inf: the loss of a wrong cell
    is infinite, and that of a right one 0 * -inf, NaN. Below -88.72 p is 0, with log(p) for log(1 - p).
    """
    p = _sigmoid.naive.function(x, xp)
    return _of_logs(xp.log(p), xp.log(xp.number(1.0) - p), t, xp)


@variant(
    OPERATION,
    "clamped-log",
    formula="-(t max(log(p), -100) + (1 - t) max(log(1 - p), -100)),  p = sigmoid(x) by sign",
    promises={
        Outcome.INACCURATE: (
            "large-logits far-below-zero large-offset-tie wide-spread row-all-neg-inf positive-infinity infinite-logits"
        ),
        Outcome.LOST: "nearly-certain collapse logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right",
    },
    cites=("pytorch-49844",),
    cure="binary_cross_entropy/compensated",
    weakness="1 - p cancels, and the clamp, not the logit, decides a loss of 100",
    exact=False,
)
def clamped_log(x: Array, t: CellTargets, xp: Namespace) -> Array:
    """What PyTorch's BCELoss makes of a sigmoid: logarithms end at -100.

    Why it holds: 0 * -100 is 0, so nothing is NaN, not even at -inf and inf.

    Where it breaks: from 17.3 on in float32 1 - p is 0 and a loss of 17.3 becomes 100; a right cell
    beyond it has loss 0.
    """
    p, lowest = _sigmoid.by_sign.function(x, xp), xp.number(LOWEST_LOG)
    log_p, log_q = xp.log(p), xp.log(xp.number(1.0) - p)
    return _of_logs(xp.maximum(log_p, lowest), xp.maximum(log_q, lowest), t, xp)


@variant(
    OPERATION,
    "epsilon",
    formula="-(t log(p + 1e-9) + (1 - t) log(1 - p + 1e-9)),  p = sigmoid(x) by sign",
    promises={
        Outcome.INACCURATE: (
            "large-logits far-below-zero large-offset-tie wide-spread row-all-neg-inf positive-infinity infinite-logits"
        ),
        Outcome.LOST: "nearly-certain collapse logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right",
    },
    cure="binary_cross_entropy/compensated",
    weakness="the epsilon, not the logit, decides a loss near 20.7",
    exact=False,
)
def epsilon(x: Array, t: CellTargets, xp: Namespace) -> Array:
    """The usual patch against log 0.

    Why it holds: log never sees 0 (in float16 it does: 1e-9 rounds to 0).

    Where it breaks: the loss stops at 20.72, and a right cell has a negative loss or none.
    """
    p, one, eps = _sigmoid.by_sign.function(x, xp), xp.number(1.0), xp.number(EPSILON)
    return _of_logs(xp.log(p + eps), xp.log(one - p + eps), t, xp)


@variant(
    OPERATION,
    "clipped",
    formula="-(t log(p) + (1 - t) log(1 - p)),  p = clip(sigmoid(x), 1e-7, 1 - 1e-7)",
    promises={
        Outcome.INACCURATE: (
            "large-logits far-below-zero large-offset-tie wide-spread nearly-certain collapse masked-class "
            "leading-mask row-all-neg-inf positive-infinity logits-beyond-exp-overflow sigmoid-rounds-to-1 "
            "confident-and-right infinite-logits"
        ),
    },
    cites=("keras-17634", "scikit-learn-24315"),
    cure="binary_cross_entropy/compensated",
    weakness="the clip, not the logit, decides a loss above 16.1 or below 1e-7",
    exact=False,
)
def clipped(x: Array, t: CellTargets, xp: Namespace) -> Array:
    """What Keras computes of probabilities.

    Why it holds: log never sees 0 (in float16 and bfloat16 the upper limit rounds to 1).

    Where it breaks: the loss stops at 16.118 or, for the rounding of 1 - 1e-7 in float32, at 15.94; that of a
    right cell stops at 1e-7.
    """
    one = xp.number(1.0)
    p = xp.minimum(xp.maximum(_sigmoid.by_sign.function(x, xp), xp.number(CLIP)), xp.number(1 - CLIP))
    return _of_logs(xp.log(p), xp.log(one - p), t, xp)


@variant(
    OPERATION,
    "minus-product",
    formula="(1 - t) x + (1 + (w - 1) t) (log1p(exp(-|x|)) + max(-x, 0)),  w the weight of positive targets",
    promises={
        Outcome.LOST: "nearly-certain logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right",
        Outcome.NAN: "masked-class leading-mask row-all-neg-inf infinite-logits",
    },
    cites=("pytorch-135359", "pytorch-49844"),
    cure="binary_cross_entropy/compensated",
    weakness="(1 - t) x + max(-x, 0) cancels for negative x: what is left are the digits of x",
)
def minus_product(x: Array, t: CellTargets, xp: Namespace) -> Array:
    """What PyTorch computes: (1 - t) x minus the log-sigmoid.

    Why it holds: nothing overflows, and for positive x nothing cancels.

    Where it breaks: at x = -20 with target 0 it gives 0 where 2.06e-9 is right; a logit of -inf gives
    -inf + inf, NaN.
    """
    zero, one = xp.number(0.0), xp.number(1.0)
    log_sigmoid = xp.minimum(x, zero) - xp.log1p(xp.exp(xp.minimum(x, -x)))
    if t.pos_weight is not None:
        log_sigmoid = log_sigmoid * (one + (t.pos_weight - one) * t.values)
    loss = (one - t.values) * x - log_sigmoid
    return t.weigh(loss, xp)


@variant(
    OPERATION,
    "two-terms",
    formula="-(t log_sigmoid(x) + (1 - t) log_sigmoid(-x))",
    promises={Outcome.NAN: "masked-class leading-mask row-all-neg-inf infinite-logits"},
    cites=("maechler-2012", "optax-431"),
    cure="binary_cross_entropy/compensated",
)
def two_terms(x: Array, t: CellTargets, xp: Namespace) -> Array:
    """What optax computes: both log-probabilities from the logit, none from a probability.

    Why it holds: two terms that are never negative are added, each with its own digits.

    Where it breaks: at a logit of -inf or inf: 0 * inf is NaN where the target agrees with it.
    """
    zero = xp.number(0.0)
    s = xp.log1p(xp.exp(xp.minimum(x, -x)))
    return _of_logs(xp.minimum(x, zero) - s, xp.minimum(-x, zero) - s, t, xp)


@variant(
    OPERATION,
    "compensated",
    formula="t (max(-x, 0) + s) + (1 - t) (max(x, 0) + s),  s = log1p(exp(-|x|)),  0 times anything 0",
    cites=("maechler-2012", "blanchard-2021"),
)
def compensated(x: Array, t: CellTargets, xp: Namespace) -> Array:
    """`two-terms`, in which a target of 0 or 1 ignores the other term even where that is infinite.

    Why it holds: two terms that are never negative are added, each right to 2 ulp: at most 2 ulp measured
    without weights and 4 with them, in every format, subnormal results included (which a weight above 1
    multiplies, errors and all).

    Where it breaks: nowhere: at -inf and inf the loss is 0 where the target agrees, and inf elsewhere.
    """
    zero = xp.number(0.0)
    s = xp.log1p(xp.exp(xp.minimum(x, -x)))
    missed = times(t.positive, xp.maximum(-x, zero) + s, xp)
    alarmed = times(t.negative(xp), xp.maximum(x, zero) + s, xp)
    return t.weigh(missed + alarmed, xp)


wide = widened(compensated, holds=HALF_AN_ULP, breaks="nowhere, not even at the infinities")
