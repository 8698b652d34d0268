"""How long a server is waited for, and the error for one that is waited for no longer."""

from __future__ import annotations

from stablemax.text.words import counted

TIMEOUT_S = 30.0
"""How long a server may be silent by default: while it is connected to, before an answer, and within one."""
LEAST_RATE = 2**10
"""Fewest bytes a second within a timeout: what comes more slowly, byte by byte, counts as silence.

It is this low because the requests of all threads may share a slow line."""


class ServerError(Exception):
    """What a server did that nobody waits for or takes; the address is not known yet where it is raised.

    >>> raise ServerError("the server sent more than 5 bytes", "download it first")
    Traceback (most recent call last):
    stablemax.inputs.server_limits.ServerError: the server sent more than 5 bytes
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def no_answer(timeout_s: float, came: int | None = None) -> ServerError:
    """Word the error for a server that is too slow; `came` is the number of bytes that came of a body.

    >>> no_answer(30).message, no_answer(30).hint
    ('the server gave no answer in 30 s', '--timeout 120 waits longer; or download it first')
    >>> no_answer(1.5, 0).message, no_answer(30, 6).message
    ('the server sent nothing for 1.5 s', 'the server sent no more than 6 bytes in 30 s')
    """
    what = "gave no answer in" if came is None else f"sent no more than {counted(came, 'byte')} in"
    what = what if came != 0 else "sent nothing for"
    return ServerError(
        f"the server {what} {timeout_s:g} s",
        f"--timeout {max(120, 4 * timeout_s):g} waits longer; or download it first",
    )
