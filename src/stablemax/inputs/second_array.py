"""What an operation takes beside the logits, where the input holds labels at most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation, Second
from stablemax.operations.targets import cell_targets
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Upstream


def second_array(
    operation: Operation, logits: Array, labels: Array | None, upstream: Upstream = Upstream.NORMAL, seed: int = 0
) -> Array | None:
    """Return what an operation takes beside the logits: labels, or what stands in for another array; None for nothing.

    An array (N, K) that the input holds is taken as it is. Else targets of cells are those of the labels, and the other
    logits are the logits in reverse order.

    >>> from stablemax.operations import get_operation
    >>> second_array(get_operation("binary_cross_entropy"), np.zeros((2, 3)), np.array([0, 2])).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    rows, classes = logits.shape
    makers: dict[Second, Callable[[], Array | None]] = {
        Second.NONE: lambda: None,
        Second.LABELS: lambda: labels,
        Second.CELL_TARGETS: lambda: cell_targets(np.zeros(rows, np.int64) if labels is None else labels, classes),
        Second.UPSTREAM: lambda: upstream_gradient(upstream, (rows, classes), seed),
        Second.LOGITS: lambda: logits[:, ::-1] if labels is None or labels.ndim == 1 else labels,
    }
    return makers[operation.second]()


def kind_of_second(operations: Sequence[Operation]) -> Second:
    """Say what some operations take beside the logits; labels where the operations differ or none is named."""
    kinds = {o.second for o in operations} - {Second.NONE, Second.UPSTREAM}
    return kinds.pop() if len(kinds) == 1 else Second.LABELS


def check_second(operation: Operation, labels: Array | None) -> None:
    """Refuse a user's input that lacks what the operation takes beside the logits: no array stands in for it."""
    is_lacking = {
        Second.LABELS: labels is None,
        Second.CELL_TARGETS: labels is None,
        Second.LOGITS: labels is None or labels.ndim == 1,
    }
    if is_lacking.get(operation.second, False):
        what = operation.second.value
        hint = "give a file of labels, or name a column with --label-column"
        if operation.second is not Second.LABELS:
            hint = f"name a second file with the {what}, in the shape of the logits"
        raise StablemaxError(f"{operation} needs {what}", hint)


def upstream_gradient(kind: Upstream, shape: tuple[int, int], seed: int = 0) -> Array:
    """Draw an upstream gradient (N, K), or take that of the mean."""
    if kind is Upstream.MEAN:
        return np.full(shape, 1.0 / shape[-1])
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))
