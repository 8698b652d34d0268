"""Entropy of the softmax of a row of logits, in nats."""

from __future__ import annotations

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations import softmax as _softmax
from stablemax.operations.error_free import difference_in_two
from stablemax.operations.operation import Gives, Operation
from stablemax.operations.scales import of_the_value
from stablemax.operations.shared import BOOKKEEPING, HALF_AN_ULP, VALUE, widened
from stablemax.operations.undefined import rows_without_distribution
from stablemax.operations.variant import variant
from stablemax.results import Outcome

EPSILON = 1e-9

OPERATION = Operation(
    "entropy",
    Gives.ROW,
    scale=of_the_value,
    undefined=rows_without_distribution,
    laws=("shift-invariance", "permutation", "rows-independent", *BOOKKEEPING),
    looks_like=rf"{VALUE}(?<!cross_)(?<!x_)(?<![a-z])entropy",
    looks_rank=35,
    libraries={
        "torch": "torch.distributions.Categorical(logits=x).entropy",
        "jax": "jax.scipy.special.entr of jax.nn.softmax",
        "scipy": "scipy.special.entr of scipy.special.softmax",
    },
    computes="How uncertain the softmax p of a row is, in nats: -sum(p log(p)).",
    noun="entropy",
    command="entropy",
    timed=False,
    by_default=False,
    main_variants=("naive", "log-softmax", "compensated"),
    error_u=64.0,
)


@variant(
    OPERATION,
    "naive",
    formula="-sum(p log(p)),  p = exp(x) / sum(exp(x))",
    promises={
        Outcome.NAN: (
            "large-logits far-below-zero large-offset-tie wide-spread masked-class leading-mask row-all-neg-inf "
            "positive-infinity"
        ),
        Outcome.INACCURATE: "nearly-certain collapse",
    },
    cites=("trl-7221",),
    cure="entropy/compensated",
    weakness="p is rounded before its log is taken: -p log(p) of a p near 1 is lost",
)
def naive(x: Array, xp: Namespace) -> Array:
    """The definition, word for word.

    Why it holds: while every probability is a normal number, each term keeps its digits.

    Where it breaks: a probability that underflows to 0, or is 0 for a logit of -inf, gives 0 * log 0, NaN;
    and exp overflows above the log of the largest number.
    """
    p = _softmax.naive.function(x, xp)
    return -xp.sum(p * xp.log(p))


@variant(
    OPERATION,
    "log-of-softmax",
    formula="-sum(p log(p)),  p = softmax(x) shifted",
    promises={
        Outcome.NAN: "wide-spread masked-class leading-mask row-all-neg-inf positive-infinity",
        Outcome.INACCURATE: "nearly-certain collapse",
    },
    cites=("trl-7221", "pytorch-40553"),
    cure="entropy/compensated",
    weakness="p is rounded before its log is taken: -p log(p) of a p near 1 is lost",
)
def log_of_softmax(x: Array, xp: Namespace) -> Array:
    """The definition over a stable softmax.

    Why it holds: nothing overflows.

    Where it breaks: a logit 104 below the maximum in float32, or a -inf, has probability 0, and 0 * log 0 is
    NaN.
    """
    p = _softmax.shifted.function(x, xp)
    return -xp.sum(p * xp.log(p))


