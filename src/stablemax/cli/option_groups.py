"""Option groups: a dataclass parameter of a command stands for the options that are its fields.

A command that takes a `CommandLine` is handed what it was called with, as words that call it again.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from stablemax.cli import ReaderGoneError
from stablemax.cli.panels import Panel
from stablemax.inputs.foreign_text import masked
from stablemax.text.errors import StablemaxError

Group = TypeVar("Group")
# Where the field of a group keeps what declares its option.
_DECLARED = "declared"
# Groups and options that say where a result goes, how it looks there, who computes it or how long is waited for it,
# not what it is.
NOT_REPRODUCED = frozenset({"printing", "output_format", "force", "streaming", "network"})


@dataclasses.dataclass(frozen=True)
class GivenOption:
    """One option with what was given for it, or its default."""

    spelling: str
    #: The spelling that turns a flag off; empty for what is no flag.
    negation: str
    value: Any
    is_given: bool
    #: The group that it belongs to, by the name of the parameter or the field; its own name outside of groups.
    group: str

    def is_of(self, names: Iterable[str]) -> bool:
        """Tell whether it is named, by its spelling or its group."""
        return self.group in names or self.spelling in names

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

    def given(self, *names: str) -> tuple[str, ...]:
        """Return the spellings of the options that were given, of those that are named by spelling or group."""
        return tuple(o.spelling for o in self.options if o.is_given and o.is_of(names))

    def refuse(self, names: Iterable[str], reason: str, allowed: tuple[str, ...] = ()) -> None:
        """Refuse options, each by its spelling; they are named by spelling or group."""
        for spelling in self.given(*names):
            if spelling not in allowed:
                raise StablemaxError(f"{spelling} {reason}", "leave out one of the two")

    def with_value(self, spelling: str, value: str) -> CommandLine:
        """Return the line with an option that was not given."""
        options = (
            dataclasses.replace(o, value=value, is_given=True) if o.spelling == spelling else o for o in self.options
        )
        return dataclasses.replace(self, options=tuple(options))

    def words(self, whole: str = "", without: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the words of a command line that gives the same result again.

        Options that were not given are left out, but for those of the group `whole`; so are those named by `without`.
        Passwords in addresses are masked: the line ends up in the log of a CI system.
        """
        options = [o for o in self.options if not o.is_of(without) and (o.is_given or o.group == whole)]
        written = tuple(word for o in options for word in o.words())
        arguments = tuple(masked(a) for a in self.arguments)
        # What follows "--" is no option, whatever it begins with.
        if any(a.startswith("-") and a != "-" for a in arguments):
            return ("stablemax", self.command, *written, "--", *arguments)
        return ("stablemax", self.command, *arguments, *written)


def worded(text: str, *spellings: str, panel: Panel | None = None, unset: str = "", **more: Any) -> Any:
    """Declare an option; `unset` says what happens without it."""
    more.setdefault("show_default", False)
    return typer.Option(*spellings, help=_with_unset(text, unset), rich_help_panel=panel, **more)


def option(
    help: str,  # noqa: A002 - as Typer calls it
    *spellings: str,
    default: Any = None,
    panel: Panel | None = None,
    unset: str = "",
    **more: Any,
) -> Any:
    """Declare a field of a group as an option; `unset` says what happens without it where there is no default."""
    declared = worded(help, *spellings, panel=panel, unset=unset, show_default=default is not None, **more)
    return dataclasses.field(default=default, metadata={_DECLARED: declared})


def _with_unset(text: str, unset: str) -> str:
    return f"{text}  [default: {unset}]" if unset else text


def in_panel(panel: Panel) -> Callable[[type[Group]], type[Group]]:
    """Put the options that a group declares into a panel of the help, but for those that name another one."""

    def decorate(group: type[Group]) -> type[Group]:
        for field in dataclasses.fields(group):  # type: ignore[arg-type]
            declared = field.metadata.get(_DECLARED)
            if declared is not None and declared.rich_help_panel is None:
                declared.rich_help_panel = panel
        return group

    return decorate


def expanded(command: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Give Typer a flat signature for a command that takes groups of options.

    Each parameter whose type is a dataclass, and each such field of a group, is replaced by its fields, which `option`
    or their `Annotated` types declare; when the command is called, the dataclasses are built from them. A parameter of
    type `CommandLine` is no option at all.
    """
    hints = get_type_hints(command, include_extras=True)
    hints.pop("return", None)
    lines = [parameter for parameter, kind in hints.items() if kind is CommandLine]
    groups = {parameter: kind for parameter, kind in hints.items() if parameter not in lines}
    defaults = inspect.signature(command).parameters
    flat = [o for group, kind in groups.items() for o in _options(group, kind, defaults[group].default, group)]

    @functools.wraps(command)
    def call(context: typer.Context, **values: Any) -> Any:
        given = {line: _command_line(name, flat, values, context) for line in lines}
        built = {parameter: _built(kind, parameter, values) for parameter, kind in groups.items()}
        try:
            return command(**built, **given)
        except BrokenPipeError:
            raise ReaderGoneError from None

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *(parameter for _, parameter in flat)]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    del call.__wrapped__
    return call


def _is_group(kind: Any) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def _options(name: str, kind: Any, default: Any, group: str) -> Iterator[tuple[str, inspect.Parameter]]:
    """Declare an option, or all of a group, each with the name of its group."""
    if not _is_group(kind):
        yield group, inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        return
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        own_default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        own_kind = hints[field.name]
        if _DECLARED in field.metadata:
            own_kind = Annotated[own_kind, field.metadata[_DECLARED]]
        yield from _options(field.name, own_kind, own_default, field.name if _is_group(own_kind) else name)


def _built(kind: Any, name: str, values: dict[str, Any]) -> Any:
    if not _is_group(kind):
        return values[name]
    hints = get_type_hints(kind, include_extras=True)
    return kind(**{field.name: _built(hints[field.name], field.name, values) for field in dataclasses.fields(kind)})


def _command_line(
    name: str, parameters: list[tuple[str, inspect.Parameter]], values: dict[str, Any], context: typer.Context
) -> CommandLine:
    arguments: list[str] = []
    options: list[GivenOption] = []
    for group, parameter in parameters:
        if NOT_REPRODUCED & {group, parameter.name}:
            continue
        declared = parameter.annotation.__metadata__[0]
        value = values[parameter.name]
        if type(declared).__name__ == "ArgumentInfo":
            arguments += value if isinstance(value, list) else [] if value is None else [value]
            continue
        source = context.get_parameter_source(parameter.name)
        is_given = source is not None and source.name == "COMMANDLINE"
        # In `Annotated` the first spelling stands where Typer has a default otherwise.
        spelling, _, negation = _spelling((declared.default, *(declared.param_decls or ())), parameter.name)
        options.append(GivenOption(spelling, negation, value, is_given, group))
    return CommandLine(name, tuple(arguments), tuple(options))


def _spelling(declarations: tuple[Any, ...], name: str) -> tuple[str, str, str]:
    """Return the long spelling of an option, a slash, and what turns a flag off; as Typer has them by default."""
    long = (d for d in declarations if isinstance(d, str) and d.startswith("--"))
    return next(long, f"--{name.replace('_', '-')}").partition("/")


def _option_words(spelling: str, value: Any) -> tuple[str, ...]:
    """Write an option with a value.

    >>> _option_words("--scale", 1e5), _option_words("--offset", -2.5)
    (('--scale', '100000'), ('--offset=-2.5',))
    """
    text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else masked(str(value))
    # A value that begins with a minus needs the equals sign.
    return (f"{spelling}={text}",) if text.startswith("-") else (spelling, text)
