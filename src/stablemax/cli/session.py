"""What commands share when they run: reading inputs, notes and progress on standard error, output."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from stablemax.errors import StablemaxError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np

    from stablemax.cli.options import (
        ArithmeticOptions,
        GeneratedOptions,
        InputOptions,
        LabelOptions,
        LossOptions,
        PrintOptions,
        StreamOptions,
    )
    from stablemax.formats import Format
    from stablemax.inputs.logits import Problem, Stream
    from stablemax.operations.operation import Operation
    from stablemax.operations.targets import TargetOptions
    from stablemax.operations.variant import Variant
    from stablemax.streaming import Resources

PROGRESS_DELAY_S = 1.0


def read_problem(logits: str, labels: str | None, options: InputOptions, ignore_index: int | None = None) -> Problem:
    """Read logits and labels from files into memory, mapped where that is possible."""
    return open_stream([logits], [] if labels is None else [labels], options).load(ignore_index)


def logits_and_labels(files: list[str], labels: list[str] | None) -> tuple[list[str], list[str]]:
    """Tell the files of logits from those of labels."""
    if labels:
        return files, labels
    if len(files) > 2:
        raise StablemaxError(
            f"{len(files)} files are named: which of them hold labels?",
            "name each with --labels FILE; or quote the patterns: 'logits-*.npy' 'labels-*.npy'",
        )
    return files[:1], files[1:]


def open_stream(logits: list[str], labels: list[str], options: InputOptions, used: Resources | None = None) -> Stream:
    """Open logits and labels of any size; none of their numbers is read but those of text."""
    from stablemax.inputs.file_format import IN_MEMORY, TableOptions
    from stablemax.inputs.foreign_text import file_name
    from stablemax.inputs.logits import as_stream
    from stablemax.inputs.open import open_array
    from stablemax.inputs.spec import expand, out_of_order

    if labels and options.label_column is not None:
        raise StablemaxError("labels are given twice: in a file and with --label-column", "leave one of them out")
    named, targets = expand(logits), expand(labels)
    if "-" in named and "-" in targets:
        raise StablemaxError("logits and labels cannot both come from standard input", "put one of them into a file")
    table = TableOptions(
        delimiter=options.delimiter,
        header=options.header,
        index_column=options.index_column,
        comment=options.comment,
        label_column=options.label_column,
    )
    label_table = TableOptions(delimiter=options.delimiter, comment=options.comment)
    # The files share the memory; where it is capped, it is all for the computation.
    in_memory = 0 if used is not None and used.memory is not None else IN_MEMORY // (len(named) + len(targets))
    stream = as_stream(
        [open_array(one, input_format=options.input_format, table=table, in_memory=in_memory) for one in named],
        [open_array(one, table=label_table, in_memory=in_memory) for one in targets],
        axis=options.axis,
    )
    for files in (named, targets):
        if swapped := out_of_order(files):
            before, after = map(file_name, swapped)
            note = f"{before} comes before {after}, as they were named; a quoted pattern has numbers in order"
            stream = replace(stream, notes=(note, *stream.notes))
    if len(named) == 1:
        return stream
    first, last = file_name(named[0]), file_name(named[-1])
    note = f"{len(named):,} files as one input: {first} to {last}, {stream.rows:,} rows"
    return replace(stream, notes=(note, *stream.notes))


def resources(options: StreamOptions) -> Resources:
    """Read what a computation may use."""
    from stablemax.streaming import Resources
    from stablemax.vocabulary import EngineName

    if options.scheduler is not None and options.engine is not EngineName.DASK:
        raise StablemaxError("--scheduler is for --engine dask", "add --engine dask, or leave --scheduler out")
    return Resources(options.threads, bytes_of(options.memory), options.engine, options.scheduler)


def bytes_of(text: str | None) -> int | None:
    """Read an amount of memory: a number with or without a unit.

    >>> bytes_of("512MB"), bytes_of("1.5 GiB"), bytes_of("4096"), bytes_of("8.2MB")
    (512000000, 1610612736, 4096, 8200000)
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?", text.strip(), re.ASCII)
    if found is None or (found[3] and not found[2]):
        raise StablemaxError(f"--memory {shown(text)} is not an amount of memory", "such as 512MB, 2GiB or 1000000")
    power = " kmgt".index(found[2].lower() or " ")
    # A fraction, as 8.2 * 10**6 is a little less than 8,200,000 in float64.
    return int(Fraction(found[1]) * (1024 if found[3] else 1000) ** power)


def generated_problem(options: GeneratedOptions) -> Problem:
    """Draw logits, or take a preset."""
    from stablemax.inputs.generated import generate, preset

    if options.preset is not None:
        return preset(options.preset)
    return generate(
        seed=options.seed,
        scale=options.scale,
        rows=options.rows,
        classes=options.classes,
        distribution=options.distribution,
        offset=options.offset,
    )


def chosen_variant(operation: Operation, options: ArithmeticOptions) -> Variant | None:
    """Look up --variant, with or without its operation in front."""
    from stablemax.operations.variant import get

    if options.variant is None:
        return None
    name = options.variant
    found = get(name if "/" in name else f"{operation}/{name}")
    if found.operation is not operation:
        raise StablemaxError(f"{found.id} does not compute {operation}", f"stablemax list variants {operation}")
    return found


def target_options(loss: LossOptions, counted: LabelOptions) -> TargetOptions:
    """Read the class weights and bring the options together."""
    from stablemax.operations.targets import TargetOptions

    if loss.weight is None:
        return TargetOptions(None, loss.label_smoothing, counted.ignore_index)
    return TargetOptions(weights(loss.weight), loss.label_smoothing, counted.ignore_index, shown(loss.weight))


