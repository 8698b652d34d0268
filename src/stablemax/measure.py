"""Output against truth: an outcome and an error for every cell."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.exact import Balls, Truth, exact_difference, truth
from stablemax.formats import FLOAT64
from stablemax.registry import evaluate, get
from stablemax.results import Outcome
from stablemax.targets import LabelTargets, SoftTargets, Targets
from stablemax.vocabulary import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stablemax.formats import Array, Format

_MANY_ROWS = 64
"""From here on equal rows are looked for: below, finding them costs as much as it saves."""

CODES: tuple[Outcome, ...] = tuple(Outcome)
"""Outcomes in order of severity; arrays of outcomes hold positions in this tuple."""


def default_max_ulp(fmt: Format) -> float:
    """Return the error at which more than half of the format's p bits are lost: ``2**(p/2)`` ulp.

    Examples
    --------
    >>> from stablemax.formats import FLOAT32
    >>> default_max_ulp(FLOAT32)
    4096.0
    """
    return 2.0 ** (fmt.precision / 2)


@dataclass(frozen=True)
class Judgement:
    """Every cell of an output, judged.

    Parameters
    ----------
    codes : ndarray of int8 (N, C)
        Positions in `CODES`; C is 1 for an operation with one number per row.
    error_ulp : ndarray of float64 (N, C)
        Distance from the exact value in ulps of the format; NaN where there is none to compare.
    error_u : ndarray of float64 (N, C)
        The same relative to the exact value, in units of u; NaN where that is below the smallest normal
        number or not finite.
    """

    codes: Array
    error_ulp: Array
    error_u: Array


@dataclass(frozen=True)
class ExactResult:
    """The truth about one operation on one input in one format.

    Parameters
    ----------
    truth : Truth
        Arrays (N, C).
    undefined : ndarray of bool (N,)
        Rows on which the operation has no value: a +inf or NaN logit, nothing but -inf, or an upstream
        gradient that is not finite.
    """

    truth: Truth
    undefined: Array


def undefined_rows(x: Array) -> Array:
    """Mark the rows on which the formula itself has no value: +inf or NaN in it, or nothing but -inf."""
    return np.asarray((np.isnan(x) | np.isposinf(x)).any(axis=-1) | np.isneginf(x).all(axis=-1))


def exact_result(
    operation: Operation, x: Array, second: Targets | Array | None, fmt: Format, balls: Balls | None = None
) -> ExactResult:
    """Compute an operation in balls, correctly rounded to the format.

    Parameters
    ----------
    operation : Operation
        What to compute.
    x : ndarray (N, K)
        Logits, already rounded to the format.
    second : Targets or ndarray (N, K) or None
        Targets or upstream gradient, already rounded too.
    fmt : Format
        What the results are rounded to.
    balls : Balls, optional
        What to compute in; one that has seen this very array, in float64, saves its exponentials.
    """
    x = np.asarray(x, dtype=np.float64)
    alike = _alike(x, second)
    if alike is not None:
        first, which = alike
        few = exact_result(operation, x[first], _of_rows(second, first), fmt)
        return ExactResult(Truth(*(part[which] for part in _arrays(few.truth))), few.undefined[which])
    balls = balls or Balls()
    undefined = undefined_rows(x)
    if operation.needs_upstream:
        # 1000 is beyond float8_e4m3fn: a product with NaN has no value.
        undefined |= ~np.isfinite(np.asarray(second, dtype=np.float64)).all(axis=-1)
    rows, classes = x.shape
    shape = (rows, 1 if operation.per_row else classes)
    parts = Truth(*(np.full(shape, np.nan) for _ in range(3)))
    for index, kept in _by_mask(x, undefined):
        found = _unmasked(operation, x if len(index) == rows else x[index], kept, second, index, fmt, balls)
        for part, value in zip(_arrays(parts), _arrays(found), strict=True):
            part[index] = value
    return ExactResult(parts, undefined)


def _alike(x: Array, second: Targets | Array | None) -> tuple[Array, Array] | None:
    """Find the rows that are equal bit by bit: the first of each kind, and of which kind every row is.

    None where there are too few to gain by it: 20,500 equal rows are one row in balls.
    """
    if len(x) < _MANY_ROWS:
        return None
    parts = [x, *_seconds(second)]
    first, which = _kinds(np.hstack([np.ascontiguousarray(p).reshape(len(x), -1).view(np.uint8) for p in parts]))
    return (first, which) if 2 * len(first) <= len(x) else None


def _kinds(rows: Array) -> tuple[Array, Array]:
    """Find the first of each kind of row, bit by bit, and of which kind every row is."""
    # np.unique(axis=0) makes a field of each column: 0.5 s for 100,000 of them.
    rows = np.ascontiguousarray(rows)
    keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return first, which


def _seconds(second: Targets | Array | None) -> list[Array]:
    """Return the arrays of the second argument that have a row for each of the logits."""
    if isinstance(second, LabelTargets):
        return [second.labels] if second.weights is None else [second.labels, second.weights]
    if isinstance(second, SoftTargets):
        return [second.weights]
    return [] if second is None else [second]


def _of_rows(second: Targets | Array | None, index: Array) -> Targets | Array | None:
    if second is None or isinstance(second, np.ndarray):
        return None if second is None else second[index]
    return second.rows(index)


def _arrays(t: Truth) -> tuple[Array, Array, Array]:
    return t.nearest, t.residual_ulp, t.rounded


def _by_mask(x: Array, undefined: Array) -> Iterator[tuple[Array, Array]]:
    """Group the defined rows by which of their classes are not -inf."""
    masked = np.isneginf(x)
    whole = ~undefined & ~masked.any(axis=-1)
    if whole.any():
        yield np.flatnonzero(whole), np.arange(x.shape[-1])
    partly = np.flatnonzero(~undefined & ~whole)
    if partly.size:
        first, which = _kinds(masked[partly])
        for i, row in enumerate(partly[first]):
            yield partly[which == i], np.flatnonzero(~masked[row])


def _unmasked(
    operation: Operation, x: Array, kept: Array, second: Targets | Array | None, index: Array, fmt: Format, balls: Balls
) -> Truth:
    """Truth of rows that share a mask: exact on the kept classes, the limit on the others."""
    proved = functools.partial(truth, fmt=fmt, balls=balls)
    best = get(operation.accurate_variant)
    classes = x.shape[-1]
    if kept.size == classes and operation in _HEADS and not _is_weighted(second):
        return _column(proved(lambda xp: _open_sum(operation, xp.array(x), _targets(second, index), xp)))
    if kept.size == classes and not isinstance(second, (LabelTargets, SoftTargets)):
        return _column(proved(lambda xp: evaluate(best, xp.array(x), xp, _rows(second, index, xp))))
    if isinstance(second, (LabelTargets, SoftTargets)):
        targets = second.rows(index).to(Balls())
        if kept.size == classes:
            return _column(proved(lambda xp: evaluate(best, xp.array(x), xp, targets)))
        if operation is Operation.CROSS_ENTROPY and not _is_weighted(second):
            return _masked_label_loss(x, kept, second.rows(index), fmt, balls)
        wide = Arithmetic(FLOAT64)
        weights = second.rows(index).to(wide).matrix(classes, wide)
        hidden = np.ones(classes, dtype=bool)
        hidden[kept] = False
        if operation is Operation.CROSS_ENTROPY:
            found = proved(lambda xp: _masked_loss(xp, x[:, kept], weights[:, kept], targets))
            infinite = np.asarray((weights[:, hidden] > 0).any(axis=-1))
            return _column(_replaced(found, infinite, np.inf))
        # Where a class has neither a probability nor a weight its gradient is 0: 99,999 of 100,000 classes.
        active = np.flatnonzero(~hidden | (weights > 0).any(axis=0))
        within = np.searchsorted(active, kept)
        found = proved(lambda xp: _masked_gradient(xp, x[:, active], within, weights[:, active], targets))
        return _spread(found, active, x.shape, 0.0)
    others = None if second is None else second[index][:, kept]
    found = _unmasked(operation, x[:, kept], np.arange(kept.size), others, np.arange(len(x)), fmt, balls)
    if operation.per_row:
        return found
    return _spread(found, kept, x.shape, -np.inf if operation is Operation.LOG_SOFTMAX else 0.0)


def _spread(found: Truth, columns: Array, shape: tuple[int, ...], limit: float) -> Truth:
    """Put cells into their columns; the other columns hold the limit."""
    spread = Truth(*(np.full(shape, fill) for fill in (limit, 0.0, limit)))
    for part, value in zip(_arrays(spread), _arrays(found), strict=True):
        part[:, columns] = value
    return spread


# Three operations are an exact difference of logits plus log1p(q), with every digit of a tiny q.
_HEADS: dict[Operation, Callable[[Array, Array, LabelTargets | None, Balls], Array]] = {
    Operation.LOG_SOFTMAX: lambda x, m, _t, _xp: exact_difference(x, m),
    Operation.LOGSUMEXP: lambda _x, m, _t, _xp: m,
    Operation.CROSS_ENTROPY: lambda x, m, t, xp: exact_difference(m, x if t is None else t.pick(x, xp)),
}


def _open_sum(operation: Operation, x: Array, t: LabelTargets | None, xp: Balls) -> tuple[Array, Array]:
    head = _HEADS[operation](x, xp.max(x), t, xp)
    tail = xp.log1p(xp.odds(x))
    return head, -tail if operation is Operation.LOG_SOFTMAX else tail


def _is_weighted(second: Targets | Array | None) -> bool:
    return isinstance(second, SoftTargets) or (isinstance(second, LabelTargets) and second.weights is not None)


def _targets(second: Any, index: Array) -> LabelTargets | None:
    return second.rows(index) if isinstance(second, LabelTargets) else None


def _rows(second: Any, index: Array, xp: Balls) -> Any:
    return None if second is None else xp.array(second[index])


def _column(t: Truth) -> Truth:
    return t if t.nearest.ndim == 2 else Truth(*(a[:, None] for a in _arrays(t)))


def _replaced(t: Truth, where: Array, value: float) -> Truth:
    nearest, residual, rounded = (a.copy() for a in _arrays(t))
    nearest[where], residual[where], rounded[where] = value, 0.0, value
    return Truth(nearest, residual, rounded)


def _masked_label_loss(x: Array, kept: Array, targets: Targets, fmt: Format, balls: Balls) -> Truth:
    """Loss of labels among the classes that are left, inf where the label's own class is masked."""
    assert isinstance(targets, LabelTargets)
    here = np.isin(targets.labels, kept)
    among = LabelTargets(np.where(here, np.searchsorted(kept, targets.labels) % kept.size, 0))
    found = _unmasked(Operation.CROSS_ENTROPY, x[:, kept], np.arange(kept.size), among, np.arange(len(x)), fmt, balls)
    return _replaced(found, ~here, np.inf)


