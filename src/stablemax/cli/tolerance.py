"""``stablemax tolerance``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from stablemax.cli import io, option_values
from stablemax.cli.option_groups import CommandLine, in_panel, option
from stablemax.cli.options import PrintOptions, accumulate_option, format_option, number_format_option
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.operations import NAMES, get_operation
from stablemax.render.tolerance_tables import TOLERANCE
from stablemax.text.vocabulary import Accumulation

OperationArgument = Annotated[
    str,
    typer.Argument(
        metavar="OPERATION",
        help=f"What the tested code computes: {', '.join(NAMES)}.",
        autocompletion=lambda: list(NAMES),
    ),
]


@in_panel(Panel.COMMON)
@dataclass(frozen=True)
class TestedOptions:
    """What a test compares, and how closely."""

    number_format: str = number_format_option("Number format of the tested code.", default="float32")
    classes: int = option("Classes K in each row.", metavar="K", default=1000)
    scale: float = option("Largest size of a logit; uniform logits of that scale are drawn.", metavar="S", default=10.0)
    rtol: float | None = option("Relative tolerance to judge; 0 where --atol stands alone.", metavar="X")
    atol: float | None = option("Absolute tolerance to judge; 0 where --rtol stands alone.", metavar="X")
    accumulate: Accumulation | None = accumulate_option()
    seed: int = option("Seed of the drawn logits.", metavar="N", default=0)


@help_entry(
    CommandPanel.JUDGE,
    Example("Which tolerance does a bfloat16 softmax need?", "stablemax tolerance softmax --format bfloat16"),
    Example(
        "What does the tolerance of your test let through?",
        "stablemax tolerance cross_entropy --rtol 1e-2 --atol 1e-3",
    ),
)
def tolerance(
    line: CommandLine,
    operation: OperationArgument,
    tested: TestedOptions,
    printing: PrintOptions,
    output_format: Annotated[
        str | None, format_option(TOLERANCE, "How the result is written; csv has a row for each code that was run.")
    ] = None,
) -> int:
    """Prove which tolerance a test of correct code needs, or judge one that you use.

    With --rtol or --atol it exits with 1 where sound code fails the tolerance, or code with a seeded bug passes it.
    """
    output = io.output_of(TOLERANCE, output_format, printing)
    from stablemax.tolerances.tolerance_run import ToleranceOptions, run_tolerance

    options = ToleranceOptions(
        get_operation(operation),
        option_values.formats_named([tested.number_format])[0],
        tested.classes,
        tested.scale,
        tested.accumulate,
        tested.rtol,
        tested.atol,
        tested.seed,
    )
    with io.progress(printing, f"proving the tolerance of {operation}") as step:
        result = run_tolerance(options, command=line.words(), progress=step)
    return output.finish(result, (), [] if result.is_right else [f"failed: {result.finding}"])
