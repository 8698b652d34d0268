"""Softmax, cross-entropy and their gradients: where they break, proved against exact arithmetic.

The functions here are as accurate as the number format allows, and the same that the commands run.

Examples
--------
>>> import stablemax
>>> stablemax.softmax([1000.0, 1001.0, 1002.0]).round(8).tolist()
[0.09003057, 0.24472847, 0.66524096]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stablemax.api import (
        compare,
        cross_entropy,
        cross_entropy_grad,
        log_softmax,
        logsumexp,
        softmax,
        softmax_vjp,
    )
    from stablemax.errors import StablemaxError

__version__ = "0.1.0"

_HOMES = {"StablemaxError": "stablemax.errors"}

__all__ = [
    "StablemaxError",
    "compare",
    "cross_entropy",
    "cross_entropy_grad",
    "log_softmax",
    "logsumexp",
    "softmax",
    "softmax_vjp",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: the import itself loads neither NumPy nor Rich."""
    if name in __all__:
        # Kept where Python looks first: a call on a small array would spend a tenth of its time here.
        found = globals()[name] = getattr(importlib.import_module(_HOMES.get(name, "stablemax.api")), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
