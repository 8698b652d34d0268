"""Every shared option, once. Commands take the groups; `option_groups.expanded` unfolds them for Typer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stablemax.inputs.file_format import NAMES
from stablemax.operations import NAMES as OPERATIONS
from stablemax.operations import get_operation
from stablemax.render.writers import WRITERS, formats_of
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.vocabulary import IGNORED, Accumulation, BackendName, ColorMode, Distribution, EngineName, Upstream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stablemax.check.target.messages import Target
    from stablemax.numerics.formats import Format
    from stablemax.render.forms import ResultKind


def worded(text: str, *spellings: str, **more: Any) -> Any:
    """Declare an option whose help says in words what happens without it."""
    return typer.Option(*spellings, help=text, show_default=False, **more)


_KINDS = (
    f"a file ({', '.join(f'.{name}' for name in NAMES)}; FILE:NAME for one of its arrays), an address, or - for stdin"
)
_PATTERNS = "A quoted pattern ('part-*.npy') is several files, part-2 before part-10"
LabelFilesOption = Annotated[
    list[str] | None, worded("Labels or soft targets, apart from the logits; repeatable.", "--labels", metavar="FILE")
]


@dataclass(frozen=True)
class InputOptions:
    """How files are read."""

    axis: Annotated[int | None, worded("Axis of the classes. That which the labels' shape fits; else the last.")] = None
    input_format: Annotated[
        str | None, worded("What the file is, where its name does not say.", metavar="|".join(NAMES))
    ] = None
    delimiter: Annotated[str | None, worded("Between the cells of a table. Recognized by the first lines.")] = None
    header: Annotated[
        bool | None, worded("The first line of a table is a header. Recognized.", "--header/--no-header")
    ] = None
    index_column: Annotated[
        bool | None, worded("The first column is a row number. Recognized.", "--index-column/--no-index-column")
    ] = None
    comment: Annotated[str, typer.Option(help="What begins a comment line in a table.")] = "#"
    label_column: Annotated[
        str | None, worded("Column of a table that holds the labels (N counts from 0).", metavar="NAME|N")
    ] = None


@dataclass(frozen=True)
class StreamOptions:
    """What a computation over a large input may use."""

    threads: Annotated[int | None, worded("Worker threads. All cores.", min=1, metavar="N")] = None
    memory: Annotated[
        str | None, worded("Most memory to use beside the interpreter's own, such as 512MB or 2GiB.", metavar="SIZE")
    ] = None
    engine: Annotated[EngineName, typer.Option(help="Who computes: threads, or the processes of a dask cluster.")] = (
        EngineName.THREADS
    )
    scheduler: Annotated[
        str | None,
        worded(
            "Running cluster for --engine dask, such as tcp://host:8786. Without it, processes of this machine.",
            metavar="ADDRESS",
        ),
    ] = None


@dataclass(frozen=True)
class LabelOptions:
    """Which rows count."""

    ignore_index: Annotated[int, typer.Option(help="Rows with this label do not count.")] = IGNORED


@dataclass(frozen=True)
class GeneratedOptions:
    """Which logits are generated."""

    seed: Annotated[int, typer.Option(help="Seed of the generated logits and labels.")] = 0
    scale: Annotated[float, typer.Option(help="Half-width, or standard deviation, of the generated logits.")] = 10.0
    rows: Annotated[int, typer.Option(help="Generated rows.")] = 16
    classes: Annotated[int, typer.Option(help="Generated classes.")] = 64
    distribution: Annotated[Distribution, typer.Option(help="Distribution of the generated logits.")] = (
        Distribution.UNIFORM
    )
    offset: Annotated[float, typer.Option(help="Added to every generated logit.")] = 0.0
    preset: Annotated[str | None, worded("A notebook's input instead: stablemax list presets.", metavar="NAME")] = None


HazardOption = Annotated[str | None, worded("A hazard as the input: stablemax list hazards.", metavar="NAME")]


def files_argument(metavar: str, text: str) -> Any:
    """Declare the files of a command, in their order."""
    return typer.Argument(metavar=metavar, help=f"{text}: {_KINDS}. {_PATTERNS}.", show_default=False)


@dataclass(frozen=True)
class SourceOptions:
    """Where logits come from: files, or one of what the options name."""

    reading: InputOptions
    generated: GeneratedOptions
    files: Annotated[list[str] | None, files_argument("LOGITS", "Logits, several files as one input")] = None
    hazard: HazardOption = None


@dataclass(frozen=True)
class LabelledSourceOptions(SourceOptions):
    """Where logits and their labels come from."""

    files: Annotated[
        list[str] | None,
        files_argument("LOGITS [LABELS]", "Logits, then labels or soft targets (with --labels all are logits)"),
    ] = None
    labels: LabelFilesOption = None


@dataclass(frozen=True)
class JudgedSourceOptions(SourceOptions):
    """Where logits come from, and which file holds what a program computed of them."""

    files: Annotated[
        list[str] | None,
        files_argument("[LOGITS] OUTPUT [LABELS]", "Logits, what the program computed of them, labels or soft targets"),
    ] = None


@dataclass(frozen=True)
class TwoSourceOptions(SourceOptions):
    """Where two arrays of logits come from."""

    files: Annotated[list[str] | None, files_argument("LOGITS OTHER", "Logits, and what they are compared with")] = None


@dataclass(frozen=True)
class LibraryOptions:
    """Whose built-ins are judged, and on whose arrays our variants run."""

    peer: Annotated[
        list[str] | None,
        worded("Add the built-ins of a library; repeatable. all: those installed.", metavar="torch|jax|scipy|all"),
    ] = None
    backend: Annotated[BackendName, typer.Option(help="Library on whose arrays our variants run.")] = BackendName.NUMPY
    device: Annotated[str | None, worded("Device of --backend and --peer, as the library names it: cpu, cuda.")] = None


@dataclass(frozen=True)
class ArithmeticOptions:
    """What one result is computed with."""

    variant: Annotated[str | None, worded("Formula: stablemax list variants. The accurate one.", metavar="NAME")] = None
    number_format: Annotated[
        str | None, number_format_option("Number format to compute in, as in: stablemax list formats.")
    ] = None
    accumulate: Annotated[
        Accumulation | None, worded("How sums are added. What an ordinary kernel of the format does.")
    ] = None


@dataclass(frozen=True)
class LossOptions:
    """How rows become one loss; as torch.nn.functional.cross_entropy."""

    weight: Annotated[str | None, worded("Weight of each class.", metavar="FILE")] = None
    label_smoothing: Annotated[
        float, typer.Option(help="Share of every target that is spread evenly over the classes.")
    ] = 0.0


@dataclass(frozen=True)
class PrintOptions:
    """Where and how results are printed."""

    output: Annotated[str | None, worded("Write to a file; its ending says how.", "--output", "-o", metavar="FILE")] = (
        None
    )
    color: Annotated[ColorMode, typer.Option(help="Colours; auto follows the terminal, NO_COLOR and FORCE_COLOR.")] = (
        ColorMode.AUTO
    )
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress on standard error.")] = False


def format_option(kind: ResultKind, text: str = "How the result is written. By the ending of -o; else table.") -> Any:
    """Declare --output-format for a kind of result, with the formats that it has."""
    # Ours alone: a run that asks for none of a plugin's formats does not look for plugins.
    names = formats_of(kind, WRITERS.own)
    # Names, not an enumeration: a format of a plugin is one more name.
    return worded(text, metavar=f"<{'|'.join(names)}>", autocompletion=lambda: names)


def operation_option(text: str, *, is_argument: bool = False) -> Any:
    """Declare an operation, by one of their names."""
    # Names, not an enumeration: an operation of a plugin is one more name.
    declare = typer.Argument if is_argument else typer.Option
    named = f"{text} {', '.join(OPERATIONS)}."
    return declare(metavar="OPERATION", help=named, show_default=False, autocompletion=lambda: list(OPERATIONS))


def number_format_option(text: str) -> Any:
    """Declare --format, for one number format or several."""
    return worded(text, "--format", metavar="FORMAT")


JudgeOption = Annotated[str | None, worded("Rows to judge. As many as 2**18 cells hold.", "--judge", metavar="all|N")]
MaxUlpOption = Annotated[float | None, worded("Errors above are inaccurate. Half of the format's bits.")]
UpstreamOption = Annotated[
    Upstream, typer.Option(help="Upstream gradient of softmax_vjp: N(0, 1), or that of the mean.")
]


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


def formats_named(names: Iterable[str]) -> tuple[Format, ...]:
    """Look up the number formats that --format names, each once."""
    from stablemax.numerics.formats import get_format

    return tuple(dict.fromkeys(get_format(name) for name in names))


def number_format_named(name: str | None) -> Format | None:
    """Look up the number format of --format, where one is given."""
    return None if name is None else formats_named([name])[0]


TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="path/to/file.py:function, package.module:function, a variant (softmax/naive) or a peer (torch/softmax).",
    ),
]


@dataclass(frozen=True)
class ImplementationOptions:
    """What an implementation computes, and on whose arrays."""

    operation: Annotated[str | None, operation_option("What TARGET computes, where its name does not say.")] = None
    backend: Annotated[BackendName | None, worded("Library on whose arrays it works. Recognized by its code.")] = None
    device: Annotated[str | None, worded("Device for torch and jax, as the library names it: cpu, cuda.")] = None
    backward: Annotated[bool, typer.Option("--backward", help="Judge the gradient that autograd takes of TARGET.")] = (
        False
    )

    def target(self, name: str) -> Target:
        """Return what to load."""
        from stablemax.check.target.messages import Target

        operation = None if self.operation is None else get_operation(self.operation)
        return Target(name, operation, self.backend or "", self.device, self.backward)
