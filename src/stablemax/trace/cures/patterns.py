"""All patterns, those of more operations before those that are part of them."""

from __future__ import annotations

from stablemax.trace.cures.densities import DENSITIES
from stablemax.trace.cures.differences import DIFFERENCES
from stablemax.trace.cures.logarithms import LOGARITHMS
from stablemax.trace.cures.ranges import RANGES

PATTERNS = (*DENSITIES, *LOGARITHMS, *DIFFERENCES, *RANGES)
