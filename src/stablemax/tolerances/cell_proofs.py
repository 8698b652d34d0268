"""Proved tolerances of the operations on single logits: sigmoid and what is made of it.

Neither classes nor scale add to their relative errors, for exp(-|x|) is taken of a number that is not rounded.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from stablemax.tolerances.rounding_model import RoundingModel
from stablemax.tolerances.tolerance_proof import ErrorBound, ToleranceProof

_LOG_2 = Decimal(2).ln()


def _quotient(m: RoundingModel) -> tuple[Decimal, Decimal]:
    """Bound 1 / (1 + e) and e / (1 + e), e = exp(-|x|) <= 1: relative and absolute.

    An error of e changes e / (1 + e) by no larger factor, and 1 / (1 + e) by half of it, for e / (1 + e) <= 1/2.
    """
    m.check_range()
    of_exp = max(1 + m.e, 1 / (1 - m.e / 2))
    relative = of_exp * (1 + m.u) / ((1 - m.eta) * (1 - m.u)) - 1
    return relative, m.eta * (1 + m.u) / ((1 - m.eta) * (1 - m.u)) + m.tiny


def _sigmoid(m: RoundingModel) -> ErrorBound:
    """Bound the quotient, or 1 - q for q <= 1/2: no larger than the result, and rounded once more."""
    relative, absolute = _quotient(m)
    return ErrorBound((1 + m.u) * (1 + relative) - 1, (1 + m.u) * absolute, is_relative=True)


class _Tail(NamedTuple):
    """Bounds of log1p(exp(-|x|)), which is at most log 2."""

    relative: Decimal
    absolute: Decimal


def _tail(m: RoundingModel) -> _Tail:
    """Bound the error: log1p makes no relative error larger, and has its own."""
    m.check_range()
    return _Tail((1 + m.e) ** 2 - 1, 2 * m.eta * (1 + m.e))


def _two_terms(m: RoundingModel) -> ErrorBound:
    """Bound max(x, 0) + log1p(exp(-|x|)), or its mirror image: two terms of one sign."""
    tail = _tail(m)
    return ErrorBound((1 + m.u) * (1 + tail.relative) - 1, (1 + m.u) * tail.absolute, is_relative=True)


def _binary(m: RoundingModel) -> ErrorBound:
    """Bound the loss as two terms that are not negative, or as PyTorch has it, (1 - t) x - log_sigmoid(x).

    The first has four roundings: two sums, a product, and 1 - t; the second cancels, and keeps the roundings of x.
    """
    tail, four = _tail(m), (1 + m.u) ** 4
    relative = (1 + tail.relative) * four - 1
    of_terms = (tail.absolute + 2 * m.tiny) * four
    log_sigmoid = (1 + m.u) * (tail.relative * _LOG_2 + tail.absolute) + m.u * (m.spread / 2 + _LOG_2)
    cancelled = (1 + m.u) * (((1 + m.u) ** 2 - 1) * m.spread / 2 + m.tiny + log_sigmoid)
    return ErrorBound(relative, max(of_terms, cancelled))


def _binary_gradient(m: RoundingModel) -> ErrorBound:
    """Bound p - t, which cancels: p (1 - p) <= 1/4 of the error of e, the two roundings of p, and one more."""
    _, absolute = _quotient(m)
    of_exp = m.e / (4 * (1 - m.e))
    roundings = (1 + m.u) / ((1 - m.eta) * (1 - m.u)) - 1
    return ErrorBound(m.u, (1 + m.u) * (of_exp + (1 + of_exp) * roundings + absolute))


CELL_PROOFS = (
    ToleranceProof("sigmoid", "1 / (1 + e) or e / (1 + e), e = exp(-|x|)", ("by-sign", "compensated"), _sigmoid),
    ToleranceProof("log_sigmoid", "min(x, 0) - log1p(exp(-|x|))", ("compensated",), _two_terms),
    ToleranceProof("softplus", "max(x, 0) + log1p(exp(-|x|))", ("compensated",), _two_terms),
    ToleranceProof(
        "binary_cross_entropy",
        "both log-probabilities from log1p(exp(-|x|)), or (1 - t) x - log_sigmoid(x); one loss a cell",
        ("compensated", "two-terms", "minus-product"),
        _binary,
        "targets in [0, 1], no weights",
    ),
    ToleranceProof(
        "binary_cross_entropy_grad",
        "sigmoid(x) - t, of the sum of the losses",
        ("by-sign",),
        _binary_gradient,
        "targets in [0, 1], no weights",
    ),
)
