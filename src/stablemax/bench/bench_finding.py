"""A benchmark in a sentence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stablemax.bench.bench_words import OURS
from stablemax.text.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.results import TimedCase, Timing


def others(case: TimedCase) -> list[Timing]:
    """All timings of a case but ours."""
    return [t for t in case.timings if t.implementation != OURS]


def slower_than(cases: Sequence[TimedCase], least: float) -> list[tuple[TimedCase, Timing]]:
    """Return what takes less than `least` times our time, the fastest first."""
    found = [(case, timing) for case in cases for timing in others(case) if timing.ratio < least]
    return sorted(found, key=lambda pair: pair[1].ratio)


def named(case: TimedCase) -> str:
    """Name a case: ``softmax, 128 x 1000, float32, 1 thread``."""
    return f"{case.operation}, {case.rows} x {case.classes}, {case.dtype}, {counted(case.threads, 'thread')}"


def times(ratio: float) -> str:
    """Write a ratio of times to three digits; 1 is never reached from below.

    >>> times(0.9704), times(0.99996), times(1.8), times(12.34), times(123.4)
    ('0.970', '0.999', '1.80', '12.3', '123')
    """
    if ratio < 1:
        return f"{math.floor(1000 * ratio) / 1000:.3f}"
    digits = 2 if ratio < 9.995 else 1 if ratio < 99.95 else 0
    return f"{ratio:.{digits}f}"


def finding(cases: Sequence[TimedCase]) -> str:
    """Say how often ours is the fastest, and where it stands worst."""
    nearest = [min(others(case), key=lambda t: t.ratio) for case in cases]
    first = sum(t.ratio >= 1 for t in nearest)
    worst, case = min(zip(nearest, cases, strict=True), key=lambda pair: pair[0].ratio)
    where = f"{worst.implementation} takes {times(worst.ratio)} times its time: {named(case)}"
    if len(cases) == 1:
        return f"stablemax is {'' if first else 'not '}the fastest: {where}."
    if first == len(cases):
        return f"stablemax is the fastest in all {first} cases. At the closest, {where}."
    return f"stablemax is the fastest in {first} of {len(cases)} cases. At worst, {where}."


def means(cases: Sequence[TimedCase]) -> dict[str, dict[str, float]]:
    """Geometric mean of the ratios over the cases of each operation, by operation and implementation.

    The geometric mean is the one mean of ratios that does not depend on what they are taken over.
    """
    logs: dict[str, dict[str, list[float]]] = {}
    for case in cases:
        for timing in case.timings:
            logs.setdefault(case.operation, {}).setdefault(timing.implementation, []).append(math.log(timing.ratio))
    return {
        operation: {name: math.exp(math.fsum(found) / len(found)) for name, found in by_name.items()}
        for operation, by_name in logs.items()
    }
