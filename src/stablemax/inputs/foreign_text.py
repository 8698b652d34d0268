"""Foreign text in messages: escaped by `shown`, and bounded in bytes as well."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from stablemax.text.errors import shown
from stablemax.text.words import counted

VALUE_BYTES = 240
NAME_BYTES = 400
LIST_BYTES = 600

_PASSWORD = re.compile(r"(?<=://)([^/?#\s:@]*):[^/?#\s]*@")


def brief(value: object, size: int = VALUE_BYTES) -> str:
    r"""Show a foreign value in at most `size` bytes of UTF-8.

    `shown` bounds the characters; one escaped character may take ten bytes, so a message made of several values is
    bounded only when each is bounded in bytes.

    >>> brief("tab\there")
    'tab\\there'
    >>> len(brief("\U000e0001" * 500, 100)) <= 100
    True
    """
    try:
        text = str(value)
    except ValueError:  # an int of more digits than Python agrees to print
        text = "a number of thousands of digits"
    limit = size
    result = shown(text, limit)
    while len(result.encode("utf-8", "backslashreplace")) > size and limit > 1:
        limit = limit * 3 // 4
        result = shown(text, limit)
    return result


def file_name(path: object) -> str:
    r"""Show the name of a file in a message.

    >>> file_name("runs/logits.npy")
    'runs/logits.npy'
    >>> file_name("-")
    'standard input'
    >>> file_name("\x1b[31m.npy")
    '\\x1b[31m.npy'
    """
    return "standard input" if path == "-" else brief(masked(str(path)), NAME_BYTES)


def masked(text: str) -> str:
    """Hide the passwords of addresses.

    >>> masked("http://user:p@ss@host:80/x.npy?at=1:2@3")
    'http://user:***@host:80/x.npy?at=1:2@3'
    """
    return _PASSWORD.sub(r"\1:***@", text)


def size_of(count: int) -> str:
    """Show a number of bytes; a claim may be any integer at all.

    >>> size_of(1234567)
    '1,234,567 bytes'
    >>> size_of(10**40)
    'more than 10**24 bytes'
    """
    return "more than 10**24 bytes" if count > 10**24 else counted(count, "byte")


def listed(names: Iterable[object], size: int = LIST_BYTES) -> str:
    """Show names joined by commas, as many as fit into `size` bytes.

    >>> listed(["logits", "labels"])
    'logits, labels'
    >>> listed([f"array{i}" for i in range(1000)], size=100)
    'array0, array1, array2, array3, array4, array5, array6, array7, array8, ... (1,000 in all)'
    """
    every, left = list(names), size - len("... (1,000,000 in all)")
    shown_names: list[str] = []
    for name in every:
        shown_name = brief(name, 120) or "''"
        left -= len(shown_name.encode()) + 2
        if left < 0:
            return ", ".join([*shown_names, f"... ({len(every):,} in all)"])
        shown_names.append(shown_name)
    return ", ".join(shown_names)


def shape_of(shape: Sequence[int]) -> str:
    """Show a shape, at most eight of its entries.

    >>> shape_of((16, 64))
    '(16, 64)'
    >>> shape_of((3,))
    '(3,)'
    """
    if len(shape) <= 8:
        return str(tuple(int(n) for n in shape))
    return f"({', '.join(str(int(n)) for n in shape[:8])}, ...: {len(shape)} dimensions)"
