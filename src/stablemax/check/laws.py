"""Laws that every implementation of an operation obeys, whatever its formula."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.inputs.hazards import HazardCase
from stablemax.measure import default_max_ulp
from stablemax.results import LawVerdict
from stablemax.vocabulary import Operation, Reduction

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.check.trials import Asker, Trial
    from stablemax.formats import Array, Format

_ROWS, _CLASSES = 4, 5
_SHIFT = 4.0
"""Keeps the easy input exact in 3 bits."""


def easy_case() -> HazardCase:
    """Return small whole numbers: exact in every format, shifted or not."""
    draw = np.random.default_rng(0)
    return HazardCase(
        draw.integers(-3, 4, (_ROWS, _CLASSES)).astype(np.float64),
        draw.integers(0, _CLASSES, _ROWS),
        draw.integers(-3, 4, (_ROWS, _CLASSES)).astype(np.float64),
    )


def laws_of(operation: Operation) -> tuple[str, ...]:
    """Name the laws that an operation obeys.

    Examples
    --------
    >>> laws_of(Operation.SOFTMAX)[:3]
    ('shift-invariance', 'permutation', 'rows-independent')
    """
    return tuple(name for name, (concerns, _) in _LAWS.items() if concerns(operation))


LAW_NAMES = (
    "shift-invariance",
    "permutation",
    "rows-independent",
    "rows-sum-to-1",
    "gradient-sums-to-0",
    "input-unchanged",
    "dtype-kept",
    "shape-kept",
)


def check_laws(asker: Asker, fmt: Format) -> list[LawVerdict]:
    """Hold an implementation to the laws of its operation in one format.

    Parameters
    ----------
    asker : Asker
        The implementation and its contract.
    fmt : Format
        The number format.
    """
    case = easy_case()
    first = asker.trial(case, fmt)
    names = laws_of(asker.operation)
    if first.verdict is None:
        # There are no numbers to compare.
        names = tuple(name for name in names if name in ("input-unchanged", "dtype-kept", "shape-kept"))
    verdicts = []
    for name in names:
        detail = first.trouble if first.answer.output is None else _LAWS[name][1](asker, case, first)
        verdicts.append(LawVerdict(name, fmt.name, bool(detail) and name not in asker.contract.allow, detail))
    return verdicts


def _limit(asker: Asker, fmt: Format) -> float:
    """Two outputs, each within the contract, may be this many ulps apart."""
    return 2.0 * (default_max_ulp(fmt) if asker.contract.max_ulp is None else max(asker.contract.max_ulp, 0.5))


def _apart(asker: Asker, fmt: Format, a: Array, b: Array, where: str) -> str:
    """Say where two outputs that should agree do not."""
    if a.shape != b.shape:
        return f"{where}: the shape changes from {a.shape} to {b.shape}"
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        ulps = np.abs(a - b) / fmt.ulp(np.maximum(np.abs(a), np.abs(b)))
    ulps = np.where(np.isnan(a) & np.isnan(b), 0.0, np.where(np.isnan(ulps), np.inf, ulps))
    if ulps.size == 0 or ulps.max() <= _limit(asker, fmt):
        return ""
    at = np.unravel_index(int(np.argmax(ulps)), ulps.shape)
    return f"{where}: {a[at]:.6g} becomes {b[at]:.6g}"


def _output(asker: Asker, case: HazardCase, fmt: Format) -> Array | str:
    answer = asker.trial(case, fmt).answer
    return answer.trouble if answer.output is None else answer.output


def _shift(asker: Asker, case: HazardCase, first: Trial) -> str:
    fmt, before = first.format, first.answer.output
    assert before is not None
    after = _output(asker, replace(case, logits=case.logits + _SHIFT), fmt)
    if isinstance(after, str):
        return after
    if asker.operation is Operation.LOGSUMEXP:
        before = before.astype(np.float64) + _SHIFT
    return _apart(asker, fmt, before, after, f"with {_SHIFT:g} added to every logit")


def _permutation(asker: Asker, case: HazardCase, first: Trial) -> str:
    fmt, before = first.format, first.answer.output
    assert before is not None
    order = np.roll(np.arange(_CLASSES), 2)
    moved = replace(
        case,
        logits=case.logits[:, order],
        labels=np.argsort(order)[case.labels],
        upstream=case.upstream[:, order],
    )
    after = _output(asker, moved, fmt)
    if isinstance(after, str):
        return after
    return _apart(
        asker,
        fmt,
        before if before.ndim < 2 or asker.operation.per_row else before[:, order],
        after,
        "with the classes in another order",
    )


def _rows_independent(asker: Asker, case: HazardCase, first: Trial) -> str:
    fmt, together = first.format, first.answer.output
    assert together is not None
    alone = []
    for i in range(_ROWS):
        at = slice(i, i + 1)
        found = _output(
            asker, replace(case, logits=case.logits[at], labels=case.labels[at], upstream=case.upstream[at]), fmt
        )
        if isinstance(found, str):
            return f"row {i} alone: {found}"
        alone.append(np.asarray(found, dtype=np.float64))
    if together.ndim == 0:
        of_rows = np.sum if asker.reading is Reduction.SUM else np.mean
        own = of_rows([float(a.reshape(-1)[0]) for a in alone])
        return _apart(asker, fmt, np.asarray(own), together, f"the {asker.reading} of the rows' own losses")
    stacked = np.stack([a.reshape(together.shape[1:]) for a in alone])
    if asker.operation is Operation.CROSS_ENTROPY_GRAD and asker.reading is Reduction.MEAN:
        stacked = stacked / _ROWS
    return _apart(asker, fmt, stacked, together, "rows alone, then together")


def _sum_to_1(asker: Asker, _: HazardCase, first: Trial) -> str:
    assert first.answer.output is not None
    p = first.answer.output.astype(np.float64)
    return _sums(p, 1.0, _limit(asker, first.format) * first.format.u * 2, "the probabilities of row")


def _sum_to_0(asker: Asker, _: HazardCase, first: Trial) -> str:
    assert first.answer.output is not None
    g = first.answer.output.astype(np.float64)
    return _sums(
        g, 0.0, _limit(asker, first.format) * first.format.u * 2 * float(np.abs(g).max()), "the gradient of row"
    )


def _sums(values: Array, right: float, limit: float, what: str) -> str:
    sums = values.sum(axis=-1)
    bad = ~(np.abs(sums - right) <= limit)
    if not bad.any():
        return ""
    row = int(np.argmax(bad))
    return f"{what} {row} sum to {sums[row]:.6g}"


def _input_unchanged(asker: Asker, case: HazardCase, first: Trial) -> str:  # noqa: ARG001 - one signature for all laws
    return "the function writes into its arguments" if first.answer.changed_input else ""


def _dtype_kept(asker: Asker, case: HazardCase, first: Trial) -> str:  # noqa: ARG001
    output = first.answer.output
    assert output is not None
    # A single number has no format to keep: losses are logged as Python floats.
    if output.ndim == 0 or output.dtype.name == first.format.name:
        return ""
    return f"{first.format.name} goes in, {output.dtype.name} comes out"


def _shape_kept(asker: Asker, case: HazardCase, first: Trial) -> str:  # noqa: ARG001
    return first.trouble if first.verdict is None else ""


def _everyone(_: Operation) -> bool:
    return True


# Whom a law concerns, and what finds the breach: it returns words, or nothing where the law holds.
_LAWS: dict[str, tuple[Callable[[Operation], bool], Callable[[Asker, HazardCase, Trial], str]]] = {
    "shift-invariance": (_everyone, _shift),
    "permutation": (_everyone, _permutation),
    "rows-independent": (_everyone, _rows_independent),
    "rows-sum-to-1": (lambda o: o is Operation.SOFTMAX, _sum_to_1),
    "gradient-sums-to-0": (lambda o: o in (Operation.CROSS_ENTROPY_GRAD, Operation.SOFTMAX_VJP), _sum_to_0),
    "input-unchanged": (_everyone, _input_unchanged),
    "dtype-kept": (_everyone, _dtype_kept),
    "shape-kept": (_everyone, _shape_kept),
}
assert tuple(_LAWS) == LAW_NAMES
