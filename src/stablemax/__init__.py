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

from stablemax.operations import NAMES
from stablemax.text.errors import StablemaxError as StablemaxError

if TYPE_CHECKING:
    from stablemax.api import binary_cross_entropy as binary_cross_entropy
    from stablemax.api import binary_cross_entropy_grad as binary_cross_entropy_grad
    from stablemax.api import compare as compare
    from stablemax.api import cross_entropy as cross_entropy
    from stablemax.api import cross_entropy_grad as cross_entropy_grad
    from stablemax.api import entropy as entropy
    from stablemax.api import kl_divergence as kl_divergence
    from stablemax.api import log_sigmoid as log_sigmoid
    from stablemax.api import log_softmax as log_softmax
    from stablemax.api import logsumexp as logsumexp
    from stablemax.api import sigmoid as sigmoid
    from stablemax.api import softmax as softmax
    from stablemax.api import softmax_vjp as softmax_vjp
    from stablemax.api import softplus as softplus
    from stablemax.api import sweep as sweep
    from stablemax.watching.block import watch as watch

__version__ = "0.8.0"

_HOMES = {"StablemaxError": "stablemax.text.errors", "watch": "stablemax.watching.block"}

__all__ = ["StablemaxError", "compare", "sweep", "watch", *NAMES]  # noqa: PLE0604 - names are text


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: the import itself loads neither NumPy nor Rich."""
    if name in __all__:
        # Kept where Python looks first: a call on a small array would spend a tenth of its time here.
        found = globals()[name] = getattr(importlib.import_module(_HOMES.get(name, "stablemax.api")), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
