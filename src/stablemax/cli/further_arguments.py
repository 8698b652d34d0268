"""Further arguments of somebody's code: ``--arg temperature=0.5``, ``--arg mask=FILE.npy``."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablemax.inputs.server_limits import TIMEOUT_S
from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    from stablemax.check.target.messages import FurtherArgument


def further_arguments(texts: Iterable[str], timeout_s: float = TIMEOUT_S) -> tuple[FurtherArgument, ...]:
    """Read --arg: a name, and a number, a word, a Python literal, or a file that holds an array.

    >>> [(one.name, one.value, one.text) for one in further_arguments(["temperature=0.5", "reduction=sum"])]
    [('temperature', 0.5, '0.5'), ('reduction', 'sum', '"sum"')]
    """
    arguments = [_argument(text, timeout_s) for text in texts]
    names = [argument.name for argument in arguments]
    for name in names:
        if names.count(name) > 1:
            raise StablemaxError(f"--arg {name} is given twice", "leave out one of the two")
    return tuple(arguments)


def _argument(text: str, timeout_s: float) -> FurtherArgument:
    from stablemax.check.target.messages import FurtherArgument
    from stablemax.inputs.file_format import NAMES

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise StablemaxError(f"--arg {shown(text)} is not NAME=VALUE", "such as temperature=0.5, or mask=FILE.npy")
    if Path(value).suffix.lower().lstrip(".") in NAMES:
        from stablemax.inputs.open import open_array

        return FurtherArgument(name, open_array(value, timeout_s=timeout_s).array, f'np.load("{value}")')
    literal = _literal(value)
    if isinstance(literal, str):
        return FurtherArgument(name, literal, f'"{literal}"')
    is_special = isinstance(literal, float) and not math.isfinite(literal)
    return FurtherArgument(name, literal, f'float("{literal}")' if is_special else repr(literal))


def _literal(text: str) -> Any:
    """Read a Python literal; a word is a string, with or without quotes."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        special = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}
        return special.get(text.lower(), text)
