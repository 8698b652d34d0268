"""Where the logits of a command come from: files, a preset, a hazard, or a random generator; one of them alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.cli.option_groups import CommandLine
    from stablemax.cli.options import InputOptions, SourceOptions
    from stablemax.compute.streaming import Resources
    from stablemax.hazards.catalogue import Hazard
    from stablemax.hazards.operation_input import OperationInput
    from stablemax.inputs.logits import Problem, Stream
    from stablemax.numerics.formats import Format
    from stablemax.operations.operation import Operation, Second
    from stablemax.operations.targets import TargetOptions

# Options about what a hazard brings along.
HAZARDS_OWN = ("--ignore-index", "--weight", "--pos-weight", "--label-smoothing", "--upstream", "--second-logits")


@dataclass(frozen=True)
class Source:
    """The one place that logits come from, with what labels them."""

    line: CommandLine
    options: SourceOptions
    #: Files, as they were named; both empty for logits from elsewhere.
    logits: list[str]
    labels: list[str]

    @property
    def hazard(self) -> Hazard | None:
        """The hazard that was asked for."""
        if self.options.hazard is None:
            return None
        # The whole catalogue takes two megabytes, which a run under --memory has no room for.
        from stablemax.hazards.catalogue import hazard_named

        return hazard_named(self.options.hazard)

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
        return open_stream(self.logits, self.labels, self.options.reading, used, second)

    def labelled_stream(self, fmt: Format | None = None, used: Resources | None = None) -> Stream:
        """Open logits with the labels of their rows, of a hazard too, whatever operations it is about."""
        if self.hazard is None:
            return self.stream(None, used)
        from stablemax.hazards.operation_input import labelled_hazard, refuse_needs
        from stablemax.numerics.formats import FLOAT32

        refuse_needs(self.hazard, ("ignore-index",), self.line.command)
        return labelled_hazard(self.hazard, fmt or FLOAT32)

    def problem(self, ignore_index: int | None = None, operations: Sequence[Operation] = ()) -> Problem:
        """Take files, or drawn logits, into memory, mapped where that is possible; refuse what operations lack."""
        if not self.logits:
            return self.options.generated.problem()
        from stablemax.inputs.second_array import check_second, kind_of_second

        second = kind_of_second(operations)
        stream = open_stream(self.logits, self.labels, self.options.reading, second=second)
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
) -> Source:
    """Return the source that was asked for; refuse options about another one, and none at all where one is needed.

    `files` are those of logits and of labels, where not all files that were named are such; `own` names the
    options that a hazard leaves no room for.
    """
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
    return Source(line, options, logits, labels)


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
) -> Stream:
    """Open files, which hold labels where nothing else is said; capped memory is all for the computation."""
    from stablemax.inputs.file_format import IN_MEMORY, TableOptions
    from stablemax.inputs.open_files import open_files
    from stablemax.operations.operation import Second

    of_tables = {name: value for name, value in vars(options).items() if name not in ("axis", "input_format")}
    return open_files(
        logits,
        labels,
        axis=options.axis,
        input_format=options.input_format,
        table=TableOptions(**of_tables),
        in_memory=IN_MEMORY if used is None or used.memory is None else 0,
        second=second or Second.LABELS,
    )
