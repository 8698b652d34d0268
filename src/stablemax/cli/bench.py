"""``stablemax bench``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from stablemax.bench.bench_words import (
    DEFAULT_SHAPES,
    TimedDtype,
    TimedPeer,
    named,
    shape_of,
    slower_than,
    timed_operations,
    times,
)
from stablemax.cli import io
from stablemax.cli.option_groups import CommandLine, in_panel, option, worded
from stablemax.cli.options import PrintOptions, format_option, operation_words
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.operations import get_operation
from stablemax.render.benches import BENCHMARK
from stablemax.results import Benchmark
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.words import counted, either

if TYPE_CHECKING:
    from stablemax.bench.plan import BenchOptions


@in_panel(Panel.FORMULAS)
@dataclass(frozen=True)
class TimedOptions:
    """What is timed, beside what, and how often."""

    operation: list[str] | None = option(
        **operation_words("Operation to time; repeatable:"),
        unset="all that the libraries have ready-made",
        panel=Panel.COMMON,
    )
    shape: list[str] | None = option(
        "Shape of the logits; repeatable.",
        metavar="ROWSxCLASSES",
        unset=", ".join(map(str, DEFAULT_SHAPES)),
        panel=Panel.COMMON,
    )
    dtype: list[TimedDtype] | None = option(
        f"What the logits are held in: {either(list(TimedDtype))}; repeatable.", metavar="FORMAT", unset="both"
    )
    threads: list[int] | None = option(
        "Number of threads; repeatable.", metavar="N", unset="1, and as many as cores", panel=Panel.RUNNING
    )
    peer: list[TimedPeer] | None = option(
        f"What to time beside ours: {either(list(TimedPeer))}; repeatable.",
        metavar="LIBRARY",
        unset="all that are installed",
        panel=Panel.COMMON,
    )
    repeat: int | None = option(
        "Rounds.", metavar="N", unset="3, or more until each has run for about 0.3 s", panel=Panel.RUNNING
    )
    seed: int = option("Seed of the logits and labels.", metavar="N", default=0, panel=Panel.RUNNING)

    def asked(self) -> BenchOptions:
        """Read what is to be timed."""
        shapes = tuple(dict.fromkeys(map(shape_of, self.shape or ()))) or DEFAULT_SHAPES

        from stablemax.bench.plan import BenchOptions

        return BenchOptions(
            operations=tuple(map(get_operation, dict.fromkeys(self.operation or ()))) or timed_operations(),
            shapes=shapes,
            dtypes=tuple(dict.fromkeys(self.dtype or TimedDtype)),
            threads=tuple(self.threads or ()),
            peers=tuple(dict.fromkeys(self.peer or (TimedPeer.ALL,))),
            repeat=self.repeat,
            seed=self.seed,
        )


@help_entry(
    CommandPanel.OTHER,
    Example("Softmax of one size, in a minute", "stablemax bench --operation softmax --shape 2048x4096"),
    Example("Fail where another library is faster", "stablemax bench --shape 64x1000 --fail-under 1"),
)
def bench(
    line: CommandLine,
    timed: TimedOptions,
    printing: PrintOptions,
    chart: Annotated[bool, worded("Add a bar for every time to the table.", "--chart", panel=Panel.OUTPUT)] = False,
    fail_under: Annotated[
        float | None,
        worded(
            "Exit 1 where another one takes less than RATIO times our time; 1: where ours is not the fastest.",
            metavar="RATIO",
            panel=Panel.JUDGING,
        ),
    ] = None,
    output_format: Annotated[str | None, format_option(BENCHMARK)] = None,
) -> int:
    """Time our functions beside torch, jax, scipy and plain NumPy, in turns, on this machine.

    Prints times, ratios to ours, peak memory, the largest error in some rows against exact values, and the
    share of what the machine allows: the rate at which it reads or copies memory, measured in the same run.
    The defaults, with logits of up to 2 GiB, take up to half an hour; --shape 2048x4096 takes a minute or two.
    """
    output = io.output_of(BENCHMARK, output_format, printing)
    if fail_under is not None and not 0 < fail_under < float("inf"):
        raise StablemaxError(f"--fail-under {shown(fail_under)} is out of range", "a ratio above 0: --fail-under 1")
    options = timed.asked()

    from stablemax.bench.benchmark import bench as run

    with io.progress(printing, "looking at the machine") as step:
        result = run(options, command=line.words(), progress=step)
    return output.finish(result, result.notes, _failed(result, fail_under or 0.0), chart=chart)


def _failed(result: Benchmark, least: float) -> list[str]:
    """Word what --fail-under finds."""
    slower = slower_than(result.cases, least)
    if not slower:
        return []
    compared = sum(len(case.timings) - 1 for case in result.cases)
    return io.failed(
        f"{len(slower)} of {counted(compared, 'ratio')} below {least:g}x",
        [f"{timing.implementation} {times(timing.ratio)}x: {named(case)}" for case, timing in slower],
    )
