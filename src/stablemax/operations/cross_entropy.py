"""Cross-entropy of each row: minus the log-probability of its label, or of its soft target."""

from __future__ import annotations

from typing import Any

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations import softmax as _softmax
from stablemax.operations.masked import is_weighted, masked_loss
from stablemax.operations.operation import Gives, Operation, Second
from stablemax.operations.scales import of_the_value
from stablemax.operations.shared import BOOKKEEPING, LOSS, widened
from stablemax.operations.targets import Targets
from stablemax.operations.undefined import rows_without_distribution
from stablemax.operations.variant import variant
from stablemax.results import Outcome


def _open_sum(x: Array, t: Targets, xp: Any) -> tuple[Array, Any, Array]:
    """Return the loss as how far the label is below the maximum, without rounding, plus the log of the normaliser."""
    m, tail = xp.max(x), xp.log1p(xp.odds(x))
    if not is_weighted(t):
        return m, t.pick(x, xp), tail
    return xp.exactly(lambda: t.weigh(t.below(m, x, xp))), xp.number(0.0), t.weigh(tail * t.total(xp))


OPERATION = Operation(
    "cross_entropy",
    Gives.ROW,
    Second.LABELS,
    scale=of_the_value,
    undefined=rows_without_distribution,
    masked=masked_loss,
    open_sum=_open_sum,
    reduces=True,
    laws=("shift-invariance", "permutation", "rows-independent", *BOOKKEEPING),
    looks_like=rf"{LOSS}|(^|_)ce(_?v?\d+)?($|_)",
    looks_rank=40,
    libraries={
        "torch": "torch.nn.functional.cross_entropy",
        "optax": "optax.softmax_cross_entropy_with_integer_labels",
    },
    computes="The loss of each row: minus the log-probability of its label, or of its soft target.",
    noun="loss",
    command="loss",
    in_overview=True,
)

EPSILON = 1e-9
CLIP = 1e-7


@variant(
    OPERATION,
    "naive",
    formula="log(sum(exp(x))) - x_y",
    promises={
        Outcome.OVERFLOW: "large-logits far-below-zero large-offset-tie wide-spread",
        Outcome.LOST: "nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf",
        Outcome.UNDEFINED: "positive-infinity",
    },
    cites=("goodfellow-2016",),
    cure="cross_entropy/compensated",
    weakness="lse - x_y cancels where the label is nearly certain",
)
def naive(x: Array, t: Targets, xp: Namespace) -> Array:
    """The definition, word for word.

    Why it holds: -log(exp(x_y) / s) = log s - x_y.

    Where it breaks: exp overflows above the log of the largest number; a row far below 0 gives log 0.
    """
    return t.weigh(xp.log(xp.sum(xp.exp(x))) * t.total(xp) - t.pick(x, xp))


