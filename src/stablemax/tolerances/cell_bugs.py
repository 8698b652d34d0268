"""Seeded bugs of the operations on single logits: of exp(-|x|), which all of them share, and of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import Array, Format
from stablemax.tolerances.row_bugs import LOG2_E_CUT_SHORT
from stablemax.tolerances.seeded_bug import BugsOfOperation, SeededBug, bugs_of, narrower_than, rounded_to

TakesExp = Callable[[Array, Arithmetic], Array]
"""Exp of a number that is not positive."""


def _exp(x: Array, xp: Arithmetic) -> Array:
    return xp.exp(x)


def _cut_short(x: Array, xp: Arithmetic) -> Array:
    return xp.exp2(x * xp.number(LOG2_E_CUT_SHORT))


def _narrow_result(x: Array, xp: Arithmetic, narrow: Format) -> Array:
    return rounded_to(narrow, xp.exp(x), xp)


def _narrow_argument(x: Array, xp: Arithmetic, narrow: Format) -> Array:
    return xp.exp(rounded_to(narrow, x, xp))


def _of_exp(fmt: Format) -> Iterator[tuple[str, str, TakesExp]]:
    yield "log2-e-cut-short", f"it takes 2**(x {LOG2_E_CUT_SHORT}) for exp(x)", _cut_short
    for half in narrower_than(fmt):
        yield (
            f"{half.name}-exponential",
            f"it keeps the exponential in {half.name}",
            partial(_narrow_result, narrow=half),
        )
        yield f"{half.name}-logits", f"it takes exp of a {half.name}", partial(_narrow_argument, narrow=half)


def _sigmoid(exp: TakesExp, x: Array, _: Any, xp: Arithmetic) -> Array:
    e, one = exp(xp.minimum(x, -x), xp), xp.number(1.0)
    return xp.where(x < xp.number(0.0), e, one) / (one + e)


def _softplus(exp: TakesExp, x: Array, _: Any, xp: Arithmetic) -> Array:
    return xp.maximum(x, xp.number(0.0)) + xp.log1p(exp(xp.minimum(x, -x), xp))


def _log_sigmoid(exp: TakesExp, x: Array, _: Any, xp: Arithmetic) -> Array:
    return xp.minimum(x, xp.number(0.0)) - xp.log1p(exp(xp.minimum(x, -x), xp))


def _loss(exp: TakesExp, x: Array, t: Any, xp: Arithmetic) -> Array:
    return t.values * _softplus(exp, -x, None, xp) + t.negative(xp) * _softplus(exp, x, None, xp)


def _gradient(exp: TakesExp, x: Array, t: Any, xp: Arithmetic) -> Array:
    return _sigmoid(exp, x, None, xp) - t.values


def _hard_sigmoid(x: Array, _: Any, xp: Arithmetic) -> Array:
    slope = x * xp.number(1.0 / 6.0) + xp.number(0.5)
    return xp.minimum(xp.maximum(slope, xp.number(0.0)), xp.number(1.0))


def _clipped(x: Array, _: Any, xp: Arithmetic) -> Array:
    return xp.minimum(xp.maximum(_sigmoid(_exp, x, None, xp), xp.number(1e-7)), xp.number(1.0 - 1e-7))


def _positive_alone(x: Array, t: Any, xp: Arithmetic) -> Array:
    return t.values * _softplus(_exp, -x, None, xp)


def _by_probability(x: Array, t: Any, xp: Arithmetic) -> Array:
    p = _sigmoid(_exp, x, None, xp)
    return (p - t.values) / (p * (xp.number(1.0) - p))


_BUGS = (
    BugsOfOperation(
        "sigmoid",
        _sigmoid,
        (
            SeededBug("clipped-1e-7", "it clips the probability to 1e-7 and 1 - 1e-7", _clipped),
            SeededBug("hard-sigmoid", "it takes min(max(x / 6 + 1/2, 0), 1)", _hard_sigmoid),
        ),
    ),
    BugsOfOperation(
        "log_sigmoid",
        _log_sigmoid,
        (
            SeededBug(
                "log-with-1e-8",
                "it takes log(p + 1e-8)",
                lambda x, _, xp: xp.log(_sigmoid(_exp, x, None, xp) + xp.number(1e-8)),
            ),
        ),
    ),
    BugsOfOperation(
        "softplus",
        _softplus,
        (
            SeededBug(
                "linear-from-10",
                "from 10 on it gives x",
                lambda x, _, xp: xp.where(x > xp.number(10.0), x, _softplus(_exp, x, None, xp)),
            ),
        ),
    ),
    BugsOfOperation(
        "binary_cross_entropy",
        _loss,
        (
            SeededBug("positive-term-alone", "the term of 1 - t is missing", _positive_alone),
            SeededBug("targets-flipped", "it takes 1 - t for t", lambda x, t, xp: _loss(_exp, -x, t, xp)),
        ),
    ),
    BugsOfOperation(
        "binary_cross_entropy_grad",
        _gradient,
        (
            SeededBug("by-probability", "it is the derivative by the probability, not by the logit", _by_probability),
            SeededBug("target-not-subtracted", "it gives sigmoid(x)", lambda x, _, xp: _sigmoid(_exp, x, None, xp)),
        ),
    ),
)


def cell_bugs(operation: str, fmt: Format) -> list[SeededBug]:
    """Return the bugs of an operation on single logits; none of another operation."""
    return bugs_of(operation, _BUGS, _of_exp(fmt))
