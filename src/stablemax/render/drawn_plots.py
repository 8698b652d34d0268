"""Curves drawn by matplotlib: the same bytes at every run, told apart without colours, too."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stablemax.render.plots import Plot
from stablemax.text.errors import StablemaxError
from stablemax.text.machine_limits import limit_reached

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHT_PT = 230
"""Of one plot, with its title and its axis."""
_COLORS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#57606a")
_MARKERS = "osv^Dx"
_INK = "#6e7781"  # legible on white and on black
# Points from the edges of the figure to the axes: left, right, beneath, above.
_MARGINS_PT = (60, 20, 42, 26)


def new_figure(width_pt: float, height_pt: float, kind: str) -> Figure:
    """Return an empty figure; raise `StablemaxError` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise limit_reached(error) or StablemaxError(
            f"{kind} needs matplotlib, which is not installed", 'pip install "stablemax[plot]"'
        ) from None
    figure = Figure(figsize=(width_pt / 72, height_pt / 72))
    FigureCanvasAgg(figure)
    return figure


def draw(figure: Figure, plots: Sequence[Plot], top_pt: float) -> None:
    """Draw plots beneath one another, the first so many points below the top of the figure."""
    width, height = (72 * inches for inches in figure.get_size_inches())
    left, right, beneath, above = _MARGINS_PT
    for i, plot in enumerate(plots):
        bottom = height - top_pt - (i + 1) * HEIGHT_PT + beneath
        box = (left / width, bottom / height, 1 - (left + right) / width, (HEIGHT_PT - beneath - above) / height)
        _draw_one(figure.add_axes(box), plot)


def _draw_one(axes: Any, plot: Plot) -> None:
    if plot.is_log_x:
        axes.set_xscale("log")
    if plot.is_log_y:
        axes.set_yscale("log")
    names = list(dict.fromkeys(line.name for line in plot.lines))
    for line in plot.lines:
        index = names.index(line.name)
        x, y = zip(*line.points, strict=True)
        style = {"linestyle": "--"} if line.is_bound else {"marker": _MARKERS[index % len(_MARKERS)], "markersize": 3}
        label = f"{line.name}, bound" if line.is_bound else line.name
        axes.plot(x, y, color=_COLORS[index % len(_COLORS)], linewidth=1.2, label=label, **style)
    axes.set_title(plot.title, fontsize=10, color=_INK, parse_math=False)
    axes.set_xlabel(plot.x_label, fontsize=9, color=_INK)
    axes.set_ylabel(plot.y_label, fontsize=9, color=_INK)
    axes.patch.set_alpha(0)
    axes.tick_params(colors=_INK, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(_INK)
    axes.legend(fontsize=8, framealpha=0, labelcolor=_INK)


def as_svg(plots: Sequence[Plot], width_pt: float) -> str:
    """Draw plots as one SVG element, to stand within another document."""
    figure = new_figure(width_pt, HEIGHT_PT * len(plots), "a curve")
    # Found to be there by now.
    from matplotlib import rc_context

    figure.patch.set_alpha(0)
    draw(figure, plots, 0)
    stream = io.StringIO()
    # Without these two runs differ in their ids, and letters are curves.
    with rc_context({"svg.hashsalt": "stablemax", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    # Within another document a point would be a third more than its unit.
    return re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', text[text.index("<svg") :], count=2)
