"""What may be written in place of an operator at a singular point: every candidate is source that can be run."""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from stablemax.trace.rewritten_source import Expression, Rewriting
from stablemax.trace.torch.singular_points import SingularPoint


@dataclass(frozen=True)
class Operator:
    """An operator of PyTorch as the traced code calls it."""

    expression: Expression
    #: The globals of its function.
    names: Mapping[str, Any]

    @property
    def operands(self) -> list[ast.expr]:
        """Its arguments by position, the object of a method the first of them."""
        node = self.expression.node
        if isinstance(node, ast.BinOp):
            return [node.left, node.right]
        if not isinstance(node, ast.Call):
            return []
        of_module = not isinstance(node.func, ast.Attribute) or self._is_module(node.func.value)
        return [*node.args] if of_module else [node.func.value, *node.args]  # type: ignore[union-attr]

    def _is_module(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Attribute):
            return self._is_module(node.value)
        return isinstance(node, ast.Name) and isinstance(self.names.get(node.id), types.ModuleType)

    @property
    def torch(self) -> str:
        """What the traced code calls PyTorch."""
        return next((name for name, value in self.names.items() if value is torch), "")

    @property
    def dim(self) -> str:
        """The axis that it is told of; the last where it is told of none."""
        node = self.expression.node
        keywords = node.keywords if isinstance(node, ast.Call) else []
        named = next((k.value for k in keywords if k.arg in ("dim", "axis")), None)
        dim = named or (self.operands[1] if len(self.operands) > 1 else None)
        return "-1" if dim is None else self.expression.source_of(dim)


def candidates(operator: Operator, point: SingularPoint) -> Iterator[Rewriting]:
    """Yield what may be written: the double ``where`` on the code's own condition first, then the point's cures."""
    place, operands = operator.expression, operator.operands
    if len(operands) <= point.operand:
        return
    blamed = operands[point.operand]
    called = _resolved(blamed, place)
    if point.operand_calls and _called(called) not in point.operand_calls:
        return
    conditions = _conditions(place)
    for is_hoisted in (True, False):
        names, before = _named(operator, hoist=is_hoisted)
        x = names[point.operand]
        imported = () if operator.torch else ("import torch",)
        slots = {"torch": operator.torch or "torch", "x": names[0], "y": (*names, "")[1], "dim": operator.dim}
        inner = getattr(called, "args", None) or [getattr(getattr(called, "func", None), "value", None)]
        slots |= {"call": place.text, "inner": ast.unparse(inner[0]) if inner and inner[0] is not None else ""}
        slots["detached"] = place.with_part(blamed, f"{x}.detach()")
        regular = _filled(point.regular, slots)
        for condition in (*conditions, regular):
            safe = f"{slots['torch']}.where({condition}, {x}, {point.safe})"
            op = place.with_part(blamed, safe)
            more = {**slots, "regular": regular, "op": op}
            cures = point.cures if condition == regular else ("{op}",)
            for cure in cures:
                text = _filled(cure, more)
                used = tuple(line for line, name in before if re.search(rf"\b{name}\b", text))
                yield Rewriting(place, text, (*imported, *used))
        if not before:
            return


def _filled(template: str, slots: Mapping[str, str]) -> str:
    while re.search(r"\{\w+\}", template):
        template = re.sub(r"\{(\w+)\}", lambda m: slots[m[1]], template)
    return template


def _named(operator: Operator, *, hoist: bool) -> tuple[list[str], list[tuple[str, str]]]:
    """Give each operand a name that may be repeated: its own, one of a line before, or itself in parentheses."""
    names: list[str] = []
    before: list[tuple[str, str]] = []
    for operand in operator.operands:
        text = operator.expression.source_of(operand)
        if isinstance(operand, (ast.Name, ast.Constant, ast.Attribute)):
            names.append(text)
        elif hoist:
            name = f"operand{len(before) + 1}" if before else "operand"
            before.append((f"{name} = {text}", name))
            names.append(name)
        else:
            names.append(f"({text})")
    return names, before


def _called(node: ast.expr) -> str:
    """Return the name of the function or the method that an expression calls last."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _resolved(node: ast.expr, place: Expression) -> ast.expr:
    """Return the expression that a name stands for, where its function gives it that name once."""
    tree = place.function()
    if not isinstance(node, ast.Name) or tree is None:
        return node
    values = [
        a.value
        for a in ast.walk(tree)
        if isinstance(a, ast.Assign) and any(isinstance(t, ast.Name) and t.id == node.id for t in a.targets)
    ]
    return values[0] if len(values) == 1 else node


# --- the code's own conditions ------------------------------------------------------------------------


def _conditions(place: Expression) -> Sequence[str]:
    """Return the conditions under which some ``where`` of the function takes what the operation gives."""
    tree = place.function()
    if tree is None:
        return ()
    line = place.lines[0] - place.offset
    aliases = _names_made_of(tree, line)
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) == "where" and len(node.args) in (2, 3):
            condition, taken, other = _parts(node)
            if _is_known_before(condition, tree, line):
                source = ast.unparse(condition)
                for branch, text in ((taken, source), (other, f"~({source})")):
                    if _holds(branch, place, line, aliases):
                        found.append(text)
    return found


def _parts(call: ast.Call) -> tuple[ast.expr, ast.expr, ast.expr]:
    """Return condition, branch and other branch of ``torch.where(c, a, b)`` or ``a.where(c, b)``."""
    if len(call.args) == 3:
        return call.args[0], call.args[1], call.args[2]
    assert isinstance(call.func, ast.Attribute)
    return call.args[0], call.func.value, call.args[1]


def _holds(branch: ast.expr, place: Expression, line: int, aliases: set[str]) -> bool:
    """Tell whether a branch holds the operation, or a name that was made of it."""
    start = (line, place.columns[0])
    is_here = any(
        isinstance(node, ast.expr) and node.lineno == line and ast.dump(node) == ast.dump(place.node)
        for node in ast.walk(branch)
    )
    del start
    return is_here or any(isinstance(node, ast.Name) and node.id in aliases for node in ast.walk(branch))


def _names_made_of(tree: ast.AST, line: int) -> set[str]:
    """Return the names that are assigned on a line, and those that are made of these."""
    names: set[str] = set()
    for node in sorted((n for n in ast.walk(tree) if isinstance(n, ast.Assign)), key=lambda n: n.lineno):
        is_there = node.lineno <= line <= (node.end_lineno or node.lineno)
        uses = any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(node.value))
        if is_there or (node.lineno > line and uses):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
    return names


def _is_known_before(condition: ast.expr, tree: ast.AST, line: int) -> bool:
    """Tell whether no name of a condition gets its value on a line or after it."""
    used = {n.id for n in ast.walk(condition) if isinstance(n, ast.Name)}
    later = {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.lineno >= line
    }
    return not used & later
