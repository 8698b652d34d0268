"""The traced code: which files it is, and the source of its functions, line by line."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import itertools
import linecache
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

PACKAGE = str(Path(__file__).parents[1])
STANDARD_LIBRARY = sysconfig.get_paths()["stdlib"]
_LONGEST_EXPRESSION = 60
_MOST_OBJECTS = 64
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Code:
    """A function's code: its file, or the folder of its package."""

    root: str = ""
    #: The globals of the function's module.
    names: dict[str, Any] = field(default_factory=dict)
    #: The object whose method it is, or that is called.
    owner: Any = None

    @functools.cached_property
    def objects(self) -> list[dict[str, Any]]:
        """The attributes of its object, and of the objects that this is made of."""
        found: dict[int, dict[str, Any]] = {}
        waiting = [self.owner] if self.root else []
        while waiting and len(found) < _MOST_OBJECTS:
            attributes = getattr(waiting.pop(), "__dict__", None)
            if not isinstance(attributes, dict) or id(attributes) in found:
                continue
            found[id(attributes)] = attributes
            for value in attributes.values():
                parts = value if isinstance(value, (list, tuple)) else [value]
                waiting += [part for part in parts if self._is_of_its_classes(part)]
        return list(found.values())

    def _is_of_its_classes(self, thing: Any) -> bool:
        module = sys.modules.get(type(thing).__module__)
        return module is not None and any(vars(module) is names for names in self.namespaces)

    @functools.cached_property
    def namespaces(self) -> list[dict[str, Any]]:
        """The globals of all modules in its folder."""
        if not self.root:
            return []
        folder = self.root if self.root.endswith(os.sep) else str(Path(self.root).parent) + os.sep
        modules = [m for m in list(sys.modules.values()) if (getattr(m, "__file__", None) or "").startswith(folder)]
        return [self.names, *(vars(m) for m in modules if vars(m) is not self.names)]

    def holds(self, filename: str) -> bool:
        """Tell whether a file belongs to it."""
        return bool(self.root) and filename.startswith(self.root)


def boundary(call: Callable[[], Any]) -> Any:
    """Call the traced code: frames outside this one are not its own."""
    return call()


def is_library(filename: str) -> bool:
    """Tell whether a file is installed, or part of Python."""
    return any(folder in filename for folder in _INSTALLED) or filename.startswith(("<frozen", STANDARD_LIBRARY))


def expression_at(frame: FrameType) -> str:
    """Return the source of the expression that a frame is at, where it fits on a line."""
    return expression_of(frame.f_code, frame.f_lasti)