def read_output(
    path: str, problem: Problem, operation: Operation, number_format: str | None
) -> tuple[np.ndarray, Format, str]:
    """Read what a program computed, with its classes where the logits have theirs."""
    import numpy as np

    from stablemax.formats import format_of, get_format
    from stablemax.inputs.logits import as_problem
    from stablemax.inputs.open import open_array

    read = open_array(path)
    values = read.array
    if values.dtype.kind not in "iuf":
        raise StablemaxError(f"{read.name}: holds {values.dtype}, not real numbers", "save it as float32")
    fmt = get_format(number_format) if number_format else format_of(values.dtype.newbyteorder("="))
    # A table cannot say whether a single column is one number a row.
    if operation.per_row:
        others = problem.shape[: problem.axis] + problem.shape[problem.axis + 1 :]
        right = {others, (problem.logits.shape[0],), (problem.logits.shape[0], 1), (), (1,), (1, 1)}
        if values.shape not in right:
            raise StablemaxError(
                f"{read.name}: has shape {values.shape}, and {operation} of these logits has {others}",
                "one number for each row, or for a cross-entropy their mean",
            )
        flat = np.asarray(values).reshape(-1)
        return (flat.reshape(()) if values.ndim == 0 else flat), fmt, read.name
    if values.shape != problem.shape:
        raise StablemaxError(
            f"{read.name}: has shape {values.shape}, and {operation} of these logits has {problem.shape}",
            "the output has the shape of the logits",
        )
    return as_problem(read, axis=problem.axis).logits, fmt, read.name


def row_count(text: str | None) -> int | None:
    """Read the N of --judge; None for as many rows as are judged without it."""
    if text is None:
        return None
    if text == "all":
        return 2**62
    if not text.removeprefix("-").isdecimal():
        raise StablemaxError(
            f"--judge {shown(text)} is neither 'all' nor a number of rows", "--judge all, or --judge 500"
        )
    return int(text)


def weights(path: str) -> np.ndarray:
    """Read a vector of weights."""
    import numpy as np

    from stablemax.inputs.open import open_array

    read = open_array(path)
    if read.array.dtype.kind not in "iuf":
        raise StablemaxError(f"{read.name}: weights of dtype {read.array.dtype} are not numbers", "use float64")
    if max(read.array.shape, default=0) != read.array.size:
        raise StablemaxError(
            f"{read.name}: shape {read.array.shape} is not a vector of weights",
            "give one weight for each class",
        )
    return np.asarray(read.array, dtype=np.float64).ravel()


def say(notes: Iterable[str], options: PrintOptions) -> None:
    """Print notes on standard error."""
    if not options.quiet:
        for note in notes:
            warn(f"note: {note}")


def warn(line: str) -> None:
    """Print a line on standard error, whatever its encoding can show, after what standard output was given."""
    stream = sys.stderr
    if stream is None:  # closed: 2>&-
        return
    # Into a pipe (2>&1, a log of CI) standard output would otherwise come last: only the end flushes it. What
    # cannot be written is told there.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    encoding = getattr(stream, "encoding", None) or "ascii"
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    with contextlib.suppress(OSError, ValueError):
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def reading(path: str) -> str:
    """Say that a file is read, as the progress does first."""
    from stablemax.inputs.foreign_text import file_name

    return f"reading {file_name(path)}"


@contextlib.contextmanager
def progress(options: PrintOptions, text: str, *, unit: str = "") -> Iterator[Callable[[int, int, str], None]]:
    """Show what runs, how far it is and how long it will take, once it takes longer than a second.

    Yields what is called with (steps done, steps in all, what runs now); a job that cannot tell need not call it.
    With the unit "B" the steps are bytes, and their rate is shown. Nothing is shown where standard error is no
    terminal.
    """
    last = [(0, 0, text)]

    def step(done: int, total: int, now: str) -> None:
        last[0] = (done, total, now)

    if options.quiet or sys.stderr is None or not sys.stderr.isatty():
        yield step
        return
    finished = threading.Event()
    watcher = threading.Thread(target=_watch, args=(last, finished, unit), daemon=True)
    watcher.start()
    try:
        yield step
    finally:
        finished.set()
        watcher.join()


def _watch(last: list[tuple[int, int, str]], finished: threading.Event, unit: str) -> None:
    """Keep a line of the terminal up to date until the job is finished, and wipe it in the end."""
    began = time.monotonic()
    if finished.wait(PROGRESS_DELAY_S):
        return
    # Rich takes as long to load as many a job takes.
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    what = (rich.TaskProgressColumn(), rich.TextColumn("{task.description}", markup=False))
    time_spent = (*what, rich.TimeElapsedColumn())
    in_bytes = (
        *(*what, rich.DownloadColumn(), rich.TransferSpeedColumn()),
        *(rich.TimeRemainingColumn(), rich.TextColumn("left")),
    )
    # Standard output and error go where they went: the one is the result.
    bar = rich.Progress(console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    task = bar.add_task("", total=None)
    bar.tasks[0].start_time = began
    while True:
        done, total, now = last[0]
        bar.columns = in_bytes if unit and total else time_spent
        # The numbers beside the text are never cut.
        bar.update(task, description=now[: max(10, console.width - 48)], completed=done, total=total or None)
        bar.start()
        if finished.wait(0.1):
            break
    bar.stop()
