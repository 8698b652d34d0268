"""The user's function with the code of patterns in the place of its own expressions."""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import itertools
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from stablemax.trace.cures.applying import MODULES, modules_in, written
from stablemax.trace.cures.leaf_names import leaf_text, moved_texts, source_of_function, whole_shape
from stablemax.trace.traced_code import python_function

if TYPE_CHECKING:
    from stablemax.trace.cures.flow import Flow
    from stablemax.trace.cures.leaf_names import FunctionSource
    from stablemax.trace.cures.searching import Finding

_MOST_TRIED = 8
_ROUNDED = 0.01
_LONG = 6
"""Expressions of more characters get a name where they are read twice."""


@dataclass(frozen=True)
class Rewritten:
    """A function written anew."""

    #: Its imports and its source.
    text: str
    code: CodeType
    functions: tuple[FunctionType, ...]
    #: Which cells of an array stand at a root was read from the source, and may be read wrongly.
    is_guess: bool = False

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the user's function run the new code."""
        before = [(function, function.__code__) for function in self.functions]
        names = self.functions[0].__globals__
        missing = [name for name in MODULES if name in self.code.co_names and name not in names]
        names.update({name: _module(name) for name in missing})
        try:
            for function in self.functions:
                function.__code__ = self.code
            yield
        finally:
            for function, code in before:
                function.__code__ = code
            for name in missing:
                del names[name]


@dataclass(frozen=True)
class _New:
    """An expression for the place of another, and assignments before the statement that it stands in."""

    text: str
    before: tuple[str, ...] = ()
    is_guess: bool = False


def rewritten(
    findings: Sequence[Finding], flow: Flow, backend: str, function: Callable[..., Any] | None = None
) -> Iterator[Rewritten]:
    """Yield a function with the expressions at the roots of some findings replaced, in each way that may be right.

    None where they are not in one function whose source is known, or a number in them has no name there. `function` is
    what was run.
    """
    found = _source_of(findings, function)
    if found is None:
        return
    source, code, functions = found
    taken = {n.id for n in ast.walk(source.tree) if isinstance(n, ast.Name)} | set(source.globals)
    choices = [list(itertools.islice(_expressions(source, f, flow, backend, taken), _MOST_TRIED)) for f in findings]
    for news in itertools.islice(itertools.product(*choices), _MOST_TRIED):
        text = _with_texts(source, findings, news)
        compiled = None if text is None else compiled_like(text, code)
        if text is not None and compiled is not None:
            is_guess = any(new.is_guess for new in news)
            yield Rewritten(f"{imports_of(text, source.globals)}{text}", compiled, functions, is_guess)


def _source_of(
    findings: Sequence[Finding], called: Callable[..., Any] | None
) -> tuple[FunctionSource, CodeType, tuple[FunctionType, ...]] | None:
    """Return the source of the one function that holds all roots, its code, and the function objects that run it."""
    sources = [f.match.root.source for f in findings]
    code = None if sources[0] is None else sources[0].code
    if code is None or any(source is None or source.code is not code for source in sources):
        return None
    names = sources[0].names if sources[0] is not None else {}
    functions = functions_of(code, names, called)
    source = source_of_function(code, names)
    if not functions or source is None:
        return None
    # The user may call another module so.
    if any(name in names and names[name] is not _module(name) for name in _used(findings)):
        return None
    return source, code, functions


def functions_of(code: CodeType, names: dict[str, Any], called: Callable[..., Any] | None) -> tuple[FunctionType, ...]:
    """Return the function objects that run a code object: what was called, what its module has by its name, others."""
    candidates: list[Any] = [None if called is None else python_function(called)]
    thing: Any = None
    for step in getattr(code, "co_qualname", code.co_name).split("."):
        thing = names.get(step) if thing is None else vars(thing).get(step) if isinstance(thing, type) else None
        candidates += [thing, getattr(thing, "__wrapped__", None), getattr(thing, "__func__", None)]
    candidates += gc.get_referrers(code)
    found = {id(f): f for f in candidates if isinstance(f, FunctionType) and f.__code__ is code}
    return tuple(found.values())


