"""``stablemax judge``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import outputs, session
from stablemax.cli.options import (
    CheckFormatOption,
    InputOptions,
    LabelOptions,
    LogitsArgument,
    LossOptions,
    PrintOptions,
)
from stablemax.cli.reproducing import changed, files, option
from stablemax.errors import StablemaxError
from stablemax.operations import NAMES, OperationName, get_operation
from stablemax.vocabulary import FormatName, Reduction


def judge(
    inputs: InputOptions,
    counted: LabelOptions,
    loss: LossOptions,
    printing: PrintOptions,
    logits: LogitsArgument,
    computed: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="What the program computed, in a file of the same kinds.")
    ],
    labels: Annotated[
        str | None,
        typer.Argument(metavar="LABELS", help="Labels or soft targets, for the cross-entropies.", show_default=False),
    ] = None,
    operation: Annotated[
        OperationName | None, typer.Option(help="What OUTPUT is meant to be.", show_default=False)
    ] = None,
    upstream: Annotated[
        str | None, typer.Option(metavar="FILE", help="Upstream gradient of softmax_vjp.", show_default=False)
    ] = None,
    number_format: Annotated[
        FormatName | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Number format of OUTPUT, where the file holds a wider one. The file's.",
            show_default=False,
        ),
    ] = None,
    round_logits: Annotated[
        FormatName | None,
        typer.Option(metavar="FORMAT", help="The program rounded the logits to this format first.", show_default=False),
    ] = None,
    reduction: Annotated[
        Reduction, typer.Option(help="What a single loss is, or a gradient the gradient of; none: of each row.")
    ] = Reduction.MEAN,
    max_ulp: Annotated[
        float | None,
        typer.Option(help="Errors above are inaccurate. Half of the format's bits.", show_default=False),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="OUTCOME", help="An outcome that does not count; repeatable.", show_default=False),
    ] = None,
    judged: Annotated[
        str | None,
        typer.Option(
            "--judge", metavar="all|N", help="Rows to judge. As many as 2**18 cells hold.", show_default=False
        ),
    ] = None,
    output_format: CheckFormatOption = None,
) -> int:
    """Judge an output that any program computed: a CUDA kernel, a C++ engine, a phone.

    OUTPUT is compared with the exact value for LOGITS, cell by cell. Exit code 1 if a cell is wrong.
    """
    from stablemax.formats import get_format
    from stablemax.judging import JudgeOptions, judge_output
    from stablemax.render.checks import render_judged

    if operation is None:
        raise StablemaxError("what is OUTPUT?", f"--operation {' or '.join(NAMES)}")
    if "-" in (computed, labels) or (logits == "-" and upstream == "-"):
        raise StablemaxError("only the logits can come from standard input", "put the others into files")
    how = outputs.written_as(output_format, printing, "a judgement")
    outputs.check_output(printing, logits, computed, labels, upstream, loss.weight)
    command = (
        *("stablemax", "judge", "--operation", operation, *files(logits, computed, labels)),
        *changed(inputs),
        *changed(counted),
        *changed(loss),
        *option("--upstream", upstream),
        *option("--format", number_format),
        *option("--round-logits", round_logits),
        *option("--reduction", None if reduction is Reduction.MEAN else reduction),
        *option("--max-ulp", max_ulp),
        *option("--allow", allow),
        *option("--judge", judged),
    )
    with session.progress(printing, session.reading(logits)):
        problem = session.read_problem(logits, labels, inputs, counted.ignore_index)
        values, fmt, name = session.read_output(computed, problem, get_operation(operation), number_format)
        options = JudgeOptions(
            get_operation(operation),
            fmt,
            max_ulp=max_ulp,
            allow=tuple(allow or ()),
            reduction=reduction,
            ignore_index=counted.ignore_index,
            judge=session.row_count(judged),
            targets=session.target_options(loss, counted),
            round_logits=None if round_logits is None else get_format(round_logits),
        )
        g = None if upstream is None else session.read_output(upstream, problem, get_operation("softmax"), None)[0]
        names = (problem.sources[0].name, name, problem.sources[1].name if len(problem.sources) > 1 else "")
        report = judge_output(
            values, problem.logits, problem.labels, g, options, names=names, command=command, notes=problem.notes
        )
    session.say(report.notes, printing)
    if number_format is None and computed.lower().endswith((".csv", ".tsv")):
        session.say([f"{name} is text, judged in {fmt.name}: --format names what the program computed in"], printing)
    if how.is_for_ci:
        outputs.emit_for_ci(report, how, printing)
    else:
        text = render_judged(report, how, color=printing.color, to_file=printing.output is not None)
        outputs.emit(text, printing)
    if not report.passed:
        session.warn(f"failed: {report.finding}")
    return 0 if report.passed else 1
