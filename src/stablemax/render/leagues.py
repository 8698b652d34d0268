"""The league in each output format."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from stablemax.finding import is_built_in
from stablemax.render import data, figures
from stablemax.render.comparisons import quoted
from stablemax.render.figures import LOOKS, glyph
from stablemax.results import Outcome
from stablemax.vocabulary import OutputFormat
from stablemax.wording import counted, listed

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stablemax.render.console import Surface
    from stablemax.results import League, Standout

COLUMNS = (
    "operation",
    "implementation",
    "format",
    "worst",
    "worst_hazard",
    "error_ulp",
    "error_hazard",
    "failed",
    "judged",
    "cause",
    "skipped",
)
_GAP = 2  # a space and the table's own


def render(result: League, how: OutputFormat, *, color: str, details: bool, to_file: bool) -> str:
    """Write a league.

    Parameters
    ----------
    result : League
        What to write.
    how : OutputFormat
        The output format.
    color : str
        "auto", "always" or "never", for tables.
    details : bool
        Add all hazards that each implementation fails on to tables.
    to_file : bool
        The text goes to a file.
    """
    if how is OutputFormat.JSON:
        return data.document("league", result)
    if how is OutputFormat.NDJSON:
        return data.lines([{"kind": "standout", **dataclasses.asdict(s)} for s in result.standouts])
    if how in (OutputFormat.CSV, OutputFormat.PLAIN):
        write = data.table_csv if how is OutputFormat.CSV else data.table_plain
        return write(list(COLUMNS), [_row(s) for s in result.standouts])
    from stablemax.render.console import printed, surface

    on = surface(color, to_file=to_file)
    if how is OutputFormat.MARKDOWN:
        return _markdown(result, on)
    text = printed(_table(result, on, details=details), on)
    return f"{text}reproduce: {quoted(result.command)}\n" if result.command else text


def _row(standout: Standout) -> list[str]:
    found = dataclasses.asdict(standout)
    found["failed"] = " ".join(standout.failed)
    return [data.cell(found[c]) for c in COLUMNS]


def facts(result: League) -> list[str]:
    """Say what took part, and how it was judged."""
    limit = "half of the format's bits" if result.max_ulp is None else f"{result.max_ulp:g} ulp"
    used = [f"{name} {version}" for name, version in result.libraries.items()]
    lines = [
        f"{counted(len(result.hazards), 'hazard')}: stablemax list hazards. Inaccurate: off by more than {limit}. "
        "A 0 below the smallest normal number is no failure"
    ]
    if used:
        where = f" on {result.device}" if result.device else ""
        ours = f"; our variants run on {result.backend}" if result.backend != "numpy" else ""
        lines.append(f"with {listed(used)}{where}{ours}")
    return lines


def _label(standout: Standout) -> str:
    """Name an implementation within its operation's table: ``torch``, ``shifted``."""
    home, _, name = standout.implementation.partition("/")
    if not is_built_in(standout.implementation):
        return name
    return home if name == standout.operation else standout.implementation


def _by_operation(result: League) -> dict[str, dict[str, dict[str, Standout]]]:
    """Standouts by operation, implementation and format."""
    found: dict[str, dict[str, dict[str, Standout]]] = {}
    for s in result.standouts:
        found.setdefault(s.operation, {}).setdefault(s.implementation, {})[s.format] = s
    return found


def _words(standout: Standout, keys: dict[str, str], on: Surface) -> str:
    """Write a cell: the largest error where all holds, else the outcome, how many hazards, and a key to the worst."""
    if standout.worst is None:
        return "not run"
    look = LOOKS[standout.worst]
    sign = glyph(standout.worst, ascii_only=on.ascii_only)
    if standout.worst is Outcome.OK:
        return f"{sign} {figures.short_error(standout.error_ulp)}".rstrip()
    if standout.worst is Outcome.INACCURATE:
        return f"{sign} {figures.short_error(standout.error_ulp)} {keys[standout.worst_hazard]}"
    return f"{sign} {look.word} {len(standout.failed)} {keys[standout.worst_hazard]}"


def _keys(implementations: dict[str, dict[str, Standout]]) -> dict[str, str]:
    """Give each worst hazard of a table a letter, in the order of reading."""
    names = dict.fromkeys(s.worst_hazard for row in implementations.values() for s in row.values() if s.worst_hazard)
    return {name: _letters(i) for i, name in enumerate(names)}


def _letters(index: int) -> str:
    """Count in letters: a to z, aa, ab.

    Examples
    --------
    >>> _letters(0), _letters(25), _letters(26)
    ('a', 'z', 'aa')
    """
    head, last = divmod(index, 26)
    return (_letters(head - 1) if head else "") + chr(ord("a") + last)


