"""Patterns as trees of operations, found in the data flow of a run."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.cures.flow import Reduction
from stablemax.trace.cures.leaf_names import FunctionSource, read_at, source_of_function

if TYPE_CHECKING:
    from stablemax.trace.cures.flow import Flow, FlowNode, Operand


@dataclass(frozen=True)
class Leaf:
    """Any array; one that occurs twice in a tree has to be the same numbers."""

    name: str


@dataclass(frozen=True)
class Constant:
    """A number that the code gives itself."""

    name: str


@dataclass(frozen=True)
class Number:
    """A certain number."""

    value: float


@dataclass(frozen=True)
class Apply:
    """An operation on what its parts stand for."""

    name: str
    parts: tuple[Tree, ...]


Tree = Leaf | Constant | Number | Apply


def op(name: str) -> Callable[..., Apply]:
    """Return a function that makes trees of an operation; numbers among its parts stand for themselves.

    >>> op("add")(1, Leaf("x"))
    Apply(name='add', parts=(Number(value=1.0), Leaf(name='x')))
    """
    return lambda *parts: Apply(name, tuple(Number(float(p)) if isinstance(p, (int, float)) else p for p in parts))


X, Y, A, B, C, EPS = Leaf("x"), Leaf("y"), Leaf("a"), Leaf("b"), Leaf("c"), Constant("eps")
N, POWER = Constant("n"), Constant("k")
add, subtract, multiply, divide, negative = map(op, ("add", "subtract", "multiply", "divide", "negative"))
exp, log, sqrt, power, square, reciprocal = map(op, ("exp", "log", "sqrt", "power", "square", "reciprocal"))
total, mean, product, running_product = map(op, ("sum", "mean", "prod", "cumprod"))
expm1, log1p, tanh, arctanh, sigmoid, softmax = map(op, ("expm1", "log1p", "tanh", "arctanh", "sigmoid", "softmax"))
norm, cos, sin, absolute = map(op, ("norm", "cos", "sin", "absolute"))

_AS_CODE = MappingProxyType(
    {
        "add": "({} + {})", "subtract": "({} - {})", "multiply": "({} * {})", "divide": "({} / {})",
        "power": "({} ** {})", "square": "({} ** 2)", "negative": "(-{})", "reciprocal": "(1 / {})",
        "rsqrt": "(1 / sqrt({}))", "minus_sigmoid": "(1 - sigmoid({}))", "sum_of_squares": "sum({} ** 2)",
        "inner": "dot({}, {})", "weighted_sum": "({} @ {})", "one_plus": "(1 + {})", "one_minus": "(1 - {})",
        "one_minus_exp": "(1 - exp({}))", "binary_cross_entropy.none": "bce({}, {})",
        "binary_cross_entropy.mean": "mean(bce({}, {}))", "binary_cross_entropy.sum": "sum(bce({}, {}))",
    }
)  # fmt: skip


def formula_of(tree: Tree) -> str:
    """Write a tree as code.

    >>> formula_of(log(add(1, exp(X)))), formula_of(divide(X, square(add(A, B))))
    ('log(1 + exp(x))', 'x / (a + b) ** 2')
    """
    return ast.unparse(ast.parse(_formula(tree), mode="eval"))


def _formula(tree: Tree) -> str:
    if isinstance(tree, Number):
        return f"{tree.value:g}"
    if not isinstance(tree, Apply):
        return tree.name
    parts = [_formula(part) for part in tree.parts]
    form = _AS_CODE.get(tree.name)
    return f"{tree.name}({', '.join(parts)})" if form is None else form.format(*parts)


COMMUTATIVE = frozenset(("add", "multiply", "logaddexp", "maximum", "minimum"))

SAME_AS: Mapping[str, str] = MappingProxyType(
    {
        "add.reduce": "sum", "multiply.reduce": "prod", "multiply.accumulate": "cumprod", "pow": "power",
        "linalg.norm": "norm", "linalg_vector_norm": "norm", "_softmax": "softmax", "atanh": "arctanh",
        "true_divide": "divide", "float_power": "power", "abs": "absolute", "amax": "max", "neg": "negative",
        "dot": "inner", "vdot": "inner", "comb": "binom",
    }
)  # fmt: skip
"""Other names of operations, as patterns call them."""

_REDUCING = frozenset(("sum", "mean", "prod", "max", "min", "cumsum", "cumprod", "norm", "softmax", "var", "std"))
"""Operations that take numbers together, whatever else they do."""

_PRODUCTS = frozenset(("matmul", "inner", "mv"))
"""Operations that, of an array and a vector, take sums with its weights."""

TRANSPARENT = frozenset(("astype", "_to_copy", "clone", "copy", "positive", "copysign_", "assign"))
"""Operations that hand on their numbers, rounded at most."""


@dataclass(frozen=True)
class Definition:
    """A form in which code writes an operation out of others, and which of its leaves are the parts."""

    form: Apply
    parts: tuple[str, ...] = ("x",)
    holds: Callable[[Match], bool] = lambda _: True


def _divides_by_count(match: Match) -> bool:
    frame = match.frame
    return frame is not None and match.constants["n"] * math.prod(frame.shape) == match.leaf("x").values.size


_LOG_LIKELIHOOD = add(multiply(B, log(A)), multiply(subtract(1, B), log(subtract(1, A))))
DEFINITIONS: Mapping[str, tuple[Definition, ...]] = MappingProxyType(
    {
        "reciprocal": (Definition(divide(1, X)), Definition(power(X, -1))),
        "divide": (Definition(multiply(A, op("reciprocal_node")(B)), ("a", "b")),),
        "negative": (Definition(multiply(-1, X)), Definition(subtract(0, X))),
        "square": (Definition(power(X, 2)), Definition(multiply(X, X))),
        "sqrt": (Definition(power(X, 0.5)),),
        "rsqrt": (Definition(reciprocal(sqrt(X))), Definition(power(X, -0.5))),
        "sigmoid": (
            Definition(reciprocal(add(1, exp(negative(X))))),
            Definition(reciprocal(add(1, reciprocal(exp(X))))),
            Definition(divide(exp(X), add(1, exp(X)))),
        ),
        "minus_sigmoid": (
            Definition(subtract(1, sigmoid(X))),
            Definition(reciprocal(add(1, exp(X)))),
            Definition(divide(exp(negative(X)), add(1, exp(negative(X))))),
        ),
        "softmax": (Definition(divide(exp(X), total(exp(X)))),),
        "sum_of_squares": (Definition(total(square(X))), Definition(op("inner")(X, X))),
        "norm": (Definition(sqrt(op("sum_of_squares")(X))),),
        "binary_cross_entropy.none": (Definition(negative(_LOG_LIKELIHOOD), ("a", "b")),),
        "binary_cross_entropy.mean": (Definition(negative(mean(_LOG_LIKELIHOOD)), ("a", "b")),),
        "binary_cross_entropy.sum": (Definition(negative(total(_LOG_LIKELIHOOD)), ("a", "b")),),
        "mean": (Definition(divide(total(X), N), holds=_divides_by_count),),
        "one_plus": (Definition(add(1, X)),),
        "one_minus": (Definition(subtract(1, X)),),
        "one_minus_exp": (Definition(subtract(1, exp(X))),),
        "expm1": (Definition(subtract(exp(X), 1)), Definition(add(exp(X), -1))),
        "cosh": (Definition(divide(add(exp(X), exp(negative(X))), 2)),),
        "sinh": (Definition(divide(subtract(exp(X), exp(negative(X))), 2)),),
    }
)
"""Operations that code writes out of others."""


@dataclass(frozen=True)
class Frame:
    """An array inside a match that is no operand of the root cell by cell: the output, or the input, of a reduction."""

    shape: tuple[int, ...]
    #: Flat positions of the root's cells in it, in the shape of the root.
    positions: Array
    reduction: Reduction | None
    #: What a reduction reads, and not what it gives.
    is_whole: bool = False

    def is_same(self, other: Frame) -> bool:
        """Tell whether the root's cells lie over another frame in the same way."""
        axes = (self.reduction and self.reduction.axes) == (other.reduction and other.reduction.axes)
        return axes and self.shape == other.shape and np.array_equal(self.positions, other.positions)


