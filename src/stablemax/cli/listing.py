"""``stablemax list``."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from stablemax.cli import session
from stablemax.cli.options import OutputFormatOption, PrintOptions
from stablemax.errors import StablemaxError
from stablemax.vocabulary import Operation, OutputFormat


class Listed(enum.StrEnum):
    """What can be listed."""

    VARIANTS = "variants"
    FORMATS = "formats"
    PRESETS = "presets"


def list_(
    printing: PrintOptions,
    what: Annotated[Listed, typer.Argument(help="What to list.")],
    operation: Annotated[
        Operation | None,
        typer.Argument(help="For variants: only those of one operation.", show_default=False),
    ] = None,
    output_format: OutputFormatOption = OutputFormat.TABLE,
) -> int:
    """List the variants, the number formats with the logits at which exp breaks, or the presets."""
    from stablemax.render.listings import formats, presets, render, variants

    if operation is not None and what is not Listed.VARIANTS:
        raise StablemaxError(f"{what} are not listed by operation: {operation}", f"stablemax list {what}")
    listing = {
        Listed.VARIANTS: lambda: variants(operation),
        Listed.FORMATS: formats,
        Listed.PRESETS: presets,
    }[what]()
    text = render(listing, output_format, color=printing.color, to_file=printing.output is not None)
    session.emit(text, printing)
    return 0
