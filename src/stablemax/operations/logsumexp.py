"""Log-sum-exp: the logarithm of the sum of the exponentials of a row."""

from __future__ import annotations

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations import bounds, normalisers
from stablemax.operations.operation import Gives, Operation
from stablemax.operations.scales import of_the_value
from stablemax.operations.shared import BOOKKEEPING, widened
from stablemax.operations.undefined import rows_without_distribution
from stablemax.operations.variant import variant
from stablemax.results import Outcome

OPERATION = Operation(
    "logsumexp",
    Gives.ROW,
    scale=of_the_value,
    undefined=rows_without_distribution,
    open_sum=lambda x, _, xp: (xp.max(x), xp.number(0.0), xp.log1p(xp.odds(x))),
    follows_shift=True,
    laws=("shift-invariance", "permutation", "rows-independent", *BOOKKEEPING),
    looks_like=r"log_?sum_?exp|(?<![a-z])lse(?![a-z])",
    looks_rank=70,
    kernel="logsumexp",
    libraries={
        "torch": "torch.logsumexp",
        "jax": "jax.scipy.special.logsumexp",
        "scipy": "scipy.special.logsumexp",
    },
    computes="The logarithm of the sum of the exponentials of a row: a smooth maximum of the logits.",
    noun="log-sum-exp",
    command="logsumexp",
)


@variant(
    OPERATION,
    "naive",
    formula="log(sum(exp(x)))",
    promises={
        Outcome.OVERFLOW: "large-logits far-below-zero large-offset-tie wide-spread",
        Outcome.LOST: "nearly-certain",
        Outcome.UNDEFINED: "row-all-neg-inf positive-infinity",
    },
    cites=("blanchard-2021",),
    bound=bounds.logsumexp_naive,
    cure="logsumexp/compensated",
    weakness="the sum is near 1, and its log keeps few digits",
)
def naive(x: Array, xp: Namespace) -> Array:
    """The definition, word for word.

    Why it holds: while no exponential leaves the format it is backward stable.

    Where it breaks: exp overflows above the log of the largest number; a row far below 0 gives log 0.
    """
    return xp.log(xp.sum(xp.exp(x)))


@variant(
    OPERATION,
    "shifted",
    formula="m + log(sum(exp(x - m))),  m = max(x)",
    promises={Outcome.LOST: "nearly-certain", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("blanchard-2021", "scipy-21597"),
    cure="logsumexp/compensated",
    weakness="1 + q rounds to 1 before its log is taken",
)
def shifted(x: Array, xp: Namespace) -> Array:
    """The log-sum-exp that everybody writes.

    Why it holds: every exponent is <= 0 and one is 0, so the sum lies in [1, K].

    Where it breaks: where the maximum is near 0 and nearly certain, the result is log(1 + q) with a
    tiny q, and 1 + q rounds to 1: [0, -40] gives 0 instead of 4.25e-18. A row of -inf, or with +inf, is NaN.
    """
    m = xp.max(x)
    return m + xp.log(xp.sum(xp.exp(x - m)))


@variant(
    OPERATION,
    "log1p",
    formula="m + log1p(sum of the other exp(x - m)),  m = max(x)",
    promises={Outcome.NAN: "row-all-neg-inf", Outcome.UNDEFINED: "positive-infinity"},
    cites=("blanchard-2021", "scipy-21597"),
    bound=bounds.logsumexp_log1p,
    cure="logsumexp/compensated",
    weakness="m + log1p(q) cancels where the result is near 0",
)
def log1p(x: Array, xp: Namespace) -> Array:
    """Algorithm 4.1 of Blanchard, Higham and Higham: the maximum leaves the sum.

    Why it holds: log1p(q) is accurate for every q, however small.

    Where it breaks: a row of -inf, or with +inf, is NaN; for m near -log1p(q) the addition cancels,
    which no formula in this precision avoids: the condition number is max|x| / |y|.
    """
    m = xp.max(x)
    _, others = xp.take_max(xp.exp(x - m), x)
    return m + xp.log1p(xp.sum(others))


@variant(
    OPERATION,
    "online",
    formula="one pass: m' = max(m, x_j), s' = s exp(m - m') + exp(x_j - m');  then m + log(s)",
    promises={Outcome.LOST: "nearly-certain", Outcome.NAN: "leading-mask row-all-neg-inf positive-infinity"},
    cites=("milakov-2018",),
    cure="logsumexp/log1p",
    weakness="1 + q rounds to 1 before its log is taken",
)
def online(x: Array, xp: Namespace) -> Array:
    """Maximum and sum in a single pass over the logits.

    Why it holds: whenever the maximum grows, the sum so far is scaled by exp(old - new) <= 1.

    Where it breaks: a row that begins with -inf (-inf - -inf is NaN); as `shifted` near 0.
    """
    m, s = normalisers.online_normaliser(x, xp)
    return m + xp.log(s)


@variant(
    OPERATION,
    "compensated",
    formula="m + log1p(q),  q = sum of the other exp(x - m), rounding errors kept",
    promises={Outcome.UNDEFINED: "row-all-neg-inf positive-infinity"},
    cites=("blanchard-2021", "rump-2008"),
)
def compensated(x: Array, xp: Namespace) -> Array:
    """`log1p` with the rounding errors of x - m and of the sum put back.

    Why it holds: q is right to a few ulp, so log1p(q) is, and so is the sum unless it cancels.

    Where it breaks: a row of -inf gives -inf and a row with +inf gives +inf, the limits, as in SciPy;
    NaN gives NaN. Where the result is near 0 beside a large maximum it is as ill-conditioned as the
    problem, max|x| / |y|.
    """
    m = xp.max(x)
    y = m + xp.log1p(xp.odds(x))
    return xp.where(xp.isfinite(m), y, m)


wide = widened(
    compensated,
    holds="a few ulp of float64 do not show in a narrower format, even after some cancellation",
    breaks="as `compensated`, 2^29 times later in float32",
)
