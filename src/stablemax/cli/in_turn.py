"""Several functions in one TARGET: how they are written, and how their results are printed together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablemax.cli import io
from stablemax.cli.option_groups import CommandLine
from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    from stablemax.cli.options import PrintOptions
    from stablemax.render.forms import ResultKind


def targets_in_turn(target: str) -> tuple[str, ...]:
    """Return the functions that a TARGET names, each once: what stands alone behind a comma is of the same file.

    >>> targets_in_turn("my.py:softmax,Model().encode,other.py:loss")
    ('my.py:softmax', 'my.py:Model().encode', 'other.py:loss')
    """
    module, colon, names = target.rpartition(":")
    if "," in module and Path(module).exists():
        # The comma is one of the file's name.
        found = [f"{module}:{name}" for name in names.split(",")]
    else:
        found, before = [], ""
        for part in target.split(","):
            module, colon, _ = part.rpartition(":")
            before = f"{module}{colon}" if colon else before
            found.append(part if colon or "/" in part else f"{before}{part}")
    if len(found) > 1 and any(not name or name.endswith(":") for name in found):
        raise StablemaxError(
            f"{shown(target)}: no function is named beside a comma",
            "leave the comma out, or name one there, as in my.py:softmax,log_softmax",
        )
    return tuple(dict.fromkeys(found))


def line_of(line: CommandLine, target: str) -> CommandLine:
    """Return the command line that is about one of the functions alone."""
    return replace(line, arguments=(target, *line.arguments[1:]))


def output_in_turn(
    kind: ResultKind, requested: str | None, printing: PrintOptions, targets: Sequence[str], *read: str | None
) -> io.Output:
    """Return how and where the results are written: that of one function as it is, those of several together."""
    from stablemax.render.in_turn import in_turn

    files = (*targets, *map(io.module_file, targets), *read)
    return io.output_of(kind if len(targets) == 1 else in_turn(kind), requested, printing, *files)


def finish(output: io.Output, results: Sequence[Any], failed: Callable[[Any], list[str]], *, details: bool) -> int:
    """Print what was found of each function; return the exit code, 1 where one of them fails."""
    lines = [line for result in results for line in failed(result)]
    if len(results) == 1:
        return output.finish(results[0], results[0].notes, lines, details=details)
    # A note that is about all of them is told once.
    notes: dict[str, list[str]] = {}
    for result in results:
        for note in result.notes:
            notes.setdefault(note, []).append(result.target)
    worded = [n if len(of) == len(results) else f"{', '.join(of)}: {n}" for n, of in notes.items()]
    return output.finish(tuple(results), worded, lines, details=details)
