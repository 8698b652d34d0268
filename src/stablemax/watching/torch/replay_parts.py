"""Parts of a replay as replays of their own: some numbers along its axes, and some of its operations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from stablemax.watching.torch.replay import (
    Replay,
    ReplayedOperation,
    apply,
    ordinary,
    products_of,
)
from stablemax.watching.torch.replay_axes import Axes, Dimension, counted_along

Kept = Mapping[int, Sequence[int]]
"""Which indices are kept along an axis."""
_SIZES = frozenset(("size", "shape", "sizes", "input_sizes", "self_sizes"))


@dataclass(frozen=True)
class ReplayRun:
    """All tensors of a replay that has run, by their numbers, and what each operation gave, as it was then."""

    tensors: dict[int, torch.Tensor]
    given: tuple[tuple[torch.Tensor, ...], ...]
    #: Whether all that an operation read was finite.
    read_finite: tuple[bool, ...]


def run_of(replay: Replay) -> ReplayRun:
    """Run a replay on copies, and keep what each operation gave."""
    tensors = {n: t.clone() for n, t in replay.leaves.items()}
    written = {n for o in replay.operations if o.plan.writes for n in o.outputs}
    given, finite = [], []
    with ordinary():
        for operation in replay.operations:
            read = [tensors[n] for n in operation.inputs if n not in operation.outputs or operation.plan.reads_written]
            finite.append(all(bool(t.isfinite().all()) for t in read if t.is_floating_point()))
            apply(operation, tensors)
            made = tuple(tensors[n] for n in operation.outputs)
            given.append(tuple(t.clone() for t in made) if written & set(operation.outputs) else made)
    return ReplayRun(tensors, tuple(given), tuple(finite))


def without_factories(replay: Replay) -> Replay:
    """Return a replay that starts from what it makes of nothing, such as ranges, and of integers: these are indices."""
    whole = {n for n, t in replay.leaves.items() if not t.is_floating_point()}
    written = {n for o in replay.operations if o.plan.writes for n in o.outputs}
    makers = []
    for operation in replay.operations:
        is_of_whole = all(n in whole for n in operation.inputs) and not operation.plan.writes
        makes_whole = not any(d.is_floating_point for d in operation.dtypes)
        is_range = not operation.inputs and operation.numbers > 1
        if is_of_whole and not written & set(operation.inputs) and (makes_whole or is_range):
            makers.append(operation)
            whole |= set(operation.outputs) if makes_whole else set()
    if not makers:
        return replay
    tensors = {n: t.clone() for n, t in replay.leaves.items()}
    with ordinary():
        for operation in makers:
            apply(operation, tensors)
    made = {n: tensors[n] for o in makers for n in o.outputs}
    operations = tuple(o for o in replay.operations if o not in makers)
    read = {replay.result, replay.loss, *(n for o in operations for n in o.inputs)}
    leaves = {n: t for n, t in (replay.leaves | made).items() if n in read}
    names = {n: replay.names.get(n, f"x{n}") for n in leaves}
    return replace(replay, leaves=leaves, names=names, operations=operations, weights=replay.weights & set(leaves))


def cut(replay: Replay, axes: Axes, kept: Kept) -> Replay:
    """Return a replay on some of the numbers along axes.

    Raises `ValueError` where indices count what is cut away.
    """
    leaves = {n: t.clone() for n, t in replay.leaves.items()}
    for n, tensor in replay.leaves.items():
        for i, dimension in enumerate(axes.dimensions[n]):
            positions = positions_of(axes, dimension, kept)
            if positions is not None:
                leaves[n] = leaves[n].index_select(i, positions)
        leaves[n] = leaves[n].to(tensor.dtype)
    operations = []
    for operation in replay.operations:
        _renumber(operation, replay, axes, kept, leaves)
        operations.append(_resized(operation, axes, kept))
    return settled(replace(replay, leaves=leaves, operations=tuple(operations)))


def settled(replay: Replay) -> Replay:
    """Run a changed replay: its results are what is expected, and how many they are."""
    run = run_of(replay)
    operations = tuple(
        replace(
            o,
            numbers=sum(t.numel() for t in given),
            products=products_of(o.plan.name, [run.tensors[n] for n in o.inputs], given),
        )
        for o, given in zip(replay.operations, run.given, strict=True)
    )
    return replace(replay, operations=operations, expected=run.tensors[replay.result].clone())


def positions_of(axes: Axes, dimension: Dimension, kept: Kept) -> torch.Tensor | None:
    """Return the indices that are kept of a dimension; None where all are."""
    flat = axes.of(dimension)
    if not set(flat) & set(kept):
        return None
    positions = torch.zeros(1, dtype=torch.int64)
    for axis in flat:
        own = torch.tensor(list(kept.get(axis, range(axes.size(axis)))))
        positions = (positions[:, None] * axes.size(axis) + own).flatten()
    return positions


def _renumber(
    operation: ReplayedOperation, replay: Replay, axes: Axes, kept: Kept, leaves: dict[int, torch.Tensor]
) -> None:
    """Give indices along a cut axis the places that numbers have now."""
    for number, dimension in counted_along(operation, axes.dimensions):
        flat = axes.of(dimension)
        if not set(flat) & set(kept):
            continue
        if number not in replay.leaves or len(flat) != 1:
            raise ValueError("what counts along a cut axis was computed")
        places = {old: new for new, old in enumerate(kept[flat[0]])}
        positions = leaves[number]
        original = replay.leaves[number]
        for i, d in enumerate(axes.dimensions[number]):
            chosen = positions_of(axes, d, kept)
            original = original if chosen is None else original.index_select(i, chosen)
        new = [places.get(int(v)) for v in original.flatten()]
        if any(v is None for v in new):
            raise ValueError("an index is cut away")
        leaves[number] = torch.tensor(new, dtype=positions.dtype).reshape(positions.shape)


def _resized(operation: ReplayedOperation, axes: Axes, kept: Kept) -> ReplayedOperation:
    """Change the sizes among the arguments of an operation."""
    if not operation.outputs:
        return operation
    dims = axes.dimensions[operation.outputs[0]]
    old = [math.prod(map(axes.size, axes.of(d))) for d in dims]
    new = [math.prod(len(kept.get(a, range(axes.size(a)))) for a in axes.of(d)) for d in dims]

    def size(name: str, value: Any) -> Any:
        if name in _SIZES and isinstance(value, (list, tuple)) and len(value) == len(old):
            return [v if v == -1 else n for v, n in zip(value, new, strict=True)]
        if _is_divisor_of_mean(operation, name, value):
            inputs = axes.dimensions[operation.inputs[0]]
            return _counted_anew(value, axes, inputs, kept)
        return value

    names = [a.name for a in operation.function._schema.arguments]
    arguments = tuple(size(n, v) for n, v in zip(names, operation.arguments, strict=False))
    return replace(operation, arguments=arguments, options={k: size(k, v) for k, v in operation.options.items()})


def _is_divisor_of_mean(operation: ReplayedOperation, name: str, value: Any) -> bool:
    node = operation.call_site.node
    is_of_mean = node is not None and node[1].startswith("MeanBackward")
    return is_of_mean and operation.plan.name == "div" and name == "other" and isinstance(value, (int, float))


def _counted_anew(value: float, axes: Axes, dims: Sequence[Dimension], kept: Kept) -> float:
    """Return how many numbers a mean is of by now: those along the dimensions whose sizes gave the old count."""
    sizes = [(math.prod(map(axes.size, axes.of(d))), d) for d in dims]
    for count in range(len(sizes), 0, -1):
        for chosen in itertools.combinations(sizes, count):
            if math.prod(s for s, _ in chosen) == value:
                new = [len(kept.get(a, range(axes.size(a)))) for _, d in chosen for a in axes.of(d)]
                return type(value)(math.prod(new))
    return value


def between(replay: Replay, first: int, result: int) -> Replay:
    """Return the operations of a replay from a position on that a tensor is made by, on what they got in it."""
    tensors = {n: t.clone() for n, t in replay.leaves.items()}
    with ordinary():
        for operation in replay.operations[:first]:
            apply(operation, tensors)
    chosen, needed = made_from(replay, first, result)
    leaves = {n: tensors[n].clone() for n in needed}
    there = {*needed, *(n for o in chosen for n in o.outputs)}
    part = replace(
        replay,
        leaves=leaves,
        names={n: replay.names.get(n, f"x{n}") for n in needed},
        operations=chosen,
        result=result,
        leaf=replay.leaf if replay.leaf in leaves else None,
        loss=replay.loss if replay.loss in there else None,
        weights=replay.weights & set(leaves),
    )
    return settled(part)


def made_from(replay: Replay, first: int, result: int) -> tuple[tuple[ReplayedOperation, ...], list[int]]:
    """Return the operations from a position on that a tensor is made by, and the tensors that these start from."""
    wanted, chosen = {result}, []
    for operation in reversed(replay.operations[first:]):
        if wanted & set(operation.outputs):
            chosen.append(operation)
            wanted |= set(operation.inputs)
    made: set[int] = set()
    needed: list[int] = []
    for operation in reversed(chosen):
        needed += [n for n in operation.inputs if n not in made and n not in needed]
        made |= set(operation.outputs)
    return tuple(reversed(chosen)), needed
