"""The process that somebody's code runs in: it may hang, print, exit or crash without taking us along.

Requests and replies are pickles on the descriptors that were standard input and output; what the code
itself prints goes to a file, whose end travels with the reply.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import sys
import tempfile
from typing import IO, Any

from stablemax.check.target.local import load_local
from stablemax.check.target.messages import LoadedTarget, Reply, Target
from stablemax.text.errors import StablemaxError

PRINTED_LIMIT = 2000


def main() -> None:
    """Load the target that the first message names, and answer requests until the other end closes."""
    requests, replies, printed = _take_streams()
    own_process = os.getpid()
    loaded: LoadedTarget | None = None
    while True:
        try:
            message: Any = pickle.load(requests)  # noqa: S301 - from our own parent process
        except EOFError:
            return
        try:
            if isinstance(message, Target):
                loaded = load_local(message)
                reply = Reply(loaded.info)
            else:
                reply = Reply(message(loaded), _printed_since_the_last_reply(printed))
        except StablemaxError as error:
            reply = Reply(error=error)
        except Exception as error:  # this program is to blame, not the code
            reply = Reply(error=RuntimeError(f"{type(error).__name__}: {error}"))
        if os.getpid() != own_process:  # the code has forked: the child would answer everything once more
            os._exit(0)
        pickle.dump(reply, replies)
        replies.flush()


def _take_streams() -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    """Keep the real standard streams for the parent, and give the code others."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    printed = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    os.dup2(printed.fileno(), 1)
    os.dup2(printed.fileno(), 2)
    # Otherwise text on standard error would come before text that was printed earlier.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    return requests, replies, printed


def _printed_since_the_last_reply(printed: IO[bytes]) -> str:
    for stream in (sys.stdout, sys.stderr):
        # The code may have closed them, or put anything in their place.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    printed.seek(0)
    text = printed.read(PRINTED_LIMIT).decode("utf-8", "replace")
    printed.seek(0)
    printed.truncate()
    return text


if __name__ == "__main__":
    main()
