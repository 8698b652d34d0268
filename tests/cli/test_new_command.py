"""A new command is one file and one line."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import app

from .running import run

if TYPE_CHECKING:
    import pytest


def test_a_command_of_one_function_and_one_line_is_listed_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def hello(name: Annotated[str, typer.Argument(metavar="NAME", help="Whom to greet.")]) -> int:
        """Greet somebody."""
        typer.echo(f"hello {name}")
        return 0

    module = ModuleType("stablemax.cli.hello")
    hello.__globals__["Annotated"] = Annotated
    module.hello = hello  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(app.COMMANDS, "hello", ("hello", "hello", "Greet somebody."))
    assert run("hello", "world").out == "hello world\n"
    assert "Greet somebody." in run("--help").out
    assert "NAME" in run("hello", "--help").out
