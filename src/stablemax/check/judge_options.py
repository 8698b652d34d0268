"""What an output is meant to be, and what it is held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.check.check_options import FAILURES, refuse_unknown
from stablemax.numerics.formats import Format, format_of
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions
from stablemax.results import Grade
from stablemax.text.ranges import check_judge, check_max_ulp
from stablemax.text.vocabulary import IGNORED, Reduction


@dataclass(frozen=True)
class JudgeOptions:
    """What an output is meant to be, and what it is held to."""

    #: What was computed.
    operation: Operation
    #: The number format it was computed in; errors are told in its ulps.
    fmt: Format
    #: Errors above are inaccurate; half of the format's bits when not given.
    max_ulp: float | None = None
    #: Outcomes that do not count.
    allow: tuple[str, ...] = ()
    #: What a single loss is, or what a gradient is taken of: the mean of the losses, their sum, or (none) each loss.
    reduction: Reduction = Reduction.MEAN
    #: Rows with this label do not count; their output is not looked at.
    ignore_index: int | None = IGNORED
    #: How many rows to judge, the extreme ones among them; None for all.
    judge: int | None = None
    #: Class weights and label smoothing.
    targets: TargetOptions | None = None
    #: The format that the program rounded logits and second argument to first; as they are stored when not given.
    round_logits: Format | None = None
    #: The least grade that passes: stable or accurate.
    require: Grade = Grade.STABLE

    def __post_init__(self) -> None:
        check_max_ulp(self.max_ulp)
        check_judge(self.judge)
        refuse_unknown(self.allow, FAILURES, "--allow: there is no outcome", "one or more of")

    def inputs(self, stored: np.dtype[Any]) -> Format:
        """Return the format that the program saw its logits in: as they are stored, or rounded first."""
        return self.round_logits or format_of(stored)
