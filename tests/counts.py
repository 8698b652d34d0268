"""Counts of the source, room by room: `python tests/counts.py [path/to/src]`."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter, defaultdict
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
LONGEST_FUNCTION = 60
# Each command of the command line is a file of its name; so is what it calls.
COMMANDS = "cli"
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def modules(source: Path = SOURCE) -> list[Path]:
    """All modules of the package, sorted."""
    return sorted((source / "stablemax").rglob("*.py"))


def docstring_lines(tree: ast.Module) -> set[int]:
    """Lines of strings that stand as statements: docstrings, also those of constants."""
    strings = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    return {line for s in strings for line in range(s.lineno, (s.end_lineno or s.lineno) + 1)}


def code_lines(text: str) -> int:
    """Count the lines that hold code: no blanks, no comments, no docstrings; imports count."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {line for t in tokens if t.type not in _NO_CODE for line in range(t.start[0], t.end[0] + 1)}
    return len(lines - docstring_lines(ast.parse(text)))


def long_functions(text: str) -> list[tuple[str, int]]:
    """Name the functions that are longer than a screen, with their lines, decorators left out."""
    return [
        (node.name, node.end_lineno - node.lineno + 1)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]


def shared_names(paths: list[Path]) -> dict[str, list[Path]]:
    """Names that more than one module bears; `__init__` and the commands' own files may."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        if path.stem != "__init__" and path.parent.name != COMMANDS:
            by_name[path.stem].append(path)
    return {name: group for name, group in by_name.items() if len(group) > 1}


def root_modules(paths: list[Path], source: Path = SOURCE) -> list[str]:
    """Modules at the package's root, but for `__init__` and `__main__`."""
    return [p.stem for p in paths if p.parent == source / "stablemax" and not p.stem.startswith("__")]


def main(source: Path = SOURCE) -> None:
    """Print the counts."""
    files: Counter[str] = Counter()
    every: Counter[str] = Counter()
    code: Counter[str] = Counter()
    long: list[str] = []
    paths = modules(source)
    for path in paths:
        parts = path.relative_to(source / "stablemax").parts
        room = parts[0] if len(parts) > 1 else "(root)"
        text = path.read_text(encoding="utf-8")
        files[room] += 1
        every[room] += len(text.splitlines())
        code[room] += code_lines(text)
        long += [f"{path.relative_to(source)}: {name} {lines}" for name, lines in long_functions(text)]
    print(f"{'room':16}{'files':>7}{'code':>8}{'all lines':>11}")
    for room in sorted(files):
        print(f"{room:16}{files[room]:7}{code[room]:8,}{every[room]:11,}")
    print(f"{'total':16}{files.total():7}{code.total():8,}{every.total():11,}")
    print(f"modules at the root: {', '.join(root_modules(paths, source))}")
    print(f"functions over {LONGEST_FUNCTION} lines: {len(long)}", *long, sep="\n  ")
    print(f"names that two modules share: {', '.join(sorted(shared_names(paths))) or 'none'}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
