"""Output against truth: each cell gets an outcome and an error."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation, Second
from stablemax.operations.targets import arrays_of, columns_of, finite_of, in_arithmetic, rows_of
from stablemax.results import Grade, Outcome
from stablemax.truth.balls import Balls, Truth
from stablemax.truth.proving import Prover, Rows

_MANY_ROWS = 64
"""Rows from which on equal ones are looked for: with fewer, finding them costs as much as it saves."""

CODES: tuple[Outcome, ...] = tuple(Outcome)
"""Outcomes in order of severity; arrays of outcomes hold positions in this tuple."""
GRADES_OF_CELLS = (Grade.ACCURATE, Grade.STABLE, Grade.UNSTABLE)
"""Grades that a cell may have; arrays of grades hold positions in this tuple."""
_CELLS_PER_BLOCK = 1 << 15
"""Rows are judged in blocks of about so many cells: a dozen arrays of them stay in the cache."""
_END_OF_RANGE = 0.25
"""Share of a format's largest number beyond which a logit tells only the range in which code holds."""


def default_max_ulp(fmt: Format) -> float:
    """Return the error at which more than half of the format's p bits are lost: ``2**(p/2)`` ulp.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> default_max_ulp(FLOAT32)
    4096.0
    """
    return 2.0 ** (fmt.precision / 2)


@dataclass(frozen=True)
class Judgement:
    """Every cell of an output, judged: arrays (N, C), where C is 1 for an operation with one number per row."""

    codes: Array  #: positions in `CODES`
    grades: Array  #: positions in `GRADES_OF_CELLS`
    error_ulp: Array  #: distance from the exact value in ulps of the format; NaN where there is none to compare
    error_u: Array  #: relative to the exact value, in units of u; NaN below the smallest normal number


@dataclass(frozen=True)
class ExactResult:
    """The truth about one operation on one input in one format."""

    truth: Truth  #: arrays (N, C)
    undefined: Array  #: where there is no value: rows (N,), or cells (N, C) of a cell-wise operation

    @property
    def undefined_cells(self) -> Array:
        """Cells without a value, (N, C)."""
        cells = self.undefined if self.undefined.ndim == 2 else self.undefined[:, None]
        return np.broadcast_to(cells, self.truth.nearest.shape)

    def rows(self, index: Array | slice) -> ExactResult:
        """Return the truth about some rows."""
        return ExactResult(self.truth.at(index), self.undefined[index])


def exact_result(operation: Operation, x: Array, second: Any, fmt: Format, balls: Balls | None = None) -> ExactResult:
    """Compute an operation exactly, correctly rounded to the format, on numbers of the format.

    Balls that have seen this very array, in float64, save its exponentials.
    """
    x = np.asarray(x, dtype=np.float64)
    alike = _alike(x, second)
    if alike is not None:
        first, kind = alike
        of_kinds = exact_result(operation, x[first], rows_of(second, first), fmt)
        return ExactResult(of_kinds.truth.at(kind), of_kinds.undefined[kind])
    undefined = operation.undefined(x, second)
    prove = _by_cell if operation.cellwise else _by_row
    return ExactResult(prove(operation, x, second, undefined, Prover(fmt, balls or Balls())), undefined)


def _by_cell(operation: Operation, x: Array, second: Any, undefined: Array, prover: Prover) -> Truth:
    """Prove each cell by itself: where the logit is finite, and the operation's limit where it is infinite."""
    finite = np.isfinite(x)
    if finite.all() and not undefined.any():
        return prover.of(operation, x, second)
    second = finite_of(second)
    proved = Truth.known(np.full(x.shape, np.nan))
    # Of 100,000 classes, 99,999 may be at -inf.
    columns = np.flatnonzero(finite.any(axis=0))
    if columns.size:
        of_columns = np.where(finite, x, 0.0)[:, columns]
        proved = prover.of(operation, of_columns, columns_of(second, columns)).spread(columns, x.shape, np.nan)
    for infinity, limit in operation.limit.items():
        where = x == infinity
        if not where.any():
            continue
        value: Any = limit(second, prover.balls) if callable(limit) else limit
        if callable(limit) and value.dtype == object:
            value = prover.prove(functools.partial(_limit_in_balls, limit, second), x.shape)
        proved = proved.replaced(where, value)
    return proved.replaced(undefined, np.nan)


def _limit_in_balls(limit: Callable[[Any, Any], Array], second: Any, xp: Any, rows: Rows) -> Array:
    return limit(in_arithmetic(rows_of(second, rows), xp), xp)


