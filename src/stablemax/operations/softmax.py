"""Softmax: probabilities from logits."""

from __future__ import annotations

import math

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array
from stablemax.operations import bounds, normalisers
from stablemax.operations.operation import Gives, Operation
from stablemax.operations.scales import largest_of_the_row
from stablemax.operations.shared import BOOKKEEPING, HALF_AN_ULP, widened
from stablemax.operations.undefined import rows_without_distribution
from stablemax.operations.variant import variant
from stablemax.results import Outcome

OPERATION = Operation(
    "softmax",
    Gives.CELL,
    scale=largest_of_the_row,
    undefined=rows_without_distribution,
    limit={-math.inf: 0.0},
    reference="shifted",
    laws=("shift-invariance", "permutation", "rows-independent", "rows-sum-to-1", *BOOKKEEPING),
    looks_like=r"soft_?max",
    looks_rank=60,
    kernel="softmax",
    libraries={"torch": "torch.softmax", "jax": "jax.nn.softmax", "scipy": "scipy.special.softmax"},
    computes="The probabilities of the classes: exp(x_j) over the sum of exp(x) along the row.",
    noun="softmax",
    command="softmax",
    in_overview=True,
)


@variant(
    OPERATION,
    "naive",
    formula="exp(x) / sum(exp(x))",
    promises={
        Outcome.NAN: "large-logits far-below-zero large-offset-tie wide-spread row-all-neg-inf positive-infinity",
    },
    cites=("blanchard-2021", "goodfellow-2016"),
    bound=bounds.softmax_naive,
    cure="softmax/shifted",
)
def naive(x: Array, xp: Namespace) -> Array:
    """The definition, word for word.

    Why it holds: while no exponential leaves the format, this is the most accurate of the simple
    formulas: (K + 3) u, whatever the spread of the logits.

    Where it breaks: exp overflows above the log of the largest number (88.7 in float32), and inf / inf
    is NaN; a row far below 0 underflows to 0 / 0.
    """
    e = xp.exp(x)
    return e / xp.sum(e)


@variant(
    OPERATION,
    "whole-array",
    formula="exp(x) / sum of exp(x) over the whole array",
    promises={
        Outcome.INACCURATE: "two-rows",
        Outcome.NAN: "large-logits far-below-zero large-offset-tie wide-spread row-all-neg-inf positive-infinity",
    },
    cure="softmax/shifted",
    weakness="the sum runs over all rows: a wrong axis",
    exact=False,
    rowwise=False,
)
def whole_array(x: Array, xp: Namespace) -> Array:
    """The naive formula with its sum over the whole array instead of along the classes.

    Why it holds: for one row the whole array is the row.

    Where it breaks: from two rows on it is wrong in exact arithmetic too: the probabilities of all
    rows together sum to 1.
    """
    e = xp.exp(x)
    return e / xp.sum(e, axis=None)


@variant(
    OPERATION,
    "axis-0",
    formula="exp(x) / sum of exp(x) over the rows",
    promises={
        Outcome.INACCURATE: "gentle two-rows nearly-certain collapse constant-upstream",
        Outcome.NAN: (
            "large-logits far-below-zero large-offset-tie wide-spread masked-class leading-mask row-all-neg-inf "
            "positive-infinity"
        ),
    },
    cure="softmax/shifted",
    weakness="the sum runs over the rows instead of the classes: a wrong axis",
    exact=False,
    rowwise=False,
)
def axis_0(x: Array, xp: Namespace) -> Array:
    """The naive formula with its sum over axis 0, the rows, instead of along the classes.

    Why it holds: for logits with the classes on axis 0 it is the naive softmax.

    Where it breaks: everywhere else it is wrong in exact arithmetic too: one row gives nothing but
    ones; and it overflows as the naive one does.
    """
    e = xp.exp(x)
    return e / xp.sum(e.T).T


@variant(
    OPERATION,
    "shifted",
    formula="exp(x - m) / sum(exp(x - m)),  m = max(x)",
    brief="exp(x-m) / sum(exp(x-m))",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("blanchard-2021", "goodfellow-2016"),
    bound=bounds.softmax_shifted,
    cure="softmax/compensated",
    weakness="x - m rounds: a probability p is off by up to |log p| u",
)
def shifted(x: Array, xp: Namespace) -> Array:
    """Probabilities that survive logits of any finite size.

    Why it holds: every exponent is <= 0 and one is 0, so the sum lies in [1, K].

    Where it breaks: a row of all -inf or with a +inf (inf - inf is NaN); the subtraction rounds, so a
    probability p carries a relative error of about |log p| u.
    """
    e = xp.exp(x - xp.max(x))
    return e / xp.sum(e)


