"""What may be written in place of an operator at a singular point: every candidate is source that can be run."""

from __future__ import annotations

import ast
import functools
import itertools
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stablemax.trace.gradients.differentiable import Dialect
from stablemax.trace.gradients.singular_points import SingularPoint
from stablemax.trace.rewritten_source import Edit, Expression

_SIGNS: Mapping[type[ast.operator], str] = {ast.Div: "Div", ast.Pow: "Pow", ast.Mult: "Mul"}


@dataclass(frozen=True)
class Operator:
    """An operator of a library as the traced code calls it."""

    expression: Expression
    #: The globals of its function.
    names: Mapping[str, Any]
    dialect: Dialect

    @property
    def operands(self) -> list[ast.expr]:
        """Its arguments by position, the object of a method the first of them."""
        return self.arguments_of(self.expression.node)

    def arguments_of(self, node: ast.expr) -> list[ast.expr]:
        """Return the arguments by position of a call, or the sides of an operator."""
        if isinstance(node, ast.BinOp):
            return [node.left, node.right]
        if not isinstance(node, ast.Call):
            return []
        if isinstance(node.func, ast.Attribute) and not self._is_module(node.func.value):
            return [node.func.value, *node.args]
        return list(node.args)

    @property
    def sign(self) -> str:
        """The operator that it is written with, as autograd calls its node: ``1 / x`` is a reciprocal to PyTorch."""
        node = self.expression.node
        return _SIGNS.get(type(node.op), "") if isinstance(node, ast.BinOp) else ""

    def _is_module(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Attribute):
            return self._is_module(node.value)
        return isinstance(node, ast.Name) and isinstance(self.names.get(node.id), types.ModuleType)

    @property
    def called(self) -> str:
        """The function that it is a call of; empty for an operator."""
        return called(self.expression.node)

    @functools.cached_property
    def modules(self) -> Mapping[str, str]:
        """What the traced code calls the modules of its library; only those that it has a name for."""
        modules = {slot: sys.modules.get(module) for slot, (module, _) in self.dialect.modules.items()}
        names = {
            slot: next((name for name, value in self.names.items() if value is module), "")
            for slot, module in modules.items()
        }
        return {slot: name for slot, name in names.items() if name}

    def imports(self, text: str) -> list[str]:
        """Return the lines that import what a text calls and the traced code has no name for."""
        return [
            line
            for slot, (_, line) in self.dialect.modules.items()
            if slot not in self.modules and re.search(rf"\b{slot}\.", text)
        ]

    @property
    def dim(self) -> str:
        """The axis that it is told of; the last where it is told of none."""
        node = self.expression.node
        keywords = node.keywords if isinstance(node, ast.Call) else []
        named = next((k.value for k in keywords if k.arg in ("dim", "axis")), None)
        dim = named or (self.operands[1] if len(self.operands) > 1 else None)
        return "-1" if dim is None else self.expression.source_of(dim)


def candidates(operator: Operator, point: SingularPoint) -> Iterator[Edit]:
    """Yield what may be written: the double ``where`` on the code's own condition first, then the point's cures."""
    place, operands = operator.expression, operator.operands
    if len(operands) <= point.operand:
        return
    blamed = operands[point.operand]
    made_by = _resolved(blamed, place)
    if point.operand_calls and called(made_by) not in point.operand_calls:
        return
    conditions = _conditions(place)
    for names, before in _namings(operator):
        slots = _slots(operator, names, point, made_by)
        detached = filled(operator.dialect.words["detach"], {**_modules(operator), "x": names[point.operand]})
        slots["detached"] = place.with_part(blamed, detached)
        cured = [(condition, "{op}") for condition in conditions]
        cured += [(slots["regular"], cure) for cure in point.cures]
        for condition, cure in cured:
            safe = f"{slots['where']}({condition}, {names[point.operand]}, {point.safe})"
            text = filled(cure, {**slots, "op": place.with_part(blamed, safe)})
            used = [line for line, name in before if re.search(rf"\b{name}\b", text)]
            yield Edit(place, text, (*operator.imports(text), *used))


def _slots(operator: Operator, names: Sequence[str], point: SingularPoint, made_by: ast.expr) -> dict[str, str]:
    """Return what the templates of a point are filled with."""
    modules = _modules(operator)
    slots = {
        **words_of(operator.dialect, modules, names[0]),
        "x": names[0],
        "y": (*names, "")[1],
        "dim": operator.dim,
        "call": operator.expression.text,
        "inner": _inner(operator, made_by),
    }
    return {**slots, **_of_regular(operator, made_by, slots), "regular": filled(point.regular, slots)}


