"""``stablemax list`` and ``stablemax explain``."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Annotated

import typer

from stablemax.cli import io
from stablemax.cli.completion import explained
from stablemax.cli.options import PrintOptions, format_option, operation_words
from stablemax.cli.panels import CommandPanel, Example, help_entry
from stablemax.operations import get_operation
from stablemax.render.explanations import EXPLANATION
from stablemax.render.listings import Listing, formats, hazards, listing_kind, presets, variants
from stablemax.text.errors import StablemaxError
from stablemax.text.words import either


class Listed(enum.StrEnum):
    """What can be listed."""

    VARIANTS = "variants"
    FORMATS = "formats"
    PRESETS = "presets"
    HAZARDS = "hazards"


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
    """List the variants, the number formats with the logits at which exp breaks, the presets, or the hazards."""
    output = io.output_of(listing_kind(what), output_format, printing)
    if operation is not None and what not in (Listed.VARIANTS, Listed.HAZARDS):
        raise StablemaxError(f"{what} are not listed by operation: {operation}", f"stablemax list {what}")
    record = None if operation is None else get_operation(operation)
    listings: dict[Listed, Callable[[], Listing]] = {
        Listed.VARIANTS: lambda: variants(record),
        Listed.FORMATS: formats,
        Listed.PRESETS: presets,
        Listed.HAZARDS: lambda: hazards(record),
    }
    output.write(listings[what]())
    return 0


@help_entry(
    CommandPanel.LEARN,
    Example("Why the shifted softmax holds, and where it ends", "stablemax explain softmax/shifted"),
    Example("What is wrong with a clipped loss", "stablemax explain cross_entropy/clipped"),
)
def explain(
    printing: PrintOptions,
    variant: Annotated[
        str,
        typer.Argument(
            metavar="VARIANT",
            help="Id of a variant, or of a peer: softmax/shifted, torch/softmax.",
            autocompletion=explained,
        ),
    ],
    output_format: Annotated[str | None, format_option(EXPLANATION)] = None,
) -> int:
    """Explain a variant: formula, why it holds, where it breaks, what cures it, sources, a live example."""
    from stablemax.comparing.explanation import explanation_of
    from stablemax.libraries import find

    output = io.output_of(EXPLANATION, output_format, printing)
    output.write(explanation_of(find(variant)))
    return 0
