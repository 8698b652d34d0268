"""Arguments back to a command line that reproduces the run."""

from __future__ import annotations

import dataclasses
from typing import Any

from stablemax.inputs.foreign_text import masked


def changed(group: Any) -> tuple[str, ...]:
    """Write the options of a group that differ from their defaults."""
    found: list[str] = []
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        name = field.name.replace("_", "-")
        if value == field.default:
            continue
        found += [f"--{name}" if value else f"--no-{name}"] if isinstance(value, bool) else option(f"--{name}", value)
    return tuple(found)


def files(*named: str | None) -> tuple[str, ...]:
    """Write what is read, without passwords: a command line ends up in the log of a CI system.

    Examples
    --------
    >>> files("http://me:secret@host/x.npy", None)
    ('http://me:***@host/x.npy',)
    """
    return tuple(masked(name) for name in named if name is not None)


def option(name: str, value: Any) -> tuple[str, ...]:
    """Write an option; nothing for None, one for each value of a list.

    Examples
    --------
    >>> option("--format", ["float16", "float32"]), option("--scale", 1e5), option("--offset", -2.5)
    (('--format', 'float16', '--format', 'float32'), ('--scale', '100000'), ('--offset=-2.5',))
    """
    if value is None:
        return ()
    if isinstance(value, list):
        return tuple(a for v in value for a in option(name, v))
    text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else masked(str(value))
    # A value that begins with a minus needs the equals sign.
    return (f"{name}={text}",) if text.startswith("-") else (name, text)
