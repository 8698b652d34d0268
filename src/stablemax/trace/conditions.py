"""Condition numbers: by how much an operation, taken exactly, magnifies relative errors of its inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flint import arb

from stablemax.numerics.formats import Array

PRODUCTS = ("dot", "matmul", "inner", "vdot")
_SUMS = ("add", "sum", "add.reduce", "mean", "nansum", "nanmean", *PRODUCTS)


def _of_sum(*terms: Any) -> Any:
    return sum((abs(t) for t in terms), arb(0)) / abs(sum(terms, arb(0)))


def _of_power(base: Any, exponent: Any) -> Any:
    by_base = abs(exponent)
    return by_base.max(abs(exponent * base.log())) if base > 0 else by_base


def _of_expm1(x: Any) -> Any:
    return abs(x * x.exp() / x.expm1())


def _of_log1p(x: Any) -> Any:
    return abs(x / ((1 + x) * x.log1p()))


def _of_erfc(x: Any) -> Any:
    return abs(2 * x * (-x * x).exp() / (arb.pi().sqrt() * x.erfc()))


def _of_logit(p: Any) -> Any:
    return 1 / abs((1 - p) * (p / (1 - p)).log())


def _of_log_gamma(x: Any) -> Any:
    return abs(x * x.digamma() / x.lgamma())


def _of_digamma(x: Any) -> Any:
    return abs(x * arb(2).zeta(x) / x.digamma())


_BY_NAME: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_SUMS, _of_sum),
    "subtract": lambda a, b: _of_sum(a, -b),
    "exp": abs,
    "exp2": lambda x: abs(x * arb.const_log2()),
    "expm1": _of_expm1,
    **dict.fromkeys(("log", "log2", "log10"), lambda x: 1 / abs(x.log())),
    "log1p": _of_log1p,
    "power": _of_power,
    "sin": lambda x: abs(x * x.cot()),
    "cos": lambda x: abs(x * x.tan()),
    "arctanh": lambda x: abs(x / ((1 - x * x) * x.atanh())),
    "tan": lambda x: abs(x / (x.sin() * x.cos())),
    "sinh": lambda x: abs(x * x.coth()),
    "cosh": lambda x: abs(x * x.tanh()),
    "erfc": _of_erfc,
    "logit": _of_logit,
    **dict.fromkeys(("lgamma", "gammaln"), _of_log_gamma),
    **dict.fromkeys(("digamma", "psi"), _of_digamma),
    "arccos": lambda x: abs(x / ((1 - x * x).sqrt() * x.acos())),
}


def condition_of(name: str, operands: Sequence[Any]) -> float | None:
    """Return the condition number of an operation on exact operands, or on the terms of its sum; None if unknown.

    >>> condition_of("subtract", [arb(1), arb(0.75)]), condition_of("sqrt", [arb(2)])
    (7.0, None)
    >>> round(condition_of("erfc", [arb(5)])), round(condition_of("lgamma", [arb(2.25)]), 1)
    (51, 10.3)
    """
    formula = _BY_NAME.get(name)
    if formula is None or not operands or not all(isinstance(o, arb) for o in operands):
        return None
    try:
        condition = float(formula(*operands))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return None if math.isnan(condition) else condition


def products_of(inputs: Sequence[Array], place: tuple[int, ...]) -> list[Any]:
    """Return the products that a cell of a matrix product adds up; none for more than two dimensions.

    >>> a, b = np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]])
    >>> [int(p) for p in products_of([a, b], (1, 0))]
    [15, 28]
    """
    if len(inputs) != 2 or not all(1 <= i.ndim <= 2 for i in inputs):
        return []
    a, b = inputs
    row = a[place[0]] if a.ndim == 2 else a
    column = b[:, place[-1]] if b.ndim == 2 else b
    return list(np.multiply(row, column)) if row.shape == column.shape else []