@variant(
    OPERATION,
    "masked-terms",
    formula="-sum(p log(p)) over p > 0,  p = softmax(x) shifted",
    promises={Outcome.INACCURATE: "nearly-certain collapse", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("trl-7221",),
    cure="entropy/compensated",
    weakness="p is rounded before its log is taken: -p log(p) of a p near 1 is lost",
)
def masked_terms(x: Array, xp: Namespace) -> Array:
    """What scipy.special.entr computes of a softmax: terms of probability 0 are 0.

    Why it holds: p log(p) tends to 0 with p.

    Where it breaks: a nearly certain class has p = 1 - q, and the q of its term is lost: [0, -40] keeps 41
    parts in 42 and [0, -1] keeps all.
    """
    p, zero = _softmax.shifted.function(x, xp), xp.number(0.0)
    return -xp.sum(xp.where(p == zero, zero, p * xp.log(p)))


@variant(
    OPERATION,
    "epsilon",
    formula="-sum(p log(p + 1e-9)),  p = softmax(x) shifted",
    promises={Outcome.INACCURATE: "nearly-certain collapse", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cure="entropy/compensated",
    weakness="the epsilon, not the probability, decides the term of a p below 1e-9",
    exact=False,
)
def epsilon(x: Array, xp: Namespace) -> Array:
    """The usual patch against log 0.

    Why it holds: log never sees 0 (in float16 it does: 1e-9 rounds to 0).

    Where it breaks: a row that is nearly certain has a negative entropy, or none.
    """
    p = _softmax.shifted.function(x, xp)
    return -xp.sum(p * xp.log(p + xp.number(EPSILON)))


@variant(
    OPERATION,
    "lse-minus",
    formula="m + log(sum(exp(x - m))) - sum(p x),  p = softmax(x) shifted",
    promises={
        Outcome.LOST: "large-offset-tie collapse",
        Outcome.INACCURATE: "wide-spread nearly-certain",
        Outcome.NAN: "masked-class leading-mask row-all-neg-inf positive-infinity",
    },
    cites=("blanchard-2021",),
    cure="entropy/compensated",
    weakness="lse - sum(p x) cancels: the digits of the entropy below those of m are gone",
)
def lse_minus(x: Array, xp: Namespace) -> Array:
    """A stable log-sum-exp minus the mean logit: what verl and other trainers of language models compute.

    Why it holds: nothing overflows.

    Where it breaks: both terms have the size of the logits: three logits of 1e8 in float32 give 0 instead of
    log 3; and a logit of -inf gives 0 * -inf, NaN.
    """
    m = xp.max(x)
    lse = m + xp.log(xp.sum(xp.exp(x - m)))
    return lse - xp.sum(_softmax.shifted.function(x, xp) * x)


@variant(
    OPERATION,
    "log-softmax",
    formula="-sum(p l),  l = (x - m) - log(sum(exp(x - m))),  p = exp(l)",
    promises={
        Outcome.INACCURATE: "nearly-certain collapse",
        Outcome.NAN: "masked-class leading-mask row-all-neg-inf positive-infinity",
    },
    cites=("pytorch-40553", "blanchard-2021"),
    cure="entropy/compensated",
    weakness="the log-probability of a nearly certain class is lost",
)
def log_softmax(x: Array, xp: Namespace) -> Array:
    """What PyTorch's Categorical computes, but for its clamp of -inf.

    Why it holds: nothing overflows, and a log-probability is never the log of 0.

    Where it breaks: a logit of -inf gives 0 * -inf, NaN; the log-probability of a nearly certain class is
    rounded to 0.
    """
    d = x - xp.max(x)
    logs = d - xp.log(xp.sum(xp.exp(d)))
    return -xp.sum(xp.exp(logs) * logs)


@variant(
    OPERATION,
    "compensated",
    formula="log1p(q) + sum(p (m - x)),  m = max(x),  q = sum of the other exp(x - m)",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("blanchard-2021", "rump-2008", "knuth-1997"),
)
def compensated(x: Array, xp: Namespace) -> Array:
    """Terms that are never negative, each with its own digits.

    Why it holds: log1p(q) keeps a tiny q, m - x is one rounding whose error is kept for the exponential,
    and exp((x - m) / 2) is taken twice, so that p (m - x) is right even where p is below the smallest
    number: at most 3 ulp measured in float32 and float64, subnormal results included.

    Where it breaks: a row of all -inf, or with a +inf or NaN, has no entropy: NaN. In formats of fewer than
    24 bits many terms below the smallest normal number lose digits one by one.
    """
    zero, one, half = xp.number(0.0), xp.number(1.0), xp.number(0.5)
    m = xp.max(x)
    d, r = difference_in_two(x, m, xp)
    # exp(d / 2) is a normal number wherever exp(d) is a number at all.
    h = xp.exp(d * half)
    terms = xp.where(xp.isfinite(d), (h + h * r) * (h * -d), zero)
    odds = xp.odds(x)
    # m - m is 0, or NaN where the row has no softmax.
    return xp.log1p(odds) + xp.compensated_sum(terms) / (one + odds) + (m - m)


wide = widened(compensated, holds=HALF_AN_ULP, breaks="where the row has no entropy")
