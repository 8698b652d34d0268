"""All patterns, those of more operations before those that are part of them."""

from __future__ import annotations

from stablemax.trace.cures.densities import DENSITIES
from stablemax.trace.cures.differences import DIFFERENCES
from stablemax.trace.cures.logarithms import LOGARITHMS
from stablemax.trace.cures.out_of_range import OUT_OF_RANGE

PATTERNS = (*DENSITIES, *LOGARITHMS, *DIFFERENCES, *OUT_OF_RANGE)