@variant(
    OPERATION,
    "division-free-naive",
    formula="exp(x - y),  y = log(sum(exp(x)))",
    promises={
        Outcome.LOST: "large-logits large-offset-tie wide-spread",
        Outcome.OVERFLOW: "far-below-zero",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("blanchard-2021",),
    bound=bounds.softmax_division_free_naive,
    cure="softmax/shifted",
    weakness="an absolute error of y, |y| u, becomes a relative error of every probability",
)
def division_free_naive(x: Array, xp: Namespace) -> Array:
    """A subtraction of the naive log-sum-exp instead of a division.

    Why it holds: exp(x) / s = exp(x - log s).

    Where it breaks: where the naive log-sum-exp does; and the rounding of y, |y| u, is an absolute
    error of the exponent, so a relative error of the result.
    """
    return xp.exp(x - xp.log(xp.sum(xp.exp(x))))


@variant(
    OPERATION,
    "division-free",
    formula="exp(x - y),  y = m + log(sum(exp(x - m)))",
    promises={Outcome.INACCURATE: "large-offset-tie", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("blanchard-2021",),
    bound=bounds.softmax_division_free,
    cure="softmax/shifted",
    weakness="an absolute error of y, |y| u, becomes a relative error of every probability",
)
def division_free(x: Array, xp: Namespace) -> Array:
    """A subtraction of the shifted log-sum-exp instead of a division.

    Why it holds: nothing overflows, and no row is divided.

    Where it breaks: y is rounded to |y| u, which is an absolute error of the exponent and so a
    relative error of the result: 3.7e-4 for 1000 normals at offset 1e4 in float32, where `shifted`
    has 1.6e-7.
    """
    m = xp.max(x)
    return xp.exp(x - (m + xp.log(xp.sum(xp.exp(x - m)))))


@variant(
    OPERATION,
    "online",
    formula="one pass: m' = max(m, x_j), s' = s exp(m - m') + exp(x_j - m');  then exp(x - m) / s",
    promises={Outcome.NAN: "leading-mask row-all-neg-inf positive-infinity"},
    cites=("milakov-2018",),
    cure="softmax/tiled",
    weakness="x - m rounds, and s is rounded again at each new class",
)
def online(x: Array, xp: Namespace) -> Array:
    """Maximum and sum in a single pass over the logits.

    Why it holds: whenever the maximum grows, the sum so far is scaled by exp(old - new) <= 1.

    Where it breaks: a row that begins with -inf (-inf - -inf is NaN); the sum is a sequential one.
    """
    m, s = normalisers.online_normaliser(x, xp)
    return xp.exp(x - m) / s


@variant(
    OPERATION,
    "tiled",
    formula="(m, s) of each tile, merged: s = s1 exp(m1 - m) + s2 exp(m2 - m);  then exp(x - m) / s",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("dao-2022", "milakov-2018", "flash-attention-1930"),
    cure="softmax/compensated",
    weakness="x - m rounds: a probability p is off by up to |log p| u",
)
def tiled(x: Array, xp: Namespace) -> Array:
    """The merge of flash-attention: tiles of 32 classes, each with its own maximum and sum.

    Why it holds: merging two (maximum, sum) pairs is associative, and a tile of nothing but -inf adds 0.

    Where it breaks: a row of all -inf or with a +inf; the subtraction rounds as in `shifted`.
    """
    m, s = normalisers.tiled_normaliser(x, xp)
    return xp.exp(x - m) / s


@variant(
    OPERATION,
    "base-2",
    formula="2^((x - m) log2 e) / sum(2^((x - m) log2 e))",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("dao-2022",),
    cure="softmax/compensated",
    weakness="x - m and its product with log2 e round: a probability p is off by up to 2 |log p| u",
)
def base_2(x: Array, xp: Namespace) -> Array:
    """exp2 in place of exp, as GPU kernels do, whose hardware has only 2^x.

    Why it holds: e^d = 2^(d log2 e).

    Where it breaks: as `shifted`; and the product with log2 e (itself rounded) adds its own rounding
    to the exponent. Taken before the subtraction of the maximum it would be far worse.
    """
    e = xp.exp2((x - xp.max(x)) * xp.log2e)
    return e / xp.sum(e)


@variant(
    OPERATION,
    "compensated",
    formula="e / sum(e),  e = exp(d) + exp(d) r,  d + r = x - c exactly, c near max(x)",
    brief="e/sum(e), x-m unrounded",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("dekker-1971", "knuth-1997", "rump-2008"),
    cure="",
)
def compensated(x: Array, xp: Namespace) -> Array:
    """`shifted` with the two rounding errors that matter put back.

    Why it holds: d + r is x - c without error (Fast2Sum), exp(d + r) = exp(d) (1 + r) to first order
    in a tiny r, and the sum keeps its rounding errors: what is left is exp's own error, one
    multiplication, one addition and one division, at most 4.1 ulp whatever the logits.

    Where it breaks: a row of all -inf, or with a +inf or NaN, has no softmax: NaN.
    """
    e = xp.shifted_exp(x)
    return xp.over_sum(e, e, 1.0)


wide = widened(compensated, holds=HALF_AN_ULP, breaks="where softmax has no value")
