"""``stablemax help``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli.option_groups import worded
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.suggest import suggest
from stablemax.text.vocabulary import ColorMode


def _commands() -> list[str]:
    from stablemax.cli.app import COMMANDS

    return list(COMMANDS)


@help_entry(
    CommandPanel.LEARN,
    Example("All commands", "stablemax help"),
    Example("All that compare can be told", "stablemax help compare"),
)
def help_(
    command: Annotated[
        str | None,
        typer.Argument(metavar="COMMAND", help="A command.", show_default=False, autocompletion=_commands),
    ] = None,
    color: Annotated[
        ColorMode,
        worded("Colours: auto, always or never.", metavar="WHEN", panel=Panel.OUTPUT, show_default=True),
    ] = ColorMode.AUTO,
) -> int:
    """Show what a command does and what it can be told, as COMMAND --help does; without COMMAND, list all commands."""
    from stablemax.cli.app import COMMANDS, build
    from stablemax.cli.help_pages import COLORS

    if command is not None and command not in COMMANDS:
        raise StablemaxError(f"there is no command {shown(command)!r}", suggest(command, COMMANDS, "stablemax --help"))
    app = build(COMMANDS if command is None else [command])
    words = ["--help"] if command is None else [command, "--help"]
    code: int = app(words, standalone_mode=False, prog_name="stablemax", color=COLORS.get(color))
    return code
