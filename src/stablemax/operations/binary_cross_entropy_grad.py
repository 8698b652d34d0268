"""Gradient of the binary cross-entropy: sigmoid(x) - t, times the weights, over what the reduction divides by."""

from __future__ import annotations

import math
from typing import Any

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations import sigmoid as _sigmoid
from stablemax.operations.operation import Gives, Operation, Second
from stablemax.operations.scales import weight_of_the_cell
from stablemax.operations.shared import BOOKKEEPING, CELL_LOSS, GRADIENT, widened
from stablemax.operations.targets import CellTargets
from stablemax.operations.undefined import cells_without_target
from stablemax.operations.variant import variant
from stablemax.results import Outcome

EPSILON = 1e-12
"""Below this PyTorch's gradient of a binary cross-entropy of probabilities takes p (1 - p) no further down."""

TINY = 2.0**-100


def _open_sum(x: Array, t: CellTargets, xp: Any) -> tuple[Array, Array, Array]:
    """Return the gradient as its limit at x times infinity and what may be tiny beside it: far from 0 alone.

    Near 0 it is one quotient: where that is a number of few bits, as at x = 0, it comes out exactly.
    """
    zero, one = xp.number(0.0), xp.number(1.0)
    e, up = xp.exp(xp.minimum(x, -x)), x >= zero
    near = e > xp.number(TINY)
    towards = (t.positive + t.negative(xp)) * (e / (one + e))
    head = t.scaled(xp.where(up, t.negative(xp), -t.positive), xp)
    tail = t.scaled(xp.where(up, -towards, towards), xp)
    return xp.where(near, compensated.function(x, t, xp), head), zero, xp.where(near, zero, tail)


def _limit(gradient: Array, t: CellTargets, xp: Any) -> Array:
    """Return the gradient at an infinite logit, in balls where a product would round."""
    is_weighted = t.weight is not None or t.pos_weight is not None
    return t.scaled(gradient * xp.number(1.0) if is_weighted else gradient, xp)


OPERATION = Operation(
    "binary_cross_entropy_grad",
    Gives.CELL,
    Second.CELL_TARGETS,
    scale=weight_of_the_cell,
    undefined=cells_without_target,
    limit={
        -math.inf: lambda t, xp: _limit(-t.positive, t, xp),
        math.inf: lambda t, xp: _limit(t.negative(xp), t, xp),
    },
    cellwise=True,
    open_sum=_open_sum,
    gradient_of="binary_cross_entropy",
    laws=("cells-independent", "opposite-at-minus-x", *BOOKKEEPING),
    looks_like=rf"({CELL_LOSS}).*({GRADIENT})|({GRADIENT}).*({CELL_LOSS})",
    looks_rank=5,
    libraries={
        "torch": "torch.autograd.grad of torch.nn.functional.binary_cross_entropy_with_logits",
        "optax": "jax.grad of optax.sigmoid_binary_cross_entropy",
    },
    computes="The derivative of the mean binary cross-entropy by each logit: (sigmoid(x) - t) / N.",
    noun="gradient",
    command="bce-grad",
    timed=False,
    by_default=False,
    main_variants=("naive", "by-sign", "compensated"),
)


@variant(
    OPERATION,
    "naive",
    formula="(1 / (1 + exp(-x)) - t) / N",
    promises={
        Outcome.LOST: "collapse logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right",
        Outcome.INACCURATE: "sigmoid-at-a-soft-target",
    },
    cites=("goodfellow-2016",),
    cure="binary_cross_entropy_grad/compensated",
    weakness="p - t cancels where p is near the target",
)
def naive(x: Array, t: CellTargets, xp: Namespace) -> Array:
    """The naive sigmoid minus the target.

    Why it holds: the derivative of log(1 + exp(x)) is sigmoid(x).

    Where it breaks: p - t cancels: from 16.64 on in float32 with target 1 it is 0, where -exp(-x) is right,
    and a sigmoid of 0.50002 minus a target of 0.5 keeps three digits.
    """
    p = _sigmoid.naive.function(x, xp)
    return t.scaled(t.negative(xp) * p - t.positive * (xp.number(1.0) - p), xp)


