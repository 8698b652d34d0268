"""Option groups: a dataclass parameter of a command stands for the options that are its fields."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any, get_type_hints

from stablemax.cli import ReaderGoneError

if TYPE_CHECKING:
    from collections.abc import Callable


def expanded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give Typer a flat signature for a command that takes groups of options.

    Each parameter whose type is a dataclass is replaced by the dataclass's fields, whose
    `Annotated` types declare the options; when called, the dataclass is built from them.
    """
    hints = get_type_hints(command, include_extras=True)
    flat: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            groups[parameter.name] = kind
            fields = get_type_hints(kind, include_extras=True)
            flat += [
                inspect.Parameter(
                    f.name, inspect.Parameter.KEYWORD_ONLY, default=_default(f), annotation=fields[f.name]
                )
                for f in dataclasses.fields(kind)
            ]
        else:
            flat.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name]))

    @functools.wraps(command)
    def call(**values: Any) -> Any:
        built = {
            name: kind(**{f.name: values.pop(f.name) for f in dataclasses.fields(kind)})
            for name, kind in groups.items()
        }
        try:
            return command(**values, **built)
        except BrokenPipeError:
            raise ReaderGoneError from None

    call.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in flat}
    del call.__wrapped__
    return call


def _default(field: dataclasses.Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
