"""Every shared option, once. Commands take the groups; `option_groups.expanded` unfolds them for Typer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stablemax.cli.completion import grades, libraries, number_formats, targets, variants
from stablemax.cli.option_groups import in_panel, option, worded
from stablemax.cli.option_values import bytes_of, number_format_named
from stablemax.cli.panels import Panel
from stablemax.operations import NAMES as OPERATIONS
from stablemax.operations import get_operation
from stablemax.operations.operation import Operation
from stablemax.render.forms import ResultKind
from stablemax.render.writers import WRITERS, formats_of
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.ranges import check_timeout
from stablemax.text.suggest import suggest
from stablemax.text.vocabulary import (
    IGNORED,
    NO_OPERATION,
    Accumulation,
    BackendName,
    ColorMode,
    EngineName,
    Reduction,
    Upstream,
)
from stablemax.text.words import either

if TYPE_CHECKING:
    from stablemax.check.any_function.input_ranges import RangedArgument
    from stablemax.check.target.messages import Target
    from stablemax.compute.block_job import Method
    from stablemax.compute.streaming import Resources
    from stablemax.numerics.formats import Format
    from stablemax.operations.targets import TargetOptions

# Options of several groups or commands.
ForceOption = Annotated[bool, worded("Replace the file of -o if it is there.", "--force", panel=Panel.OUTPUT)]
IgnoreIndexOption = Annotated[
    int, worded("Rows with this label do not count.", metavar="LABEL", panel=Panel.FORMULAS, show_default=True)
]
JudgeOption = Annotated[
    str | None,
    worded(
        "Rows to judge, the extreme ones among them: a number, or all.",
        "--judge",
        metavar="ROWS",
        panel=Panel.JUDGING,
        unset="all",
    ),
]
TargetMemoryOption = Annotated[
    str,
    worded(
        "Most memory that TARGET may take beyond its imports; on Linux only.",
        metavar="SIZE",
        panel=Panel.RUNNING,
        show_default=True,
    ),
]
MaxUlpOption = Annotated[
    float | None,
    worded(
        "Larger errors are inaccurate. One ulp is the distance between two neighbouring numbers of the format.",
        metavar="ULPS",
        panel=Panel.JUDGING,
        unset="half of the format's bits, 4096 in float32",
    ),
]
RequireOption = Annotated[
    str,
    worded(
        "The least grade that passes: stable or accurate.",
        metavar="GRADE",
        panel=Panel.JUDGING,
        show_default=True,
        autocompletion=grades,
    ),
]
UpstreamOption = Annotated[
    Upstream,
    worded(
        "Upstream gradient of softmax_vjp: normal (drawn from N(0, 1)), or mean (that of the mean).",
        metavar="GRADIENT",
        panel=Panel.FORMULAS,
        show_default=True,
    ),
]
TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="path/to/file.py:function (.ipynb too), package.module:function, a variant (softmax/naive) or a peer "
        "(torch/softmax).",
        autocompletion=targets,
    ),
]


def format_option(
    kind: ResultKind,
    text: str = "How the result is written.",
    *,
    unset: str = "by the ending of -o, else table",
) -> Any:
    """Declare --output-format for a kind of result, with the formats that it has."""
    # Ours alone: a run that asks for none of a plugin's formats does not look for plugins.
    names = formats_of(kind, WRITERS.own)
    # Names, not an enumeration: a format of a plugin is one more name.
    return worded(
        f"{text} Formats: {', '.join(names)}.",
        metavar="FORMAT",
        panel=Panel.OUTPUT,
        unset=unset,
        autocompletion=lambda: names,
    )


def operation_words(text: str, others: str = "", further: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what declares an operation, by one of their names; a shell is offered further ones, too."""
    # Names, not an enumeration: an operation of a plugin is one more name.
    return {
        "help": f"{text} {', '.join(OPERATIONS)}{others}.",
        "metavar": "OPERATION",
        "autocompletion": lambda: [*OPERATIONS, *further],
    }


def operation_or_none_named(name: str) -> Operation:
    """Look up an operation; what is nearly the word for none is told so.

    >>> operation_or_none_named("non")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: there is no operation 'non'
    """
    try:
        return get_operation(name)
    except StablemaxError as error:
        hint = suggest(name, (NO_OPERATION,)) or error.hint
        raise StablemaxError(error.message, hint) from None


def number_format_option(text: str, *, unset: str = "", panel: Panel = Panel.COMMON, default: Any = None) -> Any:
    """Declare --format, for one number format or several."""
    return option(
        text, "--format", metavar="FORMAT", unset=unset, panel=panel, default=default, autocompletion=number_formats
    )


