"""The public functions: arrays in, arrays out, as accurate as the format allows."""

from __future__ import annotations

from typing import Any

from stablemax import operations as known_operations
from stablemax.api.cell_functions import binary_cross_entropy as binary_cross_entropy
from stablemax.api.cell_functions import binary_cross_entropy_grad as binary_cross_entropy_grad
from stablemax.api.cell_functions import log_sigmoid as log_sigmoid
from stablemax.api.cell_functions import sigmoid as sigmoid
from stablemax.api.cell_functions import softplus as softplus
from stablemax.api.loss_functions import cross_entropy as cross_entropy
from stablemax.api.loss_functions import cross_entropy_grad as cross_entropy_grad
from stablemax.api.row_functions import Axis
from stablemax.api.row_functions import entropy as entropy
from stablemax.api.row_functions import kl_divergence as kl_divergence
from stablemax.api.row_functions import log_softmax as log_softmax
from stablemax.api.row_functions import logsumexp as logsumexp
from stablemax.api.row_functions import softmax as softmax
from stablemax.api.row_functions import softmax_vjp as softmax_vjp
from stablemax.api.row_results import result_of_rows
from stablemax.api.workflow_functions import compare as compare
from stablemax.api.workflow_functions import sweep as sweep
from stablemax.operations import get_operation
from stablemax.operations.operation import Second
from stablemax.text.errors import StablemaxError


def __getattr__(name: str) -> Any:
    """Give the operations that have no function of their own above one: ``f(x)`` or ``f(x, second)``."""
    if name not in known_operations.NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    operation = get_operation(name)

    def computed(x: Any, second: Any = None, *, axis: Axis = -1, threads: int | None = None) -> Any:
        if (second is None) is not (operation.second is Second.NONE):
            raise StablemaxError(
                f"{name} takes {operation.second.value} beside the logits", "one number for each logit"
            )
        return result_of_rows(name, x, axis, second, threads=threads)

    computed.__name__ = computed.__qualname__ = name
    computed.__doc__ = f"Compute {name} of logits, in their shape and dtype: stablemax explain {operation.best_id}."
    return computed
