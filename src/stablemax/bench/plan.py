"""What is timed: inputs that fit into memory, implementations that compute an operation, and the logits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stablemax.bench import machine
from stablemax.bench.bench_words import DEFAULT_SHAPES, Shape, TimedDtype, TimedPeer, timed_operations
from stablemax.bench.implementations import ours, whole_array_numpy
from stablemax.libraries.timed import Implementation, timed
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.ranges import check_range
from stablemax.text.words import counted

ARRAYS_HELD = 8
"""Arrays of the logits' size that are held at once: the logits, JAX's copy, and SciPy's logsumexp takes over five."""

_DEVIATION = 4.0  # of the logits: about what language models give
_CELLS_PER_DRAW = 1 << 22

Plan = dict[tuple[int, Operation], tuple["Implementation", ...]]
"""What is timed with a number of threads, by operation: ours and at least one other."""


class Input(NamedTuple):
    """Logits."""

    shape: Shape
    dtype: TimedDtype

    def __str__(self) -> str:
        return f"{self.shape} in {self.dtype}"

    def generated(self, seed: int) -> tuple[Array, Array]:
        """Draw normal logits in float64 and round them once: the same numbers in every dtype."""
        rng = np.random.default_rng(seed)
        y = rng.integers(0, self.shape.classes, self.shape.rows)
        x = np.empty(self.shape, dtype=self.dtype.value)
        flat = x.reshape(-1)
        for start in range(0, flat.size, _CELLS_PER_DRAW):
            part = flat[start : start + _CELLS_PER_DRAW]
            part[:] = rng.standard_normal(part.size) * _DEVIATION
        return x, y


class Case(NamedTuple):
    """One operation on one input with a number of threads."""

    operation: Operation
    input: Input
    threads: int

    def __str__(self) -> str:
        return f"{self.operation} of {self.input}, {counted(self.threads, 'thread')}"


@dataclass(frozen=True)
class BenchOptions:
    """What to time."""

    #: Those of `timed_operations`.
    operations: tuple[Operation, ...] = field(default_factory=timed_operations)
    #: Of the logits.
    shapes: tuple[Shape, ...] = DEFAULT_SHAPES
    #: Of the logits.
    dtypes: tuple[TimedDtype, ...] = tuple(TimedDtype)
    #: Numbers of threads; one, and as many as there are cores, when empty.
    threads: tuple[int, ...] = ()
    #: What to time beside ours.
    peers: tuple[TimedPeer, ...] = (TimedPeer.ALL,)
    #: Rounds; as many as the times need when not given.
    repeat: int | None = None
    #: Of the logits and labels.
    seed: int = 0

    def __post_init__(self) -> None:
        for operation in self.operations:
            if not operation.timed:
                names = ", ".join(o.name for o in timed_operations())
                raise StablemaxError(f"{operation} is not timed", f"one or more of: {names}")
        check_range("--repeat", self.repeat, 1, math.inf, "1 or more")
        check_range("--seed", self.seed, 0, math.inf, "0 or more")

    def thread_counts(self, cores: int) -> tuple[int, ...]:
        """Return the numbers of threads, in ascending order."""
        for count in self.threads:
            if not 1 <= count <= cores:
                raise StablemaxError(f"--threads {shown(count)} is out of range", f"1 to {cores}, the cores there are")
        return tuple(sorted(set(self.threads or (1, cores))))

    def implementations(self) -> tuple[tuple[Implementation, ...], tuple[str, ...]]:
        """Return what to time, ours first and NumPy last, and notes on what is left out."""
        libraries, notes = timed(self.peers)
        plain = (whole_array_numpy(),) if {TimedPeer.NUMPY, TimedPeer.ALL} & set(self.peers) else ()
        return (ours(), *libraries, *plain), notes

    def inputs(self, available_bytes: int | None) -> tuple[list[Input], list[str]]:
        """Return the inputs that fit into memory, and notes on those that do not."""
        inputs = [Input(shape, dtype) for shape in self.shapes for dtype in self.dtypes]
        if available_bytes is None:
            return inputs, ["this system does not tell how much memory is free: shapes are not checked against it"]
        needed = {i: ARRAYS_HELD * i.shape.rows * i.shape.classes * np.dtype(i.dtype.value).itemsize for i in inputs}
        notes = [
            f"{i} is left out: with what is computed of it, it may take {count / 2**30:.3g} GiB, "
            f"and {available_bytes / 2**30:.3g} GiB are free"
            for i, count in needed.items()
            if count > available_bytes
        ]
        fitting = [i for i, count in needed.items() if count <= available_bytes]
        if not fitting:
            raise StablemaxError(notes[0], "a smaller --shape")
        return fitting, notes

    def plan(self, implementations: tuple[Implementation, ...], cores: int) -> tuple[Plan, list[str]]:
        """Choose what is timed, and say what is not."""
        plan: Plan = {}
        notes: list[str] = []
        for count in self.thread_counts(cores):
            free = [i.name for i in implementations if i.needs_affinity and not machine.HAS_AFFINITY and count < cores]
            notes += [
                f"{name} is left out with {counted(count, 'thread')}: its threads cannot be bounded on this system"
                for name in free
            ]
            for operation in self.operations:
                chosen = tuple(i for i in implementations if operation in i.formulas and i.name not in free)
                if len(chosen) > 1:
                    plan[count, operation] = chosen
                else:
                    notes.append(
                        f"{operation} is left out with {counted(count, 'thread')}: nothing to time beside ours"
                    )
        if not plan:
            raise StablemaxError(notes[0], "name another --peer, or leave it out")
        return plan, notes
