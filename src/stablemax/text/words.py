"""Words that agree with their numbers."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, singular: str, plural: str = "") -> str:
    """Write a number with its noun.

    >>> counted(1, "row"), counted(4096, "row"), counted(2, "class", "classes")
    ('1 row', '4,096 rows', '2 classes')
    """
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    >>> listed(["float16"]), listed(["float16", "bfloat16", "float32"])
    ('float16', 'float16, bfloat16 and float32')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def either(words: Sequence[str]) -> str:
    """Join words of which one is chosen.

    >>> either(["mean", "sum", "none"])
    'mean, sum or none'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