@dataclass(frozen=True)
class Match:
    """A tree found in a flow: what its leaves are, and which operations it is made of."""

    root: FlowNode
    #: Leaves by name; those inside a frame by its number, others by -1.
    leaves: Mapping[str, Mapping[int, Operand]] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    #: The constants as operations read them: their source may name them.
    constant_operands: Mapping[str, Operand] = field(default_factory=dict)
    frames: tuple[Frame, ...] = ()
    nodes: tuple[FlowNode, ...] = ()

    @property
    def frame(self) -> Frame | None:
        """The one frame of a settled match; None where all goes cell by cell."""
        return self.frames[0] if self.frames else None

    def leaf(self, name: str) -> Operand:
        """Return a leaf of a settled match."""
        return next(iter(self.leaves[name].values()))

    @property
    def keeps_axes(self) -> bool:
        """True where the root has the axes that its reduction takes together, of length 1."""
        frame = self.frame
        if frame is None or frame.reduction is None or frame.is_whole:
            return False
        if frame.reduction.keepdims or frame.shape == self.root.shape:
            return frame.reduction.keepdims
        # JAX takes them together first, and puts them back.
        inside = next((leaf[0] for leaf in self.leaves.values() if 0 in leaf), None)
        axes = frame.reduction.axes
        return inside is not None and self.root.shape == tuple(
            1 if i in axes else n for i, n in enumerate(inside.shape)
        )


