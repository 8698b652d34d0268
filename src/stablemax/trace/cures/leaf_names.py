"""What the user's source calls the numbers that a pattern is about."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.trace.traced_code import block_of, parsed

if TYPE_CHECKING:
    from stablemax.trace.cures.flow import Flow, FlowNode, Operand, SourceRange
    from stablemax.trace.cures.matching import Match

_ATOMS = (ast.Name, ast.Call, ast.Attribute, ast.Subscript, ast.Constant, ast.List, ast.Tuple)


@dataclass(frozen=True)
class FunctionSource:
    """The source of one function, its tree, and the names that its module gives it."""

    lines: list[str]
    #: Number of the first line in its file.
    first: int
    tree: ast.FunctionDef
    globals: dict[str, Any]

    def node_at(self, source: SourceRange) -> ast.expr | None:
        """Return the expression at a range of the file."""
        wanted = source.line, source.column, source.end_line, source.end_column
        for node in ast.walk(self.tree):
            if isinstance(node, ast.expr):
                at = node.lineno, node.col_offset, node.end_lineno, node.end_col_offset
                if at == wanted:
                    return node
        return None

    def text(self, node: ast.expr) -> str:
        """Return the text of an expression on one line, in brackets where it needs them."""
        whole = ast.unparse(node)
        return whole if isinstance(node, _ATOMS) else f"({whole})"

    def operands(self, node: ast.expr) -> list[ast.expr]:
        """Return the expressions that an operation's expression reads, in their order."""
        if isinstance(node, ast.BinOp):
            return [node.left, node.right]
        if isinstance(node, ast.UnaryOp):
            return [node.operand]
        if not isinstance(node, ast.Call):
            return []
        function = node.func
        if isinstance(function, ast.Attribute) and not self._is_module(function.value):
            return [function.value, *node.args]
        return list(node.args)

    def reads_parameter(self, node: ast.expr | None) -> bool:
        """Tell whether an expression is of what the caller gave, as it is: no function looked at that."""
        given = self.tree.args
        parameters = {a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
        parts = [] if node is None else list(ast.walk(node))
        is_of_parameter = any(isinstance(n, ast.Name) and n.id in parameters for n in parts)
        return is_of_parameter and not any(isinstance(n, ast.Call) for n in parts)

    def is_array(self, name: ast.Name, node: FlowNode, shape: tuple[int, ...]) -> bool:
        """Tell whether a variable may hold an array of a shape; where nothing is known of variables, any may."""
        if node.variables:
            return bool(_shape_of(node.variables.get(name.id)) == shape)
        return not self._is_module(name)

    def _is_module(self, node: ast.expr) -> bool:
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and isinstance(self.globals.get(node.id), ModuleType)


def source_of_function(code: CodeType, names: dict[str, Any]) -> FunctionSource | None:
    """Return the source of the function of a code object; None where it is not known. `names` are its module's."""
    block = block_of(code)
    tree = parsed(block, code.co_firstlineno)
    return FunctionSource(block, code.co_firstlineno, tree, names) if isinstance(tree, ast.FunctionDef) else None


def leaf_text(source: FunctionSource, flow: Flow, match: Match, operand: Operand) -> str | None:
    """Return an expression for a leaf that means the same at the root of a match; None where there is none.

    Of a leaf that is some cells of what an operation read, it is the expression for all of them.
    """
    root, reader = match.root, flow.nodes[operand.reader]
    wanted = operand.shape, operand.identities
    for name, value in root.variables.items():
        if value == wanted and name.isidentifier():
            return name
    node = read_at(source, reader, operand)
    return source.text(node) if node is not None and _means_the_same(node, reader, root) else None


def whole_shape(flow: Flow, match: Match) -> tuple[int, ...] | None:
    """Return the shape of the array that the leaves of a match are cells of; None where they are arrays themselves."""
    if match.frame is not None:
        is_whole = in_order(match.frame.positions) and (match.frame.shape == match.root.shape or match.keeps_axes)
        return None if is_whole else match.frame.shape
    read = [flow.nodes[o.reader].operands[o.place] for o in map(match.leaf, match.leaves)]
    try:
        shape = np.broadcast_shapes(*(operand.shape for operand in read))
        spread = [operand.at(shape, None) for operand in read]
    except ValueError:
        return ()
    if shape != match.root.shape:
        return shape
    alike = zip(spread, map(match.leaf, match.leaves), strict=True)
    return None if all(one.identities == leaf.identities for one, leaf in alike) else shape


def read_at(source: FunctionSource, reader: FlowNode, operand: Operand) -> ast.expr | None:
    """Return the expression that an operation read an operand from."""
    if reader.source is None:
        return None
    whole = source.node_at(reader.source)
    expressions = [] if whole is None else source.operands(whole)
    # PyTorch divides a number by an array as the inverse of the array, times the number.
    place = len(expressions) - 1 if len(reader.operands) == 1 and isinstance(whole, ast.BinOp) else operand.place
    if place >= len(expressions):
        return None
    if isinstance(whole, ast.BinOp) and len(reader.operands) == len(expressions):
        # PyTorch has the array first in `1 + x`, too.
        read = reader.operands[place]
        place = max(place, 1 - place, key=lambda i: _likeness(expressions[i], reader, read))
    return expressions[place]


def _likeness(node: ast.expr, reader: FlowNode, operand: Operand) -> int:
    """Tell how well an expression may be where an operand was read: 0 where it is not, 2 for the number itself."""
    if isinstance(node, ast.Constant):
        # Another number may be this one, rounded.
        return (1 + (operand.values.tolist() == node.value)) * (operand.shape == ())
    shape = _shape_of(reader.variables.get(node.id)) if isinstance(node, ast.Name) else None
    return int(shape is None or shape == operand.shape)


def _means_the_same(node: ast.expr, then: FlowNode, now: FlowNode) -> bool:
    if then.source is None or now.source is None or then.source.code is not now.source.code:
        return False
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return all(then.variables.get(name) == now.variables.get(name) for name in names)


def moved_texts(source: FunctionSource, flow: Flow, match: Match, text: str) -> Iterator[str]:
    """Yield expressions for the root's cells, where `text` stands for an array that these are some cells of.

    Whatever the code does to an array of that shape on the way to the root is done to the text in its place.
    """
    root, frame, shape = match.root, match.frame, whole_shape(flow, match)
    if shape is None:
        yield text
        return
    whole = None if root.source is None else source.node_at(root.source)
    if whole is None:
        return
    for node in _reached(source.tree, whole):
        base = _base(node)
        if isinstance(base, ast.Name) and source.is_array(base, root, shape):
            yield ast.unparse(_Swapped(base, text).visit(ast.parse(ast.unparse(node), mode="eval").body))
    if frame is not None and frame.positions.size == math.prod(shape) and in_order(frame.positions):
        yield f"({text}).reshape({root.shape})"


def in_order(positions: Any) -> bool:
    """Tell whether positions are those of a whole array, one after the other."""
    return bool((positions.ravel() == np.arange(positions.size)).all())


def _shape_of(fingerprint: Any) -> Any:
    return fingerprint[0] if isinstance(fingerprint, tuple) else None


def _base(node: ast.expr) -> ast.expr | None:
    """Return what an expression takes some cells of."""
    if isinstance(node, ast.Subscript):
        return node.value
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.args[:1] and isinstance(node.args[0], ast.Name):
            return node.args[0]
        return node.func.value if isinstance(node.func, ast.Attribute) else None
    return None


def _reached(tree: ast.AST, expression: ast.expr) -> Iterator[ast.expr]:
    """Yield the expressions that an expression is made of, also through variables that are assigned once."""
    assigned: dict[str, list[ast.expr]] = {}
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            if isinstance(target, ast.Name):
                assigned.setdefault(target.id, []).append(statement.value)
    waiting, seen = [expression], set[str]()
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.expr):
                yield node
            if isinstance(node, ast.Name) and node.id not in seen and len(assigned.get(node.id, [])) == 1:
                seen.add(node.id)
                waiting += assigned[node.id]


class _Swapped(ast.NodeTransformer):
    """Puts a text in the place of the first of a name."""

    def __init__(self, base: ast.Name, text: str) -> None:
        self._name, self._text, self._done = base.id, text, False

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Swap the first."""
        if node.id != self._name or self._done:
            return node
        self._done = True
        return ast.parse(self._text, mode="eval").body
