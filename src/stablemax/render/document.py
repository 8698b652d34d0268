"""A result as a document: what is said, and in what order, whatever writes it.

A writer decides how each block looks; a block says what it is. Nothing here knows of terminals, Markdown or Rich.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stablemax.text.outcomes import GRADES, OUTCOMES, Grade, Outcome


@dataclass(frozen=True)
class Span:
    """A piece of text in one style."""

    text: str
    #: Colour and weight, as in `bold red`; that of the sign where it is empty
    style: str = ""
    #: An outcome or a grade whose glyph stands before the text
    sign: Outcome | Grade | None = None


Line = Sequence[Span]


class Block:
    """A piece of a document that each writer lays out in its own way."""


@dataclass(frozen=True)
class Finding(Block):
    """The result in a sentence or two."""

    text: str
    style: str = "bold"
    #: The verdict in a word, for what has no colours
    label: str = ""


@dataclass(frozen=True)
class Facts(Block):
    """Facts about what was examined and how, a line each."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Heading(Block):
    """The title of what follows; level 1 is that of the whole document."""

    text: str
    level: int = 3


@dataclass(frozen=True)
class Lines(Block):
    """Lines in words."""

    lines: Sequence[Line]
    #: Columns in front of each, also where it wraps
    indent: int = 0


@dataclass(frozen=True)
class Items(Block):
    """Indented lines beneath a heading."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Table(Block):
    """A list whose words may wrap, with a header."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    #: Headers of columns that are copied, no cell of which is broken
    whole: Sequence[str] = ()


@dataclass(frozen=True)
class Cell:
    """What a cell of a matrix says, on one line or, where there is little room, on more."""

    wide: Span
    narrow: Span | None = None
    #: Its place in an order from good to bad, where a reader may sort by it
    rank: int | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Column:
    """A column of a matrix."""

    header: str
    #: The header where all columns stand side by side
    wide_header: str = ""
    #: Where there is little room, columns of different groups stand in different tables, each with its group's title
    group: str = ""
    #: The column stands at the end of the first table
    is_pinned: bool = False


@dataclass(frozen=True)
class Matrix(Block):
    """Cells that are never cut or wrapped; where there is little room, the columns are spread over several tables."""

    title: str
    columns: Sequence[Column]
    labels: Sequence[Span]
    rows: Sequence[Sequence[Cell]]
    #: The title stands in a line of its own above the table, not in its corner
    title_above: bool = False
    #: What the labels are, where no title says it
    labels_are: str = ""
    #: Least width of a column with cells on one line, and with narrow ones
    wide_width: int = 0
    narrow_width: int = 0
    #: Cells stand on one line only where each column has this room
    wide_room: int = 0


@dataclass(frozen=True)
class Formula:
    """A row of a table of formulas: its name, the formula in a few characters and whole, and what becomes of it."""

    name: str
    brief: str
    whole: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Formulas(Block):
    """Formulas of several operations, with a column for each format; no line wraps."""

    columns: Sequence[str]
    #: Figures of the columns, with what they are
    figures_are: str
    figures: Sequence[str]
    #: By operation
    groups: Sequence[tuple[str, Sequence[Formula]]]


@dataclass(frozen=True)
class Matrices(Block):
    """Matrices that stand side by side where there is room."""

    matrices: Sequence[Matrix]


@dataclass(frozen=True)
class Bar:
    """One bar of a chart, with its figure in words."""

    title: str
    name: str
    value: float
    text: str
    is_ours: bool


@dataclass(frozen=True)
class Bars(Block):
    """A chart; each group of bars has its own scale."""

    title: str
    titles_are: str
    groups: Sequence[Sequence[Bar]]


@dataclass(frozen=True)
class Mark:
    """What one value of a heatmap shows."""

    #: Its place along the axis, from 0 to 1
    place: float
    #: None where nothing was tried
    sign: Outcome | Grade | None


@dataclass(frozen=True)
class Heatmap(Block):
    """Signs along an axis, a line for each label; as wide as there is room, and each column shows its worst sign."""

    title: str
    labels: Sequence[str]
    rows: Sequence[Sequence[Mark]]
    axis: str
    #: Places along the axis, from 0 to 1, and what stands there
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Curve(Block):
    """A curve through points: their places along the axis, from 0 to 1, and their heights."""

    title: str
    axis: str
    points: Sequence[tuple[float, float]]
    #: Places along the axis, and what stands there
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Legend(Block):
    """A legend of signs and words, or another aside: entries joined by semicolons."""

    entries: Sequence[Span]
    #: No line ends within an entry
    keeps_entries: bool = False