def _masked_loss(xp: Balls, x: Array, weights: Array, targets: Targets) -> Array:
    balls = xp.array(x)
    y = evaluate(get("logsumexp/compensated"), balls, xp)
    return np.asarray(targets.weigh(xp.sum(xp.array(weights) * (y[:, None] - balls)))[:, 0])


def _masked_gradient(xp: Balls, x: Array, kept: Array, weights: Array, targets: Targets) -> Array:
    p = np.full(x.shape, xp.number(0.0), dtype=object)
    p[:, kept] = evaluate(get("softmax/compensated"), xp.array(x[:, kept]), xp)
    t = xp.array(weights)
    return targets.scaled(p * xp.sum(t) - t, xp)


def judge(
    output: Array,
    exact: ExactResult,
    fmt: Format,
    *,
    max_ulp: float | None = None,
    input_overflow: Array | None = None,
    may_flush: bool = False,
) -> Judgement:
    """Judge an output cell by cell.

    Parameters
    ----------
    output : ndarray (N,) or (N, K)
        In the format's dtype, or float64 holding numbers of the format.
    exact : ExactResult
        The truth.
    fmt : Format
        The format of the output.
    max_ulp : float, optional
        Errors above are inaccurate; half of the format's bits when not given.
    input_overflow : ndarray of bool (N,), optional
        Rows with a finite logit that the format cannot hold.
    may_flush : bool
        True where a result below the smallest normal number may be flushed to 0, or to anything that
        small, as processors and compilers do: nobody's formula is to blame for that.

    Examples
    --------
    >>> from stablemax.formats import FLOAT32
    >>> x = np.float32([[0.0, 1.0, -np.inf]])
    >>> exact = exact_result(Operation.SOFTMAX, x, None, FLOAT32)
    >>> judged = judge(np.float32([[0.26894143, np.nan, 0.0]]), exact, FLOAT32)
    >>> [CODES[c].value for c in judged.codes[0]]
    ['ok', 'nan', 'ok']
    """
    limit = default_max_ulp(fmt) if max_ulp is None else max_ulp
    right = exact.truth.rounded
    out = output.astype(np.float64).reshape(right.shape)
    error = exact.truth.error_ulp(out, fmt)
    as_rounded = (out == right) | (np.isnan(out) & np.isnan(right))
    codes = np.zeros(out.shape, dtype=np.int8)

    def mark(where: Array, outcome: Outcome) -> None:
        codes[where] = CODES.index(outcome)

    mark(error > limit, Outcome.INACCURATE)
    mark((out == 0) & (right != 0), Outcome.LOST)
    mark(np.isinf(out) & np.isfinite(right), Outcome.OVERFLOW)
    # In a format without infinities overflow shows as NaN, also that of a right result.
    mark(np.isnan(out), Outcome.NAN)
    if may_flush:
        with np.errstate(invalid="ignore"):
            tiny = (np.abs(exact.truth.nearest) < fmt.smallest_normal) & (np.abs(out) <= fmt.smallest_normal)
        # Nor is the error of what was flushed anybody's.
        error = np.where(tiny & (codes != 0), np.nan, error)
        mark(tiny, Outcome.OK)
    mark(as_rounded, Outcome.OK)
    mark(np.broadcast_to(exact.undefined[:, None], out.shape), Outcome.UNDEFINED)
    compared = ~exact.undefined
    if input_overflow is not None:
        mark(np.broadcast_to(input_overflow[:, None], out.shape), Outcome.INPUT_OVERFLOW)
        compared = compared & ~input_overflow
    finite = np.isfinite(out) & np.isfinite(exact.truth.nearest) & compared[:, None]
    if fmt.saturates:
        # What saturates has no error, as what overflows to inf has none.
        finite &= ~(as_rounded & fmt.lacks(exact.truth.nearest))
    error = np.where(finite, error, np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        spacing_u = np.ldexp(1.0, exact.truth.ulp_exponent(fmt)) / np.abs(exact.truth.nearest) / fmt.u
        # Below the smallest normal number digits go missing one by one, and no relative error is bounded.
        normal = np.abs(exact.truth.nearest) >= fmt.smallest_normal
        error_u = np.where(normal, error * spacing_u, np.nan)
    return Judgement(codes, error, error_u)


def largest(values: Array) -> float | None:
    """Return the largest number that is not NaN, or None."""
    values = values[~np.isnan(values)]
    return float(values.max()) if values.size else None


def row_error_u(output: Array, exact: ExactResult, fmt: Format) -> Array:
    """Error of each row in the maximum norm, relative to it, in units of u: what the bounds speak of.

    Rows without a finite truth or with an output that is not finite give NaN.
    """
    out = output.astype(np.float64).reshape(exact.truth.nearest.shape)
    right = exact.truth.nearest
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        size = np.abs(right).max(axis=-1)
        absolute = exact.truth.error_ulp(out, fmt) * np.ldexp(1.0, exact.truth.ulp_exponent(fmt))
        error = absolute.max(axis=-1) / size / fmt.u
    return np.where(np.isfinite(out).all(axis=-1) & np.isfinite(right).all(axis=-1), error, np.nan)


def largest_sum_error(p: Array) -> float | None:
    """Largest |sum p - 1| over the rows of finite probabilities, the sum taken exactly."""
    rows = p.astype(np.float64)
    errors = [_sum_error(row) for row in rows[np.isfinite(rows).all(axis=-1)].tolist()]
    return max(errors, default=None)


def _sum_error(row: list[float]) -> float:
    try:
        return abs(math.fsum([*row, -1.0]))
    except OverflowError:  # an output that is no probabilities may sum to anything
        return math.inf
