"""What is timed of a library: plain calls on its own arrays, converted before the clock starts."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from stablemax.errors import StablemaxError
from stablemax.peers import PEERS, is_installed, require

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterable, Mapping

    from stablemax.formats import Array
    from stablemax.vocabulary import Operation


class Implementation(Protocol):
    """One library's way of computing operations."""

    @property
    def name(self) -> str:
        """``stablemax``, ``numpy`` or the library."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Whose versions the times depend on."""

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

    def back(self, result: Any) -> Array:
        """Copy a result to NumPy."""


def timed(peers: Iterable[str]) -> tuple[tuple[Implementation, ...], tuple[str, ...]]:
    """Gather the libraries that are timed.

    Parameters
    ----------
    peers : iterable of str
        Names of extras; ``all`` stands for those that are installed.

    Returns
    -------
    implementations : tuple of Implementation
        In the order of `PEERS`.
    notes : tuple of str
        Which libraries were left out, and why.

    Raises
    ------
    StablemaxError
        If a peer that is asked for by name is not installed.

    Examples
    --------
    >>> timed(())
    ((), ())
    """
    asked = tuple(peers)
    found: list[Implementation] = []
    notes: list[str] = []
    for peer, libraries in PEERS.items():
        if peer in asked:
            require(peer)
        elif "all" not in asked:
            continue
        elif not is_installed(peer):
            notes.append(f'{peer} is not installed and left out; pip install "stablemax[{peer}]"')
            continue
        missing = [library for library in libraries if not is_installed(library)]
        if missing:
            # JAX has no cross-entropy of its own: what its users call is optax's.
            why = f"{peer} is timed with {missing[0]}, which is not installed"
            if peer in asked:
                raise StablemaxError(why, f'pip install "stablemax[{peer}]"')
            notes.append(f'{why}: left out; pip install "stablemax[{peer}]"')
            continue
        implementation: Implementation = importlib.import_module(f"stablemax.peers.{peer}_timed").TIMED
        found.append(implementation)
    return tuple(found), tuple(notes)
