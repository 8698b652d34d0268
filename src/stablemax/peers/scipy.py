"""SciPy's softmax and its logarithms."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.special

from stablemax.errors import StablemaxError, shown
from stablemax.operations.log_softmax import OPERATION as LOG_SOFTMAX
from stablemax.operations.logsumexp import OPERATION as LOGSUMEXP
from stablemax.operations.softmax import OPERATION as SOFTMAX
from stablemax.peers.calling import built_in
from stablemax.peers.timed import Timing
from stablemax.results import Outcome

if TYPE_CHECKING:
    from stablemax.formats import Array


class ScipyArrays:
    """SciPy works on NumPy arrays."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Nothing has to be set up."""
        return contextlib.nullcontext()

    def put(self, array: Array, device: str | None) -> Array:
        """Copy: the caller's array stays as it is."""
        if device not in (None, "cpu"):
            raise StablemaxError(f"scipy has no device {shown(device)!r}", "it runs on the CPU: leave --device out")
        return np.array(array)

    def back(self, array: Any) -> Array:
        """Return it as it is."""
        return np.asarray(array)


ARRAYS = ScipyArrays()
# logsumexp turns ml_dtypes' bfloat16 into float64.
_declared = functools.partial(built_in, "scipy", ARRAYS, supports=("float16", "float32", "float64"))


@_declared(
    SOFTMAX,
    "softmax",
    formula="scipy.special.softmax(x, axis=-1)",
    promises={"row-all-neg-inf": Outcome.NAN, "positive-infinity": Outcome.NAN},
    cites=("blanchard-2021",),
    cure="softmax/compensated",
)
def softmax(x: Array) -> Array:
    """SciPy's softmax.

    Why it holds: the row maximum is subtracted first.

    Where it breaks: a row of all -inf or with a +inf is NaN; x - m rounds.
    """
    return np.asarray(scipy.special.softmax(x, axis=-1))


@_declared(
    LOG_SOFTMAX,
    "log_softmax",
    formula="scipy.special.log_softmax(x, axis=-1)",
    promises={
        "wide-spread": Outcome.INACCURATE,
        "nearly-certain": Outcome.LOST,
        "collapse": Outcome.LOST,
        "row-all-neg-inf": Outcome.NAN,
        "positive-infinity": Outcome.NAN,
    },
    cites=("blanchard-2021", "scipy-19521"),
    cure="log_softmax/compensated",
)
def log_softmax(x: Array) -> Array:
    """SciPy's log-softmax.

    Why it holds: it subtracts the maximum and then the logarithm of the sum, each with its own digits.

    Where it breaks: the entry of a nearly certain class is log(1 + q) with a tiny q, and 1 + q rounds to 1.
    """
    return np.asarray(scipy.special.log_softmax(x, axis=-1))


@_declared(
    LOGSUMEXP,
    "logsumexp",
    formula="scipy.special.logsumexp(x, axis=-1)",
    promises={"row-all-neg-inf": Outcome.UNDEFINED, "positive-infinity": Outcome.UNDEFINED},
    cites=("blanchard-2021", "scipy-21597"),
    cure="logsumexp/compensated",
)
def logsumexp(x: Array) -> Array:
    """SciPy's log-sum-exp.

    Why it holds: the maximum leaves the sum, and log1p takes the rest.

    Where it breaks: where m + log1p(q) is near 0 the addition cancels.
    """
    return np.asarray(scipy.special.logsumexp(x, axis=-1))


TIMING = Timing(lambda array: array, lambda _: ARRAYS.running())
