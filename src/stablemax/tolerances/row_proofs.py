"""Proved tolerances of the operations on rows: softmax and what is made of it.

The analysis is that of Blanchard, Higham and Higham (2021) with all terms instead of the first order: the maximum is
subtracted, exp taken, the exponentials added in two passes. A sum that is rescaled as the maximum grows (online, tiled)
has further roundings, which are not covered.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from stablemax.tolerances.rounding_model import RoundingModel
from stablemax.tolerances.tolerance_proof import ErrorBound, ToleranceProof


class _Probability(NamedTuple):
    """Bounds of a computed probability: |error| <= relative p + absolute."""

    relative: Decimal
    #: The same at the maximum, where x - m is 0 without rounding; it bounds p * relative elsewhere, too, since p is at
    #: most exp(x - m).
    at_max: Decimal
    #: The same of the sum of all |error|.
    together: Decimal
    absolute: Decimal


def _probability(m: RoundingModel) -> _Probability:
    """Bound p = e / s, e within shift (1 + e) of exp(x - m) and s within `down` to `up` of the sum."""
    m.check_sums()

    def relative(shift: Decimal) -> Decimal:
        above = shift * (1 + m.e) * (1 + m.u) / m.down - 1
        return max(above, 1 - (1 - m.e) * (1 - m.u) / (shift * m.up))

    # The numerators that are too large are so by the same share as the sum of them all.
    together = relative(1 + m.sum_shift)
    return _Probability(relative(m.shift), relative(Decimal(1)), together, m.eta * (1 + m.u) / m.down + m.tiny)


def _softmax(m: RoundingModel) -> ErrorBound:
    p = _probability(m)
    return ErrorBound(p.relative, p.absolute, is_relative=True)


def _log_softmax(m: RoundingModel) -> ErrorBound:
    """Bound (x - m) - log s: two terms of one sign, so that their own errors are relative to the result.

    |x - m| u + e log s <= e |l|, and the error of log s that comes from s is absolute.
    """
    m.check_sums()
    return ErrorBound(
        (1 + m.u) * (1 + m.e) - 1,
        (1 + m.u) * (m.log_error * (1 + m.e) + 2 * m.eta),
    )


def _logsumexp(m: RoundingModel) -> ErrorBound:
    """Bound m + log s: one rounding of the result, and the error of log s."""
    m.check_sums()
    of_log = m.log_error * (1 + m.e) + m.e * m.log_classes + m.eta
    return ErrorBound(m.u, (1 + m.u) * of_log)


def _gradient(m: RoundingModel) -> ErrorBound:
    """Bound p - t for a label: away from it that of p.

    At the label |g| = 1 - p. Where p <= 1/2, p is no larger than |g|. Where p > 1/2 the label is the maximum, with
    p = 1 / (1 + q), q the sum of the other exponentials over its own: what is wrong with q changes p by its share of
    1 - p, which the relative part covers, and the roundings of the sum and of the division are left.
    """
    p = _probability(m)
    roundings = (1 + m.u) / m.sum_down - 1
    lost = (1 + m.u) * m.lost_terms / ((1 - m.e) * m.sum_down)
    return ErrorBound((1 + m.u) * (1 + p.relative) - 1, (1 + m.u) * (roundings + lost + p.absolute))


def _vjp(m: RoundingModel) -> ErrorBound:
    """Bound p t, t = g - c, c = sum(p g), for |g| <= 1: |c| and its terms are at most 1, and |t| at most 2."""
    p = _probability(m)
    of_sum = (1 + p.together) * (1 + m.u) * m.sum_up - 1
    of_sum += m.sum_up * m.classes * (p.absolute * (1 + m.u) + m.tiny)
    # |t' - t| <= (1 + u) of_sum + u |t|, and p' <= (1 + relative) p + absolute, at most 1 + at_max + absolute.
    largest_p = 1 + p.at_max + p.absolute
    absolute = 2 * p.absolute * (1 + m.u) + largest_p * (1 + m.u) * of_sum
    relative = p.relative + (1 + p.relative) * m.u
    return ErrorBound((1 + m.u) * relative + m.u, (1 + m.u) * absolute + m.tiny)


def _exp_of_log(m: RoundingModel, log: ErrorBound) -> Decimal:
    """Bound the relative error of p = exp(l) for a computed log-probability l."""
    exponent = log.rtol * m.furthest + log.atol
    return exponent.exp() * (1 + m.e) - 1


def _entropy(m: RoundingModel) -> ErrorBound:
    """Bound -sum(p l), p = exp(l): its terms have one sign and add up to the result, and sum(p) is 1."""
    log = _log_softmax(m)
    term = (1 + _exp_of_log(m, log)) * (1 + m.u)
    largest = m.furthest * (1 + log.rtol) + log.atol
    lost = m.classes * (m.eta * (1 + m.u) * largest + m.tiny)
    return ErrorBound(term * (1 + log.rtol) * m.sum_up - 1, m.sum_up * (term * log.atol + lost))


def _divergence(m: RoundingModel) -> ErrorBound:
    """Bound sum(p (l - k)), p = exp(l), l and k the log-probabilities of two rows.

    With D the divergence: sum(p |l|) is the entropy of p, at most log K; sum(p |k|) is that plus D; and the negative
    terms of sum(p (l - k)) add up to at most sum((q - p)+) <= 1, and to at most 4 S, so that sum(p |l - k|) is at most
    D + min(2, 4 S).
    """
    log = _log_softmax(m)
    factor = (1 + _exp_of_log(m, log)) * (1 + m.u) * m.sum_up
    more = min(Decimal(2), 2 * m.spread)
    largest = m.furthest + (1 + m.u) * 2 * (log.rtol * m.furthest + log.atol) + m.u * m.furthest
    lost = m.classes * m.sum_up * (m.eta * (1 + m.u) * largest + m.tiny)
    of_logs = (1 + m.u) * 2 * (log.rtol * m.log_classes + log.atol)
    return ErrorBound(
        factor - 1 + factor * ((1 + m.u) * log.rtol + m.u),
        (factor - 1) * more + factor * (of_logs + m.u * more) + lost,
    )


ROW_PROOFS = (
    ToleranceProof("softmax", "exp(x - m) / sum(exp(x - m))", ("shifted",), _softmax),
    ToleranceProof("log_softmax", "(x - m) - log(sum(exp(x - m)))", ("shifted",), _log_softmax),
    ToleranceProof("logsumexp", "m + log(sum(exp(x - m)))", ("shifted", "log1p"), _logsumexp),
    ToleranceProof("cross_entropy", "log(sum(exp(x - m))) - (x_y - m), one loss a row", ("shifted",), _log_softmax),
    ToleranceProof(
        "cross_entropy_grad", "softmax(x) - onehot, of the sum of the losses", ("shifted", "chained"), _gradient
    ),
    ToleranceProof("softmax_vjp", "p (g - sum(p g))", ("closed-form",), _vjp, "no |g| is above 1"),
    ToleranceProof("entropy", "-sum(exp(l) l), l = log-softmax(x)", ("log-softmax",), _entropy),
    ToleranceProof(
        "kl_divergence",
        "sum(exp(l) (l - k)), l and k two log-softmaxes",
        ("log-softmax",),
        _divergence,
        "the logits of both rows have that scale",
    ),
)
