"""The sizes of the terms of which sums and differences are made: what an exact 0 is small beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.cures.matching import SAME_AS
from stablemax.trace.exact_cells import Special, marked

if TYPE_CHECKING:
    from stablemax.trace.cures.flow import Flow, FlowNode, Operand


def term_sizes(flow: Flow, result: Operand) -> Array:
    """Return for each cell of a result the sum of the sizes of the terms that it adds up, of differences in them too.

    >>> from stablemax.trace.cures.flow import Flow, Operand
    >>> from stablemax.trace.exact_cells import cells_of
    >>> flow, x = Flow(), np.array([3.0, -3.0])
    >>> total = flow.add(0, "sum", np.float64(0), cells_of(0.0), [(x, cells_of(x))])
    >>> float(term_sizes(flow, Operand(np.array(0.0), total)))
    6.0
    """
    sizes: list[Array] = []
    for node in flow.nodes:
        sizes.append(_size(node, [_of(flow, operand, sizes) for operand in node.operands]))
    return _of(flow, result, sizes)


def _of(flow: Flow, operand: Operand, sizes: list[Array]) -> Array:
    origin = flow.origin(operand)
    if origin is None:
        return np.abs(operand.values.astype(np.float64))
    whole = sizes[flow.nodes.index(origin.node)]
    return whole if origin.positions is None else whole.ravel()[origin.positions]


def _size(node: FlowNode, operands: list[Array]) -> Array:
    """Return the sizes of the terms of an operation's output.

    Of what adds nothing up it is the output's own, and where that is exactly 0 that of the largest operand: log of 1.
    """
    own = np.abs(node.values.astype(np.float64))
    name = SAME_AS.get(node.name, node.name)
    with np.errstate(all="ignore"):
        if name in ("add", "subtract") and len(operands) == 2:
            size = operands[0] + operands[1]
        elif name in ("sum", "mean") and len(operands) == 1:
            axes = None if node.reduction is None else node.reduction.axes
            size = operands[0].sum(axis=axes).reshape(node.shape)
            size = size / (operands[0].size / max(1, size.size)) if name == "mean" else size
        elif name == "multiply" and len(operands) == 2:
            size = operands[0] * operands[1]
        elif name == "divide" and len(operands) == 2:
            size = operands[0] / np.abs(node.operands[1].values.astype(np.float64))
        elif name in ("negative", "astype", "positive") and len(operands) == 1:
            size = operands[0]
        else:
            is_zero = marked(node.cells, lambda cell: not isinstance(cell, Special) and not cell != 0)  # noqa: SIM202
            return np.where(is_zero, max((float(o.max(initial=0.0)) for o in operands), default=0.0), own)
    return np.maximum(own, np.broadcast_to(size, node.shape)) if np.isfinite(size).all() else own