def legend(result: League, on: Surface) -> str:
    """Explain what a cell says."""
    meanings = {
        Outcome.OK: "the largest error, nothing fails",
        Outcome.INACCURATE: "finite and wrong",
        Outcome.LOST: "0 where the truth is not",
        Outcome.OVERFLOW: "infinite where the truth is not",
        Outcome.NAN: "not a number where there is one",
    }
    seen = {s.worst for s in result.standouts}
    told = [
        f"{glyph(o, ascii_only=on.ascii_only)} {LOOKS[o].word}: {text}" for o, text in meanings.items() if o in seen
    ]
    if seen & set(list(Outcome)[3:]):
        told.append("a number: on how many hazards it fails; a letter: the one that the outcome is of")
    return "; ".join(["worst outcome over all hazards", *told])


def _table(result: League, on: Surface, *, details: bool) -> list[RenderableType]:
    """Lay the league out: the finding, a table for each operation with its hazards, what the cells say."""
    from rich.text import Text

    from stablemax.render.tables import table_like

    parts: list[RenderableType] = [Text(result.finding, style="bold"), Text("")]
    parts += [Text(line, style="dim") for line in facts(result)]
    for operation, implementations in _by_operation(result).items():
        keys = _keys(implementations)
        cells = {(name, f): _words(s, keys, on) for name, row in implementations.items() for f, s in row.items()}
        labels = {name: _label(next(iter(row.values()))) for name, row in implementations.items()}
        widths = {f: max(len(f), *(len(cells[name, f]) for name in implementations)) for f in result.formats}
        first = max(map(len, labels.values()))
        parts += [Text(""), Text(operation, style="bold")]
        for formats in _fitting(widths, on.width - first):
            table = table_like(on)
            table.add_column("", no_wrap=True, min_width=first)
            for fmt in formats:
                table.add_column(fmt, no_wrap=True, min_width=widths[fmt])
            for name, row in implementations.items():
                styles = [LOOKS[worst].style if (worst := row[f].worst) else "dim" for f in formats]
                texts = [Text(cells[name, f], style=style) for f, style in zip(formats, styles, strict=True)]
                table.add_row(Text(labels[name]), *texts)
            parts.append(table)
        if keys:
            parts += [
                Text(line, style="dim") for line in _wrapped([f"{k} {name}" for name, k in keys.items()], on.width)
            ]
        if details:
            parts += [Text(line) for row in implementations.values() for s in row.values() for line in _details(s)]
    return [*parts, Text(""), Text(legend(result, on), style="dim")]


def _fitting(widths: dict[str, int], room: int) -> list[list[str]]:
    """Break columns into blocks that fit into the room, one column at least in each.

    Examples
    --------
    >>> _fitting({"float16": 15, "float32": 15, "float64": 9}, 40)
    [['float16', 'float32'], ['float64']]
    """
    blocks: list[list[str]] = [[]]
    for name, width in widths.items():
        if blocks[-1] and sum(widths[n] + _GAP for n in blocks[-1]) + width + _GAP > room:
            blocks.append([])
        blocks[-1].append(name)
    return blocks


def _wrapped(items: list[str], width: int) -> list[str]:
    """Join items by semicolons, breaking lines between them only: a key stays with its name.

    Examples
    --------
    >>> _wrapped(["a one-class", "b collapse", "c gentle"], 24)
    ['a one-class; b collapse;', 'c gentle']
    """
    lines = [items[0]]
    for item in items[1:]:
        fits = len(lines[-1]) + len("; ") + len(item) < width
        lines[-1:] = [f"{lines[-1]}; {item}"] if fits else [f"{lines[-1]};", item]
    return lines


def _details(standout: Standout) -> list[str]:
    """All that is known of an implementation in a format, in words."""
    title = f"{standout.implementation} in {standout.format}"
    if standout.worst is None:
        return [f"{title}: not run: it {standout.skipped}"]
    lines = [f"{title}: {len(standout.failed)} of {counted(standout.judged, 'hazard')} failed"]
    if standout.error_ulp is not None:
        lines.append(f"  largest error {figures.error(standout.error_ulp)}, on {standout.error_hazard}")
    if standout.cause:
        lines.append(f"  {LOOKS[standout.worst].word} on {standout.worst_hazard}: {standout.cause}")
    lines += [f"  {LOOKS[o].word}: {', '.join(names)}" for o, names in standout.outcomes.items() if o.is_failure]
    return lines


def _markdown(result: League, on: Surface) -> str:
    parts = [f"{result.finding}\n", *(f"- {line}" for line in facts(result)), ""]
    for operation, implementations in _by_operation(result).items():
        keys = _keys(implementations)
        rows = [
            [_label(next(iter(row.values()))), *(_words(row[f], keys, on) for f in result.formats)]
            for row in implementations.values()
        ]
        parts.append(data.table_markdown([operation, *result.formats], rows))
        if keys:
            parts.append("; ".join(f"{key} {name}" for name, key in keys.items()) + "\n")
    parts += [legend(result, on), ""]
    if result.command:
        parts.append(f"Reproduce: `{quoted(result.command)}`")
    return "\n".join(parts) + "\n"
