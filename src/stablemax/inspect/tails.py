"""What becomes of a row's small exponentials in formats that reach less far down than float64.

A row's few numbers tell what the large exponentials do. Where thousands of small ones add up to
something that counts, it matters how many of them underflow, and a second look at the row's
exponentials, which lie in the cache, tells: only for rows and formats where it can matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.inspect.row_numbers import OfRows, RowNumbers
from stablemax.numerics.formats import Array, Format, get_format

MARGIN = 1.0
"""How far from a threshold, in logits, a row is looked at again; wide enough for the rounding of logits that
are near exp's thresholds in any format."""
CELLS_AT_A_TIME = 1 << 16
"""Exponentials that are rounded at once, so that what is read again and again stays in the nearest cache."""
NEAR = 2.0
"""A second exponential of more than this many u is never absorbed by the first, and odds of fewer than u
over this always are."""


@dataclass(frozen=True, eq=False)
class Tails(OfRows):
    """What becomes of the small exponentials of N rows in F formats, in arrays (F, N)."""

    #: The share of the row's odds that is left when each exp(x - m), or each exp(x), is rounded to the format's
    #: grid of subnormal numbers; NaN where there was no reason to look.
    shifted: Array
    naive: Array
    dropped: Array  #: Classes whose exp(x) underflows though their probability is a normal number of the format.


@dataclass(frozen=True, eq=False)
class SecondLook:
    """The rows that need another look in one format."""

    format: Format
    format_index: int
    #: The rows in question for each attribute of `Tails`.
    shifted: Array
    naive: Array
    dropped: Array
    lowest: Array  #: For each of the rows `dropped`, the logit from which on its probability is normal.


def second_looks(numbers: RowNumbers, classes: int, formats: Sequence[str]) -> list[SecondLook]:
    """Find the rows that need a second look in each of the formats."""
    gap, spread = numbers.top - numbers.second, numbers.top - numbers.low
    # fmin leaves out rows with a NaN.
    least, low = (float(np.fmin.reduce(n, initial=math.inf)) for n in (numbers.logsumexp, numbers.low))
    looks = []
    for format_index, name in enumerate(formats):
        fmt = get_format(name)
        underflow = fmt.exp_underflow.real
        shifted = naive = dropped = np.empty(0, np.int64)
        # Together, so many classes can add up to something that changes a sum of 1, even where each underflows.
        unheard = classes * fmt.smallest_subnormal / 2
        if unheard > fmt.u / NEAR:
            near = (gap > -math.log(NEAR * fmt.u)) & (numbers.odds > fmt.u / NEAR)
            shifted = np.flatnonzero(near & (spread > -underflow - MARGIN))
            # In the naive formula they are smaller by exp(m) before they underflow.
            loud = (numbers.top > underflow - MARGIN) & (numbers.top < math.log(unheard * NEAR / fmt.u))
            naive = np.flatnonzero(near & loud & (numbers.low < underflow + MARGIN))
        lowest = math.log(fmt.smallest_normal)
        if least + lowest < underflow and low < underflow + MARGIN:
            dropped = np.flatnonzero((numbers.logsumexp + lowest < underflow) & (numbers.low < underflow + MARGIN))
        if len(shifted) or len(naive) or len(dropped):
            looks.append(SecondLook(fmt, format_index, shifted, naive, dropped, numbers.logsumexp[dropped] + lowest))
    return looks


def tails_of(
    looks: Sequence[SecondLook],
    numbers: RowNumbers,
    formats: int,
    pieces: Callable[[], Iterable[tuple[Array, Array]]],
    workspace: Workspace,
) -> Tails:
    """Take the second look; the workspace's buffer "errors" is used.

    `pieces` gives the logits (N, n), and ``exp(x - m)`` with 0 at the maximum, piece by piece along the classes.
    """
    shape = (formats, len(numbers))
    tails = Tails(np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, np.int64))
    if not looks:
        return tails
    for look in looks:
        tails.shifted[look.format_index, look.shifted] = tails.naive[look.format_index, look.naive] = 0.0
    for x, e in pieces():
        for look in looks:
            format_index, fmt = look.format_index, look.format
            step = np.full(len(look.shifted), fmt.smallest_subnormal)
            tails.shifted[format_index, look.shifted] += _on_grid(e, look.shifted, step, workspace)
            step = fmt.smallest_subnormal * np.exp(-numbers.top[look.naive])
            tails.naive[format_index, look.naive] += _on_grid(e, look.naive, step, workspace)
            if len(look.dropped):
                logits = x[look.dropped]
                between = (logits > look.lowest[:, None]) & (logits < underflow_edge(fmt))
                tails.dropped[format_index, look.dropped] += np.count_nonzero(between, axis=1)
    for look in looks:
        tails.shifted[look.format_index, look.shifted] /= numbers.odds[look.shifted]
        tails.naive[look.format_index, look.naive] /= numbers.odds[look.naive]
    return tails


def underflow_edge(fmt: Format) -> float:
    """Return the number below which a logit, rounded to the format, has an exp that underflows."""
    return (fmt.exp_underflow.first_bad + fmt.exp_underflow.last_good) / 2


def _on_grid(e: Array, rows: Array, step: Array, workspace: Workspace) -> Array:
    """Sum the exponentials of rows (n,), each rounded to a multiple of the row's step."""
    total = np.empty(len(rows))
    rows_at_a_time = max(1, CELLS_AT_A_TIME // e.shape[1])
    for start in range(0, len(rows), rows_at_a_time):
        block = slice(start, start + rows_at_a_time)
        buffer = workspace.take("errors", (len(rows[block]), e.shape[1]))
        # Without a mode, take() copies once more.
        counts = np.take(e, rows[block], axis=0, out=buffer, mode="clip")
        counts *= (1.0 / step[block])[:, None]
        np.rint(counts, out=counts)
        np.add.reduce(counts, axis=1, out=total[block])
    return total * step
