"""Special functions on exact cells: error functions, and those of the gamma family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from flint import arb

from stablemax.trace.exact_cells import INFINITE, MINUS_INFINITE, NO_VALUE, UNDECIDED, Special, as_cell


def _known(ball: Any) -> Any:
    return ball if ball.is_finite() else UNDECIDED


def _with_limits(on_ball: Callable[[Any], Any], at_inf: Any, at_minus_inf: Any) -> Callable[[Any], Any]:
    def apply(cell: Any) -> Any:
        if isinstance(cell, Special):
            return {1: at_inf, -1: at_minus_inf}.get(cell.sign, cell)
        return on_ball(cell)

    return apply


def _has_pole(b: Any) -> bool:
    """Tell whether the gamma function has a pole there: at 0 and at the negative integers."""
    return bool(b.is_exact() and b <= 0 and b.is_integer())


def _log_gamma(b: Any) -> Any:
    """Return log |gamma(b)|."""
    if b > 0:
        return _known(b.lgamma())
    return INFINITE if _has_pole(b) else _known(abs(b.gamma()).log())


def _erf_inv(b: Any) -> Any:
    if abs(b) < 1:
        return _known(b.erfinv())
    if b.is_exact() and abs(b) == 1:
        return INFINITE if b > 0 else MINUS_INFINITE
    return NO_VALUE if abs(b) > 1 else UNDECIDED


def _arctan2(y: Any, x: Any) -> Any:
    y, x = as_cell(y), as_cell(x)
    odd = [c for c in (y, x) if isinstance(c, Special)]
    if odd:
        return next((c for c in odd if c is NO_VALUE), UNDECIDED)
    return _known(arb.atan2(y, x))


_OF_ONE = {
    "erf": _with_limits(lambda b: b.erf(), arb(1), arb(-1)),
    "erfc": _with_limits(lambda b: b.erfc(), arb(0), arb(2)),
    "erf_inv": _with_limits(_erf_inv, NO_VALUE, NO_VALUE),
    "lgamma": _with_limits(_log_gamma, INFINITE, INFINITE),
    "digamma": _with_limits(lambda b: NO_VALUE if _has_pole(b) else _known(b.digamma()), INFINITE, NO_VALUE),
}

SPECIAL: Mapping[str, np.ufunc] = MappingProxyType({
    **{name: np.frompyfunc(function, 1, 1) for name, function in _OF_ONE.items()},
    "arctan2": np.frompyfunc(_arctan2, 2, 1),
})  # fmt: skip
"""Special functions on arrays of cells, by name."""
