"""What a function's own text says that it takes, beyond logits (N, K) and labels (N,)."""

from __future__ import annotations

import inspect
import io
import re
import tokenize
import types
from collections.abc import Callable
from typing import Any

from stablemax.hazards.shapes import DIMENSIONS, LAST_AXIS
from stablemax.operations.operation import Operation

# A reduction over the last axis of however many, an index behind all others, or words.
_NAMES_LAST_AXIS = re.compile(
    r"\b(?:axis|dim)s?\s*=\s*\(?-1\b|\[\s*\.\.\.|shape\[:-1\]|(?:ndim|dim\(\))\s*-\s*1\b"
    r"|\.(?:a?max|sum|mean|logsumexp|softmax|log_softmax)\(-1\b|\blast (?:axis|dim)",
    re.IGNORECASE,
)
_CONDITION_ON_DIMENSIONS = re.compile(
    r"(?:\bndim\b|\bdim\(\)|len\(\w+\.shape\))\s*(?:(?:==|>=|in)\s*\(?[345]|>\s*[23])", re.IGNORECASE
)
# In comments and docstrings alone: (B, T, V), (batch, heads, seq, seq), (..., K), 3-D.
_AXIS = r"(?:[A-Z]\w?|\d+|batch\w*|seq\w*|time|tokens?|heads?|vocab\w*|(?:n(?:um)?_?)?classes|height|width|length)"
_NAMES_AXES = re.compile(rf"\((?:{_AXIS},\s*){{2,3}}{_AXIS}\)|\(\.\.\.,\s*\w+\)|\b[3-4n]-?d\b")
_CLASSES_LAST = re.compile(r"\(.*\b(?:V|K|vocab\w*|(?:n(?:um)?_?)?classes)\)$|^\(\.\.\.")
_NAMES_IGNORED_ROWS = re.compile(r"[!=]=\s*-\s*100\b|\bignore_?(?:index|label)\b", re.IGNORECASE)


def declared(function: Callable[..., Any], operation: Operation) -> frozenset[str]:
    """Read off a function's text what it takes, from `hazards.hazard.NEEDS` and `hazards.shapes`.

    Losses of labels are written for two dimensions also where they name the last axis: they are held to more
    only where they name those.

    >>> from stablemax.operations import get_operation
    >>> sorted(declared(lambda x: x.sum(axis=-1, keepdims=True), get_operation("softmax")))
    ['last-axis']
    """
    text = _text_of(function)
    remarks = _remarks(text)
    named = _NAMES_AXES.findall(remarks)
    takes = set()
    if named or _CONDITION_ON_DIMENSIONS.search(text):
        takes.add(DIMENSIONS)
    of_labels = operation.needs_targets
    if any(map(_CLASSES_LAST.search, named)) or (not of_labels and _NAMES_LAST_AXIS.search(text)):
        takes.add(LAST_AXIS)
    if of_labels and _NAMES_IGNORED_ROWS.search(text):
        takes.add("ignore-index")
    return frozenset(takes)


def _text_of(function: Callable[..., Any]) -> str:
    """Return the source of a function, and of those of its module that it names; empty where there is none."""
    inner = inspect.unwrap(function)
    target = getattr(inner, "forward", None) or inner
    owner = getattr(target, "__func__", target)
    code, names = getattr(owner, "__code__", None), getattr(owner, "__globals__", {})
    helpers = [names.get(name) for name in (code.co_names if code is not None else ())]
    own = [helper for helper in helpers if isinstance(helper, types.FunctionType)]
    return "\n".join(map(_source, [owner, *(h for h in own if h.__module__ == owner.__module__)]))


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError, SyntaxError):
        return ""


def _remarks(text: str) -> str:
    """Return the comments and strings of a text."""
    kinds = (tokenize.COMMENT, tokenize.STRING)
    try:
        tokens = [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type in kinds]
    except (tokenize.TokenError, SyntaxError):  # a lambda in the middle of a line
        return ""
    return "\n".join(tokens)
