"""Comparisons answered by exact numbers, where floats may answer otherwise, and those on which the two differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import NO_VALUE, UNDECIDED, Special, as_cell, cells_of, nearest
from stablemax.trace.observation import Site

_DIGITS = 6

Leads = Callable[[int], bool]
"""Tells of which comparisons, by their number in the run, the code gets the exact answer; of all others the floats'."""


def of_none(_number: int) -> bool:
    """Let floats answer every comparison, as they do without a tracer."""
    return False


def of_all(_number: int) -> bool:
    """Let exact numbers answer every comparison."""
    return True


@dataclass(frozen=True)
class Divergence:
    """A comparison that floats and exact numbers answer differently, seen in the first such cell."""

    #: Which comparison of the run, and how many operations ran before it.
    number: int
    steps: int
    site: Site
    #: Its source, ``s == 0``, or the name of the operation.
    text: str
    #: How many cells differ, and of how many.
    cells: int
    size: int
    #: The floats' answer; exact numbers give the other one. None where a number was taken out of the arrays: what
    #: Python decides by it is not seen.
    answer: bool | None
    #: What was compared, and exactly.
    operands: tuple[float, ...]
    exact: tuple[str, ...]
    #: How far a number that was taken out is from the exact one.
    distance: float = 0.0

    def is_milder_than(self, other: Divergence) -> bool:
        """Tell whether it is a number that is closer to the exact one, by half at least, than that of another."""
        is_finite = math.isfinite(self.distance)
        return self.answer is None and is_finite and self.distance <= other.distance / 2


def _order(a: Any, b: Any) -> float | None:
    """Return -1, 0 or 1; NaN where either has no value, None where balls leave it open."""
    if a is UNDECIDED or b is UNDECIDED:
        return None
    if a is NO_VALUE or b is NO_VALUE:
        return math.nan
    if isinstance(a, Special) or isinstance(b, Special):
        rank = [c.sign if isinstance(c, Special) else 0 for c in (a, b)]
        return float(np.sign(rank[0] - rank[1]))
    if a < b:
        return -1.0
    if a > b:
        return 1.0
    return 0.0 if a == b else None


def _by_order(holds: Callable[[float], bool]) -> Callable[..., bool | None]:
    def answer(a: Any, b: Any = 0) -> bool | None:
        order = _order(as_cell(a), as_cell(b))
        return None if order is None else holds(order)

    return answer


def _by_kind(holds: Callable[[Any], bool]) -> Callable[..., bool | None]:
    return lambda cell: None if cell is UNDECIDED else holds(cell)


_ANSWERS: dict[str, Callable[..., bool | None]] = {
    "equal": _by_order(lambda order: order == 0),
    "not_equal": _by_order(lambda order: order != 0),
    "less": _by_order(lambda order: order < 0),
    "less_equal": _by_order(lambda order: order <= 0),
    "greater": _by_order(lambda order: order > 0),
    "greater_equal": _by_order(lambda order: order >= 0),
    "logical_not": _by_order(lambda order: order == 0),
    "nonzero": _by_order(lambda order: order != 0),
    "isnan": _by_kind(lambda cell: cell is NO_VALUE),
    "isinf": _by_kind(lambda cell: isinstance(cell, Special) and cell.sign != 0),
    "isfinite": _by_kind(lambda cell: not isinstance(cell, Special)),
}
COMPARED = frozenset(_ANSWERS)
"""Comparisons by NumPy's names; ``nonzero`` is what `bool` and `any` ask."""


def exact_answers(name: str, operands: Sequence[Any], otherwise: Array) -> Array:
    """Answer a comparison on exact cells; as `otherwise` does where balls leave it open.

    >>> exact_answers("greater", [cells_of([0.0, 1.0]), 0.0], np.array([False, False])).tolist()
    [False, True]
    """
    cells = np.broadcast_arrays(*(cells_of(o) for o in operands))
    answers = [_ANSWERS[name](*group) for group in zip(*(c.ravel().tolist() for c in cells), strict=True)]
    given = [o if a is None else a for o, a in zip(otherwise.ravel().tolist(), answers, strict=True)]
    return np.array(given, dtype=bool).reshape(otherwise.shape)


def divergence_of(
    number: int, steps: int, site: Site, text: str, values: Array, exact: Array, operands: Sequence[tuple[Any, Any]]
) -> Divergence:
    """Say how two answers differ, in the first cell where they do; `operands` are pairs of values and exact cells."""
    differs = np.asarray(values != exact)
    place = np.unravel_index(int(np.argmax(differs)), differs.shape)

    def at(array: Any) -> Any:
        return np.broadcast_to(array, differs.shape)[place]

    numbers = tuple(float(at(np.asarray(v, dtype=np.float64))) for v, _ in operands)
    cells = tuple(_written(at(cells_of(c))) for _, c in operands)
    count = int(np.count_nonzero(differs))
    return Divergence(number, steps, site, text, count, differs.size, bool(values[place]), numbers, cells)


def divergence_of_number(number: int, steps: int, site: Site, text: str, value: float, exact: Any) -> Divergence:
    """Say how a number that was taken out of the arrays differs from the exact one: a cell, or a whole number."""
    cell = as_cell(exact)
    distance = abs(value - float(nearest(cells_of(cell))))
    return Divergence(number, steps, site, text, 1, 1, None, (float(value),), (_written(cell),), distance)


def _written(cell: Any) -> str:
    """Write an exact number that need not be in the range of float64."""
    if isinstance(cell, Special):
        return repr(cell)
    value = float(nearest(cells_of(cell)))
    if value != 0 and math.isfinite(value):
        return f"{value:.{_DIGITS}g}"
    return "0" if cell.is_zero() else str(cell.str(3, radius=False))
