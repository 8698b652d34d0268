"""Times and memory of implementations side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Timing:
    """What one implementation took for one case.

    Parameters
    ----------
    implementation : str
        ``stablemax``, ``numpy`` or a peer.
    formula : str
        What was called.
    calls : int
        How many calls the times are of.
    median_s, lower_quartile_s, upper_quartile_s, fastest_s, slowest_s : float
        Times of a call in seconds.
    ratio : float
        The median over ours: 2 takes twice as long, 1 is ours itself.
    logits_per_s : float
        Logits over the median.
    peak_bytes : int or None
        Peak resident memory of a call beyond what was there before it, its output included; None
        where the system does not tell.
    """

    implementation: str
    formula: str
    calls: int
    median_s: float
    lower_quartile_s: float
    upper_quartile_s: float
    fastest_s: float
    slowest_s: float
    ratio: float
    logits_per_s: float
    peak_bytes: int | None

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, over the median."""
        return (self.upper_quartile_s - self.lower_quartile_s) / 2 / self.median_s


@dataclass(frozen=True)
class TimedCase:
    """One operation on one input.

    Parameters
    ----------
    operation, dtype : str
        What was computed, and in what the logits were held.
    threads : int
        How many threads, and cores, there were.
    rows, classes : int
        Shape of the logits.
    bound : str
        What sets the limit: ``exponentials`` or ``copy``.
    limit_s : float
        The least time that the machine allows, in seconds.
    limit_share : float
        The limit over our median: 1 is the limit itself.
    timings : tuple of Timing
        Ours first.
    """

    operation: str
    dtype: str
    threads: int
    rows: int
    classes: int
    bound: str
    limit_s: float
    limit_share: float
    timings: tuple[Timing, ...]


@dataclass(frozen=True)
class Rates:
    """What the machine can do with a number of threads.

    Parameters
    ----------
    threads : int
        How many.
    copy_bytes_per_s : float
        Bytes copied in a second, from memory to memory.
    exp_per_s : float
        Exponentials that NumPy takes in a second, of float64 that lie in the cache.
    """

    threads: int
    copy_bytes_per_s: float
    exp_per_s: float


@dataclass(frozen=True)
class Machine:
    """Where it ran.

    Parameters
    ----------
    processor, system : str
        As the system names them.
    cores : int
        Those that this process may use.
    available_bytes : int or None
        Memory that was free; None where the system does not tell.
    """

    processor: str
    system: str
    cores: int
    available_bytes: int | None


@dataclass(frozen=True)
class Benchmark:
    """What `bench` returns.

    Parameters
    ----------
    machine : Machine
        Where it ran.
    rates : tuple of Rates
        Measured in this run, by number of threads.
    cases : tuple of TimedCase
        By operation, dtype, threads and shape.
    seed : int
        Of the logits.
    libraries : mapping of str to str
        Versions of the libraries that took part.
    finding : str
        The result in a sentence.
    command : tuple of str
        The command that reproduces it.
    notes : tuple of str
        What a reader should know.
    """

    machine: Machine
    rates: tuple[Rates, ...]
    cases: tuple[TimedCase, ...]
    seed: int
    libraries: Mapping[str, str]
    finding: str
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
