"""Numbers that became 0: cells that the same operation in float64 gives another number for."""

from __future__ import annotations

import torch

from stablemax.watching.torch.operands import in_float64
from stablemax.watching.torch.ring import RingEntry


def lost_cells(entry: RingEntry, output: torch.Tensor) -> torch.Tensor | None:
    """Mark the cells of an output that are 0, and are not in float64; None where there are none.

    Outputs in float64 are not looked at.
    """
    zeros = output == 0
    if output.dtype is torch.float64 or entry.plan.is_constant or entry.plan.is_random or not bool(zeros.any()):
        return None
    position = next((i for i, t in enumerate(entry.outputs()) if t is output), 0)
    wide = in_float64(entry, position)
    if wide is None or wide.shape != output.shape:
        return None
    lost = zeros & (wide != 0) & wide.isfinite()
    return lost if bool(lost.any()) else None
