"""The program as a user runs it: in this process where only the words matter, in its own where pipes do."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stablemax.cli.main import _run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# What decides on colours, widths, encodings and buffers: no test depends on the shell that it is run from.
PRESENTATION = (
    "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM", "GITHUB_ACTIONS", "LANG", "LC_ALL",
    "LC_CTYPE", "TERMINAL_WIDTH", "PY_COLORS", "STABLEMAX_DEBUG", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONUNBUFFERED",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What a run left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one strict JSON document."""
        return strict_json(self.out)


def strict_json(text: str) -> Any:
    """Parse JSON, refusing what Python's parser lets through: NaN, Infinity and repeated keys."""

    def refuse(token: str) -> Any:
        raise AssertionError(f"{token} is not JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({k for k, _ in pairs}) == len(pairs), f"a key is there twice: {[k for k, _ in pairs]}"
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)


def environment(**changes: str) -> dict[str, str]:
    """Return the environment without anything that changes how results look, then with `changes`."""
    kept = {k: v for k, v in os.environ.items() if k not in PRESENTATION}
    return kept | {"PYTHONUTF8": "1", **changes}


@contextlib.contextmanager
def _as_started(arguments: tuple[str, ...], changes: Mapping[str, str]) -> Iterator[None]:
    before, argv = dict(os.environ), sys.argv
    wanted = environment(**changes)
    os.environ.clear()
    os.environ.update(wanted)
    sys.argv = ["stablemax", *arguments]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.argv = argv


def run(*arguments: str, encoding: str = "utf-8", stdin: bytes = b"", **changes: str) -> Done:
    """Run a command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n", write_through=True) for _ in range(2))
    given, before = io.TextIOWrapper(io.BytesIO(stdin)), sys.stdin
    sys.stdin = given
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _as_started(arguments, changes),
        ):
            code = _run()
    finally:
        sys.stdin = before
    return Done(
        code,
        *(s.buffer.getvalue().decode(encoding) for s in (out, err)),
    )


def start(*arguments: str, cwd: Path | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own."""
    changes = options.pop("env", {})
    return subprocess.Popen(
        [sys.executable, "-m", "stablemax", *arguments],
        cwd=cwd,
        env=environment(**changes),
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def process(*arguments: str, cwd: Path | None = None, **options: Any) -> Done:
    """Run a command in a process of its own to its end."""
    child = start(*arguments, cwd=cwd, **options)
    out, err = child.communicate(timeout=300)
    return Done(child.returncode, (out or b"").decode(), (err or b"").decode())


# The first terminal that the leader of a session opens is the one whose Ctrl-C it hears.
_TAKE_TERMINAL = (
    "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); "
    "os.execv(sys.executable, [sys.executable, '-m', 'stablemax', *sys.argv[1:]])"
)


def start_on_terminal(*arguments: str, **changes: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command on a terminal of its own, and give the descriptor of what is on it.

    By a child that runs another program at once: pty.fork would fork beside the threads of JAX.
    """
    import pty

    screen, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", _TAKE_TERMINAL, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env=environment(**changes),
    )
    os.close(terminal)
    return child, screen


def assert_refused(done: Done, *words: str) -> None:
    """Assert that the user is told of a mistake in two lines: what is wrong, and what to do."""
    assert done.code == 2, done
    assert done.out == "", "nothing belongs on standard output"
    lines = done.err.splitlines()
    assert len(lines) == 2, done.err
    assert lines[0].startswith("error: "), done.err
    assert lines[1].startswith("hint: "), done.err
    assert len(lines[1]) > len("hint: ")
    assert len(done.err) < 2000
    for word in words:
        assert word in done.err, f"{word!r} is not in {done.err!r}"
