"""Long loops: of an operation that runs thousands of times, some runs are measured, and all that are new in kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array

ALL_MEASURED = 2048
"""So many operations of a run are measured without a choice."""
_EVERY = 64
_MOST_ODD = 32


@dataclass
class LoopSample:
    """The choice of the runs that are measured: the first, then every 64th, and some that give inf, NaN or 0."""

    #: How often each operation of each line ran, how often it gave what is odd, and how often it was not measured.
    runs: dict[tuple[Any, ...], int] = field(default_factory=dict)
    odd: dict[tuple[Any, ...], int] = field(default_factory=dict)
    skipped: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def takes(self, key: tuple[Any, ...], value: Array, total: int) -> bool:
        """Count a run of an operation, the `total`-th of all, and tell whether it is measured."""
        run = self.runs.get(key, 0)
        self.runs[key] = run + 1
        if total < ALL_MEASURED or run % _EVERY == 0:
            return True
        if not np.all(np.isfinite(value)) or not np.all(value):
            self.odd[key] = self.odd.get(key, 0) + 1
            if self.odd[key] <= _MOST_ODD:
                return True
        self.skipped[key] = self.skipped.get(key, 0) + 1
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """Say how many operations the figures are of; nothing where they are of all."""
        if not self.skipped:
            return ()
        total = sum(self.runs.values())
        return (
            f"long loops are sampled: {total - sum(self.skipped.values()):,} of {total:,} operations are measured, "
            "among them the first that give inf, NaN or 0",
        )