@in_panel(Panel.RUNNING)
@dataclass(frozen=True)
class StreamOptions:
    """What a computation over a large input may use."""

    threads: int | None = option("Worker threads.", min=1, metavar="N", unset="all cores")
    memory: str | None = option(
        "Most memory to use beside the interpreter's own, such as 512MB or 2GiB.", metavar="SIZE", unset="no limit"
    )
    engine: EngineName = option(
        "Who computes: threads, or the processes of a dask cluster.", metavar="ENGINE", default=EngineName.THREADS
    )
    scheduler: str | None = option(
        "Running cluster for --engine dask, such as tcp://host:8786.",
        metavar="ADDRESS",
        unset="processes of this machine",
    )

    def resources(self) -> Resources:
        """Read what a computation may use."""
        from stablemax.compute.streaming import Resources

        if self.scheduler is not None and self.engine is not EngineName.DASK:
            raise StablemaxError("--scheduler is for --engine dask", "add --engine dask, or leave --scheduler out")
        return Resources(self.threads, bytes_of(self.memory), self.engine, self.scheduler, once=True)


def peer_option() -> Any:
    """Declare the option that adds the built-ins of libraries."""
    return option(
        "Add the built-ins of a library: torch, jax, scipy, or all that are installed; repeatable.",
        metavar="LIBRARY",
        panel=Panel.COMMON,
        autocompletion=libraries,
    )


def variants_option(unset: str) -> Any:
    """Declare the option that chooses variants, and say which there are without it."""
    return option(
        "Variants by name, id or pattern; repeatable.",
        metavar="NAME",
        unset=unset,
        panel=Panel.COMMON,
        autocompletion=variants,
    )


def accumulate_option() -> Any:
    """Declare the option that says how sums are added."""
    return option(
        f"How sums are added: {either(list(Accumulation))}.",
        metavar="METHOD",
        unset="as an ordinary kernel of each format does",
    )


@in_panel(Panel.FORMULAS)
@dataclass(frozen=True)
class LibraryOptions:
    """Whose built-ins are judged, and on whose arrays our variants run."""

    peer: list[str] | None = peer_option()
    backend: BackendName = option(
        f"Library on whose arrays our variants run: {either(list(BackendName))}.",
        metavar="LIBRARY",
        default=BackendName.NUMPY,
    )
    device: str | None = option("Device of --backend and --peer, as the library names it: cpu, cuda.", metavar="DEVICE")


@in_panel(Panel.FORMULAS)
@dataclass(frozen=True)
class ArithmeticOptions:
    """What one result is computed with."""

    variant: str | None = option(
        "Formula to compute with, as in: stablemax list variants.",
        metavar="NAME",
        unset="wide, or in float64 the most accurate one",
        panel=Panel.COMMON,
        autocompletion=variants,
    )
    number_format: str | None = number_format_option(
        "Number format to compute in, as in: stablemax list formats.",
        unset="float64 for a loss, the input's own for an array",
    )
    accumulate: Accumulation | None = option(
        f"How sums are added: {either(list(Accumulation))}.",
        metavar="METHOD",
        unset="as an ordinary kernel of the format does",
    )
    exact: bool = option("Prove that every result is the nearest number to the exact one.", "--exact", default=False)

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
        method = Method(variant, number_format_named(self.number_format), self.accumulate, self.exact)
        given = {"--variant": self.variant, "--accumulate": self.accumulate}
        if operation.reduces:
            given["--format"] = self.number_format
        asked = next((f"{name} {shown(value)}" for name, value in given.items() if value is not None), None)
        if self.exact and asked is not None:
            raise StablemaxError(
                f"--exact proves results, and {asked} asks for its rounding errors", f"leave out --exact or {asked}"
            )
        return method


@dataclass(frozen=True)
class NoTargetOptions:
    """What says how targets count, where an operation takes none."""

    read = ()
    reduction = Reduction.MEAN

    def targets(self, timeout_s: float) -> TargetOptions:  # noqa: ARG002 - as the other groups have it
        """Return the options by default."""
        from stablemax.operations.targets import TargetOptions

        return TargetOptions()


@in_panel(Panel.FORMULAS)
@dataclass(frozen=True)
class LossOptions:
    """How rows become one loss; as torch.nn.functional.cross_entropy."""

    ignore_index: IgnoreIndexOption = IGNORED
    weight: str | None = option("File with the weight of each class.", metavar="FILE", unset="1 for each")
    label_smoothing: float = option(
        "Share of every target that is spread evenly over the classes, from 0 to 1.", metavar="X", default=0.0
    )

    @property
    def read(self) -> tuple[str | None, ...]:
        """The files that are named."""
        return (self.weight,)

    def targets(self, timeout_s: float) -> TargetOptions:
        """Read the weights, and bring the options together."""
        from stablemax.inputs.open import read_weights
        from stablemax.operations.targets import TargetOptions

        weight = None if self.weight is None else read_weights(self.weight, timeout_s)
        return TargetOptions(weight, self.label_smoothing, self.ignore_index, shown(self.weight or "the weights"))


