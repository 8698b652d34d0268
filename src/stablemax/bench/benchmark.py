"""Time our functions beside other libraries' on a range of shapes, and judge what they give."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from stablemax.bench import machine, memory
from stablemax.bench.bench_words import finding
from stablemax.bench.compiled_loops import compiled_loops, loops_of
from stablemax.bench.judged_rows import Accuracy, JudgedRows
from stablemax.bench.memory import Peaks
from stablemax.bench.plan import BenchOptions, Case, Input, Plan
from stablemax.bench.timing import in_turns
from stablemax.libraries import version
from stablemax.libraries.timed import Implementation
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation
from stablemax.results import Benchmark, LoopCompiler, Machine, Rates, TimedCase, Timing
from stablemax.text.words import counted


@dataclass(frozen=True)
class Instruments:
    """What measures."""

    #: Seconds.
    clock: Callable[[], float] = time.perf_counter
    #: Takes a number of threads and the clock, and returns the `Rates` of the machine.
    rates: Callable[[int, Callable[[], float]], Rates] = machine.rates
    #: As `memory.peaks`.
    peaks: Callable[[BenchOptions, list[Input], Callable[[Case], None]], tuple[Peaks, list[str]]] = memory.peaks
    #: Returns the `Machine`.
    machine: Callable[[], Machine] = machine.this_machine
    #: As `compiled_loops`
    loops: Callable[[tuple[Operation, ...], list[Input]], tuple[LoopCompiler | None, list[str]]] = compiled_loops
    #: Takes logits and labels, and judges results of them.
    judge: Callable[[Array, Array], JudgedRows] = JudgedRows


@dataclass
class _Measured:
    """What was measured so far."""

    times: dict[Case, dict[str, list[float]]] = field(default_factory=dict)
    #: Those of the rows that were judged
    accuracies: dict[tuple[Case, str], Accuracy] = field(default_factory=dict)
    judged_rows: dict[Input, int] = field(default_factory=dict)
    rates: dict[int, list[Rates]] = field(default_factory=dict)

    def typical_rates(self) -> dict[int, Rates]:
        """Return the median rates over the run, by number of threads."""
        return {threads: _typical(rates) for threads, rates in self.rates.items()}


def bench(
    options: BenchOptions | None = None,
    *,
    instruments: Instruments | None = None,
    implementations: tuple[Implementation, ...] | None = None,
    command: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> Benchmark:
    """Time our functions and others' in turns, and set them beside what the machine allows.

    >>> from stablemax.bench.bench_words import Shape, TimedPeer
    >>> from stablemax.operations import get_operation
    >>> softmax = get_operation("softmax")
    >>> options = BenchOptions((softmax,), (Shape(4, 8),), threads=(1,), peers=(TimedPeer.NUMPY,), repeat=1)
    >>> [[t.implementation for t in case.timings] for case in bench(options).cases]
    [['stablemax', 'numpy'], ['stablemax', 'numpy']]
    """
    options, instruments = options or BenchOptions(), instruments or Instruments()
    here = instruments.machine()
    notes: list[str] = []
    if implementations is None:
        implementations, left_out = options.implementations()
        notes += left_out
    plan, not_timed = options.plan(implementations, here.cores)
    inputs, too_big = options.inputs(here.available_bytes)
    notes += [*not_timed, *too_big]
    steps = len(inputs) * len(plan)
    remembered: set[Case] = set()
    measured = _Measured()

    def step(done: int, text: str) -> None:
        if progress is not None:
            progress(done, 2 * steps, text)

    def remember(case: Case) -> None:
        remembered.add(case)
        step(len(remembered) - 1, f"peak memory of {case}")

    step(0, "preparing our loops")
    compiler, uncompiled = instruments.loops(options.operations, inputs)
    notes += uncompiled
    step(0, "peak memory")
    peaks, missing = instruments.peaks(options, inputs, remember)
    notes += missing
    for given in inputs:
        _measure(given, plan, options, instruments, measured, lambda text: step(steps + len(measured.times), text))
    formulas = {(i.name, o): f for i in implementations for o, f in i.formulas.items()}
    ordered = sorted(measured.times, key=lambda case: _place(case, options))
    cases = tuple(_timed_case(case, measured, formulas, peaks, compiler) for case in ordered)
    return Benchmark(
        machine=here,
        rates=tuple(measured.typical_rates().values()),
        cases=cases,
        seed=options.seed,
        libraries={name: version(name) for i in implementations for name in i.libraries},
        numba=compiler,
        finding=finding(cases),
        command=command,
        notes=tuple(notes),
    )


def _measure(
    given: Input,
    plan: Plan,
    options: BenchOptions,
    instruments: Instruments,
    measured: _Measured,
    say: Callable[[str], None],
) -> None:
    """Time and judge everything on one input, and measure the rates of the machine by number of threads."""
    say(f"generating {given}")
    x, y = given.generated(options.seed)
    clock, judged = instruments.clock, instruments.judge(x, y)
    measured.judged_rows[given] = len(judged.rows)
    for threads in dict.fromkeys(threads for threads, _ in plan):
        with machine.on_cores(threads):
            say(f"rates of the machine, {counted(threads, 'thread')}")
            measured.rates.setdefault(threads, []).append(instruments.rates(threads, clock))
            for operation in (o for count, o in plan if count == threads):
                case = Case(operation, given, threads)
                say(str(case))
                with contextlib.ExitStack() as stack:
                    for implementation in plan[threads, operation]:
                        stack.enter_context(implementation.running(threads))
                    calls = {i.name: i.call(operation, x, y, threads) for i in plan[threads, operation]}
                    measured.times[case] = in_turns(calls, options.repeat, clock)
                    for i in plan[threads, operation] if len(judged.rows) else ():
                        result = i.back(i.call_by_row(operation, x, y, threads)())
                        measured.accuracies[case, i.name] = judged.accuracy(operation, result)


def _place(case: Case, options: BenchOptions) -> tuple[int, int, int, int]:
    """Where a case stands among the results: by operation, dtype, threads and shape as they were asked for."""
    return (
        options.operations.index(case.operation),
        options.dtypes.index(case.input.dtype),
        case.threads,
        options.shapes.index(case.input.shape),
    )


def _typical(rates: list[Rates]) -> Rates:
    """Median rates over the run."""
    read, copied = (float(np.median([getattr(r, f"{name}_bytes_per_s") for r in rates])) for name in ("read", "copy"))
    return Rates(rates[0].threads, read, copied)


def _timed_case(
    case: Case,
    measured: _Measured,
    formulas: Mapping[tuple[str, Operation], str],
    peaks: Peaks,
    compiler: LoopCompiler | None,
) -> TimedCase:
    """Put the times of a case beside ours and beside the limit."""
    rows, classes = case.input.shape
    logits = rows * classes
    rates = measured.typical_rates()[case.threads]
    # What gives a number for each logit writes as many bytes as it reads.
    bound, rate = ("read", rates.read_bytes_per_s) if case.operation.per_row else ("copy", rates.copy_bytes_per_s)
    limit_s = logits * np.dtype(case.input.dtype.value).itemsize / rate
    times = measured.times[case]
    ours = float(np.median(next(iter(times.values()))))
    return TimedCase(
        operation=case.operation.name,
        dtype=case.input.dtype.value,
        threads=case.threads,
        rows=rows,
        classes=classes,
        loops=loops_of(case.input.shape, compiler),
        judged_rows=measured.judged_rows[case.input],
        bound=bound,
        limit_s=limit_s,
        limit_share=limit_s / ours,
        timings=tuple(
            _timing(
                *(name, formulas[name, case.operation], spent, ours, logits),
                *(peaks.get((case, name)), measured.accuracies.get((case, name))),
            )
            for name, spent in times.items()
        ),
    )


def _timing(
    name: str,
    formula: str,
    spent: list[float],
    ours_s: float,
    logits: int,
    peak: int | None,
    accuracy: Accuracy | None,
) -> Timing:
    low, median, high = (float(q) for q in np.quantile(spent, (0.25, 0.5, 0.75)))
    return Timing(
        implementation=name,
        formula=formula,
        calls=len(spent),
        median_s=median,
        lower_quartile_s=low,
        upper_quartile_s=high,
        fastest_s=min(spent),
        slowest_s=max(spent),
        ratio=median / ours_s,
        logits_per_s=logits / median,
        peak_bytes=peak,
        error_ulp=accuracy.error_ulp if accuracy else None,
        correctly_rounded_share=accuracy.correctly_rounded_share if accuracy else None,
    )
