"""``stablemax judge``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from stablemax.cli import io, option_values, options
from stablemax.cli.completion import number_formats
from stablemax.cli.option_groups import CommandLine, in_panel, option
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.cli.source import JudgedSourceOptions, NetworkOptions, Source, source_of
from stablemax.operations import NAMES, get_operation
from stablemax.operations.operation import Operation
from stablemax.render.judgements import JUDGEMENT
from stablemax.results import JudgeReport
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.outcomes import Grade, required_grade
from stablemax.text.vocabulary import Reduction
from stablemax.text.words import counted, either

if TYPE_CHECKING:
    from stablemax.compute.streaming import Progress, Resources
    from stablemax.hazards.operation_input import OperationInput
    from stablemax.inputs.logits import Stream
    from stablemax.inputs.stored import StoredArray
    from stablemax.numerics.formats import Format


@in_panel(Panel.JUDGING)
@dataclass(frozen=True)
class ClaimOptions:
    """What OUTPUT is meant to be, and what it is held to."""

    operation: str | None = option(
        **options.operation_words("What OUTPUT is meant to be; has to be given:"), panel=Panel.COMMON
    )
    number_format: str | None = options.number_format_option(
        "Number format of OUTPUT, where the file holds a wider one.", unset="the file's"
    )
    round_logits: str | None = option(
        "The program rounded logits and targets to this format first.",
        metavar="FORMAT",
        panel=Panel.COMMON,
        autocompletion=number_formats,
    )
    reduction: Reduction = option(
        f"What a single loss is, or a gradient the gradient of: {either(list(Reduction))} (of each row).",
        metavar="REDUCTION",
        default=Reduction.MEAN,
        panel=Panel.FORMULAS,
    )
    upstream: str | None = option("Upstream gradient of softmax_vjp.", metavar="FILE", panel=Panel.INPUT)
    second_logits: str | None = option(
        "Second logits of kl_divergence; or name them after OUTPUT.", metavar="FILE", panel=Panel.INPUT
    )
    require: options.RequireOption = Grade.STABLE.value
    max_ulp: options.MaxUlpOption = None
    allow: list[str] | None = option("An outcome that does not count; repeatable.", metavar="OUTCOME")
    judge: options.JudgeOption = None


@help_entry(
    CommandPanel.JUDGE,
    Example("Is the softmax that a kernel wrote right?", "stablemax judge logits.npy output.npy --operation softmax"),
    Example(
        "Is a loss that was printed right?",
        "stablemax judge logits.npy loss.txt labels.npy --operation cross_entropy",
    ),
)
def judge(
    line: CommandLine,
    source: JudgedSourceOptions,
    claim: ClaimOptions,
    losses: options.LossOptions,
    network: NetworkOptions,
    streaming: options.StreamOptions,
    printing: options.PrintOptions,
    output_format: Annotated[str | None, options.format_option(JUDGEMENT)] = None,
) -> int:
    """Judge an output that any program computed: a CUDA kernel, a C++ engine, a phone.

    OUTPUT is compared with the exact value for LOGITS, cell by cell; with a preset, a hazard or random logits it is
    the only file. Every cell of an output of any size is judged, in bounded memory. Exit code 1 if a cell is wrong.
    """
    if claim.operation is None:
        raise StablemaxError("what is OUTPUT?", f"--operation {' or '.join(NAMES)}")
    logits, computed = _files(line, source, network.timeout)
    # Of the second logits, too, --upstream was the name.
    array = claim.second_logits or claim.upstream
    if "-" in (computed, *logits.labels) or (logits.logits == ["-"] and array == "-"):
        raise StablemaxError("only the logits can come from standard input", "put the others into files")
    operation, fmt = get_operation(claim.operation), option_values.number_format_named(claim.number_format)
    _refuse_foreign(line, operation, logits)
    output = io.output_of(
        JUDGEMENT, output_format, printing, *logits.logits, computed, *logits.labels, array, losses.weight
    )
    from stablemax.inputs.formats import endings_of_text

    resources = streaming.resources()
    with io.progress(printing, logits.reading, unit="B") as progress:
        try:
            given = logits.input_for(operation, fmt, losses.targets(logits.timeout_s), resources)
            report = _report(given, claim, fmt, (computed, array), resources, progress, logits)
        except StablemaxError as error:
            _refuse_other_order(logits, computed, operation, losses)
            raise error from None
    notes = report.notes
    if fmt is None and computed.lower().endswith(endings_of_text()):
        (name,) = report.contract.formats
        notes += (f"{report.output} is text, judged in {name}: --format names what the program computed in",)
    return output.finish(report, notes, [] if report.passed else [f"failed: {report.finding}"])


def _refuse_foreign(line: CommandLine, operation: Operation, logits: Source) -> None:
    """Refuse what the operation does not take: it would be read, and change nothing."""
    from stablemax.operations.operation import Second

    is_taken = {
        "--weight": operation.takes_labels,
        "--label-smoothing": operation.needs_targets,
        "--upstream": operation.second in (Second.UPSTREAM, Second.LOGITS),
        "--second-logits": operation.second is Second.LOGITS,
    }
    line.refuse([spelling for spelling, taken in is_taken.items() if not taken], f"is not for {operation}")
    if logits.labels and not (operation.takes_labels or operation.second is Second.LOGITS):
        raise StablemaxError(f"{operation} takes no labels, and {shown(logits.labels[0])} is given", "leave it out")


def _files(line: CommandLine, source: JudgedSourceOptions, timeout_s: float) -> tuple[Source, str]:
    """Tell the files of logits and labels from that of the output."""
    files = source.files or []
    if source.hazard is not None or line.given("generated"):
        if len(files) != 1:
            raise StablemaxError(
                f"{counted(len(files), 'file')} named: OUTPUT is the only one where the logits are no file",
                "name the file that the program wrote",
            )
        return source_of(line, source, ([], []), timeout_s=timeout_s), files[0]
    if len(files) not in (2, 3):
        raise StablemaxError(
            f"{counted(len(files), 'file')} named: judge reads LOGITS, OUTPUT and, for a loss, LABELS",
            "name the logits before OUTPUT; or take --preset notebook-c-loss, or --hazard large-logits",
        )
    return source_of(line, source, (files[:1], files[2:]), timeout_s=timeout_s), files[1]


def _refuse_other_order(logits: Source, computed: str, operation: Operation, losses: options.LossOptions) -> None:
    """Say so where the labels are named before the output, as the other commands have them."""
    from stablemax.inputs.open import open_computed

    if len(logits.logits) != 1 or len(logits.labels) != 1:
        return
    labels = logits.labels[0]
    try:
        swapped = replace(logits, labels=[computed]).input_for(operation, None, losses.targets(logits.timeout_s))
        swapped.problem(operation)
        open_computed(labels, swapped.stream, operation, logits.limits)
    except StablemaxError:
        return
    raise StablemaxError(
        f"{shown(computed)} holds labels, and {shown(labels)} an output: judge reads LOGITS OUTPUT LABELS",
        f"name them in this order: {shown(logits.logits[0])} {shown(labels)} {shown(computed)}",
    )


def _report(
    given: OperationInput,
    claim: ClaimOptions,
    fmt: Format | None,
    files: tuple[str, str | None],
    resources: Resources,
    progress: Progress,
    source: Source,
) -> JudgeReport:
    """Open the files of the output and of a second array, and hold the output against the truth."""
    from stablemax.check.judge_options import JudgeOptions
    from stablemax.check.judge_output import judge_stream
    from stablemax.inputs.open import find_array, open_computed
    from stablemax.numerics.formats import FLOAT32, format_of

    (computed, array), operation = files, get_operation(str(claim.operation))
    limits = source.limits
    stream = given.stream if array is None else _with_second(given.stream, find_array(array, limits=limits), operation)
    output = open_computed(computed, stream, operation, limits)
    printed = output.printed
    if printed is not None and fmt is None:
        # Nobody said what the program computed in: with so few digits float32 looks as float64 does.
        printed = printed.allowing_for(output.rows(), FLOAT32)
    request = JudgeOptions(
        operation,
        fmt or format_of(output.dtype),
        max_ulp=claim.max_ulp,
        allow=tuple(claim.allow or ()),
        reduction=claim.reduction,
        ignore_index=given.targets.ignore_index,
        judge=option_values.row_count(claim.judge),
        targets=given.targets,
        round_logits=option_values.number_format_named(claim.round_logits),
        require=required_grade(claim.require),
    )
    output = replace(output, printed=printed)
    return judge_stream(stream, output, request, resources=resources, progress=progress, command=source.words())


def _with_second(stream: Stream, stored: StoredArray, operation: Operation) -> Stream:
    """Take a second array, which is read beside the logits."""
    from stablemax.inputs.stored_rows import Part, Rows

    if stored.shape != stream.shape:
        raise StablemaxError(
            f"{stored.name}: has shape {stored.shape}, and the logits have {stream.shape}",
            f"the {operation.second.value}: one number for each logit",
        )
    return replace(stream, labels=Rows((Part(stored.read_in(), stream.axis),)))
