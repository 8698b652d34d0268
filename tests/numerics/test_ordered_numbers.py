"""The numbers of a format in their order: nothing lies between two neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64, FORMATS, Format, get_format
from stablemax.numerics.ordered_numbers import FormatNumbers, WholeNumbers, shortest

BY_NAME = pytest.mark.parametrize("name", [*FORMATS, "e5m10", "e3m2fn"])


@pytest.mark.parametrize("fmt", [FLOAT16, FLOAT32, FLOAT64], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 1.5, 0.1, 65504.0, 6e-8, -6e-5])
def test_the_next_rank_is_the_next_number_of_numpy(fmt: Format, value: float) -> None:
    numbers, number = FormatNumbers(fmt), fmt.dtype.type(value)
    for step, end in ((1, math.inf), (-1, -math.inf)):
        with np.errstate(over="ignore"):
            neighbour = float(np.nextafter(number, fmt.dtype.type(end)))
        if math.isfinite(neighbour):
            assert numbers.number(numbers.rank(float(number)) + step) == neighbour


@BY_NAME
def test_every_number_is_at_its_rank_and_ranks_have_no_gaps(name: str) -> None:
    fmt = get_format(name)
    numbers = FormatNumbers(fmt)
    last = numbers.rank(fmt.max)
    ranks = {*range(min(last, 300)), last - 1, last, numbers.rank(fmt.smallest_normal)}
    for rank in (*ranks, *(-rank for rank in ranks)):
        number = numbers.number(rank)
        assert numbers.rank(number) == rank
        assert numbers.nearest(number) == number
    assert numbers.number(last) == fmt.max


@BY_NAME
def test_what_a_format_cannot_hold_stands_right_after_its_largest_number(name: str) -> None:
    fmt = get_format(name)
    numbers = FormatNumbers(fmt)
    if fmt is FLOAT64:
        assert numbers.rank(math.inf) == numbers.rank(fmt.max)
        return
    beyond = numbers.number(numbers.rank(fmt.max) + 1)
    assert fmt.lacks(beyond)
    assert numbers.rank(2.0 * beyond) == numbers.rank(beyond)
    assert numbers.nearest(2.0 * beyond) == 2.0 * beyond


@BY_NAME
def test_the_shortest_decimal_reads_back(name: str) -> None:
    fmt = get_format(name)
    numbers = FormatNumbers(fmt)
    for value in (fmt.max, fmt.smallest_normal, fmt.smallest_subnormal, *(x for x in (0.3, 11.09375) if x < fmt.max)):
        number = numbers.nearest(value)
        assert float(fmt.round(float(shortest(number, fmt)))) == number


def test_whole_numbers_are_their_own_ranks() -> None:
    numbers = WholeNumbers()
    assert (numbers.nearest(2.6), numbers.rank(3), numbers.number(3)) == (3, 3, 3)
