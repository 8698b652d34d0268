"""Implementations that take as long as they are told, on a clock that only they move."""

from __future__ import annotations

import contextlib
import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.bench.bench_words import Shape, TimedDtype, timed_operations
from stablemax.bench.benchmark import Instruments, bench
from stablemax.bench.judged_rows import Accuracy
from stablemax.bench.plan import BenchOptions, Case, Input
from stablemax.results import Benchmark, LoopCompiler, Machine, Rates
from stablemax.text.processor import available_threads

from ..records import CROSS_ENTROPY, SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.bench.memory import Peaks
    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation

GIB = 1 << 30
STEP_S = 2.0**-40


@dataclass
class Clock:
    """Seconds that pass only where somebody lets them."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Clockwork:
    """One that takes some seconds for each logit, every other time a swing more or less, and gives its error."""

    name: str
    seconds: float
    clock: Clock
    operations: tuple[Operation, ...] = field(default_factory=timed_operations)
    needs_affinity: bool = False
    libraries: tuple[str, ...] = ()
    swing: float = 0.0
    error_ulp: float = 0.5
    ran_with: list[int] = field(default_factory=list)
    ran_on: list[int] = field(default_factory=list)

    @property
    def formulas(self) -> dict[Operation, str]:
        return {o: f"{self.name}.{o}(x)" for o in self.operations}

    def running(self, threads: int) -> contextlib.AbstractContextManager[None]:
        self.ran_with.append(threads)
        self.ran_on.append(available_threads())
        return contextlib.nullcontext()

    def call(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:
        signs = itertools.cycle((1, -1))

        def spend() -> None:
            # In steps that add without rounding, so that a spread of 0 is 0.
            spent = self.seconds * x.size / threads * (1 + next(signs) * self.swing)
            self.clock.now += round(spent / STEP_S) * STEP_S

        return spend

    def call_by_row(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:
        return lambda: self.error_ulp

    def back(self, result: Any) -> Array:
        return np.asarray(result)


class Judged:
    """Eight rows of an input; nothing that is judged needs them, for it says how far it is off."""

    def __init__(self, x: Array, y: Array) -> None:
        self.rows = np.arange(min(8, len(x)))

    def accuracy(self, operation: Operation, result: Array) -> Accuracy:
        return Accuracy(float(result), 1.0 if result <= 0.5 else 0.25)


def machine_of(cores: int = 2, available_bytes: int | None = 16 * GIB) -> Machine:
    loops = {"exp float32": "AVX2", "exp float64": "baseline"}
    return Machine("A processor", "A system 1.0", cores, available_bytes, ("avx2", "fma"), loops)


def rates_of(threads: int, _: Any = None) -> Rates:
    """A machine that reads 8e9 bytes and copies 4e9 a second with each thread."""
    return Rates(threads, 8e9 * threads, 4e9 * threads)


def loops_of(operations: tuple[Operation, ...], inputs: list[Input]) -> tuple[LoopCompiler, list[str]]:
    """A Numba for whatever is not tiny."""
    return LoopCompiler("0.1", "some-cpu"), []


def peaks_of(options: BenchOptions, inputs: list[Input], progress: Callable[[Case], None]) -> tuple[Peaks, list[str]]:
    """Ours needs a MiB, and another one, but for jax, as much as the logits."""
    found: Peaks = {}
    for given in inputs:
        for operation in options.operations:
            for threads in options.threads or (1, 2):
                case = Case(operation, given, threads)
                progress(case)
                found[case, "stablemax"] = 1 << 20
                size = given.shape.rows * given.shape.classes * np.dtype(given.dtype.value).itemsize
                for name in ("torch", "scipy", "numpy"):
                    found[case, name] = size
    return found, []


def instruments(clock: Clock, **changes: Any) -> Instruments:
    given = {"clock": clock, "rates": rates_of, "peaks": peaks_of, "machine": machine_of, "loops": loops_of}
    given["judge"] = Judged
    return Instruments(**{**given, **changes})


def clockworks(clock: Clock) -> tuple[Clockwork, ...]:
    """Ours, one that is nearly as fast, a broken one without a measured peak, one without a loss, and a slow one."""
    array_operations = tuple(o for o in timed_operations() if not o.needs_targets)
    return (
        Clockwork("stablemax", 2e-9, clock),
        Clockwork("torch", 1.999e-9, clock, error_ulp=7.25),
        Clockwork("jax", 3e-9, clock, error_ulp=math.inf),
        Clockwork("scipy", 25e-9, clock, array_operations, swing=0.25),
        Clockwork("numpy", 300e-9, clock, error_ulp=120.5),
    )


def sample(**changes: Any) -> Benchmark:
    """A benchmark whose every figure is known."""
    clock = Clock()
    given: dict[str, Any] = {
        "operations": (SOFTMAX, CROSS_ENTROPY),
        "shapes": (Shape(128, 1000), Shape(16, 131072)),
        "dtypes": (TimedDtype.FLOAT32,),
        "threads": (1, 2),
        "repeat": 2,
        **changes,
    }
    options = BenchOptions(**given)
    return bench(
        options,
        instruments=instruments(clock),
        implementations=clockworks(clock),
        command=("stablemax", "bench", "--repeat", "2"),
    )