def _of_regular(operator: Operator, made_by: ast.expr, slots: Mapping[str, str]) -> dict[str, str]:
    """Write the operator on an operand made of a vector that is not 0; as it stands where that is on another line."""
    place, given = operator.expression, operator.arguments_of(made_by)
    is_inside = any(node is made_by for node in ast.walk(place.node))
    if not (given and is_inside):
        return dict.fromkeys(("of_regular", "of_regular_rows"), place.text)
    vector = place.source_of(given[0])
    vector = vector if isinstance(given[0], ast.Name) else f"({vector})"
    axes = [ast.unparse(k.value) for k in getattr(made_by, "keywords", ()) if k.arg in ("axis", "dim")]
    rows = f"({vector} != 0).any({axes[0] if axes else -1}, {slots['keepdim']}=True)"
    conditions = {"of_regular": f"({vector} != 0).any()", "of_regular_rows": rows}
    return {
        slot: place.with_part(given[0], f"{slots['where']}({condition}, {vector}, 1.0)")
        for slot, condition in conditions.items()
    }


def _modules(operator: Operator) -> dict[str, str]:
    """Return the names by which a cure calls the modules of the library."""
    return {**{slot: slot for slot in operator.dialect.modules}, **operator.modules}


def _inner(operator: Operator, made_by: ast.expr) -> str:
    """Write what the call that made an operand is given."""
    keywords = made_by.keywords if isinstance(made_by, ast.Call) else []
    named = [f"{k.arg}={ast.unparse(k.value)}" for k in keywords]
    return ", ".join([*map(ast.unparse, operator.arguments_of(made_by)), *named])


def words_of(dialect: Dialect, modules: Mapping[str, str], x: str) -> dict[str, str]:
    """Return the slots that a library fills in its own words, for a first operand."""
    return {slot: filled(word, {**modules, "x": x}) for slot, word in dialect.words.items()}


def filled(template: str, slots: Mapping[str, str]) -> str:
    """Fill the slots of a template."""
    return re.sub(r"\{(\w+)\}", lambda m: slots[m[1]], template)


def _namings(operator: Operator) -> Iterator[tuple[list[str], list[tuple[str, str]]]]:
    """Yield names for the operands that may be repeated, and the lines before that give them, with their names.

    First each gets a name of a line before unless it is one; where no line can stand before, it is put in parentheses.
    """
    texts = [operator.expression.source_of(operand) for operand in operator.operands]
    is_name = [isinstance(operand, (ast.Name, ast.Constant, ast.Attribute)) for operand in operator.operands]
    code = operator.expression.code
    taken = {*operator.names, *code.co_varnames, *code.co_freevars, *code.co_cellvars}
    free = (name for name in (f"operand{i or ''}" for i in itertools.count()) if name not in taken)
    hoisted = [text if simple else next(free) for text, simple in zip(texts, is_name, strict=True)]
    lines = [(f"{name} = {text}", name) for name, text in zip(hoisted, texts, strict=True) if name != text]
    yield hoisted, lines
    if lines:
        yield [text if simple else f"({text})" for text, simple in zip(texts, is_name, strict=True)], []


def called(node: ast.expr) -> str:
    """Return the name of the function or the method that an expression calls last."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _resolved(node: ast.expr, place: Expression) -> ast.expr:
    """Return the expression that a name stands for, where its function gives it that name once."""
    tree = place.function
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
    tree = place.function
    if tree is None:
        return ()
    line = place.lines[0] - place.first_line + 1
    aliases = _names_made_of(tree, line)
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in ("where", "select") and len(node.args) in (2, 3):
            condition, taken, other = _parts(node)
            if _is_known_before(condition, tree, line):
                source = ast.unparse(condition)
                for branch, text in ((taken, source), (other, f"~({source})")):
                    if _holds(branch, place, line, aliases):
                        found.append(text)
    return found


def _parts(call: ast.Call) -> tuple[ast.expr, ast.expr, ast.expr]:
    """Return condition, branch and other branch of ``where(c, a, b)`` or ``a.where(c, b)``."""
    if len(call.args) == 3:
        return call.args[0], call.args[1], call.args[2]
    assert isinstance(call.func, ast.Attribute)
    return call.args[0], call.func.value, call.args[1]


def _holds(branch: ast.expr, place: Expression, line: int, aliases: set[str]) -> bool:
    """Tell whether a branch holds the operation, or a name that was made of it."""
    operation = ast.dump(place.node)
    for node in ast.walk(branch):
        if isinstance(node, ast.expr) and node.lineno == line and ast.dump(node) == operation:
            return True
        if isinstance(node, ast.Name) and node.id in aliases:
            return True
    return False


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
