"""Verdicts on the inputs of any function: each is asked for once, and in few messages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from stablemax.numerics.formats import Format

if TYPE_CHECKING:
    from stablemax.check.any_function.candidates import Inputs
    from stablemax.check.any_function.judged_input import HeldTo, JudgedInput
    from stablemax.check.any_function.written_target import WrittenTarget
    from stablemax.check.target.messages import TraceOptions
    from stablemax.results import Trace

_NUMBERS_AT_ONCE, _MOST_AT_ONCE = 2000, 25
"""What a message asks for has to be answered within the time for one call."""


class AnyFunction(Protocol):
    """A function that is held to no operation: in this process or in one of its own."""

    def trace_any(self, options: TraceOptions, inputs: Inputs | None = None) -> Trace:
        """Trace it on an input."""

    def judge_each(self, inputs: Sequence[Inputs], held_to: HeldTo) -> list[JudgedInput]:
        """Judge its results."""

    def suspect(self, inputs: Sequence[Inputs]) -> list[float]:
        """Tell how much each result looks like a fault."""

    def written(self) -> WrittenTarget:
        """Return how Python code imports and calls it."""


@dataclass(frozen=True, eq=False)
class Proofs:
    """What exact arithmetic says of the inputs of a function in one format."""

    function: AnyFunction
    held_to: HeldTo
    format: Format
    #: Arrays of files, in the format.
    fixed: Inputs
    #: What is known so far.
    known: dict[tuple[object, ...], JudgedInput] = field(default_factory=dict)

    def of(self, inputs: Sequence[Inputs]) -> list[JudgedInput]:
        """Judge inputs, each with the arrays that are fixed."""
        keys = [_key(one) for one in inputs]
        new = {key: one for key, one in zip(keys, inputs, strict=True) if key not in self.known}
        for batch in _batches(list(new.values())):
            judged = self.function.judge_each([self.whole(one) for one in batch], self.held_to)
            self.known.update(zip(map(_key, batch), judged, strict=True))
        return [self.known[key] for key in keys]

    def first_like(self, inputs: Sequence[Inputs], model: JudgedInput) -> Inputs | None:
        """Return the first input that breaks the function as another did; None where none does."""
        for batch in _batches(inputs):
            for one, judged in zip(batch, self.of(batch), strict=True):
                if judged.is_broken_like(model):
                    return one
        return None

    def suspicions(self, inputs: Sequence[Inputs]) -> list[float]:
        """Tell how much the results look like faults, without any proof."""
        found: list[float] = []
        for batch in _batches(inputs):
            found += self.function.suspect([self.whole(one) for one in batch])
        return found

    def whole(self, inputs: Inputs) -> Inputs:
        """Return the arrays of an input with those that are fixed."""
        return {**self.fixed, **inputs}


def _key(inputs: Inputs) -> tuple[object, ...]:
    return tuple((name, array.shape, array.tobytes()) for name, array in inputs.items())


def _batches(inputs: Sequence[Inputs]) -> list[Sequence[Inputs]]:
    """Split inputs into parts that one message asks for."""
    numbers = max((sum(math.prod(a.shape) for a in one.values()) for one in inputs), default=0)
    step = max(1, min(_MOST_AT_ONCE, _NUMBERS_AT_ONCE // max(1, numbers)))
    return [inputs[start : start + step] for start in range(0, len(inputs), step)]
