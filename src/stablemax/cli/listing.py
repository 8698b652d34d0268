"""``stablemax list``."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import outputs
from stablemax.cli.options import FOR_DATA, OutputFormatOption, PrintOptions
from stablemax.errors import StablemaxError
from stablemax.operations import OperationName, get_operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.render.listings import Listing


class Listed(enum.StrEnum):
    """What can be listed."""

    VARIANTS = "variants"
    FORMATS = "formats"
    PRESETS = "presets"
    HAZARDS = "hazards"


def list_(
    printing: PrintOptions,
    what: Annotated[Listed, typer.Argument(help="What to list.")],
    operation: Annotated[
        OperationName | None,
        typer.Argument(help="For variants and hazards: only those of one operation.", show_default=False),
    ] = None,
    output_format: OutputFormatOption = None,
) -> int:
    """List the variants, the number formats with the logits at which exp breaks, the presets, or the hazards."""
    from stablemax.render.listings import formats, hazards, presets, render, variants

    how = outputs.written_as(output_format, printing, "a list", FOR_DATA)
    outputs.check_output(printing)
    if operation is not None and what not in (Listed.VARIANTS, Listed.HAZARDS):
        raise StablemaxError(f"{what} are not listed by operation: {operation}", f"stablemax list {what}")
    record = None if operation is None else get_operation(operation)
    listings: dict[Listed, Callable[[], Listing]] = {
        Listed.VARIANTS: lambda: variants(record),
        Listed.FORMATS: formats,
        Listed.PRESETS: presets,
        Listed.HAZARDS: lambda: hazards(record),
    }
    text = render(listings[what](), how, color=printing.color, to_file=printing.output is not None)
    outputs.emit(text, printing)
    return 0
