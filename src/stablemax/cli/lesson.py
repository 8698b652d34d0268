"""``stablemax lesson``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import io
from stablemax.cli.option_groups import CommandLine, worded
from stablemax.cli.options import PrintOptions, format_option
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.lessons import MODULES, get_lesson
from stablemax.render import lessons as rendered
from stablemax.text.errors import StablemaxError
from stablemax.text.files import write_out

if TYPE_CHECKING:
    from stablemax.render.document import Document
    from stablemax.results import TaughtLesson

_STOPS = ("q", "Q", "\x04")  # with Ctrl-D
_INTERRUPT = "\x03"


@help_entry(
    CommandPanel.LEARN,
    Example("Why is a softmax NaN? One step at a time", "stablemax lesson overflow --pause"),
    Example("Grade the exercise of a lesson", "stablemax lesson overflow --check my.py:softmax"),
)
def lesson(
    line: CommandLine,
    printing: PrintOptions,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help=f"{', '.join(MODULES)}. Without it the lessons are listed.",
            show_default=False,
            autocompletion=lambda: list(MODULES),
        ),
    ] = None,
    pause: Annotated[
        bool,
        worded("Step by step, each answer after a key; q stops.", "--pause", panel=Panel.COMMON),
    ] = False,
    check: Annotated[
        str | None,
        worded(
            "Grade a function (my.py:softmax) as the lesson's exercise.",
            "--check",
            metavar="TARGET",
            panel=Panel.COMMON,
        ),
    ] = None,
    output_format: Annotated[str | None, format_option(rendered.LESSON)] = None,
) -> int:
    """Teach the subject in short lessons that compute what they show.

    Each step asks what you expect before it shows what comes out. -o lesson.ipynb makes a notebook of it.
    """
    if name is None:
        _refuse_without_name(pause=pause, check=check)
        from stablemax.lessons.teaching import listed_lessons

        io.output_of(rendered.LESSONS, output_format, printing).write(listed_lessons())
        return 0
    chosen = get_lesson(name)
    if check is not None:
        if pause:
            raise StablemaxError(
                "--pause steps through a lesson, and --check grades its exercise", "leave out one of the two"
            )
        return _graded(name, check, output_format, line, printing)
    from stablemax.lessons.teaching import teach

    if pause:
        _check_pause(output_format, printing)
    output = io.output_of(rendered.LESSON, output_format, printing)
    with io.progress(printing, f"computing lesson {name}"):
        taught = teach(chosen, line.words())
    if pause:
        _step_through(taught, printing)
    else:
        output.write(taught)
    return 0


def _refuse_without_name(*, pause: bool, check: str | None) -> None:
    wanted = (("--pause", pause, ""), ("--check", check is not None, " my.py:softmax"))
    for option, is_given, value in wanted:
        if is_given:
            hint = f"name one: stablemax lesson overflow {option}{value}"
            raise StablemaxError(f"{option} is for one lesson, and none is named", hint)


def _graded(name: str, target: str, output_format: str | None, line: CommandLine, printing: PrintOptions) -> int:
    from stablemax.lessons.grading import grade

    output = io.output_of(rendered.EXERCISE, output_format, printing, target, io.module_file(target))
    with io.progress(printing, f"loading {target}") as step:
        graded = grade(get_lesson(name), target, command=line.words(), progress=step)
    failed = [] if graded.passed else [f"failed: {graded.report.target} is {graded.report.grade}"]
    return output.finish(graded, graded.report.notes, failed)


# --- step by step ------------------------------------------------------------------------------------


def _check_pause(output_format: str | None, printing: PrintOptions) -> None:
    """Refuse to wait for a key where there is none, or where nobody reads."""
    if printing.output is not None or output_format is not None:
        raise StablemaxError("--pause shows a lesson on a terminal, and -o or a format is given", "leave --pause out")
    for stream, its_name in ((sys.stdin, "standard input"), (sys.stdout, "standard output")):
        if stream is None or not stream.isatty():
            raise StablemaxError(
                f"--pause waits for a key, and {its_name} is no terminal", "leave --pause out: the whole lesson is text"
            )


def _step_through(taught: TaughtLesson, printing: PrintOptions) -> None:
    """Show each step up to its question, and the rest after a key."""
    _show(rendered.opening(taught), printing)
    for step in taught.steps:
        write_out("\n")
        _show(rendered.asked(taught, step), printing)
        if not _goes_on("any key: the answer; q stops"):
            return
        write_out("\n")
        _show(rendered.answered(step, names_next=False), printing)
        if not _goes_on(f"any key: {step.following or 'the exercise'}; q stops"):
            return
    _show(rendered.closing(taught), printing)


def _show(document: Document, printing: PrintOptions) -> None:
    from stablemax.render.console import surface
    from stablemax.render.terminal import written

    write_out(written(document, surface(printing.color)), flush=True)


def _goes_on(words: str) -> bool:
    """Wait for a key; false where it stops. The line that says so is wiped afterwards."""
    write_out(f"[{words}]", flush=True)
    try:
        key = typer.getchar()
    except EOFError:
        key = "q"
    finally:
        write_out(f"\r{' ' * (len(words) + 2)}\r", flush=True)
    if key == _INTERRUPT:
        raise KeyboardInterrupt
    return key not in _STOPS
