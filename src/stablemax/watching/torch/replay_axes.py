"""The axes of a replay: which dimensions of its tensors are one and the same, and are cut together, as a batch is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from stablemax.watching.torch.replay import Replay, ReplayedOperation, TensorNumber, schema_arguments

Dimension = tuple[int, ...]
"""The axes that a dimension runs over, the outermost first: two where a view put them together, none where it is 1."""


@dataclass
class Axes:
    """The dimensions of all tensors, as the axes that they run over.

    Two axes become one where an operation needs them to be equally long. Too much in one does no harm: a cut of it is
    then a cut of both. What is cut runs again, and shows the fault or not.
    """

    #: By the numbers of the tensors.
    dimensions: dict[int, list[Dimension]] = field(default_factory=dict)
    _sizes: list[int] = field(default_factory=list)
    #: What an axis was made one with, or split into.
    _became: dict[int, Dimension] = field(default_factory=dict)
    _whole: set[int] = field(default_factory=set)

    def fresh(self, size: int) -> Dimension:
        """Return a new axis of a size."""
        if size == 1:
            return ()
        self._sizes.append(size)
        return (len(self._sizes) - 1,)

    def size(self, axis: int) -> int:
        """Return the length of an axis."""
        return self._sizes[axis]

    def of(self, dimension: Iterable[int]) -> Dimension:
        """Return the axes of a dimension as they are known by now."""
        flat: list[int] = []
        for axis in dimension:
            flat += self.of(self._became[axis]) if axis in self._became else (axis,)
        return tuple(flat)

    def keep_whole(self, dimension: Dimension) -> None:
        """Note that indices, windows or slices count the numbers along a dimension: it is not cut."""
        self._whole |= set(self.of(dimension))

    def may_be_cut(self, axis: int) -> bool:
        """Tell whether an axis may be cut."""
        return axis not in {a for kept in self._whole for a in self.of((kept,))}

    def unite(self, one: Dimension, other: Dimension) -> None:
        """Make two dimensions one."""
        while True:
            a, b = list(self.of(one)), list(self.of(other))
            if math.prod(map(self.size, a)) != math.prod(map(self.size, b)):
                return
            while a and b and a[-1] == b[-1]:
                a.pop(), b.pop()
            if not a or not b:
                return
            x, y = sorted((a[-1], b[-1]), key=self.size)
            if self.size(x) == self.size(y):
                self._became[y] = (x,)
            elif not self._split(y, self.size(x)):
                self.keep_whole((*a, *b))
                return

    def _split(self, axis: int, inner: int) -> bool:
        """Split an axis in two, the inner one of a size."""
        if self.size(axis) % inner:
            return False
        self._became[axis] = (*self.fresh(self.size(axis) // inner), *self.fresh(inner))
        return True

    def regrouped(self, dimensions: Sequence[Dimension], sizes: Sequence[int]) -> list[Dimension]:
        """Lay the axes of dimensions into other ones, as a view does."""
        waiting = list(self.of(a for d in dimensions for a in d))
        out: list[Dimension] = []
        for size in sizes:
            group: list[int] = []
            left = size
            while left > 1:
                axis = waiting.pop(0)
                own = self.size(axis)
                if own > left:
                    if own % left or not self._split(axis, own // left):
                        self.keep_whole((axis, *waiting, *group))
                        return [self._kept(n) for n in sizes]
                    axis, *rest = self.of((axis,))
                    waiting = [*rest, *waiting]
                    own = left
                if left % own:
                    self.keep_whole((axis, *waiting, *group))
                    return [self._kept(n) for n in sizes]
                group.append(axis)
                left //= own
            out.append(tuple(group))
        return out

    def _kept(self, size: int) -> Dimension:
        dimension = self.fresh(size)
        self.keep_whole(dimension)
        return dimension


def axes_of(replay: Replay, tensors: Mapping[int, torch.Tensor]) -> Axes:
    """Find the axes of a replay; `tensors` are all of its tensors, by their numbers."""
    axes = Axes()
    for number, tensor in replay.leaves.items():
        axes.dimensions[number] = [axes.fresh(n) for n in tensor.shape]
    for operation in replay.operations:
        _Labelling(operation, axes, tensors).label()
    return axes


_VIEWS_OF_SIZE = frozenset(("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy"))
_PRODUCTS = frozenset(("mm", "bmm", "addmm", "baddbmm"))
_WINDOWS = frozenset(("convolution", "_convolution", "convolution_backward"))


@dataclass(frozen=True)
class _Labelling:
    """Gives the results of one operation their axes."""

    operation: ReplayedOperation
    axes: Axes
    tensors: Mapping[int, torch.Tensor]

    def label(self) -> None:
        operation, name, dims = self.operation, self.operation.plan.name, self.axes.dimensions
        inputs = operation.inputs
        outputs = [n for n in operation.outputs if n not in dims]
        if not inputs:
            for n in outputs:
                dims[n] = [self.axes.fresh(size) for size in self._shape(n)]
        elif name in _VIEWS_OF_SIZE:
            dims[outputs[0]] = self.axes.regrouped(dims[inputs[0]], self._shape(outputs[0]))
        elif name in _PRODUCTS:
            self._multiply(inputs, outputs[0])
        elif name in _WINDOWS:
            self._slide(inputs, outputs)
        elif counted_along(operation, dims):
            self._pick(inputs, outputs)
        elif name == "expand" or operation.plan.is_pointwise:
            self._broadcast(inputs, outputs)
        elif not operation.plan.is_checked and len(inputs) == 1 and not operation.plan.writes:
            self._move(inputs[0], outputs)
        else:
            self._match(inputs, outputs)

    def _shape(self, number: int) -> tuple[int, ...]:
        return tuple(self.tensors[number].shape)

    def _broadcast(self, inputs: list[int], outputs: list[int]) -> None:
        dims = self.axes.dimensions
        for n in outputs:
            dims[n] = [self.axes.fresh(size) for size in self._shape(n)]
        for n in outputs or self.operation.outputs:
            for i in inputs:
                for mine, its in zip(dims[n][::-1], dims[i][::-1], strict=False):
                    self.axes.unite(mine, its)

    def _multiply(self, inputs: list[int], output: int) -> None:
        dims, axes = self.axes.dimensions, self.axes
        *_, left, right = inputs
        axes.unite(dims[left][-1], dims[right][-2])
        for mine, its in zip(dims[left][:-2], dims[right][:-2], strict=True):
            axes.unite(mine, its)
        dims[output] = [*dims[left][:-1], dims[right][-1]]
        if len(inputs) > 2:
            for mine, its in zip(dims[output][::-1], dims[inputs[0]][::-1], strict=False):
                axes.unite(mine, its)

    def _slide(self, inputs: list[int], outputs: list[int]) -> None:
        """Label what a convolution gives: the batch goes through, all else stays whole."""
        dims, axes = self.axes.dimensions, self.axes
        for n in inputs:
            for dimension in dims[n][1:]:
                axes.keep_whole(dimension)
        alike = {self._shape(n): n for n in inputs}
        for n in outputs:
            same = alike.get(self._shape(n))
            dims[n] = [axes.fresh(size) for size in self._shape(n)] if same is None else list(dims[same])
            if same is None:
                for dimension in dims[n][1:]:
                    axes.keep_whole(dimension)
        if self.operation.plan.name == "convolution_backward":
            axes.unite(dims[inputs[0]][0], dims[inputs[1]][0])
            axes.keep_whole(dims[inputs[2]][0])
        else:
            axes.unite(dims[outputs[0]][0], dims[inputs[0]][0])
            axes.keep_whole(dims[inputs[1]][0])

    def _pick(self, inputs: list[int], outputs: list[int]) -> None:
        """Label what indices pick: a dimension that a range counts along is that of the range."""
        dims, axes = self.axes.dimensions, self.axes
        counted = counted_along(self.operation, dims)
        for number, dimension in counted:
            own, size = self.tensors[number], math.prod(map(axes.size, axes.of(dimension)))
            if own.ndim == 1 and torch.equal(own, torch.arange(size, dtype=own.dtype)):
                axes.unite(dims[number][0], dimension)
        given = schema_arguments(self.operation)
        source = (given.get("self") or given["weight"]).number
        picked = [d for d in dims[source] if d not in [dimension for _, dimension in counted]]
        rows = [dims[number] for number, _ in counted]
        is_row_by_row = self.operation.plan.name in _OF_LABELS or self.operation.plan.name == _GATHER
        if is_row_by_row:
            # Each row has indices of its own.
            for mine, its in zip([d for d in rows[0] if d], picked, strict=False):
                axes.unite(mine, its)
            picked = []
        for other in rows[1:]:
            for mine, its in zip(rows[0][::-1], other[::-1], strict=False):
                axes.unite(mine, its)
        for n in outputs:
            alike = next((i for i in inputs if self._shape(i) == self._shape(n)), None)
            both = [] if not self._shape(n) else [*rows[0], *picked] if alike is None else dims[alike]
            if tuple(math.prod(map(axes.size, axes.of(d))) for d in both) == self._shape(n):
                dims[n] = list(both)
            else:
                dims[n] = [axes.fresh(size) for size in self._shape(n)]
                for dimension in (*dims[n], *both):
                    axes.keep_whole(dimension)
        others = [] if is_row_by_row else inputs
        values = [n for n in others if n != source and n not in [number for number, _ in counted]]
        for n in values:
            for mine, its in zip([*rows[0], *picked][::-1], dims[n][::-1], strict=False):
                axes.unite(mine, its)

    def _move(self, source: int, outputs: list[int]) -> None:
        """Label views: the strides of a view tell which dimension each of its own is."""
        dims, axes = self.axes.dimensions, self.axes
        shape = self._shape(source)
        results = _on_meta(self.operation, shape)
        if results is None or len(results) != len(outputs):
            self._match([source], outputs)
            return
        strides = torch.empty(shape, device="meta").stride()
        among: dict[int, tuple[int, ...]] = {stride: (i,) for i, stride in enumerate(strides) if shape[i] != 1}
        for i, j in itertools.combinations(range(len(shape)), 2):
            if shape[i] == shape[j]:
                among.setdefault(strides[i] + strides[j], (i, j))  # a diagonal runs over both at once
        seen: set[int] = set()
        for n, view in zip(outputs, results, strict=True):
            dims[n] = []
            for size, stride in zip(view.shape, view.stride(), strict=True):
                over = among.get(stride, ())
                if size == 1 or not over or shape[over[0]] != size:
                    dims[n].append(axes.fresh(size))
                    axes.keep_whole(dims[n][-1])
                    continue
                seen |= set(over)
                axes.unite(dims[source][over[0]], dims[source][over[-1]])
                dims[n].append(dims[source][over[0]])
        for i in set(range(len(shape))) - seen:
            axes.keep_whole(dims[source][i])

    def _match(self, inputs: list[int], outputs: list[int]) -> None:
        """Label the results of any other operation: dimensions that are equally long are taken for the same."""
        dims, axes = self.axes.dimensions, self.axes
        first = inputs[0]
        for n in outputs:
            dims[n] = self._of_result(inputs, self._shape(n))
        for i in inputs[1:]:
            partner = next((n for n in (first, *outputs) if self._shape(n) == self._shape(i)), None)
            rank = len(self._shape(i))
            if partner is not None:
                for mine, its in zip(dims[partner], dims[i], strict=True):
                    axes.unite(mine, its)
            elif rank and self._shape(first)[-rank:] == self._shape(i):
                for mine, its in zip(dims[first][-rank:], dims[i], strict=True):
                    axes.unite(mine, its)
            else:
                self._unite_with_equal([first, *outputs], self._shape(i), dims[i])
        self._keep_what_is_counted([*inputs, *outputs])

    def _of_result(self, inputs: list[int], shape: tuple[int, ...]) -> list[Dimension]:
        dims, axes, own = self.axes.dimensions[inputs[0]], self.axes, self._shape(inputs[0])
        same = next((i for i in inputs if self._shape(i) == shape), None)
        if same is not None:
            return list(self.axes.dimensions[same])
        kept = self._kept_of(inputs[0])
        if kept is not None and tuple(own[i] for i in kept) == shape:
            return [dims[i] for i in kept]
        result = [axes.fresh(size) for size in shape]
        if len(shape) != len(own):
            self._unite_with_equal(inputs, shape, result)
            return result
        for size, old, dimension, new in zip(shape, own, dims, result, strict=True):
            if size == old:
                axes.unite(dimension, new)
            elif size != 1:
                axes.keep_whole((*dimension, *new))
        return result

    def _kept_of(self, number: int) -> list[int] | None:
        """Return the dimensions that a reduction along some keeps; None where none are named."""
        named = schema_arguments(self.operation).get("dim")
        if not isinstance(named, (int, list, tuple)) or isinstance(named, bool):
            return None
        rank = len(self._shape(number))
        away = {d % rank for d in (named if isinstance(named, (list, tuple)) else [named])} if rank else set()
        return [i for i in range(rank) if i not in away]

    def _unite_with_equal(self, ones: Iterable[int], shape: Sequence[int], dimensions: Sequence[Dimension]) -> None:
        """Make dimensions one with those that are as long; one without such a partner stays whole."""
        dims = self.axes.dimensions
        sized = [(size, d) for n in ones for size, d in zip(self._shape(n), dims[n], strict=True) if size > 1]
        for size, dimension in zip(shape, dimensions, strict=True):
            partners = [d for s, d in sized if s == size]
            for partner in partners:
                self.axes.unite(dimension, partner)
            if not partners:
                self.axes.keep_whole(dimension)

    def _keep_what_is_counted(self, numbers: Iterable[int]) -> None:
        """Keep the dimensions whole that integers may count along."""
        dims, numbers = self.axes.dimensions, list(numbers)
        whole = [n for n in numbers if self.tensors[n].dtype == torch.int64 and self.tensors[n].ndim]
        over = {a for n in whole for d in dims[n] for a in self.axes.of(d)}
        if not whole:
            return
        for n in set(numbers) - set(whole):
            for dimension in dims[n]:
                if not over & set(self.axes.of(dimension)):
                    self.axes.keep_whole(dimension)


_INDEXING = frozenset(("index", "index_put", "_unsafe_index", "_unsafe_index_put"))
_GATHER = "gather"
_OF_LABELS = frozenset(("nll_loss_forward", "nll_loss_backward"))


def counted_along(
    operation: ReplayedOperation, dimensions: Mapping[int, Sequence[Dimension]]
) -> list[tuple[int, Dimension]]:
    """Return the tensors of indices of an operation, and the dimensions that they count along."""
    given = schema_arguments(operation)
    source, target = given.get("self") or given.get("weight"), given.get("target")
    if not isinstance(source, TensorNumber):
        return []
    dims = dimensions[source.number]
    if operation.plan.name in _INDEXING:
        return [(v.number, dims[i]) for i, v in enumerate(given["indices"]) if isinstance(v, TensorNumber)]
    if operation.plan.name in _OF_LABELS and isinstance(target, TensorNumber):
        return [(target.number, dims[-1])]
    if operation.plan.name == "embedding":
        return [(given["indices"].number, dims[0])]
    index, dim = given.get("index"), given.get("dim")
    if operation.plan.name == _GATHER and isinstance(index, TensorNumber) and isinstance(dim, int) and dims:
        return [(index.number, dims[dim])]
    return []


def _on_meta(operation: ReplayedOperation, shape: Sequence[int]) -> list[torch.Tensor] | None:
    """Run a view on a tensor without numbers."""
    source = torch.empty(tuple(shape), device="meta")

    def real(value: Any) -> Any:
        return source if isinstance(value, TensorNumber) else value

    try:
        result = operation.function(*map(real, operation.arguments), **operation.options)
    except (RuntimeError, NotImplementedError, TypeError):
        return None
    return [t for t in (result if isinstance(result, (list, tuple)) else (result,)) if isinstance(t, torch.Tensor)]
