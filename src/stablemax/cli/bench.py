"""``stablemax bench``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.benchmarking.words import DEFAULT_SHAPES, TimedDtype, TimedPeer, shape_of, timed_operations
from stablemax.cli import outputs, session
from stablemax.cli.options import FOR_DATA, OutputFormatOption, PrintOptions
from stablemax.cli.reproducing import option
from stablemax.errors import StablemaxError, shown
from stablemax.operations import OperationName, get_operation
from stablemax.wording import counted

if TYPE_CHECKING:
    from stablemax.results import Benchmark

_SHOWN = 10


def bench(
    printing: PrintOptions,
    operation: Annotated[
        list[OperationName] | None,
        typer.Option(
            metavar="OPERATION",
            help="Operation to time; repeatable. All that the libraries have ready-made.",
            show_default=False,
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROWSxCLASSES",
            help=f"Shape of the logits; repeatable. {', '.join(map(str, DEFAULT_SHAPES))}.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        list[TimedDtype] | None,
        typer.Option(
            metavar="|".join(TimedDtype), help="What the logits are held in; repeatable. Both.", show_default=False
        ),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Number of threads; repeatable. 1, and as many as cores.", show_default=False),
    ] = None,
    peer: Annotated[
        list[TimedPeer] | None,
        typer.Option(
            metavar="|".join(TimedPeer),
            help="What to time beside ours; repeatable. All that are installed.",
            show_default=False,
        ),
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option(metavar="N", help="Rounds. 3, or more until each has run for about 0.3 s.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the logits and labels.")] = 0,
    chart: Annotated[bool, typer.Option("--chart", help="Add a bar for every time to the table.")] = False,
    fail_under: Annotated[
        float | None,
        typer.Option(
            metavar="RATIO",
            help="Exit 1 where another one takes less than RATIO times our time; 1: where ours is not the fastest.",
            show_default=False,
        ),
    ] = None,
    output_format: OutputFormatOption = None,
) -> int:
    """Time our functions beside torch, jax, scipy and plain NumPy, in turns, on this machine.

    Prints times, peak memory, ratios to ours, and the share of what the machine allows: the rate at which
    it copies memory and the rate of NumPy's exp, measured in the same run. The defaults, with logits of
    up to 2 GiB, take up to half an hour; --shape 2048x4096 takes a minute or two.
    """
    how = outputs.written_as(output_format, printing, "a benchmark", FOR_DATA)
    outputs.check_output(printing)
    if fail_under is not None and not 0 < fail_under < float("inf"):
        raise StablemaxError(f"--fail-under {shown(fail_under)} is out of range", "a ratio above 0: --fail-under 1")
    shapes = tuple(dict.fromkeys(map(shape_of, shape))) if shape else DEFAULT_SHAPES

    from stablemax.benchmarking.plan import BenchOptions
    from stablemax.benchmarking.workflow import bench as run
    from stablemax.render.benches import render

    options = BenchOptions(
        operations=tuple(map(get_operation, dict.fromkeys(operation))) if operation else timed_operations(),
        shapes=shapes,
        dtypes=tuple(dict.fromkeys(dtype)) if dtype else tuple(TimedDtype),
        threads=tuple(threads or ()),
        peers=tuple(dict.fromkeys(peer)) if peer else (TimedPeer.ALL,),
        repeat=repeat,
        seed=seed,
    )
    command = (
        *("stablemax", "bench"),
        *option("--operation", operation),
        *option("--shape", shape),
        *option("--dtype", dtype),
        *option("--threads", threads),
        *option("--peer", peer),
        *option("--repeat", repeat),
        *option("--seed", seed or None),
    )
    with session.progress(printing, "looking at the machine") as progress:
        result = run(options, command=command, progress=progress)
    session.say(result.notes, printing)
    text = render(result, how, color=printing.color, chart=chart, to_file=printing.output is not None)
    outputs.emit(text, printing)
    return 0 if fail_under is None else _verdict(result, fail_under)


def _verdict(result: Benchmark, least: float) -> int:
    """Say what --fail-under finds; 1 if anything."""
    from stablemax.benchmarking.findings import named, slower_than, times

    found = slower_than(result.cases, least)
    if not found:
        return 0
    compared = sum(len(case.timings) - 1 for case in result.cases)
    session.warn(f"failed: {len(found)} of {counted(compared, 'ratio')} below {least:g}x")
    for case, timing in found[:_SHOWN]:
        session.warn(f"  {timing.implementation} {times(timing.ratio)}x: {named(case)}")
    if len(found) > _SHOWN:
        session.warn(f"  and {len(found) - _SHOWN} more")
    return 1
