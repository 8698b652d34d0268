"""Whether other code gives what the traced code should have: told by the exact result of the traced run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.results import Outcome
from stablemax.trace.exact_truth import close_beside_1
from stablemax.truth.measure import CODES, largest

if TYPE_CHECKING:
    from stablemax.trace.reading import Reading
    from stablemax.trace.run import Run

_SMALL = 0.01


@dataclass(frozen=True)
class Judge:
    """Tells whether a run of other code on the traced input gives what the traced code should have."""

    reading: Reading
    #: The run of the traced code.
    run: Run
    #: Results that are far below 1 may lose their own digits, as logarithms of probabilities do.
    beside_1: bool = False

    def is_good(self, run: Run) -> bool:
        """Tell whether every cell of a result is good."""
        failing, truth = self.reading.failing(run.value), self.reading.exact.truth
        if self.beside_1 and run.value.size == truth.nearest.size:
            failing &= ~close_beside_1(run.value.reshape(truth.nearest.shape), truth, self.reading.format)
        return not failing.any()

    def is_finite(self, run: Run) -> bool:
        """Tell whether every cell of a result is finite, and good where the traced code's has a value."""
        return self.is_good(run) and bool(np.isfinite(run.value.astype(np.float64)).all())

    def is_the_same_function(self, run: Run) -> bool:
        """Tell whether a good result has the dtype and shape of the traced code's, and is right in exact arithmetic."""
        before = self.run
        is_alike = (run.dtype or run.value.dtype, run.value.shape) == (
            before.dtype or before.value.dtype, before.value.shape,
        )  # fmt: skip
        wrong = self.reading.wrong_exactly(run)
        return is_alike and self.is_good(run) and not (wrong is not None and wrong.any())

    def is_closer(self, run: Run) -> bool:
        """Tell whether code is right in exact arithmetic, and all that is wrong with its result is a lack of digits.

        The traced code gives worse than that, and its other numbers stay good.
        """
        before, wrong = self.run, self.reading.wrong_exactly(run)
        if run.value.shape != before.value.shape or run.value.dtype != before.value.dtype:
            return False
        if (wrong is not None and wrong.any()) or (
            self.reading.failing(run.value) & ~self.reading.failing(before.value)
        ).any():
            return False
        worst, worst_before = (int(self.reading.judged(r.value).codes.max()) for r in (run, before))
        return worst <= CODES.index(Outcome.INACCURATE) < worst_before

    def error_words(self, run: Run) -> str:
        """Say how large the largest error of a good result is."""
        if self.beside_1:
            truth = self.reading.exact.truth.nearest
            error = float(np.nanmax(np.abs(run.value.astype(np.float64).reshape(truth.shape) - truth)))
            return f" beside 1, as logarithms of probabilities are judged: no error is above {error:.2g}"
        largest_ulp = largest(self.reading.judged(run.value).error_ulp)
        return "" if largest_ulp is None else f": no error is above {max(largest_ulp, _SMALL):.2g} ulp"
