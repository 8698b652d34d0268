"""Every operator of PyTorch that has an exact form of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from stablemax.trace.torch.exact_convolutions import WINDOWS
from stablemax.trace.torch.exact_elementwise import ELEMENTWISE
from stablemax.trace.torch.exact_normalisations import NORMALISATIONS
from stablemax.trace.torch.exact_ops import BASIC
from stablemax.trace.torch.exact_reductions import REDUCTIONS_OF_MANY

EXACT: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {**ELEMENTWISE, **REDUCTIONS_OF_MANY, **NORMALISATIONS, **WINDOWS, **BASIC}
)
"""What each computes on arrays of exact cells, by its aten name."""
