"""Patterns with a cure, found in the forward operations of a replay, and run on its tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from stablemax.libraries.torch_arrays import to_numpy
from stablemax.numerics.formats import FORMATS
from stablemax.trace.cures.applying import modules_in, written
from stablemax.trace.cures.flow import ArgumentKey, Flow, FlowNode, Operand
from stablemax.trace.cures.matching import Match, Matcher
from stablemax.trace.cures.pattern import Pattern
from stablemax.trace.cures.recognising import patterns_at
from stablemax.trace.exact_cells import format_or_none
from stablemax.watching.torch.call_sites import CallSites
from stablemax.watching.torch.moved_cells import moved_cells
from stablemax.watching.torch.replay import Replay, ReplayedOperation, apply, ordinary
from stablemax.watching.torch.rewrites import Rewrite, operand_text, operator_of, place_words

_OF_PARTS = (
    "the backward pass of its operations, one by one, leaves the range of the format, that of {formula} does not"
)


def pattern_rewrites(
    forward: Replay, flow: Flow, sites: CallSites, *, of_gradient: bool, extending: bool = False
) -> Iterator[Rewrite]:
    """Yield the code of patterns for each operation that is the root of one, the last root first.

    With `of_gradient` it is the backward pass that goes wrong; with `extending` it is the code of other functions, for
    formulas that have no number of the format.
    """
    matcher, read = Matcher(flow), read_by(forward)
    for root in reversed(flow.nodes):
        position = _position(forward, root)
        if (
            position is None
            or format_or_none(root.values.dtype) is None
            or len(forward.operations[position].outputs) > 1
        ):
            continue
        for pattern, match in patterns_at(matcher, root, "torch", extending=extending):
            for code in pattern.code("torch"):
                rewrite = _rewrite(position, pattern, code, match, _Program(forward, flow, sites, read))
                is_of_parts = of_gradient and np.isfinite(root.values.astype(np.float64)).all()
                if rewrite is not None:
                    yield replace(rewrite, why=_OF_PARTS.format(formula=pattern.formula)) if is_of_parts else rewrite


def _position(forward: Replay, node: FlowNode) -> int | None:
    """Return the position of the operation that a node of the flow is; None for an argument."""
    if isinstance(node.key, ArgumentKey) or not isinstance(node.key, tuple):
        return None
    # Copies of what has no gradient run before the operations.
    position = int(node.key[0]) - sum(not t.is_floating_point() for t in forward.leaves.values())
    return position if 0 <= position < len(forward.operations) else None


class _Program:
    """Forward operations with their data flow: which tensor a leaf of a match is."""

    def __init__(self, forward: Replay, flow: Flow, sites: CallSites, read: list[list[torch.Tensor]]) -> None:
        self.forward, self.flow, self.sites, self.read = forward, flow, sites, read

    def is_own(self, replay: Replay) -> bool:
        """Tell whether a replay has the very operations that the flow was recorded of."""
        return replay.operations == self.forward.operations

    def operation(self, node: FlowNode) -> ReplayedOperation | None:
        """Return the operation that a node is."""
        position = _position(self.forward, node)
        return None if position is None else self.forward.operations[position]

    def reader(self, leaf: Operand) -> tuple[ReplayedOperation, FlowNode] | None:
        """Return the operation that reads a leaf."""
        if leaf.reader < 0:
            return None
        node = self.flow.nodes[leaf.reader]
        operation = self.operation(node)
        return None if operation is None else (operation, node)

    def tensor(
        self, leaf: Operand, root: ReplayedOperation, replay: Replay, tensors: dict[int, torch.Tensor]
    ) -> torch.Tensor | float:
        """Return a leaf as operations have it, with its gradient: those of the pattern, or of a replay they are of."""
        reader = self.reader(leaf)
        if reader is None:
            raise ValueError("no operation reads it")
        operation, node = reader
        read = node.operands[leaf.place]
        if not read.shape and self.flow.origin(read) is None and read.values.dtype in (np.float64, np.int64):
            return read.values.item()
        given = self.read[self.forward.operations.index(operation)]
        same = [
            n
            for n, t in zip(operation.inputs, given, strict=True)
            if tuple(t.shape) == read.shape and _is_same(t, read)
        ]
        if not same:
            raise ValueError("it is no operand")
        tensor = tensors[same[0]]
        if leaf.shape == read.shape and leaf.identities == read.identities:
            return tensor
        if not self.is_own(replay):
            positions = moved_cells(replay, operation.number, root.number, tensors)
            if positions is None:
                raise ValueError("its cells are not where they were")
            over = tensor.broadcast_to(tensors[operation.outputs[0]].shape)
            return over.reshape(-1)[positions.reshape(-1)].reshape(positions.shape)
        places = {identity: i for i, identity in enumerate(read.identities)}
        positions = torch.tensor([places[identity] for identity in leaf.identities], dtype=torch.int64)
        return tensor.reshape(-1)[positions].reshape(leaf.shape)

    def framed(
        self, match: Match, root: ReplayedOperation, replay: Replay, tensors: dict[int, torch.Tensor]
    ) -> torch.Tensor | None:
        """Return where the cells of the root stand in the frame of a match; None where it is all of them in turn."""
        frame = match.frame
        if frame is None or frame.positions.size != match.root.values.size:
            return None
        own = torch.from_numpy(frame.positions)
        if self.is_own(replay):
            return own
        if frame.positions.size == math.prod(frame.shape) and bool((own.ravel() == torch.arange(own.numel())).all()):
            return None
        known = zip(self.forward.operations, self.read, strict=True)
        here = {n: t for o, tensors_read in known for n, t in zip(o.inputs, tensors_read, strict=True)}
        here[root.outputs[0]] = torch.empty(match.root.shape)
        for node in match.nodes:
            operation = self.operation(node)
            if operation is None or node.shape != frame.shape:
                continue
            positions = moved_cells(self.forward, operation.number, root.number, here)
            if positions is not None and torch.equal(positions.reshape(-1), own.reshape(-1)):
                return moved_cells(replay, operation.number, root.number, tensors)
        raise ValueError("its cells are not where they were")

    def text(self, leaf: Operand) -> str:
        """Return the source of a leaf; empty where it is not known."""
        reader = self.reader(leaf)
        return "" if reader is None else operand_text(operator_of(reader[0], self.sites), leaf.place)


def _is_same(tensor: torch.Tensor, read: Operand) -> bool:
    return tensor.is_floating_point() and np.array_equal(to_numpy(tensor.detach()), read.values, equal_nan=True)


def _rewrite(position: int, pattern: Pattern, code: str, match: Match, program: _Program) -> Rewrite | None:
    letters = {name: name for name in match.leaves}
    try:
        computed = written(code, match, letters, "torch")
    except KeyError:
        return None  # it is about axes, and these operations take none together
    modules = modules_in(computed)

    operation = program.forward.operations[position]

    def output(replay: Replay, tensors: dict[int, torch.Tensor]) -> torch.Tensor:
        leaves = {name: program.tensor(match.leaf(name), operation, replay, tensors) for name in match.leaves}
        value = eval(computed, {**modules, **leaves})  # noqa: S307 - code of a pattern of ours
        frame = match.frame if program.is_own(replay) else None
        if frame is not None and torch.as_tensor(value).numel() != math.prod(frame.shape):
            raise ValueError("it has another shape")
        return _in_place(value, tensors[operation.outputs[0]], program.framed(match, operation, replay, tensors))

    names = {name: program.text(match.leaf(name)) or name for name in match.leaves}
    first = ("import torch.nn.functional as F\n" if "F." in computed else "") + (
        "import math\n" if "math." in computed else ""
    )
    said = f"# {place_words(operation, program.sites)}, in the place of {pattern.formula}{_inner_lines(match, program)}"
    text = f"{first}{said}\n{written(code, match, names, 'torch')}\n"
    fmt = FORMATS[str(operation.dtypes[0]).removeprefix("torch.")]
    extends = pattern.extends.format(limit=str(math.floor(fmt.exp_overflow.real)))
    return Rewrite(position, pattern.id, pattern.why, text, output, extends)


def _inner_lines(match: Match, program: _Program) -> str:
    """Say where the inner operations of a pattern stand, where that is on other lines."""
    nodes = [program.operation(node) for node in match.nodes]
    words = [place_words(o, program.sites) for o in nodes if o is not None]
    others = [w.rpartition(":")[2] for w in dict.fromkeys(words[1:]) if w and w != words[0]]
    return f", which begins on line {others[-1]}" if others else ""


def _in_place(value: torch.Tensor | float, old: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
    """Bring what code gives into the place of an output; `positions` are those of its cells in what is given."""
    tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=old.dtype)
    if tensor.dtype != old.dtype:
        raise TypeError("it is in another dtype")
    if positions is not None:
        return tensor.reshape(-1)[positions.reshape(-1)].reshape(old.shape)
    return tensor.reshape(old.shape) if tensor.numel() == old.numel() else tensor.broadcast_to(old.shape)


def read_by(replay: Replay) -> list[list[torch.Tensor]]:
    """Run a replay, and return what each operation read, as it was then."""
    tensors = {n: t.clone() for n, t in replay.leaves.items()}
    writes = any(o.plan.writes for o in replay.operations)
    read = []
    with ordinary():
        for operation in replay.operations:
            read.append([tensors[n].clone() if writes else tensors[n] for n in operation.inputs])
            apply(operation, tensors)
    return read
