"""Records of one kind by name: ours, then those that plugins add."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, Protocol, TypeVar

GROUP = "stablemax.plugins"


class PluginWarning(UserWarning):
    """A plugin, or a record of one, is left out; everything else works."""


class Named(Protocol):
    """A record that is looked up by its name."""

    @property
    def name(self) -> str:
        """What people call it."""


Record = TypeVar("Record", bound=Named)
Kind = TypeVar("Kind")


@functools.cache
def plugin_modules() -> tuple[ModuleType, ...]:
    """Import what is installed under the group, in the order of the names, once for each process."""
    from importlib.metadata import entry_points

    modules = []
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        try:
            modules.append(point.load())
        # A plugin is anybody's code and may raise anything; the program has to go on without it.
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(
                f"plugin {point.name} ({point.value}) cannot be imported: {text}", PluginWarning, stacklevel=2
            )
    return tuple(modules)


def plugin_records(kind: type[Kind]) -> tuple[Kind, ...]:
    """Return the records of a kind at the top level of the plugins' modules, each once."""
    values = (v for module in plugin_modules() for v in vars(module).values() if isinstance(v, kind))
    return tuple({id(v): v for v in values}.values())


class Registry(Mapping[str, Record]):
    """Records by name. Plugins are imported when a name is asked for that is not ours, or all names are."""

    def __init__(self, kind: type[Record], records: Iterable[Record]) -> None:
        self._kind = kind
        self._own = {record.name: record for record in records}

    def _added(self) -> dict[str, Record]:
        added: dict[str, Record] = {}
        for record in plugin_records(self._kind):
            if record.name in self._own or record.name in added:
                kind = self._kind.__name__
                warnings.warn(f"a plugin's {kind} {record.name!r} is left out: the name is taken", PluginWarning, 2)
            else:
                added[record.name] = record
        return added

    @property
    def own(self) -> tuple[Record, ...]:
        """Our records, without those of plugins."""
        return tuple(self._own.values())

    def __getitem__(self, name: str) -> Record:
        return self._own[name] if name in self._own else self._added()[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._added()

    def __len__(self) -> int:
        return len(self._own) + len(self._added())

    def __contains__(self, name: Any) -> bool:
        return name in self._own or name in self._added()
