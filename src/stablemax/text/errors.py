"""The exception for a user's mistake; the command line turns it into exit code 2."""

from __future__ import annotations

VALUE_LIMIT = 80
"""Longest shown piece of a foreign value, in characters."""


class StablemaxError(Exception):
    """A mistake that a user can make and mend.

    >>> raise StablemaxError("row 3: label 12 is out of range", "classes are 0 to 9")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: row 3: label 12 is out of range
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def shown(value: object, limit: int = VALUE_LIMIT) -> str:
    r"""Return foreign text made fit for a terminal: control characters escaped, length bounded.

    File names and cells come from anybody: no escape sequence may reach a terminal, and no cell of a gigabyte a log.

    >>> shown("red \x1b[31m")
    'red \\x1b[31m'
    >>> shown("x" * 100, limit=5)
    'xxxxx... (100 characters)'
    """
    text = str(value)
    head = text[:limit]
    if not head.isprintable():
        head = head.encode("unicode_escape", "backslashreplace").decode("ascii")
    return head if len(text) <= limit else f"{head}... ({len(text):,} characters)"


def escaped(text: str) -> str:
    r"""Write what is not printable as Python escapes.

    >>> print(escaped("red \x1b[31m"))
    red \x1b[31m
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
