"""The "did you mean" of all hints."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CUTOFF = 0.6
"""Least likeness of two names, from 0 to 1, at which one is taken for a misspelling of the other."""


def nearest(name: str, known: Iterable[str], *, cutoff: float = CUTOFF) -> str:
    """Return the known name that is most like the given one; empty where none is.

    >>> nearest("softmx", ["softmax", "logsumexp"]), nearest("yaml", ["csv"])
    ('softmax', '')
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), "")


def suggest(name: str, known: Iterable[str], hint: str = "", *, cutoff: float = CUTOFF) -> str:
    """Put "did you mean" before a hint where a known name is near.

    >>> suggest("collaps", ["collapse"], "stablemax list hazards")
    'did you mean collapse? stablemax list hazards'
    >>> suggest("x", ["collapse"], "stablemax list hazards")
    'stablemax list hazards'
    """
    near = nearest(name, known, cutoff=cutoff)
    return f"did you mean {near}? {hint}".rstrip() if near else hint