@dataclass(frozen=True)
class Matcher:
    """Finds trees in one flow."""

    flow: Flow
    _sources: dict[CodeType, FunctionSource | None] = field(default_factory=dict, compare=False, repr=False)

    def at(self, tree: Tree, root: FlowNode) -> Match | None:
        """Return the first match of a tree whose root is an operation."""
        assert isinstance(tree, Apply), "a pattern is an operation"
        found = (self._settled(match) for match in self._applied(tree, root, None, -1, Match(root)))
        return next((match for match in found if match is not None), None)

    def _applied(
        self, tree: Apply, node: FlowNode, positions: Array | None, frame: int, match: Match
    ) -> Iterator[Match]:
        """Match an operation at a node, of whose output the cells at `positions` are meant."""
        for operands, inside, grown in self._views(tree.name, node, positions, frame, match):
            parts = tree.parts
            if len(parts) != len(operands):
                continue
            orders = [operands, operands[::-1]] if tree.name in COMMUTATIVE and len(parts) == 2 else [operands]
            for order in orders:
                yield from self._all(list(zip(parts, order, strict=True)), inside, grown)

    def _all(self, pairs: list[tuple[Tree, Operand]], frame: int, match: Match) -> Iterator[Match]:
        if not pairs:
            yield match
            return
        (tree, operand), *rest = pairs
        for grown in self._of(tree, operand, frame, match):
            yield from self._all(rest, frame, grown)

    def _of(self, tree: Tree, operand: Operand, frame: int, match: Match) -> Iterator[Match]:
        if isinstance(tree, Number):
            if self.number(operand) == tree.value and not self._is_given(operand):
                yield match
        elif isinstance(tree, Constant):
            number = self.number(operand)
            if number is not None and match.constants.get(tree.name, number) == number:
                yield with_constant(match, tree.name, number, operand)
        elif isinstance(tree, Leaf):
            yield from self._leaf(tree.name, operand, frame, match)
        else:
            origin = self.flow.origin(operand)
            if origin is not None and origin.node.name != "argument":
                yield from self._applied(tree, origin.node, origin.positions, frame, match)

    def _leaf(self, name: str, operand: Operand, frame: int, match: Match) -> Iterator[Match]:
        known = match.leaves.get(name, {})
        if frame in known and not self.is_same(known[frame], operand):
            return
        yield _with(match, leaves={**match.leaves, name: {frame: operand, **known}})

    def _views(
        self, name: str, node: FlowNode, positions: Array | None, frame: int, match: Match
    ) -> Iterator[tuple[list[Operand], int, Match]]:
        """Yield the operands of an operation of a name that a node is, as it stands or written out of others."""
        grown = _with(match, nodes=(*match.nodes, node))
        own = SAME_AS.get(node.name, node.name)
        if own in TRANSPARENT and len(node.operands) >= 1:
            origin = self.flow.origin(node.operands[0].at(node.shape, positions))
            if origin is not None and origin.node.name != "argument":
                yield from self._views(name, origin.node, origin.positions, frame, grown)
            return
        if own == name or (name, own) == ("reciprocal_node", "reciprocal"):
            yield from self._operands(node, positions, frame, grown)
        if name == "weighted_sum" and own in _PRODUCTS:
            yield from _weighted(node, positions, frame, grown)
        for definition in DEFINITIONS.get(name, ()):
            for found in self._applied(definition.form, node, positions, -1, Match(match.root, nodes=match.nodes)):
                settled = self._settled(found)
                if settled is None or (settled.frame and frame != -1) or not definition.holds(settled):
                    continue
                operands, inside, frames = [settled.leaf(p) for p in definition.parts], frame, match.frames
                if settled.frame is not None:
                    inside, frames = len(frames), (*frames, settled.frame)
                yield operands, inside, _with(match, frames=frames, nodes=settled.nodes)

    def views(self, name: str, root: FlowNode) -> Iterator[tuple[list[Operand], int, Match]]:
        """Yield the operands of the operation of a name that a root is, as it stands or written out of others."""
        yield from self._views(name, root, None, -1, Match(root))

    def operand_views(
        self, name: str, operand: Operand, frame: int, match: Match
    ) -> Iterator[tuple[list[Operand], int, Match]]:
        """Yield the operands of the operation of a name that made an operand; nothing for one of the arguments."""
        origin = self.flow.origin(operand)
        if origin is not None and origin.node.name != "argument":
            yield from self._views(name, origin.node, origin.positions, frame, match)

    def _operands(
        self, node: FlowNode, positions: Array | None, frame: int, match: Match
    ) -> Iterator[tuple[list[Operand], int, Match]]:
        reduction, name = node.reduction, SAME_AS.get(node.name, node.name)
        if reduction is None and name in _REDUCING:
            return  # of some of its numbers alone
        if name == "inner":
            if any(len(operand.shape) != 1 for operand in node.operands):
                return
            reduction = Reduction((0,), is_of_all=True)
        if reduction is not None:
            if frame != -1:
                return
            whole = np.arange(node.values.size).reshape(node.shape) if positions is None else positions
            frames = (*match.frames, Frame(node.shape, whole, reduction))
            yield list(node.operands), len(match.frames), _with(match, frames=frames)
            return
        try:
            yield [o.at(node.shape, positions) for o in node.operands], frame, match
        except ValueError:
            return

    def _settled(self, match: Match) -> Match | None:
        """Bring all leaves into one frame; None where they do not lie over each other."""
        if not match.frames:
            return match
        first, *others = match.frames
        inside = {name: {f: o for f, o in leaf.items() if f != -1} for name, leaf in match.leaves.items()}
        outside = {name: leaf[-1] for name, leaf in match.leaves.items() if -1 in leaf}
        if not all(first.is_same(o) for o in others) or any(not inside[name] for name in outside):
            return None
        leaves: dict[str, dict[int, Operand]] = {}
        for name, by_frame in inside.items():
            one, *rest = by_frame.values()
            if not all(self.is_same(one, o) for o in rest):
                return None
            leaves[name] = {0: one}
        frame = first
        for name, part in outside.items():
            whole = _whole_frame(part, leaves[name][0], first)
            if whole is None or (frame.is_whole and not frame.is_same(whole)):
                return None
            frame = whole
        return _with(match, leaves=leaves, frames=(frame,))

    def number(self, operand: Operand) -> float | None:
        """Return the one number that an operand is, where no operation made it."""
        flat = operand.values.ravel().astype(np.float64)
        if not flat.size or (flat != flat[0]).any() or self.flow.origin(operand) is not None:
            return None
        # As the code writes it: JAX has rounded it to the format already.
        return float(str(operand.values.ravel()[0]))

    def _is_given(self, operand: Operand) -> bool:
        """Tell whether the code has a number from its caller: then it may be another one the next time."""
        reader = self.flow.nodes[operand.reader] if operand.reader >= 0 else None
        if reader is None or reader.source is None:
            return False
        code = reader.source.code
        if code not in self._sources:
            self._sources[code] = source_of_function(code, reader.source.names)
        source = self._sources[code]
        return source is not None and source.reads_parameter(read_at(source, reader, operand))

    def is_same(self, one: Operand, other: Operand) -> bool:
        """Tell whether two operands are the same numbers of the run, and not only equal ones."""
        if one.shape != other.shape:
            return False
        if one.identities == other.identities:
            return True
        if self.flow.origin(one) is not None or self.flow.origin(other) is not None:
            return False
        return bool(np.array_equal(one.values, other.values, equal_nan=True))


