"""Exact values to judge outputs by, written without the formulas and roundings under test."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from stablemax import exact
from stablemax.arithmetic import Arithmetic
from stablemax.formats import FORMATS
from stablemax.operations.targets import LabelTargets, SoftTargets
from stablemax.operations.variant import evaluate, get

from .records import CROSS_ENTROPY, LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, SOFTMAX_VJP

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.operations.targets import Targets
    from stablemax.vocabulary import Accumulation

NARROW = tuple(f for f in FORMATS.values() if f.name != "float64")
FORMAT_NAMES = tuple(FORMATS)


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


def nearest_number(value: Fraction, fmt: Format) -> float:
    """Round a fraction to a format, ties to even, by integer arithmetic alone."""
    if value == 0:
        return 0.0
    step = Fraction(2) ** (max(exponent_of(value), fmt.emin) - fmt.precision + 1)
    magnitude = round(abs(value) / step) * step  # Python rounds fractions to even
    beyond = np.inf if fmt.has_inf else np.nan
    magnitude_float = beyond if magnitude > Fraction(fmt.max) else float(magnitude)
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
    second: Targets | Array | None = None,
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


def second_for(operation: Operation, x: Array, labels: Any = None, g: Any = None) -> Targets | Array | None:
    """The second argument that an operation takes: given labels or the last class, given g or a ramp."""
    rows, classes = np.shape(x)
    if operation.needs_targets:
        chosen = np.full(rows, classes - 1) if labels is None else np.asarray(labels, dtype=np.int64)
        return LabelTargets(chosen)
    if operation.needs_upstream:
        return np.linspace(-1.0, 1.0, classes) + np.zeros((rows, 1)) if g is None else np.asarray(g, dtype=float)
    return None


def _definition(operation: Operation, x: Array, second: Any, xp: exact.Balls) -> Array:
    """The textbook's formula; in balls nothing needs to be stable."""
    d = x - xp.max(x)
    e = xp.exp(d)
    s = np.add.reduce(e, axis=-1, keepdims=True)
    if operation is SOFTMAX:
        return np.asarray(e / s)
    if operation is LOG_SOFTMAX:
        return np.asarray(d - np.log(s))
    if operation is LOGSUMEXP:
        return np.asarray(xp.max(x) + np.log(s))[:, 0]
    if operation is SOFTMAX_VJP:
        p, g = e / s, xp.array(second)
        return np.asarray(p * (g - np.add.reduce(p * g, axis=-1, keepdims=True)))
    w = xp.array(weights_of(second, x.shape[-1]))
    total = np.add.reduce(w, axis=-1, keepdims=True)
    if operation is CROSS_ENTROPY:
        return np.asarray(np.add.reduce(w * (np.log(s) - d), axis=-1))
    return np.asarray((e / s * total - w) / xp.number(second.divisor))


def weights_of(second: Targets, classes: int) -> Array:
    """The weight of each class of each row, in float64."""
    if isinstance(second, SoftTargets):
        return second.weights.astype(np.float64)
    hot = np.asarray(np.arange(classes) == second.labels[:, None], dtype=np.float64)
    return hot if second.weights is None else np.asarray(hot * second.weights.astype(np.float64))


def truth_of(operation: Operation, x: Any, fmt: Format, second: Targets | Array | None = None) -> exact.Truth:
    """The exact result at logits that are already numbers of the format; -inf means masked."""
    x = np.asarray(x, dtype=np.float64)
    if not np.isneginf(x).any():
        return exact.truth(lambda xp: _definition(operation, xp.array(x), second, xp), fmt)
    rows = [_masked_row(operation, x[i], fmt, _row(second, i)) for i in range(len(x))]
    return exact.Truth(*(np.stack(part) for part in zip(*rows, strict=True)))


def _row(second: Targets | Array | None, i: int) -> Any:
    if second is None:
        return None
    return second[i : i + 1] if isinstance(second, np.ndarray) else second.rows(slice(i, i + 1))


def _masked_row(operation: Operation, x: Array, fmt: Format, second: Any) -> tuple[Array, Array, Array]:
    """A class at -inf has probability 0: compute without it and put the limit back."""
    kept = np.flatnonzero(~np.isneginf(x))
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
    second: Targets | Array | None = None,
    accumulation: Accumulation | None = None,
) -> Judged:
    """Run a variant on logits as the format holds them, and measure it in ulps of the format."""
    held = in_format(x, fmt).astype(np.float64)
    if isinstance(second, np.ndarray):
        second = in_format(second, fmt).astype(np.float64)
    truth = truth_of(get(variant_id).operation, held, fmt, second)
    got = output(variant_id, held, fmt, second, accumulation)
    return Judged(got, truth, truth.error_ulp(got, fmt))


def in_balls(variant_id: str, x: Array, second: Targets | Array | None, then: Callable[[Array], Any]) -> Any:
    """Run a variant in exact arithmetic at 200 bits and hand its balls to `then` at that precision."""
    import flint

    with flint.ctx.workprec(200):
        xp = exact.Balls()
        if isinstance(second, np.ndarray):
            second = xp.array(second)
        elif second is not None:
            second = second.to(xp)
        return then(evaluate(get(variant_id), xp.array(x), xp, second))
