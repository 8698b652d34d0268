"""Times, memory and errors of implementations side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """What one implementation took for one case."""

    #: `stablemax`, `numpy` or a peer
    implementation: str
    formula: str
    #: How many calls the times are of
    calls: int
    #: Times of a call in seconds
    median_s: float
    lower_quartile_s: float
    upper_quartile_s: float
    fastest_s: float
    slowest_s: float
    #: The median over ours: 2 takes twice as long, 1 is ours itself
    ratio: float
    #: Logits over the median
    logits_per_s: float
    #: Peak resident memory of a call beyond what was there before it, its output included; None where the system does
    #: not tell
    peak_bytes: int | None
    #: Largest error in the judged rows, in ulps of the format that the result is in: inf where a result is NaN or
    #: infinite; None where no row was judged
    error_ulp: float | None
    #: Share of the cells of the judged rows that are correctly rounded; None where no row was judged
    correctly_rounded_share: float | None

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, over the median."""
        return (self.upper_quartile_s - self.lower_quartile_s) / 2 / self.median_s


@dataclass(frozen=True)
class TimedCase:
    """One operation on one input."""

    #: What was computed, and in what the logits were held
    operation: str
    dtype: str
    #: How many threads, and cores, there were
    threads: int
    #: Shape of the logits
    rows: int
    classes: int
    #: What runs our loops: `Numba` or `NumPy`
    loops: str
    #: How many rows of each result were judged against exact values; 0 where the rows are too long for that
    judged_rows: int
    #: What sets the limit: `read` where a row gives one number, else `copy`
    bound: str
    #: The least time that the machine allows, in seconds
    limit_s: float
    #: The limit over our median: 1 is the limit itself
    limit_share: float
    #: Ours first
    timings: tuple[Timing, ...]


@dataclass(frozen=True)
class Rates:
    """What the machine can do with a number of threads."""

    threads: int
    #: Bytes read in a second, from memory that no cache holds
    read_bytes_per_s: float
    #: Bytes copied in a second, from memory to memory: each is read and written
    copy_bytes_per_s: float


@dataclass(frozen=True)
class Machine:
    """Where it ran."""

    #: As the system names them
    processor: str
    system: str
    #: Those that this process may use
    cores: int
    #: Memory that was free; None where the system does not tell
    available_bytes: int | None
    #: Of the processor, as the system tells them
    vector_extensions: tuple[str, ...]
    #: The extension that each loop of NumPy's runs by, which its build, the processor and the environment decide
    numpy_loops: Mapping[str, str]


@dataclass(frozen=True)
class LoopCompiler:
    """Numba, where it compiles our loops."""

    version: str
    #: The processor that it compiles for, as LLVM names it
    processor: str


@dataclass(frozen=True)
class Benchmark:
    """What `bench` returns."""

    machine: Machine
    #: Measured in this run, by number of threads
    rates: tuple[Rates, ...]
    #: By operation, dtype, threads and shape
    cases: tuple[TimedCase, ...]
    #: Of the logits
    seed: int
    #: Versions of the libraries that took part
    libraries: Mapping[str, str]
    #: None where NumPy runs all our loops
    numba: LoopCompiler | None
    finding: str
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
