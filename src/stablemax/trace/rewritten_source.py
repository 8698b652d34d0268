"""The source of one operation of the traced code, put into other words, and run in its place."""

from __future__ import annotations

import ast
import contextlib
import inspect
import itertools
import linecache
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from stablemax.trace.observation import Site


@dataclass(frozen=True)
class Expression:
    """The source of an operation, and where it stands in its function."""

    #: The code of the function that it stands in.
    code: CodeType
    #: As it stands, and parsed.
    text: str
    node: ast.expr
    #: Its first and last line, from 1, and where in these it begins and ends, in bytes.
    lines: tuple[int, int]
    columns: tuple[int, int]

    def source_of(self, node: ast.expr) -> str:
        """Return the source of a part of it."""
        # It was parsed in parentheses, of which a line of its own would change the columns.
        return ast.get_source_segment(f"({self.text}\n)", node) or ast.unparse(node)

    def with_part(self, node: ast.expr, other: str) -> str:
        """Return its source with one part put into other words."""
        whole = f"({self.text}\n)"
        rows = whole.splitlines(keepends=True)
        starts = list(itertools.accumulate((len(row.encode()) for row in rows), initial=0))
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        raw = whole.encode()
        return (raw[:begin] + other.encode() + raw[end:]).decode().removeprefix("(").removesuffix("\n)")

    def function(self) -> ast.AST | None:
        """Parse the function that it stands in; None for a lambda, or where there is no source."""
        with contextlib.suppress(SyntaxError, IndentationError):
            return ast.parse(textwrap.dedent("".join(self._block())))
        return None

    def _block(self) -> list[str]:
        lines, first = linecache.getlines(self.code.co_filename), self.code.co_firstlineno - 1
        if self.code.co_name.startswith("<"):
            return lines[self.lines[0] - 1 : self.lines[1]]
        return inspect.getblock(lines[first:])

    @property
    def offset(self) -> int:
        """How many lines of the file stand before the function."""
        return self.code.co_firstlineno - 1


@dataclass(frozen=True)
class Rewriting:
    """An operation in other words, and what is to be computed on lines before it."""

    expression: Expression
    text: str
    before: Sequence[str] = ()

    def source(self) -> str:
        """Return the function, or the line of a lambda, as it is to be written."""
        place, first = self.expression, self.expression.code.co_firstlineno
        block = place._block()
        first = place.lines[0] if place.code.co_name.startswith("<") else first
        written = self._in_lines(block, first, "\n")
        return textwrap.dedent("".join(written)).rstrip("\n")

    def file(self) -> str:
        """Return its whole file, in which every other line keeps its number."""
        return "".join(self._in_lines(linecache.getlines(self.expression.code.co_filename), 1, "; "))

    def _in_lines(self, lines: Sequence[str], first: int, end: str) -> list[str]:
        place = self.expression
        start, stop = (n - first for n in place.lines)
        head = lines[start].encode()[: place.columns[0]].decode()
        tail = lines[stop].encode()[place.columns[1] :].decode()
        # A statement may begin on an earlier line than the operation does.
        begin = self._statement_line() - first
        indent = lines[begin][: len(lines[begin]) - len(lines[begin].lstrip())]
        before = "".join(
            f"{indent if i == 0 or end == chr(10) else ''}{text}{end}" for i, text in enumerate(self.before)
        )
        opening = list(lines[begin:start])
        statement = ["".join(opening), head, self.text, tail]
        whole = "".join(statement)
        if before:
            whole = before + (whole if end == "\n" else whole[len(indent) :])
        return [*lines[:begin], whole, *lines[stop + 1 :]]

    def _statement_line(self) -> int:
        """Return the line on which the innermost statement around the operation begins."""
        place, tree = self.expression, self.expression.function()
        if tree is None or place.code.co_name.startswith("<"):
            return place.lines[0]
        around = [
            node.lineno + place.offset
            for node in ast.walk(tree)
            if isinstance(node, ast.stmt) and node.lineno + place.offset <= place.lines[0]
            and (node.end_lineno or 0) + place.offset >= place.lines[1]
        ]  # fmt: skip
        return max(around, default=place.lines[0])


def expression_of(site: Site, codes: Sequence[CodeType]) -> Expression | None:
    """Find the source of the operation that was called at a site; None where Python does not know it."""
    for code in codes:
        if code.co_filename != site.file:
            continue
        line, end_line, start, end = next(
            itertools.islice(code.co_positions(), site.instruction // 2, None), (None,) * 4
        )
        if line != site.line or end_line is None or start is None or end is None:
            continue
        lines = [linecache.getline(site.file, n).encode() for n in range(line, end_line + 1)]
        lines[-1] = lines[-1][:end]
        text = b"".join([lines[0][start:], *lines[1:]] if len(lines) > 1 else [lines[0][start:end]]).decode()
        with contextlib.suppress(SyntaxError, ValueError):
            return Expression(code, text, ast.parse(f"({text}\n)", mode="eval").body, (line, end_line), (start, end))
    return None


@contextlib.contextmanager
def running(rewriting: Rewriting, functions: Sequence[FunctionType]) -> Iterator[bool]:
    """Let functions run as they are rewritten, whoever calls them; yields False where they cannot be."""
    name = rewriting.expression.code.co_filename
    try:
        module = compile(rewriting.file(), name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        yield False
        return
    compiled = {_key(code): code for code in _nested(module)}
    before: list[tuple[FunctionType, CodeType]] = []
    for function in functions:
        other = compiled.get(_key(function.__code__)) if function.__code__.co_filename == name else None
        if other is not None and other.co_freevars == function.__code__.co_freevars:
            before.append((function, function.__code__))
            function.__code__ = other
    try:
        yield bool(before)
    finally:
        for function, code in before:
            function.__code__ = code


def functions_of(codes: Sequence[CodeType], root: Callable[..., Any]) -> list[FunctionType]:
    """Return the functions whose code is one of these: a function itself, what it holds, and what its modules hold."""
    files = {code.co_filename for code in codes}
    modules = [vars(m) for m in list(sys.modules.values()) if getattr(m, "__file__", None) in files]
    waiting: list[Any] = [root, *(value for names in modules for value in list(names.values()))]
    known: dict[int, Any] = {}
    while waiting:
        thing = waiting.pop()
        function = getattr(thing, "__func__", thing)
        if id(function) in known or not isinstance(function, (FunctionType, type)):
            continue
        known[id(function)] = function
        if isinstance(function, type):
            waiting += vars(function).values() if function.__module__ not in ("builtins", "typing") else ()
            continue
        waiting.append(getattr(function, "__wrapped__", None))
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty cell
                waiting.append(cell.cell_contents)
        if function.__code__.co_filename in files:
            waiting += function.__globals__.values()
    functions = (f for f in known.values() if isinstance(f, FunctionType))
    return [f for f in functions if any(f.__code__ is code for code in codes)]


def _key(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)
