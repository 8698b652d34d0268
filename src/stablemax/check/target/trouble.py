"""What somebody's code did instead of an answer, in words."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from stablemax.text.errors import shown
from stablemax.text.machine_limits import tells_of_memory

_PACKAGE = Path(__file__).parents[2]


def needs_memory(error: BaseException) -> bool:
    """True where NumPy, PyTorch or JAX did not get the memory that the code asked for."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and tells_of_memory(_message(error)))


def file_of(function: Any) -> str:
    """Return the file of a function's code; empty where it has none."""
    target = getattr(function, "forward", None) or function
    code = getattr(target, "__code__", None) or getattr(getattr(target, "__func__", None), "__code__", None)
    return code.co_filename if code is not None else ""


def trouble_of(error: BaseException, file: str) -> str:
    """Put an exception into words, with the last line of the target's file that it passed."""
    message = _message(error)
    if isinstance(error, TypeError) and message.startswith("returned "):
        return message
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _PACKAGE not in Path(f.filename).parents]
    frames = [f for f in frames if f.filename == file] or frames
    position = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    text = shown(message.strip().partition("\n")[0], 160)
    return f"raised {type(error).__name__}{f': {text}' if text else ''}{position}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""  # the exception has no words