def _by_row(operation: Operation, x: Array, second: Any, undefined: Array, prover: Prover) -> Truth:
    """Prove the rows that share a mask together: the classes at -inf leave them, and get the operation's limit."""
    rows, classes = x.shape
    whole = Truth.known(np.full((rows, 1 if operation.per_row else classes), np.nan))
    masked = np.isneginf(x)
    if operation.second is Second.LOGITS:
        masked = np.hstack([masked, np.isneginf(second)])
    for index, hidden in _by_mask(masked, undefined):
        second_rows = second if len(index) == rows else rows_of(second, index)
        logits = x if len(index) == rows else x[index]
        classes_left = np.flatnonzero(~hidden[:classes])
        if not hidden.any():
            proved = prover.of(operation, logits, second_rows)
        elif operation.masked is not None:
            proved = operation.masked(prover, logits, classes_left, second_rows)
        else:
            proved = prover.of(operation, logits[:, classes_left], columns_of(second_rows, classes_left))
            if not operation.per_row:
                limit = operation.limit[-math.inf]
                assert not callable(limit), "a class at -inf has one limit, whatever the second argument"
                proved = proved.spread(classes_left, logits.shape, limit)
        whole.put(index, proved)
    return whole


def _alike(x: Array, second: Any) -> tuple[Array, Array] | None:
    """Find the rows that are equal bit by bit: the first of each kind, and of which kind every row is.

    None where there are too few to save work: 20,500 equal rows are one row in balls.
    """
    if len(x) < _MANY_ROWS:
        return None
    parts = [x, *arrays_of(second, len(x))]
    first, which = _kinds(np.hstack([np.ascontiguousarray(p).reshape(len(x), -1).view(np.uint8) for p in parts]))
    return (first, which) if 2 * len(first) <= len(x) else None


def _kinds(rows: Array) -> tuple[Array, Array]:
    """Find the first of each kind of row, bit by bit, and of which kind every row is."""
    # np.unique(axis=0) makes a field of each column: 0.5 s for 100,000 of them.
    rows = np.ascontiguousarray(rows)
    keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return first, which


def _by_mask(masked: Array, undefined: Array) -> Iterator[tuple[Array, Array]]:
    """Group the defined rows by their mask; the rows without one come first."""
    whole = ~undefined & ~masked.any(axis=-1)
    if whole.any():
        yield np.flatnonzero(whole), np.zeros(masked.shape[-1], dtype=bool)
    partly = np.flatnonzero(~undefined & ~whole)
    if partly.size:
        first, which = _kinds(masked[partly])
        for i, row in enumerate(partly[first]):
            yield partly[which == i], masked[row]


def judge(
    output: Array,
    exact: ExactResult,
    fmt: Format,
    *,
    max_ulp: float | None = None,
    input_overflow: Array | None = None,
    may_flush: bool = False,
    scale: Array | None = None,
    end_of_range: Array | None = None,
) -> Judgement:
    """Judge an output cell by cell, (N,) or (N, K): in the format's dtype, or float64 holding numbers of it.

    Errors above `max_ulp` are inaccurate: half of the format's bits when not given. `input_overflow` marks
    rows with a finite logit that the format cannot hold. With `may_flush` a result below the smallest
    normal number may be flushed to 0, or to anything that small, as processors and compilers do. `scale`, (N, C) or
    (N, 1), is what the errors of stable code are small against; see `at_the_end_of_range` for `end_of_range`.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> x = np.float32([[0.0, 1.0, -np.inf]])
    >>> exact = exact_result(get_operation("softmax"), x, None, FLOAT32)
    >>> judged = judge(np.float32([[0.26894143, np.nan, 0.0]]), exact, FLOAT32)
    >>> [CODES[c].value for c in judged.codes[0]]
    ['ok', 'nan', 'ok']
    """
    limit = default_max_ulp(fmt) if max_ulp is None else max_ulp
    rows, cells = exact.truth.nearest.shape
    out, step = output.reshape(rows, cells), rows_per_block(cells)

    def judged(block: slice) -> Judgement:
        beyond, size, at_the_end = (None if a is None else a[block] for a in (input_overflow, scale, end_of_range))
        return _judged(out[block], exact.rows(block), fmt, limit, beyond, size, at_the_end, may_flush=may_flush)

    blocks = [judged(slice(start, start + step)) for start in range(0, max(rows, 1), step)]
    return blocks[0] if len(blocks) == 1 else _joined(blocks)


