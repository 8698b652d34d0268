"""The user's function in a wider format: what is written where no formula cures."""

from __future__ import annotations

import ast
import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from stablemax.trace.cures.pattern import Pattern
from stablemax.trace.cures.rewriting import Rewritten, compiled_like, functions_of, imports_of
from stablemax.trace.traced_code import block_of, parsed, python_function

if TYPE_CHECKING:
    from types import FunctionType

    from stablemax.trace.cures.flow import Flow
    from stablemax.trace.run import Subject

_WIDER = MappingProxyType({"float16": "float32", "bfloat16": "float32", "float32": "float64"})
_CASTS = MappingProxyType(
    {
        "numpy": ("{}.astype({})", "np.{}"),
        "torch": ("{}.to({})", "torch.{}"),
        "jax": ("{}.astype({})", "jnp.{}"),
    }
)
"""How each library takes an array to a dtype, and what it calls that."""


WIDER_FORMAT = Pattern(
    "in-a-wider-format",
    (),
    why=(
        "numbers leave the range of {narrow}, or lose its digits, on the way to a result that it has; {wide} has more "
        "of both, and breaks in the same way further out"
    ),
)


def why_of(fmt: str) -> str:
    """Say why a wider format holds, and that it holds no further than that."""
    return WIDER_FORMAT.why.format(narrow=fmt, wide=_WIDER[fmt])


def widened(subject: Subject, flow: Flow) -> Iterator[Rewritten]:
    """Yield the user's function, and those of its own that failed, with arguments taken to a wider format.

    Their results are taken back.
    """
    wider = _WIDER.get(subject.format.name)
    if wider is None:
        return
    top = python_function(subject.function)
    names = getattr(subject.given, "names", ())
    if top is not None:
        yield from _written(top, names, subject.backend, wider)
    codes = {node.source.code: node.source for node in flow.nodes if node.source is not None}
    for code, source in reversed(codes.items()):
        if top is None or code is not top.__code__:
            for function in functions_of(code, source.names, None)[:1]:
                yield from _written(function, (), subject.backend, wider)


def _written(function: FunctionType, names: Sequence[str], backend: str, wider: str) -> Iterator[Rewritten]:
    """Write a function so that arguments of some names, or else its first one, are in a wider format."""
    code = function.__code__
    block = block_of(code)
    tree = parsed(block, code.co_firstlineno)
    if not isinstance(tree, ast.FunctionDef):
        return
    parameters = [a.arg for a in (*tree.args.posonlyargs, *tree.args.args) if a.arg not in ("self", "cls")]
    chosen = [name for name in parameters if name in names] or parameters[:1]
    returns = [node for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value is not None]
    taken = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    narrow = next(n for n in ("dtype", "narrow", "dtype_of_input", "own_dtype") if n not in {*taken, *parameters})
    if (
        not chosen
        or not returns
        or any(isinstance(n, (ast.Lambda, ast.FunctionDef)) for n in ast.walk(tree) if n is not tree)
    ):
        return
    cast, dtype = _CASTS[backend]
    lines = [line.encode() for line in block]
    for node in sorted((r.value for r in returns if r.value is not None), key=lambda n: n.lineno, reverse=True):
        first, last = node.lineno - code.co_firstlineno, (node.end_lineno or node.lineno) - code.co_firstlineno
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        text = ast.unparse(node) if first != last else lines[first][node.col_offset : node.end_col_offset].decode()
        is_alone = isinstance(node, (ast.Call, ast.Name, ast.Subscript))
        lines[first : last + 1] = [before + cast.format(text if is_alone else f"({text})", narrow).encode() + after]
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    start = body[0].lineno - code.co_firstlineno
    indent = lines[start][: body[0].col_offset]
    if indent.strip():
        # The body stands on the line of the def.
        header, indent = indent.rstrip() + b"\n", indent[: len(indent) - len(indent.lstrip())] + b"    "
        lines[start : start + 1] = [header, indent + lines[start][body[0].col_offset :]]
        start += 1
    first_lines = [f"{narrow} = {chosen[0]}.dtype", *(f"{n} = {cast.format(n, dtype.format(wider))}" for n in chosen)]
    lines[start:start] = [indent + line.encode() + b"\n" for line in first_lines]
    text = textwrap.dedent(b"".join(lines).decode()).rstrip() + "\n"
    with contextlib.suppress(SyntaxError):
        compiled = compiled_like(text, code)
        if compiled is not None:
            functions = functions_of(code, function.__globals__, function)
            yield Rewritten(f"{imports_of(text, function.__globals__)}{text}", compiled, functions)
