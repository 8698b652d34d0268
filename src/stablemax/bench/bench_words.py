"""What can be asked for, and what was found, as words: importable without NumPy."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from stablemax.operations import all_operations
from stablemax.operations.operation import Operation
from stablemax.results import TimedCase, Timing
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.words import counted, short_number

OURS = "stablemax"


def timed_operations() -> tuple[Operation, ...]:
    """Return the operations that other libraries have ready-made."""
    return tuple(o for o in all_operations() if o.timed)


class TimedDtype(enum.StrEnum):
    """What the logits are held in."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


class TimedPeer(enum.StrEnum):
    """What is timed beside ours; ``all``: NumPy and the libraries that are installed."""

    TORCH = "torch"
    JAX = "jax"
    SCIPY = "scipy"
    NUMPY = "numpy"
    ALL = "all"


class Shape(NamedTuple):
    """Rows and classes."""

    rows: int
    classes: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.classes}"


DEFAULT_SHAPES = (Shape(128, 1000), Shape(2048, 4096), Shape(2048, 32768), Shape(2048, 131072))
"""A small batch of ImageNet's classes, and a batch of tokens with vocabularies up to the largest in use."""


def shape_of(text: str) -> Shape:
    """Read ``ROWSxCLASSES``.

    >>> shape_of("128x1000")
    Shape(rows=128, classes=1000)
    """
    match = re.fullmatch(r"([1-9][0-9]{0,11})x([1-9][0-9]{0,11})", text, re.ASCII)
    if match is None:
        raise StablemaxError(f"--shape {shown(text)} is not ROWSxCLASSES", "two whole numbers: --shape 2048x32768")
    return Shape(int(match[1]), int(match[2]))


def others(case: TimedCase) -> list[Timing]:
    """All timings of a case but ours."""
    return [t for t in case.timings if t.implementation != OURS]


def slower_than(cases: Sequence[TimedCase], least: float) -> list[tuple[TimedCase, Timing]]:
    """Return what takes less than `least` times our time, the fastest first."""
    slower = [(case, timing) for case in cases for timing in others(case) if timing.ratio < least]
    return sorted(slower, key=lambda pair: pair[1].ratio)


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


def error_words(error_ulp: float | None) -> str:
    """Write the largest error of a result, in ulps.

    >>> error_words(0.4987), error_words(7.25), error_words(1.6e15), error_words(math.inf), error_words(None)
    ('0.50', '7.25', '1.6e15', 'broken', '-')
    """
    return "-" if error_ulp is None else "broken" if math.isinf(error_ulp) else short_number(error_ulp)


def largest_errors(cases: Sequence[TimedCase]) -> dict[str, float]:
    """Return the largest error of each implementation in all cases, in ulps; of those of which rows were judged."""
    errors: dict[str, float] = {}
    for timing in (t for case in cases for t in case.timings):
        if timing.error_ulp is not None:
            errors[timing.implementation] = max(errors.get(timing.implementation, 0.0), timing.error_ulp)
    return errors


def finding(cases: Sequence[TimedCase]) -> str:
    """Say how often ours is the fastest, where it stands worst, and how large the errors are."""
    errors = [f"{name} {error_words(error)}" for name, error in largest_errors(cases).items()]
    return " ".join([_fastest(cases), *([f"Largest errors in ulp: {', '.join(errors)}."] if errors else [])])


def _fastest(cases: Sequence[TimedCase]) -> str:
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
        operation: {name: math.exp(math.fsum(ratios) / len(ratios)) for name, ratios in by_name.items()}
        for operation, by_name in logs.items()
    }
