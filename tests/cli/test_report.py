"""`stablemax report` as a user runs it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from stablemax.cli import report

from .running import assert_refused, run

NAIVE = """
import numpy as np

def softmax(x):
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)
"""


def test_what_cannot_be_written_is_refused_before_anything_is_computed(desk: Path) -> None:
    assert_refused(run("report", "x.npy", "-o", "x.npy", "--output-format", "html"), "x.npy: is an input")
    assert_refused(run("report", "x.npy", "-o", "report.pdf"), "a report is not written as pdf", "html")
    assert_refused(run("report", "x.npy", "-o", "nowhere/report.html"), "nowhere")
    assert_refused(run("report", "x.npy", "--timeout", "3"), "--timeout is for the code of --target", "--target my.py")
    assert_refused(run("report", "--over", "scales"), "scales", "scale")
    assert_refused(run("report", "--target", "nobody.py:f", "-o", "r.html"), "nobody.py")
    assert not list(desk.glob("*.html"))


def test_a_terminal_is_not_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(report, "sys", terminal)
    assert_refused(run("report"), "too long for a terminal", "-o report.html")


@pytest.mark.slow
def test_a_page_about_files_and_somebodys_code_is_written_whatever_its_name(desk: Path) -> None:
    name = "<b>&.py"
    Path(name).write_text(NAIVE, encoding="utf-8")
    target = ("--target", f"{name}:softmax", "--format", "float32")
    done = run("report", "x.npy", "y.npy", *target, "-o", "report.html")
    assert (done.code, done.out) == (0, "")
    page = Path("report.html").read_text(encoding="utf-8")
    assert "<h1>stablemax report: x.npy</h1>" in page
    assert "Check of &lt;b&gt;&amp;.py:softmax" in page
    assert "<b>" not in page
    for command in (
        "report -o report.html x.npy y.npy --target &#x27;&lt;b&gt;&amp;.py:softmax&#x27; --format float32",
        "compare --all x.npy y.npy --format float32",
        "check &#x27;&lt;b&gt;&amp;.py:softmax&#x27; --format float32",
        "sweep --format float32 --steps 41",
    ):
        assert f"<code>stablemax {command}</code>" in page
