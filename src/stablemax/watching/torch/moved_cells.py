"""Where cells of one operation's output stand in that of a later one: indices that go through the same movements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from stablemax.watching.torch.replay import Replay, ReplayedOperation, TensorNumber

Tensors = Mapping[int, torch.Tensor]


def moved_cells(replay: Replay, first: int, last: int, tensors: Tensors) -> torch.Tensor | None:
    """Return for each cell of the operation numbered `last` the flat position in the output of `first`.

    `tensors` are those that the replay has made up to there, the output of `last` too. None where operations between
    do more than move cells, or work on them one by one.
    """
    places: dict[int, torch.Tensor] = {}
    for operation in replay.operations:
        if operation.number < first or operation.number > last:
            continue
        output = tensors[operation.outputs[0]]
        if operation.number == first:
            places[operation.outputs[0]] = torch.arange(output.numel()).reshape(output.shape)
            if first == last:
                return places[operation.outputs[0]]
            continue
        moved = _moved(operation, places, tensors)
        if operation.number == last:
            return moved[0] if moved else None
        places.update(zip(operation.outputs, moved, strict=False))
    return None


def _moved(operation: ReplayedOperation, places: Tensors, tensors: Tensors) -> list[torch.Tensor]:
    of_moved = [n for n in operation.inputs if n in places]
    if not of_moved or operation.plan.writes:
        return []
    plan = operation.plan
    if plan.is_pointwise and plan.name != "where":
        shape = tensors[operation.outputs[0]].shape
        return [places[of_moved[0]].broadcast_to(shape)]
    if not plan.is_copy and plan.is_checked:
        return []

    def real(value: Any) -> Any:
        if isinstance(value, TensorNumber):
            return places.get(value.number, tensors[value.number])
        if isinstance(value, (list, tuple)):
            return [real(v) for v in value]
        # Cells change their format; positions do not.
        return torch.int64 if isinstance(value, torch.dtype) else value

    result = operation.function(*map(real, operation.arguments), **{k: real(v) for k, v in operation.options.items()})
    results = result if isinstance(result, (list, tuple)) else (result,)
    return [t for t in results if isinstance(t, torch.Tensor)]
