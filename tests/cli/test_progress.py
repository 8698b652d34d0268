"""The line of a terminal that says how far a long job is."""

from __future__ import annotations

import contextlib
import io
import re
import time
from dataclasses import dataclass

import pytest

from stablemax.cli.io import progress
from stablemax.cli.options import PrintOptions


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Job:
    """What a job of two halves says of itself."""

    text: str = "softmax/compensated [red]"
    unit: str = "B"
    quiet: bool = False

    def run(self, stream: io.StringIO) -> None:
        # Within the test: capturing puts its own standard error in place at its beginning.
        with (
            contextlib.redirect_stderr(stream),
            progress(PrintOptions(quiet=self.quiet), "reading x.npy", unit=self.unit) as step,
        ):
            for done in (0, 10**9, 2 * 10**9):
                step(done, 2 * 10**9, self.text)
                time.sleep(0.4)
            print("the result")  # noqa: T201 - a job may print while the line stands


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    monkeypatch.setattr("stablemax.cli.io.DELAY_S", 0.05)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return stream


def words(terminal: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


@pytest.mark.slow
def test_bytes_are_shown_with_their_share_their_rate_and_the_time_left(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    Job().run(terminal)
    assert re.search(r" 50% softmax/compensated \[red\] 1\.0/2\.0 GB [\d.?]+.* left", words(terminal))
    assert "B/s" in words(terminal)
    assert "the result" not in terminal.getvalue()
    assert capsys.readouterr().out == "the result\n"


@pytest.mark.slow
def test_steps_are_shown_with_their_share_and_the_time_that_they_took(terminal: Terminal) -> None:
    Job(unit="").run(terminal)
    assert re.search(r" 50% softmax/compensated \[red\] 0:00:0\d", words(terminal))
    assert "GB" not in words(terminal)


@pytest.mark.slow
def test_a_long_text_is_cut_and_no_number_beside_it(terminal: Terminal) -> None:
    Job(text="x" * 500).run(terminal)
    assert re.search(r" 50% x{10,60} 1\.0/2\.0 GB ", words(terminal))
    assert "…" not in words(terminal)


@pytest.mark.slow
def test_the_line_is_wiped_in_the_end(terminal: Terminal) -> None:
    Job().run(terminal)
    assert terminal.getvalue().endswith("\x1b[2K")


@pytest.mark.slow
def test_nothing_is_shown_of_a_short_job_a_quiet_one_or_without_a_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    Job(quiet=True).run(terminal)
    monkeypatch.setattr("stablemax.cli.io.DELAY_S", 60.0)
    Job().run(terminal)
    assert terminal.getvalue() == ""
    monkeypatch.setattr("stablemax.cli.io.DELAY_S", 0.05)
    no_terminal = io.StringIO()
    Job().run(no_terminal)
    assert no_terminal.getvalue() == ""
