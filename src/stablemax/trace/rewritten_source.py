"""The source of one operation of the traced code, put into other words, and run in its place."""

from __future__ import annotations

import ast
import contextlib
import functools
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

    @functools.cached_property
    def function(self) -> ast.AST | None:
        """The function that it stands in, parsed; None for a lambda, or where there is no source."""
        with contextlib.suppress(SyntaxError, IndentationError):
            return ast.parse(textwrap.dedent("".join(self.block)))
        return None

    @property
    def block(self) -> list[str]:
        """The lines of its function; of a lambda its own lines."""
        lines = linecache.getlines(self.code.co_filename)
        if self.code.co_name.startswith("<"):
            return lines[self.lines[0] - 1 : self.lines[1]]
        return inspect.getblock(lines[self.first_line - 1 :])

    @property
    def first_line(self) -> int:
        """The number of the first of these lines, from 1."""
        return self.lines[0] if self.code.co_name.startswith("<") else self.code.co_firstlineno

    @property
    def statement_line(self) -> int:
        """The line on which the innermost statement around it begins."""
        before = self.first_line - 1
        around = [
            node.lineno + before
            for node in (() if self.function is None else ast.walk(self.function))
            if isinstance(node, ast.stmt)
            and node.lineno + before <= self.lines[0]
            and self.lines[1] <= (node.end_lineno or 0) + before
        ]
        return max(around, default=self.lines[0])


@dataclass(frozen=True)
class Edit:
    """An operation in other words, and what is to be computed on lines before it."""

    expression: Expression
    text: str
    before: tuple[str, ...] = ()

    @property
    def begin(self) -> tuple[int, int]:
        """The line and the column of its first character."""
        return self.expression.lines[0], self.expression.columns[0]

    @property
    def end(self) -> tuple[int, int]:
        """The line and the column after its last character."""
        return self.expression.lines[1], self.expression.columns[1]


@dataclass(frozen=True)
class Rewriting:
    """Edits of one function that do not overlap."""

    edits: tuple[Edit, ...]

    @classmethod
    def of(cls, edits: Sequence[Edit]) -> Rewriting | None:
        """Put edits together; None where they are of several functions, or overlap."""
        ordered = sorted(edits, key=lambda edit: edit.begin)
        overlap = any(a.end > b.begin for a, b in itertools.pairwise(ordered))
        several = any(edit.expression.code is not ordered[0].expression.code for edit in ordered)
        return None if overlap or several or not ordered else cls(tuple(ordered))

    @property
    def file_name(self) -> str:
        """The file that its function stands in."""
        return self.edits[0].expression.code.co_filename

    def source(self) -> str:
        """Return the function, or the line of a lambda, as it is to be written."""
        place = self.edits[0].expression
        return textwrap.dedent("".join(self._in(place.block, place.first_line, "\n"))).rstrip("\n")

    def file(self) -> str:
        """Return its whole file, in which every line keeps its number."""
        return "".join(self._in(linecache.getlines(self.file_name), 1, "; "))

    def _in(self, lines: Sequence[str], first: int, end: str) -> list[str]:
        """Write the edits into lines, of which the first has a number; `end` ends a line that is put before one."""
        out = list(lines)
        for edit in reversed(self.edits):
            start, stop = (n - first for n in edit.expression.lines)
            head = out[start].encode()[: edit.begin[1]].decode()
            tail = out[stop].encode()[edit.end[1] :].decode()
            # Its lines become one entry; the numbers of the others stay.
            out[start : stop + 1] = [f"{head}{edit.text}{tail}", *[""] * (stop - start)]
        for edit in self.edits:
            place = edit.expression.statement_line - first
            for text in reversed(edit.before):
                indent = out[place][: len(out[place]) - len(out[place].lstrip())]
                rest = out[place] if end == "\n" else out[place][len(indent) :]
                out[place] = f"{indent}{text}{end}{rest}"
        return out


def expression_of(site: Site, codes: Sequence[CodeType]) -> Expression | None:
    """Find the source of the operation that was called at a site; None where Python does not know it."""
    for code in codes:
        if code.co_filename != site.file or site.function not in ("", code.co_qualname):
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
    name = rewriting.file_name
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
        if callable(function) and not isinstance(function, (FunctionType, type)):
            function = inspect.getattr_static(function, "__wrapped__", None)  # as jax.jit keeps what it compiles
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
