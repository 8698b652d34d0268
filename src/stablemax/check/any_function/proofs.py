"""Verdicts on the inputs of any function: each is asked for once, and in few messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from stablemax.numerics.formats import Format

if TYPE_CHECKING:
    from stablemax.check.any_function.candidates import Inputs
    from stablemax.check.any_function.judged_input import HeldTo, JudgedInput
    from stablemax.check.any_function.written_target import WrittenTarget
    from stablemax.check.target.messages import TraceOptions
    from stablemax.results import Trace

_MOST_AT_ONCE, _AT_ONCE_S = 32, 1.0
"""What a message asks for has to be answered within the time for one call."""

Answer = TypeVar("Answer")


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
        for batch, judged in self._answers(list(new.values()), self._judge):
            self.known.update(zip(map(_key, batch), judged, strict=True))
        return [self.known[key] for key in keys]

    def first_like(self, inputs: Sequence[Inputs], model: JudgedInput) -> Inputs | None:
        """Return the first input that breaks the function as another did; None where none does."""
        for batch, judged in self._answers(inputs, self.of):
            for one, verdict in zip(batch, judged, strict=True):
                if verdict.is_broken_like(model):
                    return one
        return None

    def suspicions(self, inputs: Sequence[Inputs]) -> list[float]:
        """Tell how much the results look like faults, without any proof."""
        return [float(s) for _, found in self._answers(inputs, self._suspect) for s in found]

    def _judge(self, inputs: Sequence[Inputs]) -> list[JudgedInput]:
        return self.function.judge_each([self.whole(one) for one in inputs], self.held_to)

    def _suspect(self, inputs: Sequence[Inputs]) -> list[float]:
        return self.function.suspect([self.whole(one) for one in inputs])

    def _answers(
        self, inputs: Sequence[Inputs], ask: Callable[[Sequence[Inputs]], list[Answer]]
    ) -> Iterator[tuple[Sequence[Inputs], list[Answer]]]:
        """Ask about inputs in parts: one first, then as many as are answered within a second."""
        start, step = 0, 1
        while start < len(inputs):
            batch, began = inputs[start : start + step], time.monotonic()
            yield batch, ask(batch)
            start += len(batch)
            pace_s = (time.monotonic() - began) / len(batch)
            step = max(1, min(2 * step, _MOST_AT_ONCE, int(_AT_ONCE_S / max(pace_s, 1e-6))))

    def whole(self, inputs: Inputs) -> Inputs:
        """Return the arrays of an input with those that are fixed."""
        return {**self.fixed, **inputs}


def _key(inputs: Inputs) -> tuple[object, ...]:
    return tuple((name, array.shape, array.tobytes()) for name, array in inputs.items())
