"""Where the logits of a command come from: files, a preset, a hazard, or a random generator; one of them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stablemax.cli.completion import hazards, presets
from stablemax.cli.option_groups import CommandLine, in_panel, option, worded
from stablemax.cli.panels import Panel
from stablemax.inputs.file_format import NAMES, USUAL_LIMITS, ReadingLimits
from stablemax.inputs.server_limits import TIMEOUT_S
from stablemax.operations.operation import Operation, Second
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.ranges import check_timeout
from stablemax.text.vocabulary import Distribution
from stablemax.text.words import either

if TYPE_CHECKING:
    from stablemax.compute.streaming import Resources
    from stablemax.hazards.catalogue import Hazard
    from stablemax.hazards.operation_input import OperationInput
    from stablemax.inputs.logits import Problem, Stream
    from stablemax.numerics.formats import Format
    from stablemax.operations.targets import TargetOptions

HazardOption = Annotated[
    str | None,
    worded(
        "An input on which code is known to fail, as in: stablemax list hazards.",
        metavar="NAME",
        panel=Panel.COMMON,
        autocompletion=hazards,
    ),
]
# Options about what a hazard brings along.
HAZARDS_OWN = ("--ignore-index", "--weight", "--pos-weight", "--label-smoothing", "--upstream", "--second-logits")

_KINDS = (
    f"a file ({', '.join(f'.{name}' for name in NAMES)}; FILE:NAME for one of its arrays), an address, or - for stdin"
)
_PATTERNS = "A quoted pattern ('part-*.npy') is several files, part-2 before part-10"


@in_panel(Panel.INPUT)
@dataclass(frozen=True)
class InputOptions:
    """How files are read."""

    axis: int | None = option(
        "Axis of the classes, counted from 0.", metavar="N", unset="that which fits the labels, else the last"
    )
    input_format: str | None = option(
        f"Format of the files: {either(NAMES)}.",
        metavar="FORMAT",
        unset="by the name of each, else by its content",
        autocompletion=lambda: list(NAMES),
    )
    delimiter: str | None = option(
        "What stands between the cells of a table: a character, or comma, semicolon, tab, pipe, space.",
        metavar="SIGN",
        unset="by the first lines",
    )
    header: bool | None = option(
        "Whether the first line of a table is a header.", "--header/--no-header", unset="by the first lines"
    )
    index_column: bool | None = option(
        "Whether the first column is a row number.", "--index-column/--no-index-column", unset="by its header"
    )
    comment: str = option("What begins a comment line in a table.", metavar="SIGN", default="#")
    label_column: str | None = option(
        "Column of a table that holds the labels: its name, or its number counted from 0.", metavar="COLUMN"
    )
    force: bool = option(
        "Read files that claim to hold over 1,000 times their size; let an array replace the file of -o.",
        "--force",
        default=False,
    )


@in_panel(Panel.INPUT)
@dataclass(frozen=True)
class NetworkOptions:
    """How long files behind addresses are waited for, where the command has no other --timeout."""

    timeout: float = option(
        "Seconds that the server of an address may send nothing, or less than 1 KiB a second.",
        metavar="SECONDS",
        default=TIMEOUT_S,
    )


@in_panel(Panel.GENERATED)
@dataclass(frozen=True)
class GeneratedOptions:
    """Which logits are generated."""

    seed: int = option("Seed of the generated logits and labels.", metavar="N", default=0)
    scale: float = option(
        "How large the generated logits are: half-width of uniform, standard deviation of normal.",
        metavar="X",
        default=10.0,
        panel=Panel.COMMON,
    )
    rows: int = option("Generated rows.", metavar="N", default=16)
    classes: int = option("Generated classes.", metavar="N", default=64)
    distribution: Distribution = option(
        f"Distribution of the generated logits: {either(list(Distribution))}.",
        metavar="NAME",
        default=Distribution.UNIFORM,
    )
    offset: float = option("Added to every generated logit.", metavar="X", default=0.0)
    preset: str | None = option(
        "The input of a notebook, as in: stablemax list presets.",
        metavar="NAME",
        panel=Panel.COMMON,
        autocompletion=presets,
    )

    def problem(self) -> Problem:
        """Draw logits, or take a preset."""
        from stablemax.hazards.generated import generate, preset

        if self.preset is not None:
            return preset(self.preset)
        return generate(**{name: value for name, value in vars(self).items() if name != "preset"})


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

    @property
    def read(self) -> tuple[str, ...]:
        """The files that are named."""
        return tuple(self.files or ())

    def logits_and_labels(self) -> tuple[list[str], list[str]]:
        """Tell the files of logits from those of what is taken beside them."""
        return self.files or [], []


@dataclass(frozen=True)
class LabelledSourceOptions(SourceOptions):
    """Where logits and their labels come from."""

    files: Annotated[
        list[str] | None,
        files_argument("LOGITS [LABELS]", "Logits, then labels or soft targets (with --labels all are logits)"),
    ] = None
    labels: list[str] | None = option(
        "Labels or soft targets, apart from the logits; repeatable.",
        "--labels",
        metavar="FILE",
        panel=Panel.INPUT,
    )

    @property
    def read(self) -> tuple[str, ...]:
        """The files that are named."""
        return (*super().read, *(self.labels or ()))

    def logits_and_labels(self) -> tuple[list[str], list[str]]:
        """Tell the files of logits from those of labels."""
        files = self.files or []
        if self.labels and files:
            return files, self.labels
        if len(files) > 2:
            raise StablemaxError(
                f"{len(files)} files are named: which of them hold labels?",
                "name each with --labels FILE; or quote the patterns: 'logits-*.npy' 'labels-*.npy'",
            )
        return files[:1], files[1:]


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

    def logits_and_labels(self) -> tuple[list[str], list[str]]:
        """Tell the logits from the others."""
        files = self.files or []
        if len(files) not in (0, 2):
            raise StablemaxError("kl-divergence compares two arrays of logits", "name two files: LOGITS OTHER")
        return files[:1], files[1:]


@dataclass(frozen=True)
class Source:
    """The one place that logits come from, with what labels them."""

    line: CommandLine
    options: SourceOptions
    #: Files, as they were named; both empty for logits from elsewhere.
    logits: list[str]
    labels: list[str]
    #: How long a server may be silent.
    timeout_s: float = TIMEOUT_S

    @property
    def limits(self) -> ReadingLimits:
        """What it may take to read its files."""
        return ReadingLimits(force=self.options.reading.force, timeout_s=self.timeout_s)

    @property
    def hazard(self) -> Hazard | None:
        """The hazard that was asked for."""
        if self.options.hazard is None:
            return None
        # The whole catalogue takes two megabytes, which a run under --memory has no room for.
        from stablemax.hazards.catalogue import hazard_named

        return hazard_named(self.options.hazard)

    @property
    def is_named(self) -> bool:
        """True where files or a hazard are named."""
        return bool(self.logits) or self.options.hazard is not None

    @property
    def is_generated(self) -> bool:
        """True where the logits are drawn, or a preset's."""
        return not self.logits and self.options.hazard is None

    @property
    def is_drawn(self) -> bool:
        """True where the logits are random numbers."""
        return self.is_generated and self.options.generated.preset is None

    @property
    def reading(self) -> str:
        """Say what is read, as the progress does first."""
        from stablemax.inputs.foreign_text import file_name

        return f"reading {file_name(self.logits[0])}" if self.logits else "generating"

    def words(self) -> tuple[str, ...]:
        """Return the command line that gives the same result again, with all that the logits are drawn by."""
        return self.line.words(whole="generated" if self.is_drawn else "")

    def stream(self, operation: Operation | None = None, used: Resources | None = None) -> Stream:
        """Open files, or draw logits, with the second argument of an operation where the files hold none."""
        from stablemax.hazards.operation_input import stream_of_problem
        from stablemax.inputs.second_array import kind_of_second

        if not self.logits:
            return stream_of_problem(self.options.generated.problem(), operation)
        second = kind_of_second([operation] if operation else [])
        is_of_rows = operation is None or not operation.cellwise
        return self._opened(used, second, is_of_rows=is_of_rows)

    def _opened(self, used: Resources | None, second: Second | None, *, is_of_rows: bool) -> Stream:
        files = self.logits, self.labels
        return open_stream(*files, self.options.reading, used, second, is_of_rows=is_of_rows, limits=self.limits)

    def labelled_stream(self, fmt: Format | None = None, used: Resources | None = None) -> Stream:
        """Open logits with the labels of their rows, of a hazard too, whatever operations it is about."""
        if self.hazard is None:
            return self.stream(None, used)
        from stablemax.hazards.operation_input import labelled_hazard, refuse_needs
        from stablemax.numerics.formats import FLOAT32

        refuse_needs(self.hazard, ("ignore-index",), self.line.command)
        return labelled_hazard(self.hazard, fmt or FLOAT32)

    def problem(self, ignore_index: int | None = None, operations: Sequence[Operation] = ()) -> Problem:
        """Take files, or drawn logits, into memory, large ones into a temporary file; refuse what operations lack."""
        if not self.logits:
            return self.options.generated.problem()
        from stablemax.inputs.second_array import check_second, kind_of_second

        second = kind_of_second(operations)
        is_of_rows = not operations or not all(operation.cellwise for operation in operations)
        stream = self._opened(None, second, is_of_rows=is_of_rows)
        problem = stream.load(ignore_index, second)
        for operation in operations:
            check_second(operation, problem.labels)
        return problem

    def input_for(
        self, operation: Operation, fmt: Format | None, targets: TargetOptions, used: Resources | None = None
    ) -> OperationInput:
        """Take all that an operation is computed from; a hazard in a format, float32 by default."""
        from stablemax.hazards.operation_input import OperationInput, input_of_hazard
        from stablemax.numerics.formats import FLOAT32

        if self.hazard is not None:
            return input_of_hazard(self.hazard, operation, fmt or FLOAT32)
        return OperationInput(self.stream(operation, used), targets)


