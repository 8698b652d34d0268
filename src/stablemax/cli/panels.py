"""The groups of a help page: of its options, and of the list of commands; each in the order in which they stand."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_HELP_ENTRY = "help_entry"


class Panel(enum.StrEnum):
    """A group of options; each option names its group where it is declared."""

    COMMON = "Common options"
    INPUT = "Input files"
    GENERATED = "Generated logits"
    TARGET = "How TARGET is called"
    FORMULAS = "Formulas"
    JUDGING = "Judging"
    OUTPUT = "Output"
    RUNNING = "Running"


class CommandPanel(enum.StrEnum):
    """A group of commands."""

    JUDGE = "See what breaks"
    COMPUTE = "Compute"
    LEARN = "Look up"
    OTHER = "More"


@dataclass(frozen=True)
class Example:
    """A command line that a help page ends with."""

    #: What it answers or does, in a few words
    purpose: str
    #: As it is typed
    line: str


@dataclass(frozen=True)
class HelpEntry:
    """What the function of a command says about its help page."""

    panel: CommandPanel = CommandPanel.OTHER
    examples: tuple[Example, ...] = ()


def help_entry(panel: CommandPanel, *examples: Example) -> Callable[[Decorated], Decorated]:
    """Give the function of a command its place in the list of commands, and the examples of its help."""

    def decorate(command: Decorated) -> Decorated:
        setattr(command, _HELP_ENTRY, HelpEntry(panel, examples))
        return command

    return decorate


def help_entry_of(command: Callable[..., Any]) -> HelpEntry:
    """Return what the function of a command says about its help page."""
    entry: HelpEntry = getattr(command, _HELP_ENTRY, HelpEntry())
    return entry
