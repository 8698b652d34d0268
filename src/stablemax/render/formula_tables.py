"""A table of formulas on a terminal: names, formulas and what becomes of them in each format, a line each."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from stablemax.render.console import Surface
from stablemax.render.document import Column, Formula, Formulas, Matrix, Span
from stablemax.render.tables import matrix, text_of

_GAP = 2
_NARROW_GAP = 1


@dataclass(frozen=True)
class _Layout:
    """Widths of the columns."""

    name: int
    formula: int
    cells: tuple[int, ...]
    gap: int
    is_wide: bool

    @property
    def width(self) -> int:
        return self.name + self.gap + self.formula + sum(self.gap + width for width in self.cells)


def formulas(block: Formulas, on: Surface) -> list[RenderableType]:
    """Lay formulas out whole with wide cells, or brief with narrow ones; where neither fits, beneath their cells."""
    for is_wide in (True, False):
        layout = _layout(block, on, is_wide=is_wide)
        if layout.width <= on.width:
            return _table(block, layout, on)
    return _tables_of_cells(block, on)


def _layout(block: Formulas, on: Surface, *, is_wide: bool) -> _Layout:
    rows = [formula for _, group in block.groups for formula in group]
    cells = [[len(on.spelled(_shown(f, i, is_wide=is_wide))) for f in rows] for i in range(len(block.columns))]
    heads = zip(block.columns, block.figures or block.columns, strict=True)
    return _Layout(
        name=1 + max(len(f.name) for f in rows),
        formula=max(len(block.figures_are), *(len(f.whole if is_wide else f.brief) for f in rows)),
        cells=tuple(max(*map(len, head), *widths) for head, widths in zip(heads, cells, strict=True)),
        gap=_GAP if is_wide else _NARROW_GAP,
        is_wide=is_wide,
    )


def _shown(formula: Formula, index: int, *, is_wide: bool) -> Span:
    cell = formula.cells[index]
    return cell.wide if is_wide else cell.narrow or cell.wide


def _table(block: Formulas, layout: _Layout, on: Surface) -> list[RenderableType]:
    gap = " " * layout.gap

    def line(name: Text, formula: str, cells: list[Text], style: str = "") -> Text:
        name.pad_right(max(0, layout.name - len(name.plain)))
        text = Text.assemble(name, gap, (f"{formula:<{layout.formula}}", style))
        for cell, width in zip(cells, layout.cells, strict=True):
            cell.pad_right(width - len(cell.plain))
            text.append(gap).append_text(cell)
        return text

    lines = [line(Text(""), "formula", [Text(c, style="bold") for c in block.columns], "bold")]
    if block.figures:
        lines.append(line(Text(""), block.figures_are, [Text(f, style="dim") for f in block.figures], "dim"))
    for operation, group in block.groups:
        lines.append(Text(operation, style="bold"))
        for formula in group:
            cells = [text_of(_shown(formula, i, is_wide=layout.is_wide), on) for i in range(len(block.columns))]
            lines.append(line(Text(f" {formula.name}"), formula.whole if layout.is_wide else formula.brief, cells))
    return [*lines]


def _tables_of_cells(block: Formulas, on: Surface) -> list[RenderableType]:
    columns = [Column(name) for name in block.columns]
    parts: list[RenderableType] = []
    for operation, group in block.groups:
        labels = [Span(formula.name) for formula in group]
        parts += matrix(Matrix(operation, columns, labels, [formula.cells for formula in group]), on)
        parts += [Text(f"{formula.name}: {formula.brief}", style="dim") for formula in group]
    return parts
