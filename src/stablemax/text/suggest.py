"""The "did you mean" of all hints."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CUTOFF = 0.6
"""Least likeness of two names, from 0 to 1, at which one is taken for a misspelling of the other."""


def nearest(name: str, known: Iterable[str], *, cutoff: float = CUTOFF) -> str:
    """Return the known name that is most like the given one, or else the only one that it begins; empty for none.

    >>> nearest("softmx", ["softmax", "logsumexp"]), nearest("yaml", ["csv"]), nearest("kl", ["kl_divergence"])
    ('softmax', '', 'kl_divergence')
    """
    names = list(known)
    begun = [one for one in names if len(name) > 1 and one.startswith(name)]
    close = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    return next(iter(close), begun[0] if len(begun) == 1 else "")


def suggest(name: str, known: Iterable[str], hint: str = "", *, cutoff: float = CUTOFF) -> str:
    """Put "did you mean" before a hint where a known name is near.

    >>> suggest("collaps", ["collapse"], "stablemax list hazards")
    'did you mean collapse? stablemax list hazards'
    >>> suggest("x", ["collapse"], "stablemax list hazards")
    'stablemax list hazards'
    """
    near = nearest(name, known, cutoff=cutoff)
    return f"did you mean {near}? {hint}".rstrip() if near else hint
