"""``stablemax compare``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stablemax.cli import outputs, session
from stablemax.cli.options import (
    CheckFormatOption,
    GeneratedOptions,
    HazardOptions,
    InputOptions,
    LabelOptions,
    LabelsArgument,
    LibraryOptions,
    OptionalLogits,
    PrintOptions,
)
from stablemax.cli.reproducing import changed, files, option
from stablemax.errors import StablemaxError, shown
from stablemax.operations import OperationName, get_operation
from stablemax.results import Comparison, League, Outcome
from stablemax.vocabulary import (
    Accumulation,
    BackendName,
    FormatName,
    Reduction,
    Upstream,
)
from stablemax.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stablemax.operations.variant import Variant
    from stablemax.peers.backend import Backend

FAILURES = tuple(o.value for o in reversed(list(Outcome)) if o is not Outcome.OK)


def compare(
    inputs: InputOptions,
    judged: LabelOptions,
    generated: GeneratedOptions,
    printing: PrintOptions,
    libraries: LibraryOptions,
    catalogue: HazardOptions,
    logits: OptionalLogits = None,
    labels: LabelsArgument = None,
    operation: Annotated[
        list[OperationName] | None,
        typer.Option(help="Operation to compare; repeatable. All.", show_default=False),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Variants by name or id; repeatable. All.", show_default=False),
    ] = None,
    number_format: Annotated[
        list[FormatName] | None,
        typer.Option(
            "--format",
            help="Number format; repeatable. float16, bfloat16, float32, float64.",
            show_default=False,
            metavar="FORMAT",
        ),
    ] = None,
    accumulate: Annotated[
        Accumulation | None,
        typer.Option(help="How sums are added. What an ordinary kernel of each format does.", show_default=False),
    ] = None,
    max_ulp: Annotated[
        float | None,
        typer.Option(
            help="Errors above are inaccurate. Half of the format's bits: 4096 in float32.",
            show_default=False,
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(metavar="all|N", help="Rows to judge. As many as 2**18 cells hold.", show_default=False),
    ] = None,
    reduction: Annotated[
        Reduction, typer.Option(help="What the gradient is the gradient of: the losses' mean or sum.")
    ] = Reduction.MEAN,
    upstream: Annotated[
        Upstream, typer.Option(help="Upstream gradient of softmax_vjp: N(0, 1), or that of the mean.")
    ] = Upstream.NORMAL,
    details: Annotated[bool, typer.Option("--details", help="All the figures of every variant.")] = False,
    show_values: Annotated[int, typer.Option(metavar="N", help="Print the first N rows of every output.")] = 0,
    fail_on: Annotated[
        str | None,
        typer.Option(metavar="OUTCOMES", help=f"Exit 1 on any of: {','.join(FAILURES)}.", show_default=False),
    ] = None,
    output_format: CheckFormatOption = None,
) -> int:
    """Compare naive and stable formulas in every number format, each cell judged against the truth.

    Without LOGITS they are generated, or are those of a hazard. --peer adds other libraries. Exit code 0
    even when the naive formulas fail, for they are meant to; --fail-on makes a check of it.
    """
    from stablemax.comparison import DEFAULT_FORMATS, CompareOptions, compare_hazard, compare_problem
    from stablemax.formats import get_format

    failures = _failures(fail_on)
    others = {
        "--judge": judge,
        "--upstream": upstream is not Upstream.NORMAL,
        "--ignore-index": judged != LabelOptions(),
        "--show-values": show_values and catalogue.hazards,
    }
    _refuse_mixed_inputs(logits, inputs, generated, catalogue, others)
    how = outputs.written_as(output_format, printing, "a comparison")
    outputs.check_output(printing, logits, labels)
    if libraries.device is not None and not libraries.peer and libraries.backend is BackendName.NUMPY:
        raise StablemaxError("--device is for other libraries", "with it: --backend torch, or --peer torch")
    built_ins, notes = _built_ins(libraries)
    options = CompareOptions(
        formats=tuple(dict.fromkeys(get_format(f) for f in number_format)) if number_format else DEFAULT_FORMATS,
        operations=tuple(map(get_operation, dict.fromkeys(operation or ()))),
        patterns=tuple(variant or ()),
        accumulation=accumulate,
        max_ulp=max_ulp,
        judge=_judged(judge),
        reduction=reduction,
        upstream=upstream,
        show_values=show_values,
        ignore_index=judged.ignore_index,
        built_ins=built_ins,
        backend=_backend(libraries),
    )
    command = (
        *("stablemax", "compare"),
        *(changed(catalogue) or _input_command(logits, labels, inputs, generated)),
        *changed(judged),
        *changed(libraries),
        *option("--operation", operation),
        *option("--variant", variant),
        *option("--format", number_format),
        *option("--accumulate", accumulate),
        *option("--max-ulp", max_ulp),
        *option("--judge", judge),
        *option("--reduction", None if reduction is Reduction.MEAN else reduction),
        *option("--upstream", None if upstream is Upstream.NORMAL else upstream),
    )
    with session.progress(printing, "generating" if logits is None else session.reading(logits)) as progress:
        result: Comparison | League
        if catalogue.hazards:
            from stablemax.league import league

            result = league(options, command=command, progress=progress)
        elif catalogue.hazard is not None:
            from stablemax.league import hazard_named

            result = compare_hazard(hazard_named(catalogue.hazard), options, command=command, progress=progress)
        else:
            if logits is None:
                problem = session.generated_problem(generated)
            else:
                problem = session.read_problem(logits, labels, inputs, judged.ignore_index)
            result = compare_problem(problem, options, command=command, progress=progress)
    session.say((*notes, *result.notes), printing)
    if how.is_for_ci:
        outputs.emit_for_ci(result, how, printing, failures)
        return _verdict(result, failures)
    to_file = printing.output is not None
    if isinstance(result, League):
        from stablemax.render import leagues

        text = leagues.render(result, how, color=printing.color, details=details, to_file=to_file)
    else:
        from stablemax.render import comparisons

        text = comparisons.render(
            result,
            how,
            color=printing.color,
            details=details,
            show_values=show_values > 0,
            to_file=to_file,
        )
    outputs.emit(text, printing)
    return _verdict(result, failures)


def _verdict(result: Comparison | League, failures: frozenset[Outcome]) -> int:
    """Say which of the outcomes of --fail-on occurred; 1 if any did."""
    found = _outcomes_in(result)
    hits = [(name, outcomes) for name, outcomes in found if failures & outcomes.keys()]
    if not hits:
        return 0
    session.warn(
        f"failed: {len(hits)} of {counted(len(found), 'result')} "
        f"{'has' if len(hits) == 1 else 'have'} cells that are {_either(failures)}"
    )
    for name, outcomes in hits[:10]:
        what = max(failures & outcomes.keys(), key=lambda o: o.severity)
        session.warn(f"  {name}: {what.value} {outcomes[what]}")
    if len(hits) > 10:
        session.warn(f"  and {len(hits) - 10} more")
    return 1


def _outcomes_in(result: Comparison | League) -> list[tuple[str, dict[Outcome, str]]]:
    """Name what ran, with the outcomes that occurred and where."""
    if isinstance(result, League):
        return [
            (f"{s.implementation} in {s.format}", {o: f"under {listed(names)}" for o, names in s.outcomes.items()})
            for s in result.standouts
        ]
    return [
        (
            f"{v.variant} in {v.format}",
            {
                o: f"in {100 * share:.3g}% of the cells" + (f": {v.cause}" if o is v.worst and v.cause else "")
                for o, share in v.shares.items()
            },
        )
        for v in result.verdicts
    ]


def _refuse_mixed_inputs(
    logits: str | None,
    inputs: InputOptions,
    generated: GeneratedOptions,
    catalogue: HazardOptions,
    others: Mapping[str, object],
) -> None:
    """Refuse options that are about another input than the one that is asked for."""
    if catalogue != HazardOptions():
        asked = "--hazards" if catalogue.hazards else "--hazard"
        if catalogue.hazards and catalogue.hazard is not None:
            raise StablemaxError("--hazard is one hazard and --hazards all of them", "leave out one of the two")
        if logits is not None:
            raise StablemaxError(f"{asked} is the input, and a file is given", "leave out one of the two")
        for group in (inputs, generated):
            _refuse(group, f"does not go with {asked}")
        for name, value in others.items():
            if value:
                raise StablemaxError(f"{name} does not go with {asked}", "leave out one of the two")
    elif logits is not None:
        _refuse(generated, "is for generated logits, and a file is given")
    else:
        _refuse(inputs, "is for files, and the logits are generated")
        if generated.preset is not None:
            _refuse(generated, f"does not go with --preset {shown(generated.preset)}", allowed=("preset",))


def _built_ins(libraries: LibraryOptions) -> tuple[tuple[Variant, ...], tuple[str, ...]]:
    """Import the built-ins of the peers; nothing of another library is touched without."""
    if not libraries.peer:
        return (), ()
    from stablemax.peers import chosen

    return chosen(libraries.peer, libraries.device)


def _backend(libraries: LibraryOptions) -> Backend | None:
    if libraries.backend is BackendName.NUMPY:
        return None
    from stablemax.peers.backend import Backend

    return Backend(libraries.backend, libraries.device)


def _either(outcomes: frozenset[Outcome]) -> str:
    return " or ".join(o.value for o in Outcome if o in outcomes)


def _failures(text: str | None) -> frozenset[Outcome]:
    if text is None:
        return frozenset()
    names = [part.strip().lower() for part in text.split(",")]
    for name in names:
        if name not in FAILURES:
            raise StablemaxError(
                f"--fail-on: there is no outcome {shown(name)!r}", f"one or more of: {', '.join(FAILURES)}"
            )
    return frozenset(Outcome(name) for name in names)


def _judged(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "all":
        return 2**62
    if not text.removeprefix("-").isdecimal():
        raise StablemaxError(
            f"--judge {shown(text)} is neither 'all' nor a number of rows", "--judge all, or --judge 500"
        )
    return int(text)


def _refuse(group: Any, reason: str, allowed: tuple[str, ...] = ()) -> None:
    """Refuse the options of a group that were set."""
    for field in dataclasses.fields(group):
        if field.name not in allowed and getattr(group, field.name) != field.default:
            raise StablemaxError(f"--{field.name.replace('_', '-')} {reason}", "leave out one of the two")


def _input_command(
    logits: str | None, labels: str | None, inputs: InputOptions, generated: GeneratedOptions
) -> tuple[str, ...]:
    if logits is not None:
        return (*files(logits, labels), *changed(inputs))
    if generated.preset is not None:
        return ("--preset", generated.preset)
    fields = (f for f in dataclasses.fields(generated) if f.name != "preset")
    return tuple(a for f in fields for a in option(f"--{f.name}", getattr(generated, f.name)))
