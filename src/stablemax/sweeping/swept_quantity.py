"""What a swept quantity is: a number that decides about an input, declared once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.hazards.cases import HazardCase
from stablemax.hazards.cases import rows as case_of_rows
from stablemax.numerics.formats import Array, Format
from stablemax.numerics.ordered_numbers import FormatNumbers, OrderedNumbers, WholeNumbers
from stablemax.operations.operation import Operation

Range = tuple[float, float]


def edges_of_exp(fmt: Format) -> tuple[float, ...]:
    """Return the logits at which exp leaves a format, and their neighbours, above and below 0."""
    over, under = fmt.exp_overflow, fmt.exp_underflow
    sizes = [abs(x) for x in (over.last_good, over.first_bad, under.last_good, under.first_bad)]
    return (*sizes, *(-x for x in sizes))


def _every_operation(operation: Operation) -> bool:  # noqa: ARG001 - one signature for all
    return True


@dataclass(frozen=True)
class SweptQuantity:
    """A number that is moved through its range, and the input that it makes.

    Parameters
    ----------
    name : str
        From `sweeping.NAMES`.
    meaning : str
        The input, and what the number is in it.
    noun : str
        The number in a sentence: "As the largest logit changes".
    logits : callable
        From the number to logits (N, K) in float64, before any format rounds them.
    label : int
        The label of every row.
    shown : callable
        From a format to the range of the picture.
    searched : callable
        From a format to the range that is searched for breaking points where nobody names another.
    edges : callable
        From a format to numbers near which something is bound to happen.
    limits : tuple of float
        The least and the largest number that make an input.
    is_log : bool
        True where the numbers of the picture grow by a factor.
    is_whole : bool
        True where the number is an integer; else it is a number of the format.
    is_stacked : bool
        True where all numbers make rows of one length, which are judged as one array, each row for itself.
    of_mean : bool
        True where the mean of all losses is what is judged.
    steps : int
        How many numbers the picture has.
    concerns : callable
        Tells of an operation whether it can be swept over it.
    """

    name: str
    meaning: str
    noun: str
    logits: Callable[[float], Array | Sequence[Sequence[float]]]
    label: int
    shown: Callable[[Format], Range]
    searched: Callable[[Format], Range]
    edges: Callable[[Format], tuple[float, ...]] = edges_of_exp
    limits: Range = (-1e308, 1e308)
    is_log: bool = False
    is_whole: bool = False
    is_stacked: bool = True
    of_mean: bool = False
    steps: int = 101
    concerns: Callable[[Operation], bool] = _every_operation

    def numbers(self, fmt: Format) -> OrderedNumbers:
        """Return the numbers that it may be in a format."""
        return WholeNumbers() if self.is_whole else FormatNumbers(fmt)

    def case(self, values: Sequence[float]) -> HazardCase:
        """Make the rows of some numbers, one after another."""
        arrays: list[Any] = [self.logits(value) for value in values]
        logits = np.asarray([row for array in arrays for row in array] if len(arrays) > 1 else arrays[0])
        return case_of_rows(logits, np.full(len(logits), self.label), reduced=self.of_mean)
