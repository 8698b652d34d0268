"""Gradient of the cross-entropy with respect to the logits: p - onehot, times what the reduction gives."""

from __future__ import annotations

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations import normalisers
from stablemax.operations import softmax as _softmax
from stablemax.operations.masked import masked_gradient
from stablemax.operations.operation import Gives, Operation, Second
from stablemax.operations.scales import one_hot_row
from stablemax.operations.shared import BOOKKEEPING, GRADIENT, LOSS, widened
from stablemax.operations.targets import Targets
from stablemax.operations.undefined import rows_without_distribution
from stablemax.operations.variant import variant
from stablemax.results import Outcome

OPERATION = Operation(
    "cross_entropy_grad",
    Gives.CELL,
    Second.LABELS,
    scale=one_hot_row,
    undefined=rows_without_distribution,
    masked=masked_gradient,
    gradient_of="cross_entropy",
    laws=("shift-invariance", "permutation", "rows-independent", "gradient-sums-to-0", *BOOKKEEPING),
    looks_like=rf"({LOSS}|ce_).*({GRADIENT})|({GRADIENT}).*({LOSS})",
    looks_rank=10,
    kernel="gradient",
    libraries={
        "torch": "torch.autograd.grad of torch.nn.functional.cross_entropy",
        "optax": "jax.grad of optax.softmax_cross_entropy_with_integer_labels",
    },
    computes="The derivative of the mean loss by each logit: the probability, minus 1 at the label, over N rows.",
    noun="gradient",
    command="grad",
    in_overview=True,
)


@variant(
    OPERATION,
    "naive",
    formula="(exp(x) / sum(exp(x)) - onehot) / N",
    brief="(naive p - onehot) / N",
    promises={
        Outcome.NAN: "large-logits far-below-zero large-offset-tie wide-spread row-all-neg-inf positive-infinity",
        Outcome.LOST: "nearly-certain collapse",
    },
    cites=("goodfellow-2016",),
    cure="cross_entropy_grad/compensated",
    weakness="p_y - 1 cancels where the label is nearly certain",
)
def naive(x: Array, t: Targets, xp: Namespace) -> Array:
    """The naive softmax minus the one-hot label.

    Why it holds: the derivative of log sum exp(x) is softmax(x).

    Where it breaks: where the naive softmax does: exp overflows and inf / inf is NaN.
    """
    p = _softmax.naive.function(x, xp)
    return t.scaled(p * t.total(xp) - t.matrix(x.shape[-1], xp), xp)


@variant(
    OPERATION,
    "shifted",
    formula="(softmax(x) - onehot) / N,  softmax shifted",
    brief="(shifted p - onehot) / N",
    promises={Outcome.LOST: "nearly-certain collapse", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("goodfellow-2016", "prieto-2025"),
    cure="cross_entropy_grad/compensated",
    weakness="p_y - 1 cancels where the label is nearly certain",
)
def shifted(x: Array, t: Targets, xp: Namespace) -> Array:
    """The formula of every textbook.

    Why it holds: nothing overflows.

    Where it breaks: p_y - 1 cancels: at [20, 0] in float32 with label 0 it is 0 instead of -2.06e-9.
    """
    p = _softmax.shifted.function(x, xp)
    return t.scaled(p * t.total(xp) - t.matrix(x.shape[-1], xp), xp)


@variant(
    OPERATION,
    "chained",
    formula="g - softmax(x) sum(g),  g = -onehot / N: NLL backward, then log-softmax backward",
    promises={Outcome.LOST: "nearly-certain collapse", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("pytorch-31829",),
    cure="cross_entropy_grad/compensated",
    weakness="g - p sum(g) cancels where the label is nearly certain",
)
def chained(x: Array, t: Targets, xp: Namespace) -> Array:
    """What autograd computes, layer by layer.

    Why it holds: the chain rule, through log-softmax instead of through 1 / p.

    Where it breaks: as `shifted`, and -1/N is rounded before it is used.
    """
    g = t.scaled(-t.matrix(x.shape[-1], xp), xp)
    return g - _softmax.shifted.function(x, xp) * xp.sum(g)


@variant(
    OPERATION,
    "jacobian",
    formula="J^T (-onehot / p) / N,  J = diag(p) - p p^T",
    promises={Outcome.NAN: "wide-spread row-all-neg-inf positive-infinity", Outcome.LOST: "nearly-certain collapse"},
    cure="cross_entropy_grad/compensated",
    weakness="1 / p amplifies what p lost, and the products cancel",
    max_classes=2048,
)
def jacobian(x: Array, t: Targets, xp: Namespace) -> Array:
    """The full Jacobian of softmax times the gradient of -log p: the chain rule taken literally.

    Why it holds: it is the definition, and agrees with autograd on gentle logits.

    Where it breaks: p_y that underflows gives 1 / 0 and 0 * inf = NaN; it costs K^2 memory per row.
    """
    p = _softmax.shifted.function(x, xp)
    weights = t.matrix(x.shape[-1], xp)
    zero = xp.number(0.0)
    upstream = xp.where(weights == zero, zero, -(weights / p))
    return t.scaled(xp.sum(normalisers.softmax_jacobian(p, xp) * upstream[..., None, :])[..., 0], xp)


@variant(
    OPERATION,
    "compensated",
    formula="p_j / N;  at the label -(sum of the other p) / N",
    brief="p/N, label -(other p)/N",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("rump-2008", "prieto-2025"),
)
def compensated(x: Array, t: Targets, xp: Namespace) -> Array:
    """The gradient without its cancellation.

    Why it holds: p_y - 1 is minus the sum of the other probabilities, which are all positive; they keep
    the rounding errors of x - m and of their sum.

    Where it breaks: a row of all -inf, or with a +inf or NaN, has no gradient: NaN. With soft targets
    p - t is as ill-conditioned as p is close to t, and keeps fewer digits there.
    """
    return t.gradient(xp.shifted_exp(x), x, xp)


wide = widened(compensated, breaks="where the gradient has no value")
