"""Long output on a terminal goes through a pager; anything else does not."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stablemax.cli.io import emit
from stablemax.cli.options import PrintOptions
from stablemax.cli.pager import pager_command, write_paged

from .running import start_on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGER = """\
import pathlib, sys
pathlib.Path("paged.txt").write_bytes(sys.stdin.buffer.read())
"""
SHORT, LONG = ["1\n2\n"], [f"{i} ✓\n" for i in range(40)]


class Terminal(io.TextIOWrapper):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(pieces: Iterable[str], *, is_terminal: bool = True, printing: PrintOptions | None = None) -> str:
    """What comes to standard output by itself."""
    out = (Terminal if is_terminal else io.TextIOWrapper)(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(out):
        if printing is None:
            write_paged(pieces)
        else:
            emit(pieces, printing)
    return out.buffer.getvalue().decode()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work before a window of five lines, with a pager that keeps what it gets."""
    monkeypatch.chdir(tmp_path)
    Path("pager.py").write_text(PAGER, encoding="utf-8")
    for name, value in {"COLUMNS": "20", "LINES": "5", "TERM": "xterm", "PAGER": f"{sys.executable} pager.py"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("STABLEMAX_PAGER", raising=False)


def test_what_is_longer_than_the_window_goes_through_the_pager_as_it_is() -> None:
    assert shown(LONG) == ""
    assert Path("paged.txt").read_text(encoding="utf-8") == "".join(LONG)


@pytest.mark.parametrize("line", ["x" * 81 + "\n", "\n" * 5], ids=["wrapped", "empty"])
def test_lines_count_as_the_window_shows_them(line: str) -> None:
    assert shown([line]) == ""


def test_what_fits_into_the_window_is_printed() -> None:
    assert shown(SHORT) == "1\n2\n"
    assert shown(["\x1b[31m" * 100 + "red\n"]).endswith("red\n"), "colours take no room"
    assert not Path("paged.txt").exists()


def test_nothing_is_paged_that_is_piped_or_goes_to_a_file_or_is_not_to_be() -> None:
    assert shown(LONG, is_terminal=False) == "".join(LONG)
    assert shown(LONG, printing=PrintOptions(pager=False)) == "".join(LONG)
    assert shown(LONG, printing=PrintOptions(output="file.txt")) == ""
    assert not Path("paged.txt").exists()
    assert shown(LONG, printing=PrintOptions()) == ""
    assert Path("paged.txt").exists()


@pytest.mark.parametrize("changes", [{"STABLEMAX_PAGER": ""}, {"PAGER": "cat"}, {"TERM": "dumb"}], ids=str)
def test_the_environment_turns_the_pager_off(changes: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    assert shown(LONG) == "".join(LONG)


def test_ours_comes_before_that_of_all_programs_and_less_after_both() -> None:
    assert pager_command({"STABLEMAX_PAGER": "most", "PAGER": "less -S"}) == ["most"]
    assert pager_command({"PAGER": "less -S"}) == ["less", "-S"]
    assert pager_command({}) == ["less"]


def test_without_the_pager_all_is_printed_and_told_where_it_was_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAGER", "no-such-pager -R")
    assert shown(LONG) == "".join(LONG)
    assert capsys.readouterr().err.startswith("note: the pager no-such-pager -R cannot be started (No such file")
    monkeypatch.delenv("PAGER")
    monkeypatch.setenv("PATH", "")
    assert shown(LONG) == "".join(LONG)
    assert capsys.readouterr().err == ""


def test_a_pager_that_is_left_early_ends_the_output_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", f"{shlex.quote(sys.executable)} -S -c pass")
    assert shown(itertools.repeat("more\n" * 1000)) == ""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no pty")
def test_on_a_real_terminal_the_exit_code_is_that_of_the_command() -> None:
    np.save("x.npy", np.full((3, 4), np.nan))
    wanted = {"LINES": "5", "COLUMNS": "80", "TERM": "xterm", "PAGER": os.environ["PAGER"]}
    child, terminal = start_on_terminal("inspect", "x.npy", "--fail-on", "nan", **wanted)
    seen = b""
    with contextlib.suppress(OSError):  # the terminal goes with the child
        while piece := os.read(terminal, 4096):
            seen += piece
    os.close(terminal)
    assert child.wait(timeout=300) == 1
    assert "\x1b[" in Path("paged.txt").read_text(encoding="utf-8"), "on a terminal it is coloured"
    assert seen.startswith(b"failed: 3 rows with a NaN")
