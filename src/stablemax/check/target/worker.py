"""The process that somebody's code runs in: it may hang, print, exit or crash without taking us along.

Requests and answers are pickles on the descriptors that were standard input and output; what the code
itself prints goes to a file, whose end travels with the answer.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import sys
import tempfile
from dataclasses import replace
from typing import IO, Any

from stablemax.errors import StablemaxError

PRINTED_LIMIT = 2000


def main() -> None:
    """Serve requests until the other end closes."""
    requests, answers, printed = _take_streams()
    own = os.getpid()
    host: Any = None
    while True:
        try:
            name, arguments, named = pickle.load(requests)  # noqa: S301 - from our own parent process
        except EOFError:
            return
        try:
            if name == "load":
                from stablemax.check.target.local import Host

                host = Host(*arguments)
                result: Any = host.described
            else:
                result = _with_prints(getattr(host, name)(*arguments, **named), printed)
            answer = ("done", result)
        except StablemaxError as error:
            answer = ("refused", (error.message, error.hint))
        except Exception as error:  # a bug of ours is told by the parent
            answer = ("failed", f"{type(error).__name__}: {error}")
        if os.getpid() != own:  # the code has forked: the child would answer everything once more
            os._exit(0)
        pickle.dump(answer, answers)
        answers.flush()


def _take_streams() -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    """Keep the real standard streams for the parent, and give the code others."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    printed = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    os.dup2(printed.fileno(), 1)
    os.dup2(printed.fileno(), 2)
    # Otherwise what is printed to standard error would come before what was printed earlier.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    return requests, answers, printed


def _with_prints(result: Any, printed: IO[bytes]) -> Any:
    """Hand over what was printed since the last answer, with the first of the answers."""
    for stream in (sys.stdout, sys.stderr):
        # The code may have closed them, or put anything in their place.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    printed.seek(0)
    text = printed.read(PRINTED_LIMIT).decode("utf-8", "replace")
    printed.seek(0)
    printed.truncate()
    if text and isinstance(result, list) and result:
        return [replace(result[0], printed=text), *result[1:]]
    return replace(result, printed=text) if text and hasattr(result, "printed") else result


if __name__ == "__main__":
    main()
