"""The functions of a Jupyter notebook, without what its cells compute and show."""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from stablemax.text.python_files import cells_of

_DEFINITIONS = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef, ast.Assign, ast.AnnAssign,
)  # fmt: skip


def load_notebook(path: Path) -> ModuleType:
    """Run the imports, definitions and assignments of a notebook; cells that compute or draw are left alone.

    An assignment that fails is left out: it may need data that is not here. A cell is a file of its own in tracebacks
    and traces: ``notebook.ipynb cell 3``.
    """
    module = ModuleType(f"_stablemax_notebook_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    for number, source in enumerate(cells_of(path), 1):
        name = f"{path} cell {number}"
        # Without a time, the cache of lines keeps what is no file.
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        try:
            statements = ast.parse(source, name).body
        except SyntaxError:
            continue
        for statement in statements:
            _run(statement, name, vars(module))
    return module


def _run(statement: ast.stmt, file: str, names: dict[str, Any]) -> None:
    if not isinstance(statement, _DEFINITIONS):
        return
    code = compile(ast.Module([statement], []), file, "exec")
    drop = io.StringIO()
    with contextlib.redirect_stdout(drop), contextlib.redirect_stderr(drop), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # What is missing then is named by the code that needs it.
        with contextlib.suppress(Exception):
            exec(code, names)  # noqa: S102 - this is what the user asks for