@variant(
    OPERATION,
    "log-of-softmax",
    formula="-log(softmax(x)_y),  softmax shifted",
    promises={
        Outcome.OVERFLOW: "wide-spread",
        Outcome.LOST: "nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("goodfellow-2016",),
    cure="cross_entropy/compensated",
    weakness="p_y is rounded before its log is taken: a loss below u is lost",
)
def log_of_softmax(x: Array, t: Targets, xp: Namespace) -> Array:
    """Two steps that look innocent: a stable softmax, then a logarithm.

    Why it holds: it is right while p_y neither underflows nor is near 1.

    Where it breaks: p_y below the smallest number is 0 and the loss inf: a label 104 below the maximum
    in float32, 18 in float16, 746 in float64.
    """
    return t.weigh(-t.pick(xp.log(_softmax.shifted.function(x, xp)), xp))


@variant(
    OPERATION,
    "epsilon",
    formula="-log(softmax(x)_y + 1e-9)",
    promises={
        Outcome.INACCURATE: "wide-spread",
        Outcome.LOST: "nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cure="cross_entropy/compensated",
    weakness="the epsilon, not the label's probability, decides a loss near 20.7",
    exact=False,
)
def epsilon(x: Array, t: Targets, xp: Namespace) -> Array:
    """The usual patch against log 0.

    Why it holds: log never sees 0 (in float16 it does: 1e-9 rounds to 0).

    Where it breaks: the loss stops at 20.72 and its gradient dies, so a badly wrong row stops learning;
    a nearly certain one has a negative loss.
    """
    return t.weigh(-t.pick(xp.log(_softmax.shifted.function(x, xp) + xp.number(EPSILON)), xp))


@variant(
    OPERATION,
    "clipped",
    formula="-log(clip(softmax(x)_y, 1e-7, 1 - 1e-7))",
    promises={
        Outcome.INACCURATE: "wide-spread nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("keras-17634", "scikit-learn-24315"),
    cure="cross_entropy/compensated",
    weakness="the clip, not the label's probability, decides a loss above 16.1 or below 1e-7",
    exact=False,
)
def clipped(x: Array, t: Targets, xp: Namespace) -> Array:
    """The other usual patch against log 0.

    Why it holds: log never sees 0 (in float16 and bfloat16 the upper limit rounds to 1).

    Where it breaks: the loss stops at 16.118: [14.4, 50.1, 3.5] with label 0 should give 35.7.
    """
    p = xp.minimum(xp.maximum(_softmax.shifted.function(x, xp), xp.number(CLIP)), xp.number(1 - CLIP))
    return t.weigh(-t.pick(xp.log(p), xp))


@variant(
    OPERATION,
    "lse-minus",
    formula="(m + log(sum(exp(x - m)))) - x_y,  m = max(x)",
    promises={
        Outcome.LOST: "large-offset-tie nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("blanchard-2021", "pytorch-11752", "optax-1792"),
    cure="cross_entropy/compensated",
    weakness="lse - x_y cancels: the digits of log s below those of m are gone",
)
def lse_minus(x: Array, t: Targets, xp: Namespace) -> Array:
    """A stable log-sum-exp minus the label's logit.

    Why it holds: nothing overflows.

    Where it breaks: m + log s is rounded to the digits of m: [1e8, 1e8, 1e8] in float32 gives 0 instead
    of log 3, and two equal logits at 1e4 give 0.693359.
    """
    m = xp.max(x)
    return t.weigh((m + xp.log(xp.sum(xp.exp(x - m)))) * t.total(xp) - t.pick(x, xp))


@variant(
    OPERATION,
    "shifted",
    formula="log(sum(exp(x - m))) - (x_y - m),  m = max(x)",
    brief="log sum exp(x-m)-(x_y-m)",
    promises={Outcome.LOST: "nearly-certain collapse", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("blanchard-2021", "prieto-2025"),
    cure="cross_entropy/compensated",
    weakness="log of a sum that is 1 plus a little: the loss of a nearly certain label is lost",
)
def shifted(x: Array, t: Targets, xp: Namespace) -> Array:
    """What the frameworks compute.

    Why it holds: two terms that are never negative are added, each with its own digits.

    Where it breaks: a nearly certain label has loss log(1 + q) with a tiny q, and 1 + q rounds to 1:
    float32 [0, 17] with label 1 has loss exactly 0, its gradient with it, and learning stops (softmax
    collapse).
    """
    d = x - xp.max(x)
    return t.weigh(xp.log(xp.sum(xp.exp(d))) * t.total(xp) - t.pick(d, xp))


@variant(
    OPERATION,
    "compensated",
    formula="(m - x_y) + log1p(q),  q = sum of the other exp(x - m)",
    brief="(m-x_y) + log1p(others)",
    promises={Outcome.NAN: "row-all-neg-inf", Outcome.UNDEFINED: "positive-infinity"},
    cites=("blanchard-2021", "rump-2008", "optax-1792"),
)
def compensated(x: Array, t: Targets, xp: Namespace) -> Array:
    """Two non-negative terms, each right to a few ulp.

    Why it holds: m - x_y is one rounding, log1p(q) is accurate for every q, q keeps the rounding errors
    of x - m and of its sum, and the addition cannot cancel.

    Where it breaks: a row of all -inf, or with a +inf or NaN, has no loss: NaN, or inf where only
    another class is +inf. A -inf at the label is an infinite loss, which is right.
    """
    m = xp.max(x)
    return t.weigh(t.below(m, x, xp) + xp.log1p(xp.odds(x)) * t.total(xp))


wide = widened(compensated, breaks="where the loss has no value")