def _used(findings: Sequence[Finding]) -> set[str]:
    """Return the names of the modules that the code of findings uses."""
    return {name for finding in findings for name in modules_in(finding.code)}


def _module(name: str) -> ModuleType:
    return importlib.import_module(MODULES[name])


def _expressions(source: FunctionSource, finding: Finding, flow: Flow, backend: str, taken: set[str]) -> Iterator[_New]:
    match = finding.match
    names: dict[str, str] = {}
    before: list[str] = []
    for name in match.leaves:
        if f"{{{name}}}" not in finding.code:
            continue
        text = leaf_text(source, flow, match, match.leaf(name))
        if text is None:
            return
        if finding.code.count(f"{{{name}}}") > 1 and len(text) > _LONG:
            # What the code of the pattern reads several times is computed once.
            short = next(
                n for n in itertools.chain((name, "z", "t"), map("z{}".format, itertools.count(1))) if n not in taken
            )
            taken.add(short)
            before.append(f"{short} = {_tidy(text)}")
            text = short
        names[name] = text
    named = _named_constants(source, finding, flow)
    for constants in (named, {}) if named else ({},):
        for text in moved_texts(source, flow, match, written(finding.code, match, {**names, **constants}, backend)):
            yield _New(_tidy(text), tuple(before), whole_shape(flow, match) is not None)


def _named_constants(source: FunctionSource, finding: Finding, flow: Flow) -> dict[str, str]:
    """Return what the source calls the numbers of a pattern: a parameter, or the number that it writes.

    JAX has rounded that to the format before anything is seen of it.
    """
    match, named = finding.match, dict[str, str]()
    for name, operand in match.constant_operands.items():
        text = leaf_text(source, flow, match, operand) if f"{{{name}}}" in finding.code else None
        if text is not None and (_read(ast.parse(text)) or _rounds_to(text, match.constants[name])):
            named[name] = text
    return named


def _rounds_to(text: str, number: float) -> bool:
    """Tell whether a number that the source writes may have been rounded to another one."""
    with contextlib.suppress(ValueError, TypeError):
        return number == 0 or abs(float(ast.literal_eval(text)) / number - 1) < _ROUNDED
    return False


