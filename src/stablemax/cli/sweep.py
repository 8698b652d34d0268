"""``stablemax sweep``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import io, options
from stablemax.cli.option_groups import CommandLine, option
from stablemax.operations import get_operation
from stablemax.render.sweeps import SWEEP
from stablemax.sweeping import NAMES, PRESETS
from stablemax.text.errors import StablemaxError
from stablemax.text.ranges import check_timeout
from stablemax.text.vocabulary import Accumulation

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
    ),
]


@dataclass(frozen=True)
class SweptOptions:
    """What is swept, from where to where."""

    # Names, not an enumeration: a quantity of a plugin is one more name.
    over: str = option(
        "What is swept: " + ", ".join(NAMES) + ".",
        default="scale",
        metavar="QUANTITY",
        autocompletion=lambda: list(NAMES),
    )
    start: float | None = option("First value. Each quantity has its own.", "--from", metavar="VALUE")
    stop: float | None = option(
        "Last value. Each quantity has its own; without --from and --to breaking points are looked for to the end of "
        "the format.",
        "--to",
        metavar="VALUE",
    )
    steps: int | None = option("Values in the picture. 101; 18 for classes and rows.", metavar="N")
    log: bool | None = option("They grow by a factor, or by a step. What suits the quantity.", "--log/--linear")
    preset: str | None = option(f"A notebook's sweep instead: {', '.join(PRESETS)}.", metavar="NAME")


@dataclass(frozen=True)
class CodeOptions(options.ImplementationOptions):
    """What is swept of our formulas, or what TARGET computes and how it is called."""

    # Of our formulas there may be several.
    operation: list[str] | None = option(  # type: ignore[assignment]
        **options.operation_words(
            "Operation to sweep; repeatable. softmax, cross_entropy, cross_entropy_grad. With TARGET what it computes, "
            "where its name does not say. Of:"
        )
    )

    def operations(self) -> tuple[Operation, ...]:
        """Look up the operations, each once."""
        return tuple(map(get_operation, dict.fromkeys(self.operation or ())))

    def target(self, name: str, seed: int = 0) -> Target:
        """Return what to load."""
        if len(self.operation or ()) > 1:
            raise StablemaxError("TARGET computes one operation, and --operation names several", "name one of them")
        of_one = {field.name: getattr(self, field.name) for field in fields(self)}
        of_one["operation"] = next(iter(self.operation or ()), None)
        return options.ImplementationOptions(**of_one).target(name, seed)


@dataclass(frozen=True)
class FormulaOptions:
    """Which formulas are swept, in which formats, and how they are judged."""

    variant: list[str] | None = option(
        "Variants by name or id; repeatable. The naive, the usual and the most accurate one.", metavar="GLOB"
    )
    peer: list[str] | None = option(
        "Add the built-ins of a library; repeatable. all: those installed.", metavar="torch|jax|scipy|all"
    )
    number_format: list[str] | None = options.number_format_option(
        "Number format; repeatable. float16, bfloat16, float32, float64."
    )
    accumulate: Accumulation | None = option("How sums are added. What an ordinary kernel of each format does.")
    max_ulp: options.MaxUlpOption = None
    timeout: float = option("Seconds that TARGET may take for an answer.", default=60.0, metavar="S")
    memory: options.TargetMemoryOption = "2GB"
    show_values: bool = option(
        "Print every output, and a curve where it is one number.", "--show-values", default=False
    )
    details: bool = option("Error growth of formulas without a bound, too.", "--details", default=False)


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
            SWEEP,
            "How the result is written; plain has a line for each breaking point, csv one "
            "for each value. By the ending of -o; else table.",
        ),
    ] = None,
) -> int:
    """Move one quantity through its range, and tell between which two numbers each formula breaks.

    Examples: stablemax sweep --over classes --format bfloat16 --accumulate sequential;
    stablemax sweep my.py:softmax --over offset --from -200 --to 200.
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
        formats=options.formats_named(formulas.number_format or ()),
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
            code.target(target),
            request,
            timeout_s=formulas.timeout,
            memory_bytes=options.bytes_of(formulas.memory),
            command=line.words(),
            progress=step,
        )
