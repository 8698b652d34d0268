"""The quantities that can be swept, one record for each."""

from __future__ import annotations

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.sweeping.swept_quantity import Range, SweptQuantity, edges_of_exp
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.registry import Registry
from stablemax.text.suggest import suggest

_HOT = 10.0
"""Largest logit of the row whose temperature is swept."""
_LOSS = 7.0
"""Logit by which the label of each row is missed where rows are swept: its loss is a little more."""
_MOST_TERMS = 1 << 17
_MOST = 1 << 20


def _around_exp(fmt: Format) -> Range:
    """Reach twice as far as exp does, to both sides."""
    reach = 2.0 * min(fmt.exp_overflow.real, fmt.max / 2.0)
    return -reach, reach


def _whole_format(fmt: Format) -> Range:
    return -fmt.max, fmt.max


def _terms(_: Format) -> Range:
    return 1, _MOST_TERMS


def _largest_number(fmt: Format) -> tuple[float, ...]:
    """Return the counts around which a count leaves the format."""
    rounded_up = fmt.max + float(fmt.ulp(fmt.max)) / 2.0
    return tuple(float(count) for count in (fmt.max, fmt.max + 1, rounded_up - 1, rounded_up) if 1 <= count < _MOST)


def _alike(count: float) -> Array:
    return np.zeros((1, int(count)))


def _missed(count: float) -> Array:
    return np.broadcast_to(np.array([_LOSS, 0.0]), (int(count), 2))


def _reduces(operation: Operation) -> bool:
    return operation.reduces and not operation.cellwise


_ALL = (
    SweptQuantity(
        "scale",
        "the row (s, 0, -s), label 2; the number is s",
        "largest logit",
        logits=lambda s: [[s, 0.0, -s]],
        label=2,
        shown=lambda _: (1.0, 1e5),
        searched=lambda fmt: (1.0, fmt.max),
        limits=(0.0, 1e308),
        is_log=True,
    ),
    SweptQuantity(
        "offset",
        "three equal logits (c, c, c), label 0; the offset is c",
        "offset",
        logits=lambda c: [[c, c, c]],
        label=0,
        shown=_around_exp,
        searched=_whole_format,
    ),
    SweptQuantity(
        "gap",
        "two classes (0, gap), label 0, whose loss is log(1 + e**gap)",
        "gap",
        logits=lambda gap: [[0.0, gap]],
        label=0,
        shown=_around_exp,
        searched=_whole_format,
    ),
    SweptQuantity(
        "classes",
        "K equal logits of 0, label 0; the number is K",
        "number of classes",
        logits=_alike,
        label=0,
        shown=_terms,
        searched=_terms,
        edges=_largest_number,
        limits=(1, _MOST),
        is_log=True,
        is_whole=True,
        is_stacked=False,
        steps=18,
    ),
    SweptQuantity(
        "temperature",
        "the row (10, 0, -10) / T, label 2, divided before it is rounded to the format; the number is T",
        "temperature",
        logits=lambda t: [[_HOT / t, 0.0, -_HOT / t]],
        label=2,
        shown=lambda _: (1e-3, 10.0),
        searched=lambda fmt: (2.0 * _HOT / fmt.max, 10.0),
        edges=lambda fmt: tuple(_HOT / x for x in edges_of_exp(fmt) if x > 0),
        limits=(2.0 * _HOT / 1e308, 1e308),
        is_log=True,
    ),
    SweptQuantity(
        "rows",
        "N equal rows (7, 0), label 1; the number is N, and the mean of the losses is judged",
        "number of rows",
        logits=_missed,
        label=1,
        shown=_terms,
        searched=_terms,
        edges=lambda fmt: tuple(x / _LOSS for x in _largest_number(fmt) if x >= _LOSS),
        limits=(1, _MOST),
        is_log=True,
        is_whole=True,
        is_stacked=False,
        of_mean=True,
        steps=18,
        concerns=_reduces,
    ),
)
QUANTITIES: Registry[SweptQuantity] = Registry(SweptQuantity, _ALL)
"""Every swept quantity by its name."""


def quantity_named(name: str) -> SweptQuantity:
    """Look a swept quantity up by its name.

    >>> quantity_named("gap").case([2.0]).logits.tolist()
    [[0.0, 2.0]]
    """
    if name in QUANTITIES:
        return QUANTITIES[name]
    raise StablemaxError(
        f"--over: there is nothing called {shown(name)!r} to sweep",
        suggest(name, QUANTITIES, f"one of: {', '.join(QUANTITIES)}"),
    )