class _Tidy(ast.NodeTransformer):
    """Takes two minus signs for none, and adds no terms of 0, the logarithm of a factor of 1, and none with a sign."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Take the logarithm of 1."""
        self.generic_visit(node)
        return ast.Constant(0) if ast.unparse(node) == "math.log(1)" else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Leave out a term of 0, and take away one with a minus sign."""
        self.generic_visit(node)
        if not isinstance(node.op, (ast.Add, ast.Sub)):
            return node
        if _is_zero(node.right):
            return node.left
        if isinstance(node.right, ast.UnaryOp) and isinstance(node.right.op, ast.USub):
            opposite = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            return self.visit(ast.BinOp(node.left, opposite, node.right.operand))
        if _is_zero(node.left):
            return node.right if isinstance(node.op, ast.Add) else self.visit(ast.UnaryOp(ast.USub(), node.right))
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """Take both off."""
        self.generic_visit(node)
        inner = node.operand
        is_double = isinstance(node.op, ast.USub) and isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.USub)
        return inner.operand if is_double and isinstance(inner, ast.UnaryOp) else node


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value == 0


def _tidy(text: str) -> str:
    """Write an expression with no more brackets and signs than it needs."""
    return ast.unparse(_Tidy().visit(ast.parse(text, mode="eval")))


def _with_texts(source: FunctionSource, findings: Sequence[Finding], news: Sequence[_New]) -> str | None:
    """Put expressions in the place of those at the roots, and leave out what is not read any more."""
    lines = [line.encode() for line in source.lines]
    pairs = {f.match.root.source: new for f, new in zip(findings, news, strict=True)}
    # Later in the file first, so that the places of the others stay.
    ordered = sorted(pairs.items(), key=lambda p: (p[0].line, p[0].column) if p[0] else (0, 0), reverse=True)
    for place, new in ordered:
        node = None if place is None else source.node_at(place)
        if place is None or node is None:
            return None
        first, last = place.line - source.first, place.end_line - source.first
        before_it, after_it = lines[first][: place.column], lines[last][place.end_column :]
        stands_alone = _stands_alone(source.tree, node) or (before_it[-1:], after_it[:1]) == (b"(", b")")
        needs_brackets = not isinstance(ast.parse(new.text, mode="eval").body, (ast.Call, ast.Name, ast.Subscript))
        inner = f"({new.text})" if needs_brackets and not stands_alone else new.text
        lines[first : last + 1] = [before_it + inner.encode() + after_it]
        start = _statement_around(source.tree, node).lineno - source.first
        indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
        lines[start:start] = [indent + line.encode() + b"\n" for line in new.before]
    with contextlib.suppress(SyntaxError):
        return _without_unread(textwrap.dedent(b"".join(lines).decode()), _read(source.tree))
    return None


def _statement_around(tree: ast.AST, node: ast.expr) -> ast.stmt:
    """Return the innermost statement that an expression stands in."""
    around = [s for s in ast.walk(tree) if isinstance(s, ast.stmt) and any(n is node for n in ast.walk(s))]
    return around[-1]


def _stands_alone(tree: ast.AST, node: ast.expr) -> bool:
    """Tell whether an expression is a whole right side, result or argument, where it needs no brackets."""
    for parent in ast.walk(tree):
        if isinstance(parent, (ast.Assign, ast.Return)) and parent.value is node:
            return True
        if isinstance(parent, ast.Call) and node in parent.args:
            return True
    return False


def _read(tree: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _without_unread(text: str, before: set[str]) -> str:
    """Leave out assignments to variables that were read before and are not any more."""
    while True:
        module = ast.parse(text)
        function = module.body[0]
        unread = before - _read(module)
        for statement in ast.walk(function):
            if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
                continue
            target = statement.targets[0]
            names = {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
            if (
                names
                and names <= unread
                and isinstance(target, (ast.Name, ast.Tuple))
                and _is_removable(function, statement)
            ):
                lines = text.splitlines(keepends=True)
                del lines[statement.lineno - 1 : statement.end_lineno]
                text = "".join(lines)
                break
        else:
            return "".join(line for line in text.splitlines(keepends=True)).rstrip() + "\n"


def _is_removable(function: ast.AST, statement: ast.stmt) -> bool:
    """Tell whether a statement has its lines, and the block around it other statements, for itself."""
    for parent in ast.walk(function):
        for block in (getattr(parent, name, None) for name in ("body", "orelse", "finalbody")):
            if isinstance(block, list) and statement in block:
                others = [s for s in block if s is not statement]
                return bool(others) and all(
                    s.lineno > (statement.end_lineno or 0) or (s.end_lineno or 0) < statement.lineno for s in others
                )
    return False


def compiled_like(text: str, like: CodeType) -> CodeType | None:
    """Compile a function so that its code may take the place of another's: with the same variables from outside."""
    around = f"def _outer({', '.join(like.co_freevars)}):\n{textwrap.indent(text, '    ')}"
    try:
        outer = compile(around if like.co_freevars else text, "<instead>", "exec")
    except (SyntaxError, ValueError):
        return None
    waiting = [outer]
    while waiting:
        for constant in waiting.pop().co_consts:
            if isinstance(constant, CodeType):
                if constant.co_name == like.co_name and constant.co_freevars == like.co_freevars:
                    return constant
                waiting.append(constant)
    return None


def imports_of(text: str, names: Mapping[str, Any]) -> str:
    """Write the imports of the modules that a function reads: its own file's, and those of the code of patterns."""
    lines = []
    for name in sorted(_read(ast.parse(text))):
        value = names.get(name)
        module = value.__name__ if isinstance(value, ModuleType) else MODULES.get(name, "") if value is None else ""
        if module:
            lines.append(f"import {module}" if name == module else f"import {module} as {name}")
        elif value is not None and getattr(typing, name, None) is value:
            lines.append(f"from typing import {name}")
    ordered = sorted(lines, key=lambda line: (line.startswith("from"), line))
    return "".join(f"{line}\n" for line in ordered) + ("\n\n" if lines else "")
