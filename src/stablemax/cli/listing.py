"""``stablemax list``."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Annotated

import typer

from stablemax.cli import io
from stablemax.cli.options import PrintOptions, format_option, operation_words
from stablemax.cli.panels import CommandPanel, Example, help_entry
from stablemax.operations import get_operation
from stablemax.render.listings import Listing, formats, hazards, listing_kind, patterns, presets, terms, variants
from stablemax.text.errors import StablemaxError
from stablemax.text.words import either


class Listed(enum.StrEnum):
    """What can be listed."""

    VARIANTS = "variants"
    FORMATS = "formats"
    PRESETS = "presets"
    HAZARDS = "hazards"
    TERMS = "terms"
    PATTERNS = "patterns"


@help_entry(
    CommandPanel.LEARN,
    Example("The formulas of one operation", "stablemax list variants softmax"),
    Example("Inputs on which code is known to fail", "stablemax list hazards"),
)
def list_(
    printing: PrintOptions,
    what: Annotated[Listed, typer.Argument(metavar="WHAT", help=f"What to list: {either(list(Listed))}.")],
    operation: Annotated[
        str | None,
        typer.Argument(show_default=False, **operation_words("Of variants and hazards, those of one operation alone:")),
    ] = None,
    output_format: Annotated[str | None, format_option(listing_kind("variants"))] = None,
) -> int:
    """List variants, number formats with the logits at which exp breaks, presets, hazards, terms, or cured patterns."""
    output = io.output_of(listing_kind(what), output_format, printing)
    if operation is not None and what not in (Listed.VARIANTS, Listed.HAZARDS):
        raise StablemaxError(f"{what} are not listed by operation: {operation}", f"stablemax list {what}")
    record = None if operation is None else get_operation(operation)
    listings: dict[Listed, Callable[[], Listing]] = {
        Listed.VARIANTS: lambda: variants(record),
        Listed.FORMATS: formats,
        Listed.PRESETS: presets,
        Listed.HAZARDS: lambda: hazards(record),
        Listed.TERMS: terms,
        Listed.PATTERNS: patterns,
    }
    output.write(listings[what]())
    return 0
