"""What commands share when they run: reading inputs, notes and progress on standard error, output."""

from __future__ import annotations

import contextlib
import re
import shutil
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
    from stablemax.inputs.layout import TableOptions
    from stablemax.inputs.problem import Problem
    from stablemax.inputs.stream import Stream
    from stablemax.operations.operation import Operation
    from stablemax.operations.targets import TargetOptions
    from stablemax.operations.variant import Variant
    from stablemax.streaming import Resources

PROGRESS_DELAY_S = 1.0


def read_problem(logits: str, labels: str | None, options: InputOptions, ignore_index: int | None = None) -> Problem:
    """Read logits and labels from files."""
    from stablemax.inputs.array_file import read_array
    from stablemax.inputs.layout import TableOptions
    from stablemax.inputs.problem import as_problem

    if logits == "-" and labels == "-":
        raise StablemaxError("logits and labels cannot both come from standard input", "put one of them into a file")
    table = _table_options(options)
    if labels is not None and options.label_column is not None:
        raise StablemaxError("labels are given twice: in a file and with --label-column", "leave one of them out")
    read = read_array(logits, input_format=options.input_format, table=table)
    if labels is None:
        return as_problem(read, None, axis=options.axis, ignore_index=ignore_index)
    targets = read_array(labels, table=TableOptions(delimiter=options.delimiter, comment=options.comment))
    return as_problem(read, targets, axis=options.axis, ignore_index=ignore_index)


def _table_options(options: InputOptions) -> TableOptions:
    from stablemax.inputs.layout import TableOptions

    return TableOptions(
        delimiter=options.delimiter,
        header=options.header,
        index_column=options.index_column,
        comment=options.comment,
        label_column=options.label_column,
    )


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


def open_stream(logits: list[str], labels: list[str], options: InputOptions, used: Resources) -> Stream:
    """Open logits and labels of any size; none of their numbers is read but those of text."""
    from stablemax.inputs.array_file import open_array
    from stablemax.inputs.layout import TableOptions
    from stablemax.inputs.naming import expand, out_of_order
    from stablemax.inputs.spool import IN_MEMORY
    from stablemax.inputs.stream import as_stream
    from stablemax.inputs.wording import file_name

    if labels and options.label_column is not None:
        raise StablemaxError("labels are given twice: in a file and with --label-column", "leave one of them out")
    named, targets = expand(logits), expand(labels)
    if "-" in named and "-" in targets:
        raise StablemaxError("logits and labels cannot both come from standard input", "put one of them into a file")
    table = _table_options(options)
    label_table = TableOptions(delimiter=options.delimiter, comment=options.comment)
    # The files share the memory; where it is capped, it is all for the computation.
    kept = 0 if used.memory is not None else IN_MEMORY // (len(named) + len(targets))
    stream = as_stream(
        [open_array(one, input_format=options.input_format, table=table, in_memory=kept) for one in named],
        [open_array(one, table=label_table, in_memory=kept) for one in targets],
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

    Examples
    --------
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
    return TargetOptions(_vector(loss.weight), loss.label_smoothing, counted.ignore_index, shown(loss.weight))


def read_output(
    path: str, problem: Problem, operation: Operation, number_format: str | None
) -> tuple[np.ndarray, Format, str]:
    """Read what a program computed, with its classes where the logits have theirs.

    Returns
    -------
    values : ndarray (N, K), (N,) or ()
        A cross-entropy may be one number, the mean.
    fmt : Format
        The number format to judge in: the file's own, or the one that is named.
    name : str
        What to call it.
    """
    import numpy as np

    from stablemax.formats import format_of, get_format
    from stablemax.inputs.array_file import read_array
    from stablemax.inputs.problem import as_problem

    read = read_array(path)
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


def _vector(path: str) -> np.ndarray:
    import numpy as np

    from stablemax.inputs.array_file import read_array

    read = read_array(path)
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
    from stablemax.inputs.wording import file_name

    return f"reading {file_name(path)}"


@contextlib.contextmanager
def progress(options: PrintOptions, text: str, *, unit: str = "") -> Iterator[Callable[[int, int, str], None]]:
    """Show what runs, how far it is and how long it will take, once it takes longer than a second.

    Nothing is shown where standard error is no terminal.

    Parameters
    ----------
    options : PrintOptions
        --quiet.
    text : str
        What runs first.
    unit : str
        "B" where steps are bytes: then their rate is shown too.

    Yields
    ------
    callable
        Called with (steps done, steps in all, what runs now); a job that cannot tell need not call it.
    """
    state = _Progress(text, unit)
    if options.quiet or sys.stderr is None or not sys.stderr.isatty():
        yield state.step
        return
    finished = threading.Event()
    watcher = threading.Thread(target=_watch, args=(state, finished), daemon=True)
    watcher.start()
    try:
        yield state.step
    finally:
        finished.set()
        watcher.join()


class _Progress:
    """What the line on the terminal says."""

    def __init__(self, text: str, unit: str) -> None:
        self._text, self._unit = text, unit
        self._done, self._total = 0, 0
        self._started = self._began = time.monotonic()

    def step(self, done: int, total: int, now: str) -> None:
        if not self._total:
            self._began = time.monotonic()
        self._done, self._total, self._text = done, total, now

    def line(self) -> str:
        """Say how far it is: "31% loss, 2.1 GB of 6.7 GB, 1.9 GB/s, 3 s left"."""
        now = time.monotonic()
        if not self._total:
            return f"{self._text} ({now - self._started:.0f} s)"
        share = f"{100 * self._done // self._total}% {self._text}"
        spent = now - self._began
        if not self._unit or not self._done or spent <= 0:
            return f"{share} ({now - self._started:.0f} s)"
        left = spent * (self._total - self._done) / self._done
        amounts = f"{_in_unit(self._done)} of {_in_unit(self._total)}, {_in_unit(self._done / spent)}/s"
        return f"{share}, {amounts}, {left:.0f} s left"


def _in_unit(count: float) -> str:
    """Show an amount of bytes in three digits.

    Examples
    --------
    >>> _in_unit(123), _in_unit(2.1e9)
    ('123 B', '2.1 GB')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def _watch(state: _Progress, finished: threading.Event) -> None:
    """Rewrite one line of the terminal every tenth of a second, and wipe it in the end."""
    if finished.wait(PROGRESS_DELAY_S):
        return
    while not finished.wait(0.1):
        width = shutil.get_terminal_size((80, 24)).columns
        sys.stderr.write(f"\r\x1b[K{state.line()[: width - 1]}")
        sys.stderr.flush()
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()
