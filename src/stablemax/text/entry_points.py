"""What plugins add: the modules behind the entry points of one group, and the records at their top level."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from types import ModuleType

GROUP = "stablemax.plugins"
T = TypeVar("T")


class PluginWarning(UserWarning):
    """A plugin could not be imported; everything else works."""


@functools.cache
def plugin_modules() -> tuple[ModuleType, ...]:
    """Import what is installed under the group, in the order of the names, once for each process."""
    # Loading it takes longer than many a command.
    from importlib.metadata import entry_points

    modules = []
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        try:
            modules.append(point.load())
        # A plugin is anybody's code and may raise anything; the program has to go on without it.
        except Exception as error:
            warnings.warn(
                f"plugin {point.name} ({point.value}) cannot be imported: {type(error).__name__}: {error}",
                PluginWarning,
                stacklevel=2,
            )
    return tuple(modules)


def plugin_records(kind: type[T]) -> tuple[T, ...]:
    """Return the records of a kind at the top level of the plugins' modules, each once."""
    values = (v for module in plugin_modules() for v in vars(module).values() if isinstance(v, kind))
    return tuple({id(v): v for v in values}.values())
