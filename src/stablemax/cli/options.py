"""Every shared option, once. Commands take the groups; `option_groups.expanded` unfolds them for Typer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stablemax.cli.option_groups import option, worded
from stablemax.operations import NAMES as OPERATIONS
from stablemax.operations import get_operation
from stablemax.operations.operation import Operation
from stablemax.render.forms import ResultKind
from stablemax.render.writers import WRITERS, formats_of
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.vocabulary import (
    IGNORED,
    Accumulation,
    BackendName,
    ColorMode,
    EngineName,
    Reduction,
    Upstream,
)

if TYPE_CHECKING:
    from stablemax.check.target.messages import Target
    from stablemax.compute.block_job import Method
    from stablemax.compute.streaming import Resources
    from stablemax.numerics.formats import Format
    from stablemax.operations.targets import TargetOptions

# Options of several groups or commands.
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file of -o if it is there.")]
IgnoreIndexOption = Annotated[int, typer.Option(help="Rows with this label do not count.")]
JudgeOption = Annotated[str | None, worded("Rows to judge. As many as 2**18 cells hold.", "--judge", metavar="all|N")]
TargetMemoryOption = Annotated[
    str,
    worded("Most memory that TARGET may take beyond its imports. 2GB; no limit but on Linux.", metavar="SIZE"),
]
MaxUlpOption = Annotated[float | None, worded("Errors above are inaccurate. Half of the format's bits.")]
RequireOption = Annotated[str, worded("The least grade that passes: stable, or accurate.", metavar="GRADE")]
UpstreamOption = Annotated[
    Upstream, typer.Option(help="Upstream gradient of softmax_vjp: N(0, 1), or that of the mean.")
]
TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="path/to/file.py:function (.ipynb too), package.module:function, a variant (softmax/naive) or a peer "
        "(torch/softmax).",
    ),
]


def format_option(kind: ResultKind, text: str = "How the result is written. By the ending of -o; else table.") -> Any:
    """Declare --output-format for a kind of result, with the formats that it has."""
    # Ours alone: a run that asks for none of a plugin's formats does not look for plugins.
    names = formats_of(kind, WRITERS.own)
    # Names, not an enumeration: a format of a plugin is one more name.
    return worded(text, metavar=f"<{'|'.join(names)}>", autocompletion=lambda: names)


def operation_words(text: str) -> dict[str, Any]:
    """Return what declares an operation, by one of their names."""
    # Names, not an enumeration: an operation of a plugin is one more name.
    return {
        "help": f"{text} {', '.join(OPERATIONS)}.",
        "metavar": "OPERATION",
        "autocompletion": lambda: list(OPERATIONS),
    }


def number_format_option(text: str) -> Any:
    """Declare --format, for one number format or several."""
    return option(text, "--format", metavar="FORMAT")


@dataclass(frozen=True)
class StreamOptions:
    """What a computation over a large input may use."""

    threads: int | None = option("Worker threads. All cores.", min=1, metavar="N")
    memory: str | None = option(
        "Most memory to use beside the interpreter's own, such as 512MB or 2GiB.", metavar="SIZE"
    )
    engine: EngineName = option(
        "Who computes: threads, or the processes of a dask cluster.", default=EngineName.THREADS
    )
    scheduler: str | None = option(
        "Running cluster for --engine dask, such as tcp://host:8786. Without it, processes of this machine.",
        metavar="ADDRESS",
    )

    def resources(self) -> Resources:
        """Read what a computation may use."""
        from stablemax.compute.streaming import Resources

        if self.scheduler is not None and self.engine is not EngineName.DASK:
            raise StablemaxError("--scheduler is for --engine dask", "add --engine dask, or leave --scheduler out")
        return Resources(self.threads, bytes_of(self.memory), self.engine, self.scheduler)


@dataclass(frozen=True)
class LibraryOptions:
    """Whose built-ins are judged, and on whose arrays our variants run."""

    peer: list[str] | None = option(
        "Add the built-ins of a library; repeatable. all: those installed.", metavar="torch|jax|scipy|all"
    )
    backend: BackendName = option("Library on whose arrays our variants run.", default=BackendName.NUMPY)
    device: str | None = option("Device of --backend and --peer, as the library names it: cpu, cuda.")


@dataclass(frozen=True)
class ArithmeticOptions:
    """What one result is computed with."""

    variant: str | None = option("Formula: stablemax list variants. The accurate one.", metavar="NAME")
    number_format: str | None = number_format_option("Number format to compute in, as in: stablemax list formats.")
    accumulate: Accumulation | None = option("How sums are added. What an ordinary kernel of the format does.")

    def method(self, operation: Operation) -> Method:
        """Look up what an operation is computed with; --variant has its operation in front, or has not."""
        from stablemax.compute.block_job import Method
        from stablemax.operations.variant import get

        variant = None
        if self.variant is not None:
            variant = get(self.variant if "/" in self.variant else f"{operation}/{self.variant}")
            if variant.operation is not operation:
                raise StablemaxError(
                    f"{variant.id} does not compute {operation}", f"stablemax list variants {operation}"
                )
        return Method(variant, number_format_named(self.number_format), self.accumulate)


@dataclass(frozen=True)
class NoTargetOptions:
    """What says how targets count, where an operation takes none."""

    read = ()
    reduction = Reduction.MEAN

    def targets(self) -> TargetOptions:
        """Return the options by default."""
        from stablemax.operations.targets import TargetOptions

        return TargetOptions()


@dataclass(frozen=True)
class LossOptions:
    """How rows become one loss; as torch.nn.functional.cross_entropy."""

    ignore_index: IgnoreIndexOption = IGNORED
    weight: str | None = option("Weight of each class.", metavar="FILE")
    label_smoothing: float = option("Share of every target that is spread evenly over the classes.", default=0.0)

    @property
    def read(self) -> tuple[str | None, ...]:
        """The files that are named."""
        return (self.weight,)

    def targets(self) -> TargetOptions:
        """Read the weights, and bring the options together."""
        from stablemax.inputs.open import read_weights
        from stablemax.operations.targets import TargetOptions

        weight = None if self.weight is None else read_weights(self.weight)
        return TargetOptions(weight, self.label_smoothing, self.ignore_index, shown(self.weight or "the weights"))


@dataclass(frozen=True)
class CellLossOptions:
    """How cells become one loss; as torch.nn.functional.binary_cross_entropy_with_logits."""

    weight: str | None = option("Weight of each class's losses.", metavar="FILE")
    pos_weight: str | None = option("Weight of each class's positive targets.", metavar="FILE")

    @property
    def read(self) -> tuple[str | None, ...]:
        """The files that are named."""
        return (self.weight, self.pos_weight)

    def targets(self) -> TargetOptions:
        """Read the weights."""
        from stablemax.inputs.open import read_weights
        from stablemax.operations.targets import TargetOptions

        weight, pos_weight = (None if path is None else read_weights(path) for path in self.read)
        return TargetOptions(weight, weight_name=self.weight or self.pos_weight or "", pos_weight=pos_weight)


@dataclass(frozen=True)
class PrintOptions:
    """Where and how results are printed."""

    output: str | None = option("Write to a file; its ending says how.", "--output", "-o", metavar="FILE")
    color: ColorMode = option("Colours; auto follows the terminal, NO_COLOR and FORCE_COLOR.", default=ColorMode.AUTO)
    quiet: bool = option("No notes and no progress on standard error.", "--quiet", "-q", default=False)


@dataclass(frozen=True)
class ImplementationOptions:
    """What an implementation computes, and on whose arrays."""

    operation: str | None = option(**operation_words("What TARGET computes, where its name does not say."))
    backend: BackendName | None = option("Library on whose arrays it works. Recognized by its code.")
    device: str | None = option("Device for torch and jax, as the library names it: cpu, cuda.")
    backward: bool = option("Judge the gradient that autograd takes of TARGET.", "--backward", default=False)
    pick: str | None = option(
        "Which item of a tuple, a dictionary or a record it returns: 0, loss. That which has the shape of a result.",
        metavar="ITEM",
    )
    arg: list[str] | None = option(
        "A further argument of TARGET, or of its class: temperature=0.5, mask=FILE.npy; repeatable.",
        "--arg",
        metavar="NAME=VALUE",
    )
    shift: bool = option(
        "TARGET is a loss of sequences (B, T, V) whose position t predicts the label at t + 1.",
        "--shift",
        default=False,
    )

    def target(self, name: str, seed: int = 0) -> Target:
        """Return what to load."""
        from stablemax.check.target.messages import Target
        from stablemax.check.target.returned import pick_of
        from stablemax.cli.further_arguments import further_arguments

        operation = None if self.operation is None else get_operation(self.operation)
        return Target(
            name,
            operation,
            self.backend or "",
            self.device,
            self.backward,
            pick=pick_of(self.pick),
            further=further_arguments(self.arg or ()),
            shift=self.shift,
            seed=seed,
        )


def bytes_of(text: str | None) -> int | None:
    """Read an amount of memory: a number with or without a unit.

    >>> bytes_of("512MB"), bytes_of("1.5 GiB"), bytes_of("4096"), bytes_of("8.2MB")
    (512000000, 1610612736, 4096, 8200000)
    """
    if text is None:
        return None
    amount = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?", text.strip(), re.ASCII)
    if amount is None or (amount[3] and not amount[2]):
        raise StablemaxError(f"--memory {shown(text)} is not an amount of memory", "such as 512MB, 2GiB or 1000000")
    power = " kmgt".index(amount[2].lower() or " ")
    # A fraction, as 8.2 * 10**6 is a little less than 8,200,000 in float64.
    return int(Fraction(amount[1]) * (1024 if amount[3] else 1000) ** power)


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


def failures_named(texts: Iterable[str], known: tuple[str, ...], lack: str) -> tuple[str, ...]:
    """Read --fail-on: names, each alone or with commas between them; `lack` begins what refuses another one."""
    names = tuple(dict.fromkeys(name.strip().lower() for text in texts for name in text.split(",")))
    for name in names:
        if name not in known:
            raise StablemaxError(f"--fail-on: there is {lack} {shown(name)!r}", f"one or more of: {', '.join(known)}")
    return names


def formats_named(names: Iterable[str]) -> tuple[Format, ...]:
    """Look up the number formats that --format names, each once."""
    from stablemax.numerics.formats import get_format

    return tuple(dict.fromkeys(get_format(name) for name in names))


def number_format_named(name: str | None) -> Format | None:
    """Look up the number format of --format, where one is given."""
    return None if name is None else formats_named([name])[0]
