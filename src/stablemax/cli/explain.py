"""``stablemax explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import io
from stablemax.cli.options import PrintOptions, format_option
from stablemax.render.explanations import EXPLANATION


def explain(
    printing: PrintOptions,
    variant: Annotated[
        str, typer.Argument(metavar="VARIANT", help="Id of a variant, or of a peer: softmax/shifted, torch/softmax.")
    ],
    output_format: Annotated[
        str | None, format_option(EXPLANATION, "table and plain: text. By the ending of -o; else table.")
    ] = None,
) -> int:
    """Explain a variant: formula, why it holds, where it breaks, what cures it, sources, a live example."""
    from stablemax.comparing.explanation import explanation_of
    from stablemax.libraries import find

    output = io.output_of(EXPLANATION, output_format, printing)
    output.write(explanation_of(find(variant)))
    return 0
