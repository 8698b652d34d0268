"""What a known mistake is: words for it, and what code that makes it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stablemax.check.mistakes.example import Example
from stablemax.numerics.formats import Array

Gives = Callable[[Example], Array]
Shows = Callable[[Example], Sequence[Array]]


def nothing(_: Example) -> Sequence[Array]:
    """Name no value: the line is then that of the result."""
    return ()


@dataclass(frozen=True)
class Mistake:
    """A known mistake in one operation."""

    #: In a word or two: ``axis 0``.
    kind: str
    #: What the code does, as a sentence goes on: "its sum runs over the rows ...".
    words: str
    operation: str
    #: What code with this mistake gives on an example, in exact arithmetic.
    gives: Gives
    #: Arrays that only code with this mistake computes on its way: the line that has the first of them is to blame.
    shows: Shows = nothing
