"""Vector-Jacobian product of softmax: the gradient of sum(g * softmax(x)) with respect to x."""

from __future__ import annotations

import math

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations import normalisers
from stablemax.operations import softmax as _softmax
from stablemax.operations.operation import Gives, Operation, Second
from stablemax.operations.scales import probability_times_upstream
from stablemax.operations.shared import BOOKKEEPING, GRADIENT, widened
from stablemax.operations.undefined import rows_without_product
from stablemax.operations.variant import variant
from stablemax.results import Outcome

OPERATION = Operation(
    "softmax_vjp",
    Gives.CELL,
    Second.UPSTREAM,
    scale=probability_times_upstream,
    undefined=rows_without_product,
    limit={-math.inf: 0.0},
    gradient_of="softmax",
    best="centred",
    laws=("shift-invariance", "permutation", "rows-independent", "gradient-sums-to-0", *BOOKKEEPING),
    looks_like=rf"softmax.*({GRADIENT})|({GRADIENT}).*softmax",
    looks_rank=20,
    libraries={"torch": "torch.autograd.grad of torch.softmax", "jax": "jax.vjp of jax.nn.softmax"},
    computes="The gradient of sum(g * softmax(x)) by each logit, for an upstream gradient g: what backward hands on.",
    noun="gradient",
    timed=False,
    main_variants=("jacobian", "closed-form", "centred"),
)


@variant(
    OPERATION,
    "jacobian",
    formula="J^T g,  J_kk = p_k (1 - p_k),  J_kl = -p_k p_l",
    promises={
        Outcome.INACCURATE: "wide-spread nearly-certain collapse constant-upstream",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cure="softmax_vjp/centred",
    weakness="K products of either sign cancel, each rounded to the size of g",
    max_classes=2048,
)
def jacobian(x: Array, g: Array, xp: Namespace) -> Array:
    """The full Jacobian, row by row, times the upstream gradient.

    Why it holds: it is the definition.

    Where it breaks: 1 - p_k cancels where a class is nearly certain; it costs K^2 memory per row.
    """
    p = _softmax.shifted.function(x, xp)
    return xp.sum(normalisers.softmax_jacobian(p, xp) * g[..., None, :])[..., 0]


@variant(
    OPERATION,
    "closed-form",
    formula="p (g - sum(p g))",
    promises={
        Outcome.INACCURATE: "wide-spread",
        Outcome.LOST: "nearly-certain collapse constant-upstream",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("goodfellow-2016",),
    cure="softmax_vjp/centred",
    weakness="g - sum(p g) cancels where g is nearly constant beside its own size",
)
def closed_form(x: Array, g: Array, xp: Namespace) -> Array:
    """What the frameworks compute.

    Why it holds: the Jacobian is diag(p) - p p^T, so no matrix is needed.

    Where it breaks: g = [1000.0001, 1000, 1000] in float32: the rounding of sum(p g) is larger than the
    difference, and the sign comes out wrong.
    """
    p = _softmax.shifted.function(x, xp)
    return p * (g - xp.sum(p * g))


@variant(
    OPERATION,
    "centred",
    formula="e (h - sum(p h)) / sum(e),  h = g - g_m,  m the most probable class",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("rump-2008",),
    weakness="h - sum(p h) cancels where g_j is close to its mean under p",
)
def centred(x: Array, g: Array, xp: Namespace) -> Array:
    """The closed form, after a constant is taken from g, which changes nothing in exact arithmetic.

    Why it holds: the product depends on the differences of g only; taken first, they are as small as
    they should be. e and its sum are those of `softmax/compensated`.

    Where it breaks: an entry whose g_j is close to the mean of g under p is ill-conditioned.
    """
    e = xp.shifted_exp(x)
    # A difference of two gradients near the largest number is beyond it, though the product need not be.
    g, scale = xp.with_room(g)
    pivot, _ = xp.take_max(g, x)
    h = g - pivot
    # The exponentials are divided last: a p below the smallest number may have a p h above it.
    return xp.over_sum(e * (h - xp.sum(xp.over_sum(e * h, e, 1.0))), e, 1.0) / scale


wide = widened(
    centred,
    holds="float64 has 29 bits more than float32, which pays for most of the cancellation",
    breaks="entries that cancel by more than those bits",
)
