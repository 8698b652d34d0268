"""The truths that tests have had proved: most checks are of the same hazards and shapes, and each proof takes balls."""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.truth.balls import Balls
from stablemax.truth.measure import ExactResult, exact_result

_MOST_CELLS = 20_000
_MOST_TRUTHS = 8_000


class KnownTruths:
    """Proves what has not been proved before, bit by bit the same input; see `exact_result`."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Operation, str, bytes], ExactResult] = OrderedDict()

    def exact_result(
        self, operation: Operation, x: Array, second: Any, fmt: Format, balls: Balls | None = None
    ) -> ExactResult:
        """Return the truth about an operation on numbers of a format; its arrays cannot be written to."""
        if np.size(x) > _MOST_CELLS:
            return exact_result(operation, x, second, fmt, balls)
        # Operations are compared by identity: one that a test makes is another.
        key = (operation, fmt.name, hashlib.sha256(pickle.dumps((x, second))).digest())
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        exact = exact_result(operation, x, second, fmt, balls)
        for array in (exact.undefined, *vars(exact.truth).values()):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        self._known[key] = exact
        if len(self._known) > _MOST_TRUTHS:
            self._known.popitem(last=False)
        return exact
