"""A document as a picture of a terminal, drawn by matplotlib: PNG and PDF, the same bytes at every run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from rich.segment import Segment
from rich.style import Style

from stablemax.render.document import Document
from stablemax.render.drawn_plots import HEIGHT_PT, draw, new_figure
from stablemax.render.plots import Plot
from stablemax.render.screen_pictures import LIGHT, recording

_FONT = "DejaVu Sans Mono"  # it comes with matplotlib, and has our signs
_SIZE_PT = 10
_CHARACTER_PT = 0.602 * _SIZE_PT
_LINE_PT = 1.3 * _SIZE_PT
_MARGIN_PT = 10
_DPI = 144
# What would differ from run to run, or from machine to machine.
_METADATA = {"png": {"Software": None}, "pdf": {"Creator": None, "Producer": None, "CreationDate": None}}


def drawn(document: Document, width: int, kind: str, plots: Sequence[Plot] = ()) -> bytes:
    """Draw a document as `png` or `pdf`, with plots beneath it; raise `StablemaxError` without matplotlib."""
    console = recording(document, width)
    lines = list(Segment.split_lines(console._record_buffer))
    text_pt = len(lines) * _LINE_PT + 2 * _MARGIN_PT
    size = (console.width * _CHARACTER_PT + 2 * _MARGIN_PT, text_pt + len(plots) * HEIGHT_PT)
    figure = new_figure(*size, kind)
    figure.set_facecolor(LIGHT.background_color.hex)
    for row, line in enumerate(lines):
        column = 0
        y = 1 - (_MARGIN_PT + (row + 1) * _LINE_PT) / size[1]
        for segment in line:
            _draw(figure, segment, ((_MARGIN_PT + column * _CHARACTER_PT) / size[0], y))
            column += segment.cell_length
    draw(figure, plots, text_pt)
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=_DPI, metadata=_METADATA[kind])
    return stream.getvalue()


def _draw(figure: Any, segment: Segment, place: tuple[float, float]) -> None:
    text = segment.text.rstrip()
    if not text:
        return
    style = segment.style or Style.null()
    color = (
        LIGHT.foreground_color if style.color is None or style.color.is_default else style.color.get_truecolor(LIGHT)
    )
    figure.text(
        *place,
        text,
        color=color.hex,
        family=_FONT,
        size=_SIZE_PT,
        weight="bold" if style.bold else "normal",
        parse_math=False,
    )