@in_panel(Panel.FORMULAS)
@dataclass(frozen=True)
class CellLossOptions:
    """How cells become one loss; as torch.nn.functional.binary_cross_entropy_with_logits."""

    weight: str | None = option("File with the weight of each class's losses.", metavar="FILE", unset="1 for each")
    pos_weight: str | None = option(
        "File with the weight of each class's positive targets.", metavar="FILE", unset="1 for each"
    )

    @property
    def read(self) -> tuple[str | None, ...]:
        """The files that are named."""
        return (self.weight, self.pos_weight)

    def targets(self, timeout_s: float) -> TargetOptions:
        """Read the weights."""
        from stablemax.inputs.open import read_weights
        from stablemax.operations.targets import TargetOptions

        weight, pos_weight = (None if path is None else read_weights(path, timeout_s) for path in self.read)
        return TargetOptions(weight, weight_name=self.weight or self.pos_weight or "", pos_weight=pos_weight)


@in_panel(Panel.OUTPUT)
@dataclass(frozen=True)
class PrintOptions:
    """Where and how results are printed."""

    output: str | None = option(
        "Write to a file; its ending says how.", "--output", "-o", metavar="FILE", panel=Panel.COMMON
    )
    color: ColorMode = option(
        "Colours: auto, always or never. auto follows the terminal, NO_COLOR and FORCE_COLOR.",
        metavar="WHEN",
        default=ColorMode.AUTO,
    )
    pager: bool = option(
        "Show what is longer than the window page by page, with $STABLEMAX_PAGER, $PAGER or less.",
        "--pager/--no-pager",
        default=True,
    )
    quiet: bool = option("No notes and no progress on standard error.", "--quiet", "-q", default=False)


@in_panel(Panel.TARGET)
@dataclass(frozen=True)
class ImplementationOptions:
    """What an implementation computes, and on whose arrays."""

    operation: str | None = option(
        **operation_words(
            "What TARGET computes, where its name does not say:",
            f"; for trace and check {NO_OPERATION}, too",
            (NO_OPERATION,),
        ),
        panel=Panel.COMMON,
    )
    backend: BackendName | None = option(
        f"Library on whose arrays it works: {either(list(BackendName))}.", metavar="LIBRARY", unset="as its code says"
    )
    device: str | None = option("Device for torch and jax, as the library names it: cpu, cuda.", metavar="DEVICE")
    backward: bool = option("Judge the gradient that autograd takes of TARGET.", "--backward", default=False)
    pick: str | None = option(
        "Which item of a tuple, a dictionary or a record it returns: 0, loss.",
        metavar="ITEM",
        unset="that which has the shape of a result",
    )
    arg: list[str] | None = option(
        "A further argument of TARGET, or of its class: temperature=0.5, mask=FILE.npy, x=normal(0, 10, 4x3), "
        "uniform(-5, 5, 8), linspace(0, 1, 11) or edge (the format's), x=array([0, 3.5]); repeatable.",
        "--arg",
        metavar="NAME=VALUE",
    )
    shift: bool = option(
        "TARGET is a loss of sequences (B, T, V) whose position t predicts the label at t + 1.",
        "--shift",
        default=False,
    )

    def target(self, name: str, timeout_s: float, seed: int = 0) -> Target:
        """Return what to load."""
        if self.operation == NO_OPERATION:
            raise StablemaxError(
                f"--operation {NO_OPERATION}: only stablemax trace and stablemax check take any function",
                f"stablemax trace {shown(name)} --operation {NO_OPERATION}, or name an operation",
            )
        operation = None if self.operation is None else operation_or_none_named(self.operation)
        return replace(self._target(name, timeout_s, seed), operation=operation)

    def any_target(self, name: str, timeout_s: float, seed: int = 0, fmt: Format | None = None) -> Target:
        """Return what to load where it is held to no operation; its arrays of floats are rounded to a format."""
        return replace(self._target(name, timeout_s, seed, fmt), is_any=True)

    def ranges(self) -> tuple[RangedArgument, ...]:
        """Return the arguments that are given by a range."""
        from stablemax.cli.further_arguments import ranged_arguments

        return ranged_arguments(self.arg or ())

    def _target(self, name: str, timeout_s: float, seed: int, fmt: Format | None = None) -> Target:
        from stablemax.check.target.messages import Target
        from stablemax.check.target.returned import pick_of
        from stablemax.cli.further_arguments import further_arguments

        check_timeout(timeout_s)
        return Target(
            name,
            None,
            self.backend or "",
            self.device,
            self.backward,
            pick=pick_of(self.pick),
            further=further_arguments(self.arg or (), timeout_s, fmt=fmt, seed=seed),
            shift=self.shift,
            seed=seed,
        )
