"""``stablemax sweep``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import io, option_values, options
from stablemax.cli.completion import targets
from stablemax.cli.option_groups import CommandLine, in_panel, option
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.operations import get_operation
from stablemax.render.sweeps import SWEEP
from stablemax.sweeping import NAMES, PRESETS
from stablemax.text.errors import StablemaxError
from stablemax.text.ranges import check_timeout
from stablemax.text.vocabulary import Accumulation
from stablemax.text.words import either

if TYPE_CHECKING:
    from stablemax.check.target.messages import Target
    from stablemax.operations.operation import Operation
    from stablemax.operations.variant import Variant
    from stablemax.results import Sweep
    from stablemax.sweeping.sweep_options import SweepOptions

TargetToSweep = Annotated[
    str | None,
    typer.Argument(
        metavar="TARGET",
        show_default=False,
        help="Code to sweep instead of our formulas: path/to/file.py:function, package.module:function, or a "
        "variant's or a peer's id.",
        autocompletion=targets,
    ),
]


@in_panel(Panel.COMMON)
@dataclass(frozen=True)
class SweptOptions:
    """What is swept, from where to where."""

    # Names, not an enumeration: a quantity of a plugin is one more name.
    over: str = option(
        f"What is swept: {either(NAMES)}.",
        default="scale",
        metavar="QUANTITY",
        autocompletion=lambda: list(NAMES),
    )
    start: float | None = option("First value.", "--from", metavar="X", unset="that of the quantity")
    stop: float | None = option(
        "Last value. Without --from and --to breaking points are looked for to the end of the format.",
        "--to",
        metavar="X",
        unset="that of the quantity",
    )
    steps: int | None = option("Values in the picture.", metavar="N", unset="101; 18 for classes and rows")
    log: bool | None = option("They grow by a factor, or by a step.", "--log/--linear", unset="what suits the quantity")
    preset: str | None = option(
        f"The sweep of a notebook: {either(list(PRESETS))}.", metavar="NAME", autocompletion=lambda: list(PRESETS)
    )


@dataclass(frozen=True)
class CodeOptions(options.ImplementationOptions):
    """What is swept of our formulas, or what TARGET computes and how it is called."""

    # Of our formulas there may be several.
    operation: list[str] | None = option(  # type: ignore[assignment]
        **options.operation_words("Operation to sweep, or that TARGET computes; repeatable:"),
        unset="softmax, cross_entropy and its gradient; of TARGET what its name says",
        panel=Panel.COMMON,
    )

    def operations(self) -> tuple[Operation, ...]:
        """Look up the operations, each once."""
        return tuple(map(get_operation, dict.fromkeys(self.operation or ())))

    def target(self, name: str, timeout_s: float, seed: int = 0) -> Target:
        """Return what to load."""
        if len(self.operation or ()) > 1:
            raise StablemaxError("TARGET computes one operation, and --operation names several", "name one of them")
        of_one = {field.name: getattr(self, field.name) for field in fields(self)}
        of_one["operation"] = next(iter(self.operation or ()), None)
        return options.ImplementationOptions(**of_one).target(name, timeout_s, seed)


@in_panel(Panel.FORMULAS)
@dataclass(frozen=True)
class FormulaOptions:
    """Which formulas are swept, in which formats, and how they are judged."""

    variant: list[str] | None = options.variants_option("the naive, the usual and the most accurate one")
    peer: list[str] | None = options.peer_option()
    number_format: list[str] | None = options.number_format_option(
        "Number format; repeatable.", unset="float16, bfloat16, float32, float64"
    )
    accumulate: Accumulation | None = options.accumulate_option()
    max_ulp: options.MaxUlpOption = None
    timeout: float = option(
        "Seconds that TARGET may take for an answer, or the server of a file of --arg be silent.",
        default=60.0,
        metavar="SECONDS",
        panel=Panel.RUNNING,
    )
    memory: options.TargetMemoryOption = "2GB"
    show_values: bool = option(
        "Print every output, and a curve where it is one number.", "--show-values", default=False, panel=Panel.COMMON
    )
    details: bool = option(
        "Error growth of formulas without a bound, too.", "--details", default=False, panel=Panel.COMMON
    )


@help_entry(
    CommandPanel.JUDGE,
    Example("From which class count on is a bfloat16 sum wrong?", "stablemax sweep --over classes --format bfloat16"),
    Example("From which logit on does your function break?", "stablemax sweep my.py:softmax --from 0 --to 200"),
)
def sweep(
    line: CommandLine,
    swept: SweptOptions,
    formulas: FormulaOptions,
    code: CodeOptions,
    printing: options.PrintOptions,
    target: TargetToSweep = None,
    output_format: Annotated[
        str | None,
        options.format_option(
            SWEEP, "How the result is written; plain has a line for each breaking point, csv one for each value."
        ),
    ] = None,
) -> int:
    """Move one quantity through its range, and tell between which two numbers each formula breaks.

    Breaking points are exact: no number of the format lies between the last right one and the first broken one.
    """
    output = io.output_of(SWEEP, output_format, printing, *([target, io.module_file(target)] if target else []))
    check_timeout(formulas.timeout)
    given = [spelling for spelling in line.given("code", "--timeout", "--memory") if spelling != "--operation"]
    if target is None and given:
        raise StablemaxError(f"{given[0]} is for TARGET, and none is named", "name it: stablemax sweep my.py:softmax")
    built_ins: tuple[Variant, ...] = ()
    notes: tuple[str, ...] = ()
    if formulas.peer:
        from stablemax.libraries import chosen

        built_ins, notes = chosen(formulas.peer)
    request = _request(line, swept, formulas, code.operations(), built_ins)
    result = _swept(line, target, request, formulas, code, printing)
    return output.finish(result, (*notes, *result.notes), show_values=formulas.show_values, details=formulas.details)


def _request(
    line: CommandLine,
    swept: SweptOptions,
    formulas: FormulaOptions,
    operations: tuple[Operation, ...],
    built_ins: tuple[Variant, ...],
) -> SweepOptions:
    """Bring the options together."""
    from stablemax.sweeping.sweep_options import SweepOptions
    from stablemax.sweeping.sweep_presets import options_of_preset

    if swept.preset is not None:
        line.refuse(("swept",), "does not go with --preset", allowed=("--preset",))
    request = SweepOptions(
        over=swept.over,
        start=swept.start,
        stop=swept.stop,
        steps=swept.steps,
        is_log=swept.log,
        formats=option_values.formats_named(formulas.number_format or ()),
        operations=operations,
        patterns=tuple(formulas.variant or ()),
        built_ins=built_ins,
        accumulation=formulas.accumulate,
        max_ulp=formulas.max_ulp,
        keeps_values=formulas.show_values,
    )
    return request if swept.preset is None else options_of_preset(swept.preset, request)


def _swept(
    line: CommandLine,
    target: str | None,
    request: SweepOptions,
    formulas: FormulaOptions,
    code: CodeOptions,
    printing: options.PrintOptions,
) -> Sweep:
    """Sweep our formulas, or code in a process of its own."""
    from stablemax.sweeping.sweep_run import sweep_code, sweep_variants

    with io.progress(printing, f"sweeping {request.over}") as step:
        if target is None:
            return sweep_variants(request, command=line.words(), progress=step)
        return sweep_code(
            code.target(target, formulas.timeout),
            request,
            timeout_s=formulas.timeout,
            memory_bytes=option_values.bytes_of(formulas.memory),
            command=line.words(),
            progress=step,
        )
