"""SciPy's operations as they are timed."""

from __future__ import annotations

import contextlib
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.special

from stablemax.vocabulary import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.formats import Array


class TimedScipy:
    """SciPy, which computes in one thread."""

    name = "scipy"
    libraries = ("scipy",)
    needs_affinity = False
    formulas = MappingProxyType(
        {
            Operation.SOFTMAX: "scipy.special.softmax(x, axis=-1)",
            Operation.LOG_SOFTMAX: "scipy.special.log_softmax(x, axis=-1)",
            Operation.LOGSUMEXP: "scipy.special.logsumexp(x, axis=-1)",
        }
    )

    def running(self, threads: int) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        """Nothing has to be set up."""
        return contextlib.nullcontext()

    def call(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:  # noqa: ARG002
        """Take the arrays as they are."""
        return partial(getattr(scipy.special, operation.value), x, axis=-1)

    def back(self, result: Any) -> Array:
        """Return it as an array."""
        return np.asarray(result)


TIMED = TimedScipy()
