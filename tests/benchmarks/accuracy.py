"""How accurate each operation is, and what the accuracy costs.

    python tests/benchmarks/accuracy.py

The errors are the largest over all cells of normals times 1, 10, 100 and 300, in ulps, against balls.
The times are ratios: each pair runs alternately in this process and the medians are divided, so that
a slow or busy machine moves both. Limits and verdicts are printed in words; the exit code is always 0,
for a time is nothing to fail a build on.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax import compare
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT64, Array
from stablemax.operations import default_operations
from stablemax.operations.targets import LabelTargets
from stablemax.operations.variant import Variant, evaluate, get, matching

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stablemax.operations.operation import Operation

SCALES = (1, 10, 100, 300)
LIMIT_WIDE_ULP = 0.51
LIMIT_ACCURATE_ULP = 4.0
LIMIT_RATIO = 1.5
ACCURATE = ("compensated", "wide")


def plain_variant(operation: Operation) -> Variant:
    """The ordinary stable formula: `shifted`, or for the vector-Jacobian product its closed form."""
    return matching(operation, ("shifted", "closed-form"))[0]


def compared(operation: Operation) -> tuple[Variant, Variant, Variant]:
    """The ordinary, the accurate and the wide variant of an operation."""
    return plain_variant(operation), get(operation.best_id), get(f"{operation}/wide")


def errors(variants: Sequence[Variant], fmt: str, rows: int, classes: int) -> list[list[float | None]]:
    """Largest error in ulps: a list for each of some variants of an operation, over the scales."""
    operation, names = variants[0].operation, [v.id for v in variants]
    found: dict[str, list[float | None]] = {name: [] for name in names}
    for scale in SCALES:
        rng = np.random.default_rng(scale)
        logits = (rng.standard_normal((rows, classes)) * scale).astype(fmt)
        labels = rng.integers(0, classes, rows)
        result = compare(
            logits, labels, operations=[operation.name], variants=names, formats=[fmt], judge=rows, reduction="sum"
        )
        for verdict in result.verdicts:
            lossless = verdict.worst is not None and verdict.worst.value in ("ok", "inaccurate")
            found[verdict.variant].append(verdict.error_ulp if lossless else None)
    return [found[name] for name in names]


def textbook(operation: Operation, x: Array, labels: Array, g: Array) -> Array:
    """Return what a NumPy user would write: the shifted formula on the whole array at once."""
    m = x.max(axis=1, keepdims=True)
    e = np.exp(x - m)
    s = e.sum(axis=1, keepdims=True)
    rows = np.arange(len(x))
    match operation.name:
        case "softmax":
            return e / s
        case "log_softmax":
            return (x - m) - np.log(s)
        case "logsumexp":
            return (m + np.log(s))[:, 0]
        case "cross_entropy":
            return np.log(s)[:, 0] - (x[rows, labels] - m[:, 0])
        case "cross_entropy_grad":
            p = e / s
            p[rows, labels] -= 1.0
            return p
        case "softmax_vjp":
            p = e / s
            return p * (g - (p * g).sum(axis=1, keepdims=True))
        case name:
            raise NotImplementedError(name)


def ratios(operation: Operation, rows: int, classes: int, runs: int) -> tuple[float, float]:
    """Median time of the accurate variant over that of the plain variant, and of the textbook formula."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, classes)) * 10
    g = rng.standard_normal((rows, classes))
    labels = rng.integers(0, classes, rows)
    xp = Arithmetic(FLOAT64)
    second: Any = LabelTargets(labels) if operation.needs_targets else g if operation.needs_upstream else None
    plain, accurate, _ = compared(operation)
    medians = interleaved(
        [
            lambda: evaluate(accurate, x, xp, second),
            lambda: evaluate(plain, x, xp, second),
            lambda: textbook(operation, x, labels, g),
        ],
        runs,
    )
    return medians[0] / medians[1], medians[0] / medians[2]


def interleaved(actions: list[Callable[[], object]], runs: int) -> list[float]:
    """Median time in seconds of each action, run in turns after one round that does not count."""
    times: list[list[float]] = [[] for _ in actions]
    for counted in [False] + [True] * runs:
        for action, spent in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            if counted:
                spent.append(time.perf_counter() - start)
    return [statistics.median(spent) for spent in times]


def ulp_limit(variant: Variant, fmt: str) -> float | None:
    """What was promised: none for the ordinary formulas, nor for the centred one in its own format."""
    if variant.name == "wide" and fmt != "float64":
        return LIMIT_WIDE_ULP
    accurate = get(variant.operation.best_id)
    return LIMIT_ACCURATE_ULP if accurate.name == "compensated" and variant.name in ACCURATE else None


def verdict(value: float | None, limit: float | None) -> str:
    if limit is None:
        return "no limit"
    return "ok" if value is not None and value <= limit else "over"


def figure(value: float | None) -> str:
    """A figure for a column of ten; "broken" for NaN, an infinity or a false zero."""
    text = "broken" if value is None else f"{value:.2f}" if value < 1000 else f"{value:.1e}"
    return f"{text:>10}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Errors in ulps, and the time ratios of accuracy.")
    parser.add_argument("--rows", type=int, default=100, help="rows that are judged")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--timed-rows", type=int, default=2000, help="rows that are timed")
    parser.add_argument("--runs", type=int, default=15, help="timed runs of each")
    args = parser.parse_args(arguments)

    shape = f"{args.rows:,} rows x {args.classes:,} classes"
    scales = ", ".join(map(str, SCALES))
    print(f"largest error in ulp on normals times {scales}; {shape}")
    print(f"limits: wide {LIMIT_WIDE_ULP} in float32, compensated {LIMIT_ACCURATE_ULP:g}")
    print(f"{'':40}" + "".join(f"{f'x {s}':>10}" for s in SCALES))
    for fmt in ("float32", "float64"):
        for operation in default_operations():
            variants = compared(operation)
            rows = errors(variants, fmt, args.rows, args.classes)
            for variant, values in zip(variants, rows, strict=True):
                finite = [v for v in values if v is not None]
                worst = max(finite) if len(finite) == len(values) else None
                print(
                    f"{fmt}  {variant.id:<31}{''.join(map(figure, values))}  {verdict(worst, ulp_limit(variant, fmt))}"
                )
    print()
    print(
        f"time of the accurate variant in float64, {args.timed_rows:,} x {args.classes:,}, "
        f"medians of {args.runs} in turns; limit {LIMIT_RATIO}"
    )
    for operation in default_operations():
        over_plain, over_textbook = ratios(operation, args.timed_rows, args.classes, args.runs)
        plain, accurate, _ = compared(operation)
        limit = LIMIT_RATIO if accurate.name == "compensated" else None
        print(
            f"{accurate.id:<31}{over_plain:6.2f} x {plain.name:<12}{verdict(over_plain, limit):<10}"
            f"{over_textbook:6.2f} x textbook NumPy"
        )


if __name__ == "__main__":
    main()
