"""The import lines of Python to paste, grouped as isort groups them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CodeToImport:
    """Somebody's code, as it is imported."""

    #: The module or file; empty where nothing can import it.
    module: str
    #: How it is written there: ``softmax``, ``CrossEntropyLoss()``.
    expression: str
    #: What the user calls it.
    name: str


def import_lines(
    libraries: Sequence[str], ours: Sequence[str] = (), after: Sequence[str] = (), code: CodeToImport | None = None
) -> list[str]:
    """Write import lines: Python's own, those of libraries, those of stablemax, and what stands behind them all.

    >>> import_lines(["import numpy as np"], code=CodeToImport("my/losses.py", "Loss().forward", "my/losses.py:Loss"))
    ['import sys', '', 'import numpy as np', '', 'sys.path.insert(0, "my")', 'from losses import Loss']
    """
    standard: list[str] = []
    libraries, after = list(libraries), list(after)
    if code is not None:
        first_name = re.split(r"\W", code.expression)[0]
        if not code.module:
            after.append(f"# {first_name} stands for {code.name}: import it, or paste it here.")
        elif code.module.endswith(".py") or "/" in code.module:
            folder = Path(code.module).parent.as_posix()
            if folder != ".":
                standard = ["import sys"]
                after.append(f'sys.path.insert(0, "{folder}")')
            # After the path is set, whatever the order of imports.
            after.append(f"from {Path(code.module).stem} import {first_name}")
        else:
            libraries.append(f"from {code.module} import {first_name}")
    separated = [line for group in (standard, libraries, list(ours), after) if group for line in ("", *group)]
    return separated[1:]