def _weighted(
    node: FlowNode, positions: Array | None, frame: int, match: Match
) -> Iterator[tuple[list[Operand], int, Match]]:
    """Yield an array and the vector of weights with which sums of its last axis are taken."""
    if frame != -1 or len(node.operands) != 2:
        return
    array, weights = node.operands
    if len(weights.shape) != 1 or not array.shape or node.shape != array.shape[:-1]:
        return
    last = len(array.shape) - 1
    whole = np.arange(node.values.size).reshape(node.shape) if positions is None else positions
    frames = (*match.frames, Frame(node.shape, whole, Reduction((last,), is_of_all=not last)))
    yield [array, weights.at(array.shape, None)], len(match.frames), _with(match, frames=frames)


_FIELDS = ("root", "leaves", "constants", "constant_operands", "frames", "nodes")


def with_constant(match: Match, name: str, number: float, operand: Operand) -> Match:
    """Return a match with one more constant."""
    operands = {**match.constant_operands, name: operand}
    return _with(match, constants={**match.constants, name: number}, constant_operands=operands)


def _with(match: Match, **changes: object) -> Match:
    kept = {name: getattr(match, name) for name in _FIELDS}
    return Match(**{**kept, **changes})


def _whole_frame(part: Operand, whole: Operand, frame: Frame) -> Frame | None:
    """Return the frame of an array that the root reads cell by cell, and reduced; None where the two do not fit."""
    positions, reduction = _positions_in(part, whole), frame.reduction
    if positions is None or reduction is None or frame.is_whole:
        return None
    kept = [1 if i in reduction.axes else n for i, n in enumerate(whole.shape)]
    if math.prod(kept) != math.prod(frame.shape):
        return None
    groups = np.broadcast_to(np.arange(math.prod(kept)).reshape(kept), whole.shape).ravel()
    try:
        over = np.broadcast_to(frame.positions, part.shape)
    except ValueError:
        return None
    return Frame(whole.shape, positions, reduction, is_whole=True) if (groups[positions] == over).all() else None


def _positions_in(part: Operand, whole: Operand) -> Array | None:
    """Return where the cells of one operand stand in another, flat; None where one of them does not."""
    if part.identities == whole.identities and part.shape == whole.shape:
        return np.arange(part.values.size).reshape(part.shape)
    where = {identity: i for i, identity in enumerate(whole.identities)}
    found = [where.get(identity, -1) for identity in part.identities]
    return None if -1 in found else np.array(found, dtype=np.int64).reshape(part.shape)
