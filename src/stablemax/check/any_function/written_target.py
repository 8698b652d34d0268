"""How Python code imports any function, and calls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stablemax.numerics.formats import Array


@dataclass(frozen=True, eq=False)
class WrittenTarget:
    """What a test to paste needs to know of a function."""

    backend: str
    #: The module or file that it is imported from; empty where nothing can import it.
    module: str
    #: How it is written there: ``norm``, ``Model().encode``.
    expression: str
    #: Names of the arguments that are passed by position, in their order.
    by_position: tuple[str, ...]
    #: Arguments that are no arrays, as Python has them.
    constants: Mapping[str, str]
    #: Arrays that are passed where no others are chosen: files, and draws of the ranges.
    arrays: Mapping[str, Array]
    #: Where its object is made of random numbers: where these begin.
    seed: int | None = None
