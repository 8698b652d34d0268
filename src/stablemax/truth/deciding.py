"""Which number of a format is nearest to an enclosed value, where that is certain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.numerics.rounding_errors import two_sum
from stablemax.truth.enclosure import UP, Enclosure

MARGIN = 2.0**-40
"""A cell closer to a rounding boundary than this part of an ulp is decided by exact differences, not in float64."""
_LEAST_SPACING = 2.0**-1000
"""Half of a smaller spacing may underflow."""
_LEAST_REMAINDER = 2.0**-100
MOST_RADIUS = 2.0**-34
"""Radius in ulps up to which double-double numbers tell a value: the tenth digit of an ulp is certain."""


@dataclass(frozen=True)
class Placement:
    """Where values lie between two neighbours of a format, in units of the spacing there."""

    spacing: Array
    units: Array  #: The float64 nearest to each value.
    below: Array  #: The neighbour towards minus infinity, a whole number of units.
    offset: Array  #: Distance of the value from the middle: positive where the upper neighbour is nearer.

    def rounded(self, up: Array, base: Array, fmt: Format) -> Array:
        """Return the upper or the lower neighbour; what is too small for the format keeps the sign of `base`."""
        with np.errstate(over="ignore"):
            value = fmt.round((self.below + up) * self.spacing)
        return np.where(value == 0, np.copysign(value, base), value)


def placed(base: Array, remainder: Array, fmt: Format) -> Placement:
    """Place the values that are `remainder` units of the format's spacing above the float64 nearest to them."""
    spacing = fmt.ulp(base)
    units = base / spacing
    below = np.floor(units)
    fraction = (units - below) + remainder
    borrow = np.floor(np.where(np.isfinite(fraction), fraction, 0.0))
    below, fraction = below + borrow, fraction - borrow
    return Placement(spacing, units, below, fraction - 0.5)


def decide(head: Enclosure | None, tail: Enclosure, fmt: Format) -> tuple[Array, tuple[Array, Array, Array]]:
    """Mark the cells of a sum whose truth is certain, and return its three arrays: see `balls.Truth`.

    The head, if there is one, may be on a tie, and the tail a number of which no more than the sign is known.
    """
    with np.errstate(all="ignore"):
        high, low, more, radius = _parts(head, tail)
        if tail.negligible:
            # Counted in units of 2**-1130 they are far below the smallest number.
            is_zero = Enclosure(high, low, radius, negligible=True).negligibles
            if head is not None:
                is_zero &= (head.high == 0) & (head.lows == 0)
            high, low, more, radius = (
                np.where(is_zero, zero, part)
                for part, zero in ((high, np.copysign(0.0, high)), (low, 0.0), (more, 0.0), (radius, 0.0))
            )
        spacing = fmt.ulp(high)
        remainder = (low + more) / spacing
        width = radius / spacing * UP
        at = placed(high, remainder, fmt)
        is_narrow = width <= MOST_RADIUS
        certain = is_narrow & (np.abs(at.offset) > width + MARGIN)
        up = at.offset > 0
        doubtful = np.nonzero(is_narrow & ~certain & (spacing > _LEAST_SPACING))
        if doubtful[0].size:
            middle = ((at.units - at.below) - 0.5) * spacing
            parts = (middle, low, more, radius, at.below)
            certain[doubtful], up[doubtful] = _beside_a_tie(*(part[doubtful] for part in parts))
        # Balls of 128 bits do not show it either, and no error in float64 does.
        shown = np.where(np.abs(remainder) < _LEAST_REMAINDER, 0.0, remainder)
        return certain, (high, shown, at.rounded(up, high, fmt))


def _parts(head: Enclosure | None, tail: Enclosure) -> tuple[Array, Array, Array, Array]:
    """Return a sum as three parts, each far below the one before, and a radius."""
    if head is None:
        return tail.high, tail.lows, np.zeros_like(tail.high), tail.radii
    high, low = two_sum(head.high, tail.high)
    more = np.zeros_like(high)
    size = more
    for part in (head.low, tail.low):
        if part is not None:
            low, error = two_sum(low, part)
            high, low = two_sum(high, low)
            more, size = more + error, size + np.abs(error)
    radius = head.radii + tail.radii + (size * 2.0**-52 if more.any() else 0.0)
    return high, low, more, radius * UP


def _beside_a_tie(middle: Array, low: Array, more: Array, radius: Array, below: Array) -> tuple[Array, Array]:
    """Tell which values are above a tie: where that is certain, and where they are.

    `middle` is the distance of the high part from the tie. All are exact, and none is taken in units of an ulp: a
    radius that underflows there would look like a tie. An enclosure is open: what lies within its own size of 0 has
    its sign. A value on the tie goes to the even neighbour.
    """
    total, error = two_sum(middle, low)
    is_on = (total == 0) & (error == 0)
    is_off = np.abs(total) > 4 * (np.abs(more) + radius)
    is_off |= (more == 0) & (error == 0) & (total != 0) & (np.abs(total) >= radius)
    is_signed = is_on & (more != 0) & (np.abs(more) >= radius)
    is_tie = is_on & (more == 0) & (radius == 0)
    up = np.where(is_off, total > 0, np.where(is_tie, below % 2 == 1, more > 0))
    return is_off | is_signed | is_tie, up
