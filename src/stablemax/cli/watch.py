"""``stablemax watch``."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from stablemax.cli import io
from stablemax.cli.option_groups import CommandLine, in_panel, option
from stablemax.cli.options import PrintOptions, format_option
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.inputs.foreign_text import masked
from stablemax.render.watches import WATCH
from stablemax.text.errors import StablemaxError
from stablemax.text.words import either
from stablemax.watching.watch_options import REPRO, USUAL, WatchedKind, WatchOptions, kinds_named

ProgramArgument = Annotated[
    list[str],
    typer.Argument(metavar="PROGRAM", help="The program and its arguments, after --: python train.py --epochs 3."),
]


@in_panel(Panel.COMMON)
@dataclass(frozen=True)
class WatchedOptions:
    """What is looked for, in which steps, and where files that show it go."""

    on: str = option(
        f"What is looked for: {either(list(WatchedKind))}, with commas between them; lost is a number that became 0.",
        metavar="KINDS",
        default=",".join(USUAL),
    )
    every: int = option("Watch one step of so many.", metavar="N", default=1)
    from_step: int = option("Watch from this step on, counted from 1.", metavar="N", default=1)
    repro: str = option(
        "Folder for the inputs, a script and a test that show what was found.", metavar="DIR", default=REPRO
    )

    def checked(self) -> WatchOptions:
        """Return them with their names looked up."""
        return WatchOptions(kinds_named(self.on), self.every, self.from_step, self.repro)


@help_entry(
    CommandPanel.JUDGE,
    Example("Where does the first NaN of a training come from?", "stablemax watch -- python train.py --epochs 3"),
    Example("The same with less work, and as JSON", "stablemax watch --every 10 -o watched.json -- python -m my.train"),
)
def watch(
    line: CommandLine,
    program: ProgramArgument,
    watched: WatchedOptions,
    printing: PrintOptions,
    output_format: Annotated[str | None, format_option(WATCH)] = None,
) -> int:
    """Run a PyTorch program, and say where its first inf or NaN comes from: data, divergence or an operation.

    PROGRAM runs unchanged, with its own standard input and output; the report goes to standard error, or to -o FILE.
    Infinities that the code itself writes, as in masks, are none that are made; overflows of scaled gradients that
    GradScaler expects are counted. Threads that PROGRAM starts are watched, and Python programs that it runs; processes
    that it forks are not. The exit code is that of PROGRAM; it is 1 where PROGRAM ends with 0 and something
    was found.
    """
    output = io.output_of(WATCH, output_format, printing)
    options = watched.checked()
    from stablemax.watching.program_run import run_watched

    if not program[0]:
        raise StablemaxError("no program is named", "stablemax watch -- python train.py")
    run = run_watched(program, options)
    if run.result.error and not run.exit_code:
        raise RuntimeError(run.result.error)
    words = (*replace(line, arguments=()).words(), "--", *map(masked, program))
    result = replace(run.result, command=words)
    is_found = result.verdict is not None
    # Standard output is the program's.
    with contextlib.redirect_stdout(sys.stderr):
        told = [f"failed: {result.finding}"] if is_found and printing.output is not None else []
        replace(output, printing=replace(printing, pager=False)).finish(result, result.notes, told)
    return run.exit_code or int(is_found)
