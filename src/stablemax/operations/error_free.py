"""Error-free transformations, written in the operators of a variant's own arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stablemax.numerics.arithmetic import Namespace
    from stablemax.numerics.formats import Array


def difference_in_two(a: Array, b: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return a - b rounded, and its rounding error: Knuth's 2Sum; an error that is not finite is given as 0."""
    d = a - b
    t = d - a
    r = (a - (d - t)) - (b + t)
    return d, xp.where(xp.isfinite(r), r, xp.number(0.0))


def signed_sum(x: Array, xp: Namespace) -> Array:
    """Sum of each row as if in twice the precision: what is positive, minus what is negative."""
    zero = xp.number(0.0)
    return xp.compensated_sum(xp.maximum(x, zero)) - xp.compensated_sum(xp.maximum(-x, zero))


def mean_under(p: Array, values: Array, x: Array, xp: Namespace) -> Array:
    """Mean of values under the probabilities p of the logits x; equal values give that value, without an error."""
    pivot, _ = xp.take_max(values, x)
    return pivot + xp.sum(p * (values - pivot))