@variant(
    OPERATION,
    "by-sign",
    formula="(sigmoid(x) - t) / N,  sigmoid by sign",
    promises={
        Outcome.LOST: "collapse logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right",
        Outcome.INACCURATE: "sigmoid-at-a-soft-target",
    },
    cites=("goodfellow-2016",),
    cure="binary_cross_entropy_grad/compensated",
    weakness="p - t cancels where p is near the target",
)
def by_sign(x: Array, t: CellTargets, xp: Namespace) -> Array:
    """The formula of every textbook.

    Why it holds: nothing overflows.

    Where it breaks: p - t cancels: at x = 20 with target 1 it is 0 in float32 instead of -2.06e-9.
    """
    p = _sigmoid.by_sign.function(x, xp)
    if t.pos_weight is None:
        return t.scaled(p - t.values, xp)
    return t.scaled((t.positive + t.negative(xp)) * p - t.positive, xp)


@variant(
    OPERATION,
    "chained",
    formula="p (1 - p) (p - t) / max(p (1 - p), 1e-12) / N,  p = sigmoid(x) by sign",
    promises={
        Outcome.LOST: (
            "large-logits far-below-zero large-offset-tie wide-spread collapse row-all-neg-inf positive-infinity "
            "logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right infinite-logits"
        ),
        Outcome.INACCURATE: "nearly-certain sigmoid-at-a-soft-target",
    },
    cites=("pytorch-49844",),
    cure="binary_cross_entropy_grad/compensated",
    weakness="p - t cancels, and p (1 - p) below 1e-12 makes the gradient vanish",
    exact=False,
)
def chained(x: Array, t: CellTargets, xp: Namespace) -> Array:
    """What autograd makes of PyTorch's BCELoss of a sigmoid, layer by layer.

    Why it holds: the chain rule, through the probability.

    Where it breaks: where p is 1 or 0 the factor p (1 - p) is 0, and so is the gradient: a cell that is
    wrong by 17.3 or more in float32 stops learning.
    """
    p, one = _sigmoid.by_sign.function(x, xp), xp.number(1.0)
    slope = p * (one - p)
    upstream = (t.negative(xp) * p - t.positive * (one - p)) / xp.maximum(slope, xp.number(EPSILON))
    return t.scaled(upstream * slope, xp)


@variant(
    OPERATION,
    "compensated",
    formula="(1 - t - t e) / (1 + e) / N for x >= 0, mirrored for x < 0,  e = exp(-|x|); near 0 with e - 1 for e",
    cites=("goodfellow-2016",),
)
def compensated(x: Array, t: CellTargets, xp: Namespace) -> Array:
    """The gradient as a quotient, whose numerator cancels no more than the problem asks.

    Why it holds: (1 - t) p - t (1 - p) keeps the digits of a small p or 1 - p. Where e > 1/2 the
    numerator is (1 - 2 t) - t expm1(-|x|), exact in its first term, so that a target of 1/2 costs
    nothing. At most 3 u of |p - t| + |x| p (1 - p), in every format: what moving x by an ulp costs.

    Where it breaks: where p comes within many ulp of a target other than 0, 1/2 and 1 the problem itself is
    ill-conditioned, and digits are lost in that measure.
    """
    low, zero, one, half = xp.minimum(x, -x), xp.number(0.0), xp.number(1.0), xp.number(0.5)
    e, up = xp.exp(low), x >= zero
    missed, alarmed = t.positive, t.negative(xp)
    far = xp.where(up, alarmed - missed * e, alarmed * e - missed)
    difference = (half - t.values) + (half - t.values) if t.pos_weight is None else alarmed - missed
    near = difference + xp.where(up, -missed, alarmed) * xp.expm1(low)
    return t.scaled(xp.where(e > half, near, far) / (one + e), xp)


wide = widened(
    compensated,
    holds="float64 has 29 bits more than float32, which pay for most of the cancellation",
    breaks="cells that cancel by more than those bits",
)
