"""What a seeded bug is: code with one thing wrong, that runs in a number format as a variant does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import BFLOAT16, FLOAT16, Array, Format

BugFunction = Callable[[Array, Any, Arithmetic], Array]


@dataclass(frozen=True)
class SeededBug:
    """Code with one thing wrong."""

    name: str
    #: What is wrong, as a sentence goes on: "its sum leaves out the last class".
    words: str
    #: ``(x, second, xp)`` to the result, (N, K) or (N, 1).
    function: BugFunction


@dataclass(frozen=True)
class BugsOfOperation:
    """The seeded bugs of an operation."""

    #: Its name.
    operation: str
    #: Its result from a part of its formula that may have a bug: ``(part, x, second, xp)``.
    from_part: Callable[..., Array]
    #: Bugs that no other operation has.
    own: tuple[SeededBug, ...]

    def all(self, parts: Iterable[tuple[str, str, Any]]) -> Iterator[SeededBug]:
        """Yield those of wrong parts, each with a name and words, and its own."""
        for name, words, part in parts:
            yield SeededBug(name, words, partial(self.from_part, part))
        yield from self.own


def bugs_of(operation: str, table: Iterable[BugsOfOperation], parts: Iterable[tuple[str, str, Any]]) -> list[SeededBug]:
    """Return the bugs that a table has of an operation; none of one that it lacks."""
    return [bug for one in table if one.operation == operation for bug in one.all(parts)]


def narrower_than(fmt: Format) -> list[Format]:
    """Return the half formats in which an intermediate result loses digits that a format has."""
    return [half for half in (FLOAT16, BFLOAT16) if half.precision < fmt.precision]


def rounded_to(narrow: Format, x: Array, xp: Arithmetic) -> Array:
    """Round an array to a narrower format, and take it back."""
    return xp.array(narrow.cast(x.astype("float64")).astype("float64"))
