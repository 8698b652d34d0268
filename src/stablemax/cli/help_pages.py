"""The help page of a command: what it does, its options in groups, and examples.

It is ASCII of at most 100 columns. On a terminal headings and names are coloured, and a long page goes to the pager.
"""

from __future__ import annotations

import inspect
import itertools
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from stablemax.cli import ReaderGoneError
from stablemax.cli.pager import write_paged
from stablemax.cli.panels import CommandPanel, Panel
from stablemax.render.console import wants_color

_LEAST_WIDTH = 50
_MOST_WIDTH = 100
_MOST_NAME = 24
"""A longer name has a line of its own, above what it means."""
COLORS = {"always": True, "never": False}
"""What --color decides; the terminal decides where it is not among these."""


class _Entry(NamedTuple):
    """A name with what it means, and the group in which it stands."""

    panel: str
    name: str
    text: str


class HelpCommand(TyperCommand):
    """A command whose help has its options in groups, and examples at its end."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note the colours that --color asks for: --help is answered before other options are read."""
        asked = [after for word, after in itertools.pairwise([*args, ""]) if word == "--color"]
        asked += [word.removeprefix("--color=") for word in args if word.startswith("--color=")]
        ctx.color = COLORS.get(asked[-1], ctx.color) if asked else ctx.color
        return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Any) -> Any:
        """Return --help, which shows the page in our way."""
        return _shown_by_us(super().get_help_option(ctx))

    def get_help(self, ctx: Any) -> str:
        """Return the page, in colours where the context has them."""
        parameters = self.get_params(ctx)
        records = [(p, p.get_help_record(ctx)) for p in parameters]
        arguments = [
            _Entry("Arguments", p.metavar or p.name.upper(), r[1]) for p, r in records if r and _is_argument(p)
        ]
        options = [_Entry(_panel_of(p), *r) for p, r in records if r and not _is_argument(p)]
        parts = [_usage(self, ctx), _indented(self.help), *_groups([*arguments, *options], ["Arguments", *Panel], ctx)]
        examples = f"{_heading('Examples', ctx)}\n{textwrap.indent(self.epilog, '  ')}" if self.epilog else ""
        return "\n\n".join(filter(None, [*parts, examples]))


class HelpGroup(TyperGroup):
    """The program, whose help lists its commands in groups."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return --help, which shows the page in our way."""
        return _shown_by_us(super().get_help_option(ctx))

    def get_help(self, ctx: Any) -> str:
        """Return the page, in colours where the context has them."""
        commands = [
            _Entry(command.rich_help_panel or CommandPanel.OTHER, name, command.get_short_help_str())
            for name, command in self.commands.items()
            if isinstance(command, TyperCommand)
        ]
        records = [p.get_help_record(ctx) for p in self.get_params(ctx)]
        options = [_Entry("Options", *record) for record in records if record]
        groups = [*_groups(commands, CommandPanel, ctx), *_groups(options, (), ctx)]
        return "\n\n".join(filter(None, [_usage(self, ctx), _indented(self.help), *groups, _indented(self.epilog)]))


def _shown_by_us(option: Any) -> Any:
    if option is not None:
        option.callback = _show
    return option


def _show(ctx: Any, _: Any, value: Any) -> None:
    """Write the page to standard output and end, as --help does."""
    if value and not ctx.resilient_parsing:
        ctx.color = wants_color("auto", sys.stdout, os.environ) if ctx.color is None else ctx.color
        try:
            write_paged([f"{ctx.get_help()}\n"])
        except BrokenPipeError:
            raise ReaderGoneError from None
        ctx.exit()


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _panel_of(option: Any) -> str:
    # Typer itself declares --help.
    return option.rich_help_panel or Panel.COMMON


def _usage(command: Any, ctx: Any) -> str:
    # What has to be given stands as it is; Typer sets it in braces.
    pieces = " ".join(piece.replace("{", "").replace("}", "") for piece in command.collect_usage_pieces(ctx))
    return f"{_styled('Usage:', ctx, bold=True)} {ctx.command_path} {pieces}"


def _groups(entries: Sequence[_Entry], order: Iterable[str], ctx: Any) -> list[str]:
    """Set the groups that have entries, in their order, all names in one column."""
    width = max(len(e.name) for e in entries if len(e.name) <= _MOST_NAME)
    panels = [*dict.fromkeys([*order, *(e.panel for e in entries)])]
    return [
        "\n".join([_heading(panel, ctx), *(_defined(e, width, ctx) for e in entries if e.panel == panel)])
        for panel in panels
        if any(e.panel == panel for e in entries)
    ]


def _heading(text: str, ctx: Any) -> str:
    return _styled(f"{text}:", ctx, bold=True)


def _defined(entry: _Entry, width: int, ctx: Any) -> str:
    indent = " " * (width + 4)
    lines = _wrapped(entry.text, indent)
    name = _styled(entry.name, ctx, fg="cyan")
    if len(entry.name) > width:
        return "\n".join([f"  {name}", *lines])
    first = f"  {name}{' ' * (width - len(entry.name))}  "
    return "\n".join([first + lines[0].removeprefix(indent), *lines[1:]])


def _indented(text: str | None) -> str:
    """Set paragraphs of a text; a line that is indented stands as it is."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join("\n".join(_wrapped(" ".join(p.split()), "  ")) for p in paragraphs)


def _wrapped(text: str, indent: str) -> list[str]:
    # Neither a name nor an option is broken: what is copied has to be whole.
    lines = textwrap.wrap(
        text.replace("[default: ", "[default:\N{NO-BREAK SPACE}"),
        width=_width(),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines] or [""]


def _width() -> int:
    return max(min(shutil.get_terminal_size().columns, _MOST_WIDTH), _LEAST_WIDTH) - 2


def _styled(text: str, ctx: Any, **style: Any) -> str:
    return typer.style(text, **style) if ctx.color else text
