"""A breaking input made smaller as long as it breaks the function in the same way: fewer numbers, then simpler ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.check.any_function.candidates import Inputs, within
from stablemax.check.any_function.input_ranges import RangedArgument
from stablemax.numerics.formats import Array, Format

if TYPE_CHECKING:
    from stablemax.check.any_function.judged_input import JudgedInput
    from stablemax.check.any_function.proofs import Proofs

_MOST_SINGLE = 12
"""Longer axes are halved; of shorter ones each place is tried alone."""
_MOST_SIMPLIFIED = 64
"""Numbers of larger inputs are not made simpler one by one."""
_MOST_STEPS = 60
_DIGITS = (1, 2, 3, 4, 5, 6)

_Axis = tuple[str, int]
_Step = Callable[[Inputs], Iterator[list[Inputs]]]


@dataclass(frozen=True, eq=False)
class Shrinking:
    """A breaking input on its way to a small one."""

    proofs: Proofs
    ranges: Sequence[RangedArgument]
    #: What became of the input that it began with.
    model: JudgedInput

    def smallest(self, inputs: Inputs) -> Inputs:
        """Shrink an input; each step is proved to break the function as the first did."""
        inputs = self._followed(inputs, self._fewer_numbers)
        return self._followed(inputs, self._simpler_numbers)

    def _followed(self, inputs: Inputs, steps: _Step) -> Inputs:
        """Take steps as long as one of them keeps the failure."""
        for _ in range(_MOST_STEPS):
            for candidates in steps(inputs):
                found = self.proofs.first_like(candidates, self.model)
                if found is not None:
                    inputs = found
                    break
            else:
                break
        return inputs

    def _fewer_numbers(self, inputs: Inputs) -> Iterator[list[Inputs]]:
        """Yield for each group of axes of one length the same input with fewer places along them."""
        for axes in _linked_axes(inputs):
            name, axis = axes[0]
            yield [_taken(inputs, axes, kept) for kept in _kept_places(inputs[name].shape[axis])]

    def _simpler_numbers(self, inputs: Inputs) -> Iterator[list[Inputs]]:
        """Yield the same input with all numbers, or one of them, made simpler."""
        fmt = self.proofs.format
        yield [
            rounded
            for digits in _DIGITS
            if (rounded := {n: fmt.cast(_rounded(a, digits)) for n, a in inputs.items()})
            and self._is_simpler(rounded, inputs)
        ]
        if sum(array.size for array in inputs.values()) > _MOST_SIMPLIFIED:
            return
        for name, array in inputs.items():
            for place in np.ndindex(array.shape):
                yield self._with_simpler_number(inputs, name, place)

    def _with_simpler_number(self, inputs: Inputs, name: str, place: tuple[int, ...]) -> list[Inputs]:
        number = float(inputs[name][place])
        simpler: list[Inputs] = []
        for value in (0.0, 1.0, -1.0, *(float(_rounded(np.array(number), digits)) for digits in _DIGITS)):
            changed = inputs[name].copy()
            changed[place] = self.proofs.format.cast(np.array(value))
            candidate = {**inputs, name: changed}
            if self._is_simpler(candidate, inputs):
                simpler.append(candidate)
        return simpler

    def _is_simpler(self, candidate: Inputs, inputs: Inputs) -> bool:
        """True for an input of the ranges whose numbers take fewer digits in all, and are no new subnormal ones."""
        fmt = self.proofs.format
        if _subnormals(candidate, fmt) > _subnormals(inputs, fmt):
            return False
        is_inside = all(within(candidate[one.name], one, fmt) for one in self.ranges)
        return is_inside and _complexity(candidate) < _complexity(inputs)


def _linked_axes(inputs: Inputs) -> Iterator[list[_Axis]]:
    """Yield the axes of one length together, then each alone: rows of one argument may be those of another."""
    lengths: dict[int, list[_Axis]] = {}
    for name, array in inputs.items():
        for axis, length in enumerate(array.shape):
            if length > 1:
                lengths.setdefault(length, []).append((name, axis))
    for _, axes in sorted(lengths.items(), reverse=True):
        yield axes
        if len(axes) > 1:
            yield from ([one] for one in axes)


def _kept_places(length: int) -> list[list[int]]:
    """Return which places of an axis may be kept, the fewest first.

    >>> _kept_places(3)
    [[0], [1], [2], [1, 2], [0, 2], [0, 1]]
    """
    whole = list(range(length))
    if length > _MOST_SINGLE:
        return [[0], whole[: length // 2], whole[length // 2 :]]
    without_one = [[i for i in whole if i != left_out] for left_out in whole] if length > 2 else []
    return [*([i] for i in whole), *without_one]


def _taken(inputs: Inputs, axes: Sequence[_Axis], kept: list[int]) -> Inputs:
    taken = dict(inputs)
    for name, axis in axes:
        taken[name] = np.take(taken[name], kept, axis=axis)
    return taken


def _rounded(array: Array, digits: int) -> Array:
    """Round numbers to some decimal digits."""
    wide = array.astype(np.float64)
    return np.array([float(f"{v:.{digits - 1}e}") for v in wide.ravel()]).reshape(wide.shape)


def _subnormals(inputs: Inputs, fmt: Format) -> int:
    sizes = (np.abs(array.astype(np.float64)) for array in inputs.values())
    return sum(int(((size > 0) & (size < fmt.smallest_normal)).sum()) for size in sizes)


def _complexity(inputs: Inputs) -> int:
    return sum(_digits(v) for array in inputs.values() for v in array.ravel())


def _digits(number: object) -> int:
    """Count what makes a number long to read: 0 for 0, 1 for 1, more for digits and a sign.

    >>> _digits(np.float32(0)), _digits(np.float32(1)), _digits(np.float32(-2.5)), _digits(np.float32(1e-8))
    (0, 1, 5, 4)
    """
    text = str(number)
    if float(text) in (0.0, 1.0):
        return int(float(text))
    mantissa, _, exponent = text.lstrip("-").partition("e")
    return 2 + len(mantissa.replace(".", "").strip("0")) + text.startswith("-") + bool(exponent)