@dataclass(frozen=True)
class Code(Block):
    """Code to copy: no line of it is wrapped."""

    title: str
    text: str
    language: str = "python"


@dataclass(frozen=True)
class Excerpt(Block):
    """The beginning of somebody's text, of which long lines may be cut."""

    title: str
    lines: Sequence[str]
    more: str = ""


@dataclass(frozen=True)
class Happening:
    """A line of a listing: pieces that are never broken, in one style."""

    name: str
    pieces: Sequence[Span]
    style: str


@dataclass(frozen=True)
class SourceLine:
    """A line of source, with what happened on it."""

    number: int
    text: str
    happenings: Sequence[Happening]
    is_blamed: bool
    #: Why this line is to blame
    blame: str = ""
    #: Lines before it are left out
    after_gap: bool = False


@dataclass(frozen=True)
class Source(Block):
    """A file of source."""

    file: str
    lines: Sequence[SourceLine]


@dataclass(frozen=True)
class Values(Block):
    """Numbers for other programs, whole: the last column alone where the format has no columns."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Command(Block):
    """A command to copy, by default the one that reproduces the result: one line, however long."""

    arguments: Sequence[str]
    #: What it does
    title: str = "reproduce"
    #: What else one may do with it
    remark: str = ""

    @property
    def line(self) -> str:
        r"""The arguments as a shell reads them back, control characters as bash's ``$'\e'``.

        >>> print(Command(("stablemax", "loss", "a b.npy", "red\x1b[31m.npy")).line)
        stablemax loss 'a b.npy' $'red\x1b[31m.npy'
        """
        return " ".join(shlex.quote(a) if a.isprintable() else _ansi_c(a) for a in self.arguments)


def _ansi_c(text: str) -> str:
    escaped = "".join(c if c.isprintable() and c not in "\\'" else _escape(c) for c in text)
    return f"$'{escaped}'"


def _escape(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    return f"\\x{ord(character):02x}" if ord(character) < 0x80 else f"\\U{ord(character):08x}"


Section = Sequence[Block]
Document = Sequence[Section]
"""Blocks of a section belong together; sections stand apart."""


RANGE_ENDS = "range ends"
"""What a cell says where a result is NaN or infinite for logits near the end of the format, and stable otherwise."""


def legend_of(seen: Iterable[tuple[Outcome | None, Grade | None]], *, has_short_words: bool = False) -> list[Span]:
    """Explain what occurs, except ok: stable, then failures, from mild to bad, then what has no value.

    With `has_short_words` a cell may say the short word of an outcome, which is then named too.
    """
    seen = list(seen)
    others = {o for o, grade in seen if o is not None and o.severity and grade is not Grade.STABLE}
    order = sorted(others, key=lambda o: o.severity if o.is_failure else 2 * len(OUTCOMES) - o.severity)
    spans = [Span(f" {_words_of(o, has_short=has_short_words)}: {OUTCOMES[o].sentence}", sign=o) for o in order]
    stable = {outcome for outcome, grade in seen if grade is Grade.STABLE}
    if stable & {Outcome.OVERFLOW, Outcome.NAN}:
        spans.insert(0, Span(f"{RANGE_ENDS}: only for logits beyond a quarter of the largest number of the format"))
    if stable:
        spans.insert(0, Span(f" {Grade.STABLE}: {GRADES[Grade.STABLE].sentence}", sign=Grade.STABLE))
    return spans


def _words_of(outcome: Outcome, *, has_short: bool) -> str:
    word, short = OUTCOMES[outcome].word, OUTCOMES[outcome].short
    return f"{word}, {short}" if has_short and short != word else word


def words(*texts: str) -> Lines:
    """Return lines in no style."""
    return Lines([[Span(text)] for text in texts])


def aside(*texts: str) -> Legend:
    """Return an aside in no style."""
    return Legend([Span(text) for text in texts])


def report(finding: Finding, facts: Sequence[str], sections: Iterable[Section], command: Sequence[str]) -> Document:
    """Put a finding and facts before the other sections, and the command that reproduces them behind the last."""
    before: list[Section] = [[finding], [Facts(facts)], *sections]
    last = before.pop()
    return [*before, [*last, Command(command)] if command else last]
