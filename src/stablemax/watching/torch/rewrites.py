"""An operation of a replay in other words: as tensors compute it, and as the user's code may have it."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import torch

from stablemax.trace.gradients.gradient_cures import Operator
from stablemax.trace.rewritten_source import Expression, expression_of
from stablemax.trace.torch.gradient_flow import DIALECT
from stablemax.trace.traced_code import display_name
from stablemax.watching.torch.call_sites import CallSites
from stablemax.watching.torch.replay import Replay, ReplayedOperation

_SIGNS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow"}
_MODULES = {"torch": torch, "F": torch.nn.functional, "nn": torch.nn}


@dataclass(frozen=True)
class Rewrite:
    """What stands in the place of the output of one operation."""

    #: Its position among the operations.
    position: int
    #: Id of the pattern, and what goes wrong, as a clause.
    pattern: str
    why: str
    #: The code to write, beneath a comment that says where.
    text: str
    #: On the tensors that a replay has made up to the operation, its own output too; that replay may be a larger one.
    output: Callable[[Replay, dict[int, torch.Tensor]], torch.Tensor]
    #: What it gives where the formula has no number of the format: then it is another function.
    extends: str = ""


def operator_of(operation: ReplayedOperation, sites: CallSites) -> Operator | None:
    """Return an operation as the user's code calls it; None where the code calls something else that calls it."""
    site = sites.resolved(operation.call_site)
    expression = None if site.code is None else expression_of(site.site, [site.code])
    if expression is None or site.code is None:
        return None
    operator = Operator(expression, {**_MODULES, **_globals_of(site.code)}, DIALECT)
    return operator if _calls(expression.node) == operation.plan.name.strip("_") else None


def _calls(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return _SIGNS.get(type(node.op), "")
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _globals_of(code: CodeType) -> dict[str, Any]:
    functions = [f for f in gc.get_referrers(code) if isinstance(f, FunctionType)]
    if functions:
        return functions[0].__globals__
    modules = (m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == code.co_filename)
    return next((vars(m) for m in modules), {})


def operand_text(operator: Operator | None, place: int) -> str:
    """Return the source of an operand, fit to be part of an expression; empty where it is not known."""
    operands = [] if operator is None else operator.operands
    if operator is None or place >= len(operands):
        return ""
    text = operator.expression.source_of(operands[place])
    is_simple = isinstance(operands[place], (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant))
    return text if is_simple else f"({text})"


def place_words(operation: ReplayedOperation, sites: CallSites) -> str:
    """Name the line of an operation: `train.py:12`."""
    site = sites.resolved(operation.call_site)
    return "" if site.code is None else f"{display_name(site.code.co_filename)}:{site.line}"


def expression_text(expression: Expression) -> str:
    """Return an expression on one line."""
    return " ".join(expression.text.split())