def source_of(
    line: CommandLine,
    options: SourceOptions,
    files: tuple[list[str], list[str]] | None = None,
    *,
    own: tuple[str, ...] = HAZARDS_OWN,
    optional: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> Source:
    """Return the source that was asked for; refuse options about another one, and none at all where one is needed.

    `files` are those of logits and of labels, where not all files that were named are such; `own` names the
    options that a hazard leaves no room for.
    """
    check_timeout(timeout_s)
    logits, labels = options.logits_and_labels() if files is None else files
    if options.hazard is not None:
        if logits:
            raise StablemaxError("--hazard is the input, and a file is given", "leave out one of the two")
        line.refuse(("reading", "source", *own), "does not go with --hazard", allowed=("--hazard",))
    elif logits:
        line.refuse(("generated",), "is for generated logits, and a file is given")
    elif optional or line.given("generated"):
        line.refuse(("reading", "source"), "is for files, and none is given")
    else:
        raise StablemaxError(
            "no logits are given",
            "name a file; or take --preset notebook-c-loss, --hazard large-logits, or random numbers: --rows 16",
        )
    refuse_generated(line, options.hazard, options.generated.preset)
    return Source(line, options, logits, labels, timeout_s)


def refuse_generated(line: CommandLine, hazard: str | None, preset: str | None) -> None:
    """Refuse options of generated logits beside a hazard or a preset."""
    if hazard is not None:
        line.refuse(("generated",), "does not go with --hazard")
    if preset is not None:
        line.refuse(("generated",), f"does not go with --preset {shown(preset)}", allowed=("--preset",))


def open_stream(
    logits: list[str],
    labels: list[str],
    options: InputOptions,
    used: Resources | None = None,
    second: Second | None = None,
    *,
    is_of_rows: bool = True,
    limits: ReadingLimits = USUAL_LIMITS,
) -> Stream:
    """Open files, which hold labels where nothing else is said; capped memory is all for the computation.

    With `is_of_rows` the softmax of each row is meant, and probabilities in place of its logits are noted.
    """
    from stablemax.inputs.file_format import TableOptions
    from stablemax.inputs.open import open_files
    from stablemax.inputs.probabilities import with_probabilities_noted
    from stablemax.operations.operation import Second

    of_tables = {name: value for name, value in vars(options).items() if name not in ("axis", "input_format", "force")}
    stream = open_files(
        logits,
        labels,
        axis=options.axis,
        input_format=options.input_format,
        table=TableOptions(**of_tables),
        second=second or Second.LABELS,
        limits=limits if used is None or used.memory is None else replace(limits, in_memory=0),
    )
    return with_probabilities_noted(stream) if is_of_rows else stream
