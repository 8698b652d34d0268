"""Seeded bugs of the operations on rows: of the sum of exponentials, which all of them share, and of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import Array, Format
from stablemax.text.vocabulary import Accumulation
from stablemax.tolerances.seeded_bug import BugsOfOperation, SeededBug, bugs_of, narrower_than, rounded_to

_TILE = 64
_PADDED = 128
LOG2_E_CUT_SHORT = 1.4427


class Pieces(NamedTuple):
    """What the formulas are made of: maximum, shifted logits, exponentials, and their sum."""

    m: Array
    d: Array
    e: Array
    s: Array

    def log_p(self, xp: Arithmetic) -> Array:
        """The log-softmax."""
        return self.d - xp.log(self.s)


MakesPieces = Callable[[Array, Arithmetic], Pieces]


def pieces_of(x: Array, xp: Arithmetic) -> Pieces:
    """Make the pieces without a bug."""
    m = xp.max(x)
    e = xp.exp(x - m)
    return Pieces(m, x - m, e, xp.sum(e))


def _last_left_out(x: Array, xp: Arithmetic) -> Pieces:
    right = pieces_of(x, xp)
    return right._replace(s=xp.sum(right.e[..., :-1]))


def _tail_left_out(x: Array, xp: Arithmetic) -> Pieces:
    right = pieces_of(x, xp)
    return right._replace(s=xp.sum(right.e[..., : x.shape[-1] // _TILE * _TILE]))


def _padding_counted(x: Array, xp: Arithmetic) -> Pieces:
    right = pieces_of(x, xp)
    return right._replace(s=right.s + xp.number(-x.shape[-1] % _PADDED) * xp.exp(-right.m))


def _not_rescaled(x: Array, xp: Arithmetic) -> Pieces:
    right = pieces_of(x, xp)
    so_far = xp.array(np.maximum.accumulate(x.astype(np.float64), axis=-1))
    return right._replace(s=xp.sum(xp.exp(x - so_far)))


def _stale_maximum(x: Array, xp: Arithmetic) -> Pieces:
    """The sum is taken against the maximum of the row before, and used as if against its own."""
    right = pieces_of(x, xp)
    return right._replace(s=xp.sum(xp.exp(x - np.roll(right.m, 1, axis=0))))


def _unshifted(x: Array, xp: Arithmetic) -> Pieces:
    e = xp.exp(x)
    return Pieces(xp.max(x) * xp.number(0.0), x, e, xp.sum(e))


def _cut_short(x: Array, xp: Arithmetic) -> Pieces:
    right = pieces_of(x, xp)
    e = xp.exp2(right.d * xp.number(LOG2_E_CUT_SHORT))
    return right._replace(e=e, s=xp.sum(e))


def _with_epsilon(x: Array, xp: Arithmetic, epsilon: float) -> Pieces:
    right = pieces_of(x, xp)
    return right._replace(s=right.s + xp.number(epsilon))


def _narrow_sum(x: Array, xp: Arithmetic, narrow: Format) -> Pieces:
    right = pieces_of(x, xp)
    terms = narrow.cast(right.e.astype(np.float64))
    return right._replace(s=xp.array(Arithmetic(narrow, Accumulation.SEQUENTIAL).sum(terms).astype(np.float64)))


def _narrow_exponentials(x: Array, xp: Arithmetic, narrow: Format) -> Pieces:
    right = pieces_of(x, xp)
    e = rounded_to(narrow, right.e, xp)
    return right._replace(e=e, s=xp.sum(e))


def _narrow_logits(x: Array, xp: Arithmetic, narrow: Format) -> Pieces:
    return pieces_of(rounded_to(narrow, x, xp), xp)


def _of_sums(fmt: Format, classes: int) -> Iterator[tuple[str, str, MakesPieces]]:
    """Yield the bugs in the pieces, as far as they are bugs with so many classes."""
    if classes > 1:
        yield "last-class-left-out", "its sum leaves out the last class", _last_left_out
        yield "sum-not-rescaled", "its running sum is not rescaled when the maximum grows", _not_rescaled
    if classes > _TILE and classes % _TILE:
        yield "tail-left-out", f"its sum leaves out the classes behind the last tile of {_TILE}", _tail_left_out
    if classes % _PADDED:
        yield "padding-counted", f"it pads the row with 0 to {_PADDED} classes, and counts them", _padding_counted
    yield "stale-maximum", "its sum is taken against the maximum of the row before", _stale_maximum
    yield "not-shifted", "it does not subtract the maximum", _unshifted
    yield "log2-e-cut-short", f"it takes 2**(x {LOG2_E_CUT_SHORT}) for exp(x)", _cut_short
    for epsilon in (1e-6, 1e-8):
        words = f"it adds {epsilon:g} to the sum of the exponentials"
        yield f"epsilon-{epsilon:.0e}".replace("e-0", "e-"), words, partial(_with_epsilon, epsilon=epsilon)
    for half in narrower_than(fmt):
        name = half.name
        yield f"{name}-sum", f"it adds the exponentials in {name}", partial(_narrow_sum, narrow=half)
        yield f"{name}-exponentials", f"it keeps the exponentials in {name}", partial(_narrow_exponentials, narrow=half)
        yield f"{name}-logits", f"it rounds the logits to {name}", partial(_narrow_logits, narrow=half)


def _softmax(of: MakesPieces, x: Array, _: Any, xp: Arithmetic) -> Array:
    made = of(x, xp)
    return made.e / made.s


def _log_softmax(of: MakesPieces, x: Array, _: Any, xp: Arithmetic) -> Array:
    return of(x, xp).log_p(xp)


def _logsumexp(of: MakesPieces, x: Array, _: Any, xp: Arithmetic) -> Array:
    made = of(x, xp)
    return made.m + xp.log(made.s)


def _cross_entropy(of: MakesPieces, x: Array, t: Any, xp: Arithmetic) -> Array:
    return -t.pick(of(x, xp).log_p(xp), xp)


def _gradient(of: MakesPieces, x: Array, t: Any, xp: Arithmetic) -> Array:
    return _softmax(of, x, None, xp) - t.matrix(x.shape[-1], xp)


def _vjp(of: MakesPieces, x: Array, g: Array, xp: Arithmetic) -> Array:
    p = _softmax(of, x, None, xp)
    return p * (g - xp.sum(p * g))


def _entropy(of: MakesPieces, x: Array, _: Any, xp: Arithmetic) -> Array:
    log_p = of(x, xp).log_p(xp)
    return -xp.sum(xp.exp(log_p) * log_p)


def _divergence(of: MakesPieces, x: Array, y: Array, xp: Arithmetic) -> Array:
    log_p, log_q = of(x, xp).log_p(xp), of(y, xp).log_p(xp)
    return xp.sum(xp.exp(log_p) * (log_p - log_q))


def _clipped(x: Array, xp: Arithmetic) -> Array:
    return xp.maximum(_softmax(pieces_of, x, None, xp), xp.number(1e-7))


def _log_with_epsilon(x: Array, xp: Arithmetic) -> Array:
    return xp.log(_softmax(pieces_of, x, None, xp) + xp.number(1e-8))


def _smoothed(x: Array, t: Any, xp: Arithmetic) -> Array:
    log_p = pieces_of(x, xp).log_p(xp)
    share = xp.number(0.01)
    return -((xp.number(1.0) - share) * t.pick(log_p, xp) + share * xp.divided(xp.sum(log_p), float(x.shape[-1])))


def _next_label(x: Array, t: Any, xp: Arithmetic) -> Array:
    return -xp.take(pieces_of(x, xp).log_p(xp), (t.labels + 1) % x.shape[-1])


def _vjp_diagonal(x: Array, g: Array, xp: Arithmetic) -> Array:
    p = _softmax(pieces_of, x, None, xp)
    return p * (xp.number(1.0) - p) * g


def _reversed(x: Array, y: Array, xp: Arithmetic) -> Array:
    return _divergence(pieces_of, y, x, xp)


_BUGS = (
    BugsOfOperation(
        "softmax",
        _softmax,
        (
            SeededBug("clipped-1e-7", "it clips the probabilities at 1e-7", lambda x, _, xp: _clipped(x, xp)),
            SeededBug(
                "divided-by-classes",
                "it gives 1 / K, the mean of the probabilities",
                lambda x, _, xp: xp.array(np.full(x.shape, 1.0 / x.shape[-1])),
            ),
        ),
    ),
    BugsOfOperation(
        "log_softmax",
        _log_softmax,
        (
            SeededBug("log-with-1e-8", "it takes log(p + 1e-8)", lambda x, _, xp: _log_with_epsilon(x, xp)),
            SeededBug("log-of-clipped", "it clips p at 1e-7 before its log", lambda x, _, xp: xp.log(_clipped(x, xp))),
        ),
    ),
    BugsOfOperation(
        "logsumexp",
        _logsumexp,
        (SeededBug("maximum-alone", "it gives the maximum", lambda x, _, xp: xp.max(x)),),
    ),
    BugsOfOperation(
        "cross_entropy",
        _cross_entropy,
        (
            SeededBug("label-off-by-one", "it takes the class behind the label", _next_label),
            SeededBug("smoothed", "it smooths the labels by 0.01", _smoothed),
        ),
    ),
    BugsOfOperation(
        "cross_entropy_grad",
        _gradient,
        (
            SeededBug(
                "without-one-hot",
                "it does not subtract the one-hot row",
                lambda x, _, xp: _softmax(pieces_of, x, None, xp),
            ),
            SeededBug(
                "divided-by-classes",
                "it divides by the number of classes",
                lambda x, t, xp: xp.divided(_gradient(pieces_of, x, t, xp), float(x.shape[-1])),
            ),
        ),
    ),
    BugsOfOperation(
        "softmax_vjp",
        _vjp,
        (SeededBug("diagonal-alone", "it multiplies by the diagonal of the Jacobian alone", _vjp_diagonal),),
    ),
    BugsOfOperation(
        "entropy",
        _entropy,
        (
            SeededBug(
                "in-bits", "it gives bits, not nats", lambda x, _, xp: _entropy(pieces_of, x, None, xp) * xp.log2e
            ),
        ),
    ),
    BugsOfOperation(
        "kl_divergence",
        _divergence,
        (SeededBug("reversed", "it takes the divergence of the first row from the second", _reversed),),
    ),
)


def row_bugs(operation: str, fmt: Format, classes: int) -> list[SeededBug]:
    """Return the bugs of an operation on rows; none of another operation."""
    return bugs_of(operation, _BUGS, _of_sums(fmt, classes))
