"""Every operator of PyTorch that has an exact form of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from stablemax.trace.torch.exact_convolutions import WINDOWS
from stablemax.trace.torch.exact_elementwise import ELEMENTWISE, OF_FORMAT
from stablemax.trace.torch.exact_grid_samples import GRID_SAMPLES
from stablemax.trace.torch.exact_linear_algebra import FACTORISED, LINEAR_ALGEBRA
from stablemax.trace.torch.exact_margins import MARGINS
from stablemax.trace.torch.exact_normalisations import NORMALISATIONS
from stablemax.trace.torch.exact_ops import BASIC
from stablemax.trace.torch.exact_picks import PICKED, PICKED_AT_RANDOM
from stablemax.trace.torch.exact_recurrences import RECURRENCES
from stablemax.trace.torch.exact_reductions import REDUCTIONS_OF_MANY
from stablemax.trace.torch.exact_resampling import RESAMPLED

EXACT: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **ELEMENTWISE,
        **LINEAR_ALGEBRA,
        **REDUCTIONS_OF_MANY,
        **NORMALISATIONS,
        **WINDOWS,
        **RESAMPLED,
        **PICKED,
        **MARGINS,
        **GRID_SAMPLES,
        **RECURRENCES,
        **BASIC,
    }
)
"""What each computes on arrays of exact cells, by its aten name."""

OF_CALL: Mapping[str, Callable[..., Any]] = MappingProxyType({**FACTORISED, **PICKED_AT_RANDOM, **OF_FORMAT})
"""Operators whose result depends on more than their arguments, by their aten name: they get the call first."""