def rows_per_block(cells: int) -> int:
    """Return how many rows of so many cells are judged at a time."""
    return max(1, _CELLS_PER_BLOCK // max(1, cells))


def _joined(blocks: list[Judgement]) -> Judgement:
    return Judgement(*(np.concatenate([getattr(block, array.name) for block in blocks]) for array in fields(Judgement)))


def _judged(
    output: Array,
    exact: ExactResult,
    fmt: Format,
    limit: float,
    input_overflow: Array | None,
    scale: Array | None,
    end_of_range: Array | None,
    *,
    may_flush: bool,
) -> Judgement:
    """Judge a block of rows, whose temporaries stay in the cache; most masks of most blocks are empty."""
    out, truth = output.astype(np.float64), exact.truth
    right, is_nan = truth.rounded, np.isnan(out)
    error = truth.error_ulp(out, fmt)
    as_rounded = (out == right) | (is_nan & np.isnan(right))
    codes = np.zeros(out.shape, dtype=np.int8)

    def mark(where: Array, outcome: Outcome) -> None:
        if where.any():
            np.putmask(codes, where, CODES.index(outcome))

    mark(error > limit, Outcome.INACCURATE)
    mark((out == 0) & (right != 0), Outcome.LOST)
    mark(np.isinf(out) & np.isfinite(right), Outcome.OVERFLOW)
    # In a format without infinities overflow shows as NaN, also that of a right result.
    mark(is_nan, Outcome.NAN)
    if may_flush:
        tiny = may_be_flushed(out, truth, fmt)
        # A formula is not to blame for a value that the processor flushed to 0.
        np.putmask(error, tiny & (codes != 0), np.nan)
        mark(tiny, Outcome.OK)
    mark(as_rounded & (codes != 0), Outcome.OK)
    mark(exact.undefined_cells, Outcome.UNDEFINED)
    compared = ~exact.undefined_cells
    if input_overflow is not None:
        beyond = input_overflow if input_overflow.ndim == 2 else input_overflow[:, None]
        mark(np.broadcast_to(beyond, out.shape), Outcome.INPUT_OVERFLOW)
        compared = compared & ~beyond
    finite = np.isfinite(out) & np.isfinite(truth.nearest) & compared
    if fmt.saturates:
        # A result that saturates has no error, just as one that overflows to inf has none.
        finite &= ~(as_rounded & fmt.lacks(truth.nearest))
    np.putmask(error, ~finite, np.nan)
    grades = np.zeros_like(codes)
    is_failure = np.array([outcome.is_failure for outcome in CODES])[codes]
    if is_failure.any():
        is_small = np.zeros_like(finite) if scale is None else _is_small_beside(scale, out, truth, limit, fmt)
        if end_of_range is not None:
            is_small = is_small | (end_of_range if end_of_range.ndim == 2 else end_of_range[:, None])
        # These are positions in GRADES_OF_CELLS.
        grades[is_failure] = np.where(is_small, 1, 2)[is_failure]
    return Judgement(codes, grades, error, _in_units_of_u(error, truth, fmt))


def may_be_flushed(output: Array, truth: Truth, fmt: Format) -> Array:
    """Mark the cells that a processor may have flushed: below the smallest normal number, as their exact values are."""
    with np.errstate(invalid="ignore"):
        return np.asarray(
            (np.abs(truth.nearest) < fmt.smallest_normal)
            & (np.abs(output.reshape(truth.nearest.shape)) <= fmt.smallest_normal)
        )


def at_the_end_of_range(x: Array, fmt: Format, *, by_cell: bool) -> Array:
    """Mark rows (N,), or cells (N, K), with a finite logit beyond a quarter of the format's largest number.

    There opposite extremes differ by more than the format holds, and losses overflow whatever the formula.
    """
    size = np.abs(x.astype(np.float64))
    is_beyond = np.isfinite(size) & (size > _END_OF_RANGE * fmt.max)
    return is_beyond if by_cell else np.asarray(is_beyond.any(axis=-1))


def _is_small_beside(scale: Array, output: Array, truth: Truth, limit: float, fmt: Format) -> Array:
    """Mark the cells whose error is at most `limit` ulps of the scale of the result."""
    with np.errstate(invalid="ignore", over="ignore"):
        # Not the error in ulps, of which there are more than float64 holds where the truth is 0.
        return np.asarray(np.isfinite(scale) & (np.abs(output - truth.nearest) <= limit * fmt.ulp(scale)))


def _in_units_of_u(error_ulp: Array, truth: Truth, fmt: Format) -> Array:
    """Convert errors from ulps to units of u of the exact value, where that is a normal number."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        size = np.abs(truth.nearest)
        spacing_u = fmt.ulp(size) / size / fmt.u
        # Below the smallest normal number digits go missing one by one, and no relative error is bounded.
        return np.where(size >= fmt.smallest_normal, error_ulp * spacing_u, np.nan)


def largest(values: Array) -> float | None:
    """Return the largest number that is not NaN, or None."""
    # Of two numbers fmax takes that which is not NaN.
    value = float(np.fmax.reduce(values, axis=None, initial=np.nan))
    return None if np.isnan(value) else value


def row_error_u(output: Array, exact: ExactResult, fmt: Format) -> Array:
    """Error of each row in the maximum norm, relative to it, in units of u: what the bounds speak of.

    Rows without a finite truth or with an output that is not finite give NaN.
    """
    out = output.astype(np.float64).reshape(exact.truth.nearest.shape)
    right = exact.truth.nearest
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        size = np.abs(right).max(axis=-1)
        absolute = exact.truth.error_ulp(out, fmt) * fmt.ulp(right)
        error = absolute.max(axis=-1) / size / fmt.u
    return np.where(np.isfinite(out).all(axis=-1) & np.isfinite(right).all(axis=-1), error, np.nan)
