"""Proves what the records of operations compute: in double-double numbers where those tell it, in balls elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import cells_of, in_arithmetic, rows_of
from stablemax.operations.variant import Variant, evaluate, get
from stablemax.truth.balls import Balls, Truth, truth
from stablemax.truth.deciding import decide
from stablemax.truth.enclosing import Enclosures
from stablemax.truth.enclosure import UndecidedError

Rows = slice | Array
"""Which rows of its input a computation is asked for."""
Compute = Callable[[Any, Rows], Any]
"""``(xp, rows)`` to an array of the arithmetic, or to a head and a tail: see `balls.truth`."""

ALL = slice(None)
FEWEST_CELLS = 192
"""Below, balls start sooner than a hundred loops over arrays."""
MOST_REMEMBERED = 1 << 18
"""Cells of an input up to which the exponentials are kept for its other operations: 24 bytes for each."""
BALLS_AT_A_TIME = 4096
CELLS_PER_BLOCK = 1 << 14
"""Rows are computed in blocks of so many cells: some forty arrays of them stay in the cache."""


@dataclass(frozen=True)
class Prover:
    """Proves computations on rows in a format; `balls` are those of the whole input."""

    format: Format
    balls: Balls

    def prove(self, compute: Compute, shape: tuple[int, int]) -> Truth:
        """Prove a computation on logits of some shape; one number a row becomes a column."""
        enclosed = self._enclosed(compute, shape)
        if enclosed is None:
            return self._by_balls(compute, ALL)
        self._some_by_balls(compute, np.flatnonzero(~enclosed.certain.all(axis=-1)), shape[1], enclosed.truth)
        return enclosed.truth

    def of(self, operation: Operation, x: Array, second: Any) -> Truth:
        """Prove an operation on finite logits."""
        best = get(operation.best_id)
        compute = functools.partial(_computed, operation, best, x, second)
        if not operation.cellwise:
            return self.prove(compute, x.shape)
        enclosed = self._enclosed(compute, x.shape)
        if enclosed is None:
            return self._by_balls(compute, ALL)
        cells = np.nonzero(~enclosed.certain)
        if cells[0].size:
            of_cells = functools.partial(_computed, operation, best, x[cells][:, None], cells_of(second, *cells))
            proved = truth(lambda xp: of_cells(xp, ALL), self.format)
            enclosed.truth.put(cells, proved.mapped(np.ravel))
        return enclosed.truth

    def _enclosed(self, compute: Compute, shape: tuple[int, int]) -> _Enclosed | None:
        """Run a computation in double-double numbers, in blocks; None where balls do as well, or nothing is certain."""
        count, classes = shape
        if count * classes < FEWEST_CELLS:
            return None
        is_remembered = count * classes <= MOST_REMEMBERED
        step, result = max(1, CELLS_PER_BLOCK // classes), None
        for start in range(0, count, step):
            rows = slice(start, min(start + step, count))
            decided = _decided(compute, self.balls.enclosures if is_remembered else Enclosures(), self.format, rows)
            if decided is None:
                continue
            certain, arrays = decided
            if result is None:
                whole = (count, certain.shape[-1])
                result = _Enclosed(Truth(*(np.empty(whole) for _ in arrays)), np.zeros(whole, dtype=bool))
            result.certain[rows] = certain
            result.truth.put(rows, Truth(*arrays))
        return result

    def _by_balls(self, compute: Compute, rows: Rows) -> Truth:
        """Prove a computation on some rows in balls."""
        proved = truth(lambda xp: compute(xp, rows), self.format, balls=self.balls if rows is ALL else None)
        return proved if proved.nearest.ndim == 2 else proved.mapped(lambda part: part[:, None])

    def _some_by_balls(self, compute: Compute, rows: Array, classes: int, into: Truth) -> None:
        """Prove a few rows, of which a ball for each class takes up to 4 KB, a few thousand classes at a time."""
        step = max(1, BALLS_AT_A_TIME // classes)
        for start in range(0, rows.size, step):
            some = rows[start : start + step]
            into.put(some, self._by_balls(compute, some))


def _computed(operation: Operation, best: Variant, x: Array, second: Any, xp: Any, rows: Rows) -> Any:
    """Run the best variant of an operation on some rows."""
    logits = xp.array(x) if rows is ALL else xp.rows_of(x, rows)
    exact_second = in_arithmetic(second if rows is ALL else rows_of(second, rows), xp)
    opened = None if operation.open_sum is None else operation.open_sum(logits, exact_second, xp)
    if opened is None:
        return evaluate(best, logits, xp, exact_second)
    a, b, tail = opened
    return xp.exact_difference(a, b), tail


class _Enclosed(NamedTuple):
    """What double-double numbers tell of a result (N, C)."""

    truth: Truth
    certain: Array


def _decided(compute: Compute, xp: Enclosures, fmt: Format, rows: slice) -> tuple[Array, list[Array]] | None:
    """Return which cells of some rows are certain, and the arrays of their truth; None where no cell is."""
    try:
        computed = compute(xp, rows)
    except UndecidedError:
        return None
    except (AttributeError, TypeError):
        # The best variant of a plugin may do what NumPy's own arrays alone can do: balls are such arrays.
        return None
    head, tail = computed if isinstance(computed, tuple) else (None, computed)
    certain, arrays = decide(head, tail, fmt)
    count = rows.stop - rows.start
    return certain.reshape(count, -1), [part.reshape(count, -1) for part in arrays]
