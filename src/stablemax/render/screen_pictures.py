"""A document as a picture of a terminal: SVG and HTML by Rich, in light and in dark, the same bytes at every run."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from stablemax.render.console import Surface
from stablemax.render.document import Document
from stablemax.render.drawn_plots import HEIGHT_PT
from stablemax.render.drawn_plots import as_svg as svg_of
from stablemax.render.plots import Plot
from stablemax.render.terminal import written

_FONTS = '"DejaVu Sans Mono", ui-monospace, Menlo, Consolas, "Liberation Mono", monospace'
_ID = "stablemax"
_PAGE_PT = 640
_PLOT_SCALE = 1.7  # letters of a plot are as large as those of the terminal

# In order: black, red, green, yellow, blue, magenta, cyan, white; then the bright ones, of which grey alone is used.
# Each has a contrast of 4.5 to its background.
LIGHT = TerminalTheme(
    (255, 255, 255),
    (27, 31, 36),
    [
        (27, 31, 36), (176, 0, 32), (17, 99, 41), (122, 84, 0),
        (5, 80, 174), (110, 50, 180), (18, 98, 118), (87, 96, 106),
    ],
    [(87, 96, 106)] * 8,
)  # fmt: skip
DARK = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        (110, 118, 129), (255, 123, 114), (86, 211, 100), (227, 179, 65),
        (121, 192, 255), (210, 168, 255), (118, 227, 234), (201, 209, 217),
    ],
    [(145, 152, 161)] * 8,
)  # fmt: skip

_SVG = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{width}} {{height}}" role="img">
<style>
.{{unique_id}}-matrix {{{{ font-family: {_FONTS}; font-size: {{char_height}}px }}}}
.page {{{{ fill: {LIGHT.background_color.hex} }}}}
{{styles}}
@media (prefers-color-scheme: dark) {{{{
.page {{{{ fill: {DARK.background_color.hex} }}}}
DARK_STYLES
}}}}
</style>
<defs>{{lines}}</defs>
<rect class="page" width="100%" height="100%"/>
<g transform="translate({{terminal_x}}, 10)">{{backgrounds}}
<g class="{{unique_id}}-matrix">{{matrix}}</g>
</g>
</svg>
"""
_HTML = f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>stablemax</title>
<style>
body {{{{ color: {{foreground}}; background: {{background}}; margin: 1rem }}}}
pre {{{{ font-family: {_FONTS}; overflow-x: auto }}}}
{{stylesheet}}
@media (prefers-color-scheme: dark) {{{{
body {{{{ color: {DARK.foreground_color.hex}; background: {DARK.background_color.hex} }}}}
DARK_STYLES
}}}}
</style>
<pre>{{code}}</pre>
</html>
"""


def as_svg(document: Document, width: int, plots: Sequence[Plot] = ()) -> str:
    """Write a document as an SVG picture of a terminal of at least so many columns, with plots beneath it."""
    recorded = recording(document, width)
    dark = recorded.export_svg(theme=DARK, code_format="{styles}", clear=False, unique_id=_ID)
    picture = recorded.export_svg(theme=LIGHT, code_format=_with_dark(_SVG, dark), clear=False, unique_id=_ID)
    if not plots:
        return picture
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture)
    assert found is not None, "the template has a view box"
    columns, height = map(float, found.groups())
    drawn_height = _PLOT_SCALE * HEIGHT_PT * len(plots)
    placed = f'y="{height:g}" width="{columns:g}" height="{drawn_height:g}"'
    drawn = svg_of(plots, columns / _PLOT_SCALE)
    beneath = re.sub(r'width="\S+" height="\S+"|height="\S+" width="\S+"', placed, drawn, count=1)
    taller = f'viewBox="0 0 {columns:g} {height + drawn_height:g}"'
    return picture.replace(found[0], taller, 1).replace("</svg>\n", f"{beneath}</svg>\n")


def as_html(document: Document, width: int, plots: Sequence[Plot] = ()) -> str:
    """Write a document as a page that needs no other file, of at least so many columns, with plots beneath it."""
    recorded = recording(document, width)
    dark = recorded.export_html(theme=DARK, code_format="{stylesheet}", clear=False)
    page = recorded.export_html(theme=LIGHT, code_format=_with_dark(_HTML, dark), clear=False)
    return page.replace("</pre>\n", f"</pre>\n{svg_of(plots, _PAGE_PT)}") if plots else page


def _with_dark(template: str, styles: str) -> str:
    return template.replace("DARK_STYLES", styles.replace("{", "{{").replace("}", "}}"))


def recording(document: Document, width: int) -> Console:
    """Return a console that has recorded a document; it is as wide as its longest line, which is never wrapped."""
    text = Text.from_ansi(written(document, Surface(width, color=True)).rstrip("\n"))
    text.spans = [span._replace(style=_undimmed(span.style)) for span in text.spans]
    columns = max(width, *(line.cell_len for line in text.split("\n")))
    console = Console(
        record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="standard", _environ={}
    )
    console.print(text, soft_wrap=True)
    return console


def _undimmed(style: str | Style) -> str | Style:
    """Return a style in grey where it is dim: Rich halves the contrast of what is dim, to less than people can read."""
    if not isinstance(style, Style) or not style.dim:
        return style
    color = "bright_black" if style.color is None or style.color.is_default else style.color
    return Style(color=color, bold=style.bold)
