"""Small inputs with a name: what the variants' promises are about, and the examples of `explain`."""

from __future__ import annotations

import math
from dataclasses import dataclass

_INF = math.inf


@dataclass(frozen=True)
class Condition:
    """A condition that an input puts a formula under.

    Parameters
    ----------
    name : str
        Names the condition, not what becomes of anybody under it.
    reason : str
        Why it is here, in words.
    logits : tuple of tuple of float
        Rows of logits.
    labels : tuple of int
        One for each row.
    upstream : tuple of float
        Upstream gradient of each row, for the vector-Jacobian product.
    """

    name: str
    reason: str
    logits: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]
    upstream: tuple[float, ...]


CONDITIONS: dict[str, Condition] = {
    c.name: c
    for c in (
        Condition("gentle", "small logits of one row", ((1.0, 2.0, 3.0),), (0,), (1.0, 2.0, 4.0)),
        Condition("two-rows", "more than one row", ((1.0, 2.0, 3.0), (3.0, 2.0, 1.0)), (0, 0), (1.0, 2.0, 4.0)),
        Condition(
            "large-logits",
            "beyond the log of the largest float32",
            ((1000.0, 1001.0, 1002.0),),
            (0,),
            (1.0, 2.0, 4.0),
        ),
        Condition("far-below-zero", "every exponential is 0", ((-1000.0, -1001.0, -1002.0),), (0,), (1.0, 2.0, 4.0)),
        Condition(
            "large-offset-tie",
            "equal logits far from 0 (pytorch 11752)",
            ((1e8, 1e8, 1e8),),
            (0,),
            (1.0, 2.0, 4.0),
        ),
        Condition("wide-spread", "a label far below the maximum", ((0.0, 150.0, 140.0),), (0,), (1.0, 2.0, 4.0)),
        Condition("nearly-certain", "the other classes are below u (scipy 19521)", ((0.0, -40.0),), (0,), (1.0, 2.0)),
        Condition("collapse", "the label absorbs the sum (arXiv 2501.04697)", ((0.0, 17.0),), (1,), (1.0, 2.0)),
        Condition("masked-class", "a -inf beside finite logits", ((0.0, -_INF, 1.0),), (0,), (1.0, 2.0, 4.0)),
        Condition(
            "leading-mask",
            "the row begins with -inf (flash-attention 1930)",
            ((-_INF, -_INF, 0.0, 1.0),),
            (2,),
            (1.0, 2.0, 4.0, 8.0),
        ),
        Condition(
            "constant-upstream",
            "g is nearly constant beside its size",
            ((0.0, 0.0, 0.0),),
            (0,),
            (1000.0001, 1000.0, 1000.0),
        ),
        Condition("row-all-neg-inf", "everything is masked: no value exists", ((-_INF, -_INF),), (0,), (1.0, 2.0)),
        Condition("positive-infinity", "a +inf: no value exists", ((0.0, _INF),), (0,), (1.0, 2.0)),
    )
}