def expression_of(code: CodeType, instruction: int) -> str:
    """Return the source of the expression that an instruction belongs to, where it fits on a line."""
    positions = next(itertools.islice(code.co_positions(), instruction // 2, None), None)
    if positions is None:
        return ""
    line, end_line, start, end = positions
    if line is None or line != end_line or start is None or end is None:
        return ""
    text = linecache.getline(code.co_filename, line).encode()[start:end].decode("utf-8", "replace").strip()
    return text if len(text) <= _LONGEST_EXPRESSION else f"{text[: _LONGEST_EXPRESSION - 3]}..."


def code_of(function: Callable[..., Any], *, alone: tuple[str, ...] = ()) -> Code:
    """Find the code of a function; of an installed package the whole, unless that is one of the folders `alone`."""
    inner = python_function(function)
    if inner is None or _is_ours(inner):
        return Code()
    root = file = inner.__code__.co_filename
    parts = Path(file).parts
    for i, part in enumerate(parts):
        if part in _INSTALLED and len(parts) > i + 2 and not file.startswith(alone):
            root = str(Path(*parts[: i + 2])) + os.sep
            break
    owner = getattr(function, "__self__", None if isinstance(function, FunctionType) else function)
    return Code(root, inner.__globals__, owner)


def python_function(function: Callable[..., Any]) -> FunctionType | None:
    """Return the Python function behind a wrapper, method, module or callable object; None for one in C."""
    inner: Any = inspect.unwrap(function)
    if _is_ours(inner):
        # A wrapper of this package's: the function that it calls is in its closure.
        held = [cell.cell_contents for cell in getattr(inner, "__closure__", None) or ()]
        inner = next((inspect.unwrap(h) for h in held if callable(h) and not _is_ours(h)), inner)
    inner = getattr(inner, "forward", None) or inner
    owners: tuple[Any, ...] = (getattr(inner, "__func__", inner), type(inner).__call__)
    return next((owner for owner in owners if isinstance(getattr(owner, "__code__", None), CodeType)), None)


def _is_ours(thing: Any) -> bool:
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return module.partition(".")[0] == "stablemax"


# --- its source, line by line -----------------------------------------------------------------------


def listing(codes: Iterable[CodeType], ran: dict[str, set[int]]) -> dict[tuple[str, int], str]:
    """Return the lines of functions, by file and number, file by file in the order in which the functions first ran.

    Decorators and docstrings are left out. Where the source cannot be cut into functions (a lambda, code of a string)
    the lines that ran are listed.
    """
    wanted: dict[str, set[int]] = {}
    for code in codes:
        wanted.setdefault(code.co_filename, set()).update(_body(code))
    for file, numbers in ran.items():
        wanted.setdefault(file, set()).update(numbers)
    return {
        (file, n): linecache.getline(file, n).rstrip("\n").expandtabs()
        for file, numbers in wanted.items()
        for n in sorted(numbers)
        if linecache.getline(file, n)
    }


def _body(code: CodeType) -> set[int]:
    """Return the numbers of a function's lines, without decorators, docstring and empty ones."""
    block, first = block_of(code), code.co_firstlineno
    numbers = {first + i for i, line in enumerate(block) if line.strip()}
    function = parsed(block, first)
    if isinstance(function, ast.FunctionDef):
        numbers -= set(range(first, function.lineno))
        opening = function.body[0]
        if ast.get_docstring(function, clean=False) is not None and len(function.body) > 1:
            numbers -= set(range(opening.lineno, (opening.end_lineno or opening.lineno) + 1))
    return numbers


def block_of(code: CodeType) -> list[str]:
    """Cut the source of a function out of its file; empty where there is none."""
    text = linecache.getlines(code.co_filename)
    first = code.co_firstlineno
    if 1 <= first <= len(text) and not code.co_name.startswith("<"):
        with contextlib.suppress(IndentationError, SyntaxError):
            return inspect.getblock(text[first - 1 :])
    return []


def parsed(block: list[str], first: int) -> ast.stmt | None:
    """Parse the source of a function alone, for a file may be long; its nodes have their lines in the file."""
    if not block:
        return None
    is_indented = block[0][:1].isspace()
    # After an `if`, for to dedent it would change its strings of several lines.
    with contextlib.suppress(SyntaxError, ValueError):
        (statement,) = ast.parse(("if True:\n" if is_indented else "") + "".join(block)).body
        function = statement.body[0] if is_indented and isinstance(statement, ast.If) else statement
        return ast.increment_lineno(function, first - 1 - is_indented)
    return None


_SCALARS = frozenset(("float16", "float32", "float64", "half", "single", "double", "type"))
_MODULES_OF_NUMBERS, _NUMBERS = frozenset(("np", "numpy", "math")), frozenset(("pi", "e", "inf", "nan"))


def scalar_conversions(codes: Iterable[CodeType]) -> tuple[str, ...]:
    """Name the calls like ``np.float32(total)``: there a number leaves NumPy, and no protocol reports it.

    Such a number looks like a constant of the code. Where the code has one, its shadow proves nothing about the
    formula.
    """
    calls: dict[str, None] = {}
    for code in codes:
        block = block_of(code)
        # Parsing a function may take longer than running it: first see whether a name is there at all.
        has_name = any(name in line for line in block for name in _SCALARS)
        lines, function = (_body(code), parsed(block, code.co_firstlineno)) if has_name else (set(), None)
        for node in ast.walk(function) if function is not None else ():
            if isinstance(node, ast.Call) and node.lineno in lines and _takes_a_number_out(node):
                calls.setdefault(f"{ast.unparse(node)} at {Path(code.co_filename).name}:{node.lineno}")
    return tuple(calls)


def arithmetic_handlers(codes: Iterable[CodeType]) -> tuple[str, ...]:
    """Name the ``except`` clauses that may catch an error of arithmetic, by which rounded numbers choose what runs."""
    clauses: dict[str, None] = {}
    for code in codes:
        block = block_of(code)
        function = parsed(block, code.co_firstlineno) if any("except" in line for line in block) else None
        for node in ast.walk(function) if function is not None else ():
            if isinstance(node, ast.ExceptHandler) and _catches_arithmetic(node.type):
                named = f" {ast.unparse(node.type)}" if node.type is not None else ""
                clauses.setdefault(f"except{named} at {Path(code.co_filename).name}:{node.lineno}")
    return tuple(clauses)


_ARITHMETIC_ERRORS = frozenset((
    "ArithmeticError", "FloatingPointError", "OverflowError", "ZeroDivisionError", "ValueError", "RuntimeWarning",
    "Warning", "Exception", "BaseException",
))  # fmt: skip


def _catches_arithmetic(caught: ast.expr | None) -> bool:
    names = [] if caught is None else [ast.unparse(n) for n in (getattr(caught, "elts", None) or [caught])]
    return caught is None or not _ARITHMETIC_ERRORS.isdisjoint(name.rpartition(".")[2] for name in names)


def float_constants(codes: Iterable[CodeType]) -> Iterator[float]:
    """Yield the floats that stand in the code of functions, each the very object.

    >>> list(float_constants([(lambda x: x * 0.5 + (1.5, 2)[0]).__code__]))
    [0.5, 1.5]
    """
    for code in codes:
        waiting = list(reversed(code.co_consts))
        while waiting:
            constant = waiting.pop()
            if isinstance(constant, tuple):
                waiting += reversed(constant)
            elif isinstance(constant, float):
                yield constant


def _takes_a_number_out(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in _SCALARS and len(call.args) == 1 and not _is_written_out(call.args[0])


def _is_written_out(node: ast.expr) -> bool:
    """Tell whether a number is made of literals and pi alone: no value of the run is in it."""
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp(operand=operand):
            return _is_written_out(operand)
        case ast.BinOp(left=left, right=right):
            return _is_written_out(left) and _is_written_out(right)
        case ast.Attribute(value=ast.Name(id=module), attr=name):
            return module in _MODULES_OF_NUMBERS and name in _NUMBERS
    return False


def display_name(file: str) -> str:
    """Write a file as its user would: from here, from the package, or from where packages are installed."""
    if file.startswith("<") or not file:
        return file
    path = Path(file)
    places = [Path.cwd(), Path(__file__).parents[2], *(Path(p) for p in sys.path if p)]
    for place in places:
        with contextlib.suppress(ValueError):
            return path.relative_to(place).as_posix()
    return os.path.relpath(file) if path.anchor == Path.cwd().anchor else file
