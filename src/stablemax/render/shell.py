"""Command lines that a shell reads back."""

from __future__ import annotations

import shlex


def quoted(command: tuple[str, ...]) -> str:
    r"""Join arguments so that a shell reads them back, with control characters as bash's ``$'\e'``.

    >>> print(quoted(("stablemax", "loss", "a b.npy", "red\x1b[31m.npy")))
    stablemax loss 'a b.npy' $'red\x1b[31m.npy'
    """
    return " ".join(shlex.quote(a) if a.isprintable() else _ansi_c(a) for a in command)


def _ansi_c(text: str) -> str:
    escaped = "".join(c if c.isprintable() and c not in "\\'" else _escape(c) for c in text)
    return f"$'{escaped}'"


def _escape(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    return f"\\x{ord(character):02x}" if ord(character) < 0x80 else f"\\U{ord(character):08x}"
