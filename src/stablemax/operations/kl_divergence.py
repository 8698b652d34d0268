"""Kullback-Leibler divergence of two rows of logits: KL(softmax(x) || softmax(y)), x the first, y the second.

In distillation x are the teacher's logits and y the student's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations import softmax as _softmax
from stablemax.operations.error_free import difference_in_two, mean_under, signed_sum
from stablemax.operations.operation import Gives, Operation, Prover, Second
from stablemax.operations.scales import of_the_value
from stablemax.operations.shared import BOOKKEEPING, HALF_AN_ULP, VALUE, widened
from stablemax.operations.undefined import rows_without_two_distributions
from stablemax.operations.variant import variant
from stablemax.results import Outcome

EPSILON = 1e-9


def _open_sum(x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
    """Return the divergence as max(y) - y_i at the most probable class i of x, without rounding, plus the rest."""
    n, first = xp.max(y), xp.take_max(y, x)[0]
    p = xp.over_sum(xp.shifted_exp(x), xp.shifted_exp(x), 1.0)
    apart = xp.sum(p * ((x - xp.max(x)) - (y - first)))
    return n, first, apart + xp.log1p(xp.odds(y)) - xp.log1p(xp.odds(x))


def _masked(prover: Prover, x: Array, unmasked: Array, y: Array) -> Any:
    """Divergence among the `unmasked` classes of x, infinite where y gives none of its probability to one of them."""
    mass = np.flatnonzero(~np.isneginf(y[0]))
    if not np.isin(unmasked, mass).all():
        infinite = np.full((len(x), 1), np.inf)
        zeros = np.zeros((len(x), 1))
        return prover.prove(lambda xp, rows: xp.array(zeros[rows]), zeros.shape).replaced(infinite > 0, np.inf)
    here, there, whole = x[:, unmasked], y[:, unmasked], y[:, mass]

    def divergence(xp: Any, rows: Any) -> Any:
        some, among, others = xp.array(here[rows]), xp.array(there[rows]), xp.array(whole[rows])
        shift = xp.max(some) - xp.max(others)
        p = xp.over_sum(xp.shifted_exp(some), xp.shifted_exp(some), 1.0)
        return xp.sum(p * ((some - among) - shift)) + xp.log1p(xp.odds(others)) - xp.log1p(xp.odds(some))

    return prover.prove(divergence, whole.shape)


OPERATION = Operation(
    "kl_divergence",
    Gives.ROW,
    Second.LOGITS,
    scale=of_the_value,
    undefined=rows_without_two_distributions,
    masked=_masked,
    open_sum=_open_sum,
    reduces=True,
    laws=("shift-invariance", "permutation", "rows-independent", "zero-of-equal-rows", *BOOKKEEPING),
    looks_like=rf"{VALUE}((?<![a-z])kl(?![a-z])|kl_?div|kullback|rel(ative)?_?entr|distill)",
    looks_rank=15,
    libraries={
        "torch": "torch.nn.functional.kl_div of torch.log_softmax, log_target=True",
        "optax": "optax.kl_divergence_with_log_targets of jax.nn.log_softmax",
        "scipy": "scipy.special.rel_entr of scipy.special.softmax",
    },
    computes="How far q, the softmax of a second row of logits, is from p, that of the first: sum(p log(p / q)).",
    noun="divergence",
    command="kl-divergence",
    timed=False,
    by_default=False,
    main_variants=("naive", "log-softmax", "compensated"),
    error_u=64.0,
)


@variant(
    OPERATION,
    "naive",
    formula="sum(p log(p / q)),  p = exp(x) / sum(exp(x)),  q = exp(y) / sum(exp(y))",
    promises={
        Outcome.NAN: (
            "large-logits far-below-zero large-offset-tie wide-spread masked-class leading-mask row-all-neg-inf "
            "positive-infinity shifted-rows excluded-by-both-rows"
        ),
        Outcome.INACCURATE: "nearly-equal-rows",
        Outcome.OVERFLOW: "probability-underflows-in-the-second-row",
    },
    cites=("pytorch-80488",),
    cure="kl_divergence/compensated",
    weakness="terms of both signs cancel where the rows are nearly equal",
)
def naive(x: Array, y: Array, xp: Namespace) -> Array:
    """The definition, word for word.

    Why it holds: while every probability is a normal number, each term keeps its digits.

    Where it breaks: exp overflows above the log of the largest number; a probability of 0 gives 0 * log 0,
    NaN, or p / 0, inf.
    """
    p, q = _softmax.naive.function(x, xp), _softmax.naive.function(y, xp)
    return xp.sum(p * xp.log(p / q))


@variant(
    OPERATION,
    "log-of-ratio",
    formula="sum(p log(p / q)),  p = softmax(x),  q = softmax(y), both shifted",
    promises={
        Outcome.NAN: "wide-spread masked-class leading-mask row-all-neg-inf positive-infinity excluded-by-both-rows",
        Outcome.INACCURATE: "nearly-equal-rows",
        Outcome.OVERFLOW: "probability-underflows-in-the-second-row",
    },
    cites=("pytorch-80488",),
    cure="kl_divergence/compensated",
    weakness="terms of both signs cancel where the rows are nearly equal",
)
def log_of_ratio(x: Array, y: Array, xp: Namespace) -> Array:
    """The definition over two stable softmaxes.

    Why it holds: nothing overflows.

    Where it breaks: a probability that underflows, in either row: 0 * log 0 is NaN, and p / 0 is inf where
    an ordinary number is right.
    """
    p, q = _softmax.shifted.function(x, xp), _softmax.shifted.function(y, xp)
    return xp.sum(p * xp.log(p / q))


@variant(
    OPERATION,
    "masked-terms",
    formula="sum(p log(p / q)) over p > 0,  p = softmax(x),  q = softmax(y), both shifted",
    promises={
        Outcome.OVERFLOW: "wide-spread probability-underflows-in-the-second-row",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
        Outcome.INACCURATE: "nearly-equal-rows",
    },
    cites=("pytorch-80488", "keras-13747"),
    cure="kl_divergence/compensated",
    weakness="terms of both signs cancel where the rows are nearly equal",
)
def masked_terms(x: Array, y: Array, xp: Namespace) -> Array:
    """What scipy.special.rel_entr computes of two softmaxes: terms of probability 0 are 0.

    Why it holds: p log(p / q) tends to 0 with p.

    Where it breaks: a q that underflows gives inf where an ordinary number is right; rows that are nearly
    equal give the rounding errors of their probabilities, often negative.
    """
    p, q = _softmax.shifted.function(x, xp), _softmax.shifted.function(y, xp)
    zero = xp.number(0.0)
    return xp.sum(xp.where(p == zero, zero, p * xp.log(p / q)))


@variant(
    OPERATION,
    "epsilon",
    formula="sum(p log((p + 1e-9) / (q + 1e-9))),  p = softmax(x),  q = softmax(y), both shifted",
    promises={
        Outcome.INACCURATE: (
            "wide-spread nearly-certain collapse leading-mask nearly-equal-rows "
            "probability-underflows-in-the-second-row excluded-by-the-second-row"
        ),
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("keras-13747",),
    cure="kl_divergence/compensated",
    weakness="the epsilon, not the probability, decides the term of a p or q below 1e-9",
    exact=False,
)
def epsilon(x: Array, y: Array, xp: Namespace) -> Array:
    """The usual patch against log 0.

    Why it holds: log never sees 0 (in float16 it does: 1e-9 rounds to 0).

    Where it breaks: a class that the second row all but excludes costs at most 20.7 times its probability.
    """
    p, q = _softmax.shifted.function(x, xp), _softmax.shifted.function(y, xp)
    eps = xp.number(EPSILON)
    return xp.sum(p * xp.log((p + eps) / (q + eps)))


@variant(
    OPERATION,
    "log-of-first",
    formula="sum(p (log(p) - k)),  p = softmax(x),  k = log-softmax of y, both shifted;  0 log(0) = 0",
    promises={
        Outcome.NAN: "masked-class row-all-neg-inf positive-infinity excluded-by-both-rows",
        Outcome.INACCURATE: "nearly-equal-rows",
    },
    cites=("pytorch-80488",),
    cure="kl_divergence/compensated",
    weakness="p and k are rounded apart from each other, and terms of both signs cancel",
)
def log_of_first(x: Array, y: Array, xp: Namespace) -> Array:
    """What PyTorch's kl_div computes of a student's log-softmax and a teacher's softmax.

    Why it holds: nothing overflows, and a probability of the second row that underflows costs nothing.

    Where it breaks: even equal rows do not give 0, for log(p) and k have rounding errors of their own: often
    negative.
    """
    p, zero = _softmax.shifted.function(x, xp), xp.number(0.0)
    f = y - xp.max(y)
    others = f - xp.log(xp.sum(xp.exp(f)))
    return xp.sum(xp.where(p == zero, zero, p * xp.log(p)) - p * others)


@variant(
    OPERATION,
    "log-softmax",
    formula="sum(exp(l) (l - k)),  l = log-softmax of x,  k = log-softmax of y, both shifted",
    promises={
        Outcome.NAN: "masked-class leading-mask row-all-neg-inf positive-infinity excluded-by-both-rows",
        Outcome.INACCURATE: "nearly-equal-rows",
    },
    cites=("pytorch-80488", "optax-1786"),
    cure="kl_divergence/compensated",
    weakness="terms of both signs cancel where the rows are nearly equal",
)
def log_softmax(x: Array, y: Array, xp: Namespace) -> Array:
    """What the frameworks compute for distillation.

    Why it holds: nothing overflows, and no probability underflows before its log is taken.

    Where it breaks: rows that are nearly equal give the rounding errors of their log-probabilities, often
    negative; a -inf in the first row gives 0 * -inf, NaN.
    """
    d, f = x - xp.max(x), y - xp.max(y)
    logs = d - xp.log(xp.sum(xp.exp(d)))
    others = f - xp.log(xp.sum(xp.exp(f)))
    return xp.sum(xp.exp(logs) * (logs - others))


@variant(
    OPERATION,
    "compensated",
    formula="sum(p (d + expm1(-d))),  d = log(p / q) from x - y, centred before its constant is taken",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("rump-2008", "knuth-1997"),
)
def compensated(x: Array, y: Array, xp: Namespace) -> Array:
    """Terms that are never negative: p d + q - p, whose sum is the same, for p and q sum to 1 each.

    Why it holds: d + expm1(-d) is about d^2 / 2 and keeps its digits near 0; d is right to a few ulp of
    itself, not of the logits: see `_log_ratio`. At most 8 ulp measured in float32 and float64, for rows
    that are nearly equal, far apart, nearly certain or shifted.

    Where it breaks: a row of all -inf, or with a +inf or NaN, has no divergence: NaN. It is inf where the
    second row has a -inf and the first has none. In formats of fewer than 24 bits many terms below the
    smallest normal number lose digits one by one.
    """
    zero, one = xp.number(0.0), xp.number(1.0)
    known = xp.isfinite(x) & xp.isfinite(y)
    p, q = _probabilities(x, xp), _probabilities(y, xp)
    delta, scale = _log_ratio(x, y, p, q, xp)
    d, r = difference_in_two(x, xp.max(x), xp)
    # p as a square: a p below the smallest number may have a p d above it.
    h = xp.where(xp.isfinite(d), xp.exp(d * xp.number(0.5)), zero)
    linear = (h + h * r) * (h * delta) / (one + xp.odds(x))
    small = xp.where(known, xp.maximum(delta, -delta), xp.number(2.0) * scale) <= scale
    near = p * xp.exp_remainder(-delta / scale)
    far = xp.where(known, (q - p) + linear / scale, q)
    divergence = xp.compensated_sum(xp.maximum(xp.where(small, near, far), zero))
    # Where that overflows, the terms are added on the scale on which they do not.
    far = xp.where(known, (q - p) * scale + linear, q * scale)
    scaled = xp.compensated_sum(xp.maximum(xp.where(small, near * scale, far), zero)) / scale
    impossible = xp.isfinite(x) & ~xp.isfinite(y)
    infinite = xp.max(xp.where(impossible, xp.number(math.inf), zero))
    # m - m is 0, or NaN where a row has no softmax.
    undefined = (xp.max(x) - xp.max(x)) + (xp.max(y) - xp.max(y))
    return xp.maximum(infinite, xp.where(xp.isfinite(divergence), divergence, scaled)) + undefined


def _probabilities(x: Array, xp: Namespace) -> Array:
    e = xp.shifted_exp(x)
    return xp.over_sum(e, e, 1.0)


def _log_ratio(x: Array, y: Array, p: Array, q: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return d = log(p / q) times a power of two that keeps it in the format, and that power, (N, 1).

    d is x - y minus the difference of the log-sum-exps, and each subtraction would leave the rounding errors
    of numbers far larger than d. So x - y keeps its error; its mean under p is taken off it, twice, for the
    first mean is itself rounded; and of what is left, D, the constant is -log(sum(p exp(-D))) =
    -log1p(sum(p expm1(-D))), of a sum near 0, or where it is not near 0 the plain difference.
    """
    zero, one, half = xp.number(0.0), xp.number(1.0), xp.number(0.5)
    known = xp.isfinite(x) & xp.isfinite(y)
    safe_x, safe_y = xp.where(known, x, zero), xp.where(known, y, zero)
    scale = xp.minimum(xp.with_room(safe_x)[1], xp.with_room(safe_y)[1])
    v, error = difference_in_two(safe_x * scale, safe_y * scale, xp)
    mean = mean_under(p, v, x, xp)
    centred = (v - mean) + error
    rest = mean_under(p, centred, x, xp)
    centred = centred - rest
    m, shift_error = difference_in_two(xp.max(x) * scale, xp.max(y) * scale, xp)
    plain = (((m - mean) + shift_error) - rest) + scale * xp.log((one + xp.odds(x)) / (one + xp.odds(y)))
    close = xp.where(known, xp.maximum(centred, -centred), xp.number(2.0) * scale) <= scale
    growth = xp.where(close, p * xp.expm1(-centred / scale), q * xp.exp(-plain / scale) - p)
    total = signed_sum(growth, xp)
    constant = xp.where(xp.maximum(total, -total) <= half, -(scale * xp.log1p(total)), plain)
    return centred - constant, scale


wide = widened(compensated, holds=HALF_AN_ULP, breaks="where there is no divergence")
