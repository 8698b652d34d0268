"""A function's own source, as a lesson shows it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def shown_source(function: Callable[..., Any]) -> str:
    """Return the source of a function without its decorators, its docstring and its types.

    >>> from stablemax.operations.variant import get
    >>> print(shown_source(get("softmax/naive").function))
    def naive(x, xp):
        e = xp.exp(x)
        return e / xp.sum(e)
    """
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.FunctionDef)
    is_documented = ast.get_docstring(node) is not None
    # From the line after the docstring, or the signature, so that a comment before the first statement stays.
    first = (node.body[0].end_lineno or 0) if is_documented else node.body[0].lineno - 1
    body = source.splitlines()[first : node.end_lineno]
    return "\n".join([f"def {node.name}({_untyped(node.args)}):", *body])


def _untyped(arguments: ast.arguments) -> str:
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = None
    return ast.unparse(arguments)
