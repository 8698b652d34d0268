"""Option groups: a dataclass parameter of a command stands for the options that are its fields.

A command that takes a `CommandLine` is handed what it was called with, as words that call it again.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

from stablemax.cli import ReaderGoneError
from stablemax.inputs.foreign_text import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclasses.dataclass(frozen=True)
class GivenOption:
    """One option with what was given for it."""

    spelling: str
    #: The spelling that turns a flag off; empty for what is no flag.
    negation: str
    value: Any
    default: Any
    #: The parameter of the command that it belongs to: its group's, or its own.
    group: str

    def words(self) -> tuple[str, ...]:
        """Write the option as a shell is to pass it on; nothing for None, one for each value of a list."""
        if isinstance(self.value, bool):
            return (self.spelling,) if self.value else ((self.negation,) if self.negation else ())
        values = self.value if isinstance(self.value, list) else [] if self.value is None else [self.value]
        return tuple(word for value in values for word in _option_words(self.spelling, value))


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """What a command was called with."""

    command: str
    arguments: tuple[str, ...] = ()
    options: tuple[GivenOption, ...] = ()

    def words(self, *added: str, whole: str = "") -> tuple[str, ...]:
        """Return the words of a command line that does the same again.

        Options that have their default are left out, but for those of the group `whole`. Passwords in addresses
        are masked: the line ends up in the log of a CI system.
        """
        written = [o for o in self.options if o.value != o.default or (whole and o.group == whole)]
        arguments = tuple(masked(a) for a in self.arguments)
        # What follows "--" is no option, whatever it begins with.
        end = ("--",) if any(a.startswith("-") and a != "-" for a in arguments) else ()
        options = (*(word for o in written for word in o.words()), *added)
        return ("stablemax", self.command, *((*options, *end, *arguments) if end else (*arguments, *options)))


@dataclasses.dataclass(frozen=True)
class NotReproduced:
    """A group of options that change where and how a result appears, but not the result."""

    REPRODUCED: ClassVar[bool] = False


def expanded(command: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """Give Typer a flat signature for a command that takes groups of options.

    Each parameter whose type is a dataclass is replaced by the dataclass's fields, whose `Annotated` types declare
    the options; when the command is called, the dataclass is built from them. A parameter of type `CommandLine` is
    no option at all.
    """
    hints = get_type_hints(command, include_extras=True)
    flat: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    lines: list[str] = []
    group_of: dict[str, str] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if kind is CommandLine:
            lines.append(parameter.name)
        elif dataclasses.is_dataclass(kind) and isinstance(kind, type):
            groups[parameter.name] = kind
            flat += _parameters_of(kind)
            if getattr(kind, "REPRODUCED", True):
                group_of |= {f.name: parameter.name for f in dataclasses.fields(kind)}
        else:
            flat.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kind))
            group_of[parameter.name] = parameter.name

    @functools.wraps(command)
    def call(**values: Any) -> Any:
        given = {line: _command_line(name, flat, values, group_of) for line in lines}
        built = {
            group: kind(**{f.name: values.pop(f.name) for f in dataclasses.fields(kind)})
            for group, kind in groups.items()
        }
        try:
            return command(**values, **built, **given)
        except BrokenPipeError:
            raise ReaderGoneError from None

    call.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in flat}
    del call.__wrapped__
    return call


def _parameters_of(group: type) -> Iterator[inspect.Parameter]:
    annotations = get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotations[field.name]
        )


def _command_line(
    name: str, parameters: list[inspect.Parameter], values: dict[str, Any], group_of: dict[str, str]
) -> CommandLine:
    arguments: list[str] = []
    options: list[GivenOption] = []
    for parameter in parameters:
        if parameter.name not in group_of:
            continue
        declared = parameter.annotation.__metadata__[0]
        value = values[parameter.name]
        if type(declared).__name__ == "ArgumentInfo":
            arguments += value if isinstance(value, list) else [] if value is None else [value]
            continue
        spelling, _, negation = _spelling(declared.param_decls or (), parameter.name).partition("/")
        options.append(GivenOption(spelling, negation, value, parameter.default, group_of[parameter.name]))
    return CommandLine(name, tuple(arguments), tuple(options))


def _spelling(declarations: tuple[str, ...], name: str) -> str:
    """Return the long spelling of an option, as Typer derives it where it is not declared."""
    return next((d for d in declarations if d.startswith("--")), f"--{name.replace('_', '-')}")


def _option_words(spelling: str, value: Any) -> tuple[str, ...]:
    """Write an option with a value.

    Examples
    --------
    >>> _option_words("--scale", 1e5), _option_words("--offset", -2.5)
    (('--scale', '100000'), ('--offset=-2.5',))
    """
    text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else masked(str(value))
    # A value that begins with a minus needs the equals sign.
    return (f"{spelling}={text}",) if text.startswith("-") else (spelling, text)
