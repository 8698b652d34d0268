"""Exact values to judge outputs by, written without the formulas and roundings under test."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.format_names import ORDINARY
from stablemax.numerics.formats import FORMATS, Format, get_format
from stablemax.operations.operation import Second
from stablemax.operations.targets import CellTargets, LabelTargets, SoftTargets
from stablemax.operations.variant import evaluate, get
from stablemax.truth import balls as exact

from .records import LOG_SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation
    from stablemax.operations.targets import Targets
    from stablemax.text.vocabulary import Accumulation

USUAL = {name: get_format(name) for name in (*ORDINARY, "tf32")}
"""Those that processors compute in, and one that is emulated."""
NARROW = tuple(f for f in USUAL.values() if f.name != "float64")
SHAPES = tuple(get_format(name) for name in ("e2m24", "e6m9fn", "e10m24"))
FLUSHING = Format("flushing", 11, 15, -14, has_subnormals=False)
EVERY_FORMAT = {f.name: f for f in (*FORMATS.values(), *SHAPES, FLUSHING)}
"""Those with a name, emulated ones of extreme shapes, and one without subnormal numbers."""


def values_of(fmt: Format, *, limit: float | None = None, least: float | None = None) -> st.SearchStrategy[float]:
    """Finite numbers of a format, of every magnitude that it has (or up to `limit`)."""
    top = fmt.max if limit is None else min(limit, fmt.max)
    low = -top if least is None else least
    everywhere = st.floats(low, top)
    near = st.floats(max(low, -20.0), min(top, 20.0))
    return st.one_of(near, everywhere).map(lambda v: nearest_number(Fraction(v), fmt))


def rows_of(
    fmt: Format, *, limit: float | None = None, least: float | None = None, max_classes: int = 8
) -> st.SearchStrategy[list[list[float]]]:
    """Matrices of one to four rows."""
    cell = values_of(fmt, limit=limit, least=least)
    return st.integers(1, max_classes).flatmap(
        lambda k: st.lists(st.lists(cell, min_size=k, max_size=k), min_size=1, max_size=4)
    )


def exponent_of(value: Fraction) -> int:
    """e with 2**e <= |value| < 2**(e + 1)."""
    value = abs(value)
    e = value.numerator.bit_length() - value.denominator.bit_length()
    return e if value >= Fraction(2) ** e else e - 1


def ulp_of(value: Fraction, fmt: Format) -> Fraction:
    """Spacing of a format at an exact value."""
    e = fmt.emin if value == 0 else min(max(exponent_of(value), fmt.emin), fmt.emax)
    return Fraction(2) ** (e - fmt.precision + 1)


def beyond_of(fmt: Format) -> float:
    """What a format has for a number beyond its range."""
    if fmt.has_inf:
        return np.inf
    return np.nan if fmt.lost_to_nan else float((2 - Fraction(2) ** (1 - fmt.precision)) * Fraction(2) ** fmt.emax)


def nearest_number(value: Fraction, fmt: Format) -> float:
    """Round a fraction to a format, ties to even, by integer arithmetic alone."""
    if value == 0:
        return 0.0
    step = Fraction(2) ** (max(exponent_of(value), fmt.emin) - fmt.precision + 1)
    magnitude = round(abs(value) / step) * step  # Python rounds fractions to even
    magnitude_float = beyond_of(fmt) if magnitude > Fraction(fmt.max) else float(magnitude)
    if not fmt.has_subnormals and magnitude_float < fmt.smallest_normal:
        magnitude_float = 0.0
    return float(-magnitude_float if value < 0 else magnitude_float)


def fractions_of(values: Array) -> list[Fraction]:
    """Exact values of a vector of any float dtype."""
    return [Fraction(v) for v in values.astype(np.float64).tolist()]


def sum_of(values: list[Fraction]) -> Fraction:
    """Exact sum."""
    return sum(values, Fraction(0))


def in_format(values: Any, fmt: Format) -> Array:
    """Logits cast to a format."""
    return fmt.cast(np.asarray(values, dtype=np.float64))


def output(
    variant_id: str,
    x: Any,
    fmt: Format,
    second: Any = None,
    accumulation: Accumulation | None = None,
) -> Array:
    """What a variant gives on logits (N, K), as float64."""
    xp = Arithmetic(fmt, accumulation)
    if isinstance(second, np.ndarray):
        second = xp.array(second)
    elif second is not None:
        second = second.to(xp)
    result = evaluate(get(variant_id), in_format(x, fmt), xp, second)
    assert result.dtype == fmt.dtype
    return result.astype(np.float64)


def second_for(operation: Operation, x: Array, labels: Any = None, g: Any = None) -> Any:
    """The second argument that an operation takes: given labels or the last class, given g or a ramp."""
    rows, classes = np.shape(x)
    chosen = np.full(rows, classes - 1) if labels is None else np.asarray(labels, dtype=np.int64)
    ramp = np.linspace(-1.0, 1.0, classes) + np.zeros((rows, 1)) if g is None else np.asarray(g, dtype=float)
    seconds: dict[Second, Callable[[], Any]] = {
        Second.NONE: lambda: None,
        Second.LABELS: lambda: LabelTargets(chosen),
        Second.CELL_TARGETS: lambda: CellTargets((np.arange(classes) == chosen[:, None]).astype(np.float64)),
        Second.UPSTREAM: lambda: ramp,
        Second.LOGITS: np.asarray(x, dtype=np.float64)[:, ::-1].copy,
    }
    return seconds[operation.second]()


def _shares(x: Array, xp: exact.Balls) -> tuple[Array, Array]:
    """Logits minus their maximum, and the sum of their exponentials."""
    d = x - xp.max(x)
    return d, np.add.reduce(xp.exp(d), axis=-1, keepdims=True)


def _softmax(x: Array, xp: exact.Balls) -> Array:
    d, s = _shares(x, xp)
    return np.asarray(xp.exp(d) / s)


def _log_softmax(x: Array, xp: exact.Balls) -> Array:
    d, s = _shares(x, xp)
    return np.asarray(d - np.log(s))


def _vjp(x: Array, g: Array, xp: exact.Balls) -> Array:
    p, upstream = _softmax(x, xp), xp.array(g)
    return np.asarray(p * (upstream - np.add.reduce(p * upstream, axis=-1, keepdims=True)))


def _cross_entropy(x: Array, targets: Targets, xp: exact.Balls) -> Array:
    return np.asarray(np.add.reduce(-xp.array(weights_of(targets, x.shape[-1])) * _log_softmax(x, xp), axis=-1))


def _cross_entropy_grad(x: Array, targets: Targets, xp: exact.Balls) -> Array:
    w = xp.array(weights_of(targets, x.shape[-1]))
    total = np.add.reduce(w, axis=-1, keepdims=True)
    return np.asarray((_softmax(x, xp) * total - w) / xp.number(targets.divisor))


def _cell_weights(targets: CellTargets, xp: exact.Balls) -> tuple[Any, Any]:
    """What the losses of a cell at 1 and at 0 weigh."""
    t, one = xp.array(targets.values), xp.number(1.0)
    weight = one if targets.weight is None else xp.array(targets.weight)
    pos_weight = one if targets.pos_weight is None else xp.array(targets.pos_weight)
    return weight * pos_weight * t, weight * (one - t)


def _binary_cross_entropy(x: Array, targets: CellTargets, xp: exact.Balls) -> Array:
    missed, alarmed = _cell_weights(targets, xp)
    # exp(1e308) has no place in a ball's exponent.
    positive, negative = (np.log1p(np.exp(-np.abs(x))) + xp.maximum(sign * x, xp.number(0.0)) for sign in (-1, 1))
    return np.asarray(missed * positive + alarmed * negative)


def _binary_cross_entropy_grad(x: Array, targets: CellTargets, xp: exact.Balls) -> Array:
    missed, alarmed = _cell_weights(targets, xp)
    return np.asarray((alarmed * _sigmoid(x, xp) - missed * _sigmoid(-x, xp)) / xp.number(targets.divisor))


def _sigmoid(x: Array, xp: exact.Balls) -> Array:
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, xp.number(1.0)) / (1 + e))


def _softplus(x: Array, xp: exact.Balls) -> Array:
    return np.asarray(np.log1p(np.exp(-np.abs(x))) + xp.maximum(x, xp.number(0.0)))


def _entropy(x: Array, xp: exact.Balls) -> Array:
    return np.asarray(np.add.reduce(-_softmax(x, xp) * _log_softmax(x, xp), axis=-1))


def _kl_divergence(x: Array, y: Array, xp: exact.Balls) -> Array:
    logs = _log_softmax(x, xp)
    return np.asarray(np.add.reduce(xp.exp(logs) * (logs - _log_softmax(xp.array(y), xp)), axis=-1))


# The textbook's formulas; in balls nothing needs to be stable.
_DEFINITIONS: dict[str, Callable[[Array, Any, exact.Balls], Array]] = {
    "softmax": lambda x, _, xp: _softmax(x, xp),
    "log_softmax": lambda x, _, xp: _log_softmax(x, xp),
    "logsumexp": lambda x, _, xp: np.asarray(xp.max(x) + np.log(_shares(x, xp)[1]))[:, 0],
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad": _cross_entropy_grad,
    "softmax_vjp": _vjp,
    "sigmoid": lambda x, _, xp: _sigmoid(x, xp),
    "log_sigmoid": lambda x, _, xp: -_softplus(-x, xp),
    "softplus": lambda x, _, xp: _softplus(x, xp),
    "binary_cross_entropy": _binary_cross_entropy,
    "binary_cross_entropy_grad": _binary_cross_entropy_grad,
    "entropy": lambda x, _, xp: _entropy(x, xp),
    "kl_divergence": _kl_divergence,
}


def _definition(operation: Operation, x: Array, second: Any, xp: exact.Balls) -> Array:
    return _DEFINITIONS[operation.name](x, second, xp)


def _at_infinity(operation: Operation, x: float, second: CellTargets | None) -> float:
    """The limit of a cell-wise operation at an infinite logit; weights 1."""
    down = x < 0
    if operation.second is Second.NONE:
        limits = {"sigmoid": (0.0, 1.0), "log_sigmoid": (-np.inf, 0.0), "softplus": (0.0, np.inf)}
        return limits[operation.name][not down]
    assert second is not None
    t = float(second.values.ravel()[0])
    against = t if down else 1.0 - t
    if operation.reduces:
        return np.inf if against > 0 else 0.0
    return (-against if down else against) / second.divisor


def weights_of(second: Targets, classes: int) -> Array:
    """The weight of each class of each row, in float64."""
    if isinstance(second, SoftTargets):
        return second.weights.astype(np.float64)
    hot = np.asarray(np.arange(classes) == second.labels[:, None], dtype=np.float64)
    return hot if second.weights is None else np.asarray(hot * second.weights.astype(np.float64))


def truth_of(operation: Operation, x: Any, fmt: Format, second: Any = None) -> exact.Truth:
    """The exact result at logits that are already numbers of the format; -inf means masked."""
    x = np.asarray(x, dtype=np.float64)
    if operation.cellwise and np.isinf(x).any():
        return _cells(operation, x, fmt, second)
    hidden = np.isneginf(x).any() or (
        operation.second is Second.LOGITS and np.isneginf(np.asarray(second, dtype=np.float64)).any()
    )
    if not hidden:
        return exact.truth(lambda xp: _definition(operation, xp.array(x), second, xp), fmt)
    rows = [_masked_row(operation, x[i], fmt, _row(second, i)) for i in range(len(x))]
    return exact.Truth(*(np.stack(part) for part in zip(*rows, strict=True)))


def _cells(operation: Operation, x: Array, fmt: Format, second: Any) -> exact.Truth:
    """The truth about cells of which some are at infinity."""
    finite = truth_of(operation, np.where(np.isinf(x), 0.0, x), fmt, second)
    parts = [part.copy() for part in (finite.nearest, finite.residual_ulp, finite.rounded)]
    for row, column in np.argwhere(np.isinf(x)):
        cell = (
            None
            if second is None
            else CellTargets(second.values[row : row + 1, column : column + 1], None, None, second.divisor)
        )
        limit = _at_infinity(operation, x[row, column], cell)
        for part, value in zip(parts, (limit, 0.0, limit), strict=True):
            part[row, column] = value
    return exact.Truth(*parts)


def _row(second: Any, i: int) -> Any:
    if second is None:
        return None
    return second[i : i + 1] if isinstance(second, np.ndarray) else second.rows(slice(i, i + 1))


def _masked_row(operation: Operation, x: Array, fmt: Format, second: Any) -> tuple[Array, Array, Array]:
    """A class at -inf has probability 0: compute without it and put the limit back."""
    kept = np.flatnonzero(~np.isneginf(x))
    if operation.second is Second.LOGITS:
        return _masked_pair(x, second[0], kept, fmt)
    masked_result = -np.inf if operation is LOG_SOFTMAX else 0.0
    if isinstance(second, LabelTargets):
        assert second.labels[0] in kept, "a masked label has no finite loss"
        second = LabelTargets(np.searchsorted(kept, second.labels), second.weights, second.divisor)
    elif second is not None:
        second = second[:, kept]
    inner = exact.truth(lambda xp: _definition(operation, xp.array(x[kept][None, :]), second, xp), fmt)
    parts = []
    for part, fill in (
        (inner.nearest, masked_result),
        (inner.residual_ulp, 0.0),
        (inner.rounded, masked_result),
    ):
        if operation.per_row:
            parts.append(np.asarray(part[0]))
        else:
            full = np.full(x.shape, fill)
            full[kept] = part[0]
            parts.append(full)
    return parts[0], parts[1], parts[2]


def _masked_pair(x: Array, y: Array, kept: Array, fmt: Format) -> tuple[Array, Array, Array]:
    """A divergence whose rows leave classes out: infinite where only the second row leaves one out."""
    if np.isneginf(y[kept]).any():
        return np.asarray(np.inf), np.asarray(0.0), np.asarray(np.inf)
    among = np.flatnonzero(~np.isneginf(y))

    def compute(xp: exact.Balls) -> Array:
        logs = _log_softmax(xp.array(x[None, kept]), xp)
        others = _log_softmax(xp.array(y[None, among]), xp)[:, np.searchsorted(among, kept)]
        return np.asarray(np.add.reduce(xp.exp(logs) * (logs - others), axis=-1))

    inner = exact.truth(compute, fmt)
    return inner.nearest[0], inner.residual_ulp[0], inner.rounded[0]


@dataclass(frozen=True)
class Judged:
    """An output beside the truth."""

    output: Array
    truth: exact.Truth
    error_ulp: Array

    @property
    def worst_ulp(self) -> float:
        """Largest error where the correctly rounded truth is a finite number."""
        finite = np.isfinite(self.truth.rounded)
        return float(np.max(self.error_ulp, where=finite, initial=0.0))

    @property
    def degenerate(self) -> int:
        """Cells that are 0, infinite or NaN where the correctly rounded truth is not."""
        rounded = self.truth.rounded
        bad = (self.output == 0) & (rounded != 0) | ~np.isfinite(self.output) & np.isfinite(rounded)
        return int(np.count_nonzero(bad))


def judge(
    variant_id: str,
    x: Any,
    fmt: Format,
    second: Any = None,
    accumulation: Accumulation | None = None,
) -> Judged:
    """Run a variant on logits as the format holds them, and measure it in ulps of the format."""
    held = in_format(x, fmt).astype(np.float64)
    if isinstance(second, np.ndarray):
        second = in_format(second, fmt).astype(np.float64)
    truth = truth_of(get(variant_id).operation, held, fmt, second)
    got = output(variant_id, held, fmt, second, accumulation)
    return Judged(got, truth, truth.error_ulp(got, fmt))


def in_balls(variant_id: str, x: Array, second: Any, then: Callable[[Array], Any]) -> Any:
    """Run a variant in exact arithmetic at 200 bits and hand its balls to `then` at that precision."""
    import flint

    with flint.ctx.workprec(200):
        xp = exact.Balls()
        if isinstance(second, np.ndarray):
            second = xp.array(second)
        elif second is not None:
            second = second.to(xp)
        return then(evaluate(get(variant_id), xp.array(x), xp, second))
