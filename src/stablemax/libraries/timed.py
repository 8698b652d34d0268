"""What is timed of a library: plain calls on its own arrays, converted before the clock starts."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from stablemax.libraries import LIBRARIES, built_ins, is_installed, peers, require
from stablemax.libraries.declaration import Arrays, Given
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation
from stablemax.operations.variant import Variant
from stablemax.text.errors import StablemaxError


class Implementation(Protocol):
    """One library's way of computing operations."""

    @property
    def name(self) -> str:
        """``stablemax``, ``numpy`` or the library."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Names of the libraries whose versions the times depend on."""

    @property
    def formulas(self) -> Mapping[Operation, str]:
        """What is called, by operation; an operation that the library lacks is left out."""

    @property
    def needs_affinity(self) -> bool:
        """True where only the cores of the process bound the threads, for there is no setting."""

    def running(self, threads: int) -> contextlib.AbstractContextManager[None]:
        """Bound the threads, and set up what a computation needs."""

    def call(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:
        """Convert logits (N, K) and labels (N,), and return what is timed: it ends when the result is there."""

    def call_by_row(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:
        """Return what `call` does, but with the loss of each row where that gives their mean."""

    def back(self, result: Any) -> Array:
        """Copy a result to NumPy."""


class Timing(NamedTuple):
    """How a library's built-ins are timed on its own arrays."""

    put: Callable[[Array], Any]  #: brings an array to the library before the clock starts
    running: Callable[[int], contextlib.AbstractContextManager[None]]  #: bounds the threads, and sets up what it needs
    finish: Callable[[Any], Any] = lambda result: result  #: waits for a result
    needs_affinity: bool = False


@dataclass(frozen=True)
class TimedBuiltIns:
    """The built-ins of a library, timed; a loss is timed as the library's own mean."""

    name: str
    libraries: tuple[str, ...]
    timing: Timing
    declared: Mapping[Operation, Variant]

    @property
    def formulas(self) -> Mapping[Operation, str]:
        """What is called, by operation."""
        return {operation: v.formula for operation, v in self.declared.items()}

    @property
    def needs_affinity(self) -> bool:
        """True where only the cores of the process bound the threads."""
        return self.timing.needs_affinity

    def running(self, threads: int) -> contextlib.AbstractContextManager[None]:
        """Bound the threads, and set up what a computation needs."""
        return self.timing.running(threads)

    def call(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:  # noqa: ARG002
        """Bring the arrays to the library, and return the call of its function alone."""
        declared = self.declared[operation]
        return self._calling(declared.mean or declared.function, operation, x, y)

    def call_by_row(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:  # noqa: ARG002
        """Return the call of the function that gives the loss of each row."""
        return self._calling(self.declared[operation].function, operation, x, y)

    def _calling(self, adapter: Any, operation: Operation, x: Array, y: Array) -> Callable[[], Any]:
        put, finish = self.timing.put, self.timing.finish
        # What the decorator of the built-in wraps works on the library's own arrays.
        function = adapter.__wrapped__
        arguments = (put(x), Given(put(y))) if operation.needs_targets else (put(x),)
        return lambda: finish(function(*arguments))

    def back(self, result: Any) -> Array:
        """Copy a result to NumPy."""
        arrays: Arrays = importlib.import_module(LIBRARIES[self.name].module).ARRAYS
        return arrays.back(result)


def timed(chosen: Iterable[str]) -> tuple[tuple[Implementation, ...], tuple[str, ...]]:
    """Gather the libraries that are timed, in the order of `libraries.peers`, and say which were left out, and why.

    ``all`` stands for those that are installed.

    >>> timed(())
    ((), ())
    """
    asked = tuple(chosen)
    gathered: list[Implementation] = []
    notes: list[str] = []
    for peer, libraries in peers().items():
        install = LIBRARIES[peer].install
        if peer in asked:
            require(peer)
        elif "all" not in asked:
            continue
        elif not is_installed(peer):
            notes.append(f"{peer} is not installed and left out; {install}")
            continue
        names = tuple(library.name for library in libraries)
        missing = [name for name in names if not is_installed(name)]
        if missing:
            # JAX has no cross-entropy of its own: what its users call is optax's.
            why = f"{peer} is timed with {missing[0]}, which is not installed"
            if peer in asked:
                raise StablemaxError(why, install)
            notes.append(f"{why}: left out; {install}")
            continue
        timing = getattr(importlib.import_module(LIBRARIES[peer].module), "TIMING", None)
        if timing is None:
            notes.append(f"{peer} does not say how it is timed, and is left out")
            continue
        declared = {v.operation: v for name in names for v in built_ins(name) if v.operation.timed}
        gathered.append(TimedBuiltIns(peer, names, timing, declared))
    return tuple(gathered), tuple(notes)
